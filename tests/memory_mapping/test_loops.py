"""Programs with loops: every legal plan can be executed in the unrolled program."""

from __future__ import annotations

import dataclasses
import importlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.contracts import World
from sysopt_gym.datasets.memory_mapping.builder import Builder, Use
from sysopt_gym.datasets.memory_mapping.instance import (
    ARG,
    DEAD_ENDS,
    OUT,
    TMP,
    Program,
    accesses,
    peak_bytes,
)
from sysopt_gym.datasets.memory_mapping.splits import SETS
from sysopt_gym.envs.memory_mapping import dynamics as d
from sysopt_gym.envs.memory_mapping.objective import speedup
from sysopt_gym.envs.memory_mapping.plan import buffer_names
from sysopt_gym.envs.memory_mapping.ranges import all_ranges
from sysopt_gym.envs.memory_mapping.state import P_EVICT_END
from sysopt_gym.envs.memory_mapping.validate import validate
from sysopt_gym.methods.memory_mapping import proof
from sysopt_gym.methods.memory_mapping.best import Best
from sysopt_gym.methods.memory_mapping.wishes import play_wishes

SEEDS = st.integers(0, 10**6)
KIB = 1024
New = Callable[[], Builder]
Make = Callable[..., Program]
Walk = Callable[[Program, int], tuple[list[int], d.Static, d.State]]


Trips = tuple[int, ...]  # the trip of each loop around an instruction, the outermost first


def unroll(program: Program) -> Iterator[tuple[int, Trips]]:
    """Every execution of an instruction, in order: the instruction, and the trips it is in."""
    loops = program.loops

    def run(first: int, last: int, rows: list[int], trips: Trips) -> Iterator[tuple[int, Trips]]:
        at = first
        while at <= last:
            row = next((r for r in rows if loops[r].first == at), None)
            if row is None:
                yield at, trips
                at += 1
                continue
            inner = [r for r in rows if r > row and loops[r].last <= loops[row].last]
            for trip in range(loops[row].trips):
                yield from run(at, loops[row].last, inner, (*trips, trip))
            rows = [r for r in rows if r != row and r not in inner]
            at = loops[row].last + 1

    yield from run(0, program.n_instrs - 1, list(range(len(loops))), ())


def around(program: Program, instr: int) -> list[int]:
    return [row for row, (first, last, _) in enumerate(program.loops) if first <= instr <= last]


@dataclass
class Transfer:
    """A copy or a write-back: its window, and how many loops are around it."""

    buffer: int
    first: int  # instruction that it begins with
    last: int  # and the one that it is done by
    level: int
    offset: int  # in fast memory
    idle: bool = False  # a copy for a use that writes the whole buffer: any data will do
    version: int = -1  # of what is moved

    @property
    def at(self) -> tuple[int, int]:
        return self.buffer, self.offset


@dataclass
class Plan:
    """A finished plan, decision by decision."""

    copies: list[Transfer] = field(default_factory=list)
    write_backs: list[Transfer] = field(default_factory=list)
    through: list[bool] = field(default_factory=list)


