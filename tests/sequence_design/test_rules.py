"""Legality, masks and repairs against the plain reading of the rules, on all short sequences."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruled_designs import draw_ruled, every_legal, every_sequence, keeps
from sysopt_gym.core.errors import InstanceError
from sysopt_gym.datasets.sequence_design.instance import DesignTask
from sysopt_gym.envs.sequence_design.rules import (
    edits,
    legal,
    letters_after,
    letters_at,
    likeliest,
    repaired,
    starting_designs,
)

SEEDS = st.integers(0, 10**6)
SOME = settings(max_examples=40, deadline=None)


@given(seed=SEEDS, letters=st.integers(2, 4))
@SOME
def test_legal_is_the_plain_reading_of_the_rules(seed: int, letters: int) -> None:
    task = draw_ruled(seed, letters)
    every = every_sequence(task)
    assert legal(task, every).tolist() == [keeps(task, row) for row in every]


@given(seed=SEEDS)
@SOME
def test_masks_offer_exactly_the_letters_that_can_be_completed(seed: int) -> None:
    task = draw_ruled(seed, 3)
    good = every_legal(task)
    for at in range(task.length):
        prefixes = np.unique(good[:, :at], axis=0)
        tokens = np.full((len(prefixes), task.length), task.letters, np.int8)
        tokens[:, :at] = prefixes
        offered = letters_at(task, tokens, at)
        for prefix, mask in zip(prefixes, offered, strict=True):
            can = {int(row[at]) for row in good if (row[:at] == prefix).all()}
            assert set(np.flatnonzero(mask)) == can


@given(seed=SEEDS)
@SOME
def test_masks_of_lanes_at_different_positions_are_those_of_each_alone(seed: int) -> None:
    task, rng = draw_ruled(seed), np.random.default_rng(seed)
    good = every_legal(task)
    rows = good[rng.integers(len(good), size=8)]
    at = rng.integers(0, task.length, 8)
    alone = [
        letters_at(task, row[None], int(place))[0] for row, place in zip(rows, at, strict=True)
    ]
    assert np.array_equal(letters_at(task, rows, at), alone)
    assert np.array_equal(letters_after(task, rows)[np.arange(8), at], np.array(alone) > 0)


def test_lanes_at_different_positions_keep_banned_pairs_where_there_is_no_other_rule(
    tiny_task: Callable[..., DesignTask],
) -> None:
    task = next(task for task in map(tiny_task, range(20)) if task.banned[-1].any())
    at = np.arange(8) % task.length
    tokens = np.where(np.arange(task.length) < at[:, None], task.sequences[:8], task.letters)
    masks = letters_at(task, tokens.astype(np.int8), at)
    for row, place, mask in zip(tokens, at, masks, strict=True):
        free = ~task.banned[row[place - 1]] if place else np.ones(task.letters, np.bool_)
        assert np.array_equal(mask > 0, free)


@given(seed=SEEDS)
@SOME
def test_edits_lead_from_legal_sequences_to_all_legal_neighbors(seed: int) -> None:
    task = draw_ruled(seed, 3)
    good = every_legal(task)[:40]
    for row, mask in zip(good, edits(task, good), strict=True):
        assert mask[-1] == 1
        for edit, offered in enumerate(mask[:-1]):
            place, letter = divmod(edit, task.letters)
            near = row.copy()
            near[place] = letter
            assert bool(offered) == (letter != row[place] and keeps(task, near))


@given(seed=SEEDS)
@SOME
def test_repairs_keep_legal_sequences_and_change_others_into_near_legal_ones(seed: int) -> None:
    task, rng = draw_ruled(seed, 3), np.random.default_rng(seed)
    every, good = every_sequence(task), every_legal(task)
    for mended in (repaired(task, every), repaired(task, every, rng)):
        assert all(keeps(task, row) for row in mended)
        kept = np.array([keeps(task, row) for row in every])
        assert np.array_equal(mended[kept], every[kept])
        if not task.most_changes or len(task.references) == 1:  # else near one reference
            nearest = (every[:, None] != good).sum(axis=2).min(axis=1)
            assert np.array_equal((mended != every).sum(axis=1), nearest)
    assert all(keeps(task, row) for row in starting_designs(task))


@given(seed=SEEDS)
@SOME
def test_the_likeliest_sequence_is_the_best_of_all_that_keep_the_first_letters(seed: int) -> None:
    task, rng = draw_ruled(seed, 3), np.random.default_rng(seed)
    try:
        task = dataclasses.replace(task, references=task.references[:1])
    except InstanceError:  # none is near the first reference
        return
    good = every_legal(task)
    scores = rng.normal(size=(5, task.length, task.letters))
    rows = good[rng.integers(len(good), size=5)]
    at = rng.integers(0, task.length, 5)
    places = np.arange(task.length)
    for one, row, end, score in zip(
        likeliest(task, scores, rows, at), rows, at, scores, strict=True
    ):
        rest = good[(good[:, :end] == row[:end]).all(axis=1)]
        totals = score[places, rest][:, end:].sum(axis=1)
        assert one.tolist() == rest[totals.argmax()].tolist()


def test_a_task_that_no_sequence_can_satisfy_is_refused() -> None:
    task = draw_ruled(3, 2)
    with pytest.raises(InstanceError, match="no sequence keeps all rules"):
        dataclasses.replace(task, forbidden=("A", "C"))
    with pytest.raises(InstanceError, match="no letter is left for position 1"):
        barred = np.zeros((task.length, 2), np.bool_)
        barred[1] = True
        dataclasses.replace(task, barred=barred)
    with pytest.raises(InstanceError, match="'G' is not in the alphabet"):
        dataclasses.replace(task, forbidden=("AG",))
    with pytest.raises(InstanceError, match="give both or none"):
        dataclasses.replace(task, references=task.sequences[:2], most_changes=0)
