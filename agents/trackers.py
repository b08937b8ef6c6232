"""Tell MLflow and Weights & Biases of a run, by ray's own set-ups of both.

TensorBoard's events are in a run's folder in any case.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import MissingDependencyError
from ..core.lookup import check_name
from . import history
from .history import Record

if TYPE_CHECKING:
    from .configuration import TrainingConfig

PROJECT = "sysopt-gym"
Observer = Callable[[Record], None]


@contextmanager
def tracked(config: TrainingConfig) -> Iterator[Observer]:
    """Open the trackers of a run.

    Yields:
        A function that tells all of them of a record.

    Raises:
        UnknownNameError: there is no such tracker.
        MissingDependencyError: its package is not installed.
    """
    for name in config.trackers:
        check_name(name, TRACKERS, "tracker")
        if importlib.util.find_spec(name) is None:
            raise MissingDependencyError(
                f"trackers: {name} is not installed; install it with "
                f"pip install 'sysopt-gym[trackers]' or pip install {name}"
            )
    with ExitStack() as stack:
        loggers = [stack.enter_context(TRACKERS[name](config)) for name in config.trackers]

        def tell(record: Record) -> None:
            figures = figures_of(record)
            for log in loggers:
                log(figures)

        yield tell


def figures_of(record: Record) -> dict[str, float]:
    """Return what trackers are told of a record: name of each figure -> its value."""
    stage = record.stage
    figures = {f"{stage}/{key}": value for key, value in record.losses.items()}
    figures |= {f"seconds/{part}": value for part, value in record.timers.items()}
    figures |= {f"objective/{name}": value for name, value in record.objective.items()}
    for name, scores in record.validation.items():
        figures |= {f"validation/{name}/{key}": value for key, value in scores.items()}
    if record.return_mean is not None:
        figures[f"{stage}/episode_return_mean"] = record.return_mean
    return figures | {f"{stage}/done": record.done, "env_steps": record.env_steps}


@contextmanager
def _mlflow(config: TrainingConfig) -> Iterator[Callable[[Mapping[str, float]], None]]:
    """Log to the server of MLFLOW_TRACKING_URI, or to mlruns/ in the run's folder."""
    from ray.air.integrations.mlflow import setup_mlflow

    out = Path(config.out).absolute()
    mlflow = setup_mlflow(
        {"family": config.family, "seed": config.seed, "width": config.width},
        tracking_uri=os.environ.get("MLFLOW_TRACKING_URI") or (out / "mlruns").as_uri(),
        experiment_name=PROJECT,
        run_name=out.name,
        create_experiment_if_not_exists=True,
    )
    step = len(history.load(out)) - 1  # the start is step 0; a resumed run goes on counting

    def log(figures: Mapping[str, float]) -> None:
        nonlocal step
        step += 1
        # MLflow's names have no colon, which names of instance sets have.
        mlflow.log_metrics({k.replace(":", "."): v for k, v in figures.items()}, step=step)

    try:
        yield log
    finally:
        mlflow.end_run()


@contextmanager
def _wandb(config: TrainingConfig) -> Iterator[Callable[[Mapping[str, float]], None]]:
    """Log to Weights & Biases, with the key of WANDB_API_KEY or of `wandb login`."""
    from ray.air.integrations.wandb import setup_wandb

    out = Path(config.out).absolute()
    run = setup_wandb(config.document(), project=PROJECT, name=out.name, dir=str(out))
    try:
        yield run.log
    finally:
        run.finish()


TRACKERS: dict[str, Callable[[Any], Any]] = {"mlflow": _mlflow, "wandb": _wandb}