def carry_out(program: Program, static: d.Static, actions: np.ndarray) -> tuple[d.State, Plan]:
    """Play a plan without rewinds; what is booked must be where it may be, and no more than is."""
    state, plan = d.make_state(static), Plan()
    for k, action in enumerate(actions.tolist()):
        instr, buffer = int(static.dec_instr[k]), int(static.dec_buffer[k])
        own, wrote, booked = around(program, instr), int(state.dirty[buffer]), state.booked.copy()
        held_at = int(state.offset[buffer])
        ends = int(state.pending[P_EVICT_END]) if action != d.NO_COPY else -1
        d.step(static, state, action)
        start, ring = int(state.moves[k, d.COPY_START]), int(state.moves[k, d.COPY_RING])
        open_to: list[tuple[Transfer, int]] = []
        if ends >= 0:
            made = int(static.dec_instr[wrote])
            both = [row for row in own if row in around(program, made)]
            first = max(
                [made, *(program.loops[r].last for r in around(program, made) if r not in both)]
            )
            plan.write_backs.append(Transfer(buffer, first + 1, ends, len(both), held_at))
            open_to.append((plan.write_backs[-1], both[-1] if both else -1))
            assert ends < min([instr, *(program.loops[r].first for r in own if r not in both)])
        if start >= 0:
            level = len(own) if ring < 0 else ring - int(static.dec_ring[k])
            before = instr if ring < 0 else program.loops[own[level]].first
            offset = int(state.moves[k, d.OFFSET])
            replaces = bool(accesses(program).replaces[accesses(program).decides][k])
            plan.copies.append(Transfer(buffer, start, before, level, offset, replaces))
            open_to.append((plan.copies[-1], own[level - 1] if level else -1))
        if state.scalars[d.OUTCOME] == d.GOES_ON:
            taken = state.booked - booked
            assert (taken >= 0).all()
            runs = [
                int(
                    np.prod(
                        [
                            loop.trips
                            for loop in program.loops[: r + 1]
                            if loop.first <= program.loops[r].first <= loop.last
                        ]
                    )
                )
                for _, r in open_to
            ]
            assert taken.sum() == int(static.buf_copy[buffer]) * sum(runs)
            for at in np.flatnonzero(taken):
                assert any(
                    t.first <= at <= t.last and (r < 0 or r in around(program, int(at)))
                    for t, r in open_to
                )
        plan.through.append(
            bool(static.dec_writes[k]) and action != d.DROP and state.dirty[buffer] != k
        )
    assert (
        state.booked <= np.maximum(static.instr_compute, state.slow + state.fast) - state.slow
    ).all()
    assert state.scalars[d.OUTCOME] == d.FINISHED
    return state, plan


def execute(program: Program, static: d.Static, actions: np.ndarray) -> None:
    """Execute a plan in the unrolled program, and assert that each use finds the present data.

    What the plan says of a decision holds in every execution of its instruction. Whatever has an
    address range at an instruction destroys what others have in it.
    """
    state, plan = carry_out(program, static, actions)
    a = accesses(program)
    replaces = a.replaces[a.decides]
    ranges = all_ranges(state.rects, state.counts).T.tolist()
    for at, (low, top, start, end, _) in enumerate(ranges):
        assert 0 <= low < top <= static.capacity
        for low2, top2, start2, end2, _ in ranges[:at]:
            assert top <= low2 or top2 <= low or end < start2 or end2 < start, "ranges overlap"
    buffers = len(static.buf_size)
    version = [0] * buffers
    slow = [0 if known else -1 for known in static.buf_at_start]
    fast: dict[tuple[int, int], int] = {}  # version, by buffer and offset; -1 while it is copied
    loops = program.loops
    for instr, trips in unroll(program):
        rows = around(program, instr)
        for copy in plan.copies:
            if copy.last == instr and not any(trips[copy.level :]):
                assert copy.idle or slow[copy.buffer] == version[copy.buffer] == copy.version
                assert fast.get(copy.at) == -1, "overwritten while it is copied"
                fast[copy.at] = copy.version
        for copy in plan.copies:
            if copy.first == instr and not any(trips[copy.level :]):
                assert copy.idle or slow[copy.buffer] == version[copy.buffer], "copied old data"
                copy.version = version[copy.buffer]
                fast[copy.at] = -1
        for back in plan.write_backs:
            if back.first == instr and not any(trips[back.level :]):
                assert fast[back.at] == version[back.buffer], "nothing to write back"
                back.version = version[back.buffer]
        for low, top, start, end, owner in ranges:
            for other, offset in list(fast):
                meets = offset < top and low < offset + int(static.buf_size[other])
                if start <= instr <= end and meets and other != owner:
                    del fast[other, offset]
        for k in range(int(static.instr_first[instr]), int(static.instr_first[instr + 1])):
            b, writes = int(static.dec_buffer[k]), bool(static.dec_writes[k])
            known = version[b] > 0 or bool(static.buf_at_start[b])
            where = f"decision {k}, trips {trips}"
            if actions[k] == d.DROP:
                assert slow[b] == version[b] or replaces[k] or not known, f"{where}: slow is old"
                if writes:
                    version[b] += 1
                    slow[b] = version[b]
                continue
            offset = int(state.moves[k, d.OFFSET])
            if known and not replaces[k]:
                assert fast.get((b, offset)) == version[b], f"{where}: not there"
            if writes:
                if plan.through[k]:
                    assert replaces[k] or not known or slow[b] == version[b], (
                        f"{where}: through to old data"
                    )
                version[b] += 1
                fast[b, offset] = version[b]
                if plan.through[k]:
                    slow[b] = version[b]
        for back in plan.write_backs:
            last = [trip == loops[r].trips - 1 for r, trip in zip(rows, trips, strict=True)]
            if back.last == instr and all(last[back.level :]):
                assert fast[back.at] == version[back.buffer] == back.version
                slow[back.buffer] = version[back.buffer]
    for b in np.flatnonzero(static.buf_at_end):
        at = (int(b), int(state.offset[b]))
        assert slow[b] == version[b] or fast[at] == version[b], "an output is lost"


