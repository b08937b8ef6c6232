"""The compiled parts of the networks: E members side by side, on integer letters.

On one-hot letters a first layer is a sum of rows of its weights, which these functions add up
without making the one-hot arrays. They go row by row in a fixed order, so that a prediction does
not depend on the rows beside it. Where tokens are int8 [1, n, L], every member reads the same ones.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, inline="always")
def _starts(length: int, reach: int) -> tuple[int, int]:
    """Return the first start of a filter and the end of its starts (exclusive); half of a filter
    may lie outside the sequence.

    Args:
        length: letters of a sequence, L.
        reach: letters of a filter, K.
    """
    return -(reach // 2), length + reach // 2 - reach + 1


@njit(cache=True, inline="always")
def _match(
    tokens: np.ndarray, start: int, filters: np.ndarray, letters: int, matches: np.ndarray
) -> None:
    """Add to the matches how the filters match a sequence; letters outside it add 0.

    Args:
        tokens: int8 [L].
        start: position of the filters' first letter; may be negative.
        filters: float32 [K * V, C].
        letters: V.
        matches: float32 [C], changed in place.
    """
    reach = len(filters) // letters
    for at in range(max(0, -start), min(reach, len(tokens) - start)):
        row = filters[at * letters + tokens[start + at]]
        for unit in range(len(matches)):
            matches[unit] += row[unit]


@njit(cache=True)
def best_match(
    tokens: np.ndarray,
    filters: np.ndarray,
    bias: np.ndarray,
    letters: int,
    pooled: np.ndarray,
    places: np.ndarray,
) -> None:
    """Find each filter's strongest match.

    Args:
        tokens: int8 [E, n, L] or [1, n, L].
        filters: float32 [E, K * V, C].
        bias: float32 [E, C].
        letters: V.
        pooled: float32 [E, n, C], written: the strongest matches.
        places: int32 [E, n, C], written: their starts.
    """
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
def best_gradient(
    tokens: np.ndarray, places: np.ndarray, back: np.ndarray, letters: int, gradient: np.ndarray
) -> None:
    """Add up the filters' gradient of the strongest matches.

    Args:
        tokens: int8 [E, n, L].
        places: int32 [E, n, C]; starts of the strongest matches.
        back: float32 [E, n, C]; gradient of the strongest matches.
        letters: V.
        gradient: float32 [E, K * V, C], added to.
    """
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
def total_match(
    tokens: np.ndarray, filters: np.ndarray, bias: np.ndarray, letters: int, pooled: np.ndarray
) -> None:
    """Sum each filter's rectified matches, divided by the square root of their number.

    Args:
        tokens: int8 [E, n, L] or [1, n, L].
        filters: float32 [E, K * V, C].
        bias: float32 [E, C].
        letters: V.
        pooled: float32 [E, n, C], written.
    """
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
def total_gradient(
    tokens: np.ndarray,
    filters: np.ndarray,
    bias: np.ndarray,
    letters: int,
    back: np.ndarray,
    gradient: np.ndarray,
    bias_gradient: np.ndarray,
) -> None:
    """Add up the gradients of filters and biases of the total matches.

    Args:
        tokens: int8 [E, n, L].
        filters: float32 [E, K * V, C].
        bias: float32 [E, C].
        letters: V.
        back: float32 [E, n, C]; gradient of the total matches.
        gradient: float32 [E, K * V, C], added to.
        bias_gradient: float32 [E, C], added to.
    """
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
def first_layer(
    tokens: np.ndarray,
    consensus: np.ndarray,
    letters: int,
    first: np.ndarray,
    bias: np.ndarray,
    hidden: np.ndarray,
) -> None:
    """Compute the perceptrons' first hidden layer; a letter equal to the consensus adds 0.

    Args:
        tokens: int8 [E, n, L] or [1, n, L].
        consensus: int8 [L].
        letters: V.
        first: float32 [E, L * V, W].
        bias: float32 [E, W].
        hidden: float32 [E, n, W], written: the rectified units.
    """
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
def second_layer(
    hidden: np.ndarray, second: np.ndarray, bias: np.ndarray, deeper: np.ndarray
) -> None:
    """Compute the second hidden layer; units of the first that are 0 are skipped.

    Args:
        hidden: float32 [E, n, W]; the first layer's units.
        second: float32 [E, W, W].
        bias: float32 [E, W].
        deeper: float32 [E, n, W], written: the rectified units.
    """
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
def first_gradient(
    tokens: np.ndarray,
    consensus: np.ndarray,
    letters: int,
    back: np.ndarray,
    gradient: np.ndarray,
) -> None:
    """Add up the gradient of the first layer's weights.

    Args:
        tokens: int8 [E, n, L].
        consensus: int8 [L].
        letters: V.
        back: float32 [E, n, W]; gradient of the first layer's sums.
        gradient: float32 [E, L * V, W], added to.
    """
    members, count, width = back.shape
    for member in range(members):
        for row in range(count):
            for place in range(len(consensus)):
                letter = tokens[member, row, place]
                if letter != consensus[place]:
                    weights = gradient[member, place * letters + letter]
                    for unit in range(width):
                        weights[unit] += back[member, row, unit]
