"""Keep the folder of a training run: the network, how far it has come, the best policy so far."""

from __future__ import annotations

import hashlib
import io
import json
import shlex
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
import torch
import yaml
from torch import nn

from ..core.archives import read_array
from ..core.budget import Budget
from ..core.contracts import Solver
from ..core.documents import read_json
from ..core.errors import CheckpointError, InstanceError, OutputError, UnknownNameError
from ..core.files import PARTIAL, read_bytes, write_bytes
from ..core.instance import load_archive, save_archive
from ..core.notes import note
from ..core.problem import Problem
from ..core.registry import load_problem
from ..core.sources import find_instances
from . import continuation, run_checkpoints
from .checkpoints import Card, copy_policy, load_network, read_card, save_policy
from .configuration import IMITATION, TrainingConfig, policy_folder
from .optimizers import hold_norms, make_optimizer
from .recipe import Recipe
from .run_folder import CONFIG, GO_ON, HISTORY, POLICY, STATE

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from .curriculum.rllib import Course

# Of a checkpoint.
NETWORK, RLLIB, LEFT_OUT, COURSE = "network.pt", "algorithm", "continuation.pkl", "curriculum.pkl"
INSTANCES = "instances"  # the folder of the instances that came from files
BUILT = "class_and_ctor_args.pkl"  # RLlib's, of what an object is built from


@dataclass(slots=True)
class RunState:
    """How far a run has come; the content of state.json.

    Attributes:
        stage: the stage it is in.
        done: passes or iterations of the stage that are done.
        step: passes and iterations of all stages that are done.
        env_steps: environment steps of the run, all stages together.
        earlier: those of the stages before the present one.
        started_at: environment steps that the policy it started from had seen.
        started_on: content hashes of the instances that that policy was trained on.
        best: score of the exported policy; None before the first validation.
    """

    stage: str = IMITATION
    done: int = 0
    step: int = 0
    env_steps: int = 0
    earlier: int = 0
    started_at: int = 0
    started_on: list[str] = field(default_factory=list)
    best: float | None = None


