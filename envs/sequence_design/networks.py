"""The networks that proxies are made of, with their gradients: E members side by side.

Two kinds look for motifs: filters of K neighboring letters are laid over every place of a
sequence, their matches are pooled, by the strongest or in total, and added up. So a motif counts
wherever it stands, and evidence for it from weak sequences adds up to strong ones (for protein and
DNA binding: Alipanahi et al. 2015, DeepBind, Nature Biotechnology 33; the strongest match of
several motifs is also what Ehrlich functions are made of). The third kind, a perceptron of two
hidden layers on one-hot letters, knows every place by itself. Weights of letters begin small, by
which all of them extrapolate much better.

Written here, without torch: on one-hot letters a first layer is a sum of rows, and environments
stay free of frameworks. Inference goes row by row, so that a prediction does not depend on what
stands beside it.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numba import njit

FILTERS, WIDTH = 64, 128
NARROWEST, WIDEST = 8, 16  # letters of a filter: a quarter of the sequence, within these
SMALL = 0.1  # of He's deviation, for the first weights of filters
SMALL_DENSE = 0.25  # the same for the perceptron's

Seen = tuple[np.ndarray, ...]  # tokens, and units on the way to predictions


class Networks(Protocol):
    """E networks of one kind.

    Attributes:
        weights: float32 arrays [E, ...], trained in place.
    """

    weights: list[np.ndarray]

    def forward(self, tokens: np.ndarray) -> tuple[np.ndarray, Seen]:
        """Predictions float32 [E, n] for tokens int8 [E, n, L], or [1, n, L] for all alike, and
        what `backward` needs.
        """
        ...

    def backward(self, seen: Seen, slope: np.ndarray) -> list[np.ndarray]:
        """Gradients of the weights, from those of the predictions, float32 [E, n]."""
        ...

    def slopes(self, soft: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Predictions [E, n] and their gradients [E, n, L, V] for letters float32 [n, L, V] that
        need not be whole.
        """
        ...


