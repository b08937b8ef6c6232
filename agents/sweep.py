"""Train several runs: of some seeds, or a sweep over any keys by ray.tune.

Each of them is a run of its own in a folder of its own, and the policy that validates best is the
folder's.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ..core.errors import CheckpointError, OutputError, SettingError
from ..core.files import unwritable, write_bytes
from ..core.folder_lock import sole_writer
from ..core.lookup import check_name
from ..core.notes import note
from .algorithms import quiet_ray
from .checkpoints import copy_policy, read_card
from .configuration import IMITATION, SweepConfig, TrainingConfig, overridden, typed
from .history import START, Record
from .run_folder import CONFIG, ELSEWHERE, GO_ON, POLICY, SEED, TRIALS
from .training import train_run

TUNE = "tune"  # folder of Tune's own state, in the sweep's
SCORE = "score"  # the metric, as Tune sees it
PATIENCE_S = 30.0  # how long a trial waits for one before it that is being ended
SCHEDULERS = "none", "asha", "pbt"
# Name of a kind of space -> how many bounds it has; None for a list of values.
SPACES = {
    "choice": None, "grid_search": None, "uniform": 2, "loguniform": 2, "randint": 2,
    "quniform": 3, "qloguniform": 3,
}  # fmt: skip


def train_seeds(config: TrainingConfig, resume: bool) -> Path:
    """Train one run per seed, and export the policy that validates best.

    Args:
        config: settings of all; `seeds` runs are trained, with seeds from `seed` on.
        resume: whether to go on with those in the folder, and to start those that are not there.

    Returns:
        Folder of the best policy.
    """
    out = Path(config.out)
    _begin(config, resume)
    folders = []
    for seed in range(config.seed, config.seed + config.seeds):
        folder = out / f"{SEED}{seed}"
        own = replace(config, seed=seed, seeds=1, out=str(folder))
        train_run(own, resume and (folder / CONFIG).exists())
        folders.append(folder)
    return _export(out, folders, *_chosen(config))


def run_sweep(config: TrainingConfig, resume: bool) -> Path:
    """Try values of the sweep's keys by ray.tune, and export the policy that validates best.

    A trial reports every validation, which is one "training iteration" of Tune's schedulers: ASHA
    stops the worse trials after some of them, PBT has them go on from copies of better ones.

    Args:
        config: settings of all trials, with the sweep.
        resume: whether to go on with the sweep in the folder.

    Returns:
        Folder of the best policy.

    Raises:
        SettingError: a key, a value or the scheduler of the sweep cannot be used.
        OutputError: no trial got as far as a validation.
        CheckpointError: there is no sweep to resume.
    """
    space = check_sweep(config)
    instances, figure = _chosen(config)
    _begin(config, resume)
    out = Path(config.out).resolve()
    quiet_ray()
    from ray import tune

    base = replace(config, sweep=SweepConfig(), seeds=1).document()
    trainable = tune.with_resources(
        tune.with_parameters(_trial, base=base, out=str(out), instances=instances, figure=figure),
        tune.PlacementGroupFactory([{"CPU": 1}] * (1 + _remote_runners(config))),
    )
    if resume and tune.Tuner.can_restore(str(out / TUNE)):
        tuner = tune.Tuner.restore(
            str(out / TUNE), trainable, param_space=space, restart_errored=True
        )
    else:
        tuner = tune.Tuner(
            trainable,
            param_space=space,
            tune_config=tune.TuneConfig(
                metric=SCORE,
                mode="min",
                num_samples=config.sweep.samples,
                max_concurrent_trials=config.sweep.concurrent,
                scheduler=_scheduler(config, space),
                trial_name_creator=_trial_name,
                trial_dirname_creator=_trial_name,
            ),
            run_config=tune.RunConfig(name=TUNE, storage_path=str(out), verbose=1),
        )
    results = tuner.fit()
    for error in results.errors:
        note(f"{out}: a trial failed: {str(error).strip().splitlines()[-1]}")
    return _export(out, sorted((out / TRIALS).glob("*")), instances, figure)


def check_sweep(config: TrainingConfig) -> dict[str, Any]:
    """Return the sweep's space as ray.tune takes it, after checking it against the configuration.

    Raises:
        UnknownNameError: a key, kind of space or scheduler that does not exist.
        SettingError: a value that its key cannot have, or that PBT cannot change; the message names
            the key.
    """
    from ray import tune

    sweep = config.sweep
    check_name(sweep.scheduler, SCHEDULERS, "sweep.scheduler")
    for name in ("samples", "concurrent"):
        if getattr(sweep, name) < 1:
            raise SettingError(f"sweep.{name}: {getattr(sweep, name)}; give at least 1")
    space = {}
    for key, spec in sweep.space.items():
        place = f"sweep.space.{key}"
        if not isinstance(spec, Mapping) or len(spec) != 1:
            raise SettingError(f"{place}: give one of {', '.join(SPACES)} with its values")
        ((kind, values),) = spec.items()
        check_name(kind, SPACES, f"kind of {place}")
        values = _values(place, kind, values)
        if sweep.scheduler == "pbt" and (
            ".algorithm.training." not in key or kind == "grid_search"
        ):
            raise SettingError(
                f"{place}: pbt changes settings in the middle of a run, which only those of "
                "STAGE.algorithm.training can, and not by grid_search; use asha or none"
            )
        made = getattr(tune, kind)
        space[key] = made(values) if SPACES[kind] is None else made(*values)
        tried = values if SPACES[kind] is None else [space[key].sample()]
        for value in tried:
            with _named(place):
                typed(overridden(config.document(), {key: _text(value)}))
    return space


@contextlib.contextmanager
def _named(place: str) -> Iterator[None]:
    """Put the sweep's key before the message of a value that its own key refuses."""
    try:
        yield
    except SettingError as error:
        raise SettingError(f"{place}: {error}") from error


