"""Messages between the judge and a contender's process.

What the judge sends is pickled: the process that it started may trust it. What comes back is
MessagePack of the types declared here, read without running any code, and a plan is an array of
checked type, shape and size: whatever else arrives is refused, and costs its contender one row.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from ..core.budget import Budget
from ..core.registry import Tables
from ..core.solution import Incumbent, Solution, Status, whole_rows

MOST_BYTES = 2**28  # of an answer: a plan of a million steps with 30 incumbents
MOST_TEXT = 2000  # characters of an error
CLOCK_GRACE_S = 0.02  # by which an incumbent may be dated after the answer: two clocks


class AnswerError(ValueError):
    """An answer that the judge refuses to read."""


@dataclass(frozen=True)
class Start:
    """Which contender to run; pickled.

    Attributes:
        family: name of the family.
        contender: name of the contender.
        budget: the budget of each run.
        registry: the judge's registry, with what was registered at run time.
        search_path: the judge's sys.path.
    """

    family: str
    contender: str
    budget: Budget
    registry: Tables
    search_path: list[str]


@dataclass(frozen=True)
class Plan:
    """Ask a planner for a plan; pickled.

    Attributes:
        number: to be repeated in the answer, so that no answer is given before its question.
        instance: as the contender sees it.
        budget: the run's limits.
        seed: seed of the contender.
        world_seed: seed of the environment for an oracle; 0 for all others.
    """

    number: int
    instance: Any
    budget: Budget
    seed: int
    world_seed: int


@dataclass(frozen=True)
class Begin:
    """Ask a player to begin an episode; pickled.

    Attributes:
        number: to be repeated in the answer.
        instance: as the policy sees it.
        budget: limits of the whole episode.
        seed: seed of the policy.
    """

    number: int
    instance: Any
    budget: Budget
    seed: int


@dataclass(frozen=True)
class Observe:
    """Ask a player for its next action; pickled.

    Attributes:
        number: to be repeated in the answer.
        observation: as the environment made it.
        info: the info that came with it.
    """

    number: int
    observation: Any
    info: Mapping[str, Any]


Question = Plan | Begin | Observe


@dataclass(frozen=True)
class Rest:
    """Ask a process to make ready for the next question, outside all measured time; pickled."""


class Ready(msgspec.Struct, tag=True, frozen=True):
    """The process waits for the next message."""


class Failed(msgspec.Struct, tag=True, frozen=True):
    """The contender raised an exception.

    Attributes:
        number: of the question; 0 before the first one.
        error: the exception in one line.
    """

    number: int
    error: str


class Array(msgspec.Struct, frozen=True):
    """An int64 array.

    Attributes:
        shape: its axes, at most two.
        data: its elements in C order, little-endian.
    """

    shape: list[int]
    data: bytes

    @classmethod
    def of(cls, array: np.ndarray) -> Array:
        """Encode an array of whole numbers."""
        return cls(list(array.shape), np.ascontiguousarray(array, dtype="<i8").tobytes())

    def decoded(self) -> np.ndarray:
        """Return the array, int64.

        Raises:
            AnswerError: its bytes are not those of its shape, or it has more than two axes.
        """
        if len(self.shape) > 2 or any(length < 0 for length in self.shape):
            raise AnswerError(f"actions of shape {self.shape}; one row per step is needed")
        if math.prod(self.shape) * 8 != len(self.data):
            raise AnswerError(f"{len(self.data)} bytes for actions of shape {self.shape}")
        return np.frombuffer(self.data, dtype="<i8").astype(np.int64).reshape(self.shape)


class Dated(msgspec.Struct, frozen=True):
    """An incumbent; see core.solution.Incumbent."""

    seconds: float
    actions: Array


class Planned(msgspec.Struct, tag=True, frozen=True):
    """A planner's answer; see core.solution.Solution for the fields."""

    number: int
    actions: Array
    status: Status
    bound: float | None
    incumbents: list[Dated]

    def solution(self, wall_s: float) -> Solution:
        """Return the answer as a solution.

        Args:
            wall_s: seconds from the question to the answer, by the judge's clock.

        Raises:
            AnswerError: a plan is no array of rows, a bound is no number, or an incumbent was not
                found between the question and the answer, in order.
        """
        incumbents, last = [], 0.0
        for at, dated in enumerate(self.incumbents):
            if not last <= dated.seconds <= wall_s + CLOCK_GRACE_S:
                raise AnswerError(
                    f"incumbent {at} is dated {dated.seconds:.3f} s, after one of {last:.3f} s and "
                    f"in an answer of {wall_s:.3f} s"
                )
            last = dated.seconds
            incumbents.append(Incumbent(min(last, wall_s), _rows(dated.actions)))
        if self.bound is not None and math.isnan(self.bound):
            raise AnswerError("a bound that is no number; give None without a proof")
        return Solution(_rows(self.actions), self.status, self.bound, tuple(incumbents))


class Begun(msgspec.Struct, tag=True, frozen=True):
    """A player has begun an episode."""

    number: int


class Acted(msgspec.Struct, tag=True, frozen=True):
    """A player's answer: its next action, an int64 scalar or vector."""

    number: int
    action: Array


Answer = Planned | Begun | Acted | Failed
_reader = msgspec.msgpack.Decoder(Ready | Planned | Begun | Acted | Failed)
_writer = msgspec.msgpack.Encoder()


def encode(message: Ready | Answer) -> bytes:
    """Encode a message to the judge."""
    return _writer.encode(message)


def decode(data: bytes) -> Ready | Answer:
    """Decode a message from a contender's process.

    Raises:
        AnswerError: not a message of a declared type.
    """
    try:
        message: Ready | Answer = _reader.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise AnswerError(f"not a message of this version ({error})") from error
    return message


def planned(number: int, solution: Solution) -> Planned:
    """Return a solution as a message.

    Args:
        number: of the question.
        solution: what a contender returned.

    Raises:
        TypeError: a field of the solution is not of its type.
    """
    bound = solution.bound
    if bound is not None:
        if isinstance(bound, bool) or not isinstance(bound, int | float | np.number):
            raise TypeError(f"its bound is {bound!r:.80}; give a number, or None without a proof")
        bound = float(bound)
        bound = None if math.isnan(bound) else bound
    if solution.status not in ("optimal", "feasible"):
        raise TypeError(f"its status is {solution.status!r:.80}; give 'optimal' or 'feasible'")
    incumbents = [
        Dated(float(one.seconds), Array.of(whole_rows(one.actions))) for one in solution.incumbents
    ]
    plan = Array.of(whole_rows(solution.actions))
    return Planned(number, plan, solution.status, bound, incumbents)


def one_line(error: BaseException, plain: bool) -> str:
    """Return an exception in one line that can be sent.

    Args:
        error: the exception.
        plain: whether to leave out its type.
    """
    text = str(error) if plain else f"{type(error).__name__}: {error}"
    return text[:MOST_TEXT].encode("utf-8", "backslashreplace").decode()


def _rows(actions: Array) -> np.ndarray:
    rows = actions.decoded()
    if rows.ndim == 0:
        raise AnswerError("a plan that is a single number; one row per step is needed")
    return rows
