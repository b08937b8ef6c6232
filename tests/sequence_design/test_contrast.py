"""The proxy that learns from what an offline set lacks."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.notes import InputNote
from sysopt_gym.datasets.sequence_design.instance import DesignTask, make_task, seal
from sysopt_gym.datasets.sequence_design.settings import with_settings
from sysopt_gym.envs.sequence_design.rules import legal
from sysopt_gym.methods.sequence_design.kmers import count, total, words
from sysopt_gym.solvers.sequence_design import contrast

MEASURED = {"landscape": "measured"}


def bound(seed: int, shown: float = 1.0) -> DesignTask:
    """8-mers that score by their best match to random weights of five letters, on either strand."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(0, 4, (3000, 8))
    tokens = np.unique(np.concatenate([tokens, 3 - tokens[:, ::-1]]), axis=0).astype(np.int8)
    weights = rng.normal(size=(5, 4))

    def match(read: np.ndarray) -> np.ndarray:
        places = [weights[np.arange(5), read[:, at : at + 5]].sum(1) for at in range(4)]
        return np.max(places, axis=0)

    scores = np.maximum(match(tokens), match(3 - tokens[:, ::-1]))
    kept = np.argsort(scores, kind="stable")[: round(shown * len(scores))]
    return make_task(f"bound-{seed}", "ACGT", tokens[kept], scores[kept], MEASURED)


def test_words_count_alike_on_both_strands() -> None:
    tokens = np.random.default_rng(0).integers(0, 4, (40, 9)).astype(np.int8)
    there, back = words(True), 3 - tokens[:, ::-1]
    assert (count(tokens, there) == count(back, there)).all()
    assert (count(tokens, words(False)) != count(back, words(False))).any()
    # Each place of each pattern counts one word.
    assert (count(tokens, there).sum(1) == count(tokens, words(False)).sum(1)).all()
    one = np.array([[0, 1, 2, 3, 0]], np.int8)
    assert count(one, words(False))[0, words(False).columns[0, 0 * 16 + 1 * 4 + 2]] == 1.0


def test_totals_are_the_products_of_counts_and_weights() -> None:
    rng = np.random.default_rng(1)
    tokens, counted = rng.integers(0, 4, (50, 14)).astype(np.int8), words(False)
    weights = rng.normal(size=counted.number)
    assert np.allclose(total(tokens, counted, weights), count(tokens, counted) @ weights, atol=1e-4)


def test_values_tell_high_rows_that_were_not_shown_from_low_ones() -> None:
    everything, task = bound(5), bound(5, shown=0.3)
    assert contrast.both_strands(task)
    values = contrast.fit_contrast(task, np.random.default_rng(0)).values(everything.sequences)
    order = np.argsort(everything.scores)
    middle = order[len(task.scores) : -100]
    assert values[order[-100:]].mean() > values[middle].mean() > values[order[:100]].mean()


def test_neither_the_oracle_nor_hidden_rows_are_used() -> None:
    hiding = with_settings(bound(3), {"offline": "0.5"})
    assert len(hiding.hidden_scores)
    tasks = hiding, seal(hiding), dataclasses.replace(hiding, hidden_scores=-hiding.hidden_scores)
    fits = [contrast.fit_contrast(task, np.random.default_rng(0)) for task in tasks]
    assert all(np.array_equal(fit.weights, fits[0].weights) for fit in fits)


def test_designs_score_higher_than_the_offline_set() -> None:
    task, everything = bound(5, shown=0.3), bound(5)
    budget = Budget(60.0, 10_000)
    plan = contrast.solve(seal(task), budget, 0).actions.reshape(-1, 8).astype(np.int8)
    known = zip(everything.sequences, everything.scores, strict=True)
    score_of = {row.tobytes(): score for row, score in known}
    scores = [score_of[row.tobytes()] for row in plan if row.tobytes() in score_of]
    assert len({row.tobytes() for row in plan}) == task.batch_size
    assert len(scores) > 5 and np.median(scores) > np.median(everything.scores) > task.scores.max()


def test_other_letters_get_the_proxy_of_ga_and_a_note(tiny_task) -> None:
    task = seal(tiny_task(0))
    with pytest.warns(InputNote, match="learns from the scores alone"):
        solution = contrast.solve(task, Budget(1.0), 0)
    assert len(solution.actions) == task.batch_size * task.length


def test_variants_of_one_sequence_get_the_proxy_of_ga_and_a_note() -> None:
    rng = np.random.default_rng(0)
    rows = np.repeat(rng.integers(0, 4, (1, 8)), 400, axis=0)
    for _ in range(2):
        rows[np.arange(400), rng.integers(0, 8, 400)] = rng.integers(0, 4, 400)
    rows = np.unique(rows, axis=0).astype(np.int8)
    task = make_task("near", "ACGT", rows, rng.normal(size=len(rows)), MEASURED)
    with pytest.warns(InputNote, match="variants of few"):
        contrast.solve(seal(task), Budget(1.0), 0)


@pytest.mark.filterwarnings("ignore::sysopt_gym.core.notes.InputNote")
def test_rules_are_kept() -> None:
    task = with_settings(bound(4, shown=0.3), {"forbidden": "AA", "fixed": "none,2"})
    plan = contrast.solve(seal(task), Budget(1.5), 0).actions.reshape(-1, 8)
    assert legal(task, plan.astype(np.int8)).all()
