"""The validator's game and what it looks things up in agree with what one would do by hand."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sysopt_gym.datasets.memory_mapping.instance import DEAD_ENDS, Program
from sysopt_gym.envs.memory_mapping.reference import Task
from sysopt_gym.envs.memory_mapping.reference_game import Game
from sysopt_gym.envs.memory_mapping.reference_lookups import Amounts, Timeline

Make = Callable[..., Program]
SEEDS = st.integers(0, 10**6)


@dataclass(eq=False)
class Stay:
    start: int
    end: int


@given(
    stays=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60))),
    first=st.integers(0, 70),
    length=st.integers(0, 70),
)
def test_a_timeline_yields_each_span_that_lasts_over_the_instructions(
    stays: list[tuple[int, int, int]], first: int, length: int
) -> None:
    timeline, spans = Timeline[Stay](), []
    for start, lasts, then in stays:
        spans.append(Stay(start, start + lasts))
        timeline.add(spans[-1])
        timeline.set_end(spans[-1], start + then)
    for gone in spans[::3]:
        timeline.remove(gone)
    wanted = [
        span
        for at, span in enumerate(spans)
        if at % 3 and span.start <= first + length and first <= span.end
    ]
    assert sorted(map(id, timeline.during(first, first + length))) == sorted(map(id, wanted))


@given(
    amounts=st.lists(st.sampled_from([0, 0, 1, 7]), min_size=1, max_size=40),
    changes=st.lists(st.tuples(st.integers(0, 39), st.sampled_from([0, 3]))),
    ends=st.tuples(st.integers(0, 40), st.integers(0, 40)),
)
def test_amounts_are_added_and_found_as_one_by_one(
    amounts: list[int], changes: list[tuple[int, int]], ends: tuple[int, int]
) -> None:
    kept, count = Amounts(amounts), len(amounts)
    for at, amount in changes:
        amounts[at % count] = amount
        kept.set(at % count, amount)
    low, high = (min(end, count) for end in ends)
    for instrs in (range(low, high), range(high - 1, low - 1, -1)):
        assert kept.total(instrs) == sum(amounts[at] for at in instrs)
        assert list(kept.nonzero(instrs)) == [at for at in instrs if amounts[at]]


@pytest.mark.parametrize("dead_end", DEAD_ENDS)
@given(seed=SEEDS)
@settings(max_examples=25, deadline=None)
def test_a_decision_that_is_taken_back_was_never_made(
    tiny_program: Make, looped_program: Make, dead_end: str, seed: int
) -> None:
    make = looped_program if seed % 2 else tiny_program
    task, rng = Task.read(make(seed, 10, dead_end)), np.random.default_rng(seed)
    game, befores = Game(task), []
    while game.position < len(task.uses) and (legal := game.options(set())):
        befores.append(facts(game))
        action = int(rng.choice(list(legal)))
        game.take(action, legal[action])
    while befores:
        game.take_back()
        assert facts(game) == befores.pop()


def facts(game: Game) -> Any:
    """What a game has come to, as values; ranges by what they are."""
    ranges = [(r.buffer, r.offset, r.start, r.end, r.since) for r in game.record.ranges]
    held = {buffer: game.record.ranges.index(place) for buffer, place in game.held.items()}
    placed = sorted(map(game.record.ranges.index, game.placed.during(0, len(game.slow))))
    times = [*game.slow, *game.fast, *game.taken_by_copies]
    idle = [game.idle[i] for i in range(len(game.slow))]
    others = copy.deepcopy((game.touched, game.in_slow, game.stored))
    counts = [len(rows) for rows in game.record.lists()]
    return game.position, ranges, held, placed, times, idle, others, counts