def _values(place: str, kind: str, values: Any) -> list[Any]:
    """Return the values or bounds of a space; bounds as numbers, also where YAML 1.1 has text."""
    count = SPACES[kind]
    if not isinstance(values, list) or not values or count not in (None, len(values)):
        wanted = "a list of values" if count is None else f"a list of {count} numbers"
        raise SettingError(f"{place}.{kind}: {values!r} is not {wanted}")
    if count is None:
        return values
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError) as error:
        raise SettingError(f"{place}.{kind}: {values!r} are not numbers") from error
    if numbers[0] >= numbers[1] or ("log" in kind and numbers[0] <= 0):
        above = " above 0" if "log" in kind else ""
        raise SettingError(f"{place}.{kind}: {values!r}; give a lower and a higher bound{above}")
    return [int(number) for number in numbers] if kind == "randint" else numbers


def _chosen(config: TrainingConfig) -> tuple[str, str]:
    """Return instance set and figure that the runs are compared by."""
    name, _, figure = config.sweep.metric.rpartition("/")
    found = (name or config.validation[0], figure or config.load_recipe().chosen_by)
    if found[0] not in config.validation:
        raise SettingError(
            f"sweep.metric: {config.sweep.metric!r} is of no set in validation: "
            f"{', '.join(config.validation)}"
        )
    return found


def _begin(config: TrainingConfig, resume: bool) -> None:
    """Write the configuration of all runs, unless another training has the folder."""
    out = Path(config.out)
    begun = (out / CONFIG).exists()
    if begun and not resume:
        raise OutputError(
            f"{out}: holds training already; go on with --resume, or set another out=FOLDER"
        )
    if resume and not begun:
        raise CheckpointError(f"{out}: no run to resume; start one without --resume")
    write_bytes(out / CONFIG, yaml.safe_dump(config.document(), sort_keys=False).encode(), GO_ON)


def _export(out: Path, folders: Iterable[Path], instances: str, figure: str) -> Path:
    """Copy the policy with the lowest figure to the folder of all; return where it is."""
    scores = {}
    for folder in folders:
        with contextlib.suppress(CheckpointError):  # a trial that was stopped early has none
            scores[folder] = read_card(folder / POLICY).expected[instances][figure]
    if not scores:
        raise OutputError(f"{out}: no run got as far as a validation; see the notes above")
    best, partial = min(scores, key=lambda folder: scores[folder]), out / f"{POLICY}.partial"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        copy_policy(best / POLICY, partial)
        shutil.rmtree(out / POLICY, ignore_errors=True)
        partial.replace(out / POLICY)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise OutputError(f"{out / POLICY}: {unwritable(error, GO_ON, ELSEWHERE)}") from error
    note(f"{out / POLICY}: from {best.name}, {figure} {scores[best]:.4g} on {instances}")
    return out / POLICY


def _remote_runners(config: TrainingConfig) -> int:
    """Return the most remote runners that a stage has, which need processors of their own."""
    parts = [stage.algorithm.get("env_runners", {}) for stage in config.reinforcement.values()]
    return max((int(part.get("num_env_runners") or 0) for part in parts), default=0)


def _validations(config: TrainingConfig) -> int:
    """Return how often a run validates."""
    lengths = dict(config.stages)
    count = lengths.pop(IMITATION)
    for stage, length in lengths.items():
        count += -(-length // config.reinforcement[stage].checkpoint_every)
    return max(1, count)


def _scheduler(config: TrainingConfig, space: Mapping[str, Any]) -> Any:
    """Return Tune's scheduler; both count validations."""
    from ray.tune import schedulers

    if config.sweep.scheduler == "asha":
        most = _validations(config)
        return schedulers.ASHAScheduler(max_t=most, grace_period=1, reduction_factor=2)
    if config.sweep.scheduler == "pbt":
        return schedulers.PopulationBasedTraining(
            time_attr="training_iteration",
            perturbation_interval=1,
            hyperparam_mutations=dict(space),
        )
    return None


def _text(value: Any) -> str:
    """Return a value as YAML text; Tune draws numbers of NumPy."""
    return yaml.safe_dump(value.item() if isinstance(value, np.generic) else value)


def _trial_name(trial: Any) -> str:
    return f"trial-{trial.trial_id.rpartition('_')[2]}"


def _trial(
    settings: Mapping[str, Any], base: dict[str, Any], out: str, instances: str, figure: str
) -> None:
    """Train one trial, in Tune's process of it; go on from Tune's checkpoint if there is one.

    Args:
        settings: dotted key -> value.
        base: document of the configuration without the sweep.
        out: folder of the sweep.
        instances: instance set whose figure is reported.
        figure: that figure.
    """
    from ray import tune

    folder = Path(out) / TRIALS / str(tune.get_context().get_trial_name())
    values = {key: _text(value) for key, value in settings.items()}
    config = typed(overridden(base, values) | {"out": str(folder)})
    checkpoint = tune.get_checkpoint()
    with sole_writer(folder, ELSEWHERE, PATIENCE_S):
        pass  # a trial of a sweep that was killed may still be about to end
    shutil.rmtree(folder, ignore_errors=True)
    if checkpoint is not None:
        checkpoint.to_directory(str(folder))

    def report(record: Record) -> None:
        # The start is no step of training, by which the schedulers count.
        if record.validation and record.stage != START:
            figures = {SCORE: record.validation[instances][figure], "env_steps": record.env_steps}
            tune.report(figures, checkpoint=tune.Checkpoint.from_directory(str(folder)))

    train_run(config, checkpoint is not None, report)