@pytest.mark.parametrize("dead_end", DEAD_ENDS)
@given(seed=SEEDS, instrs=st.integers(3, 14), share=st.sampled_from([0.2, 0.4, 0.7, 1.0]))
@settings(max_examples=120, deadline=None)
def test_every_legal_plan_can_be_executed_in_the_unrolled_program(
    looped_program: Make, random_walk: Walk, dead_end: str, seed: int, instrs: int, share: float
) -> None:
    program = looped_program(seed, instrs, dead_end, share)
    _, static, state = random_walk(program, seed)
    if state.scalars[d.OUTCOME] == d.FINISHED:
        execute(program, static, state.actions)


@pytest.mark.parametrize("dead_end", DEAD_ENDS)
@given(seed=SEEDS, instrs=st.integers(3, 14), share=st.sampled_from([0.2, 0.4, 0.7, 1.0]))
@settings(max_examples=60, deadline=None)
def test_the_validator_agrees_with_the_dynamics(
    looped_program: Make, random_walk: Walk, dead_end: str, seed: int, instrs: int, share: float
) -> None:
    program = looped_program(seed, instrs, dead_end, share)
    actions, static, state = random_walk(program, seed)
    verdict = validate(program, np.array(actions), World())
    if state.scalars[d.OUTCOME] == d.FINISHED:
        assert verdict.violations == ()
        assert verdict.objective == speedup(static, state)
        assert verdict.detail["rewinds"] == state.scalars[d.REWINDS]
        assert verdict.detail["stall_us"] == state.scalars[d.STALL] / 1e6
    else:
        assert "dead end" in verdict.violations[0]
    state = d.make_state(static)
    stop = np.random.default_rng(seed).integers(len(actions))
    d.play(static, state, np.array(actions[:stop], np.int64))
    for action in range(3):
        said = validate(program, np.array([*actions[:stop], action]), World()).violations[:1]
        assert (bool(said) and "is not legal" in said[0]) == (state.mask[action] == 0)


@given(seed=SEEDS)
@settings(max_examples=60, deadline=None)
def test_what_an_action_gains_is_what_its_step_saves(looped_program: Make, seed: int) -> None:
    program = looped_program(seed, 10, "reserve")
    rng = np.random.default_rng(seed)
    static = d.make_static(program)
    state = d.make_state(static)
    while state.scalars[d.OUTCOME] == d.GOES_ON:
        action = int(rng.choice(np.flatnonzero(state.mask)))
        expected = d.gain(static, state, action)
        assert d.step(static, state, action) == expected


def reuse(new: Builder, capacity: str = "3MiB") -> Program:
    """h is updated in every trip with u and, later in the trip, with v; p is made anew."""
    mib = 1 << 20
    x = new.tensor("x", 64 * KIB, ARG)
    u, v = new.tensor("u", mib, ARG), new.tensor("v", mib, ARG)
    h, p = new.tensor("h", mib, TMP), new.tensor("p", mib, TMP)
    new.instr("before", [x], [h], compute_s=4e-3)
    with new.loop(100):
        new.instr("add", [h, u], [p])
        new.instr("think", [Use(p, KIB)], [], compute_s=5e-6)
        new.instr("multiply", [p, v], [new.tensor("q", mib, OUT, alias=h)])
    return new.build("reuse", capacity)


