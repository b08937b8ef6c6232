"""Measure the room that MuZero's replay takes for a step of each family.

    python -m sysopt_gym.benchmarks.replay_memory

Episodes are random legal play, in fragments of 16 steps; the search's policies are spread over all
legal actions. What RLlib's episodes would take is measured beside. The public snapshot of
vm_rescheduling must be in the data folder.
"""

from __future__ import annotations

import gc
import pickle
import time
import tracemalloc
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.utils.replay_buffers import PrioritizedEpisodeReplayBuffer

from ..agents.muzero.games import POLICY, VALUE
from ..agents.muzero.replay import SelfPlayBuffer, TargetSettings, batch_of

STEPS, FRAGMENT, BATCH = 1500, 16, 128
CASES = (
    ("sysopt/VMRescheduling-v0", "bytedance-medium/0"),
    ("sysopt/VMRescheduling-v0", "small:train/0"),
    ("sysopt/MallocGame-v0", "synthetic:train/0"),
    ("sysopt/FederatedLR-v0", "mixed:train"),
    ("sysopt/SequenceDesign-v0", "ehrlich:small/0"),
)


def fragments(place: str, instances: str) -> list[SingleAgentEpisode]:
    """Play STEPS steps and return them as a runner hands them over."""
    rng, made = np.random.default_rng(0), []
    with gym.make(f"sysopt_gym:{place}", disable_env_checker=True, instances=instances) as env:
        seen, info = env.reset(seed=0)
        episode = SingleAgentEpisode()
        episode.add_env_reset(seen, infos=info)
        for _ in range(STEPS):
            legal = np.flatnonzero(seen["action_mask"])
            policy = np.zeros(len(seen["action_mask"]), np.float32)
            policy[legal] = rng.dirichlet(np.ones(len(legal)))
            action = int(rng.choice(legal))
            seen, reward, ended, cut, info = env.step(action)
            found = {POLICY: policy, VALUE: np.float32(0.5)}
            episode.add_env_step(
                seen, action, reward, info, terminated=ended, truncated=cut,
                extra_model_outputs=found,
            )  # fmt: skip
            if episode.is_done:
                made.append(episode.to_numpy())
                seen, info = env.reset()
                episode = SingleAgentEpisode()
                episode.add_env_reset(seen, infos=info)
            elif len(episode) == FRAGMENT:
                later = episode.cut()
                made.append(episode.to_numpy())
                episode = later
    return made


def room(buffer: Any, played: list[SingleAgentEpisode]) -> tuple[float, float]:
    """Fill a buffer; return the bytes of a step in memory and in a checkpoint."""
    empty = len(pickle.dumps(buffer.get_state()))
    gc.collect()
    tracemalloc.start()
    for fragment in played:
        buffer.add([fragment])
    gc.collect()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    steps = buffer.get_num_timesteps()
    return kept / steps, (len(pickle.dumps(buffer.get_state())) - empty) / steps


def measure(place: str, instances: str) -> Mapping[str, float]:
    """Measure a family's environment on instances.

    Args:
        place: the environment's id.
        instances: an argument of its `instances`.

    Returns:
        Name of a figure -> bytes of a step, and milliseconds of drawing a batch.
    """
    played = fragments(place, instances)
    seen = played[0].get_observations(0)
    ours = SelfPlayBuffer(seed=0, capacity=10**5, alpha=0.6, beta=0.4)
    kept, saved = room(ours, played)
    kept_whole, saved_whole = room(PrioritizedEpisodeReplayBuffer(capacity=10**5), played)
    settings, times = TargetSettings(0, None, 1.0), []
    for _ in range(20):
        begun = time.process_time()
        batch_of(ours.draw(BATCH), settings)
        times.append(time.process_time() - begun)
    return {
        "observation": sum(array.nbytes for array in seen.values()),
        "in memory": kept,
        "with RLlib's episodes": kept_whole,
        "in a checkpoint": saved,
        "a checkpoint with RLlib's": saved_whole,
        f"ms to draw {BATCH}": 1000 * min(times),
    }


def main() -> None:
    """Print a table."""
    for place, instances in CASES:
        figures = measure(place, instances)
        print(f"{place} {instances}: ", end="")
        print(", ".join(f"{name} {value:,.1f}" for name, value in figures.items()), flush=True)


if __name__ == "__main__":
    main()
