"""Every contender, every form of the game and the validator keep a task's rules."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruled_designs import draw_ruled, every_legal, every_sequence, keeps
from sysopt_gym.agents.sequence_design import players
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.contracts import Verdict, World
from sysopt_gym.core.errors import IllegalActionError
from sysopt_gym.core.notes import InputNote
from sysopt_gym.core.play import Task, run
from sysopt_gym.core.registry import contender_names, load_contender, load_problem
from sysopt_gym.datasets.sequence_design.instance import DesignTask, make_task, seal
from sysopt_gym.datasets.sequence_design.settings import with_settings
from sysopt_gym.envs.sequence_design import validate as judge
from sysopt_gym.envs.sequence_design.env import SequenceDesignEnv
from sysopt_gym.envs.sequence_design.proxy import Ensemble, fit, normal_scores
from sysopt_gym.envs.sequence_design.proxy.networks import Perceptrons
from sysopt_gym.envs.sequence_design.vector_env import SequenceDesignVectorEnv
from sysopt_gym.methods.sequence_design import ascent, language_model
from sysopt_gym.solvers.sequence_design import bdi, bib, cbas, coms, mins

NAMES = tuple(contender_names("sequence_design"))
PROBLEM = load_problem("sequence_design")
SEEDS = st.integers(0, 10**6)


@pytest.fixture(autouse=True, scope="module")
def short_everything() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "FEWEST_STEPS", 5)
        patch.setattr(fit, "_REFERENCE", {})
        patch.setattr(language_model, "STEPS", 5)
        patch.setattr(coms, "STEPS", 10)
        patch.setattr(ascent, "STEPS", 10)
        patch.setattr(bdi, "STEPS", 4)
        patch.setattr(bib, "STEPS_DNA", 4)
        patch.setattr(cbas, "FIRST_STEPS", 5)
        patch.setattr(mins, "STEPS", 10)
        patch.setattr(players, "WARM_BATCHES", 5)
        yield


@pytest.mark.parametrize("name", NAMES)
def test_every_contenders_designs_keep_the_rules(name: str) -> None:
    for seed in (1, 2, 3):
        task = draw_ruled(seed)
        contender = load_contender("sequence_design", name)
        if contender.form == "player":
            task = with_settings(task, {"rounds": "2", "batch": "3"})
        solution = run(contender, PROBLEM, Task(task, Budget(20.0, 150), seed, 0))
        plan = np.asarray(solution.actions)
        designs = plan.reshape(-1, task.length)
        assert all(keeps(task, design) for design in designs)
        assert (
            len(designs) or name == "offline_best"
        )  # which has none if no measured row keeps them
        assert judge.validate(task, plan, World()).feasible


@given(seed=SEEDS)
@settings(max_examples=25, deadline=None)
def test_the_validator_reads_the_rules_as_the_documentation_says_them(seed: int) -> None:
    task = draw_ruled(seed, 3)
    every = every_sequence(task)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judge, "_judged", lambda *_: Verdict(0.0, True))
        for design in every[np.random.default_rng(seed).permutation(len(every))[:30]]:
            verdict = judge.validate(task, design.astype(np.int64), World())
            assert verdict.feasible == keeps(task, design)
            assert verdict.feasible or "design 0" in verdict.violations[0]


def blind(task: DesignTask) -> Ensemble:
    """Return a proxy that has learned nothing, in no time."""
    networks = Perceptrons(1, task.sequences[0], task.letters, 1.0, np.random.default_rng(0))
    return Ensemble((networks,), np.ones(1), normal_scores(task)[1])


@given(seed=SEEDS, form=st.sampled_from(["construct", "mutate", "batch"]))
@settings(max_examples=30, deadline=None)
def test_masked_play_never_ends_in_a_dead_end_nor_in_a_broken_rule(seed: int, form: str) -> None:
    task = draw_ruled(seed)
    env = SequenceDesignEnv(task, form=form, designs=3, edits=3, proxy=blind(task))
    env.action_space.seed(seed)
    first = env.action_space.sample()  # legal after the reset to come, without having seen it
    observation, _ = env.reset(seed=seed)
    ended, action = False, first
    while not ended:
        if form != "batch":
            mask = observation["action_mask"]
            assert mask.any()
            action = env.action_space.sample() if action is None else action
            assert mask[action] == 1
        observation, _, ended, _, _ = env.step(action)
        action = None
    assert all(keeps(task, design) for design in env.handed_in.unique)


@given(seed=SEEDS)
@settings(max_examples=20, deadline=None)
def test_what_is_masked_out_is_refused_and_changes_nothing(seed: int) -> None:
    task, rng = draw_ruled(seed), np.random.default_rng(seed)
    for form in ("construct", "mutate"):
        env = SequenceDesignEnv(task, form=form, designs=1, edits=3, proxy=blind(task))
        observation, _ = env.reset(seed=seed)
        if form == "construct":
            for _ in range(int(rng.integers(task.length))):
                observation, *_ = env.step(env.action_space.sample())
        for action in np.flatnonzero(observation["action_mask"] == 0):
            before = observation["tokens"].copy()
            with pytest.raises(IllegalActionError):
                env.step(int(action))
            assert np.array_equal(env.tokens, before)
    batch = SequenceDesignEnv(task, form="batch", designs=1, proxy=blind(task))
    batch.reset(seed=seed)
    broken = [row for row in every_sequence(task) if not keeps(task, row)]
    if broken:
        with pytest.raises(IllegalActionError, match="breaks another rule"):
            batch.step(broken[0].astype(np.int64))


@given(seed=SEEDS)
@settings(max_examples=15, deadline=None)
def test_lanes_that_step_together_have_the_masks_of_single_environments(seed: int) -> None:
    task = draw_ruled(seed)
    lanes = SequenceDesignVectorEnv(3, task, designs=2, proxy=blind(task))
    singles = [SequenceDesignEnv(task, designs=2, proxy=blind(task)) for _ in range(3)]
    lanes.action_space.seed(seed)
    actions = lanes.action_space.sample()
    together, _ = lanes.reset(seed=seed)
    alone = [env.reset(seed=seed + lane)[0] for lane, env in enumerate(singles)]
    for _ in range(2 * task.length):
        for lane, one in enumerate(alone):
            assert np.array_equal(together["action_mask"][lane], one["action_mask"])
        together, *_ = lanes.step(actions)
        alone = [env.step(int(a))[0] for env, a in zip(singles, actions, strict=True)]
        actions = lanes.action_space.sample()


@given(seed=SEEDS)
@settings(max_examples=20, deadline=None)
def test_batches_are_padded_alike_by_the_game_and_the_judge_legal_rows_first(seed: int) -> None:
    task = draw_ruled(seed)
    some = every_legal(task)[:1]
    env = SequenceDesignEnv(task, proxy=blind(task))
    env.reset(seed=seed)
    env.handed_in.add(some[0])
    padded, uniques = judge.judged_batch(task, some[0].astype(np.int64))
    assert uniques == 1 and np.array_equal(padded, env.handed_in.batch())
    held = [keeps(task, row) for row in padded]
    assert held == sorted(held, reverse=True)


def test_doing_nothing_keeps_the_rules_even_where_no_measured_row_does() -> None:
    rng = np.random.default_rng(0)
    rows = np.unique(rng.integers(0, 3, (20, 5)), axis=0).astype(np.int8)
    rows[:, 2] = 0  # A, everywhere
    rows = np.unique(rows, axis=0)
    task = make_task("t", "ACG", rows, rng.normal(size=len(rows)), {"landscape": "measured"},
                     batch_size=3)  # fmt: skip
    task = with_settings(task, {"allowed": "3:CG"})
    assert not any(keeps(task, row) for row in task.sequences)
    plan = PROBLEM.null_plan(task).reshape(-1, task.length)
    assert len(plan) and all(keeps(task, row) for row in plan)


@pytest.mark.parametrize("name", ["ga", "adalead", "cma_es"])
def test_long_proteins_of_which_four_sites_vary_keep_the_other_letters(
    name: str, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    letters = np.array(list("ACDEFGHIKLMNPQRSTVWY"))
    rows = np.tile(rng.choice(letters, 120), (60, 1))
    sites = [38, 39, 40, 53]
    rows[:, sites] = rng.choice(letters, (60, 4))
    scores = rng.normal(size=60) + (rows[:, 39] == "W")
    lines = [f"{''.join(row)},{score}" for row, score in zip(rows, scores, strict=True)]
    (tmp_path / "gb.csv").write_text("\n".join(["sequence,score", *lines]))
    with pytest.warns(InputNote, match="116 of 120 positions never vary"):
        task = PROBLEM.load_file(tmp_path / "gb.csv", {"offline": "1", "batch": "8"})
    plan = load_contender("sequence_design", name).object(seal(task), Budget(20.0, 300), 0).actions
    designs = np.asarray(plan).reshape(-1, 120)
    changed = (designs != task.sequences[0]).any(axis=0)
    assert len(designs) == 8 and set(np.flatnonzero(changed)) <= set(sites)
    away = (task.sequences != designs[:, None]).sum(axis=2).min(axis=1)
    assert away.max() <= task.most_changes or not task.most_changes
