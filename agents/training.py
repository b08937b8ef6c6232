"""Train a family's policy: imitation, then RLlib's algorithms, as one YAML file says."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from ..core import play
from ..core.budget import Budget
from ..core.contender_arguments import name_contender
from ..core.contracts import Solver
from ..core.errors import SettingError, TrainingError
from ..core.extras import missing
from ..core.folder_lock import sole_writer
from ..core.printable import printable
from ..core.problem import Problem
from ..core.registry import contender_entry, load_contender
from . import history
from .algorithms import build_algorithm, discount_of, quiet_ray, trained_policy
from .checkpoints import read_card
from .configuration import IMITATION, TrainingConfig, load_config, policy_folder
from .curriculum.base import TrainingSet
from .curriculum.table import make_curriculum
from .history import Record
from .objective_metric import results_of_play
from .recipe import ImitationPass
from .resuming import resumed_config
from .run_folder import ELSEWHERE, HISTORY, POLICY
from .runs import KeptPlans, Run
from .selfplay.setup import self_play_under
from .trackers import Observer, tracked

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from .curriculum.rllib import Course

LAST_RATE = 0.05  # share of imitation's learning rate that it falls towards
PATIENCE_S = 300.0  # without any environment runner, while they are started again


def train(
    config: str | Path, overrides: Mapping[str, str], resume: bool, ray: str | None = None
) -> Path:
    """Train by a configuration and return the folder of the exported policy.

    Args:
        config: a YAML file, or the name of one in configs/; to resume, also the run's folder.
        overrides: dotted key -> value as YAML text, e.g. {"ppo.iterations": "5"}.
        resume: whether to go on with the run in the configuration's folder, with the run's own
            settings; see `resumed_config`.
        ray: address of the Ray cluster to train on; see algorithms.quiet_ray.

    Raises:
        SettingError: the configuration cannot be read, or there is no such cluster.
        UnknownNameError: a key, family, contender or instance set that does not exist.
        OutputError: the folder holds another run, or cannot be written.
        CheckpointError: there is no run to resume.
        MissingDependencyError: what trains is not installed.
    """
    for package in ("ray", "tensorboard"):  # before hours of imitation
        try:
            importlib.import_module(package)
        except ModuleNotFoundError as error:
            raise missing(error, "training", room="training") from error
    wanted = resumed_config(config, overrides) if resume else load_config(config, overrides)
    if ray:
        quiet_ray(ray)
    if wanted.sweep.space or wanted.seeds > 1:
        from .sweep import run_sweep, train_seeds

        train_all = run_sweep if wanted.sweep.space else train_seeds
        with sole_writer(Path(wanted.out), ELSEWHERE):
            return train_all(wanted, resume)
    return train_run(wanted, resume)


def train_run(config: TrainingConfig, resume: bool, observe: Observer | None = None) -> Path:
    """Train one run and return the folder of the exported policy.

    Args:
        config: its settings; those on seeds and sweeps do not count.
        resume: whether to go on with the run in `config.out`.
        observe: called with the record of every pass and iteration, after its checkpoint.

    Raises:
        SysOptError: see `train`; or a tracker is not installed.
    """
    torch.set_num_threads(1)
    with sole_writer(Path(config.out), ELSEWHERE):
        return _train(Run.open(config, resume), observe)


def _train(run: Run, observe: Observer | None) -> Path:
    """Train an opened run to its end and return the folder of the exported policy."""
    stages = run.config.stages
    names = list(stages)
    with tracked(run.config) as track:

        def tell(record: Record) -> None:
            track(record)
            if observe is not None:
                observe(record)

        if run.restored is None:
            _validate_start(run, tell)
        for stage in names[names.index(run.state.stage) :]:
            if stages[stage] > 0:
                run.enter(stage)
                if run.state.done < stages[stage]:
                    _imitate(run, tell) if stage == IMITATION else _reinforce(run, tell)
    return run.out / POLICY


def _validate_start(run: Run, tell: Observer) -> None:
    """Validate the network that training begins with, as step 0, and tell of it.

    It is the run's policy until something better comes, so nothing worse is ever exported.
    """
    from torch.utils.tensorboard import SummaryWriter

    start = run.config.start
    trained_by = read_card(policy_folder(start)).algorithm if start else ""
    (run.out / HISTORY).unlink(missing_ok=True)  # of a run that was killed before its checkpoint
    begun = time.perf_counter()
    with SummaryWriter(str(run.out), purge_step=0) as writer:
        expected = run.validate(f"start: {start or 'untrained'}", trained_by, writer)
    seconds = time.perf_counter() - begun
    record = history.Record(
        history.START, 0, 0, seconds, timers={"validation": seconds}, validation=expected
    )
    history.append(run.out, record)
    run.checkpoint()
    tell(record)


@contextmanager
def _watched(run: Run, total: int) -> Iterator[tuple[SummaryWriter, Callable[[str], None]]]:
    """Open a TensorBoard writer and a progress bar of `total` steps.

    Yields:
        The writer, and a function that advances the bar by one step and shows a text.
    """
    from torch.utils.tensorboard import SummaryWriter

    stage = run.state.stage
    # What a run that was killed wrote after its checkpoint is written again.
    writer = SummaryWriter(str(run.out), purge_step=run.state.step + 1)
    columns = (
        TextColumn("{task.description}", markup=False),  # brackets in names are no markup
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as progress:
        task = progress.add_task(stage, total=total, completed=run.state.done)

        def show(text: str) -> None:
            progress.update(task, advance=1, description=printable(f"{stage}: {text}"))

        try:
            yield writer, show
        finally:
            writer.close()


def _as_solver(problem: Problem[Any], name: str) -> Solver:
    """Make a solver of a contender, by its registered name; its seed is also the world's."""
    contender = load_contender(problem.family, name)
    return lambda instance, budget, seed: play.run(
        contender, problem, play.Task(instance, budget, seed, seed)
    )


