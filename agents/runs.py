"""Keep the folder of a training run: the network, how far it has come, the best policy so far."""

from __future__ import annotations

import io
import json
import shlex
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
import torch
import yaml
from torch import nn

from ..core.budget import Budget
from ..core.contracts import Solver
from ..core.errors import CheckpointError, OutputError
from ..core.files import write_bytes
from ..core.problem import Problem
from ..core.registry import load_problem
from .checkpoints import SHIPPED, Card, load_network, save_policy
from .configuration import IMITATION, TrainingConfig
from .recipe import Recipe

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


@dataclass(slots=True)
class RunState:
    """How far a run has come; the content of state.json.

    Attributes:
        stage: the stage it is in.
        done: passes or iterations of the stage that are done.
        best: score of the exported policy; None before the first validation.
    """

    stage: str = IMITATION
    done: int = 0
    best: float | None = None


@dataclass(slots=True)
class Run:
    """A training run.

    Attributes:
        out: its folder, with state.json, config.yaml, network.pt, plans/ (of the imitated
            contender), algorithm/ (RLlib's checkpoint), policy/ (the best so far) and TensorBoard's
            events.
        config: its settings.
        problem: the family.
        recipe: the family's part of the training.
        network: the network that is trained.
        optimizer: optimizer of imitation.
        state: how far the run has come.
        validation: instance set -> its instances.
    """

    out: Path
    config: TrainingConfig
    problem: Problem[Any]
    recipe: Recipe[Any, Any, Any]
    network: nn.Module
    optimizer: torch.optim.Optimizer
    state: RunState
    validation: dict[str, list[Any]]

    @classmethod
    def open(cls, config: TrainingConfig, resume: bool) -> Run:
        """Start a run in an empty folder, or resume the one in it.

        Args:
            config: settings of the run.
            resume: whether the folder `config.out` holds the run already.

        Raises:
            CheckpointError: there is no run to resume, or it is damaged.
            OutputError: the folder holds a run already, or cannot be written.
        """
        problem, recipe = load_problem(config.family), config.load_recipe()
        torch.manual_seed(config.seed)
        network = recipe.network(config.width)
        if config.start:
            start = load_network(_policy_folder(config.start), problem, recipe.network)
            network.load_state_dict(start.state_dict())
        run = cls(
            Path(config.out),
            config,
            problem,
            recipe,
            network,
            torch.optim.Adam(network.parameters(), lr=config.imitation.learning_rate),
            RunState(),
            {name: list(problem.sets.load(name)) for name in config.validation},
        )
        started = (run.out / "state.json").exists()
        if resume and not started:
            raise CheckpointError(f"{run.out}: no run to resume; start one without --resume")
        if started and not resume:
            raise OutputError(
                f"{run.out}: holds a run already; go on with --resume, or set another out=FOLDER"
            )
        if resume:
            run._restore()
        else:
            try:
                run.out.mkdir(parents=True, exist_ok=True)
                text = yaml.safe_dump(config.document(), sort_keys=False)
                (run.out / "config.yaml").write_text(text)
            except OSError as error:
                raise OutputError(
                    f"{run.out}: cannot be written ({error.strerror}); set another out=FOLDER"
                ) from error
            run.checkpoint()
        return run

    def _restore(self) -> None:
        """Load what `checkpoint` saved."""
        try:
            self.state = RunState(**json.loads((self.out / "state.json").read_text()))
            saved = torch.load(self.out / "network.pt", weights_only=True)
            self.network.load_state_dict(saved["network"])
            self.optimizer.load_state_dict(saved["optimizer"])
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, EOFError) as error:
            raise CheckpointError(
                f"{self.out}: the run cannot be resumed ({error}); start another with out=FOLDER"
            ) from error

    def checkpoint(self) -> None:
        """Save network, optimizer and state; a run killed later resumes from here."""
        saved = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        partial = self.out / "network.pt.partial"
        torch.save(saved, partial)
        partial.replace(self.out / "network.pt")
        (self.out / "state.json").write_text(json.dumps(asdict(self.state)) + "\n")

    def enter(self, stage: str) -> None:
        """Begin a stage, unless the run is in it already."""
        if self.state.stage != stage:
            self.state.stage, self.state.done = stage, 0
            self.checkpoint()

    def imitated(self) -> list[Any]:
        """Return the instances of imitation, in their form for contenders."""
        return self._instances(self.config.imitation.instances)

    def played(self, stage: str) -> list[Any]:
        """Return the instances of a stage of ALGORITHMS, its settings applied, in their form for
        contenders.
        """
        section = self.config.reinforcement[stage]
        return self._instances(section.instances, section.settings)

    def _instances(self, sets: Iterable[str], settings: dict[str, Any] | None = None) -> list[Any]:
        problem = self.problem
        found = [instance for name in sets for instance in problem.sets.load(name)]
        if settings is not None:
            found = [problem.apply_settings(instance, settings) for instance in found]
        return [problem.contender_view(instance) for instance in found]

    def trained_on(self) -> list[str]:
        """Return the content hashes of all instances of the run."""
        seen = self.imitated()
        for stage in self.config.reinforcement:
            seen += self.played(stage)
        return sorted({instance.content_hash for instance in seen})

    def validate(self, where: str, writer: SummaryWriter, step: int) -> float:
        """Score the network; export it if it is the best so far on the first validation set.

        Args:
            where: where in training the network is, e.g. "ppo iteration 12".
            writer: receives the scores.
            step: their step in TensorBoard.

        Returns:
            The score on the first set.
        """
        expected = {
            name: self.recipe.score(self.network, instances)
            for name, instances in self.validation.items()
        }
        for name, scores in expected.items():
            for key, value in scores.items():
                writer.add_scalar(f"{name}/{key}", value, step)
        score = expected[self.config.validation[0]][self.recipe.chosen_by]
        if self.state.best is None or score < self.state.best:
            self.state.best = score
            card = Card(
                self.config.family,
                self.problem.env_version,
                self.config.width,
                where,
                expected,
                self.config.document(),
                shlex.join(["sysopt-gym", *sys.argv[1:]]),
                self.trained_on(),
            )
            save_policy(self.out / "policy", self.network.state_dict(), card)
        return score


