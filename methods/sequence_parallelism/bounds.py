"""Lower bounds on a step's time: in closed form, and from a relaxation solved by HiGHS.

The relaxation sorts micro-batches by their time into levels [low, high]. For each level and kind it
has the number n of groups and of their devices' time h, and of each length the sequences that such
groups hold. Groups of a kind share their time and room as if sequences could be cut, but no more
than 1, 2, 3 sequences above a half, a third, a quarter of it fit a group. It is exact in the time
of micro-batches as the levels narrow: with C a micro-batch's time, devices >= sum of degrees times
(C - low) >= 0 and (high - C) >= 0 is kept. Symmetries of groups and micro-batches are gone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from ..highs import MixedIntegerProgram
from .grouping import Grouping, Work, group_times
from .opening import least_batches

PARTS = (2, 3, 4)  # of a group's room and time, for counts of large sequences


def simple_bound(work: Work) -> float:
    """Return a lower bound on a step's time, ms: least device time spread evenly, and constants.

    Args:
        work: the step.
    """
    spread = float((work.times * work.degree).min(axis=1).sum() / work.devices.sum())
    spread += least_batches(work) * float(work.constant.min())
    longest = float((work.times[0] + work.constant).min())
    return max(spread, longest)


@dataclass(frozen=True, slots=True)
class Relaxation:
    """The relaxation of a step, and where its columns are.

    Attributes:
        program: the mixed-integer program; its objective is the step's time, ms.
        low, high: float64 [L]; levels, ms.
        lengths: int64 [Q]; distinct lengths, falling.
        number: int64 [Q]; sequences of each length.
    """

    program: MixedIntegerProgram
    low: np.ndarray
    high: np.ndarray
    lengths: np.ndarray
    number: np.ndarray

    def parts(self, x: np.ndarray, kinds: int) -> tuple[np.ndarray, ...]:
        """Split a point into micro-batches and their time by level, groups, and sequences.

        Args:
            x: float64 [columns].
            kinds: number of kinds, G.

        Returns:
            Micro-batches float64 [L], their time float64 [L], groups float64 [L, G], and sequences
            float64 [L, G, Q].
        """
        levels = len(self.low)
        ends = np.cumsum([levels, levels, levels * kinds, levels * kinds])
        y, u, n, _, a = np.split(x, ends)
        return y, u, n.reshape(levels, kinds), a.reshape(levels, kinds, -1)

    def point(self, work: Work, plan: Grouping) -> np.ndarray | None:
        """Return a plan as a point, float64 [columns]; None if a micro-batch is in no level.

        Args:
            work: the step.
            plan: its groups.
        """
        slowest = np.zeros(plan.micro_batch.max() + 1)
        np.maximum.at(slowest, plan.micro_batch, group_times(work, plan))
        if slowest.min() < self.low[0] or slowest.max() > self.high[-1] * (1 + 1e-9):
            return None
        level = np.minimum(np.searchsorted(self.high, slowest * (1 - 1e-9)), len(self.high) - 1)
        levels, kinds = len(self.low), len(work.degree)
        many, total = np.bincount(level, minlength=levels), np.bincount(level, slowest, levels)
        groups, held = np.zeros((2, levels, kinds))
        at = level[plan.micro_batch], plan.kind
        np.add.at(groups, at, 1.0)
        np.add.at(held, at, slowest[plan.micro_batch])
        sequences = np.zeros((levels, kinds, len(self.lengths)))
        size = np.searchsorted(-self.lengths, -work.lengths)
        np.add.at(sequences, (at[0][plan.group], at[1][plan.group], size), 1.0)
        return np.concatenate([many, total, groups.ravel(), held.ravel(), sequences.ravel()])


def levels_between(lowest: float, highest: float, ratio: float) -> np.ndarray:
    """Return the borders of levels whose widths are at most a ratio, float64 [L + 1].

    Args:
        lowest: the first border, ms.
        highest: the last border, ms.
        ratio: of neighboring borders.
    """
    many = max(1, int(np.ceil(np.log(highest / lowest) / np.log(ratio))))
    return np.geomspace(lowest, highest, many + 1)


def relax(work: Work, borders: np.ndarray, most: float) -> Relaxation:
    """Build the relaxation.

    Args:
        work: the step, of G kinds.
        borders: float64 [L + 1]; of the levels; no micro-batch of a plan that is better than the
            known one takes longer than the last, none less than the first.
        most: ms of the known plan: what is not better is left out.
    """
    low, high = borders[:-1], borders[1:]
    lengths, first, number = np.unique(-work.lengths, return_index=True, return_counts=True)
    lengths, times = -lengths, work.times[first]
    levels, kinds, sizes = len(low), len(work.degree), len(lengths)
    blocks = np.cumsum([0, levels, levels, levels * kinds, levels * kinds])
    y, u = blocks[0] + np.arange(levels), blocks[1] + np.arange(levels)
    n = blocks[2] + np.arange(levels * kinds).reshape(levels, kinds)
    h = blocks[3] + np.arange(levels * kinds).reshape(levels, kinds)
    a = blocks[4] + np.arange(levels * kinds * sizes).reshape(levels, kinds, sizes)
    columns = int(blocks[4] + a.size)
    rows: list[tuple[np.ndarray, np.ndarray]] = []
    bounds: list[tuple[float, float]] = []

    def row(at: list[np.ndarray], value: list[np.ndarray], least: float, most: float) -> None:
        rows.append((np.concatenate(at), np.concatenate(value)))
        bounds.append((least, most))

    one = np.ones(1)
    upper = np.full(columns, np.inf)
    allowed = (times.T[None] + work.constant[None, :, None]) <= high[:, None, None]
    upper[a[~allowed]] = 0.0
    for at in range(levels):
        row([u[at : at + 1], y[at : at + 1]], [one, -low[at] * one], 0.0, np.inf)
        row([u[at : at + 1], y[at : at + 1]], [one, -high[at] * one], -np.inf, 0.0)
        for c, devices in enumerate(work.devices):
            of = np.flatnonzero(work.device_class == c)
            d = work.degree[of].astype(np.float64)
            row([n[at, of], y[at : at + 1]], [d, -devices * one], -np.inf, 0.0)
            row(
                [h[at, of], n[at, of], u[at : at + 1], y[at : at + 1]],
                [d, -low[at] * d, -devices * one, devices * low[at] * one], -np.inf, 0.0,
            )  # fmt: skip
            row(
                [n[at, of], h[at, of], y[at : at + 1], u[at : at + 1]],
                [high[at] * d, -d, -devices * high[at] * one, devices * one], -np.inf, 0.0,
            )  # fmt: skip
        for g in range(kinds):
            here = np.flatnonzero(allowed[at, g])
            if not len(here):
                upper[n[at, g]] = upper[h[at, g]] = 0.0
                continue
            of = n[at, g : g + 1]
            row([h[at, g : g + 1], of], [one, -low[at] * one], 0.0, np.inf)
            row([h[at, g : g + 1], of], [one, -high[at] * one], -np.inf, 0.0)
            took = times[here, g]
            row(
                [a[at, g, here], of, h[at, g : g + 1]],
                [took, work.constant[g] * one, -one], -np.inf, 0.0,
            )  # fmt: skip
            held = lengths[here].astype(np.float64)
            row([a[at, g, here], of], [held, -work.capacity[g] * one], -np.inf, 0.0)
            row([a[at, g, here], of], [np.ones(len(here)), -one], 0.0, np.inf)
            beyond = took + work.constant[g] - low[at]
            for q, over in zip(here[beyond > 0], beyond[beyond > 0], strict=True):
                need = over / number[q] * one
                row(
                    [a[at, g, q : q + 1], of, h[at, g : g + 1]],
                    [need, low[at] * one, -one],
                    -np.inf,
                    0.0,
                )
            span = high[at] - work.constant[g]
            for measure, limit in ((held, float(work.capacity[g])), (took, span)):
                for part in PARTS:
                    large = here[measure * part > limit * (1 + 1e-12)]
                    if len(large):
                        row(
                            [a[at, g, large], of],
                            [np.ones(len(large)), -(part - 1.0) * one], -np.inf, 0.0,
                        )  # fmt: skip
        for q in range(sizes):
            beyond = times[q] + work.constant - low[at]
            of = np.flatnonzero((beyond > 0) & allowed[at, :, q])
            if len(of):
                row(
                    [a[at, of, q], u[at : at + 1], y[at : at + 1]],
                    [beyond[of] / number[q], -one, low[at] * one], -np.inf, 0.0,
                )  # fmt: skip
    for q in range(sizes):
        at_q = a[:, :, q].ravel()
        at_q = at_q[upper[at_q] > 0]
        row([at_q], [np.ones(len(at_q))], float(number[q]), float(number[q]))
    row([y], [np.ones(levels)], float(least_batches(work)), np.inf)
    row([u], [np.ones(levels)], 0.0, most)
    lines = np.repeat(np.arange(len(rows)), [len(at) for at, _ in rows])
    matrix = sp.csc_matrix(
        (np.concatenate([v for _, v in rows]), (lines, np.concatenate([at for at, _ in rows]))),
        shape=(len(rows), columns),
    )
    cost = np.zeros(columns)
    cost[u] = 1.0
    integer = np.zeros(columns, bool)
    integer[y] = True
    integer[n.ravel()] = True
    sides = np.array(bounds)
    program = MixedIntegerProgram(
        cost, np.zeros(columns), upper, matrix, sides[:, 0], sides[:, 1], integer
    )
    return Relaxation(program, low, high, lengths, number)
