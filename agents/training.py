"""Trains a family's policy from one YAML file: imitation, then RLlib's PPO or MuZero; exports the
best.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from rich.progress import Progress

from ..core.budget import Budget
from ..core.contracts import Solver
from ..core.errors import CheckpointError, OutputError, SettingError
from ..core.play import is_policy, play_policy
from ..core.problem import Problem
from ..core.registry import check_name, contender_kind, load_contender, load_problem, resolve
from ..core.solution import Solution
from .algorithms import PARTS, build_algorithm, trained_policy
from .checkpoints import SHIPPED, Card, load_network, save_policy
from .recipe import Recipe, load_recipe

CONFIGS = Path(__file__).parent.parent / "configs"
DEFAULTS: dict[str, Any] = {
    "family": "",
    "recipe": "",
    "out": "",
    "seed": 0,
    "width": 32,
    "start": "",
    "validation": [],
    "imitation": {
        "contender": "",
        "budget_s": 0.3,
        "instances": [],
        "epochs": 0,
        "own_play_from": 10**6,
        "batch_size": 8,
        "learning_rate": 0.002,
    },
} | {
    algorithm: {
        "instances": [],
        "settings": {},
        "environment": {},
        "iterations": 0,
        "checkpoint_every": 10,
        "algorithm": {},
    }
    for algorithm in ("ppo", "muzero")
}
LENGTHS = {"imitation": "epochs", "ppo": "iterations", "muzero": "iterations"}  # stages, in order
FREE_FORM = tuple(
    f"{stage}.{part}"
    for stage in ("ppo", "muzero")
    for part in ("settings", "environment", "algorithm")
)


def train(config: str | Path, overrides: Mapping[str, str], resume: bool) -> Path:
    """Trains as the configuration says and returns the folder of the exported policy.

    Args:
        config: a YAML file, or the name of one in configs/.
        overrides: dotted key -> value as YAML text, e.g. {"ppo.iterations": "5"}.
        resume: go on where the run in the configuration's folder stopped, optimizers included.

    Raises:
        SettingError: the configuration cannot be read.
        UnknownNameError: a key, family, contender or instance set that does not exist.
        OutputError: the folder holds another run, or cannot be written.
        CheckpointError: there is nothing to resume.
    """
    torch.set_num_threads(1)
    settings = load_config(config, overrides)
    run = Run.open(settings, resume)
    stages = list(LENGTHS)
    for stage in stages[stages.index(run.state["stage"]) :]:
        length = settings[stage][LENGTHS[stage]]
        if length > 0:
            run.enter(stage)
            if run.state["done"] < length:
                _imitate(run) if stage == "imitation" else _reinforce(run)
    return run.out / "policy"


def load_config(config: str | Path, overrides: Mapping[str, str]) -> dict[str, Any]:
    """The resolved configuration: defaults, then the file, then the overrides.

    Raises:
        SettingError, UnknownNameError: see `train`.
    """
    path = Path(config)
    if not path.suffix:
        names = sorted(p.stem for p in CONFIGS.glob("*.yaml"))
        path = CONFIGS / f"{check_name(str(config), names, 'training configuration')}.yaml"
    try:
        document = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingError(f"{path}: cannot be read as a configuration ({error})") from error
    if not isinstance(document, dict):
        raise SettingError(f"{path}: a configuration is a mapping of keys to values")
    settings = _merged(DEFAULTS, document, str(path), "")
    for key, text in overrides.items():
        try:
            value: Any = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise SettingError(f"{key}={text!r} cannot be read ({error})") from error
        for part in reversed(key.split(".")):
            value = {part: value}
        settings = _merged(settings, value, f"override {key}", "")
    for key in ("family", "out", "validation"):
        if not settings[key]:
            raise SettingError(f"{path}: {key!r} is missing; give it a value")
    for algorithm in ("ppo", "muzero"):
        for part in settings[algorithm]["algorithm"]:
            check_name(part, PARTS, f"part of {algorithm}.algorithm")
    return settings


def _merged(base: dict[str, Any], changes: Any, place: str, prefix: str) -> dict[str, Any]:
    """`base` with `changes` laid over it; every key must be known, but under FREE_FORM."""
    if not isinstance(changes, dict):
        raise SettingError(f"{place}: {prefix or 'the document'} must be a mapping")
    merged = dict(base)
    for key, value in changes.items():
        path = f"{prefix}{key}"
        free = any(path.startswith(name + ".") for name in FREE_FORM)
        if not free:
            check_name(str(key), base, f"key of {prefix.rstrip('.') or place}")
        inner = base.get(key)
        nested = isinstance(inner, dict) and (isinstance(value, dict) or not free)
        merged[key] = (
            _merged(inner, value, place, path + ".") if nested and inner is not None else value
        )
    return merged


@dataclass(slots=True)
class Run:
    """A training run: its folder, what it trains, and how far it has come.

    Attributes:
        out: state.json, config.yaml, network.pt, plans/ (of imitation), algorithm/ (RLlib's),
            policy/ (the best so far), TensorBoard events. state: stage (see LENGTHS), done (passes
            or iterations), best (score of the exported policy).
    """

    out: Path
    settings: dict[str, Any]
    problem: Problem[Any]
    recipe: Recipe
    network: torch.nn.Module
    optimizer: torch.optim.Optimizer
    state: dict[str, Any]
    validation: dict[str, list[Any]]

    @classmethod
    def open(cls, settings: dict[str, Any], resume: bool) -> Run:
        """Starts a run in an empty folder, or takes up the one that is there."""
        family = settings["family"]
        problem = load_problem(family)
        entry = settings["recipe"]
        recipe: Recipe = resolve(entry) if entry else load_recipe(family)
        torch.manual_seed(settings["seed"])
        network = recipe.network(settings["width"])
        if settings["start"]:
            start = load_network(_policy_folder(settings["start"]), problem, recipe.network)
            network.load_state_dict(start.state_dict())
        rate = settings["imitation"]["learning_rate"]
        run = cls(
            Path(settings["out"]),
            settings,
            problem,
            recipe,
            network,
            torch.optim.Adam(network.parameters(), lr=rate),
            {"stage": "imitation", "done": 0, "best": None},
            {name: list(problem.load_set(name)) for name in settings["validation"]},
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
                (run.out / "config.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
            except OSError as error:
                raise OutputError(
                    f"{run.out}: cannot be written ({error.strerror}); set another out=FOLDER"
                ) from error
            run.checkpoint()
        return run

    def _restore(self) -> None:
        try:
            self.state = json.loads((self.out / "state.json").read_text())
            saved = torch.load(self.out / "network.pt", weights_only=True)
            self.network.load_state_dict(saved["network"])
            self.optimizer.load_state_dict(saved["optimizer"])
        except (OSError, ValueError, KeyError, RuntimeError, EOFError) as error:
            raise CheckpointError(
                f"{self.out}: the run cannot be resumed ({error}); start another with out=FOLDER"
            ) from error

    def checkpoint(self) -> None:
        """Saves where the run is; a run killed later goes on from here."""
        saved = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        partial = self.out / "network.pt.partial"
        torch.save(saved, partial)
        partial.replace(self.out / "network.pt")
        (self.out / "state.json").write_text(json.dumps(self.state) + "\n")

    def enter(self, stage: str) -> None:
        """Goes on to a stage, unless the run is in it."""
        if self.state["stage"] != stage:
            self.state |= {"stage": stage, "done": 0}
            self.checkpoint()

    def instances(self, names: list[str]) -> list[Any]:
        """The instances of several sets."""
        return [instance for name in names for instance in self.problem.load_set(name)]

    def played(self, stage: str) -> list[Any]:
        """The instances of a stage of reinforcement, its settings applied, as contenders are shown
        them.
        """
        part, problem = self.settings[stage], self.problem
        found = self.instances(part["instances"])
        return [problem.contender_view(problem.apply_settings(i, part["settings"])) for i in found]

    def trained_on(self) -> list[str]:
        """Content hashes of all instances of the run."""
        imitated = self.instances(self.settings["imitation"]["instances"])
        seen = [self.problem.contender_view(instance) for instance in imitated]
        seen += [instance for stage in ("ppo", "muzero") for instance in self.played(stage)]
        return sorted({instance.content_hash for instance in seen})

    def validate(self, stage: str, writer: Any, step: int) -> float:
        """Scores the network; exports it if it is the best so far on the first validation set."""
        expected = {
            name: self.recipe.score(self.network, instances)
            for name, instances in self.validation.items()
        }
        for name, scores in expected.items():
            for key, value in scores.items():
                writer.add_scalar(f"{name}/{key}", value, step)
        score = expected[self.settings["validation"][0]][self.recipe.chosen_by]
        if self.state["best"] is None or score < self.state["best"]:
            self.state["best"] = score
            card = Card(
                self.settings["family"],
                self.problem.env_version,
                self.settings["width"],
                stage,
                expected,
                self.settings,
                shlex.join(["sysopt-gym", *sys.argv[1:]]),
                self.trained_on(),
            )
            save_policy(self.out / "policy", self.network.state_dict(), card)
        return score


@contextmanager
def _watched(run: Run, what: str, total: int) -> Iterator[tuple[Any, Any]]:
    """A TensorBoard writer and a function that moves the progress bar."""
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(run.out))
    with Progress() as progress:
        task = progress.add_task(what, total=total, completed=run.state["done"])

        def show(text: str) -> None:
            progress.update(task, advance=1, description=f"{what}: {text}")

        try:
            yield writer, show
        finally:
            writer.close()


def _policy_folder(name: str) -> Path:
    """A folder, or that of a shipped policy by its name."""
    return SHIPPED / name if (SHIPPED / name).is_dir() else Path(name)


def _remembering(solver: Solver, instances: list[Any], folder: Path) -> Solver:
    """The solver, with its plans for these instances kept in a folder, so that later passes and
    resumed runs do not wait for them again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lasting = {instance.content_hash for instance in instances}

    def solve(instance: Any, budget: Budget, seed: int) -> Solution:
        file = folder / f"{instance.content_hash}-{seed}.npy"
        if file.exists():
            return Solution(np.load(file))
        solution = solver(instance, budget, seed)
        if instance.content_hash in lasting:
            np.save(file, solution.actions)
        return solution

    return solve


def _as_solver(problem: Problem[Any], name: str) -> Solver:
    """A contender as a solver; a policy is played in the world of the solver's seed."""
    contender = load_contender(problem.family, name)
    if not is_policy(contender_kind(problem.family, name), contender):
        solver: Solver = contender
        return solver

    def play(instance: Any, budget: Budget, seed: int) -> Solution:
        seen = problem.contender_view(instance)
        return play_policy(problem, contender(), seen, budget, seed, seed)

    return play


def _imitate(run: Run) -> None:
    part = run.settings["imitation"]
    epochs = part["epochs"]
    budget = Budget(part["budget_s"])
    instances = run.instances(part["instances"])
    solver = None
    if part["contender"]:
        solver = _as_solver(run.problem, part["contender"])
        solver(run.problem.warm_up_instance(), budget, 0)
        solver = _remembering(solver, instances, run.out / "plans")
    with _watched(run, "imitation", epochs) as (writer, show):
        while run.state["done"] < epochs:
            epoch = run.state["done"]
            rng = np.random.default_rng([run.settings["seed"], epoch])
            for group in run.optimizer.param_groups:
                group["lr"] = part["learning_rate"] * (1 - 0.95 * epoch / epochs)
            own_play = epoch >= part["own_play_from"] and epoch % 2 == 1
            samples = run.recipe.lessons(run.network, instances, solver, budget, own_play, rng)
            loss = run.recipe.imitate(
                run.network, samples, run.optimizer, part["batch_size"], rng, lambda _: None
            )
            run.state["done"] += 1
            score = run.validate(f"imitation pass {epoch + 1}", writer, epoch + 1)
            writer.add_scalar("imitation/loss", loss, epoch + 1)
            run.checkpoint()
            show(f"loss {loss:.3f}, validation {score:.4f}, best {run.state['best']:.4f}")


def _reinforce(run: Run) -> None:
    stage = run.state["stage"]
    part = run.settings[stage]
    if not hasattr(run.network, "encode"):
        raise SettingError(f"{stage}.iterations: this recipe trains no policy; leave them at 0")
    network = {
        "family": run.settings["family"],
        "width": run.settings["width"],
        "weights": run.network.state_dict(),
    }
    environment = {"instances": run.played(stage)} | part["environment"]
    algorithm = build_algorithm(
        stage, run.problem, environment, network, run.settings["seed"], part["algorithm"]
    )
    saved = str((run.out / "algorithm").resolve())
    if run.state["done"]:
        algorithm.restore_from_path(saved)
    try:
        with _watched(run, stage, part["iterations"]) as (writer, show):
            while run.state["done"] < part["iterations"]:
                result = algorithm.train()
                done = run.state["done"] = run.state["done"] + 1
                mean = result["env_runners"].get("episode_return_mean", float("nan"))
                writer.add_scalar(f"{stage}/episode_return_mean", mean, done)
                for key, value in result.get("learners", {}).get("default_policy", {}).items():
                    if np.isscalar(value):
                        writer.add_scalar(f"{stage}/{key}", float(value), done)
                text = f"return {mean:.4f}"
                if done % part["checkpoint_every"] == 0 or done == part["iterations"]:
                    run.network.load_state_dict(trained_policy(stage, algorithm).state_dict())
                    score = run.validate(f"{stage} iteration {done}", writer, done)
                    text += f", validation {score:.4f}, best {run.state['best']:.4f}"
                    algorithm.save_to_path(saved)
                    run.checkpoint()
                show(text)
    finally:
        algorithm.stop()