@dataclass(slots=True)
class Run:
    """A training run.

    Attributes:
        out: its folder, with config.yaml, state.json, history.jsonl, checkpoints/ (the last two),
            plans/ (of the imitated contender), instances/ (those of files), policy/ (the best so
            far) and TensorBoard's events.
        config: its settings.
        problem: the family.
        recipe: the family's part of the training.
        network: the network that is trained.
        optimizer: optimizer of imitation.
        state: how far the run has come.
        validation: instance argument -> its instances.
        restored: the checkpoint that it was resumed from; None for a new run.
    """

    out: Path
    config: TrainingConfig
    problem: Problem[Any]
    recipe: Recipe[Any, Any, Any]
    network: nn.Module
    optimizer: torch.optim.Optimizer
    state: RunState
    validation: dict[str, list[Any]]
    restored: Path | None = None
    _found: dict[str, dict[str, list[Any]]] = field(default_factory=dict)

    @classmethod
    def open(cls, config: TrainingConfig, resume: bool) -> Run:
        """Start a run in an empty folder, or resume the one in it.

        Args:
            config: settings of the run; to resume, those of `resumed_config`.
            resume: whether the folder `config.out` holds the run already.

        Raises:
            CheckpointError: the run is damaged, or the start does not fit.
            UnknownNameError: instances of the run are not there.
            OutputError: the folder holds a run already, or cannot be written.
        """
        problem, recipe, out = load_problem(config.family), config.load_recipe(), Path(config.out)
        if not resume and any((out / name).exists() for name in (CONFIG, STATE, HISTORY)):
            raise OutputError(
                f"{out}: holds a run already; go on with --resume, or set another out=FOLDER"
            )
        continuation.seed_generators(config.seed)
        network = recipe.network(config.width)
        run = cls(
            out,
            config,
            problem,
            recipe,
            network,
            make_optimizer(config.optimizer, network.parameters(), config.imitation.learning_rate),
            RunState(),
            {name: _load(problem, name, {}, resume, out) for name in config.validation},
        )
        if resume:
            run.restored, faults = run_checkpoints.newest_good(out)
            for fault in faults:
                note(f"{fault}; goes back to {run.restored}")
        text = yaml.safe_dump(config.document(), sort_keys=False)
        write_bytes(out / CONFIG, text.encode(), GO_ON)
        if run.restored is not None:
            run._restore(run.restored)
        elif config.start:
            run._start()
        if config.normalize_and_project:
            hold_norms(run.optimizer)
        return run

    def _start(self) -> None:
        """Take over the weights of the policy that the run starts from."""
        folder = policy_folder(self.config.start)
        card = read_card(folder)
        if card.family == self.config.family:
            own = {"": f".agents.{card.family}.recipe:RECIPE"}
            theirs, ours = own.get(card.recipe, card.recipe), self.config.recipe
            if theirs != own.get(ours, ours):
                raise CheckpointError(
                    f"start: {folder} is a policy of recipe {card.recipe!r}, but this run's is "
                    f"{ours!r}; give recipe={card.recipe!r}, or another start"
                )
            if card.width != self.config.width:
                raise CheckpointError(
                    f"start: {folder} has width {card.width}, but this run has width "
                    f"{self.config.width}; leave width out, or set it to {card.width}"
                )
        start = load_network(folder, self.problem, self.recipe.network)
        self.network.load_state_dict(start.state_dict())
        self.state.started_at, self.state.started_on = card.steps, card.trained_on

    def _restore(self, place: Path) -> None:
        """Load what `checkpoint` saved, and put back what was written after it."""
        try:
            self.state = RunState(**read_json(place / STATE))
            saved = torch.load(place / NETWORK, weights_only=True)
            self.network.load_state_dict(saved["network"])
            self.optimizer.load_state_dict(saved["optimizer"])
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise CheckpointError(
                f"{place}: the run cannot be resumed ({error}); start another with out=FOLDER"
            ) from error
        continuation.set_generators(torch.load(place / "generators.pt", weights_only=False))
        for leftover in self.out.rglob(f"*{PARTIAL}"):
            leftover.unlink() if leftover.is_file() else shutil.rmtree(leftover)
        for name in (
            STATE,
            HISTORY,
            *(f"{POLICY}/{file.name}" for file in place.glob(f"{POLICY}/*")),
        ):
            if (place / name).exists():
                write_bytes(self.out / name, (place / name).read_bytes(), GO_ON)
            else:
                (self.out / name).unlink(missing_ok=True)
        run_checkpoints.prune(self.out, self.state.step)

    def checkpoint(self, algorithm: Any = None, course: Course | None = None) -> None:
        """Save everything that the run needs to go on from here, and drop the oldest checkpoint.

        Args:
            algorithm: RLlib's algorithm of the present stage; None for imitation.
            course: its curriculum at work.

        Raises:
            OutputError: the checkpoint cannot be written.
        """
        state = (json.dumps(asdict(self.state)) + "\n").encode()
        with run_checkpoints.written(self.out, self.state.step) as place:
            nets = {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}
            _save(nets, place / NETWORK)
            _save(continuation.generators(), place / "generators.pt")
            (place / STATE).write_bytes(state)
            (place / CONFIG).write_bytes((self.out / CONFIG).read_bytes())
            if (self.out / HISTORY).exists():
                shutil.copyfile(self.out / HISTORY, place / HISTORY)
            if (self.out / POLICY).is_dir():
                copy_policy(self.out / POLICY, place / POLICY)
            if algorithm is not None:
                algorithm.save_to_path(str((place / RLLIB).resolve()))
                for file in (place / RLLIB).rglob(BUILT):
                    file.unlink()  # the instances, once for each part; a resumed run builds anew
                continuation.save(algorithm, place / LEFT_OUT)
            if course is not None:
                course.save(place / COURSE)
        write_bytes(self.out / STATE, state, GO_ON)
        run_checkpoints.prune(self.out, self.state.step)

    def restore_algorithm(self, algorithm: Any, course: Course) -> None:
        """Put RLlib's algorithm of the present stage into the state of the checkpoint.

        Args:
            algorithm: the algorithm, newly built.
            course: its curriculum, attached to it.

        Raises:
            CheckpointError: the checkpoint does not fit these versions of library and RLlib.
        """
        assert self.restored is not None
        algorithm.restore_from_path(str((self.restored / RLLIB).resolve()))
        continuation.restore(algorithm, self.restored / LEFT_OUT)
        course.restore(self.restored / COURSE)

    def enter(self, stage: str) -> None:
        """Begin a stage, unless the run is in it already."""
        if self.state.stage != stage:
            self.state.stage, self.state.done = stage, 0
            self.state.earlier = self.state.env_steps

    def imitated(self) -> list[Any]:
        """Return the instances of imitation, in their form for contenders."""
        found = self._instances(IMITATION, self.config.imitation.instances, {})
        return [instance for instances in found.values() for instance in instances]

    def played(self, stage: str) -> dict[str, list[Any]]:
        """Return the instances of a stage of ALGORITHMS.

        Args:
            stage: the stage.

        Returns:
            Instance argument -> instances, settings applied, in their form for contenders.
        """
        section = self.config.reinforcement[stage]
        return self._instances(stage, section.instances, section.settings)

    def _instances(
        self, stage: str, arguments: Iterable[str], settings: Mapping[str, Any]
    ) -> dict[str, list[Any]]:
        if stage not in self._found:
            again = self.restored is not None
            self._found[stage] = {
                argument: [
                    self.problem.contender_view(instance)
                    for instance in _load(self.problem, argument, settings, again, self.out)
                ]
                for argument in arguments
            }
        return self._found[stage]

    def trained_on(self) -> list[str]:
        """Return the content hashes of all instances of the run, and of those that the policy it
        started from was trained on.
        """
        lengths = self.config.stages
        seen = self.imitated() if lengths[IMITATION] > 0 else []
        for stage in (stage for stage in self.config.reinforcement if lengths[stage] > 0):
            for instances in self.played(stage).values():
                seen = [*seen, *instances]
        return sorted({*self.state.started_on, *(instance.content_hash for instance in seen)})

    def validate(
        self, where: str, trained_by: str, writer: SummaryWriter | None = None
    ) -> dict[str, dict[str, float]]:
        """Score the network; export it if it is the best so far on the first validation argument.

        Args:
            where: where in training the network is, e.g. "ppo iteration 12".
            trained_by: name in ALGORITHMS of what trained it last, or "imitation".
            writer: receives the scores, if it is given.

        Returns:
            Instance argument -> name of a figure -> the figure.
        """
        expected = {
            name: self.recipe.score(self.network, instances)
            for name, instances in self.validation.items()
        }
        if writer is not None:
            for name, scores in expected.items():
                for key, value in scores.items():
                    writer.add_scalar(f"{name}/{key}", value, self.state.step)
        score = self.score_of(expected)
        if self.state.best is None or score < self.state.best:
            self.state.best = score
            card = Card(
                family=self.config.family,
                env_version=self.problem.env_version,
                width=self.config.width,
                stage=where,
                expected=expected,
                config=self.config.document(),
                command=shlex.join(["sysopt-gym", *sys.argv[1:]]),
                trained_on=self.trained_on(),
                recipe=self.config.recipe,
                network=type(self.network).__name__,
                form=self.config.form,
                algorithm=trained_by,
                seed=self.config.seed,
                steps=self.state.started_at + self.state.env_steps,
            )
            save_policy(self.out / POLICY, self.network.state_dict(), card)
        return expected

    def score_of(self, expected: Mapping[str, Mapping[str, float]]) -> float:
        """Return the figure by which policies are chosen, lower is better.

        Args:
            expected: result of `validate`.
        """
        return expected[self.config.validation[0]][self.recipe.chosen_by]


