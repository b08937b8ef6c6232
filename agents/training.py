"""Train a family's policy: imitation, then RLlib's algorithms, as one YAML file says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rich.progress import Progress

from ..core import play
from ..core.budget import Budget
from ..core.contracts import Solver
from ..core.errors import SettingError
from ..core.problem import Problem
from ..core.registry import load_contender
from .algorithms import build_algorithm, trained_policy
from .configuration import IMITATION, load_config
from .recipe import ImitationPass
from .runs import KeptPlans, Run

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

LAST_RATE = 0.05  # share of imitation's learning rate that it falls towards


def train(config: str | Path, overrides: Mapping[str, str], resume: bool) -> Path:
    """Train by a configuration and return the folder of the exported policy.

    Args:
        config: a YAML file, or the name of one in configs/.
        overrides: dotted key -> value as YAML text, e.g. {"ppo.iterations": "5"}.
        resume: whether to resume the run in the configuration's folder, optimizers included.

    Raises:
        SettingError: the configuration cannot be read.
        UnknownNameError: a key, family, contender or instance set that does not exist.
        OutputError: the folder holds another run, or cannot be written.
        CheckpointError: there is no run to resume.
    """
    torch.set_num_threads(1)
    run = Run.open(load_config(config, overrides), resume)
    stages = run.config.stages
    names = list(stages)
    for stage in names[names.index(run.state.stage) :]:
        if stages[stage] > 0:
            run.enter(stage)
            if run.state.done < stages[stage]:
                _imitate(run) if stage == IMITATION else _reinforce(run)
    return run.out / "policy"


@contextmanager
def _watched(run: Run, total: int) -> Iterator[tuple[SummaryWriter, Callable[[str], None]]]:
    """Open a TensorBoard writer and a progress bar of `total` steps.

    Yields:
        The writer, and a function that advances the bar by one step and shows a text.
    """
    from torch.utils.tensorboard import SummaryWriter

    stage = run.state.stage
    writer = SummaryWriter(str(run.out))
    with Progress() as progress:
        task = progress.add_task(stage, total=total, completed=run.state.done)

        def show(text: str) -> None:
            progress.update(task, advance=1, description=f"{stage}: {text}")

        try:
            yield writer, show
        finally:
            writer.close()


def _as_solver(problem: Problem[Any], name: str) -> Solver:
    """Make a solver of a contender; its seed is also the world's."""
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
    solver, budget = _as_solver(run.problem, section.contender), Budget(section.budget_s)
    solver(run.problem.warm_up_instance(), budget, 0)
    return KeptPlans(run.out, section.contender, solver, budget, instances).plan


def _imitate(run: Run) -> None:
    """Run the passes of imitation that are left."""
    section, state = run.config.imitation, run.state
    instances = run.imitated()
    plan = _planner(run, instances)
    with _watched(run, section.epochs) as (writer, show):
        while state.done < section.epochs:
            number = state.done
            rng = np.random.default_rng([run.config.seed, number])
            for group in run.optimizer.param_groups:
                fall = (1 - LAST_RATE) * number / section.epochs
                group["lr"] = section.learning_rate * (1 - fall)
            samples = run.recipe.lessons(
                ImitationPass(number, run.network, instances, plan, rng, section.options)
            )
            loss = run.recipe.imitate(run.network, samples, run.optimizer, section.batch_size, rng)
            state.done += 1
            score = run.validate(f"imitation pass {number + 1}", writer, number + 1)
            writer.add_scalar("imitation/loss", loss, number + 1)
            run.checkpoint()
            show(f"loss {loss:.3f}, validation {score:.4f}, best {state.best:.4f}")


def _reinforce(run: Run) -> None:
    """Run the iterations of the present stage that are left."""
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
    environment = {"instances": run.played(stage)} | section.environment
    algorithm = build_algorithm(
        stage, run.problem, environment, network, run.config.seed, section.algorithm
    )
    saved = str((run.out / "algorithm").resolve())
    if state.done:
        algorithm.restore_from_path(saved)
    try:
        with _watched(run, section.iterations) as (writer, show):
            while state.done < section.iterations:
                result = algorithm.train()
                done = state.done = state.done + 1
                mean = result["env_runners"].get("episode_return_mean", float("nan"))
                writer.add_scalar(f"{stage}/episode_return_mean", mean, done)
                for key, value in result.get("learners", {}).get("default_policy", {}).items():
                    if np.isscalar(value):
                        writer.add_scalar(f"{stage}/{key}", value, done)
                text = f"return {mean:.4f}"
                if done % section.checkpoint_every == 0 or done == section.iterations:
                    run.network.load_state_dict(trained_policy(stage, algorithm).state_dict())
                    score = run.validate(f"{stage} iteration {done}", writer, done)
                    text += f", validation {score:.4f}, best {state.best:.4f}"
                    algorithm.save_to_path(saved)
                    run.checkpoint()
                show(text)
    finally:
        algorithm.stop()
