"""Plans of memory mapping that the judge plays while a fault is planted.

Tiny random programs in which exact fits, exact times, odd sizes under an alignment, unlike
bandwidths, updates in place, loops and pins are common; long ones, whose address ranges ended long
ago. On each, legal walks, and the same walks with one illegal action, too short and too long.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

import numpy as np
from sysopt_gym.core.contracts import World
from sysopt_gym.core.errors import InstanceError
from sysopt_gym.datasets.memory_mapping.builder import Builder
from sysopt_gym.datasets.memory_mapping.instance import (
    ARG,
    AWAY,
    DEAD_ENDS,
    OUT,
    SMALLEST_BYTES,
    TMP,
    Program,
)
from sysopt_gym.envs.memory_mapping import dynamics as d
from tiny_programs import KIB, ROUND, make_looped_program, make_program

Case = tuple[str, Program, np.ndarray, World]
PROGRAMS, COARSE_PROGRAMS, LONG_PROGRAMS = 110, 12, 4
FEW = 4  # decisions of which all plans are played
SPOILED = 3  # plans with an illegal action, of each walk
# Weights of Copy, NoCopy and Drop in random walks.
TASTES = ((1.0, 1.0, 1.0), (8.0, 8.0, 1.0), (1.0, 1.0, 4.0))
# The last action leads to a dead end that the first use in a loop is to blame for.
DEAD_END_IN_A_LOOP = (
    1, 0, 0, 1, 2, 2, 2, 2, 1, 2, 2, 2, 1, 2, 0, 1, 2, 1, 1, 2, 2, 2, 2, 1, 2, 2, 2, 2, 1,
)  # fmt: skip


def cases() -> Iterator[Case]:
    """Yield name, program, plan and world; the order is the same each time."""
    for program in (one for one in programs() if one.n_decisions <= FEW):
        for every in itertools.product(range(3), repeat=program.n_decisions):
            yield f"{program.name}, {every}", program, np.array(every, np.int64), World()
    for program in programs():
        rng = np.random.default_rng(len(program.name) + program.n_decisions)
        yield program.name, program, np.full(program.n_decisions, d.DROP, np.int64), World()
        for taste in TASTES:
            walked, wrong = walk(program, rng, np.array(taste))
            named = f"{program.name}, {walked}"
            plan = np.array(walked, np.int64)
            yield named, program, plan, World()
            for spoiled in wrong:
                yield f"{named}, spoiled", program, np.array(spoiled, np.int64), World()
        if program.dead_end == "terminate":  # goes on after a dead end
            twin = changed(program, dead_end="backup")
            goes_on = np.array(walk(twin, rng, np.array(TASTES[1]))[0], np.int64)
            yield f"{program.name} as if backup", program, goes_on, World()
        yield f"{named}, too short", program, plan[:-1], World()
        yield f"{named}, too long", program, np.append(plan, d.DROP), World()
        for odd in (-1, 3):
            yield f"{named}, no action", program, np.append(plan[:-1], odd), World()
    program = make_looped_program(714, 15, "backup", 0.4)
    yield "dead end in a loop", program, np.array(DEAD_END_IN_A_LOOP, np.int64), World()
    for seed in range(LONG_PROGRAMS):
        program = make_program(seed, 110, DEAD_ENDS[seed % 3], 0.2)
        taste = np.array(TASTES[seed % 2])
        plan = np.array(walk(program, np.random.default_rng(seed), taste)[0], np.int64)
        yield f"long {seed}", program, plan, World()


def programs() -> Iterator[Program]:
    """Yield the tiny programs, those made by hand first."""
    yield from by_hand()
    for seed in range(PROGRAMS):
        make = make_looped_program if seed % 2 else make_program
        rng = np.random.default_rng(seed)
        program = make(
            seed, int(rng.integers(3, 15)), DEAD_ENDS[seed // 2 % 3], rng.choice([0.2, 0.4, 0.7])
        )
        yield varied(program, seed, rng)
    for seed in range(COARSE_PROGRAMS):
        yield coarse(make_program(seed, 16, DEAD_ENDS[seed % 3], 0.5))


def varied(program: Program, seed: int, rng: np.random.Generator) -> Program:
    """Return a program with other sizes of memory, bandwidths or times, by its seed."""
    if seed % 3 == 0:  # what fits, fits exactly
        owners = np.flatnonzero((program.tensor_alias < 0) & (program.tensor_size >= 4 * KIB))
        some = rng.choice(owners, min(len(owners), int(rng.integers(1, 4))), replace=False)
        room = int(program.tensor_size[some].sum())
        program = changed(program, capacity=room)
    if seed % 5 < 2:
        align = int(rng.choice([256, 1000, 3 * KIB]))
        program = changed(program, alignment=min(align, program.capacity))
    if seed % 4 < 2:
        program = changed(
            program, fast_read_bw=5e9, fast_write_bw=1.7e9, copy_scale=float(rng.choice([0.7, 2.0]))
        )
    else:  # copies take whole KiB, and find as many to the KiB
        steps = np.round(program.instr_compute_s / 1e-6)
        program = changed(program, instr_compute_s=steps * KIB * 1e-9)
    return program


def coarse(program: Program) -> Program:
    """Return a program whose buffers have one, two or three times the same size, so that gaps of
    equal size are common.
    """
    size, step = program.tensor_size, 12 * KIB
    rounded = np.where(size >= SMALLEST_BYTES, -(-size // step) * step, size)
    whole = program.op_bytes == size[program.op_tensor]
    moved = np.where(whole, rounded[program.op_tensor], program.op_bytes)
    return changed(
        program, name=f"coarse {program.name}", tensor_size=rounded, op_bytes=moved,
        capacity=6 * step,
    )  # fmt: skip


def changed(program: Program, **changes: object) -> Program:
    """Return a program with other fields, or as it is where nothing were left to decide."""
    try:
        return dataclasses.replace(program, **changes)  # type: ignore[arg-type]
    except InstanceError:
        return program


def by_hand() -> Iterator[Program]:
    """Yield programs at the edges: buffers as large as counts, as fits, and a little larger."""
    new = Builder(ROUND)
    tensors = [
        new.tensor(name, size, kind)
        for name, size, kind in (
            ("smallest", SMALLEST_BYTES, ARG),
            ("too small", SMALLEST_BYTES - 1, ARG),
            ("all of it", 20 * KIB, ARG),
            ("more than it", 20 * KIB + 1, ARG),
            ("out", 12 * KIB, OUT),
            ("made", 8 * KIB, TMP),
        )
    ]
    new.instr("think", [tensors[0]], [], compute_s=1e-4)
    new.instr("read", tensors[:4], [tensors[5]], compute_s=1e-4)
    new.instr("end", [tensors[5]], [tensors[4]], compute_s=1e-6)
    for dead_end in DEAD_ENDS:
        edges = new.build(f"edges {dead_end}", str(20 * KIB), dead_end)
        yield edges
        yield dataclasses.replace(edges, name=f"odd {dead_end}", capacity=20 * KIB + 3, alignment=8)
    new = Builder(ROUND)
    small, out = new.tensor("small", 100, ARG), new.tensor("out", 12 * KIB, OUT)
    for name, written in (
        ("make", [out]),
        ("think", []),
        ("last", [new.tensor("t", 9 * KIB, TMP)]),
    ):
        new.instr(name, [small], written, compute_s=1e-5)
    for dead_end in DEAD_ENDS:  # the last instruction has no room beside the output
        yield new.build(f"last {dead_end}", str(20 * KIB), dead_end)
    new = Builder(ROUND)
    small, first = new.tensor("small", 100, ARG), new.tensor("first", 12 * KIB, TMP)
    beside = new.tensor("beside", 12 * KIB, TMP)
    new.instr("make", [small], [first], compute_s=1e-4)
    new.instr("use", [first], [], compute_s=1e-4)
    new.instr("make both", [small], [beside, first], compute_s=1e-4)
    for dead_end in DEAD_ENDS:  # `beside` may take the room of `first`, which then cannot stay
        yield new.build(f"beside {dead_end}", str(20 * KIB), dead_end)
    new = Builder(ROUND)
    small, out = new.tensor("small", 100, ARG), new.tensor("out", 12 * KIB, OUT)
    other = new.tensor("other", 12 * KIB, ARG)
    new.instr("make", [small], [out], compute_s=1e-4)
    new.instr("write back", [small], [], compute_s=1e-4)
    new.instr("use", [out], [], compute_s=1e-4)
    new.instr("use slowly", [out], [])
    new.instr("copied", [other], [], compute_s=1e-4)
    yield new.build("given up", str(20 * KIB))  # `out` is held to `use`, when `other` is copied
    just = (12 * KIB + 100) / ROUND.slow_bw  # for `small`, and for a copy of the others
    new = Builder(ROUND)
    small, given = new.tensor("small", 100, ARG), new.tensor("given", 12 * KIB, ARG)
    made = new.tensor("made", 12 * KIB, TMP)
    new.instr("copy", [small], [], compute_s=just)
    new.instr("make", [given], [made])
    new.instr("write back", [small], [], compute_s=just)
    new.instr("use", [made], [])
    yield new.build("just in time", str(40 * KIB))
    new = Builder(ROUND)
    small, first = new.tensor("small", 100, ARG), new.tensor("first", 12 * KIB, TMP)
    new.instr("make", [small], [first])
    new.instr("write back", [first], [], compute_s=1e-4)
    new.instr("make other", [small], [new.tensor("other", 12 * KIB, TMP)])
    new.instr("use", [first], [])
    yield new.build("there and back", str(36 * KIB))  # there is no time after the write-back
    new = Builder(ROUND)
    small, out = new.tensor("small", 100, ARG), new.tensor("out", 12 * KIB, OUT)
    host = new.tensor("host", 12 * KIB, OUT, pin=AWAY)
    new.instr("make", [small], [out, host])
    new.instr("write back", [small], [], compute_s=1e-4)
    new.instr("use slowly", [out], [])
    new.instr("make other", [small], [new.tensor("other", 12 * KIB, TMP)])
    new.instr("use", [out], [])
    yield new.build("written back", str(36 * KIB))  # the copy for `use` may begin in `use slowly`
    new = Builder(ROUND)
    small, state = new.tensor("small", 100, ARG), new.tensor("state", 12 * KIB, ARG)
    new.instr("before", [small], [], compute_s=1e-4)
    with new.loop(3):
        new.instr("read", [state], [], compute_s=1e-5)
        new.instr("update", [state], [state], compute_s=1e-5)
        new.instr("read again", [state], [], compute_s=1e-5)
    yield new.build("in a loop", str(20 * KIB))
    yield from loops_by_hand()
    # No time passes, whatever is done.
    still = dataclasses.replace(edges, name="still", op_bytes=edges.op_bytes * 0)
    yield dataclasses.replace(still, instr_compute_s=still.instr_compute_s * 0.0)


def loops_by_hand() -> Iterator[Program]:
    """Yield programs with loops whose copies can be made in one place alone."""
    new = Builder(ROUND)
    small, state = new.tensor("small", 100, ARG), new.tensor("state", 12 * KIB, TMP)
    new.instr("make", [small], [state], compute_s=1e-4)
    with new.loop(2):
        new.instr("make anew", [small], [state])
        with new.loop(2):
            new.instr("use", [state], [])
            new.instr("beside", [small], [new.tensor("other", 12 * KIB, TMP)])
    for room in (20 * KIB, 28 * KIB):  # of `state`, which all inner trips find, and of `other`
        yield new.build(f"made anew {room}", str(room))
    new = Builder(ROUND)
    small, state = new.tensor("small", 100, ARG), new.tensor("state", 12 * KIB, TMP)
    with new.loop(2):
        new.instr("make", [small], [state])
        new.instr("wait", [small], [], compute_s=1e-4)
    new.instr("use", [state], [])
    yield new.build("no time after", str(20 * KIB))  # `state` is made again after `wait`
    new = Builder(ROUND)
    small, state = new.tensor("small", 100, ARG), new.tensor("state", 12 * KIB, ARG)
    new.instr("before", [small], [], compute_s=1e-4)
    with new.loop(2):
        new.instr("use slowly", [state], [])
        with new.loop(2):
            new.instr("wait", [small], [], compute_s=1e-4)
            new.instr("use", [state], [])
        new.instr("change", [state], [state])
    yield new.build("changed later", str(20 * KIB))  # the copy for `use` is made in `wait`
    new = Builder(ROUND)
    small, state = new.tensor("small", 100, ARG), new.tensor("state", 12 * KIB, TMP)
    new.instr("make", [small], [state])
    new.instr("write back", [state], [], compute_s=1e-4)
    new.instr("make other", [small], [new.tensor("other", 12 * KIB, TMP)])
    with new.loop(2):
        new.instr("wait", [small], [], compute_s=1e-4)
        new.instr("use", [state], [])
    yield new.build("back in a loop", str(36 * KIB))  # before the loop there is no time left


def walk(
    program: Program, rng: np.random.Generator, taste: np.ndarray
) -> tuple[list[int], list[list[int]]]:
    """Play a random legal episode.

    Args:
        program: the program.
        rng: draws the actions.
        taste: weights of Copy, NoCopy and Drop.

    Returns:
        Its actions, and plans in which one of them is an illegal action in place of a legal one.
    """
    static = d.make_static(program)
    state = d.make_state(static)
    actions: list[int] = []
    places: list[tuple[int, int]] = []
    while state.scalars[d.OUTCOME] == d.GOES_ON:
        weights = taste * state.mask
        places += [(len(actions), int(action)) for action in np.flatnonzero(state.mask == 0)]
        actions.append(int(rng.choice(3, p=weights / weights.sum())))
        d.step(static, state, actions[-1])
    chosen = rng.permutation(len(places))[:SPOILED]
    return actions, [
        [*actions[:at], action, *actions[at + 1 :]]
        for at, action in map(places.__getitem__, chosen)
    ]
