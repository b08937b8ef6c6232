"""Proxies: ensembles of small networks that predict scores from the offline set. Uses numpy, numba,
datasets.

Trained here, without torch: on inputs this sparse a compiled first layer (a sum over the letters
that differ from the consensus) and NumPy's products are as fast as any framework, 1 to 8 s of CPU
for the tasks at hand, and environments stay free of it. Inference is compiled and goes row by row,
so that a design's prediction does not depend on what stands beside it.

Scores are scaled by the offline set: 0 is its worst, 1 its best, more is better than all of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numba import njit

from ...datasets.sequence_design.instance import DesignTask, seal

MEMBERS = 5
WIDTH = 128
BATCH = 256
EPOCHS = 20
FEWEST_STEPS, MOST_STEPS = 300, 4000
RATE = 3e-3
FIRST_SCALE = 0.25  # of He's, for weights of letters; smaller ones extrapolate better
PACE_STEPS = 10  # timed before the rest is planned, where seconds are short
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


@dataclass(frozen=True, slots=True, eq=False)
class Ensemble:
    """E networks of two hidden layers of W rectified units.

    Attributes:
        consensus: int8 [L]; the letter at each position that adds nothing.
        first: float32 [E, L * V, W]; weights of letters, 0 for the consensus.
        first_bias: float32 [E, W].
        second: float32 [E, W, W].
        second_bias: float32 [E, W].
        last: float32 [E, W].
        last_bias: float32 [E].
    """

    consensus: np.ndarray
    first: np.ndarray
    first_bias: np.ndarray
    second: np.ndarray
    second_bias: np.ndarray
    last: np.ndarray
    last_bias: np.ndarray

    @property
    def members(self) -> int:
        """E."""
        return len(self.last)

    def each(self, tokens: np.ndarray) -> np.ndarray:
        """Every member's prediction, float32 [n, E], of tokens int8 [n, L]."""
        rows = np.ascontiguousarray(tokens, np.int8)
        values: np.ndarray = _infer(rows, *self._arrays())
        return values

    def predict(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and spread (standard deviation over the members), float64 [n] each."""
        each = self.each(tokens).astype(np.float64)
        return each.mean(axis=1), each.std(axis=1)

    def pessimistic(self, tokens: np.ndarray, kappa: float) -> np.ndarray:
        """The mean less kappa times the spread, float64 [n]."""
        mean, spread = self.predict(tokens)
        value: np.ndarray = mean - kappa * spread
        return value

    def slopes(self, soft: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Predictions of, and gradients at, inputs that are not whole letters.

        Args:
            soft: float32 [n, L * V]; how much of each letter is at each position.

        Returns:
            Predictions float32 [E, n], and their gradients by the input, float32 [E, n, L * V].
        """
        hidden = np.maximum(soft @ self.first + self.first_bias[:, None], 0.0)
        deeper = np.maximum(hidden @ self.second + self.second_bias[:, None], 0.0)
        values = np.einsum("enw,ew->en", deeper, self.last) + self.last_bias[:, None]
        back = (deeper > 0) * self.last[:, None]
        back = (back @ self.second.transpose(0, 2, 1)) * (hidden > 0)
        return values, back @ self.first.transpose(0, 2, 1)

    def _arrays(self) -> tuple[np.ndarray, ...]:
        return (
            self.consensus,
            self.first,
            self.first_bias,
            self.second,
            self.second_bias,
            self.last,
            self.last_bias,
        )


def scaled_scores(task: DesignTask) -> np.ndarray:
    """The offline scores float64 [N], 0 the worst and 1 the best."""
    low, high = task.scores.min(), task.scores.max()
    scaled: np.ndarray = (task.scores - low) / (high - low)
    return scaled


def fit_proxy(
    task: DesignTask,
    rng: np.random.Generator,
    seconds: float | None = None,
    members: int = MEMBERS,
) -> Ensemble:
    """Trains an ensemble on the offline set: Adam on the squared error of standardized scores, a
    learning rate that falls to 0 along a cosine.

    Args:
        task: sealed or not; hidden rows are not looked at.
        rng: draws weights and batches, each member's its own.
        seconds: training is cut to fit, by fewer steps; None for no limit.
        members: E.
    """
    trainer = Trainer(task, rng, members)
    steps = int(np.clip(EPOCHS * len(task.scores) // BATCH, FEWEST_STEPS, MOST_STEPS))
    trainer.run(steps, seconds)
    return trainer.ensemble()


class Trainer:
    """Weights under training, with Adam's moments."""

    def __init__(self, task: DesignTask, rng: np.random.Generator, members: int) -> None:
        self.task, self.rng, self.members = task, rng, members
        self.consensus = _consensus(task)
        inputs = task.length * task.letters
        differing = float((task.sequences != self.consensus).sum(axis=1).mean())
        he = np.sqrt(2.0 / max(differing, 1.0)), np.sqrt(2.0 / WIDTH)
        weights = [
            rng.normal(0.0, deviation, (members, rows, WIDTH)).astype(np.float32)
            for rows, deviation in ((inputs, FIRST_SCALE * he[0]), (WIDTH, he[1]))
        ]
        columns = np.arange(task.length) * task.letters + self.consensus
        weights[0][:, columns] = 0.0
        last = rng.normal(0.0, np.sqrt(1.0 / WIDTH), (members, WIDTH)).astype(np.float32)
        biases = [np.zeros((members, WIDTH), np.float32) for _ in range(2)]
        self.weights = [
            weights[0], biases[0], weights[1], biases[1], last, np.zeros(members, np.float32)
        ]  # fmt: skip
        self._moments = [(np.zeros_like(w), np.zeros_like(w)) for w in self.weights]
        scaled = scaled_scores(task)
        self.mean, self.deviation = float(scaled.mean()), float(scaled.std())
        self.targets = ((scaled - self.mean) / self.deviation).astype(np.float32)
        self.step = 0

    def run(self, steps: int, seconds: float | None) -> None:
        """Trains for so many steps, or for as many as the seconds allow."""
        started, at = time.perf_counter(), 0
        batch = min(BATCH, len(self.targets))
        while at < steps:
            rate = RATE * 0.5 * (1.0 + np.cos(np.pi * at / steps))
            rows = self.rng.integers(0, len(self.targets), (self.members, batch))
            self.learn(self.task.sequences[rows], self._errors(rows), rate)
            at += 1
            if seconds is not None and at == PACE_STEPS:
                pace = (time.perf_counter() - started) / PACE_STEPS
                steps = max(PACE_STEPS, min(steps, int(seconds / pace)))

    def _errors(self, rows: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        targets = self.targets[rows]
        return lambda values: (2.0 / values.shape[1]) * (values - targets)

    def learn(
        self, tokens: np.ndarray, slope: Callable[[np.ndarray], np.ndarray], rate: float
    ) -> None:
        """One step of Adam.

        Args:
            tokens: int8 [E, n, L]; each member's batch.
            slope: from predictions float32 [E, n] (standardized) to the loss's derivatives.
            rate: learning rate.
        """
        first, first_bias, second, second_bias, last, last_bias = self.weights
        letters = self.task.letters
        hidden = _first_layer(tokens, self.consensus, letters, first, first_bias)
        deeper = np.maximum(hidden @ second + second_bias[:, None], 0.0)
        values = (deeper @ last[:, :, None])[:, :, 0] + last_bias[:, None]
        back = slope(values).astype(np.float32)
        gradients = [
            (back[:, None] @ deeper)[:, 0],
            back.sum(axis=1),
        ]
        back = (back[:, :, None] * last[:, None]) * (deeper > 0)
        gradients = [hidden.transpose(0, 2, 1) @ back, back.sum(axis=1), *gradients]
        back = (back @ second.transpose(0, 2, 1)) * (hidden > 0)
        first_gradient = _first_gradient(tokens, self.consensus, letters, back, first.shape[1])
        gradients = [first_gradient, back.sum(axis=1), *gradients]
        self.step += 1
        scale = rate * np.sqrt(1.0 - BETA2**self.step) / (1.0 - BETA1**self.step)
        for weight, gradient, (mean, square) in zip(
            self.weights, gradients, self._moments, strict=True
        ):
            _adam(weight.ravel(), gradient.ravel(), mean.ravel(), square.ravel(), np.float32(scale))

    def ensemble(self) -> Ensemble:
        """The networks as they are now, predicting scaled scores."""
        first, first_bias, second, second_bias, last, last_bias = (w.copy() for w in self.weights)
        last *= np.float32(self.deviation)
        last_bias = (last_bias * self.deviation + self.mean).astype(np.float32)
        return Ensemble(self.consensus, first, first_bias, second, second_bias, last, last_bias)


_REFERENCE: dict[str, Ensemble] = {}


def reference_proxy(task: DesignTask) -> Ensemble:
    """The task's own proxy, which environments reward by and the judge compares with: always the
    same for the same task on the same machine. Trained at the first call, then kept.
    """
    key = seal(task).content_hash
    if key not in _REFERENCE:
        _REFERENCE[key] = fit_proxy(task, np.random.default_rng(0))
    return _REFERENCE[key]


def _consensus(task: DesignTask) -> np.ndarray:
    """The most frequent letter of each position."""
    counts = [np.bincount(column, minlength=task.letters) for column in task.sequences.T]
    return np.array([count.argmax() for count in counts], np.int8)


@njit(cache=True)
def _infer(
    tokens: np.ndarray,
    consensus: np.ndarray,
    first: np.ndarray,
    first_bias: np.ndarray,
    second: np.ndarray,
    second_bias: np.ndarray,
    last: np.ndarray,
    last_bias: np.ndarray,
) -> np.ndarray:
    members, inputs, width = first.shape
    length = len(consensus)
    letters = inputs // length
    values = np.empty((len(tokens), members), np.float32)
    hidden, deeper = np.empty(width, np.float32), np.empty(width, np.float32)
    live = np.empty(width, np.int64)  # units that are not 0, about half of them
    for member in range(members):
        weights = second[member]
        for row in range(len(tokens)):
            hidden[:] = first_bias[member]
            for place in range(length):
                if tokens[row, place] != consensus[place]:
                    added = first[member, place * letters + tokens[row, place]]
                    for unit in range(width):
                        hidden[unit] += added[unit]
            count = 0
            for unit in range(width):
                live[count] = unit
                count += 1 if hidden[unit] > 0 else 0
            deeper[:] = second_bias[member]
            at = 0
            while at + 4 <= count:  # four at a time: sums are read and written a quarter as often
                a, b, c, d = live[at], live[at + 1], live[at + 2], live[at + 3]
                for unit in range(width):
                    deeper[unit] += (
                        hidden[a] * weights[a, unit]
                        + hidden[b] * weights[b, unit]
                        + hidden[c] * weights[c, unit]
                        + hidden[d] * weights[d, unit]
                    )
                at += 4
            while at < count:
                a = live[at]
                for unit in range(width):
                    deeper[unit] += hidden[a] * weights[a, unit]
                at += 1
            total = last_bias[member]
            for unit in range(width):
                total += max(deeper[unit], np.float32(0.0)) * last[member, unit]
            values[row, member] = total
    return values


@njit(cache=True)
def _first_layer(
    tokens: np.ndarray, consensus: np.ndarray, letters: int, first: np.ndarray, bias: np.ndarray
) -> np.ndarray:
    """Rectified units float32 [E, n, W] of tokens [E, n, L]."""
    members, count, length = tokens.shape
    width = bias.shape[1]
    hidden = np.empty((members, count, width), np.float32)
    for member in range(members):
        for row in range(count):
            units = hidden[member, row]
            units[:] = bias[member]
            for place in range(length):
                if tokens[member, row, place] != consensus[place]:
                    weights = first[member, place * letters + tokens[member, row, place]]
                    for unit in range(width):
                        units[unit] += weights[unit]
            for unit in range(width):
                units[unit] = max(units[unit], np.float32(0.0))
    return hidden


@njit(cache=True)
def _first_gradient(
    tokens: np.ndarray, consensus: np.ndarray, letters: int, back: np.ndarray, inputs: int
) -> np.ndarray:
    """Gradient float32 [E, L * V, W] of the first layer from that of its sums, [E, n, W]."""
    members, count, length = tokens.shape
    width = back.shape[2]
    gradient = np.zeros((members, inputs, width), np.float32)
    for member in range(members):
        for row in range(count):
            for place in range(length):
                if tokens[member, row, place] != consensus[place]:
                    weights = gradient[member, place * letters + tokens[member, row, place]]
                    for unit in range(width):
                        weights[unit] += back[member, row, unit]
    return gradient


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
