"""Draws the groups of the present step as an image: time to the right, devices downwards.

Micro-batches stand one after the other, as long as they take; in each its groups lie below each
other, as high as they have devices and as long as they take, one color a degree; gray is idle.
"""

from __future__ import annotations

import itertools

import numpy as np

from .dynamics import DEGREE, GROUPS, KIND, MICRO_BATCH, MICRO_BATCHES, State, Table

Color = tuple[int, int, int]

BACKGROUND: Color = (255, 255, 255)
IDLE: Color = (228, 228, 228)
EDGE: Color = (255, 255, 255)
# By the binary logarithm of the degree, from one device on: told apart by color-blind readers.
DEGREE_COLORS: tuple[Color, ...] = (
    (240, 228, 66),
    (230, 159, 0),
    (213, 94, 0),
    (204, 121, 167),
    (86, 180, 233),
    (0, 158, 115),
    (0, 114, 178),
    (60, 60, 60),
)


def color_of(degree: int) -> Color:
    """Return the color of groups of a degree."""
    return DEGREE_COLORS[min(degree.bit_length() - 1, len(DEGREE_COLORS) - 1)]


def frame(table: Table, state: State, width: int = 960, height: int = 384) -> np.ndarray:
    """The picture: uint8 [height, width, 3]."""
    image = np.full((height, width, 3), BACKGROUND, np.uint8)
    micro_batches, groups = int(state.counts[MICRO_BATCHES]), int(state.counts[GROUPS])
    longest = state.longest[:micro_batches]
    total = float(longest.sum())
    if not total:
        return image
    edges = np.rint(np.concatenate([[0.0], longest.cumsum()]) / total * width).astype(int)
    devices = int(table.devices.sum())
    used = np.zeros(micro_batches, np.int64)
    for left, right in itertools.pairwise(edges):
        image[:, left : max(left + 1, right - 2)] = IDLE
    for group in range(groups):
        kind, micro = state.groups[group, KIND], state.groups[group, MICRO_BATCH]
        degree = int(table.sizes[DEGREE, kind])
        top, bottom = (
            int(at) for at in np.rint(np.array([used[micro], used[micro] + degree])
                                      * height / devices)
        )  # fmt: skip
        used[micro] += degree
        left, right = int(edges[micro]), int(edges[micro + 1])
        part = float(state.times[group] / longest[micro])
        end = left + max(1, round((right - 2 - left) * part))
        image[top : max(top + 1, bottom), left:end] = color_of(degree)
        image[top, left:end] = EDGE
    return image
