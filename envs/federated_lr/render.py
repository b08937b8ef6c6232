"""An episode as a picture, in NumPy alone: validation loss above, both rates below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...datasets.federated_lr.instance import ALPHA_RANGE, BETA_RANGE

HEIGHT, WIDTH = 120, 480  # of each of the two panels, pixels
PAPER, FRAME = (255, 255, 255), (200, 200, 200)
LOSS, ALPHA, BETA = (60, 60, 60), (214, 39, 40), (31, 119, 180)


def frame(trace: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Uint8 [240, 480, 3] from an episode's statistics, one row a step so far.

    Above: the validation loss from 0 to twice the first. Below: the logarithms of alpha (red) and
    beta (blue) within their ranges.
    """
    picture = np.full((2 * HEIGHT, WIDTH, 3), PAPER, np.uint8)
    picture[HEIGHT - 1 : HEIGHT + 1] = FRAME
    steps = int(trace[0]["rounds"]) + 2
    loss = [row["validation_loss"] / max(2.0 * row["initial_loss"], 1e-12) for row in trace]
    _draw(picture[:HEIGHT], loss, steps, LOSS)
    for name, (low, high), color in (("alpha", ALPHA_RANGE, ALPHA), ("beta", BETA_RANGE, BETA)):
        whole = np.log(high / low)
        _draw(picture[HEIGHT:], [np.log(r[name] / low) / whole for r in trace], steps, color)
    return picture


def _draw(
    panel: np.ndarray, heights: Sequence[float], steps: int, color: tuple[int, int, int]
) -> None:
    """A line of heights in 0..1, one a step, each as wide as its share of all steps."""
    edges = np.linspace(0, WIDTH, steps + 1).astype(int)
    rows = ((1.0 - np.clip(heights, 0.0, 1.0)) * (HEIGHT - 3)).astype(int)
    for step, row in enumerate(rows):
        above = rows[max(step - 1, 0)]
        panel[min(row, above) : max(row, above) + 2, edges[step] : edges[step] + 2] = color
        panel[row : row + 2, edges[step] : edges[step + 1]] = color
