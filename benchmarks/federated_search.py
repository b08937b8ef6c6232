"""Play federated_lr's policy of AlphaZero with and without its search, in simulated federations.

    python -m sysopt_gym.benchmarks.federated_search --instances mixed:val --worlds 4

The search plays in forks of the federation, whose future is not the world's, by the settings that
the policy was trained with. No contender can do so: a server cannot fork its clients. Prints final
validation errors, and what the search changes with its 95 % interval, pair by pair.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from ..agents.checkpoints import SHIPPED
from ..agents.configuration import load_config
from ..agents.federated_lr.players import AlphaZeroPolicy, load_policy
from ..agents.muzero.family import FamilyNetwork
from ..agents.muzero.forest import SearchSettings
from ..agents.muzero.networks import Scalars, Support
from ..agents.muzero.planning import Planner
from ..datasets.federated_lr.instance import Federation
from ..datasets.federated_lr.splits import SETS
from ..envs.federated_lr.env import FederatedLREnv

RESAMPLES = 9999


def error_of(federation: Federation, model: Scalars, planner: Planner | None, world: int) -> float:
    """Return the final validation error of an episode.

    Args:
        federation: the instance.
        model: the policy.
        planner: searches for each action; None for the likeliest ones.
        world: the world's seed.
    """
    env = FederatedLREnv(federation)
    seen, info = env.reset(seed=world)
    ended = False
    while not ended:
        observation = {key: torch.from_numpy(part[None]) for key, part in seen.items()}
        if planner is None:
            with torch.inference_mode():
                action = int(model.initial(observation).logits[0].argmax())
        else:
            action = int(planner.plan(model, observation, None, [env]).action[0])
        seen, _, ended, _, info = env.step(action)
    return 1.0 - float(info["validation_accuracy"])


def main() -> None:
    """Read the command line and print the errors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", default="mixed:val")
    parser.add_argument("--worlds", type=int, default=4)
    given = parser.parse_args()
    federations, trained_by = SETS.load(given.instances), load_config(AlphaZeroPolicy.FOLDER, {})
    settings = trained_by.reinforcement["alphazero"].algorithm["training"]
    support = Support(*settings["value_support"])
    space = FederatedLREnv(federations[0]).observation_space
    policy = load_policy(SHIPPED / AlphaZeroPolicy.FOLDER)
    network = FamilyNetwork(space, policy.OUTPUTS, support, support, "federated_lr", 64)
    network.policy = policy
    model = Scalars(network, support, support)
    searched = SearchSettings(
        settings["simulations"],
        settings["considered"],
        discount=settings["gamma"],
        c_scale=settings["c_scale"],
    )
    errors = []
    for name, planner in (("without search", None), ("with search", Planner(searched))):
        began = time.process_time()
        errors.append([
            error_of(one, model, planner, world)
            for one in federations
            for world in range(given.worlds)
        ])  # fmt: skip
        seconds = (time.process_time() - began) / len(errors[-1])
        print(f"{name}: {np.mean(errors[-1]):.4f}, {seconds:.2f} CPU-seconds an episode")
    change = np.subtract(errors[1], errors[0]).reshape(len(federations), -1).mean(axis=1)
    rng = np.random.default_rng(0)
    means = rng.choice(change, (RESAMPLES, len(change))).mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    print(f"search minus none: {change.mean():.4f} [{low:.4f}, {high:.4f}]")


if __name__ == "__main__":
    main()
