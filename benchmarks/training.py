"""Measure how fast policies train: compiled self-play beside RLlib's loop over the environment.

    python -m sysopt_gym.benchmarks.training                  # steps per CPU second, both loops
    python -m sysopt_gym.benchmarks.training --runners 1 2    # sampling by remote runners
    python -m sysopt_gym.benchmarks.training --device cuda    # a learner on the GPU beside the CPU

Instances, network and settings are those of the family's shipped configuration of PPO (and of
AlphaZero, with --algorithm), from an untrained network. The first table is in CPU seconds of one
process, iterations of both loops in turns; the others in wall seconds, for a machine without other
load.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ..agents.algorithms import build_algorithm
from ..agents.configuration import load_config
from ..agents.history import of_iteration, time_exactly
from ..core.contracts import Throughput
from ..core.registry import load_problem
from ..core.sources import find_instances
from .timing import Run, beside, one_thread, take_turns

LOOPS = ("environment", "compiled")
WARM = 4  # iterations before the first that counts, in which instances are seen for the first time


class Loop:
    """A training loop of a family, iteration after iteration.

    Args:
        family: name of the family.
        stage: "ppo" or "alphazero".
        self_play: "environment" or "compiled"; see agents/selfplay/setup.py.
        parts: settings of RLlib's AlgorithmConfig beside those of the configuration.
    """

    def __init__(
        self, family: str, stage: str, self_play: str, parts: Mapping[str, Mapping[str, Any]]
    ) -> None:
        config, problem = load_config(f"{family}_{stage}", {}), load_problem(family)
        section = config.reinforcement[stage]
        instances = [
            one for name in section.instances
            for one in find_instances(problem, name, section.settings)
        ]  # fmt: skip
        settings = copy.deepcopy(dict(section.algorithm))
        for part, values in parts.items():
            settings[part] = dict(settings.get(part, {})) | dict(values)
        network = {"family": family, "recipe": config.recipe, "width": config.width}
        self.algorithm = build_algorithm(
            stage, problem, {"instances": instances} | section.environment, network, config.seed,
            settings, None, self_play,
        )  # fmt: skip
        time_exactly(self.algorithm)
        self._steps = 0
        self.shares: dict[str, float] = {}
        self.trained = 0.0
        for _ in range(WARM):
            self.iterate()

    def iterate(self) -> int:
        """Run one iteration; return its environment steps."""
        begun = time.perf_counter()
        result = self.algorithm.train()
        seconds = time.perf_counter() - begun
        sampled = int(result["env_runners"]["num_env_steps_sampled_lifetime"])
        steps, self._steps = sampled - self._steps, sampled
        timers = of_iteration("", 1, result, [], seconds).timers
        self.shares = {
            name: value / seconds
            for name, value in timers.items()
            if not name.startswith("runners")
        }
        learned = result["learners"]["__all_modules__"]["num_module_steps_trained"]
        self.trained = float(learned) / max(1e-9, timers.get("learning", seconds))
        return steps

    def per_cpu_second(self) -> float:
        """Run one iteration; return its environment steps per CPU second of this process."""
        begun = time.process_time()
        steps = self.iterate()
        return steps / (time.process_time() - begun)

    def per_second(self) -> float:
        """Run one iteration; return its environment steps per second."""
        begun = time.perf_counter()
        steps = self.iterate()
        return steps / (time.perf_counter() - begun)

    def sampled_per_second(self) -> float:
        """Sample one batch without learning; return its environment steps per second."""
        from ray.rllib.execution.rollout_ops import synchronous_parallel_sample

        begun = time.perf_counter()
        episodes = synchronous_parallel_sample(
            worker_set=self.algorithm.env_runner_group,
            max_env_steps=4 * self.algorithm.config.total_train_batch_size,
            _uses_new_env_runners=True,
        )
        return sum(map(len, episodes)) / (time.perf_counter() - begun)


def loops(family: str, repeats: int) -> tuple[Throughput, dict[str, Loop]]:
    """Time both loops of PPO in turns, in CPU seconds.

    Args:
        family: name of the family.
        repeats: iterations of each.
    """
    made = {name: Loop(family, "ppo", name, {}) for name in LOOPS}
    runs: dict[str, Run] = {f"{family}, compiled": made["compiled"].per_cpu_second}
    (found,) = beside(
        runs, "steps/CPU s", "RLlib's loop", made["environment"].per_cpu_second, repeats
    )
    return found, made


def runners(family: str, counts: Sequence[int], repeats: int) -> list[Throughput]:
    """Time sampling by remote runners.

    Args:
        family: name of the family.
        counts: numbers of runners; the first is the reference.
        repeats: batches of each.
    """
    speeds = {}
    for count in counts:  # one after the other: all together would need more cores than there are
        loop = Loop(family, "ppo", "compiled", {"env_runners": {"num_env_runners": count}})
        (speeds[count],) = take_turns([loop.sampled_per_second], repeats)
        loop.algorithm.stop()
    first, *others = counts
    return [
        Throughput(
            f"{family}, {count} runners", speeds[count].per_second, "steps/s", f"{first} runner",
            speeds[first].per_second, max(speeds[count].spread, speeds[first].spread),
        )
        for count in others
    ]  # fmt: skip


def device(family: str, stage: str, repeats: int) -> list[Throughput]:
    """Time a learner on the GPU beside one on the CPU: the whole loop, and learning alone.

    Args:
        family: name of the family.
        stage: "ppo" or "alphazero".
        repeats: iterations of each.
    """
    on = {"learners": {"num_learners": 0, "num_gpus_per_learner": 1}}
    gpu, cpu = Loop(family, stage, "auto", on), Loop(family, stage, "auto", {})

    def learned(loop: Loop) -> Run:
        def run() -> float:
            loop.iterate()
            return loop.trained

        return run

    name = torch.cuda.get_device_name()
    whole = beside(
        {f"{family} {stage}, {name}, whole loop": gpu.per_second}, "steps/s", "CPU",
        cpu.per_second, repeats,
    )  # fmt: skip
    return whole + beside(
        {f"{family} {stage}, {name}, learner": learned(gpu)}, "samples/s", "CPU", learned(cpu),
        repeats,
    )  # fmt: skip


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--families", nargs="+", default=["vm_rescheduling", "memory_mapping"])
    parser.add_argument("--repeats", type=int, default=7, help="iterations of each, in turns")
    parser.add_argument("--runners", nargs="+", type=int, help="numbers of remote runners")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--algorithm", choices=["ppo", "alphazero"], default="ppo")
    chosen = parser.parse_args()
    if chosen.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no GPU here; install a CUDA build of torch on a machine with one")
    with one_thread():
        for family in chosen.families:
            if chosen.device == "cuda":
                rows = device(family, chosen.algorithm, chosen.repeats)
            elif chosen.runners:
                rows = runners(family, chosen.runners, chosen.repeats)
            else:
                row, made = loops(family, chosen.repeats)
                rows = [row]
            for found in rows:
                print(
                    f"{found.name}: {found.per_second:,.0f} {found.unit}, {found.ratio:.1f} times "
                    f"{found.reference} ({found.per_second / found.ratio:,.0f}; spread "
                    f"{found.spread:.0%})",
                    flush=True,
                )
            if chosen.device == "cpu" and not chosen.runners:
                for name, loop in made.items():
                    shares = ", ".join(f"{part} {share:.0%}" for part, share in loop.shares.items())
                    print(f"  wall time of {name}: {shares}")


if __name__ == "__main__":
    main()
