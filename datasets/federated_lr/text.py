"""Convert texts by speaker into rows of characters and the characters that follow."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ...core.errors import InstanceError
from .partition import natural

LENGTH = 16  # characters in a row
LEAST_CHARACTERS = 1000  # speakers who say less are not clients
MOST_LETTERS = 256
_SPEAKER = re.compile(r"([^\n:]{1,60}):\s*")


class Rows(NamedTuple):
    """Rows of text.

    Attributes:
        inputs: uint8 [N, L]; characters as indices into the alphabet.
        labels: int64 [N, L]; the character after each.
        owner: int64 [N]; speaker of each row, in order of appearance.
        letters: number of characters in the alphabet.
    """

    inputs: np.ndarray
    labels: np.ndarray
    owner: np.ndarray
    letters: int


def is_play(text: str) -> bool:
    """Whether the first line that is not empty names a speaker ("SPEAKER:")."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    return _SPEAKER.fullmatch(first) is not None


def speeches(text: str) -> dict[str, str]:
    """Collect what each speaker of a play says, in order of appearance.

    A line of a name and a colon after an empty line begins a speech; the name is not part of it.

    Returns:
        Speaker -> all of the lines, joined by newlines.
    """
    said: dict[str, list[str]] = {}
    speaker, after_empty = "", True
    for line in text.splitlines():
        named = _SPEAKER.fullmatch(line) if after_empty else None
        if named:
            speaker = named[1].strip()
        elif line.strip():
            said.setdefault(speaker, []).append(line)
        after_empty = not line.strip()
    return {speaker: "\n".join(lines) for speaker, lines in said.items()}


def rows_of_play(
    place: str, text: str, length: int = LENGTH, least: int = LEAST_CHARACTERS
) -> Rows:
    """Cut the text of each speaker that says enough into consecutive rows.

    Args:
        place: the file, for error messages.
        text: "SPEAKER:" and lines, an empty line between speeches.
        length: characters in a row, L.
        least: characters that a speaker must say.

    Raises:
        InstanceError: no speaker says enough, or the text has more than 256 different characters.
    """
    said = speeches(text)
    kept = [speech for speech in said.values() if len(speech) >= max(least, length + 1)]
    if not kept:
        most = max(map(len, said.values()), default=0)
        raise InstanceError(
            f"{place}: nobody of {len(said)} speakers says {least} characters (the most are {most})"
            "; give a longer text"
        )
    code = alphabet_of(place, [text])
    inputs, labels = [], []
    for speech in kept:
        codes = np.array([code[letter] for letter in speech])
        count = (len(codes) - 1) // length
        inputs.append(codes[: count * length].reshape(count, length))
        labels.append(codes[1 : count * length + 1].reshape(count, length))
    owner = np.repeat(np.arange(len(kept)), [len(rows) for rows in inputs])
    return Rows(
        np.concatenate(inputs).astype(np.uint8),
        np.concatenate(labels).astype(np.int64),
        owner.astype(np.int64),
        len(code),
    )


def rows_of_samples(
    place: str, users: Sequence[str], before: Sequence[str], after: Sequence[str]
) -> Rows:
    """Convert LEAF's samples, texts of one length with the character after each, to rows.

    Args:
        place: the file, for error messages.
        users: N names, the user of each sample.
        before: N texts of L characters, L at least 1.
        after: N single characters.

    Raises:
        InstanceError: texts of different lengths, or more than 256 different characters.
    """
    length = Counter(map(len, before)).most_common(1)[0][0]
    for user, text, following in zip(users, before, after, strict=True):
        if not length or len(text) != length or len(following) != 1:
            raise InstanceError(
                f"{place}, user {user}: {text[:30]!r} has {len(text)} characters and is followed by"
                f" {following[:10]!r}; expected {max(length, 1)} characters and one after them"
            )
    whole = [text + following for text, following in zip(before, after, strict=True)]
    code = alphabet_of(place, whole)
    codes = np.array([[code[letter] for letter in text] for text in whole])
    return Rows(
        codes[:, :-1].astype(np.uint8),
        codes[:, 1:].astype(np.int64),
        natural(np.array(users)),
        len(code),
    )


def alphabet_of(place: str, texts: Sequence[str]) -> Mapping[str, int]:
    """Number the different characters of texts in sorted order.

    Args:
        place: the file, for error messages.
        texts: the texts.

    Returns:
        Character -> its index.

    Raises:
        InstanceError: there are more than 256.
    """
    letters = sorted(set().union(*texts))
    if len(letters) > MOST_LETTERS:
        raise InstanceError(
            f"{place}: has {len(letters)} different characters, at most {MOST_LETTERS} can be "
            "learned; replace the rare ones"
        )
    return {letter: number for number, letter in enumerate(letters)}
