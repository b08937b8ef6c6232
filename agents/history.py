"""The history of a training run: one record of its start, then one per pass of imitation or
iteration of RLlib.

It is history.jsonl in the run's folder: what the report of the run draws, whether the run has
ended, goes on or was killed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from numbers import Real
from pathlib import Path
from typing import Any

from ..core.errors import CheckpointError, OutputError
from ..core.files import unwritable
from .objective_metric import results_of_play
from .run_folder import ELSEWHERE, GO_ON, HISTORY

ALL = "all"  # key of the mean over all instance sets
START = "start"  # stage of the record of the network before its first pass or iteration
# Part of an iteration -> RLlib's timers of it; one algorithm has one of them.
TIMERS = {
    "sampling": ("env_runner_sampling_timer", "sample", "offline_sampling_timer"),
    "learning": ("learner_update_timer",),
    "reanalysis": ("reanalyze",),
    "replay buffer": (
        "replay_buffer_add_data_timer",
        "replay_buffer_sampling_timer",
        "replay_buffer_update_prios_timer",
    ),
    "weights": ("synch_weights",),
}
# What the runners do while the algorithm samples -> their timers; seconds of all runners together.
RUNNERS = {
    "runners: environment": ("env_step_timer", "env_reset_timer"),
    "runners: network": ("rlmodule_inference_timer",),
}
# Figures of RLlib's learners that say nothing about the loss.
COUNTERS = ("num_", "diff_num_", "weights_seq_no", "module_train_batch_size")


@dataclass(frozen=True, slots=True)
class Record:
    """One pass or iteration of a run, or its start; one line of history.jsonl.

    Attributes:
        stage: the stage of training, e.g. "ppo"; START for the network that training begins with.
        done: passes or iterations of the stage that were done after it; 0 of the start.
        env_steps: environment steps of the run until its end, all stages together.
        seconds: wall seconds that it took, with validation and checkpoint.
        return_mean: mean return of the episodes that RLlib saw end; None if none did.
        objective: instance set -> mean of `info["objective"]` at the end of these episodes; ALL for
            all sets together.
        losses: figure of the learner -> its value, e.g. "policy_loss".
        timers: part of the iteration -> its wall seconds; parts named "runners: ..." are seconds of
            all runners together, within "sampling".
        validation: instance set -> figure of the recipe's score -> its value; empty if the pass
            ended without validation.
    """

    stage: str
    done: int
    env_steps: int
    seconds: float
    return_mean: float | None = None
    objective: Mapping[str, float] = field(default_factory=dict)
    losses: Mapping[str, float] = field(default_factory=dict)
    timers: Mapping[str, float] = field(default_factory=dict)
    validation: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


def load(folder: Path) -> list[Record]:
    """Read the history of a run; a last line that was cut off is left out.

    Args:
        folder: the run's folder; the history is empty if it has none.

    Raises:
        CheckpointError: a line is damaged, or the file cannot be read.
    """
    path = folder / HISTORY
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    *lines, _ = text.split(b"\n")
    records = []
    for number, line in enumerate(lines, 1):
        try:
            document = json.loads(line)
            document["return_mean"] = document.pop("return")
            records.append(Record(**document))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise CheckpointError(
                f"{path}, line {number}: damaged ({error}); remove the line to do without it"
            ) from error
    return records


def append(folder: Path, record: Record) -> None:
    """Append a record to the history of a run.

    Args:
        folder: the run's folder.
        record: the pass or iteration that has ended.

    Raises:
        OutputError: the file cannot be written.
    """
    path = folder / HISTORY
    try:
        with path.open("ab") as file:
            file.write(_line(record))
    except OSError as error:
        raise OutputError(f"{path}: {unwritable(error, GO_ON, ELSEWHERE)}") from error


def of_iteration(
    stage: str,
    done: int,
    result: Mapping[str, Any],
    before: Sequence[Record],
    seconds: float,
    validation: Mapping[str, Mapping[str, float]] | None = None,
    validation_s: float = 0.0,
) -> Record:
    """Make the record of an iteration from RLlib's result of it.

    Args:
        stage: the stage.
        done: iterations of the stage that are done, this one included.
        result: what RLlib's `train` returned.
        before: the history so far; environment steps count on from its other stages.
        seconds: wall seconds of the iteration, validation and checkpoint included.
        validation: instance set -> figures, if the iteration ended with validation.
        validation_s: wall seconds of that validation.
    """
    runners, played = result.get("env_runners", {}), results_of_play(result)
    earlier = max((record.env_steps for record in before if record.stage != stage), default=0)
    lifetime = _number(runners.get("num_env_steps_sampled_lifetime")) or 0.0
    objective = _numbers(played.get("objective_by_set", {}))
    if (overall := _number(played.get("objective"))) is not None:
        objective[ALL] = overall
    figures = _numbers(result.get("learners", {}).get("default_policy", {}))
    timers = _seconds(TIMERS, result.get("timers", {})) | _seconds(RUNNERS, runners)
    if validation_s:
        timers["validation"] = validation_s
    return Record(
        stage=stage,
        done=done,
        env_steps=earlier + int(lifetime),
        seconds=seconds,
        return_mean=_number(played.get("episode_return_mean")),
        objective=objective,
        losses={key: value for key, value in figures.items() if not key.startswith(COUNTERS)},
        timers=timers,
        validation=validation or {},
    )


def time_exactly(algorithm: Any) -> None:
    """Have RLlib report the seconds of each iteration, where it would report running means.

    RLlib's timers are exponential means with a coefficient of 0.01, in which the first iteration,
    which compiles, outweighs the next hundred. A metric keeps the way in which it was first logged.

    Args:
        algorithm: an algorithm of RLlib that has not trained yet.
    """
    for name in (name for names in TIMERS.values() for name in names):
        algorithm.metrics.log_value(("timers", name), 0.0, reduce="sum")
    group = algorithm.env_runner_group
    if group is not None:
        group.foreach_env_runner(time_runner_exactly)


def time_runner_exactly(runner: Any) -> None:
    """Do the same for one runner, which cannot be aggregated with others that do otherwise.

    Args:
        runner: one of RLlib's that has not played yet.
    """
    for name in (name for names in RUNNERS.values() for name in names):
        runner.metrics.log_value(name, 0.0, reduce="sum")


def _seconds(parts: Mapping[str, Sequence[str]], found: Mapping[str, Any]) -> dict[str, float]:
    """Return the seconds of each part that has any."""
    times = _numbers(found)
    sums = {part: sum(times.get(name, 0.0) for name in names) for part, names in parts.items()}
    return {part: value for part, value in sums.items() if value > 0}


def _number(value: Any) -> float | None:
    """Return a finite number as a float, and anything else as None."""
    if not isinstance(value, Real) or not math.isfinite(value):
        return None
    return float(value)


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Return the entries that are finite numbers."""
    found = {key: _number(value) for key, value in values.items()}
    return {key: value for key, value in found.items() if value is not None}


def _line(record: Record) -> bytes:
    document = {part.name: getattr(record, part.name) for part in fields(record)}
    document["return"] = document.pop("return_mean")
    return (json.dumps(document) + "\n").encode()
