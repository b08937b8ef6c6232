"""Packings of buffers that keep some of their bytes in a gap, by CP-SAT of OR-tools.

Of two such buffers neither need lie above the other all the time, which the search of search.py
counts on. Here every piece of life is a rectangle whose place follows its buffer's offset.
"""

from __future__ import annotations

import numpy as np

from ....core.budget import Clock
from ....datasets.memory_mapping.packing import FREE, Packing

MOST_BUFFERS = 5000  # above which CP-SAT would not end in time
MOST_UNITS = 1 << 40


def lower(
    packing: Packing, offsets: np.ndarray, bound: int, unit: int, clock: Clock, seed: int
) -> tuple[np.ndarray, int]:
    """Look for a packing within the capacity or, if that is 0, a lower one.

    Args:
        packing: the problem, of n buffers.
        offsets: int64 [n]; a packing.
        bound: proven: no packing is lower.
        unit: a divisor of all sizes and windows, of alignments above 1 and of given offsets.
        clock: of the run; CP-SAT ends with its seconds.
        seed: of CP-SAT.

    Returns:
        The lowest packing found, int64 [n], and the bound. Without OR-tools, or if the problem is
        too large, as they were given.
    """
    try:
        from ortools.sat.python import cp_model
    except ModuleNotFoundError:
        return offsets, bound
    height = int((offsets + packing.size).max())
    most = (packing.capacity or height) // unit
    if len(packing.ids) > MOST_BUFFERS or most > MOST_UNITS:
        return offsets, bound
    model = cp_model.CpModel()
    top = model.new_int_var(bound // unit, most, "top")
    places = []
    for row, size in enumerate(packing.size.tolist()):
        step = max(1, int(packing.alignment[row]) // unit)
        place = model.new_int_var(0, max(0, (most - size // unit) // step), "")
        if packing.offset[row] != FREE:
            model.add(place * step == int(packing.offset[row]) // unit)
        model.add(place * step + size // unit <= top)
        model.add_hint(place, int(offsets[row]) // unit // step)
        places.append(place * step)
    pieces = packing.pieces
    times = np.unique(np.concatenate([pieces.lower, pieces.upper]))
    begins, ends = np.searchsorted(times, pieces.lower), np.searchsorted(times, pieces.upper)
    pieces = pieces._replace(lower=begins, upper=ends)
    spans, rectangles = [], []
    for row, begin, end, low, high in zip(*(column.tolist() for column in pieces), strict=True):
        spans.append(model.new_fixed_size_interval_var(begin, end - begin, ""))
        start, length = places[row] + low // unit, (high - low) // unit
        rectangles.append(model.new_fixed_size_interval_var(start, length, ""))
    model.add_no_overlap_2d(spans, rectangles)
    if packing.capacity == 0:
        model.minimize(top)
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = max(clock.remaining, 1e-3)
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = seed % (1 << 31)
    outcome = solver.solve(model)
    if outcome == cp_model.INFEASIBLE:
        return offsets, max(bound, (most + 1) * unit)
    if outcome in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        offsets = unit * np.array([solver.value(place) for place in places], np.int64)
    if packing.capacity == 0:
        bound = max(bound, unit * round(solver.best_objective_bound))
    return offsets, bound
