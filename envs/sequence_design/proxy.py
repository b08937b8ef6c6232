"""Proxies: ensembles of networks of several kinds that predict scores from the offline set.

What extrapolates on one landscape leads astray on another, so the kinds are stacked (Breiman 1996,
Stacked Regressions, Machine Learning 24): every member leaves out a tenth of the rows, and each
kind gets the share, none below 0, by which its predictions of rows left out add up to the truth
best.

Networks are trained on normal scores: a row's rank as a quantile of the normal distribution, which
no outlier bends. Predictions are told in the unit of the offline set: 0 is its worst score, 1 its
best, more is better than all of it.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numba import njit

from ...datasets.sequence_design.instance import DesignTask, seal
from .networks import MotifNetworks, Networks, Perceptrons

MEMBERS = 5  # of each kind
BATCH = 64
EPOCHS = 25
FEWEST_STEPS, MOST_STEPS = 400, 12_000
REFERENCE_STEPS = 4000  # at most, for the proxy that everybody waits for
RATE, WARM_STEPS = 3e-3, 50
FOLDS = 10
MOST_KNOTS = 256
CHUNK = 4096
PACE_STEPS = 10  # timed before the rest is planned, where seconds are short
LEAST_TRAINING = 0.3  # of the steps; if that does not fit, the dearest kind is left out
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """From normal scores to scaled scores and back; straight on beyond the offline set.

    Attributes:
        normal, scaled: float64 [k], both rising.
    """

    normal: np.ndarray
    scaled: np.ndarray

    def up(self, normal: np.ndarray) -> np.ndarray:
        """Scaled scores of normal ones, as steep beyond the ends as over the last unit before."""
        values: np.ndarray = np.interp(normal, self.normal, self.scaled)
        for end, step in ((-1, 1.0), (0, -1.0)):
            edge, inside = self.normal[end], self.normal[end] - step
            rise = (self.scaled[end] - np.interp(inside, self.normal, self.scaled)) / step
            beyond = (normal - edge) * step
            values = values + np.where(beyond > 0, beyond * step * rise, 0.0)
        return values


@dataclass(frozen=True, slots=True, eq=False)
class Ensemble:
    """M networks: E of each of some kinds.

    Attributes:
        kinds: the networks.
        weights: float64 [M]; of the members in the mean, 1 together.
        scale: what predictions mean.
    """

    kinds: tuple[Networks, ...]
    weights: np.ndarray
    scale: Scale

    @property
    def members(self) -> int:
        """M."""
        return len(self.weights)

    def each(self, tokens: np.ndarray) -> np.ndarray:
        """Every member's prediction, a normal score, float64 [n, M], of tokens int8 [n, L]."""
        values = np.empty((len(tokens), self.members))
        for first in range(0, len(tokens), CHUNK):
            rows = np.ascontiguousarray(tokens[first : first + CHUNK], np.int8)[None]
            parts = [kind.forward(rows)[0].T for kind in self.kinds]
            values[first : first + CHUNK] = np.concatenate(parts, axis=1)
        return values

    def predict(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and spread (weighted standard deviation over the members) of scaled scores, float64
        [n] each, of tokens int8 [n, L].
        """
        each = self.each(tokens)
        mean = (each * self.weights).sum(axis=1)
        spread = np.sqrt(((each - mean[:, None]) ** 2 * self.weights).sum(axis=1))
        high, low = self.scale.up(mean + spread), self.scale.up(mean - spread)
        return self.scale.up(mean), (high - low) / 2.0

    def pessimistic(self, tokens: np.ndarray, kappa: float) -> np.ndarray:
        """The mean less kappa times the spread, float64 [n]."""
        mean, spread = self.predict(tokens)
        value: np.ndarray = mean - kappa * spread
        return value

    def slopes(self, soft: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Predictions of, and gradients at, letters that need not be whole.

        Args:
            soft: float32 [n, L, V]; how much of each letter is at each position.

        Returns:
            Normal scores float32 [M, n], and their gradients, float32 [M, n, L, V].
        """
        both = [kind.slopes(soft) for kind in self.kinds]
        values, slopes = (np.concatenate(parts) for parts in zip(*both, strict=True))
        return values, slopes

    def gradient(self, soft: np.ndarray) -> np.ndarray:
        """The mean's gradient, in normal scores, float32 [n, L, V] at letters of that shape."""
        _, slopes = self.slopes(soft)
        gradient: np.ndarray = np.tensordot(self.weights.astype(np.float32), slopes, 1)
        return gradient


def scaled_scores(task: DesignTask) -> np.ndarray:
    """The offline scores float64 [N], 0 the worst and 1 the best."""
    low, high = task.scores.min(), task.scores.max()
    scaled: np.ndarray = (task.scores - low) / (high - low)
    return scaled


def normal_scores(task: DesignTask) -> tuple[np.ndarray, Scale]:
    """The offline scores as quantiles of the normal distribution, float64 [N], equal ones sharing
    their mean rank; and the way back.
    """
    scaled, group, counts = np.unique(scaled_scores(task), return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2.0
    quantile = NormalDist().inv_cdf
    normal = np.array([quantile((rank - 0.5) / len(group)) for rank in ranks])
    normal = (normal - normal[group].mean()) / normal[group].std()
    knots = np.unique(np.linspace(0, len(normal) - 1, MOST_KNOTS).round().astype(np.int64))
    return normal[group], Scale(normal[knots], scaled[knots])


def fit_proxy(
    task: DesignTask,
    rng: np.random.Generator,
    seconds: float | None = None,
    members: int = MEMBERS,
    most_steps: int = MOST_STEPS,
) -> Ensemble:
    """Trains all kinds of networks on the offline set and stacks them; a kind without a share is
    dropped.

    Args:
        task: sealed or not; hidden rows are not looked at.
        rng: draws weights, folds and batches, each member's its own.
        seconds: training is cut to fit, by fewer steps, or by a kind less where too few were left;
            None for no limit.
        members: of each kind.
        most_steps: of each kind's training.
    """
    until = math.inf if seconds is None else time.perf_counter() + seconds
    targets, scale = normal_scores(task)
    fold = rng.integers(FOLDS, size=len(targets))
    steps = int(np.clip(EPOCHS * len(targets) // BATCH, FEWEST_STEPS, most_steps))
    kinds = _kinds(task, members, rng)
    trainers = [Trainer(kind, task.sequences, targets, rng, fold) for kind in kinds]
    if seconds is not None:
        paces = np.array([trainer.pace() for trainer in trainers])
        possible = (until - time.perf_counter()) / paces.sum()
        if possible < LEAST_TRAINING * steps:
            dear = int(paces.argmax())
            trainers.pop(dear)
            possible *= paces.sum() / np.delete(paces, dear).sum()
        steps = max(1, min(steps, int(possible)))
    for trainer in trainers:
        trainer.run(steps, until)
    kinds = [trainer.networks for trainer in trainers]
    left_out = [_left_out(kind, task.sequences, fold) for kind in kinds]
    known = fold < members
    shares = stacked(np.stack(left_out)[:, known], targets[known])
    kept = [kind for kind, share in zip(kinds, shares, strict=True) if share > 0]
    return Ensemble(tuple(kept), np.repeat(shares[shares > 0] / members, members), scale)


def _kinds(task: DesignTask, members: int, rng: np.random.Generator) -> list[Networks]:
    consensus = np.array(
        [np.bincount(column, minlength=task.letters).argmax() for column in task.sequences.T],
        np.int8,
    )
    differing = float((task.sequences != consensus).sum(axis=1).mean())
    return [
        *(MotifNetworks(members, task.length, task.letters, total, rng) for total in (False, True)),
        Perceptrons(members, consensus, task.letters, differing, rng),
    ]


def _left_out(networks: Networks, sequences: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Each row's prediction float64 [N] by the member that left it out; NaN where none did."""
    values = np.full(len(fold), np.nan)
    for member in range(len(networks.weights[0])):
        rows = np.flatnonzero(fold == member)
        for part in np.array_split(rows, len(rows) // CHUNK + 1):
            predicted, _ = networks.forward(np.ascontiguousarray(sequences[part])[None])
            values[part] = predicted[member]
    return values


def stacked(predictions: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Shares float64 [G], none below 0 and 1 together, in the proportion by which predictions [G,
    n] add up to the targets [n] with the least squared error; all alike where none helps.
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


class Trainer:
    """Networks under training by Adam.

    Args:
        networks: are changed in place.
        sequences: int8 [N, L].
        targets: float [N].
        rng: draws batches.
        fold: int [N]; member e does not see the rows of fold e. None: all see all.
    """

    def __init__(
        self,
        networks: Networks,
        sequences: np.ndarray,
        targets: np.ndarray,
        rng: np.random.Generator,
        fold: np.ndarray | None = None,
    ) -> None:
        self.networks, self.rng = networks, rng
        self.sequences, self.targets = sequences, targets.astype(np.float32)
        self._moments = [(np.zeros_like(w), np.zeros_like(w)) for w in networks.weights]
        everything = np.arange(len(targets))
        self._rows = [
            everything if fold is None else np.flatnonzero(fold != member)
            for member in range(len(networks.weights[0]))
        ]
        self.step = 0

    def draw(self, count: int) -> np.ndarray:
        """Rows for each member, int64 [E, count]."""
        drawn = [rows[self.rng.integers(len(rows), size=count)] for rows in self._rows]
        return np.stack(drawn)

    def run(self, steps: int, until: float = math.inf) -> None:
        """Lowers the squared error, for so many steps, or until a time by time.perf_counter; the
        rate falls to 0 along a cosine.
        """
        batch = min(BATCH, len(self.targets))
        for at in range(steps):
            if time.perf_counter() > until:
                break
            rows = self.draw(batch)
            rate = RATE * falling(at / steps) * min(1.0, (at + 1) / WARM_STEPS)
            self.learn(self.sequences[rows], self._errors(rows), rate)

    def pace(self) -> float:
        """Seconds a step, by the first few."""
        self.run(1)  # may compile
        started = time.perf_counter()
        self.run(PACE_STEPS)
        return (time.perf_counter() - started) / PACE_STEPS

    def _errors(self, rows: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """The squared error's derivatives."""
        targets = self.targets[rows]
        return lambda values: (2.0 / values.shape[1]) * (values - targets)

    def learn(
        self, tokens: np.ndarray, slope: Callable[[np.ndarray], np.ndarray], rate: float
    ) -> None:
        """One step of Adam.

        Args:
            tokens: int8 [E, n, L]; each member's batch.
            slope: from predictions float32 [E, n] to the loss's derivatives.
            rate: learning rate.
        """
        values, seen = self.networks.forward(tokens)
        gradients = self.networks.backward(seen, slope(values).astype(np.float32))
        self.step += 1
        scale = rate * np.sqrt(1.0 - BETA2**self.step) / (1.0 - BETA1**self.step)
        for weight, gradient, (mean, square) in zip(
            self.networks.weights, gradients, self._moments, strict=True
        ):
            _adam(weight.ravel(), gradient.ravel(), mean.ravel(), square.ravel(), np.float32(scale))


def falling(spent: float) -> float:
    """From 1 to 0 along a cosine, by the share that is spent."""
    return float(0.5 * (1.0 + np.cos(np.pi * spent)))


_REFERENCE: dict[str, Ensemble] = {}


def reference_proxy(task: DesignTask) -> Ensemble:
    """The task's own proxy, which environments reward by and the judge compares with: always the
    same for the same task on the same machine. Trained at the first call, then kept.
    """
    key = seal(task).content_hash
    if key not in _REFERENCE:
        _REFERENCE[key] = fit_proxy(task, np.random.default_rng(0), most_steps=REFERENCE_STEPS)
    return _REFERENCE[key]


@njit(cache=True)
def _adam(
    weights: np.ndarray,
    gradient: np.ndarray,
    mean: np.ndarray,
    square: np.ndarray,
    scale: np.float32,
) -> None:
    """Updates flat views in place."""
    keep1, new1 = np.float32(BETA1), np.float32(1.0 - BETA1)
    keep2, new2 = np.float32(BETA2), np.float32(1.0 - BETA2)
    small = np.float32(EPSILON)
    for at in range(len(weights)):
        slope = gradient[at]
        mean[at] = keep1 * mean[at] + new1 * slope
        square[at] = keep2 * square[at] + new2 * slope * slope
        weights[at] -= scale * mean[at] / (np.sqrt(square[at]) + small)