class MotifNetworks:
    """Filters over neighboring letters, pooled over the places, then a linear layer.

    Args:
        members: E.
        length: L.
        letters: V.
        total: pool by adding up rectified matches, over the root of their number; else by the
            strongest match.
        rng: draws the first weights.
    """

    def __init__(
        self, members: int, length: int, letters: int, total: bool, rng: np.random.Generator
    ) -> None:
        self.total, self.letters = total, letters
        self.reach = int(np.clip(length // 4, NARROWEST, WIDEST))
        filters = rng.normal(
            0.0, SMALL * np.sqrt(1.0 / self.reach), (members, self.reach * letters, FILTERS)
        )
        last = rng.normal(0.0, np.sqrt(1.0 / FILTERS), (members, FILTERS))
        self.weights = [
            filters.astype(np.float32),
            np.zeros((members, FILTERS), np.float32),
            last.astype(np.float32),
            np.zeros(members, np.float32),
        ]

    def forward(self, tokens: np.ndarray) -> tuple[np.ndarray, Seen]:
        """See Networks."""
        filters, bias, last, last_bias = self.weights
        shape = (len(filters), *tokens.shape[1:2], FILTERS)
        matches = np.empty(shape, np.float32)
        places = np.empty((0, 0, 0) if self.total else shape, np.int32)
        if self.total:
            _total_match(tokens, filters, bias, self.letters, matches)
        else:
            _best_match(tokens, filters, bias, self.letters, matches, places)
        pooled = np.maximum(matches, 0.0)
        return _weighed(pooled, last, last_bias), (tokens, pooled, places)

    def backward(self, seen: Seen, slope: np.ndarray) -> list[np.ndarray]:
        """See Networks."""
        filters, bias, last, _ = self.weights
        tokens, pooled, places = seen
        back = slope[:, :, None] * last[:, None] * (pooled > 0)
        gradient, bias_gradient = np.zeros_like(filters), np.zeros_like(bias)
        if self.total:
            _total_gradient(tokens, filters, bias, self.letters, back, gradient, bias_gradient)
        else:
            _best_gradient(tokens, places, back, self.letters, gradient)
            bias_gradient = back.sum(axis=1)
        return [gradient, bias_gradient, (slope[:, None] @ pooled)[:, 0], slope.sum(axis=1)]

    def slopes(self, soft: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See Networks."""
        filters, bias, last, last_bias = self.weights
        members, (count, length, letters) = len(filters), soft.shape
        before = self.reach // 2
        around = np.zeros((count, length + 2 * before, letters), np.float32)
        around[:, before : before + length] = soft
        places = length + 2 * before - self.reach + 1
        by_letter = filters.reshape(members, self.reach, letters, FILTERS)
        matches = np.repeat(bias[:, None, None], count, axis=1).repeat(places, axis=2)
        for at in range(self.reach):
            part = around[:, at : at + places].reshape(-1, letters)
            matches += (part @ by_letter[:, at]).reshape(matches.shape)
        chosen = np.zeros_like(matches)
        if self.total:
            pooled = np.maximum(matches, 0.0).sum(axis=2) / np.float32(np.sqrt(places))
            chosen[:] = (matches > 0) / np.float32(np.sqrt(places))
        else:
            best = matches.argmax(axis=2)[:, :, None]
            pooled = np.maximum(np.take_along_axis(matches, best, 2)[:, :, 0], 0.0)
            np.put_along_axis(chosen, best, 1.0, 2)
            chosen *= (pooled > 0)[:, :, None]
        chosen *= last[:, None, None]
        back = np.zeros((members, *around.shape), np.float32)
        for at in range(self.reach):
            part = chosen.reshape(members, -1, FILTERS) @ by_letter[:, at].transpose(0, 2, 1)
            back[:, :, at : at + places] += part.reshape(members, count, places, letters)
        values = _weighed(pooled, last, last_bias)
        return values, back[:, :, before : before + length]


class Perceptrons:
    """Two hidden layers of rectified units on one-hot letters; the most frequent letter of each
    place adds nothing.

    Args:
        members: E.
        consensus: int8 [L]; the most frequent letters.
        letters: V.
        differing: letters in which a sequence differs from the consensus, on average.
        rng: draws the first weights.
    """

    def __init__(
        self,
        members: int,
        consensus: np.ndarray,
        letters: int,
        differing: float,
        rng: np.random.Generator,
    ) -> None:
        self.consensus, self.letters = consensus, letters
        he = SMALL_DENSE * np.sqrt(2.0 / max(differing, 1.0)), np.sqrt(2.0 / WIDTH)
        first, second = (
            rng.normal(0.0, deviation, (members, rows, WIDTH)).astype(np.float32)
            for rows, deviation in ((len(consensus) * letters, he[0]), (WIDTH, he[1]))
        )
        first[:, np.arange(len(consensus)) * letters + consensus] = 0.0
        last = rng.normal(0.0, np.sqrt(1.0 / WIDTH), (members, WIDTH)).astype(np.float32)
        biases = [np.zeros((members, WIDTH), np.float32) for _ in range(2)]
        self.weights = [first, biases[0], second, biases[1], last, np.zeros(members, np.float32)]

    def forward(self, tokens: np.ndarray) -> tuple[np.ndarray, Seen]:
        """See Networks."""
        first, first_bias, second, second_bias, last, last_bias = self.weights
        shape = (len(first), *tokens.shape[1:2], WIDTH)
        hidden, deeper = np.empty(shape, np.float32), np.empty(shape, np.float32)
        _first_layer(tokens, self.consensus, self.letters, first, first_bias, hidden)
        _second_layer(hidden, second, second_bias, deeper)
        return _weighed(deeper, last, last_bias), (tokens, hidden, deeper)

    def backward(self, seen: Seen, slope: np.ndarray) -> list[np.ndarray]:
        """See Networks."""
        first, _, second, _, last, _ = self.weights
        tokens, hidden, deeper = seen
        gradients = [(slope[:, None] @ deeper)[:, 0], slope.sum(axis=1)]
        back = (slope[:, :, None] * last[:, None]) * (deeper > 0)
        gradients = [hidden.transpose(0, 2, 1) @ back, back.sum(axis=1), *gradients]
        back = (back @ second.transpose(0, 2, 1)) * (hidden > 0)
        gradient = np.zeros_like(first)
        _first_gradient(tokens, self.consensus, self.letters, back, gradient)
        return [gradient, back.sum(axis=1), *gradients]

    def slopes(self, soft: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See Networks."""
        first, first_bias, second, second_bias, last, last_bias = self.weights
        hidden = np.maximum(soft.reshape(len(soft), -1) @ first + first_bias[:, None], 0.0)
        deeper = np.maximum(hidden @ second + second_bias[:, None], 0.0)
        back = (deeper > 0) * last[:, None]
        back = (back @ second.transpose(0, 2, 1)) * (hidden > 0)
        gradient = (back @ first.transpose(0, 2, 1)).reshape(len(first), *soft.shape)
        return _weighed(deeper, last, last_bias), gradient


def _weighed(units: np.ndarray, last: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """The linear layer on units [E, n, W], summed in the same order for every row."""
    values: np.ndarray = (units * last[:, None]).sum(axis=2) + bias[:, None]
    return values


@njit(cache=True, inline="always")
def _starts(length: int, reach: int) -> tuple[int, int]:
    """Where filters begin, from the first to behind the last; half of one may lie outside."""
    return -(reach // 2), length + reach // 2 - reach + 1


@njit(cache=True, inline="always")
def _match(
    tokens: np.ndarray, start: int, filters: np.ndarray, letters: int, matches: np.ndarray
) -> None:
    """Adds to matches [C] how the filters [K * V, C] match tokens [L] from `start` on; what lies
    outside the sequence adds nothing.
    """
    reach = len(filters) // letters
    for at in range(max(0, -start), min(reach, len(tokens) - start)):
        row = filters[at * letters + tokens[start + at]]
        for unit in range(len(matches)):
            matches[unit] += row[unit]


@njit(cache=True)
def _best_match(
    tokens: np.ndarray,
    filters: np.ndarray,
    bias: np.ndarray,
    letters: int,
    pooled: np.ndarray,
    places: np.ndarray,
) -> None:
    """Writes each filter's strongest match [E, n, C], and where it starts."""
    members, count, units = pooled.shape
    first, end = _starts(tokens.shape[2], filters.shape[1] // letters)
    matches = np.empty(units, np.float32)
    for member in range(members):
        for row in range(count):
            sequence = tokens[member % len(tokens), row]
            best, where = pooled[member, row], places[member, row]
            best[:] = -np.inf
            for start in range(first, end):
                matches[:] = bias[member]
                _match(sequence, start, filters[member], letters, matches)
                for unit in range(units):
                    stronger = matches[unit] > best[unit]
                    best[unit] = matches[unit] if stronger else best[unit]
                    where[unit] = start if stronger else where[unit]


@njit(cache=True)
def _best_gradient(
    tokens: np.ndarray, places: np.ndarray, back: np.ndarray, letters: int, gradient: np.ndarray
) -> None:
    """Adds up the filters' gradient [E, K * V, C] from that of the strongest matches [E, n, C]."""
    members, count, units = back.shape
    reach, length = gradient.shape[1] // letters, tokens.shape[2]
    for member in range(members):
        for row in range(count):
            for unit in range(units):
                slope, start = back[member, row, unit], places[member, row, unit]
                if slope != 0.0:
                    for at in range(max(0, -start), min(reach, length - start)):
                        letter = tokens[member, row, start + at]
                        gradient[member, at * letters + letter, unit] += slope


@njit(cache=True)
def _total_match(
    tokens: np.ndarray, filters: np.ndarray, bias: np.ndarray, letters: int, pooled: np.ndarray
) -> None:
    """Writes the sum [E, n, C] of each filter's rectified matches over the root of their number."""
    members, count, units = pooled.shape
    first, end = _starts(tokens.shape[2], filters.shape[1] // letters)
    matches, share = np.empty(units, np.float32), np.float32(1.0 / np.sqrt(end - first))
    for member in range(members):
        for row in range(count):
            sequence = tokens[member % len(tokens), row]
            pooled[member, row] = 0.0
            for start in range(first, end):
                matches[:] = bias[member]
                _match(sequence, start, filters[member], letters, matches)
                for unit in range(units):
                    pooled[member, row, unit] += share * max(matches[unit], np.float32(0.0))


@njit(cache=True)
def _total_gradient(
    tokens: np.ndarray,
    filters: np.ndarray,
    bias: np.ndarray,
    letters: int,
    back: np.ndarray,
    gradient: np.ndarray,
    bias_gradient: np.ndarray,
) -> None:
    """Adds up the gradients of filters and biases from that of the total matches [E, n, C]."""
    members, count, units = back.shape
    reach, length = filters.shape[1] // letters, tokens.shape[2]
    first, end = _starts(length, reach)
    matches, share = np.empty(units, np.float32), np.float32(1.0 / np.sqrt(end - first))
    for member in range(members):
        for row in range(count):
            sequence = tokens[member, row]
            for start in range(first, end):
                matches[:] = bias[member]
                _match(sequence, start, filters[member], letters, matches)
                for unit in range(units):
                    slope = share * back[member, row, unit]
                    matches[unit] = slope if matches[unit] > 0 else np.float32(0.0)
                    bias_gradient[member, unit] += matches[unit]
                for at in range(max(0, -start), min(reach, length - start)):
                    target = gradient[member, at * letters + sequence[start + at]]
                    for unit in range(units):
                        target[unit] += matches[unit]


@njit(cache=True)
def _first_layer(
    tokens: np.ndarray,
    consensus: np.ndarray,
    letters: int,
    first: np.ndarray,
    bias: np.ndarray,
    hidden: np.ndarray,
) -> None:
    """Writes the rectified units [E, n, W]."""
    members, count, width = hidden.shape
    for member in range(members):
        for row in range(count):
            sequence = tokens[member % len(tokens), row]
            units = hidden[member, row]
            units[:] = bias[member]
            for place in range(len(consensus)):
                if sequence[place] != consensus[place]:
                    weights = first[member, place * letters + sequence[place]]
                    for unit in range(width):
                        units[unit] += weights[unit]
            for unit in range(width):
                units[unit] = max(units[unit], np.float32(0.0))


@njit(cache=True)
def _second_layer(
    hidden: np.ndarray, second: np.ndarray, bias: np.ndarray, deeper: np.ndarray
) -> None:
    """Writes the rectified units [E, n, W]; of those before only what is not 0 is looked at."""
    members, count, width = hidden.shape
    live = np.empty(width, np.int64)
    for member in range(members):
        weights = second[member]
        for row in range(count):
            before, units = hidden[member, row], deeper[member, row]
            alive = 0
            for unit in range(width):
                live[alive] = unit
                alive += 1 if before[unit] > 0 else 0
            units[:] = bias[member]
            at = 0
            while at + 4 <= alive:  # four at a time: sums are read and written a quarter as often
                a, b, c, d = live[at], live[at + 1], live[at + 2], live[at + 3]
                for unit in range(width):
                    units[unit] += (
                        before[a] * weights[a, unit]
                        + before[b] * weights[b, unit]
                        + before[c] * weights[c, unit]
                        + before[d] * weights[d, unit]
                    )
                at += 4
            while at < alive:
                a = live[at]
                for unit in range(width):
                    units[unit] += before[a] * weights[a, unit]
                at += 1
            for unit in range(width):
                units[unit] = max(units[unit], np.float32(0.0))


@njit(cache=True)
def _first_gradient(
    tokens: np.ndarray,
    consensus: np.ndarray,
    letters: int,
    back: np.ndarray,
    gradient: np.ndarray,
) -> None:
    """Adds up the gradient [E, L * V, W] of the first layer from that of its sums, [E, n, W]."""
    members, count, width = back.shape
    for member in range(members):
        for row in range(count):
            for place in range(len(consensus)):
                letter = tokens[member, row, place]
                if letter != consensus[place]:
                    weights = gradient[member, place * letters + letter]
                    for unit in range(width):
                        weights[unit] += back[member, row, unit]
