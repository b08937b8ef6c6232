"""Try RLlib's algorithms on the families' environments, as the table of docs/training.md reports.

    python -m sysopt_gym.benchmarks.rllib_algorithms                # two iterations of each on each
    python -m sysopt_gym.benchmarks.rllib_algorithms --minutes 10 --families vm_rescheduling

The second way trains each on a family for so long, from an untrained network, and prints what its
policy reaches on the family's first validation set. Instances, environment and the contender whose
plans BC and MARWIL learn from are those of the family's configuration for PPO; so are settings of
PPO and AlphaZero, where a configuration has them, and the others' are the table's defaults. All
play RLlib's loop over the environment.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym

from ..agents.algorithms import ALGORITHMS, build_algorithm, trained_policy
from ..agents.configuration import CONFIGS, TrainingConfig, load_config
from ..agents.objective_metric import results_of_play
from ..agents.selfplay.setup import ENVIRONMENT
from ..core.budget import Budget
from ..core.errors import SysOptError
from ..core.registry import FAMILIES, load_problem
from ..evaluation.recording import record, write_rllib

WIDTH = 16
ITERATIONS = 2
RUNNERS = (0, 2)
RECORDED = 64  # instances whose plans BC and MARWIL learn from, at most
# Settings by which two iterations hold some updates.
SHORT: dict[str, dict[str, dict[str, Any]]] = {
    "ppo": {
        "training": {
            "train_batch_size_per_learner": 128,
            "minibatch_size": 64,
            "num_epochs": 1,
        }
    },
    "appo": {"reporting": {"min_sample_timesteps_per_iteration": 256}},
    "impala": {"reporting": {"min_sample_timesteps_per_iteration": 256}},
    "dqn": {
        "training": {"num_steps_sampled_before_learning_starts": 64},
        "reporting": {"min_sample_timesteps_per_iteration": 128},
    },
    "alphazero": {"training": {"simulations": 4, "learning_starts": 64, "updates": 2}},
    "muzero": {"training": {"simulations": 4, "learning_starts": 64, "updates": 2}},
}


class Bench:
    """A family's part of the trial: its configuration, instances and recorded plans.

    Args:
        family: name of the family.
        folder: where plans are recorded.
        recorded: instances whose plans are recorded, at most.
    """

    def __init__(self, family: str, folder: Path, recorded: int) -> None:
        self.family, self.problem = family, load_problem(family)
        self.config: TrainingConfig = load_config(f"{family}_ppo", {})
        section = self.config.reinforcement["ppo"]
        self.played = [
            self.problem.contender_view(one)
            for name in section.instances
            for one in self.problem.sets.load(name)
        ]
        self.environment = {"instances": self.played} | section.environment
        self.folder, self.recorded = folder, recorded

    def episodes(self) -> Path:
        """Return the folder of the imitated contender's episodes; they are recorded once."""
        if not (self.folder / self.family).exists():
            imitation = self.config.imitation
            budget = Budget(imitation.budget_s)
            some = self.played[: self.recorded]
            episodes = record(self.problem, some, imitation.contender, budget, range(1))
            write_rllib(episodes, self.folder / self.family)
        return self.folder / self.family

    def settings(
        self, stage: str, runners: int, more: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, dict[str, Any]]:
        """Return the settings of an algorithm, `more` over the configuration's."""
        settings: dict[str, dict[str, Any]] = {}
        path = CONFIGS / f"{self.family}_{stage}.yaml"
        if path.exists():
            own = load_config(path, {}).reinforcement[stage].algorithm
            settings = {part: dict(keys) for part, keys in own.items()}
        for part, keys in more.items():
            settings[part] = settings.get(part, {}) | dict(keys)
        if ALGORITHMS[stage].offline:
            settings["offline_data"] = {"input_": [str(self.episodes())]}
            settings["evaluation"] = {"evaluation_num_env_runners": runners}
        else:
            settings["env_runners"] = settings.get("env_runners", {}) | {"num_env_runners": runners}
        return settings

    def build(
        self,
        stage: str,
        runners: int,
        more: Mapping[str, Mapping[str, Any]],
        form: str = "",
    ) -> Any:
        """Build an algorithm, with an untrained network."""
        environment = self.environment | ({"form": form} if form else {})
        network = {"family": self.family, "width": WIDTH}
        settings = self.settings(stage, runners, more)
        return build_algorithm(
            stage, self.problem, environment, network, 0, settings, self_play=ENVIRONMENT
        )


