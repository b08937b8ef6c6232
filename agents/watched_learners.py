"""Learners of APPO and IMPALA whose training ends in an error when their thread dies.

They learn in a thread of their own. RLlib's wait for its results forever if it has died, so that
`train` never returns; these notice it, and raise what it died of.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Full
from typing import Any

from ray.rllib.algorithms.appo.torch.appo_torch_learner import APPOTorchLearner
from ray.rllib.algorithms.impala.torch.impala_torch_learner import IMPALATorchLearner

from ..core.errors import TrainingError

GLANCE_S = 0.5  # seconds between two looks at the thread


class _WatchedEvent(threading.Event):
    """Event whose waiting ends in an error when the thread that sets it has died."""

    def __init__(self, check: Callable[[], None]) -> None:
        super().__init__()
        self._check = check

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the event is set.

        Args:
            timeout: seconds; None for no limit, the thread being looked at.
        """
        if timeout is not None:
            return super().wait(timeout)
        while not super().wait(GLANCE_S):
            self._check()
        return True


class _Watched:
    """Mixin before a learner of IMPALA's kind."""

    _failure: BaseException | None = None

    def build(self) -> None:
        """Build the learner, and watch its thread."""
        super().build()  # type: ignore[misc]
        self._agg_event = _WatchedEvent(self._check_thread)
        queue: Any = self._learner_thread_in_queue  # type: ignore[attr-defined]
        put = queue.put

        def put_watched(item: Any, block: bool = True, timeout: float | None = None) -> Any:
            if not block or timeout is not None:
                return put(item, block=block, timeout=timeout)
            while True:
                self._check_thread()
                try:
                    return put(item, timeout=GLANCE_S)
                except Full:
                    continue

        queue.put = put_watched

    def _update(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super()._update(*args, **kwargs)  # type: ignore[misc]
        except Exception as error:
            self._failure = error
            raise

    def _check_thread(self) -> None:
        thread: threading.Thread = self._learner_thread  # type: ignore[attr-defined]
        if not thread.is_alive():
            cause = self._failure
            raise TrainingError(
                "the learner's thread has died"
                + (f" of {type(cause).__name__}: {cause}" if cause else "; its traceback is above")
            ) from cause


class WatchedIMPALALearner(_Watched, IMPALATorchLearner):
    """IMPALA's learner, its thread watched."""


class WatchedAPPOLearner(_Watched, APPOTorchLearner):
    """APPO's learner, its thread watched."""