def _planner(run: Run, instances: list[Any]) -> Callable[[Any], np.ndarray]:
    """Return instance -> plan of the contender that the run imitates, which is warmed up first."""
    section = run.config.imitation
    if not section.contender:

        def refuse(instance: Any) -> np.ndarray:
            raise SettingError("imitation.contender: name the contender that is imitated")

        return refuse
    name = name_contender(run.problem.family, section.contender)
    solver, budget = _as_solver(run.problem, name), Budget(section.budget_s)
    solver(run.problem.warm_up_instance(), budget, 0)
    # Another policy or file under the same name makes plans of its own.
    kept_as = name + contender_entry(run.problem.family, name).digest
    return KeptPlans(run.out, kept_as, solver, budget, instances).plan


def _what_follows(run: Run) -> tuple[float, Mapping[str, Any]]:
    """Return the discount and the environment's arguments of the first stage after imitation; 1 and
    none if there is none.
    """
    for stage, section in run.config.reinforcement.items():
        if section.iterations > 0:
            return discount_of(stage, section.algorithm), section.environment
    return 1.0, {}


def _imitate(run: Run, tell: Observer) -> None:
    """Run the passes of imitation that are left, and tell of each."""
    section, state = run.config.imitation, run.state
    instances = run.imitated()
    plan = _planner(run, instances)
    discount, environment = _what_follows(run)
    with _watched(run, section.epochs) as (writer, show):
        while state.done < section.epochs:
            number = state.done
            rng = np.random.default_rng([run.config.seed, number])
            for group in run.optimizer.param_groups:
                fall = (1 - LAST_RATE) * number / section.epochs
                group["lr"] = section.learning_rate * (1 - fall)
            begun = time.perf_counter()
            samples = run.recipe.lessons(
                ImitationPass(
                    number, run.network, instances, plan, rng, section.options, discount,
                    environment,
                )
            )  # fmt: skip
            planned = time.perf_counter()
            losses = run.recipe.imitate(
                run.network, samples, run.optimizer, section.batch_size, rng
            )
            learned = time.perf_counter()
            state.done, state.step = number + 1, state.step + 1
            expected = run.validate(f"imitation pass {number + 1}", IMITATION, writer)
            validated = time.perf_counter()
            timers = {
                "planning": planned - begun,
                "learning": learned - planned,
                "validation": validated - learned,
            }
            for name, loss in losses.items():
                writer.add_scalar(f"{IMITATION}/{name}", loss, state.step)
            record = history.Record(
                IMITATION, state.done, state.env_steps, validated - begun,
                losses=losses, timers=timers, validation=expected,
            )  # fmt: skip
            history.append(run.out, record)
            run.checkpoint()
            tell(record)
            score = run.score_of(expected)
            said = ", ".join(f"{name} {loss:.3f}" for name, loss in losses.items())
            show(f"{said}, validation {score:.4f}, best {state.best:.4f}")