def _save(state: Any, path: Path) -> None:
    """Write as `torch.save` does, which reports a full disk by an error of its own."""
    content = io.BytesIO()
    torch.save(state, content)
    path.write_bytes(content.getvalue())


def _load(
    problem: Problem[Any], argument: str, settings: Mapping[str, Any], resume: bool, out: Path
) -> list[Any]:
    """Load the instances of an argument; those of files are kept in the run's folder, with which
    the run goes on, on whatever machine.
    """
    texts = {key: _text(value) for key, value in settings.items()}
    if argument.partition("/")[0] in problem.sets:
        return find_instances(problem, argument, texts)
    key = hashlib.sha256(json.dumps([argument, texts]).encode()).hexdigest()[:16]
    kept = out / INSTANCES / f"{key}.zip"
    if resume and kept.exists():
        return load_archive(problem.instance_type, kept)
    try:
        found = find_instances(problem, argument, texts)
    except UnknownNameError as error:
        if not resume:
            raise
        raise CheckpointError(
            f"{argument}: instances of the run are no longer there; put the file back, or start "
            "another run"
        ) from error
    save_archive(found, kept)
    return found


def _text(value: Any) -> str:
    """Return a value of YAML as its text in `compare --set`."""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(_text, value)) if isinstance(value, list) else str(value)


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
        try:
            return read_array(str(file), read_bytes(file))
        except InstanceError:
            pass  # not planned yet, or damaged
        actions = self._solver(instance, self._budget, seed).actions
        if instance.content_hash in self._kept:
            content = io.BytesIO()
            np.save(content, actions)
            write_bytes(file, content.getvalue(), GO_ON)
        return actions
