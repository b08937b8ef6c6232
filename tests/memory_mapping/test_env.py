"""The environment says what the dynamics do, and shows it."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from result_rows import make_row
from sysopt_gym.core.contracts import World
from sysopt_gym.core.errors import (
    IllegalActionError,
    InstanceError,
    SettingError,
    SolutionError,
    UnknownNameError,
)
from sysopt_gym.datasets.memory_mapping.instance import Program
from sysopt_gym.envs.memory_mapping import dynamics as d
from sysopt_gym.envs.memory_mapping.env import MallocGameEnv
from sysopt_gym.envs.memory_mapping.observation import (
    DECISION_FEATURES,
    PAST,
    fixed_features,
    observe,
)
from sysopt_gym.envs.memory_mapping.packed import LAYOUT, pack, state_in, unpack
from sysopt_gym.envs.memory_mapping.plan import export_plan
from sysopt_gym.envs.memory_mapping.problem import PROBLEM
from sysopt_gym.envs.memory_mapping.ranges import all_ranges
from sysopt_gym.envs.memory_mapping.render import frame
from sysopt_gym.envs.memory_mapping.validate import validate
from sysopt_gym.evaluation.pictures.memory_mapping import pictures

SEEDS = st.integers(0, 10**6)
Make = Callable[..., Program]


def play_out(env: MallocGameEnv, seed: int, **options: Any) -> tuple[list[int], float, Any, Any]:
    """Random legal actions to the end: actions, return, last observation and info."""
    rng = np.random.default_rng(seed)
    observation, info = env.reset(seed=seed, options=options)
    actions, total, ended = [], 0.0, False
    while not ended:
        assert env.observation_space.contains(observation)
        actions.append(int(rng.choice(np.flatnonzero(observation["action_mask"]))))
        observation, reward, ended, truncated, info = env.step(actions[-1])
        assert not truncated
        total += reward
    return actions, total, observation, info


def test_gymnasiums_checker_finds_nothing_to_warn_of() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(MallocGameEnv("small:test"), skip_render_check=True)


@given(seed=SEEDS)
@settings(max_examples=25, deadline=None)
def test_the_return_is_the_simulated_saving(tiny_program: Make, seed: int) -> None:
    program = tiny_program(seed, 12, "backup", 0.3)
    actions, total, _, info = play_out(MallocGameEnv(program), seed)
    verdict = validate(program, np.array(actions), World())
    assert info["feasible"] and verdict.feasible
    assert info["objective"] == verdict.objective
    assert total == pytest.approx(1 - 1 / verdict.objective, abs=1e-12)
    assert len(actions) == program.n_decisions


@given(seed=SEEDS)
@settings(max_examples=25, deadline=None)
def test_a_dead_end_under_policy_terminate_makes_the_return_minus_one(
    tiny_program: Make, seed: int
) -> None:
    program = tiny_program(seed, 14, "terminate", 0.25)
    actions, total, observation, info = play_out(MallocGameEnv(program), seed)
    assert info["feasible"] == validate(program, np.array(actions), World()).feasible
    assert observation["action_mask"].tolist() == [0, 0, 1]
    if not info["feasible"]:
        assert total == pytest.approx(-1.0)


def test_illegal_actions_raise_and_change_nothing(tiny_program: Make) -> None:
    env = MallocGameEnv(tiny_program(5))
    observation, _ = env.reset(seed=0)
    before = env.state
    illegal = [*np.flatnonzero(observation["action_mask"] == 0).tolist(), 3, -1]
    for action in illegal:
        with pytest.raises(IllegalActionError, match="is not legal for decision 0"):
            env.step(action)
    assert all(np.array_equal(a, b) for a, b in zip(before, env.state, strict=True))
    play_out(env, 1)
    with pytest.raises(IllegalActionError, match="the episode is over"):
        env.step(d.DROP)


def test_what_was_observed_never_changes_afterwards(tiny_program: Make) -> None:
    env = MallocGameEnv(tiny_program(5))
    first, _ = env.reset(seed=0)
    kept = {key: value.copy() for key, value in first.items()}
    play_out(env, 1)
    assert all(np.array_equal(first[key], kept[key]) for key in kept)


def test_a_given_program_is_played(tiny_program: Make) -> None:
    env = MallocGameEnv("small:test")
    program = tiny_program(9)
    assert len(play_out(env, 0, instance=program)[0]) == program.n_decisions
    with pytest.raises(UnknownNameError, match="reset option"):
        env.reset(options={"capacity": 3})


def test_settings_are_applied_to_every_program() -> None:
    env = MallocGameEnv("small:test", settings={"capacity": "1/2", "dead_end": "reserve"})
    assert {program.dead_end for program in env.instances} == {"reserve"}
    with pytest.raises(UnknownNameError, match="memory_mapping setting"):
        MallocGameEnv("small:test", settings={"mnl": "3"})


def test_impossible_arguments_are_refused(tiny_program: Make) -> None:
    with pytest.raises(InstanceError, match="no instances"):
        MallocGameEnv([])
    with pytest.raises(SettingError, match="window"):
        MallocGameEnv(tiny_program(1), window=0)
    with pytest.raises(SettingError, match="render_mode"):
        MallocGameEnv(tiny_program(1), render_mode="smoke signals")


def test_an_environment_survives_pickling(tiny_program: Make) -> None:
    env = pickle.loads(pickle.dumps(MallocGameEnv(tiny_program(5))))
    assert play_out(env, 3)[0] == play_out(MallocGameEnv(tiny_program(5)), 3)[0]


@given(seed=SEEDS)
@settings(max_examples=20, deadline=None)
def test_the_picture_of_addresses_shows_what_is_held_now(tiny_program: Make, seed: int) -> None:
    env = MallocGameEnv(tiny_program(seed, 10, "backup", 0.4))
    rng = np.random.default_rng(seed)
    observation, _ = env.reset(seed=seed)
    for _ in range(int(rng.integers(1, env.program.n_decisions))):
        action = int(rng.choice(np.flatnonzero(observation["action_mask"])))
        observation, _, ended, _, _ = env.step(action)
        if ended:
            return
    state, static = env.state, env.static
    now = static.dec_instr[state.scalars[d.POSITION]]
    offset, top, start, end, _ = all_ranges(state.rects, state.counts)
    here = (start <= now) & (now <= end)
    held = (top - offset)[here].sum()
    assert observation["occupancy"][PAST].mean() == pytest.approx(held / static.capacity, abs=1e-5)
    assert observation["globals"][3] == pytest.approx(1 - held / static.capacity, abs=1e-5)


def test_the_first_row_is_the_decision_to_take(tiny_program: Make) -> None:
    env = MallocGameEnv(tiny_program(5), window=4)
    observation, _ = env.reset(seed=0)
    row = dict(zip(DECISION_FEATURES, observation["decisions"][0].tolist(), strict=True))
    static = env.static
    size = static.buf_size[static.dec_buffer[0]]
    assert row["size"] == pytest.approx(size / static.capacity)
    assert row["writes"] == static.dec_writes[0]
    assert row["same_buffer"] == row["same_instruction"] == row["present"] == 1


@given(seed=SEEDS)
@settings(max_examples=10, deadline=None)
def test_the_packed_episode_is_the_same_arrays(tiny_program: Make, seed: int) -> None:
    static = d.make_static(tiny_program(seed))
    ints = pack(static)
    again, state = LAYOUT.view(ints, d.Static), state_in(ints)
    assert all(np.array_equal(a, b) for a, b in zip(static, again, strict=True))
    d.reset(again, state)
    assert all(np.array_equal(a, b) for a, b in zip(state, d.make_state(static), strict=True))
    window = [
        np.zeros(shape, np.float32) for shape in ((4, len(DECISION_FEATURES)), (32, 32), 24, 8)
    ]
    observe(again, state, fixed_features(static), *window)
    assert window[0][0, 0] == 1


@given(seed=SEEDS)
@settings(max_examples=5, deadline=None)
def test_a_copied_packed_episode_goes_its_own_way(tiny_program: Make, seed: int) -> None:
    static = d.make_static(tiny_program(seed))
    played = pack(static)
    for copied in (copy.deepcopy, lambda array: pickle.loads(pickle.dumps(array))):
        state, twin = state_in(played), copied(played)
        if state.scalars[d.OUTCOME] != d.GOES_ON:
            return
        before = state_in(twin).scalars[d.POSITION]
        d.step(static, state, int(state.mask.argmax()))
        assert state_in(played).scalars[d.POSITION] > before
        assert state_in(twin).scalars[d.POSITION] == before


def test_compiled_code_reads_and_writes_the_same_views(tiny_program: Make) -> None:
    @njit
    def mark(packed: np.ndarray) -> int:
        static, state = unpack(packed)
        state.rects[4, 0], state.dirty[0], state.moves[0, 2] = 7, 8, 9
        return int(static.all_slow)

    static = d.make_static(tiny_program(3))
    packed = pack(static)
    state = state_in(packed)
    assert mark(packed) == static.all_slow
    assert (state.rects[4, 0], state.dirty[0], state.moves[0, 2]) == (7, 8, 9)


def test_restoring_brings_back_every_field(tiny_program: Make) -> None:
    static = d.make_static(tiny_program(4))
    saved = d.make_state(static)
    for number, array in enumerate(saved):
        array[:] = number + 1
    saved.counts[:] = (len(static.dec_instr) + 1, 0, 0)
    other = d.make_state(static)
    d.restore_state(other, saved)
    assert all(np.array_equal(a, b) for a, b in zip(other, saved, strict=True))


def random_plan(program: Program, seed: int) -> list[int]:
    return play_out(MallocGameEnv(program), seed)[0]


def test_the_exported_plan_says_where_every_buffer_is(tiny_program: Make) -> None:
    program = tiny_program(7, 10)
    rows = export_plan(program, np.array(random_plan(program, 2)))
    assert len(rows) == program.n_decisions
    for row in rows:
        assert row["buffer"] in program.tensor_names
        assert (row["offset"] >= 0) == (row["action"] != "drop")
        assert (row["copy_from"] >= 0) == (row["action"] == "copy")
        assert row["copy_from"] <= row["copy_to"]
    with pytest.raises(SolutionError, match="no plan to export"):
        export_plan(program, np.array([d.COPY]))


def test_a_frame_shows_fast_memory_and_the_reports_pictures_are_drawn(tiny_program: Make) -> None:
    program = tiny_program(7, 10)
    env = MallocGameEnv(program, render_mode="rgb_array")
    env.reset(seed=0)
    before = env.render()
    for _ in range(5):
        env.step(int(np.flatnonzero(env.state.mask)[0]))
    assert before.shape == (480, 960, 3) and before.dtype == np.uint8
    assert not np.array_equal(before, env.render())
    assert frame(env.static, env.state, 200, 100).shape == (100, 200, 3)
    key, colors = program.content_hash, {"c0": "#0072B2", "c1": "#D55E00"}
    rows = [
        make_row(
            f"c{seed}", objective=1.0 + seed, instance_hash=key, actions=random_plan(program, seed)
        )
        for seed in range(2)
    ]
    drawn = pictures(rows, {key: program}, colors)
    assert len(drawn) == 3
    assert all(picture.png.startswith(b"\x89PNG") for picture in drawn)
    assert all(picture.instances == (key,) and " us" in picture.result for picture in drawn)
    failed = dataclasses.replace(rows[0], feasible=False)
    assert pictures([failed], {key: program}, colors) == []


def test_the_problem_describes_its_programs() -> None:
    facts = PROBLEM.describe(PROBLEM.warm_up_instance())
    assert facts["decisions"] == PROBLEM.warm_up_instance().n_decisions
    assert PROBLEM.objective(PROBLEM.warm_up_instance()).direction == "maximize"
    for name in PROBLEM.defaults.instances:
        assert len(PROBLEM.sets.load(name)) == 1
