"""Environment runners that keep little, and whose errors end training instead of restarting it.

RLlib takes an error of the environment for the death of its process: the runner logs it, waits a
minute, ends and is started again, a thousand times. Here the error reaches whoever trains; only
processes that die are started again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ray.exceptions import RayError, RayTaskError
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from ray.rllib.env.single_agent_episode import SingleAgentEpisode

from ..core.errors import TrainingError
from .history import time_runner_exactly


@dataclass(frozen=True, slots=True)
class Part:
    """What the metrics of an episode need of a part that has been handed over.

    Attributes:
        id_: RLlib's name of the episode.
        steps: its steps.
        gain: sum of its rewards.
        seconds: how long it took.
    """

    id_: str
    steps: int
    gain: float
    seconds: float

    def __len__(self) -> int:
        return self.steps

    def get_return(self) -> float:
        """See RLlib's episodes."""
        return self.gain

    def get_duration_s(self) -> float:
        """See RLlib's episodes."""
        return self.seconds


class Runner(SingleAgentEnvRunner):
    """RLlib's runner without its two faults; see the module.

    RLlib's keeps all observations of an episode until it ends, for the sake of its length and its
    return.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        time_runner_exactly(self)  # one that is started again, too

    def sample(self, **settings: Any) -> list[SingleAgentEpisode]:
        """See the base class."""
        made: list[SingleAgentEpisode] = super().sample(**settings)
        for parts in self._ongoing_episodes_for_metrics.values():
            parts[:] = [
                Part(one.id_, len(one), one.get_return(), one.get_duration_s()) for one in parts
            ]
        return made

    def apply(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function with this runner; an error is raised where the call came from.

        Args:
            func: runner, `args`, `kwargs` -> anything.
            *args: see there.
            **kwargs: see there.
        """
        return func(self, *args, **kwargs)


def end_on_errors(algorithm: Any) -> None:
    """Have training end in the error that a remote runner meets, where RLlib would log it and ask
    the runner again.

    Args:
        algorithm: an algorithm of RLlib whose runners are of the class above.
    """
    for group in (algorithm.env_runner_group, algorithm.eval_env_runner_group):
        if group is None:
            continue
        manager = group._worker_manager
        for name in ("foreach_actor", "fetch_ready_async_reqs"):
            setattr(manager, name, _checked(getattr(manager, name)))


def _checked(call: Callable[..., Any]) -> Callable[..., Any]:
    def checked(*args: Any, **kwargs: Any) -> Any:
        results = call(*args, **kwargs)
        for result in results.result_or_errors:
            error = result.get()
            if isinstance(error, RayTaskError) and not isinstance(error.cause, RayError):
                raise TrainingError(
                    f"environment runner {result.actor_id} ended in {type(error.cause).__name__}: "
                    f"{error.cause}; correct the environment and go on with --resume"
                ) from error
        return results

    return checked
