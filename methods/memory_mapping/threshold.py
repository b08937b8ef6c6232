"""Sweep thresholds over priorities: uses worth at least the threshold go to fast memory."""

from __future__ import annotations

import numpy as np

from ...envs.memory_mapping.dynamics import Static
from ...envs.memory_mapping.stays import benefits, previous_uses
from . import greedy
from .best import Best

COPY_WEIGHTS = (1.0, 0.25, 4.0)  # factors for uses of data in slow memory at the start
COARSE = 16  # thresholds a priority in the coarse sweep, at most


def search(best: Best, seconds: float = np.inf, coarse: bool = False) -> None:
    """Try the greedies, then every threshold, coarsely first, then finely.

    Args:
        best: the program and its clock; keeps the best plan.
        seconds: wall-clock seconds after which the sweep ends.
        coarse: whether to end after the coarse sweep.
    """
    until = best.clock.elapsed + seconds
    greedy.search(best)
    if best.clock.expired or best.clock.elapsed > until:
        return
    table = priorities(best.static)
    ladders: dict[int, np.ndarray] = {}
    tried: set[bytes] = set()
    finer = 1  # how much finer than the coarse sweep
    while True:
        most = 1
        for number, row in enumerate(table):
            if best.clock.expired or best.clock.elapsed > until:
                return
            if number not in ladders:
                ladders[number] = np.unique(row)[::-1]
            stride = max(1, -(-len(ladders[number]) // (COARSE * finer)))
            most = max(most, stride)
            for threshold in ladders[number][::stride]:
                if best.clock.expired or best.clock.elapsed > until:
                    return
                wishes = (row >= threshold).astype(np.int8)
                key = np.packbits(wishes).tobytes()
                if key not in tried:
                    tried.add(key)
                    best.try_wishes(wishes)
        if coarse or most == 1:
            return
        finer *= 4


def priorities(static: Static) -> np.ndarray:
    """Compute P priorities of each use in fast memory, float64 [P, D]; more is better."""
    saves = benefits(static).astype(np.float64)
    before = previous_uses(static)
    size = static.buf_size[static.dec_buffer].astype(np.float64)
    instr = static.dec_instr
    since = np.where(before >= 0, instr[before], np.where(static.dec_makes == 1, instr, instr - 1))
    span = np.maximum(static.dec_until - since, 1).astype(np.float64)
    count = len(static.buf_size)
    total = np.bincount(static.dec_buffer, saves, count)[static.dec_buffer]
    first = np.full(count, len(static.instr_slow))
    last = np.zeros(count, np.int64)
    np.minimum.at(first, static.dec_buffer, instr)
    np.maximum.at(last, static.dec_buffer, instr)
    life = (last - first + 1.0)[static.dec_buffer]
    ahead = np.where(static.dec_next < len(saves), np.append(saves, 0.0)[static.dec_next], 0.0)
    kinds = [
        saves / (size * span),
        total / np.sqrt(size),
        total / (size * life),
        saves / np.sqrt(size),
        (saves + ahead) / (size * span),
        total / size,
        -span,
        -size * span,
        -size,
    ]
    at_start = static.buf_at_start[static.dec_buffer] == 1
    rows = []
    for weight in COPY_WEIGHTS:
        for kind in kinds:
            scaled = np.where(kind > 0, kind * weight, kind / weight)
            rows.append(np.where(at_start, scaled, kind))
    return np.stack(rows)
