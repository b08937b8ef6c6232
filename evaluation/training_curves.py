"""Read the runs in a folder of training, and turn their histories into curves."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..agents import history
from ..agents.bounded_yaml import read_yaml
from ..agents.history import START, Record
from ..agents.run_folder import CONFIG, HISTORY, POLICY, SEED, TRIALS
from ..core.contender_arguments import CARD
from ..core.documents import read_json
from ..core.errors import InstanceError, OutputError
from ..core.files import kind_of

Axis = Literal["steps", "passes", "seconds"]
Kind = Literal["run", "seeds", "sweep"]
AXIS_LABELS = {
    "steps": "environment steps",
    "passes": "passes of imitation",
    "seconds": "seconds of training",
}


@dataclass(frozen=True, slots=True)
class TrainedRun:
    """A training run as it lies in its folder, whether it ended, goes on or was killed.

    Attributes:
        name: name of its folder.
        folder: that folder.
        config: the resolved configuration.
        records: its history.
    """

    name: str
    folder: Path
    config: Mapping[str, Any]
    records: Sequence[Record]

    @property
    def lengths(self) -> dict[str, int]:
        """Passes or iterations of each stage that the configuration asks for."""
        sections = {key: part for key, part in self.config.items() if isinstance(part, dict)}
        asked = {
            stage: part.get("epochs" if stage == "imitation" else "iterations", 0)
            for stage, part in sections.items()
        }
        return {stage: int(length) for stage, length in asked.items() if length}

    def positions(self, axis: Axis) -> np.ndarray:
        """Return where each record lies on an axis, float64 [records]."""
        if axis == "seconds":
            return np.cumsum([record.seconds for record in self.records])
        if axis == "passes":
            return np.cumsum([float(record.stage != START) for record in self.records])
        return np.array([record.env_steps for record in self.records], dtype=np.float64)

    def card(self) -> dict[str, Any]:
        """Return the card of the exported policy; empty before there is one."""
        try:
            found = read_json(self.folder / POLICY / CARD)
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


@dataclass(frozen=True, slots=True)
class Training:
    """What a folder of training holds.

    Attributes:
        folder: the folder.
        kind: a single run, runs that differ in their seed alone, or trials of a sweep.
        runs: the runs.
    """

    folder: Path
    kind: Kind
    runs: Sequence[TrainedRun]

    @property
    def config(self) -> Mapping[str, Any]:
        """The configuration, that of the first run where each has its own."""
        return self.runs[0].config

    @property
    def axes(self) -> tuple[Axis, Axis]:
        """The two axes of learning curves; a run of imitation alone takes no environment steps."""
        stepped = any(record.env_steps for run in self.runs for record in run.records)
        return ("steps" if stepped else "passes"), "seconds"


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a run has come.

    Attributes:
        run: the run.
        value: its best validation score; None before the first.
        where: pass or iteration of it, e.g. "ppo iteration 12".
        place: index of it in the run's history.
    """

    run: TrainedRun
    value: float | None
    where: str = ""
    place: int = 0


@dataclass(frozen=True, slots=True)
class Curve:
    """A figure along an axis.

    Attributes:
        label: name in the legend.
        x: float64 [points].
        y: the figure, the mean over runs where there are several, float64 [points].
        low, high: least and greatest of the runs, float64 [points]; both are `y` for one run.
    """

    label: str
    x: np.ndarray
    y: np.ndarray
    low: np.ndarray
    high: np.ndarray


def is_training(folder: Path) -> bool:
    """Whether a folder holds a run, runs of several seeds or a sweep, and no comparison."""
    return bool(_run_folders(folder)[1])


def read_training(folder: Path) -> Training:
    """Read a run's folder, a folder of seeds or a sweep's folder, recognized by what it holds.

    Raises:
        OutputError: it holds no run, or none that has got anywhere.
        CheckpointError: a history is damaged.
    """
    kind, folders = _run_folders(folder)
    runs = [
        TrainedRun(path.resolve().name, path, _config(path / CONFIG), history.load(path))
        for path in folders
    ]
    begun = [run for run in runs if run.records]
    if not begun:
        raise OutputError(
            f"{folder}: holds no {HISTORY} of a training run yet; `sysopt-gym train` "
            "writes one line per pass or iteration"
        )
    return Training(folder, kind, begun)


def _run_folders(folder: Path) -> tuple[Kind, list[Path]]:
    """Return what kind of training a folder holds, and the folders of its runs."""
    if kind_of(folder) != "folder":
        return "run", []
    trials = sorted(path.parent for path in (folder / TRIALS).glob(f"*/{CONFIG}"))
    if trials:
        return "sweep", trials
    seeds = [path.parent for path in folder.glob(f"{SEED}*/{CONFIG}")]
    if seeds:
        return "seeds", sorted(seeds, key=lambda path: (len(path.name), path.name))
    return "run", [folder] if (folder / CONFIG).exists() else []


def _config(path: Path) -> dict[str, Any]:
    try:
        found = read_yaml(path)
    except InstanceError as error:
        raise OutputError(str(error)) from error
    return found if isinstance(found, dict) else {}


