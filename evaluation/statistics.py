"""Statistics of a comparison: interquartile means, ranks, paired differences, anytime curves.

After Agarwal et al. (NeurIPS 2021), "Deep RL at the edge of the statistical precipice":
interquartile means with bootstrap intervals, instances resampled. Runs of several seeds are
averaged within their instance first.
"""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.contracts import Role
from ..core.results import Row, Status
from .table import Scored

TIE = 1e-9
RESAMPLES = 5000
VALUES_AT_ONCE = 2**20  # of resamples, which bounds memory
BOOTSTRAP_SEED = 20_250_101
CONFIDENCE = 0.95
GRID_POINTS = 120


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its 95 % bootstrap interval.

    Attributes:
        value: the mean, interquartile or plain.
        low: lower end of the interval; None if there is no interval.
        high: upper end of the interval; None if there is no interval.
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
    """One contender's row in a family's table.

    Attributes:
        contender: name of the contender.
        role: whether it is an agent, a solver or an oracle.
        player: whether it plays closed loop.
        objective: IQM over instances of the objective that its runs are ranked by.
        rank: mean of its ranks among the contenders of each instance, 1 the best; ties share the
            mean of their ranks.
        advantage: IQM of the paired improvement over the baseline as a fraction of the baseline's
            objective, above 0 if this contender is better.
        gap_to_best, gap_to_bound: means over the instances that have the gap; None if none has.
        wins, ties, losses: number of instances, against the baseline.
        wall_s, cpu_s, setup_s: medians over runs, seconds.
        wall_max_s: the longest run, seconds.
        runs: number of runs.
        proven_optimal: number of runs whose plan it proved optimal.
        failures: status -> number of failed runs.
    """

    contender: str
    role: Role
    player: bool
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
    failures: Mapping[Status, int]


def iqm(values: Sequence[float] | np.ndarray, axis: int = 0) -> Any:
    """Return the interquartile mean, the mean of the middle half.

    A quarter is trimmed off each end, rounded down, so below four values it is the plain mean.

    Args:
        values: float64, of any shape.
        axis: axis along which the mean is taken.
    """
    # Imported here because commands that write no report do not need scipy.
    import scipy.stats

    return scipy.stats.trim_mean(np.asarray(values, float), 0.25, axis=axis)


def mean(values: Sequence[float] | np.ndarray) -> Estimate:
    """Return the plain mean with its interval; see `estimate`."""
    return estimate(values, np.mean)


