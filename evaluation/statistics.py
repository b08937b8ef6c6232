"""Statistics of a comparison: IQM and average ranks with bootstrap intervals, paired differences,
win/tie/loss.

After Agarwal et al. (NeurIPS 2021), "Deep RL at the edge of the statistical precipice":
interquartile means with intervals, instances resampled. Runs of several seeds are averaged within
their instance first.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .cells import Row
from .table import sign, world_of

TIE = 1e-9
RESAMPLES = 5000
BOOTSTRAP_SEED = 20_250_101
CONFIDENCE = 0.95
GRID_POINTS = 120


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean (of the middle half, or plain), with a 95 % interval where it is of two values or
    more.
    """

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def has_interval(self) -> bool:
        """Whether there is an interval."""
        return self.low is not None


@dataclass(frozen=True, slots=True)
class Standing:
    """One contender's line in a family's table.

    Attributes:
        rank: mean of its ranks among the contenders of each instance, 1 the best; equals share the
            mean of their ranks.
        advantage: IQM of the paired improvement over the baseline as a fraction of the baseline's
            objective, above 0 where this contender is better.
        wins, ties, losses: instances, against the baseline.
        wall_s, cpu_s, setup_s: medians over runs; wall_max_s: the longest.
        failures: how many runs, by status.
    """

    contender: str
    kind: str
    objective: Estimate
    rank: Estimate
    advantage: Estimate
    gap_to_best: float | None
    gap_to_bound: float | None
    wins: int
    ties: int
    losses: int
    wall_s: float | None
    wall_max_s: float | None
    cpu_s: float | None
    setup_s: float
    runs: int
    proven_optimal: int
    failures: Mapping[str, int]


def iqm(values: Sequence[float] | np.ndarray) -> float:
    """Mean of the middle half: a quarter trimmed off each end, rounded down, so the plain mean
    below four.
    """
    return float(_trimmed(np.asarray(values, float), 0))


def _trimmed(values: np.ndarray, axis: int) -> Any:
    import scipy.stats

    return scipy.stats.trim_mean(values, 0.25, axis=axis)


def mean(values: Sequence[float] | np.ndarray) -> Estimate:
    """Mean with its interval; see estimate."""
    return estimate(values, np.mean)


def estimate(
    values: Sequence[float] | np.ndarray, statistic: Callable[..., Any] = _trimmed
) -> Estimate:
    """IQM, or another statistic along an axis, with a percentile bootstrap interval over the values
    (one an instance, or a seed).

    The bootstrap's own seed is BOOTSTRAP_SEED. One value has no interval; equal values have one of
    width 0.
    """
    values = np.asarray(values, float)
    middle = float(statistic(values, axis=0))
    if len(values) < 2:
        return Estimate(middle)
    if np.ptp(values) <= TIE:
        return Estimate(middle, middle, middle)
    # Imported late: the commands that make no report need no scipy.
    import scipy.stats

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = scipy.stats.bootstrap(
            (values,),
            statistic,
            n_resamples=RESAMPLES,
            confidence_level=CONFIDENCE,
            method="percentile",
            rng=np.random.default_rng(BOOTSTRAP_SEED),
        )
    interval = result.confidence_interval
    return Estimate(middle, float(interval.low), float(interval.high))


def win_tie_loss(
    ours: Sequence[float], theirs: Sequence[float], way: float
) -> tuple[int, int, int]:
    """Counts over paired values; `way` is 1 where less is better, -1 where more is."""
    better = way * (np.asarray(theirs, float) - np.asarray(ours, float))
    wins, losses = int((better > TIE).sum()), int((better < -TIE).sum())
    return wins, len(better) - wins - losses, losses


def per_instance(rows: Iterable[Row], column: str = "scored_objective") -> dict[str, float]:
    """Mean of a column over an instance's runs, by instance hash; NaN where a run has no value."""
    values: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        value = row[column]
        values[row["instance_hash"]].append(np.nan if value is None else value)
    return {key: float(np.mean(found)) for key, found in values.items()}


def fill_unscored(rows: Sequence[Row]) -> None:
    """Ranks failed runs of families without an empty plan: with the worst that anybody got in the
    same world.
    """
    for row in rows:
        if np.isnan(row["scored_objective"]):
            peers = [r["scored_objective"] for r in rows if world_of(r) == world_of(row)]
            finite = [value for value in peers if not np.isnan(value)]
            if finite:
                row["scored_objective"] = max(finite, key=lambda value: sign(row) * value)


def standings(rows: Sequence[Row], baseline: str) -> list[Standing]:
    """One line a contender of one family, best first; oracles come last and have no rank.

    Only instances that the baseline was played on count for the paired columns.
    """
    by_name: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_name[row["contender"]].append(row)
    reference = per_instance(by_name.get(baseline, []))
    way = sign(rows[0])
    rivals = {name: runs for name, runs in by_name.items() if runs[0]["kind"] != "oracle"}
    ranks = _ranks({name: per_instance(runs) for name, runs in rivals.items()}, way)
    lines = [
        _standing(name, runs, reference, ranks.get(name, [])) for name, runs in by_name.items()
    ]

    def place(line: Standing) -> tuple[bool, float, float]:
        return line.kind == "oracle", _place(line, way), line.wall_s or np.inf

    return sorted(lines, key=place)