# A byte takes a nanosecond in slow memory, a quarter of it in fast. One of six operands is slow,
# and the last trip's q is written back at the end; us.
MOVED = 100 * (1 << 20) / 1e3
BEST_REUSE = (4.5e3 + 6 * MOVED) / (4.5e3 + (1 + 5 / 4) * MOVED + MOVED / 100)


def test_what_all_trips_read_has_addresses_of_its_own(builder: New) -> None:
    """With h and p in fast memory one MiB is left: u or v stays, the other is slow."""
    program = reuse(builder())
    assert peak_bytes(program) == 4 << 20
    static = d.make_static(program)
    state, best = d.make_state(static), 0.0
    for wishes in itertools.product((0, 1), repeat=program.n_decisions):
        play_wishes(static, state, np.array(wishes, np.int8))
        execute(program, static, state.actions)
        best = max(best, speedup(static, state))
    assert best == pytest.approx(BEST_REUSE, rel=1e-6)


def test_a_copy_before_a_loop_is_made_once_and_held_to_its_end(builder: New) -> None:
    program = reuse(builder())
    static = d.make_static(program)
    names = buffer_names(program)
    state = d.make_state(static)
    while state.scalars[d.OUTCOME] == d.GOES_ON:
        u = names[static.dec_buffer[state.scalars[d.POSITION]]] == "u"
        d.step(static, state, d.COPY if u else d.DROP)
    assert state.booked.tolist() == [(1 << 20) * 1000, 0, 0, 0]
    (held,) = all_ranges(state.rects, state.counts).T.tolist()
    assert held[2:4] == [0, 3]


def test_a_copy_that_finds_no_time_before_the_loop_is_made_in_every_trip(builder: New) -> None:
    new = builder()
    x, w = new.tensor("x", 8 * KIB, ARG), new.tensor("w", 20 * KIB, ARG)
    with new.loop(3):
        new.instr("think", [x], [], compute_s=40e-6)
        new.instr("use", [w], [new.tensor("t", 8 * KIB, TMP)])
    static = d.make_static(new.build("each", "100000"))
    state = d.make_state(static)
    d.step(static, state, d.DROP)
    assert state.mask[d.COPY]
    d.step(static, state, d.COPY)
    assert state.booked.tolist() == [3 * 20 * KIB * 1000, 0]
    assert state.moves[1, d.COPY_RING] == -1


def state_in_a_loop(new: Builder, capacity: str) -> Program:
    """s is read and then updated in every trip."""
    s = new.tensor("s", 20 * KIB, TMP)
    new.instr("make", [], [s], compute_s=1e-3)
    with new.loop(4):
        new.instr("read", [s], [], compute_s=1e-4)
        new.instr("update", [s], [s])
    new.instr("end", [s], [new.tensor("z", 20 * KIB, OUT)], compute_s=1e-3)
    return new.build("state", capacity)