class KeptPlans:
    """Cache of a contender's plans in a run's folder, for later passes and resumed runs.

    A plan's path is plans/CONTENDER/SECONDS/INSTANCE-SEED.npy, so that a run resumed with another
    contender or budget makes its plans anew.
    """

    def __init__(
        self, folder: Path, contender: str, solver: Solver, budget: Budget, instances: Iterable[Any]
    ) -> None:
        """Prepare the folder.

        Args:
            folder: the run's folder.
            contender: name of the contender.
            solver: the contender.
            budget: budget of one plan.
            instances: those whose plans are kept; others are planned anew each time.
        """
        self._solver, self._budget = solver, budget
        self._folder = folder / "plans" / quote(contender, safe="") / f"{budget.seconds!r}s"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._kept = {instance.content_hash for instance in instances}

    def plan(self, instance: Any, seed: int = 0) -> np.ndarray:
        """Return the contender's actions on an instance.

        Args:
            instance: in its form for contenders.
            seed: seed of the contender.
        """
        file = self._folder / f"{instance.content_hash}-{seed}.npy"
        if file.exists():
            actions: np.ndarray = np.load(file)
            return actions
        actions = self._solver(instance, self._budget, seed).actions
        if instance.content_hash in self._kept:
            content = io.BytesIO()
            np.save(content, actions)
            write_bytes(file, content.getvalue())
        return actions


def _policy_folder(name: str) -> Path:
    """Return the folder of a shipped policy by its name, else the folder of that path."""
    return SHIPPED / name if (SHIPPED / name).is_dir() else Path(name)