def _ranks(objectives: Mapping[str, Mapping[str, float]], way: float) -> dict[str, list[float]]:
    """A contender's rank on each instance that it played, among those that played it too."""
    import scipy.stats

    ranks: dict[str, list[float]] = {name: [] for name in objectives}
    for key in dict.fromkeys(key for found in objectives.values() for key in found):
        names = [name for name, found in objectives.items() if key in found]
        values = np.array([way * objectives[name][key] for name in names])
        values = np.round(np.where(np.isnan(values), np.inf, values), 9)
        for name, rank in zip(names, scipy.stats.rankdata(values), strict=True):
            ranks[name].append(float(rank))
    return ranks


def _place(line: Standing, way: float) -> float:
    """Ranks by mean gap to the best, which compares across instances of different scale; else by
    objective.
    """
    if line.gap_to_best is not None:
        return round(line.gap_to_best, 9)
    return np.inf if np.isnan(line.objective.value) else way * line.objective.value


def _standing(
    name: str, rows: list[Row], reference: Mapping[str, float], ranks: Sequence[float]
) -> Standing:
    way = sign(rows[0])
    ours = {key: value for key, value in per_instance(rows).items() if not np.isnan(value)}
    both = [key for key in ours if not np.isnan(reference.get(key, np.nan))]
    pair = np.array([[ours[key], reference[key]] for key in both]).reshape(-1, 2)
    scale = np.where(np.abs(pair[:, 1]) > TIE, np.abs(pair[:, 1]), 1.0)
    advantage = way * (pair[:, 1] - pair[:, 0]) / scale
    counts = win_tie_loss(pair[:, 0].tolist(), pair[:, 1].tolist(), way)
    failures: dict[str, int] = defaultdict(int)
    for row in rows:
        if row["status"] not in ("optimal", "feasible"):
            failures[row["status"]] += 1
    return Standing(
        name,
        rows[0]["kind"],
        estimate(list(ours.values())) if ours else Estimate(float("nan")),
        mean(ranks) if ranks else Estimate(float("nan")),
        estimate(advantage) if len(both) else Estimate(float("nan")),
        _mean_gap(rows, "gap_to_best"),
        _mean_gap(rows, "gap_to_bound"),
        *counts,
        wall_s=_median(rows, "wall_s"),
        wall_max_s=max((row["wall_s"] for row in rows if row["wall_s"] is not None), default=None),
        cpu_s=_median(rows, "cpu_s"),
        setup_s=float(np.median([row["setup_s"] for row in rows])),
        runs=len(rows),
        proven_optimal=sum(row["status"] == "optimal" for row in rows),
        failures=dict(failures),
    )


def _mean_gap(rows: list[Row], column: str) -> float | None:
    """Mean over the instances that have the gap; None where none has."""
    gaps = [value for value in per_instance(rows, column).values() if not np.isnan(value)]
    return float(np.mean(gaps)) if gaps else None


def _median(rows: list[Row], column: str) -> float | None:
    values = [row[column] for row in rows if row[column] is not None]
    return float(np.median(values)) if values else None


def paired_difference(rows: Sequence[Row], first: str, second: str) -> Estimate | None:
    """IQM of how much better `first` does than `second`, in the objective's unit, above 0 where it
    is better.
    """
    ours = per_instance([row for row in rows if row["contender"] == first])
    theirs = per_instance([row for row in rows if row["contender"] == second])
    both = [key for key in ours if not np.isnan(ours[key] - theirs.get(key, np.nan))]
    if not both:
        return None
    way = sign(rows[0])
    return estimate([way * (theirs[key] - ours[key]) for key in both])


def paired_record(rows: Sequence[Row], first: str, second: str) -> tuple[int, int, int]:
    """Instances on which `first` is better than `second`, level with it, worse."""
    ours = per_instance([row for row in rows if row["contender"] == first])
    theirs = per_instance([row for row in rows if row["contender"] == second])
    both = [key for key in ours if not np.isnan(ours[key] - theirs.get(key, np.nan))]
    pair = ([ours[key] for key in both], [theirs[key] for key in both])
    return win_tie_loss(*pair, sign(rows[0]))


def held_at(row: Row, seconds: np.ndarray) -> np.ndarray:
    """Objective of the plan held at each time [T]: doing nothing until the first, then each until
    the next.
    """
    times = np.array([0.0] + [point[0] for point in row["curve"]])
    values = np.array([row["doing_nothing"]] + [point[1] for point in row["curve"]])
    return values[np.searchsorted(times, seconds, side="right") - 1]


def anytime(rows: Sequence[Row], seconds: np.ndarray) -> np.ndarray:
    """A contender's mean gap to the best plan of each world, at each time [T]; runs without a curve
    do nothing.
    """
    gaps = []
    for row in rows:
        if row["best"] is None or np.isnan(row["doing_nothing"]):
            continue
        scale = abs(row["best"]) if abs(row["best"]) > TIE else 1.0
        gaps.append(sign(row) * (held_at(row, seconds) - row["best"]) / scale)
    return np.mean(gaps, axis=0) if gaps else np.full(len(seconds), np.nan)


def time_grid(rows: Sequence[Row]) -> np.ndarray:
    """Seconds on a log scale, from the first plan anybody held to the end of the longest run,
    [GRID_POINTS].
    """
    first = [point[0] for row in rows for point in row["curve"][:1] if point[0] > 0]
    last = [row["wall_s"] for row in rows if row["wall_s"]] + [row["budget_s"] for row in rows]
    low = max(min(first, default=1e-3) / 2, 1e-5)
    return np.geomspace(low, max(max(last), 2 * low), GRID_POINTS)