def test_the_first_use_in_a_loop_settles_where_all_trips_find_the_buffer(builder: New) -> None:
    static = d.make_static(state_in_a_loop(builder(), "100000"))
    state = d.make_state(static)
    for action in (d.NO_COPY, d.NO_COPY):
        d.step(static, state, action)
    assert np.flatnonzero(state.mask).tolist() == [d.NO_COPY]  # the next trip reads it there
    state = d.make_state(static)
    for action in (d.NO_COPY, d.DROP):
        d.step(static, state, action)
    assert np.flatnonzero(state.mask).tolist() == [d.COPY, d.DROP]  # the old copy is given up
    time = state.scalars[d.TIME]
    d.step(static, state, d.COPY)
    assert state.dirty[0] == -1  # written through, since the next trip reads slow memory
    assert time - state.scalars[d.TIME] == (2 * 20 - 20 // 4 - 20 - 20 // 4) * KIB * 4 * 1000


def test_an_accumulator_is_held_through_the_loop_that_adds_to_it(builder: New) -> None:
    new = builder()
    x, whole = new.tensor("x", 8 * KIB, ARG), new.tensor("stack", 64 * KIB, TMP)
    with new.loop(8):
        new.instr("work", [x], [new.tensor("part", 8 * KIB, TMP)])
        new.instr("put", [x], [Use(whole, 8 * KIB)])
        new.instr("more", [x], [])
    new.instr("end", [whole], [])
    static = d.make_static(new.build("stack", "100000"))
    state = d.make_state(static)
    while state.scalars[d.OUTCOME] == d.GOES_ON:
        d.step(static, state, d.NO_COPY if static.dec_buffer[state.scalars[d.POSITION]] == 1
               and state.mask[d.NO_COPY] else d.DROP)  # fmt: skip
    (held,) = all_ranges(state.rects, state.counts).T.tolist()
    assert held[2:4] == [0, 3]


def test_the_peak_counts_what_a_loop_carries_throughout_the_loop(builder: New) -> None:
    new = builder()
    u, v = new.tensor("u", 10 * KIB, ARG), new.tensor("v", 20 * KIB, ARG)
    with new.loop(5):
        made = new.tensor("made", 7 * KIB, TMP)
        new.instr("early", [u], [made])
        new.instr("late", [v, made], [])
        new.instr("rest", [], [new.tensor("alone", 5 * KIB, TMP)])
    assert peak_bytes(new.build("peak", "1/1")) == 37 * KIB


def test_no_plan_of_a_scan_writes_over_what_the_next_trip_reads() -> None:
    program = SETS.load("hlo/6")[0]
    assert len(program.loops) == 2
    rng = np.random.default_rng(0)
    static = d.make_static(program)
    state = d.make_state(static)
    for share in (0.3, 0.6, 0.9, 1.0):
        wishes = (rng.random(program.n_decisions) < share).astype(np.int8)
        play_wishes(static, state, wishes)
        assert validate(program, state.actions, World()).violations == ()
        short = dataclasses.replace(program, loop_trips=np.full(2, 3))
        quick = d.make_static(short)
        again = d.make_state(quick)
        play_wishes(quick, again, wishes)
        execute(short, quick, again.actions)


@given(seed=SEEDS, dead_end=st.sampled_from(DEAD_ENDS), instrs=st.integers(3, 7))
@settings(max_examples=25, deadline=None)
def test_no_plan_of_a_tiny_program_beats_the_bound(
    looped_program: Make, seed: int, dead_end: str, instrs: int
) -> None:
    program = looped_program(seed, instrs, dead_end, 0.6)
    assume(program.n_decisions <= 9)
    found = Best(program, Budget(seconds=20.0).start())
    state = d.make_state(found.static)
    best = 1.0
    for wishes in itertools.product((0, 1), repeat=program.n_decisions):
        play_wishes(found.static, state, np.array(wishes, np.int8))
        best = max(best, speedup(found.static, state))
    assert best <= proof.prove(found, 0) * (1 + 1e-9)


SEARCHES = ("greedy", "threshold", "xla_msa", "local_search", "beam", "milp", "portfolio")


@pytest.mark.parametrize("name", SEARCHES)
def test_solvers_find_what_can_be_executed_and_prove_no_more(builder: New, name: str) -> None:
    program = reuse(builder())
    module = importlib.import_module(f"sysopt_gym.solvers.memory_mapping.{name}")
    solution = module.solve(program, Budget(seconds=20.0, evaluations=200), 0)
    verdict = validate(program, solution.actions, World())
    assert verdict.objective == pytest.approx(BEST_REUSE, rel=1e-6)
    if name in ("milp", "portfolio"):
        assert solution.status == "optimal"


@pytest.mark.parametrize("name", SEARCHES)
@given(seed=SEEDS, dead_end=st.sampled_from(DEAD_ENDS))
@settings(max_examples=6, deadline=None)
def test_plans_of_programs_with_loops_are_feasible_and_within_the_bound(
    looped_program: Make, name: str, seed: int, dead_end: str
) -> None:
    program = looped_program(seed, 10, dead_end, 0.4)
    module = importlib.import_module(f"sysopt_gym.solvers.memory_mapping.{name}")
    solution = module.solve(program, Budget(seconds=20.0, evaluations=40), 0)
    verdict = validate(program, solution.actions, World())
    assert verdict.feasible, verdict.violations
    assert solution.bound is None or verdict.objective <= solution.bound * (1 + 1e-9)
