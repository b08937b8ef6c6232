"""What a controller sees: the last rounds in numbers without scale, from the server's statistics
alone.

Losses are ratios to the first, steps are what slopes foretell of them, so that what was learned on
one data set and model speaks of another. A deployed server computes the same; see deploy/flower.
"""

from __future__ import annotations

import numpy as np
from gymnasium import spaces

from .statistics import TINY, Statistics

HISTORY = 4  # rounds seen, the present one first
LIMIT = 5.0  # every feature lies within -LIMIT..LIMIT
FEATURES = (
    "known",  # 1 where the row is of a step that has been
    "has_update",  # 1 where an update is in hand
    "progress",  # rounds done, as a part of all
    "left",  # logarithm of the rounds to come
    "loss",  # validation loss over the first, log10
    "loss_change",  # its last change, natural logarithm, times 5
    "over_best",  # validation loss over the least so far, log10
    "accuracy",  # of the validation rows
    "train_loss",  # participants' over the first validation loss, log10
    "alpha",  # log10
    "beta",  # log10, halved
    "promise",  # what the update should gain of the loss at rate alpha to first order, log10
    "gain",  # what was gained, as a part of the last promise
    "straightness",  # of the clients' paths: update over rate times slope, log10
    "dispersion",  # of the clients' updates: mean square over square of the mean, log10
    "cosine",  # of the update in hand and the one before
)


def observation_space(actions: int | None) -> spaces.Dict:
    """Of `rounds` and, where there are discrete actions, their mask."""
    parts: dict[str, spaces.Space[np.ndarray]] = {
        "rounds": spaces.Box(-LIMIT, LIMIT, (HISTORY, len(FEATURES)), np.float32)
    }
    if actions is not None:
        parts["action_mask"] = spaces.Box(0, 1, (actions,), np.int8)
    return spaces.Dict(parts)


class Observer:
    """Remembers the last rounds of some lanes."""

    def __init__(self, lanes: int) -> None:
        self.rounds = np.zeros((lanes, HISTORY, len(FEATURES)), np.float32)
        self._loss, self._best, self._promise = np.zeros((3, lanes))

    def begin(self, s: Statistics, lanes: np.ndarray) -> None:
        """Lanes int64 [n] begin anew."""
        self.rounds[lanes] = 0.0
        self._loss[lanes] = self._best[lanes] = s.validation_loss[lanes]
        self._promise[lanes] = 0.0
        self.look(s, lanes)

    def look(self, s: Statistics, lanes: np.ndarray) -> None:
        """Takes a step of the lanes in; `rounds` [E, HISTORY, F] then has it first."""
        now = _features(s, lanes, self._loss[lanes], self._best[lanes], self._promise[lanes])
        self.rounds[lanes, 1:] = self.rounds[lanes, :-1]
        self.rounds[lanes, 0] = now
        self._loss[lanes] = s.validation_loss[lanes]
        self._best[lanes] = np.minimum(self._best[lanes], s.validation_loss[lanes])
        self._promise[lanes] = _promise(s, lanes)

    def fork(self) -> Observer:
        """One that goes its own way."""
        twin = Observer(0)
        twin.rounds = self.rounds.copy()
        twin._loss, twin._best = self._loss.copy(), self._best.copy()
        twin._promise = self._promise.copy()
        return twin


def _promise(s: Statistics, lanes: np.ndarray) -> np.ndarray:
    """Loss that the update in hand should gain at the present alpha, to first order."""
    with np.errstate(over="ignore"):
        promise: np.ndarray = s.alpha[lanes] * s.gradient_norm[lanes] * s.update_norm[lanes]
    return promise


def _features(
    s: Statistics, lanes: np.ndarray, loss: np.ndarray, best: np.ndarray, promise: np.ndarray
) -> np.ndarray:
    """Float32 [n, F] by FEATURES, from the losses and the promise of the step before."""
    step, rounds = s.step[lanes], s.rounds[lanes]
    now, first = s.validation_loss[lanes], s.initial_loss[lanes]
    update, slope = s.update_norm[lanes], s.gradient_norm[lanes]
    has_update = (step > 0) & (update > 0)
    done = np.maximum(step - 1, 0)
    square = update**2
    with np.errstate(all="ignore"):
        columns = {
            "known": np.ones(len(lanes)),
            "has_update": step > 0,
            "progress": done / rounds,
            "left": np.log10(np.maximum(rounds - done, 1)),
            "loss": _log(now, first),
            "loss_change": 5.0 * (np.log(loss + TINY) - np.log(now + TINY)),
            "over_best": _log(now, best),
            "accuracy": s.validation_accuracy[lanes],
            "train_loss": _log(s.train_loss[lanes], first),
            "alpha": np.log10(s.alpha[lanes]),
            "beta": np.log10(s.beta[lanes]) / 2.0,
            "promise": np.where(has_update, _log(_promise(s, lanes), now), 0.0),
            "gain": np.where(promise > TINY, (loss - now) / np.maximum(promise, TINY), 0.0),
            "straightness": np.where(has_update, _log(update, s.beta[lanes] * slope), 0.0),
            "dispersion": np.where(has_update, _log(s.mean_square_norm[lanes], square), 0.0),
            "cosine": s.cosine[lanes],
        }
    rows = np.nan_to_num(
        np.stack([columns[name] for name in FEATURES], axis=1), nan=0.0, posinf=LIMIT, neginf=-LIMIT
    )
    features: np.ndarray = np.clip(rows, -LIMIT, LIMIT).astype(np.float32)
    return features


def _log(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    logarithm: np.ndarray = np.log10((above + TINY) / (below + TINY))
    return logarithm
