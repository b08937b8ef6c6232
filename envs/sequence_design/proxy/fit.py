"""Fitting of proxies to the offline set of a task.

The kind of network that extrapolates well on one landscape fails on another, so the kinds are
stacked (Breiman 1996, Stacked Regressions, Machine Learning 24): every member leaves out a tenth of
the rows, and the kinds are weighted by the non-negative least squares of their predictions of rows
left out.
"""

from __future__ import annotations

import itertools
import math
import time

import numpy as np

from ....datasets.sequence_design.instance import DesignTask, seal
from .model import CHUNK, Ensemble
from .networks import MotifNetworks, Networks, Perceptrons
from .scores import normal_scores
from .trainer import BATCH, Trainer

MEMBERS = 5  # of each kind
EPOCHS = 25
FEWEST_STEPS, MOST_STEPS = 400, 12_000
REFERENCE_STEPS = 4000  # at most, for the task's own proxy, which every environment waits for
FOLDS = 10
LEAST_TRAINING = 0.3  # of the steps; if that does not fit, the slowest kind is left out


def fit_proxy(
    task: DesignTask,
    rng: np.random.Generator,
    seconds: float | None = None,
    members: int = MEMBERS,
    most_steps: int = MOST_STEPS,
) -> Ensemble:
    """Train all kinds of networks on the offline set and stack them; kinds of weight 0 are dropped.

    Args:
        task: sealed or not; its hidden rows are not used.
        rng: draws weights, folds and batches, other ones for each member.
        seconds: limit of the training, kept by fewer steps, or without the slowest kind if too few
            steps would be left; None for no limit.
        members: networks of each kind.
        most_steps: limit of each kind's training steps.
    """
    until = math.inf if seconds is None else time.perf_counter() + seconds
    targets, scale = normal_scores(task)
    fold = rng.integers(FOLDS, size=len(targets))
    steps = int(np.clip(EPOCHS * len(targets) // BATCH, FEWEST_STEPS, most_steps))
    kinds = _untrained_kinds(task, members, rng)
    trainers = [Trainer(kind, task.sequences, targets, rng, fold) for kind in kinds]
    if seconds is not None:
        paces = np.array([trainer.measure_pace() for trainer in trainers])
        possible = (until - time.perf_counter()) / paces.sum()
        if possible < LEAST_TRAINING * steps:
            slowest = int(paces.argmax())
            trainers.pop(slowest)
            possible *= paces.sum() / np.delete(paces, slowest).sum()
        steps = max(1, min(steps, int(possible)))
    for trainer in trainers:
        trainer.train(steps, until)
    kinds = [trainer.networks for trainer in trainers]
    left_out = [_predict_left_out(kind, task.sequences, fold) for kind in kinds]
    known = fold < members
    shares = stacking_weights(np.stack(left_out)[:, known], targets[known])
    kept = [kind for kind, share in zip(kinds, shares, strict=True) if share > 0]
    return Ensemble(tuple(kept), np.repeat(shares[shares > 0] / members, members), scale)


def _untrained_kinds(task: DesignTask, members: int, rng: np.random.Generator) -> list[Networks]:
    """Make `members` networks of each kind."""
    consensus = np.array(
        [np.bincount(column, minlength=task.letters).argmax() for column in task.sequences.T],
        np.int8,
    )
    differing = float((task.sequences != consensus).sum(axis=1).mean())
    return [
        *(MotifNetworks(members, task.length, task.letters, total, rng) for total in (False, True)),
        Perceptrons(members, consensus, task.letters, differing, rng),
    ]


def _predict_left_out(networks: Networks, sequences: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Predict each row by the member that did not train on it.

    Args:
        networks: trained.
        sequences: int8 [N, L].
        fold: int64 [N]; member e did not train on the rows of fold e.

    Returns:
        Normal scores float64 [N]; NaN for rows that every member trained on.
    """
    values = np.full(len(fold), np.nan)
    for member in range(len(networks.weights[0])):
        rows = np.flatnonzero(fold == member)
        for part in np.array_split(rows, len(rows) // CHUNK + 1):
            predicted, _ = networks.forward(np.ascontiguousarray(sequences[part])[None])
            values[part] = predicted[member]
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


_REFERENCE: dict[str, Ensemble] = {}


def reference_proxy(task: DesignTask) -> Ensemble:
    """Return the task's own proxy, which environments reward by and the judge predicts with.

    It is trained at the first call of the process, with a fixed seed, so that it is the same for
    the same task on the same machine.
    """
    key = seal(task).content_hash
    if key not in _REFERENCE:
        _REFERENCE[key] = fit_proxy(task, np.random.default_rng(0), most_steps=REFERENCE_STEPS)
    return _REFERENCE[key]