def curves(
    runs: Sequence[TrainedRun], label: str, pick: Callable[[Record], float | None], axis: Axis
) -> list[Curve]:
    """Return the curve of a figure over runs that differ in their seed alone.

    Several runs give the mean with the band from the least to the greatest, on the part of the axis
    that all of them have reached; between two of its points a run is read off the straight line.

    Args:
        runs: at least one.
        label: the curve's label.
        pick: record -> the figure, None where the record has none.
        axis: along what.

    Returns:
        One curve; none if a run lacks the figure.
    """
    found = [_points(run, pick, axis) for run in runs]
    if not all(len(x) for x, _ in found):
        return []
    if len(found) == 1:
        x, y = found[0]
        return [Curve(label, x, y, y, y)]
    first, last = max(x[0] for x, _ in found), min(x[-1] for x, _ in found)
    grid = np.unique(np.concatenate([x for x, _ in found]))
    grid = grid[(grid >= first) & (grid <= last)]
    if not len(grid):
        return []
    values = np.array([np.interp(grid, x, y) for x, y in found])
    return [Curve(label, grid, values.mean(0), values.min(0), values.max(0))]


def _points(
    run: TrainedRun, pick: Callable[[Record], float | None], axis: Axis
) -> tuple[np.ndarray, np.ndarray]:
    """Return positions and values of a figure in a run; of records at one position the last."""
    held: dict[float, float] = {}
    for x, record in zip(run.positions(axis), run.records, strict=True):
        value = pick(record)
        if value is not None and math.isfinite(value):
            held[float(x)] = value
    return np.array(list(held)), np.array(list(held.values()))


def validation_figures(runs: Iterable[TrainedRun]) -> dict[str, list[str]]:
    """Return the figures of validation, by instance set, in the order in which they came."""
    found: dict[str, list[str]] = {}
    for record in (record for run in runs for record in run.records):
        for name, figures in record.validation.items():
            known = found.setdefault(name, [])
            known += [figure for figure in figures if figure not in known]
    return found


def best(run: TrainedRun, instances: str, figure: str) -> tuple[int, float] | None:
    """Return the place of the best validation in a run's history, and its value.

    Args:
        run: the run.
        instances: instance set that networks are chosen on.
        figure: figure that they are chosen by; lower is better.

    Returns:
        None before the first validation. Of equal ones the first, as training exports it.
    """
    scored = [
        (record.validation[instances][figure], place)
        for place, record in enumerate(run.records)
        if figure in record.validation.get(instances, {})
    ]
    if not scored:
        return None
    value, place = min(scored)
    return place, value


def standing(run: TrainedRun, instances: str, figure: str) -> Standing:
    """Return how far a run has come; see `best`."""
    found = best(run, instances, figure)
    if found is None:
        return Standing(run, None)
    place, value = found
    return Standing(run, value, where(run.records[place]), place)


def where(record: Record) -> str:
    """Return where in training a record is, e.g. "ppo iteration 12"."""
    if record.stage == START:
        return "the start"
    return f"{record.stage} {'pass' if record.stage == 'imitation' else 'iteration'} {record.done}"


def where_time_went(run: TrainedRun) -> dict[str, dict[str, float]]:
    """Return the seconds of each part of the training, stage by stage.

    Sampling is divided into the environment's and the network's (MuZero: the search's) share, in
    the proportion of the seconds that the runners spent in them. What no timer covers is "rest".

    Args:
        run: the run.

    Returns:
        Stage -> part -> wall seconds.
    """
    stages: dict[str, dict[str, float]] = {}
    for record in run.records:
        parts = stages.setdefault(record.stage, {})
        timers = dict(record.timers)
        world = timers.pop("runners: environment", 0.0)
        network = timers.pop("runners: network", 0.0)
        if (sampling := timers.get("sampling")) and world + network > 0:
            inside = min(1.0, (world + network) / sampling)
            searches = record.stage in ("muzero", "alphazero")
            named = "sampling: search" if searches else "sampling: network"
            share = sampling * inside * network / (world + network)
            timers |= {
                "sampling: environment": sampling * inside - share,
                named: share,
                "sampling": sampling * (1 - inside),
            }
        timers["rest"] = max(0.0, record.seconds - sum(timers.values()))
        for part, seconds in timers.items():
            parts[part] = parts.get(part, 0.0) + seconds
    return stages


@dataclass(frozen=True, slots=True)
class Spread:
    """A validation score over seeds.

    Attributes:
        count: number of seeds.
        mean, low, high: mean, least and greatest of the scores.
        interval: 95 % interval of the mean by Student's t; None for one seed.
    """

    count: int
    mean: float
    low: float
    high: float
    interval: tuple[float, float] | None


def spread(scores: Iterable[float | None]) -> Spread | None:
    """Return the spread of validation scores; runs without one are left out.

    Returns:
        None if no run has a score.
    """
    from scipy.stats import t

    found = np.array([score for score in scores if score is not None])
    if not len(found):
        return None
    interval = None
    if len(found) > 1:
        half = float(t.ppf(0.975, len(found) - 1) * found.std(ddof=1) / math.sqrt(len(found)))
        interval = (float(found.mean()) - half, float(found.mean()) + half)
    return Spread(len(found), float(found.mean()), float(found.min()), float(found.max()), interval)
