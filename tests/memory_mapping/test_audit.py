"""The validator's audit of a finished plan finds what the game's rules would not have allowed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from sysopt_gym.core.contracts import World
from sysopt_gym.datasets.memory_mapping.builder import Builder
from sysopt_gym.datasets.memory_mapping.instance import ARG, OUT, TMP, Program
from sysopt_gym.envs.memory_mapping import reference_game
from sysopt_gym.envs.memory_mapping.reference import (
    Range,
    Record,
    Task,
    Transfer,
    Trips,
    audit_space,
)
from sysopt_gym.envs.memory_mapping.validate import validate

KIB = 1024
New = Callable[[], Builder]
A, MADE, END = range(3)


@pytest.fixture
def program(builder: New) -> Program:
    """Instruction 0 reads a, 1 reads a and writes made, 2 reads made and writes the output."""
    new = builder()
    a, made = new.tensor("a", 8 * KIB, ARG), new.tensor("made", 8 * KIB, TMP)
    end = new.tensor("end", 8 * KIB, OUT)
    new.instr("think", [a], [], compute_s=1e-4)
    new.instr("make", [a], [made], compute_s=1e-4)
    new.instr("finish", [made], [end], compute_s=1e-4)
    return replace(new.build("audited", str(20 * KIB)), alignment=KIB)


@pytest.fixture
def task(program: Program) -> Task:
    return Task.read(program)


def held(buffer: int, offset: int, start: int, end: int) -> Range:
    return Range(buffer, offset * KIB, 8 * KIB, start, end, start)


@pytest.mark.parametrize(
    ("ranges", "told"),
    [
        ([held(A, 0, 0, 1), held(MADE, 8, 1, 2)], []),
        ([held(A, 12, 0, 1)], []),
        ([held(A, 13, 0, 1)], ["a: its range ends beyond fast memory"]),
        ([held(A, -8, 0, 1)], ["a: its range ends beyond fast memory"]),
        ([held(A, 0, 0, 1), held(MADE, 4, 1, 2)], ["made and a overlap"]),
        ([held(A, 0, 0, 0), held(MADE, 4, 1, 2)], []),
        ([Range(A, 100, 8 * KIB, 0, 1, 0)], ["a: its offset 100 is not aligned"]),
    ],
)
def test_ranges_must_be_in_fast_memory_aligned_and_apart(
    task: Task, ranges: list[Range], told: list[str]
) -> None:
    assert audit_space(task, Record(ranges=ranges)) == told


@pytest.mark.parametrize("at", [1, 2])
def test_a_range_is_used_only_while_it_is_held(task: Task, at: int) -> None:
    use = next(use for use in task.uses if use.buffer == MADE and use.instr == at)
    place = held(MADE, 0, 1, 1)
    found = audit_space(task, Record([place], [(use, place, False)]))
    assert found == ([] if at == 1 else ["made is not in fast memory at 2"])


def played(task: Task, **changes: object) -> Record:
    """a is copied in during instruction 0 and used at 1; made stays; the output is written back."""
    reads, makes, last = (
        held(A, 0, 0, 1), held(MADE, 8, 1, 2), held(END, 0, 2, 2),
    )  # fmt: skip
    uses = {(use.buffer, use.instr): use for use in task.uses}
    copy, back = Transfer(A, 1, 0, opens=0, closes=1), Transfer(END, 1, 0, closes=2)
    record = Record(
        [reads, makes, last],
        [
            (uses[A, 0], None, False), (uses[A, 1], reads, False), (uses[MADE, 1], makes, False),
            (uses[MADE, 2], makes, False), (uses[END, 2], last, False),
        ],
        [(copy, reads, uses[A, 1])],
        [(back, last)],
    )  # fmt: skip
    return replace(record, **changes)  # type: ignore[arg-type]


def test_a_plan_that_finds_all_its_data_passes(task: Task) -> None:
    assert Trips(task, played(task)).follow() == []


def test_an_output_that_is_not_written_back_is_found(task: Task) -> None:
    assert Trips(task, played(task, write_backs=[])).follow() == ["end is not written back at 2"]


def test_a_use_of_what_another_range_has_overwritten_is_found(task: Task) -> None:
    record = played(task)
    record.ranges[1].offset = 0  # made lies where a still is
    assert "a is not in fast memory at 1" in Trips(task, record).follow()


def test_a_use_of_slow_memory_that_lacks_the_data_is_found(task: Task) -> None:
    record = played(task)
    record.accesses[3] = (record.accesses[3][0], None, False)
    assert Trips(task, record).follow() == ["made is not in slow memory at 2"]


def test_a_write_back_of_what_was_never_there_is_found(task: Task) -> None:
    record = played(task)
    record.write_backs[0] = (record.write_backs[0][0], record.ranges[0])
    assert "end is overwritten before it is written back at 2" in Trips(task, record).follow()


def test_a_copy_whose_room_is_overwritten_meanwhile_is_found(task: Task) -> None:
    record = played(task)
    record.ranges.append(held(END, 4, 0, 0))
    assert "a is overwritten while it is copied at 1" in Trips(task, record).follow()


def drops(task: Task) -> reference_game.Game:
    game = reference_game.Game(task)
    while game.position < len(task.uses):
        game.take(reference_game.DROP, game.options(set())[reference_game.DROP])
    return game


@pytest.mark.parametrize(
    ("needs", "moved", "told"),
    [
        (8, 8, []),
        (8, 7, ["a: a copy is not finished"]),
        (10**12, 10**12, ["instruction 0: slow memory moves more than it can"]),
    ],
)
def test_a_copy_must_be_finished_in_the_time_that_slow_memory_has(
    task: Task, needs: int, moved: int, told: list[str]
) -> None:
    game = drops(task)
    transfer = Transfer(A, needs, 0, opens=0, closes=1, parts={0: moved})
    place = Range(A, 0, 8 * KIB, 0, 1, 0)
    game.record.copies.append((transfer, place, task.uses[1]))
    assert [one for one in game.audit() if "copied" not in one] == told


def test_a_copy_may_take_all_the_time_that_slow_memory_has_and_no_more(task: Task) -> None:
    for more, told in ((0, []), (1, ["instruction 0: slow memory moves more than it can"])):
        game = drops(task)
        spare = game.time(0) - game.slow[0] + more
        transfer = Transfer(A, spare, 0, opens=0, closes=1, parts={0: spare})
        game.record.copies.append((transfer, Range(A, 0, 8 * KIB, 0, 1, 0), task.uses[1]))
        assert game.audit() == told


def test_the_validator_refuses_a_plan_whose_audit_finds_something(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference_game, "audit_space", lambda task, record: ["a and made overlap"])
    plan = np.full(program.n_decisions, reference_game.DROP)
    verdict = validate(program, plan, World())
    assert not verdict.feasible and verdict.violations == ("a and made overlap",)
