"""Site models find what positions add up to, and held-out rows choose among the proxies."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.notes import InputNote
from sysopt_gym.core.registry import load_contender
from sysopt_gym.datasets.sequence_design.instance import DesignTask, make_task, seal
from sysopt_gym.datasets.sequence_design.settings import with_settings
from sysopt_gym.envs.sequence_design.proxy import fit, fit_proxy, reference_proxy
from sysopt_gym.envs.sequence_design.proxy.scores import normal_scores, rank_correlation
from sysopt_gym.envs.sequence_design.proxy.sites import SiteModels

LENGTH, LETTERS = 30, "ACDEFGHIKL"
RNG = np.random.default_rng(5)
EFFECTS = RNG.normal(size=(LENGTH, len(LETTERS)))
EFFECTS[:, 0] = 0.0  # the wild type is AAA...
PAIRED = {pair: RNG.normal(0.0, 4.0) for pair in itertools.combinations(range(6), 2)}


def few_mutations(count: int, most: int, truth: str = "additive", free: int = 6) -> DesignTask:
    """Mutants of AAA... at the first `free` positions, at most `most` letters changed."""
    rng = np.random.default_rng(count)
    rows = np.zeros((count, LENGTH), np.int8)
    for row in rows:
        places = rng.choice(free, rng.integers(1, most + 1), replace=False)
        row[places] = rng.integers(1, 4, len(places))
    rows = np.unique(rows, axis=0)
    task = make_task(
        f"few-{count}-{truth}", LETTERS, rows, true_score(rows, truth), {"landscape": "measured"},
        batch_size=4, wild_type="A" * LENGTH,
    )  # fmt: skip
    return with_settings(task, {"fixed": "constant", "max_mutations": "measured"})


def true_score(rows: np.ndarray, truth: str) -> np.ndarray:
    scores = EFFECTS[np.arange(LENGTH), rows].sum(axis=1)
    if truth == "pairs":
        for (one, other), effect in PAIRED.items():
            scores += effect * ((rows[:, one] > 0) & (rows[:, other] > 0))
    return scores


@pytest.mark.parametrize("pairs", [False, True])
def test_slopes_are_those_of_the_predictions_and_letters_weigh_as_their_one_hots(
    pairs: bool,
) -> None:
    task, rng = few_mutations(60, 3), np.random.default_rng(0)
    targets, _ = normal_scores(task)
    model = SiteModels(task, targets, np.arange(len(targets)) % 5, 5, pairs, 0.5, rng)
    soft = np.eye(len(LETTERS), dtype=np.float32)[task.sequences[:7]]
    values, slopes = model.input_gradients(soft)
    assert np.allclose(values, model.forward(task.sequences[:7][None])[0], atol=1e-4)
    moved = soft + 0.01 * rng.normal(size=soft.shape).astype(np.float32)
    expected = (slopes * (moved - soft)).sum(axis=(2, 3))
    found = model.input_gradients(moved)[0] - values
    assert np.allclose(found, expected, atol=0.02)
    assert np.abs(expected).max() > 0.02


def test_a_member_does_not_see_the_rows_of_its_fold() -> None:
    task = few_mutations(60, 3)
    targets, _ = normal_scores(task)
    fold = np.arange(len(targets)) % 5
    changed = np.where(fold == 2, targets + 3.0, targets)
    one, other = (
        SiteModels(task, values, fold, 5, True, 0.5, np.random.default_rng(0)).forward(
            task.sequences[None]
        )[0]
        for values in (targets, changed)
    )
    assert np.array_equal(one[2], other[2]) and not np.allclose(one[1], other[1])


def test_predictions_do_not_depend_on_the_rows_beside_them() -> None:
    task = few_mutations(60, 3)
    targets, _ = normal_scores(task)
    model = SiteModels(
        task, targets, np.zeros(len(targets), int), 1, True, 0.5, np.random.default_rng(0)
    )
    together = model.forward(task.sequences[None])[0][0]
    alone = [model.forward(row[None, None])[0][0, 0] for row in task.sequences]
    assert np.array_equal(together, alone)


@pytest.mark.parametrize(("truth", "kind"), [("additive", "additive"), ("pairs", "pairwise")])
def test_held_out_rows_choose_the_model_that_made_the_scores(truth: str, kind: str) -> None:
    task = few_mutations(250, 4, truth)
    proxy = fit_proxy(task, np.random.default_rng(0))
    assert [one.title for one in proxy.kinds] == [f"{kind} site model"]
    assert proxy.choice.startswith(
        f"{kind} site model, by rank correlation over {len(task.scores)} "
    )
    rows = few_mutations(251, 4, truth).sequences
    means, _ = proxy.predict(rows)
    assert rank_correlation(means, true_score(rows, truth)) > 0.85


def test_the_choice_is_told_once_and_guesses_are_called_guesses() -> None:
    task = few_mutations(200, 3)
    with pytest.warns(InputNote, match="the proxy is the additive site model.*held-out rows"):
        reference_proxy(task)
    noise = dataclasses.replace(
        task, name="noise", scores=np.random.default_rng(1).normal(size=len(task.scores))
    )
    kinds = [SiteModels(noise, noise.scores, np.arange(len(noise.scores)) % 5, 5, False, 0.5,
                        np.random.default_rng(0))]  # fmt: skip
    backwards = -noise.scores
    _, said = fit._best_kind(kinds, noise.sequences, backwards, np.full(len(backwards), 0))
    assert "none predicts them" in said


def test_tasks_without_rules_are_stacked_as_ever() -> None:
    task = with_settings(few_mutations(60, 3), {"fixed": "none", "max_mutations": "none"})
    assert not task.ruled and fit_proxy(task, np.random.default_rng(0)).choice == ""


def test_designs_add_up_what_single_mutants_say() -> None:
    rows = np.zeros((18, LENGTH), np.int8)
    for row, (place, letter) in zip(rows, itertools.product(range(6), (1, 2, 3)), strict=True):
        row[place] = letter
    task = make_task(
        "scan", LETTERS, rows, true_score(rows, "additive"), {"landscape": "measured"},
        batch_size=4, wild_type="A" * LENGTH,
    )  # fmt: skip
    task = with_settings(task, {"fixed": "constant", "max_mutations": "3"})
    plan = load_contender("sequence_design", "proxy_exhaustive").object(seal(task), Budget(30.0), 0)
    designs = np.asarray(plan.actions).reshape(-1, LENGTH)
    assert ((designs > 0).sum(axis=1) <= 3).all() and (designs[:, 6:] == 0).all()
    assert np.median(true_score(designs, "additive")) > task.scores.max()
