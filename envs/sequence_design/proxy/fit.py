"""Fitting of proxies to the offline set of a task.

The kind of network that extrapolates well on one landscape fails on another, so the kinds are
stacked (Breiman 1996, Stacked Regressions, Machine Learning 24): every member leaves out a tenth of
the rows, and the kinds are weighted by the non-negative least squares of their predictions of rows
left out.

Tasks with rules are tables of few mutations, as a rule, on which a simple model of the positions
often predicts best. There, site models stand beside the networks, every row is left out by one
member, and one kind is chosen by the rank correlation of its predictions of rows left out: the
simplest that is within a standard error of the best (Breiman et al. 1984, Classification and
Regression Trees, section 3.4.3).
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Sequence

import numpy as np

from ....core.kept import kept
from ....core.notes import note
from ....datasets.sequence_design.instance import DesignTask, seal
from .model import CHUNK, Ensemble
from .networks import Members, MotifNetworks, Networks, Perceptrons
from .scores import normal_scores, rank_correlation
from .sites import MOST_COUNTED, RIDGES, SiteModels
from .trainer import BATCH, Trainer

MEMBERS = 5  # of each kind
EPOCHS = 25
FEWEST_STEPS, MOST_STEPS = 400, 12_000
REFERENCE_STEPS = 4000  # at most, for the task's own proxy, which every environment waits for
FOLDS = 10
LEAST_FOLDS = 5  # where one kind is chosen
MOST_HELD = 2**15  # rows left out whose predictions weigh the kinds
HELD_SHARE = 0.2  # of the seconds, at most, for these predictions
LEAST_HELD = 64  # however short the seconds are
LEAST_TRAINING = 0.3  # of the steps; if that does not fit, the slowest kind is left out


def fit_proxy(
    task: DesignTask,
    rng: np.random.Generator,
    seconds: float | None = None,
    members: int = MEMBERS,
    most_steps: int = MOST_STEPS,
) -> Ensemble:
    """Train all kinds of networks on the offline set and stack them; kinds of weight 0 are dropped.

    Where the task has rules, one kind is chosen instead, site models among them. Every row of a
    large offline set may be drawn for training, but kinds are weighted or chosen by at most
    MOST_HELD rows, fewer where the seconds would not do for more.

    Args:
        task: sealed or not; its hidden rows are not used.
        rng: draws weights, folds and batches, other ones for each member.
        seconds: limit of the training, kept by fewer steps, or without the slowest kind if too few
            steps would be left; None for no limit.
        members: networks of each kind.
        most_steps: limit of each kind's training steps.
    """
    end = math.inf if seconds is None else time.perf_counter() + seconds
    until, most_held = end, MOST_HELD
    targets, scale = normal_scores(task)
    fold = rng.integers(FOLDS, size=len(targets))
    sites: list[SiteModels] = []
    if task.ruled:
        fold = rng.permutation(len(targets)) % max(members, LEAST_FOLDS)
        sites = _site_models(task, targets, fold, members, rng, end)
    steps = int(np.clip(EPOCHS * len(targets) // BATCH, FEWEST_STEPS, most_steps))
    kinds = _untrained_kinds(task, members, rng)
    trainers = [Trainer(kind, task.sequences, targets, rng, fold) for kind in kinds]
    if seconds is not None:
        paces = np.array([trainer.measure_pace(until) for trainer in trainers])
        # A step predicts BATCH rows by each member, and learns from them.
        row_s = float(paces.sum()) / (BATCH * members)
        affordable = HELD_SHARE * max(0.0, end - time.perf_counter()) / row_s
        most_held = max(LEAST_HELD, min(MOST_HELD, int(affordable)))
        until = end - row_s * min(most_held, len(targets))
        possible = (until - time.perf_counter()) / paces.sum()
        if possible < LEAST_TRAINING * steps:
            slowest = int(paces.argmax())
            trainers.pop(slowest)
            possible *= paces.sum() / np.delete(paces, slowest).sum()
        steps = max(1, min(steps, int(possible)))
    for trainer in trainers:
        trainer.train(steps, until)
    held = _held_rows(fold, members, most_held)
    sequences, targets, fold = task.sequences[held], targets[held], fold[held]
    if task.ruled:
        known = [*sites, *(trainer.networks for trainer in trainers)]
        chosen, choice = _best_kind(known, sequences, targets, fold)
        return Ensemble((chosen,), np.full(members, 1.0 / members), scale, choice)
    kinds = [trainer.networks for trainer in trainers]
    left_out = [_predict_left_out(kind, sequences, fold) for kind in kinds]
    shares = stacking_weights(np.stack(left_out), targets)
    kept = [kind for kind, share in zip(kinds, shares, strict=True) if share > 0]
    return Ensemble(tuple(kept), np.repeat(shares[shares > 0] / members, members), scale)


def _held_rows(fold: np.ndarray, members: int, most: int) -> np.ndarray:
    """Return rows that a member left out, spread evenly over the offline set, at most so many.

    Args:
        fold: int64 [N]; member e does not see the rows of fold e.
        members: number of members, E.
        most: number of rows, at least 1.

    Returns:
        Rising rows, int64 [n].
    """
    held = np.flatnonzero(fold < members)
    if len(held) <= most:
        return held
    evenly: np.ndarray = held[np.arange(most) * len(held) // most]
    return evenly


def _untrained_kinds(task: DesignTask, members: int, rng: np.random.Generator) -> list[Networks]:
    """Make `members` networks of each kind."""
    known = task.sequences[:: -(-len(task.sequences) // MOST_COUNTED)]
    consensus = np.array(
        [np.bincount(column, minlength=task.letters).argmax() for column in known.T], np.int8
    )
    differing = float((known != consensus).sum(axis=1).mean())
    return [
        *(MotifNetworks(members, task.length, task.letters, total, rng) for total in (False, True)),
        Perceptrons(members, consensus, task.letters, differing, rng),
    ]


def _site_models(
    task: DesignTask,
    targets: np.ndarray,
    fold: np.ndarray,
    members: int,
    rng: np.random.Generator,
    end: float,
) -> list[SiteModels]:
    """Fit the additive and the pairwise model, each with the ridge that predicts best.

    Args:
        task: gives the sequences.
        targets: float64 [N].
        fold: int64 [N]; member e does not see the rows of fold e.
        members: models of each kind.
        rng: chooses rows of large tables.
        end: time of time.perf_counter until which HELD_SHARE of the seconds may be spent on the
            choice of ridges.
    """
    best: list[SiteModels] = []
    held = _held_rows(fold, members, MOST_HELD)
    if end < math.inf:
        first = SiteModels(task, targets, fold, members, True, RIDGES[0], rng)
        some, began = held[:LEAST_HELD], time.perf_counter()
        _predict_left_out(first, task.sequences[some], fold[some])
        row_s = max(time.perf_counter() - began, 1e-6) / len(some)
        affordable = HELD_SHARE * max(0.0, end - began) / (row_s * 2 * len(RIDGES))
        held = _held_rows(fold, members, max(LEAST_HELD, min(MOST_HELD, int(affordable))))
    sequences, own = task.sequences[held], fold[held]
    for pairs in (False, True):
        each = [SiteModels(task, targets, fold, members, pairs, ridge, rng) for ridge in RIDGES]
        found = [
            rank_correlation(_predict_left_out(one, sequences, own), targets[held]) for one in each
        ]
        best.append(each[int(np.argmax(found))])
    return best


def _best_kind(
    kinds: Sequence[Members], sequences: np.ndarray, targets: np.ndarray, fold: np.ndarray
) -> tuple[Members, str]:
    """Choose the simplest kind whose rank correlation is within a standard error of the best.

    Args:
        kinds: fitted, the simplest first.
        sequences: int8 [N, L]; rows that a member left out.
        targets: float64 [N].
        fold: int64 [N]; member e did not see the rows of fold e.

    Returns:
        The kind, and a sentence on the choice.
    """
    count = len(targets)
    found = [rank_correlation(_predict_left_out(kind, sequences, fold), targets) for kind in kinds]
    best = max(found)
    within = best - (1.0 - best**2) / math.sqrt(max(count - 1, 1))
    chosen = next(at for at, value in enumerate(found) if value >= within)
    figures = ", ".join(
        f"{kind.title} {value:.2f}" for kind, value in zip(kinds, found, strict=True)
    )
    why = (
        "the simplest within a standard error of the best"
        if best > 0
        else "but none predicts them: take its designs for guesses near the measured sequences"
    )
    return kinds[chosen], (
        f"{kinds[chosen].title}, by rank correlation over {count} held-out rows, {why} ({figures})"
    )


def _predict_left_out(networks: Members, sequences: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Predict each row by the member that did not train on it.

    Args:
        networks: fitted.
        sequences: int8 [N, L].
        fold: int64 [N]; member e did not train on the rows of fold e.

    Returns:
        Normal scores float64 [N]; NaN for rows that every member trained on.
    """
    values = np.full(len(fold), np.nan)
    for member in range(len(networks.weights[0])):
        alone, rows = networks.member(member), np.flatnonzero(fold == member)
        for part in np.array_split(rows, len(rows) // CHUNK + 1):
            predicted, _ = alone.forward(np.ascontiguousarray(sequences[part])[None])
            values[part] = predicted[0]
    return values


def stacking_weights(predictions: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Weight groups of predictions by non-negative least squares, trying every subset.

    Args:
        predictions: float64 [G, n].
        targets: float64 [n].

    Returns:
        Weights float64 [G], none negative, scaled to the sum 1; 1 / G each if no subset lowers the
        squared error of predicting 0.
    """
    groups = len(predictions)
    best, error = np.full(groups, 1.0 / groups), float((targets**2).sum())
    for size in range(1, groups + 1):
        for some in map(list, itertools.combinations(range(groups), size)):
            weights = np.linalg.lstsq(predictions[some].T, targets, rcond=None)[0]
            missed = float(((weights @ predictions[some] - targets) ** 2).sum())
            if (weights > 0).all() and missed < error:
                error = missed
                best = np.zeros(groups)
                best[some] = weights / weights.sum()
    return best


# Content hash of a sealed task -> its proxy, 0.6 to a few MB each.
_REFERENCE: dict[str, Ensemble] = {}
MOST_KEPT = 64


def reference_proxy(task: DesignTask) -> Ensemble:
    """Return the task's own proxy, which environments reward by and the judge predicts with.

    It is trained at the first call of the process, with a fixed seed, so that it is the same for
    the same task on the same machine. A process keeps the proxies of the last MOST_KEPT tasks.
    """

    def make() -> Ensemble:
        proxy = fit_proxy(task, np.random.default_rng(0), most_steps=REFERENCE_STEPS)
        if proxy.choice:
            note(f"{task.name}: the proxy is the {proxy.choice}")
        return proxy

    return kept(_REFERENCE, seal(task).content_hash, MOST_KEPT, make)
