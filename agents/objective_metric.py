"""The environments' objective as a metric of RLlib: returns are not the score.

    config.callbacks(on_episode_end=log_objective)

Then `result["env_runners"]["objective"]` is the mean over the episodes that ended in the iteration,
as `episode_return_mean` is of their returns. Training by a configuration does this by itself, and
reports the mean of each instance set, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

OBJECTIVE = "objective"
BY_SET = "objective_by_set"


def log_objective(
    *,
    episode: Any,
    env_runner: Any,
    metrics_logger: Any,
    env: Any,
    env_index: int,
    sets: Mapping[str, str] | None = None,
    **others: Any,
) -> None:
    """Log the objective of an episode that has ended; RLlib's callback `on_episode_end`.

    Args:
        episode: the episode.
        env_runner: who played it; its setting of smoothing is that of returns.
        metrics_logger: receives the objective.
        env: the vectorized environment.
        env_index: the episode's lane.
        sets: content hash of an instance -> its instance set. An episode of another instance, or
            in a process of its own (vectorized "async"), counts in the mean over all only.
        **others: RLlib's further arguments.
    """
    objective = episode.get_infos(-1).get("objective")
    if objective is None:
        return
    window = env_runner.config.metrics_num_episodes_for_smoothing
    metrics_logger.log_value(OBJECTIVE, float(objective), window=window)
    name = _set_of(env, env_index, sets) if sets else None
    if name is not None:
        metrics_logger.log_value((BY_SET, name), float(objective), window=window)


def report_objective(
    config: Any, sets: Mapping[str, str], others: Sequence[Callable[..., None]]
) -> None:
    """Add the objective to an algorithm's metrics, and callbacks to those that it has.

    Args:
        config: RLlib's AlgorithmConfig; it is changed.
        sets: see `log_objective`.
        others: further callbacks `on_episode_end`.
    """
    own = config.callbacks_on_episode_end or []
    own = list(own) if isinstance(own, (list, tuple)) else [own]
    config.callbacks(on_episode_end=[*own, partial(log_objective, sets=dict(sets)), *others])


def results_of_play(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the figures of the episodes that an iteration played.

    Args:
        result: what RLlib's `train` returned. An algorithm that learns from recordings plays for
            evaluation only.

    Returns:
        RLlib's figures by name, OBJECTIVE and BY_SET among them; empty if nothing was played.
    """
    played: Mapping[str, Any] = result.get("env_runners") or {}
    return played or (result.get("evaluation") or {}).get("env_runners") or {}


def _set_of(env: Any, lane: int, sets: Mapping[str, str]) -> str | None:
    """Return the instance set of what a lane has played; None if it cannot be known."""
    if hasattr(env, "envs"):
        instance = getattr(env.envs[lane].unwrapped, "instance", None)
    else:
        played = getattr(env, "instances_now", None)
        instance = None if played is None else played[lane]
    return None if instance is None else sets.get(instance.content_hash)