def try_all(bench: Bench, stages: Sequence[str], runners: Sequence[int]) -> Iterator[str]:
    """Train each algorithm for ITERATIONS; yield a row of a Markdown table for each."""
    for stage in stages:
        for count in runners:
            begun = time.perf_counter()
            try:
                algorithm = bench.build(stage, count, SHORT.get(stage, {}))
                try:
                    for _ in range(ITERATIONS):
                        result = algorithm.train()
                finally:
                    algorithm.stop()
                text = f"works; {_objective(result)}"
            except SysOptError as error:
                text = f"refused: {error}"
            seconds = time.perf_counter() - begun
            yield f"| {bench.family} | {stage} | {count} | {text} | {seconds:.0f} s |"


def refuse_all(bench: Bench, stages: Sequence[str]) -> Iterator[str]:
    """Build each algorithm on the other forms of the environment; yield a row for each."""
    with gym.make(f"sysopt_gym:{bench.problem.env_id}", **bench.environment) as env:
        forms = env.unwrapped.forms[1:]  # type: ignore[attr-defined]
    for form in forms:
        for stage in stages:
            try:
                bench.build(stage, 0, SHORT.get(stage, {}), form).stop()
                text = "is built"
            except SysOptError as error:
                text = f"refused: {error}"
            yield f"| {bench.family}, {form} | {stage} | 0 | {text} | |"


def train_all(bench: Bench, stages: Sequence[str], minutes: float) -> Iterator[str]:
    """Train each algorithm for some minutes; yield a row for each."""
    recipe = bench.config.load_recipe()
    name = bench.config.validation[0]
    held_out = list(bench.problem.sets.load(name))
    untrained = recipe.score(recipe.network(WIDTH), held_out)
    yield f"| {bench.family} on {name} | untrained | | | {_figures(untrained)} |"
    for stage in stages:
        try:
            algorithm = bench.build(stage, 0, {})
        except SysOptError as error:
            yield f"| {bench.family} on {name} | {stage} | | | refused: {error} |"
            continue
        begun, iterations = time.perf_counter(), 0
        try:
            while time.perf_counter() - begun < 60 * minutes:
                result = algorithm.train()
                iterations += 1
            scores = recipe.score(trained_policy(stage, algorithm), held_out)
            steps = result.get("env_runners", {}).get("num_env_steps_sampled_lifetime", 0)
        finally:
            algorithm.stop()
        yield (
            f"| {bench.family} on {name} | {stage} | {iterations} | {int(steps)} "
            f"| {_figures(scores)} |"
        )


def _objective(result: Mapping[str, Any]) -> str:
    """Say the mean objective of an iteration's episodes, or of those of its evaluation."""
    mean = results_of_play(result).get("objective", math.nan)
    return "no episode ended" if math.isnan(mean) else f"objective {mean:.4g}"


def _figures(scores: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in scores.items())


def main() -> None:
    """Read the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), choices=list(FAMILIES))
    parser.add_argument("--algorithms", nargs="+", default=list(ALGORITHMS))
    parser.add_argument("--runners", nargs="+", type=int, default=list(RUNNERS))
    parser.add_argument("--minutes", type=float, help="train each for so long")
    parser.add_argument("--forms", action="store_true", help="build on the other forms, too")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for family in given.families:
            bench = Bench(family, Path(folder), RECORDED if given.minutes else 2)
            if given.minutes:
                rows = train_all(bench, given.algorithms, given.minutes)
            else:
                rows = try_all(bench, given.algorithms, given.runners)
            for row in rows:
                print(row, flush=True)
            if given.forms:
                for row in refuse_all(bench, given.algorithms):
                    print(row, flush=True)


if __name__ == "__main__":
    main()
