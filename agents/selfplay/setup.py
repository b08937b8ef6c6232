"""Decide whether an algorithm's runners play compiled, and set its configuration so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym

from ...core.errors import SettingError
from ...core.lookup import check_name
from ...core.notes import note
from ..curriculum.base import Curriculum
from .groups import group_size
from .segment import SelfPlay, self_play_of

AUTO, COMPILED, ENVIRONMENT = CHOICES = ("auto", "compiled", "environment")
STAGE = "ppo"  # the algorithm that learns from segments
# RLlib's callbacks that are given environments and episodes, which compiled play has none of.
CALLBACKS = (
    "on_environment_created",
    "on_episode_created",
    "on_episode_start",
    "on_episode_step",
    "on_episode_end",
    "on_sample_end",
)


def self_play_under(curriculum: Curriculum, stage: str, choice: str) -> str:
    """Return the choice for a stage with a curriculum.

    Args:
        curriculum: what chooses the instances; one that learns from a part of each batch needs
            RLlib's connectors.
        stage: name of the algorithm.
        choice: see `play_compiled`.

    Raises:
        SettingError: compiled play is asked for and not served.
    """
    if curriculum.shares() is None:
        return choice
    if choice == COMPILED:
        raise SettingError(
            f"{stage}.self_play: compiled play does not serve a curriculum that learns from a part "
            f"of each batch; leave it at {AUTO!r} or take another curriculum"
        )
    return ENVIRONMENT if choice == AUTO else choice


def play_compiled(
    config: Any, stage: str, network: Mapping[str, Any], env: gym.Env[Any, Any], choice: str
) -> bool:
    """Have the runners of an algorithm play compiled, where that is served and wanted.

    Args:
        config: RLlib's AlgorithmConfig with the user's settings and no others; it is changed.
        stage: name of the algorithm.
        network: description of the network, see rl_module.NetworkModule.
        env: an environment of those to play.
        choice: "auto" plays compiled where that is served, "compiled" asks for it, "environment"
            plays RLlib's loop over the environment.

    Returns:
        Whether they play compiled.

    Raises:
        SettingError: "compiled" is asked for and not served; the message says why.
        UnknownNameError: there is no such choice.
    """
    check_name(choice, CHOICES, f"{stage}.self_play")
    reason = f"self_play: {ENVIRONMENT}"
    if choice != ENVIRONMENT:
        self_play = self_play_of(network) if stage == STAGE else None
        reason = _unserved(config, stage, env, self_play)
    if reason and choice == COMPILED:
        raise SettingError(
            f"{stage}.self_play: compiled play does not serve {reason}; leave it at {AUTO!r} or "
            f"choose {ENVIRONMENT!r}"
        )
    if reason:
        if group_size(config) > 1:
            note(f"{stage}: compiled play does not serve {reason}; episodes have no groups then")
        return False
    from ray.rllib.core.rl_module.rl_module import RLModuleSpec

    from .learning import SegmentLearner, SegmentModule
    from .runner import CompiledRunner

    config.env_runners(env_runner_cls=CompiledRunner)
    config.training(learner_class=SegmentLearner)
    spec = RLModuleSpec(module_class=SegmentModule, model_config=dict(network))
    config.rl_module(rl_module_spec=spec)
    return True


def _unserved(
    config: Any, stage: str, env: gym.Env[Any, Any], self_play: SelfPlay[Any, Any] | None
) -> str:
    """Return what is not served; "" if all is."""
    from ray.rllib.callbacks.callbacks import RLlibCallback

    from ..rl_module import PolicyModule

    if stage != STAGE:
        return f"{stage}, only {STAGE}"
    if self_play is None:
        return "this recipe's network"
    if config.num_learners > 1:
        return "several learners"
    own = {
        "env_runner_cls": config.env_runner_cls,
        "learner_class": config._learner_class,
        "learner_connector": config._learner_connector,
        "env_to_module_connector": config._env_to_module_connector,
        "module_to_env_connector": config._module_to_env_connector,
        "output": config.output,
    }
    own |= {name: getattr(config, f"callbacks_{name}") for name in CALLBACKS}
    for name, value in own.items():
        if value is not None:
            return f"a {name} of your own"
    if config.callbacks_class is not RLlibCallback:
        return "a class of callbacks of your own"
    if config.rl_module_spec.module_class is not PolicyModule:
        return "an RLModule of your own"
    return self_play.unserved(env)
