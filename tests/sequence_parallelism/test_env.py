"""The environment: its dynamics against the validator, a brute force, and what agents see."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sysopt_gym.core.contracts import World
from sysopt_gym.core.errors import IllegalActionError, InstanceError, SolutionError
from sysopt_gym.datasets.sequence_parallelism.generator import generate
from sysopt_gym.datasets.sequence_parallelism.instance import TrainingBatch
from sysopt_gym.envs.sequence_parallelism.env import SequenceParallelismEnv
from sysopt_gym.envs.sequence_parallelism.groups import groups_limit, kinds_of, order_of
from sysopt_gym.envs.sequence_parallelism.objective import work_bound
from sysopt_gym.envs.sequence_parallelism.observation import SHORTLIST, Seen
from sysopt_gym.envs.sequence_parallelism.plan import carried_out
from sysopt_gym.envs.sequence_parallelism.problem import PROBLEM

SMALL = {"sequences": "9", "devices": "8", "context": "32K", "shape": "crawl"}
TWO = SMALL | {"devices": "4+4", "memory": "30+50", "speed": "1+2"}


def tiny(lengths: list[int], devices: int = 2, **changes: object) -> TrainingBatch:
    """A batch on a few devices that hold 8,192 tokens each."""
    batch = generate({"sequences": "1", "devices": str(devices), "context": "4K",
                      "memory": "60"}, 0)  # fmt: skip
    states = batch.parameters * 16 * 1024 / devices
    return dataclasses.replace(
        batch, lengths=np.array(lengths), step=np.zeros(len(lengths), np.int64), context=16_384,
        class_memory=np.array([states + 8192.5 * batch.token_memory]), **changes,
    )  # fmt: skip


def random_plan(batch: TrainingBatch, seed: int) -> tuple[np.ndarray, dict[str, object], float]:
    env, rng = SequenceParallelismEnv(batch), np.random.default_rng(seed)
    observation, _ = env.reset(seed=0)
    actions, total, ended = [], 0.0, False
    while not ended:
        actions.append(int(rng.choice(np.flatnonzero(observation["action_mask"]))))
        observation, reward, ended, _, info = env.step(actions[-1])
        total += reward
        assert env.observation_space.contains(observation)
    return np.array(actions), info, total


@pytest.mark.parametrize(
    "parameters", [SMALL, TWO, SMALL | {"steps": "3"}, SMALL | {"degrees": "any"}]
)
def test_random_play_ends_and_the_judge_agrees(parameters: dict[str, str]) -> None:
    batch = generate(parameters, 0)
    for seed in range(4):
        plan, info, total = random_plan(batch, seed)
        assert info["feasible"] and info["sequences"] == len(batch.lengths) == len(plan)
        verdict = PROBLEM.validate(batch, plan, World())
        assert verdict.feasible and verdict.objective == pytest.approx(info["objective"], rel=1e-12)
        bound = work_bound(batch, kinds_of(batch))
        assert total == pytest.approx(-info["objective"] / bound)
        assert info["objective"] >= bound
        rows = PROBLEM.export_plan(batch, plan)
        assert [row["tokens"] for row in rows] == batch.lengths.tolist()
        assert {row["step"] for row in rows} == set(batch.step.tolist())
        kinds, done = kinds_of(batch), carried_out(batch, plan)
        for row in rows:
            kind = done.states[row["step"]].groups[row["group"], 0]
            named = batch.class_names.index(row["device_class"]), row["devices"]
            assert named == (kinds.device_class[kind], kinds.degree[kind])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 26), st.integers(-3, 10**4))
def test_the_two_halves_agree_on_plans_with_a_wrong_action(seed: int, at: int, action: int) -> None:
    batch = generate(TWO | {"steps": "3"}, 1)
    plan, *_ = random_plan(batch, seed % 5)
    top = groups_limit(batch) * (1 + len(kinds_of(batch).degree))
    plan[at] = action % (top + 3) - 1
    env, legal = SequenceParallelismEnv(batch), True
    env.reset(seed=0)
    try:
        for one in plan.tolist():
            env.step(one)
    except IllegalActionError:
        legal = False
    verdict = PROBLEM.validate(batch, plan, World())
    assert verdict.feasible == legal and bool(verdict.violations) != legal
    if legal:
        assert verdict.objective == pytest.approx(env.report()["objective"])
    else:
        with pytest.raises(SolutionError, match="not legal to its end"):
            PROBLEM.export_plan(batch, plan)


@pytest.mark.parametrize("parameters", [SMALL, TWO])
def test_the_mask_is_exact(parameters: dict[str, str]) -> None:
    batch = generate(parameters, 2)
    env, rng = SequenceParallelismEnv(batch), np.random.default_rng(0)
    observation, _ = env.reset()
    for _ in range(6):
        for action in range(env.n_actions):
            try:
                env.fork().advance(action)
                taken = 1
            except IllegalActionError:
                taken = 0
            assert observation["action_mask"][action] == taken
        observation, *_ = env.step(rng.choice(np.flatnonzero(observation["action_mask"])))


def partitions(count: int) -> Iterator[list[int]]:
    """Every way to put numbered sequences into groups, as the group of each."""

    def grown(prefix: list[int]) -> Iterator[list[int]]:
        if len(prefix) == count:
            yield prefix
            return
        for group in range(max(prefix, default=-1) + 2):
            yield from grown([*prefix, group])

    yield from grown([])  # fmt: skip


def brute_force(batch: TrainingBatch, devices: int, held: int) -> float:
    """The least time over all groupings, kinds and micro-batches, from the formulas alone."""
    best, lengths = np.inf, batch.lengths.tolist()
    speeds = {2**i: float(batch.bandwidth[0, i]) for i in range(4) if 2**i <= devices}
    for group in partitions(len(lengths)):
        members = [[s for s, g in zip(lengths, group, strict=True) if g == one]
                   for one in range(max(group) + 1)]  # fmt: skip
        for degrees in product(speeds, repeat=len(members)):
            if any(sum(m) > d * held for m, d in zip(members, degrees, strict=True)):
                continue
            times = [
                batch.fixed_ms
                + sum(batch.quadratic * s * s + batch.linear * s for s in m) / d
                + (batch.traffic * sum(m) / (d * speeds[d]) if d > 1 else 0.0)
                for m, d in zip(members, degrees, strict=True)
            ]
            for micro in partitions(len(members)):
                used = [sum(d for d, m in zip(degrees, micro, strict=True) if m == one)
                        for one in range(max(micro) + 1)]  # fmt: skip
                if max(used) <= devices:
                    longest: dict[int, float] = {}
                    for time, one in zip(times, micro, strict=True):
                        longest[one] = max(longest.get(one, 0.0), time)
                    best = min(best, sum(longest.values()))
    return best


def best_play(env: SequenceParallelismEnv, length: int) -> float:
    """The least time over all actions."""
    best = np.inf
    for action in np.flatnonzero(env.action_masks()).tolist():
        twin = env.fork()
        _, over = twin.advance(action)
        best = min(best, twin.report()["objective"] if over else best_play(twin, length - 1))
    return best


@pytest.mark.parametrize(
    ("lengths", "devices"),
    [([8000, 4000, 3000], 2), ([12_000, 2000, 2000, 128], 2), ([9000, 9000, 128, 128], 4)],
)
def test_the_best_play_is_the_best_grouping(lengths: list[int], devices: int) -> None:
    batch = tiny(lengths, devices)
    env = SequenceParallelismEnv(batch)
    env.reset()
    assert int(kinds_of(batch).capacity[0]) == 8192
    least = brute_force(batch, devices, 8192)
    assert best_play(env, len(lengths)) == pytest.approx(least)
    assert work_bound(batch, kinds_of(batch)) <= least


def test_the_time_is_that_of_the_formulas() -> None:
    batch = tiny([8000, 4096, 4096], 2)
    kinds = kinds_of(batch)
    # 8,000 tokens on one device beside 8,192 on the other.
    plan = np.array([3, 3 + 0, 1])
    verdict = PROBLEM.validate(batch, plan, World())
    one = batch.fixed_ms + batch.quadratic * 8000**2 + batch.linear * 8000
    other = batch.fixed_ms + 2 * (batch.quadratic * 4096**2 + batch.linear * 4096)
    assert verdict.objective == pytest.approx(max(one, other))
    assert verdict.detail == pytest.approx(
        {"groups": 2, "micro_batches": 1, "all_to_all_share": 0,
         "idle_share": 0.5 - min(one, other) / max(one, other) / 2}
    )  # fmt: skip
    assert len(kinds.degree) == 2
    # One more token than fits.
    over = tiny([8000, 4096, 4097], 2)
    assert PROBLEM.validate(over, np.array([3, 3, 1]), World()).violations == (
        "step 0, micro-batch 0: group 1 of 1 devices holds 8193 tokens, 8192 fit",
    )
    env = SequenceParallelismEnv(over)
    env.reset()
    env.step(3), env.step(3)
    assert env.action_masks()[:3].tolist() == [False, False, False]
    with pytest.raises(IllegalActionError, match="of 4096 tokens"):
        env.step(1)
    env.reset(options={"instance": batch})
    env.step(3), env.step(3)
    assert env.action_masks()[:3].tolist() == [False, True, False]
    assert env.step(1)[4]["feasible"]
    # What a group holds adds up over all its sequences.
    env.reset(options={"instance": tiny([4096, 4096, 128], 2)})
    env.step(3), env.step(0)
    assert not env.action_masks()[0]
    # Both sequences on both devices at once.
    crowded = PROBLEM.validate(batch, np.array([3 + 1, 3 + 1, 1]), World())
    assert "take 4 devices of class 'A100', there are 2" in crowded.violations[0]


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        ([0, 0, 0], "sequence 0 joins group 0 of step 0, of which 0 are open"),
        ([3, 1, 0], "sequence 1 joins group 1"),
        ([-1, 3, 0], "-1 opens no micro-batch"),
        ([3 + 2, 3, 0], "opens no micro-batch of step 0, which has 0"),
        ([3, 0], "the plan has 2 actions for 3 sequences"),
        ([[3], [0], [0]], "whole numbers in one row"),
        ([3.0, 0.0, 0.0], "whole numbers in one row"),
        ([3, 3 + 6, 0], "opens no micro-batch"),
    ],
)
def test_what_is_no_plan_is_said(plan: list[int], says: str) -> None:
    verdict = PROBLEM.validate(tiny([900, 800, 700]), np.array(plan), World())
    assert not verdict.feasible and np.isnan(verdict.objective)
    assert says in verdict.violations[0]


def test_the_null_plan_is_legal_and_the_large_figures_of_both_halves_agree() -> None:
    # 30B, each of 512 sequences in a micro-batch of its own: a million ms.
    batch = PROBLEM.sets.load("wiki-192k:test/2")[0]
    plan = PROBLEM.null_plan(batch)
    verdict = PROBLEM.validate(batch, plan, World())
    assert verdict.feasible and verdict.objective > 1e6
    env = SequenceParallelismEnv(batch)
    env.reset()
    for action in plan.tolist():
        env.advance(action)
    assert env.report()["objective"] == pytest.approx(verdict.objective, rel=1e-12)
    two = generate(TWO | {"steps": "2"}, 0)
    assert PROBLEM.validate(two, PROBLEM.null_plan(two), World()).feasible


def test_copies_and_forks_go_their_own_way() -> None:
    env = SequenceParallelismEnv(generate(SMALL, 0))
    observation, _ = env.reset(seed=0)
    for _ in range(4):
        observation, *_ = env.step(int(np.flatnonzero(observation["action_mask"])[0]))
    before = copy.deepcopy(env.report())
    for twin in (env.fork(), copy.deepcopy(env)):
        action = int(np.flatnonzero(observation["action_mask"])[-1])
        assert twin.advance(action) == copy.copy(env).advance(action)
        assert twin.report() != before
    assert env.report() == before


def test_the_short_list_holds_legal_actions_and_the_cheapest_of_many() -> None:
    batch = generate({"degrees": "any", "sequences": "40", "shape": "crawl"}, 0)
    env = SequenceParallelismEnv(batch)
    observation, _ = env.reset(seed=0)
    rng, ended, full = np.random.default_rng(0), False, False
    while not ended:
        listed = observation["candidate_actions"]
        there = listed >= 0
        full = full or there.sum() == SHORTLIST
        assert len(set(listed[there].tolist())) == there.sum()
        assert observation["action_mask"][listed[there]].all()
        assert (observation["candidates"][:, Seen.PRESENT] == there).all()
        # Joining a group that ends early lengthens nothing.
        chosen = int(rng.choice(listed[there]))
        increase = observation["candidates"][listed == chosen, Seen.INCREASE][0]
        observation, reward, ended, _, _ = env.step(chosen)
        assert (increase == 0) == (reward == 0)
        assert observation["candidates"][:, Seen.NEW].any() or ended
    assert full


def test_both_forms_play_the_same_game() -> None:
    batch = generate(SMALL | {"steps": "2"}, 0)
    one, other = SequenceParallelismEnv(batch), SequenceParallelismEnv(batch, "shortlist")
    (seen, _), (short, _) = one.reset(seed=0), other.reset(seed=0)
    rng, ended = np.random.default_rng(0), False
    while not ended:
        row = int(rng.choice(np.flatnonzero(short["action_mask"])))
        assert (seen["candidates"] == short["candidates"]).all()
        with pytest.raises(IllegalActionError):
            other.step(63)
        seen, reward, *_ = one.step(int(seen["candidate_actions"][row]))
        short, same, ended, *_ = other.step(row)
        assert reward == same
    assert one.report() == other.report() and one.report()["feasible"]


def test_a_batch_that_is_too_large_for_the_spaces_is_refused() -> None:
    env = SequenceParallelismEnv(generate(SMALL, 0))
    with pytest.raises(InstanceError, match="make it with this instance"):
        env.reset(options={"instance": generate(SMALL | {"sequences": "10"}, 0)})
    env.reset(options={"instance": generate(SMALL | {"sequences": "3", "devices": "4"}, 0)})
    with pytest.raises(IllegalActionError, match="not legal for sequence 0 of step 0"):
        env.step(0)


def test_steps_are_independent_of_each_other() -> None:
    batch = generate(SMALL | {"steps": "2"}, 0)
    plan, info, _ = random_plan(batch, 0)
    total = 0.0
    for step in (0, 1):
        part = dataclasses.replace(
            batch, lengths=batch.lengths[batch.step == step], step=np.zeros(9, np.int64)
        )
        total += PROBLEM.validate(part, plan[9 * step : 9 * step + 9], World()).objective
    assert total == pytest.approx(info["objective"])
    assert order_of(batch)[9:].min() == 9


def test_a_picture_shows_groups_in_the_colors_of_their_degrees() -> None:
    env = SequenceParallelismEnv(generate(SMALL, 0), render_mode="rgb_array")
    observation, _ = env.reset(seed=0)
    assert (env.render() == 255).all()
    env.step(int(np.flatnonzero(observation["action_mask"])[-1]))
    picture = env.render()
    assert picture.shape == (384, 960, 3) and len(np.unique(picture.reshape(-1, 3), axis=0)) > 1