def estimate(values: Sequence[float] | np.ndarray, statistic: Callable[..., Any] = iqm) -> Estimate:
    """Return a statistic with its percentile bootstrap interval.

    The bootstrap's seed is BOOTSTRAP_SEED. There is no interval for a single value, nor if a value
    is NaN or infinite; the interval of equal values has width 0.

    Args:
        values: float64 [n], one per instance or seed.
        statistic: function of an array and the keyword `axis`.
    """
    values = np.asarray(values, float)
    with np.errstate(invalid="ignore"):
        middle = float(statistic(values, axis=0))
    if len(values) < 2 or not np.isfinite(values).all():
        return Estimate(middle)
    if np.ptp(values) <= TIE:
        return Estimate(middle, middle, middle)
    import scipy.stats

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = scipy.stats.bootstrap(
            (values,),
            statistic,
            n_resamples=RESAMPLES,
            batch=max(1, VALUES_AT_ONCE // len(values)),
            confidence_level=CONFIDENCE,
            method="percentile",
            rng=np.random.default_rng(BOOTSTRAP_SEED),
        )
    interval = result.confidence_interval
    return Estimate(middle, float(interval.low), float(interval.high))


def win_tie_loss(
    ours: Sequence[float], theirs: Sequence[float], sign: float
) -> tuple[int, int, int]:
    """Count wins, ties and losses over paired values.

    Args:
        ours: objectives of one contender, [n].
        theirs: objectives of the other, [n].
        sign: 1.0 if less is better, -1.0 if more is.
    """
    better = sign * (np.asarray(theirs, float) - np.asarray(ours, float))
    wins, losses = int((better > TIE).sum()), int((better < -TIE).sum())
    return wins, len(better) - wins - losses, losses


def scored_objective(row: Row) -> float:
    """Return the objective that a row is ranked by."""
    return row.scored_objective


def per_instance(
    rows: Iterable[Scored], value: Callable[[Scored], float | None] = scored_objective
) -> dict[str, float]:
    """Return the mean over each instance's runs; NaN if a run has no value.

    Args:
        rows: rows of one contender.
        value: row -> the value to average, or None.

    Returns:
        Instance hash -> mean.
    """
    values: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        found = value(row)
        values[row.instance_hash].append(np.nan if found is None else found)
    return {key: float(np.mean(found)) for key, found in values.items()}


def standings(rows: Sequence[Scored], baseline: str) -> list[Standing]:
    """Return one row per contender, best first; oracles come last and have no rank.

    Args:
        rows: rows of one family and one objective.
        baseline: contender that the others are compared with; only instances that it was played on
            count for the paired columns.
    """
    by_name: dict[str, list[Scored]] = defaultdict(list)
    for row in rows:
        by_name[row.contender].append(row)
    reference = per_instance(by_name.get(baseline, []))
    sign = rows[0].sign
    rivals = {name: runs for name, runs in by_name.items() if runs[0].role != "oracle"}
    ranks = _ranks({name: per_instance(runs) for name, runs in rivals.items()}, sign)
    lines = [
        _standing(name, runs, reference, ranks.get(name, [])) for name, runs in by_name.items()
    ]

    def place(line: Standing) -> tuple[bool, float, float]:
        return line.role == "oracle", _place(line, sign), line.wall_s or np.inf

    return sorted(lines, key=place)


def _ranks(objectives: Mapping[str, Mapping[str, float]], sign: float) -> dict[str, list[float]]:
    """Return each contender's ranks on the instances that it was played on."""
    import scipy.stats

    ranks: dict[str, list[float]] = {name: [] for name in objectives}
    for key in dict.fromkeys(key for found in objectives.values() for key in found):
        names = [name for name, found in objectives.items() if key in found]
        values = np.array([sign * objectives[name][key] for name in names])
        values = np.round(np.where(np.isnan(values), np.inf, values), 9)
        for name, rank in zip(names, scipy.stats.rankdata(values), strict=True):
            ranks[name].append(float(rank))
    return ranks


def _place(line: Standing, sign: float) -> float:
    """Return the value that contenders are sorted by.

    It is the mean gap to the best, which compares instances of different scale, or the objective if
    there is no gap.
    """
    if line.gap_to_best is not None:
        return round(line.gap_to_best, 9)
    return np.inf if np.isnan(line.objective.value) else sign * line.objective.value


def _standing(
    name: str, rows: list[Scored], reference: Mapping[str, float], ranks: Sequence[float]
) -> Standing:
    sign = rows[0].sign
    ours = {key: value for key, value in per_instance(rows).items() if not np.isnan(value)}
    both = [key for key in ours if not np.isnan(reference.get(key, np.nan))]
    pair = np.array([[ours[key], reference[key]] for key in both]).reshape(-1, 2)
    scale = np.where(np.abs(pair[:, 1]) > TIE, np.abs(pair[:, 1]), 1.0)
    advantage = sign * (pair[:, 1] - pair[:, 0]) / scale
    counts = win_tie_loss(pair[:, 0].tolist(), pair[:, 1].tolist(), sign)
    walls = [row.wall_s for row in rows if row.wall_s is not None]
    return Standing(
        name,
        rows[0].role,
        rows[0].form == "player",
        estimate(list(ours.values())) if ours else Estimate(float("nan")),
        mean(ranks) if ranks else Estimate(float("nan")),
        estimate(advantage) if len(both) else Estimate(float("nan")),
        _mean_gap(rows, lambda row: row.gap_to_best),
        _mean_gap(rows, lambda row: row.gap_to_bound),
        *counts,
        wall_s=_median(walls),
        wall_max_s=max(walls, default=None),
        cpu_s=_median([row.cpu_s for row in rows if row.cpu_s is not None]),
        setup_s=float(np.median([row.setup_s for row in rows])),
        runs=len(rows),
        proven_optimal=sum(row.status == "optimal" for row in rows),
        failures=Counter(row.status for row in rows if row.failed),
    )


def _mean_gap(rows: list[Scored], value: Callable[[Scored], float | None]) -> float | None:
    """Return the mean over the instances that have the gap; None if none has."""
    gaps = [found for found in per_instance(rows, value).values() if not np.isnan(found)]
    return float(np.mean(gaps)) if gaps else None


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None


def _paired(
    rows: Sequence[Scored], first: str, second: str
) -> tuple[list[float], list[float], float]:
    """Return both contenders' objectives on the instances that both played, and the sign."""
    ours, theirs = (
        per_instance([row for row in rows if row.contender == name]) for name in (first, second)
    )
    both = [key for key in ours if not np.isnan(ours[key] - theirs.get(key, np.nan))]
    return [ours[key] for key in both], [theirs[key] for key in both], rows[0].sign


def paired_difference(rows: Sequence[Scored], first: str, second: str) -> Estimate | None:
    """Return by how much the first contender is better than the second, the IQM over instances.

    Args:
        rows: rows of one family and one objective.
        first: a contender; if it is better, the value is above 0.
        second: the contender that it is compared with.

    Returns:
        In the objective's unit; None if they share no instance.
    """
    ours, theirs, sign = _paired(rows, first, second)
    return estimate(sign * (np.array(theirs) - np.array(ours))) if ours else None


def paired_value(rows: Sequence[Scored], first: str, second: str) -> float:
    """Return `paired_difference` without its interval, which is quick; NaN for None.

    Args:
        rows: rows of one family and one objective.
        first: a contender.
        second: the contender that it is compared with.
    """
    ours, theirs, sign = _paired(rows, first, second)
    return float(iqm(sign * (np.array(theirs) - np.array(ours)))) if ours else np.nan


def paired_record(rows: Sequence[Scored], first: str, second: str) -> tuple[int, int, int]:
    """Count the instances on which the first contender is better, equal, and worse.

    Args:
        rows: rows of one family and one objective.
        first: a contender.
        second: the contender that it is compared with.
    """
    return win_tie_loss(*_paired(rows, first, second))


def objective_at(row: Row, seconds: np.ndarray) -> np.ndarray:
    """Return the objective of the best plan found by each time, float64 [T].

    Before the first plan it is that of the null plan.

    Args:
        row: a row with its anytime curve.
        seconds: float64 [T], seconds since the contender got the instance.
    """
    times = np.array([0.0] + [point[0] for point in row.curve])
    values = np.array([row.null_objective] + [point[1] for point in row.curve])
    return values[np.searchsorted(times, seconds, side="right") - 1]


def anytime(rows: Sequence[Scored], seconds: np.ndarray) -> np.ndarray:
    """Return a contender's mean gap to the best plan of each world at each time, float64 [T].

    Args:
        rows: rows of one contender; a row without a curve has the null plan at all times.
        seconds: float64 [T], seconds since the contender got the instance.
    """
    gaps = []
    for row in rows:
        if row.best is None or np.isnan(row.null_objective):
            continue
        scale = abs(row.best) if abs(row.best) > TIE else 1.0
        gaps.append(row.sign * (objective_at(row, seconds) - row.best) / scale)
    return np.mean(gaps, axis=0) if gaps else np.full(len(seconds), np.nan)


def time_grid(rows: Sequence[Row]) -> np.ndarray:
    """Return seconds on a log scale from the first plan to the end of the longest run.

    Returns:
        float64 [GRID_POINTS].
    """
    first = [point[0] for row in rows for point in row.curve[:1] if point[0] > 0]
    last = [row.wall_s for row in rows if row.wall_s] + [row.budget_s for row in rows]
    low = max(min(first, default=1e-3) / 2, 1e-5)
    return np.geomspace(low, max(max(last), 2 * low), GRID_POINTS)
