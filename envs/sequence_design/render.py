"""Draws the batch: a row a design, a column a position, a color a letter; beside it, with several
rounds, best and median by round.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np

BACKGROUND = (255, 255, 255)
WIDTH, HEIGHT = 960, 640
BARS = 240  # columns of the picture that show the rounds
BEST, MEDIAN, EDGE = (150, 150, 150), (40, 40, 40), (225, 225, 225)


def letter_colors(letters: int) -> np.ndarray:
    """Colors uint8 [letters + 1, 3] around the wheel, light and dark in turn; the last, for what
    is not there yet, is the background's.
    """
    wheel = [
        colorsys.hls_to_rgb(letter / letters, 0.42 + 0.2 * (letter % 2), 0.65)
        for letter in range(letters)
    ]
    scaled = [tuple(round(255 * part) for part in color) for color in wheel]
    return np.array([*scaled, BACKGROUND], np.uint8)


def frame(
    rows: np.ndarray,
    letters: int,
    size: int,
    by_round: Sequence[tuple[float, float]] = (),
    rounds: int = 1,
) -> np.ndarray:
    """Return the picture: uint8 [HEIGHT, WIDTH, 3].

    With several rounds the last BARS columns hold two bars for each round that was measured, as
    long as the best score and the median of all measured until then, between 0 and 1.

    Args:
        rows: int8 [n, L]; designs, the pad `letters` where there is no letter yet.
        letters: V.
        size: rows that there will be.
        by_round: (best, median) after each round measured, normalized.
        rounds: R.
    """
    grid = np.full((max(size, len(rows)), rows.shape[1]), letters, np.int8)
    grid[: len(rows)] = rows
    down = np.arange(HEIGHT) * len(grid) // HEIGHT
    wide = WIDTH if rounds == 1 else WIDTH - BARS
    across = np.arange(wide) * grid.shape[1] // wide
    drawn: np.ndarray = letter_colors(letters)[grid[down][:, across]]
    if rounds == 1:
        return drawn
    return np.concatenate([drawn, _bars(by_round, rounds)], axis=1)


def _bars(by_round: Sequence[tuple[float, float]], rounds: int) -> np.ndarray:
    """Return the bars of all rounds, uint8 [HEIGHT, BARS, 3]; see `frame`."""
    drawn = np.full((HEIGHT, BARS, 3), BACKGROUND, np.uint8)
    drawn[:, 0] = EDGE
    for number, values in enumerate(by_round):
        for which, (value, color) in enumerate(zip(values, (BEST, MEDIAN), strict=True)):
            top = HEIGHT * (4 * number + 1 + which) // (4 * rounds)
            end = HEIGHT * (4 * number + 2 + which) // (4 * rounds)
            length = round(float(np.clip(value, 0.0, 1.0)) * (BARS - 2))
            drawn[top : max(end, top + 1), 1 : 1 + length] = color
    return drawn
