"""Notes to the user: what a reader decided or left out, said without refusing the file."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class InputNote(UserWarning):
    """What was decided about a user's input that its owner should know."""


def note(message: str) -> None:
    """Tell the user something about an input: a warning in Python, a line "note: ..." in commands.

    Args:
        message: names the place, says what was decided, and how to have it otherwise.
    """
    warnings.warn(message, InputNote, stacklevel=2)


@contextmanager
def told_to(tell: Callable[[str], None]) -> Iterator[None]:
    """Hand the notes of the block to a function, each once; other warnings stay as they are.

    Args:
        tell: gets a message.
    """
    told: set[str] = set()
    with warnings.catch_warnings():
        warnings.simplefilter("always", InputNote)
        others = warnings.showwarning

        def show(message: Any, category: type[Warning], *place: Any, **more: Any) -> None:
            if not issubclass(category, InputNote):
                others(message, category, *place, **more)
            elif str(message) not in told:
                told.add(str(message))
                tell(str(message))

        warnings.showwarning = show
        yield
