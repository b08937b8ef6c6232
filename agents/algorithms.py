"""RLlib's algorithms that train a family's policy, in one table.

A further algorithm is one entry of ALGORITHMS. Its name is then a stage of training and a section
of the configuration.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..core.errors import SettingError
from ..core.problem import Problem

# Methods of RLlib's AlgorithmConfig that a configuration may call.
PARTS = ("env_runners", "learners", "training", "resources", "evaluation", "debugging")


@dataclass(frozen=True, slots=True)
class Algorithm:
    """An algorithm of RLlib on a family's environment with the family's network.

    Attributes:
        make_config: description of the network (see rl_module.PolicyModule) -> RLlib's
            AlgorithmConfig.
        policy_of: network of the algorithm's RLModule -> the family's network in it.
    """

    make_config: Callable[[Mapping[str, Any]], Any]
    policy_of: Callable[[Any], nn.Module]


def _ppo(network: Mapping[str, Any]) -> Any:
    from ray.rllib.algorithms.ppo import PPOConfig
    from ray.rllib.core.rl_module.rl_module import RLModuleSpec

    from .rl_module import PolicyModule

    spec = RLModuleSpec(module_class=PolicyModule, model_config=dict(network))
    return PPOConfig().rl_module(rl_module_spec=spec)


def _muzero(network: Mapping[str, Any]) -> Any:
    from .muzero.algorithm import MuZeroConfig
    from .muzero.family import FamilyNetwork

    return MuZeroConfig().training(network=FamilyNetwork, network_config=dict(network))


# Stage of training -> its algorithm; stages follow imitation in this order.
ALGORITHMS: dict[str, Algorithm] = {
    "ppo": Algorithm(_ppo, policy_of=lambda network: network),
    "muzero": Algorithm(_muzero, policy_of=lambda network: network.policy),
}


def build_algorithm(
    stage: str,
    problem: Problem[Any],
    environment: Mapping[str, Any],
    network: Mapping[str, Any],
    seed: int,
    settings: Mapping[str, Mapping[str, Any]],
) -> Any:
    """Build RLlib's algorithm of a stage, ready to train.

    Args:
        stage: a key of ALGORITHMS.
        problem: the family whose environment is played.
        environment: keyword arguments of the environment; "instances" are those to play.
        network: description of the network, see `Algorithm.make_config`.
        seed: seed of self-play and learning.
        settings: name of a method of AlgorithmConfig (one of PARTS) -> its keyword arguments.

    Raises:
        SettingError: RLlib refuses a setting.
    """
    quiet_ray()
    config = ALGORITHMS[stage].make_config(network)
    package = __package__.rpartition(".")[0]
    config.environment(f"{package}:{problem.env_id}", env_config=dict(environment))
    config.debugging(seed=seed, log_level="ERROR")
    for part, arguments in settings.items():
        try:
            getattr(config, part)(**arguments)
        except (TypeError, ValueError) as error:
            raise SettingError(f"{stage}.algorithm.{part}: {error}") from error
    return config.build_algo()


def trained_policy(stage: str, algorithm: Any) -> nn.Module:
    """Return the family's network as RLlib has trained it.

    Args:
        stage: a key of ALGORITHMS.
        algorithm: the result of `build_algorithm` for that stage.
    """
    return ALGORITHMS[stage].policy_of(algorithm.get_module().network)


def quiet_ray() -> None:
    """Start ray without its log lines, unless SYSOPT_VERBOSE is set; one thread per process."""
    import ray

    torch.set_num_threads(1)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    verbose = bool(os.environ.get("SYSOPT_VERBOSE"))
    level = logging.INFO if verbose else logging.ERROR
    if not verbose:
        for name in ("ray", "ray.rllib", "ray.rllib.algorithms.algorithm_config"):
            logging.getLogger(name).setLevel(level)
        warnings.filterwarnings("ignore", category=DeprecationWarning)
    if not ray.is_initialized():
        ray.init(
            include_dashboard=False,
            log_to_driver=verbose,
            logging_level=level,
            runtime_env={"env_vars": {"OMP_NUM_THREADS": "1"}},
        )
