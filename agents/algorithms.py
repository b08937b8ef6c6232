"""RLlib's algorithms on a family's environment with the family's network."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Mapping
from typing import Any

import torch

from ..core.errors import SettingError
from ..core.problem import Problem

PARTS = ("env_runners", "learners", "training", "resources", "evaluation", "debugging")


def build_algorithm(
    name: str,
    problem: Problem[Any],
    environment: Mapping[str, Any],
    network: Mapping[str, Any],
    seed: int,
    settings: Mapping[str, Mapping[str, Any]],
) -> Any:
    """An algorithm that trains a policy.

    Args:
        name: "ppo" or "muzero".
        problem: whose environment is played.
        environment: its arguments; "instances" is what is played on it.
        network: "family", "width" and "weights" to start from.
        seed: of self-play and learning.
        settings: keyword arguments of methods of RLlib's AlgorithmConfig, by PARTS.

    Raises:
        SettingError: RLlib refuses a setting.
    """
    quiet_ray()
    config = {"ppo": _ppo, "muzero": _muzero}[name](network)
    package = __package__.rpartition(".")[0]
    config.environment(f"{package}:{problem.env_id}", env_config=dict(environment))
    config.debugging(seed=seed, log_level="ERROR")
    for part, arguments in settings.items():
        try:
            getattr(config, part)(**arguments)
        except (TypeError, ValueError) as error:
            raise SettingError(f"{name}.algorithm.{part}: {error}") from error
    return config.build_algo()


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


def trained_policy(name: str, algorithm: Any) -> Any:
    """The family's network as the algorithm has trained it."""
    network = algorithm.get_module().network
    return network.policy if name == "muzero" else network


def quiet_ray() -> None:
    """Starts ray without its log lines, unless SYSOPT_VERBOSE is set; one thread a process."""
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
