"""The mallocGame's rules, checked by hand on small programs and on every plan of tiny ones."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sysopt_gym.core.contracts import World
from sysopt_gym.datasets.memory_mapping.builder import Builder
from sysopt_gym.datasets.memory_mapping.generator import generate
from sysopt_gym.datasets.memory_mapping.instance import ARG, OUT, TMP, Program
from sysopt_gym.datasets.memory_mapping.settings import with_settings
from sysopt_gym.envs.memory_mapping import dynamics as d
from sysopt_gym.envs.memory_mapping.objective import all_fast_bound, saving, speedup
from sysopt_gym.envs.memory_mapping.ranges import R_END, all_ranges
from sysopt_gym.envs.memory_mapping.validate import validate

SEEDS = st.integers(0, 10**6)
KB = 1000  # a thousand bytes take one microsecond in slow memory, a quarter of that in fast
US = 10**6  # picoseconds
Make = Callable[..., Program]
Walk = Callable[[Program, int], tuple[list[int], d.Static, d.State]]
New = Callable[[], Builder]


def played(program: Program, *actions: int) -> tuple[d.Static, d.State]:
    static = d.make_static(program)
    state = d.make_state(static)
    assert d.play(static, state, np.array(actions, np.int64)) == len(actions)
    return static, state


def legal(state: d.State) -> list[int]:
    return np.flatnonzero(state.mask).tolist()


def three_steps(new: New, capacity: int = 100 * KB, compute_us: float = 30.0) -> Program:
    """x is made, another instruction computes, x is read with the weight w."""
    builder = new()
    w = builder.tensor("w", 8 * KB, ARG)
    x = builder.tensor("x", 20 * KB, TMP)
    y = builder.tensor("y", 5 * KB, TMP)
    z = builder.tensor("z", 10 * KB, OUT)
    builder.instr("make", [], [x], compute_s=0.0)
    builder.instr("think", [], [y], compute_s=compute_us * 1e-6)
    builder.instr("use", [x, w], [z], compute_s=0.0)
    return builder.build("three", str(capacity))


def test_with_everything_dropped_each_instruction_takes_the_longer_of_computing_and_moving(
    builder: New,
) -> None:
    static = d.make_static(three_steps(builder))
    assert static.all_slow == (20 + 30 + 38) * US
    assert static.dec_buffer.tolist() == [1, 2, 1, 0, 3]  # x, y, x, w, z


def test_a_write_to_fast_memory_takes_the_fast_time_and_leaves_slow_memory_idle(
    builder: New,
) -> None:
    static, state = played(three_steps(builder), d.NO_COPY)
    assert state.scalars[d.TIME] == static.all_slow - 15 * US
    assert d.idle(static, state, 0) == 5 * US


def test_a_copy_takes_the_idle_time_of_earlier_instructions_latest_first(builder: New) -> None:
    program = three_steps(builder)
    static, state = played(program, d.DROP, d.NO_COPY, d.DROP, d.COPY)
    assert state.booked.tolist() == [0, 8 * US, 0]
    assert state.moves[3, d.COPY_START] == 1
    assert state.scalars[d.TIME] == static.all_slow - 6 * US


def test_a_copy_without_enough_idle_time_is_not_legal(builder: New) -> None:
    program = three_steps(builder, compute_us=12.0)
    _, state = played(program, d.DROP, d.DROP, d.DROP)
    assert legal(state) == [d.DROP]  # 12 - 5 = 7 microseconds idle, and 8 needed
    program = three_steps(builder, compute_us=13.0)
    assert legal(played(program, d.DROP, d.DROP, d.DROP)[1]) == [d.COPY, d.DROP]


def test_nothing_can_be_copied_for_the_first_instruction(builder: New) -> None:
    builder_ = builder()
    w = builder_.tensor("w", 8 * KB, ARG)
    builder_.instr("use", [w], [builder_.tensor("z", 8 * KB, OUT)])
    assert legal(d.make_state(d.make_static(builder_.build("first", "100000")))) == [d.DROP]


def test_dropping_what_only_fast_memory_has_writes_it_back_first(builder: New) -> None:
    program = three_steps(builder)
    _, state = played(program, d.NO_COPY, d.DROP, d.DROP)
    assert state.moves[2, d.EVICT_END] == 1
    assert state.booked.tolist() == [0, 20 * US, 0]
    assert state.valid[1] == 2
    short = three_steps(builder, compute_us=20.0)  # 15 microseconds idle, 20 needed
    assert legal(played(short, d.NO_COPY, d.DROP)[1]) == [d.NO_COPY]


def test_a_buffer_in_fast_memory_is_not_copied_there_again(builder: New) -> None:
    _, state = played(three_steps(builder), d.NO_COPY, d.DROP)
    assert d.COPY not in legal(state)
    assert d.NO_COPY in legal(state)


def test_what_is_written_fast_is_held_until_its_first_use(builder: New) -> None:
    program = three_steps(builder, capacity=23 * KB)
    _, state = played(program, d.NO_COPY)
    assert all_ranges(state.rects, state.counts)[R_END].tolist() == [2]
    assert legal(state) == [d.DROP]  # 3 KB are left for y, which has 5


def eviction_that_outlasts_the_residency(new: New) -> Program:
    """x is used once from fast memory, then its room is taken before its write-back can end."""
    builder = new()
    x = builder.tensor("x", 20 * KB, TMP)
    y = builder.tensor("y", 20 * KB, TMP)
    z = builder.tensor("z", 5 * KB, OUT)
    builder.instr("make", [], [x], compute_s=0.0)
    builder.instr("first", [x], [], compute_s=10e-6)
    builder.instr("other", [], [y], compute_s=30e-6)
    builder.instr("more", [y], [], compute_s=30e-6)
    builder.instr("again", [x], [z], compute_s=0.0)
    return builder.build("outlasts", str(20 * KB))


def test_a_write_back_must_end_before_its_addresses_are_used_again(builder: New) -> None:
    program = eviction_that_outlasts_the_residency(builder)
    # y takes x's addresses in "other"; "first" has 10 idle microseconds where x needs 20.
    dropped, taken = [d.NO_COPY, d.NO_COPY, d.DROP, d.DROP], [d.NO_COPY] * 4
    assert d.DROP in legal(played(program, *dropped)[1])
    _, state = played(program, *taken[:3])
    assert state.scalars[d.REWINDS] == 0
    _, state = played(program, *taken)
    assert state.scalars[d.REWINDS] == 1  # x could neither stay, nor be written back


def test_a_rewind_forces_drop_at_the_write_and_keeps_the_decisions_that_can_stand(
    builder: New,
) -> None:
    program = eviction_that_outlasts_the_residency(builder)
    static, state = played(program, *[d.NO_COPY] * 4)
    assert state.forced.tolist() == [1, 0, 0, 0, 0, 0]
    assert state.actions.tolist()[:4] == [d.DROP, d.DROP, d.NO_COPY, d.NO_COPY]
    assert state.scalars[d.POSITION] == 4
    d.play(static, state, np.array([d.DROP, d.DROP]))
    _, replayed = played(program, *state.actions.tolist())
    assert replayed.scalars[d.REWINDS] == 0
    assert replayed.scalars[d.TIME] == state.scalars[d.TIME]


def test_policy_terminate_ends_the_episode_there(builder: New) -> None:
    program = eviction_that_outlasts_the_residency(builder)
    _, state = played(with_settings(program, {"dead_end": "terminate"}), *[d.NO_COPY] * 4)
    assert state.scalars[d.OUTCOME] == d.DEAD


@given(seed=SEEDS)
@settings(max_examples=40, deadline=None)
def test_policy_reserve_has_no_dead_ends(tiny_program: Make, random_walk: Walk, seed: int) -> None:
    program = tiny_program(seed, 14, "reserve", 0.2)
    _, _, state = random_walk(program, seed)
    assert state.scalars[d.OUTCOME] == d.FINISHED
    assert state.scalars[d.REWINDS] == state.scalars[d.STALL] == 0
    assert (state.valid[state.used >= 0] < d.NEVER).all()


def test_an_output_in_fast_memory_stalls_the_end_until_it_is_written_back(builder: New) -> None:
    program = three_steps(builder)
    before = played(program, *[d.DROP] * 4)[1].scalars[d.TIME]
    _, state = played(program, *[d.DROP] * 4, d.NO_COPY)
    assert state.scalars[d.STALL] == 10 * US
    assert state.scalars[d.TIME] == before - int(7.5 * US) + 10 * US


def test_an_update_in_place_is_one_decision_for_both_its_halves(builder: New) -> None:
    builder_ = builder()
    w = builder_.tensor("w", 8 * KB, ARG)
    g = builder_.tensor("g", 8 * KB, TMP)
    new = builder_.tensor("w.new", 8 * KB, OUT, alias=w)
    builder_.instr("gradient", [], [g], compute_s=20e-6)
    builder_.instr("update", [w, g], [new], compute_s=0.0)
    program = builder_.build("update", "100000")
    static = d.make_static(program)
    assert static.dec_buffer.tolist() == [1, 0, 1]
    assert static.dec_slow.tolist() == [8 * US, 16 * US, 8 * US]
    _, state = played(program, d.NO_COPY, d.COPY)
    assert state.dirty[0] == 1  # slow memory lacks the update


@given(seed=SEEDS)
@settings(max_examples=60, deadline=None)
def test_the_savings_of_an_episode_add_up_to_the_simulated_saving_exactly(
    tiny_program: Make, seed: int
) -> None:
    program = tiny_program(seed, 12, "backup", 0.3)
    static = d.make_static(program)
    state = d.make_state(static)
    rng = np.random.default_rng(seed)
    saved = 0
    while state.scalars[d.OUTCOME] == d.GOES_ON:
        saved += d.step(static, state, int(rng.choice(legal(state))))
    assert saved == static.all_slow - state.scalars[d.TIME]
    times = np.maximum(static.instr_compute, state.slow + state.fast)
    assert state.scalars[d.TIME] == times.sum() + state.scalars[d.STALL]
    assert saving(static, saved) == pytest.approx(1 - 1 / speedup(static, state), abs=1e-15)


@given(seed=SEEDS)
@settings(max_examples=60, deadline=None)
def test_no_two_buffers_ever_share_an_address(
    tiny_program: Make, random_walk: Walk, seed: int
) -> None:
    program = tiny_program(seed, 14, "backup", 0.3)
    _, static, state = random_walk(program, seed)
    rects = all_ranges(state.rects, state.counts).T.tolist()
    assert all(top <= static.capacity for _, top, *_ in rects)
    for (low, top, start, end, _), (low2, top2, start2, end2, _) in itertools.combinations(
        rects, 2
    ):
        assert top <= low2 or top2 <= low or end < start2 or end2 < start


@given(seed=SEEDS)
@settings(max_examples=60, deadline=None)
def test_copies_never_take_more_than_the_idle_time(
    tiny_program: Make, random_walk: Walk, seed: int
) -> None:
    _, static, state = random_walk(tiny_program(seed, 14, "backup", 0.3), seed)
    assert all(d.idle(static, state, i) >= 0 for i in range(len(static.instr_slow)))
    assert (state.booked >= 0).all()


@given(seed=SEEDS, fast_write_bw=st.sampled_from([4e9, 0.3e9]))  # the second is below slow_bw
@settings(max_examples=40, deadline=None)
def test_no_plan_of_a_tiny_program_beats_the_all_fast_bound_and_all_that_end_are_judged_alike(
    tiny_program: Make, seed: int, fast_write_bw: float
) -> None:
    program = replace(tiny_program(seed, 3, "terminate", 0.6), fast_write_bw=fast_write_bw)
    static = d.make_static(program)
    count = min(5, len(static.dec_instr))
    bound = all_fast_bound(static)
    for head in itertools.product(range(3), repeat=count):
        state = d.make_state(static)
        if d.play(static, state, np.array(head)) < count:
            continue
        while state.scalars[d.OUTCOME] == d.GOES_ON:
            d.step(static, state, legal(state)[-1])
        verdict = validate(program, state.actions[: state.scalars[d.POSITION]], World())
        if state.scalars[d.OUTCOME] == d.FINISHED:
            assert verdict.objective == speedup(static, state) <= bound + 1e-12


@given(seed=SEEDS)
@settings(max_examples=20, deadline=None)
def test_a_restored_state_plays_on_as_the_saved_one(tiny_program: Make, seed: int) -> None:
    program = tiny_program(seed, 10)
    rng = np.random.default_rng(seed)
    static = d.make_static(program)
    state = d.make_state(static)
    for _ in range(int(rng.integers(len(static.dec_instr)))):
        d.step(static, state, int(rng.choice(legal(state))))
    saved, other = d.copy_state(state), d.make_state(static)
    d.restore_state(other, saved)
    ends: list[Any] = []
    for one in (state, other):
        while one.scalars[d.OUTCOME] == d.GOES_ON:
            d.step(static, one, legal(one)[0])
        ends.append((one.scalars.tolist(), one.actions.tolist(), one.moves.tolist()))
    assert ends[0] == ends[1]


@given(seed=SEEDS)
@settings(max_examples=20, deadline=None)
def test_the_gain_of_an_action_is_what_its_step_saves(tiny_program: Make, seed: int) -> None:
    program = tiny_program(seed, 10, "reserve")
    rng = np.random.default_rng(seed)
    static = d.make_static(program)
    state = d.make_state(static)
    while state.scalars[d.OUTCOME] == d.GOES_ON:
        action = int(rng.choice(legal(state)))
        expected = d.gain(static, state, action)
        assert d.step(static, state, action) == expected


def test_a_train_step_meets_dead_ends_evictions_and_stalls() -> None:
    """The generator's programs exercise what the rules above are for."""
    program = generate({"kind": "chain", "layers": "8", "train": "1"}, 1)
    static = d.make_static(program)
    state = d.make_state(static)
    while state.scalars[d.OUTCOME] == d.GOES_ON:
        d.step(static, state, legal(state)[0])
    assert state.scalars[d.REWINDS] > 0
    assert (state.moves[:, d.EVICT_END] >= 0).any()