def _reinforce(run: Run, tell: Observer) -> None:
    """Run the iterations of the present stage that are left, and tell of each."""
    stage, state = run.state.stage, run.state
    section = run.config.reinforcement[stage]
    if not hasattr(run.network, "encode"):
        raise SettingError(f"{stage}.iterations: this recipe trains no policy; leave them at 0")
    network = {
        "family": run.config.family,
        "recipe": run.config.recipe,
        "width": run.config.width,
        "weights": run.network.state_dict(),
    }
    played = run.played(stage)
    instances = [instance for found in played.values() for instance in found]
    environment = {"instances": instances} | section.environment
    sets = {one.content_hash: name for name, found in played.items() for one in found}
    course = _course(run, stage, played)
    algorithm = build_algorithm(
        stage, run.problem, environment, network, run.config.seed, section.algorithm, sets,
        self_play_under(course.curriculum, stage, section.self_play), course.callbacks,
        run.config.optimizer, run.config.normalize_and_project,
    )  # fmt: skip
    course.attach(algorithm, stage)
    history.time_exactly(algorithm)
    if state.done:
        run.restore_algorithm(algorithm, course)
    before = [record for record in history.load(run.out) if record.stage != stage]
    try:
        with _watched(run, section.iterations) as (writer, show):
            begun = time.perf_counter()
            while state.done < section.iterations:
                course.hand_out(algorithm)
                result, sampled = _iteration(algorithm, state.env_steps - state.earlier)
                course.take_in(algorithm)
                state.done, state.step = state.done + 1, state.step + 1
                state.env_steps = state.earlier + sampled
                _write(writer, stage, state.step, result)
                if (in_play := course.in_play()) is not None:
                    writer.add_scalar(f"{stage}/instances_in_play", in_play, state.step)
                mean = results_of_play(result).get("episode_return_mean", float("nan"))
                text, expected, validation_s = f"return {mean:.4f}", None, 0.0
                due = state.done % section.checkpoint_every == 0
                due = due or state.done == section.iterations
                if due:
                    run.network.load_state_dict(trained_policy(stage, algorithm).state_dict())
                    trained = time.perf_counter()
                    expected = run.validate(f"{stage} iteration {state.done}", stage, writer)
                    validation_s = time.perf_counter() - trained
                    text += f", validation {run.score_of(expected):.4f}, best {state.best:.4f}"
                now = time.perf_counter()
                record = history.of_iteration(
                    stage, state.done, result, before, now - begun, expected, validation_s
                )
                begun = now
                history.append(run.out, record)
                if due:
                    run.checkpoint(algorithm, course)
                tell(record)
                show(text)
    finally:
        algorithm.stop()


def _course(run: Run, stage: str, played: Mapping[str, list[Any]]) -> Course:
    """Return the curriculum of a stage over the instances that it plays, by instance argument."""
    from .curriculum.rllib import Course

    section = run.config.reinforcement[stage]
    instances = [instance for found in played.values() for instance in found]
    sets = np.repeat(np.arange(len(played)), [len(found) for found in played.values()])
    training = TrainingSet(instances, sets, section.iterations, run.config.seed)
    signs = [run.problem.objective(instance).sign for instance in instances]
    curriculum = make_curriculum(section.curriculum, training)
    if run.recipe.memory and curriculum.shares() is not None:
        raise SettingError(
            f"{stage}.curriculum: {section.curriculum['name']} learns from single steps of a "
            "batch, a network with a memory from rows of them; choose one that learns from all"
        )
    return Course(curriculum, signs)


def _iteration(algorithm: Any, before: int) -> tuple[Mapping[str, Any], int]:
    """Run an iteration; as long as all runners are being started again, it is run once more.

    Args:
        algorithm: RLlib's algorithm.
        before: environment steps of its iterations before.

    Returns:
        Its result, and the environment steps with it.

    Raises:
        TrainingError: a learner's process was lost, or no runner comes back.
    """
    from ray.exceptions import RayError, RayTaskError

    begun = time.monotonic()
    while True:
        try:
            result = algorithm.train()
        except RayTaskError:
            raise
        except RayError as error:
            raise TrainingError(
                f"a process of training was lost ({error}); go on with --resume, on the machines "
                "that are left"
            ) from error
        runners = result.get("env_runners", {})  # none where it learns from records
        sampled = int(np.nan_to_num(runners.get("num_env_steps_sampled_lifetime", 0)))
        if sampled > before or not algorithm.config.num_env_runners:
            return result, sampled
        if time.monotonic() - begun > PATIENCE_S:
            raise TrainingError(
                f"no environment runner has answered for {PATIENCE_S:.0f} s: their machines are "
                "gone, or have no free cores; go on with --resume, with fewer num_env_runners or "
                "on other machines"
            )


def _write(writer: SummaryWriter, stage: str, step: int, result: Mapping[str, Any]) -> None:
    """Write the figures of an iteration for TensorBoard; steps count over the whole run."""
    played = results_of_play(result)
    for key in ("episode_return_mean", "objective"):
        if key in played:
            writer.add_scalar(f"{stage}/{key}", played[key], step)
    for key, value in result.get("learners", {}).get("default_policy", {}).items():
        if np.isscalar(value):
            writer.add_scalar(f"{stage}/{key}", value, step)
