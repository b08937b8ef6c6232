"""Draws the batch: a row a design, a column a position, a color a letter."""

from __future__ import annotations

import colorsys

import numpy as np

BACKGROUND = (255, 255, 255)
WIDTH, HEIGHT = 960, 640


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


def frame(rows: np.ndarray, letters: int, size: int) -> np.ndarray:
    """The picture: uint8 [HEIGHT, WIDTH, 3].

    Args:
        rows: int8 [n, L]; designs, the pad `letters` where there is no letter yet.
        letters: V.
        size: rows that there will be.
    """
    grid = np.full((max(size, len(rows)), rows.shape[1]), letters, np.int8)
    grid[: len(rows)] = rows
    down = np.arange(HEIGHT) * len(grid) // HEIGHT
    across = np.arange(WIDTH) * grid.shape[1] // WIDTH
    return letter_colors(letters)[grid[down][:, across]]
