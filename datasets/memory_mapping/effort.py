"""Bound the work of laying a program out, which a short text can make endless."""

from __future__ import annotations

from dataclasses import dataclass

from ...core.errors import InstanceError

MOST_STEPS = 10_000_000  # some 2 seconds
FOR_EACH = 1000  # further steps for each instruction of a text
LAID_OUT, COPIED, PART = 200, 20, 5  # of an instruction, one of a fusion, a part of a tuple


@dataclass(slots=True)
class Effort:
    """Steps spent on a file or model; computations that call each other can double them each time.

    Attributes:
        place: the file or model, for the error message.
        most: steps that may be spent.
        steps: spent so far.
    """

    place: str
    most: int = MOST_STEPS
    steps: int = 0

    def spend(self, steps: int) -> None:
        """Count steps.

        Args:
            steps: how many, of some 0.2 microseconds each.

        Raises:
            InstanceError: there have been more than `most`.
        """
        self.steps += steps
        if self.steps > self.most:
            raise InstanceError(
                f"{self.place}: too large to be laid out as one list of instructions: with what "
                "its computations call, and the parts of its tuples, there are too many; give a "
                "part of the program, or one in which calls do not multiply"
            )
