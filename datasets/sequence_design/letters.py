"""Tell what the letters of sequences are: DNA, RNA or protein; and what is wrong with others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from ...core.errors import InstanceError
from ...core.notes import note
from .landscape_tables import DNA, PROTEIN

RNA = "ACGU"
# Sequences of which so many letters are bases are DNA or RNA; of proteins, about a quarter are.
BASES_SHARE = 0.75
CHUNK = 2**16  # texts that are looked at together
_BASES = frozenset("ACGTUN")
_WHY = {
    "*": "is a stop codon", "-": "is a gap of an alignment", ".": "is a gap of an alignment",
    "X": "stands for any residue", "B": "stands for D or N", "Z": "stands for E or Q",
    "J": "stands for I or L", "U": "is selenocysteine", "O": "is pyrrolysine",
}  # fmt: skip


def letter_counts(texts: Sequence[str]) -> dict[str, int]:
    """Count the letters of some texts; many times faster than a Counter where all are of Latin-1.

    Args:
        texts: any texts, at most CHUNK, as they are joined.
    """
    joined = "".join(texts)
    try:
        codes = np.frombuffer(joined.encode("latin-1"), np.uint8)
    except UnicodeEncodeError:
        return Counter(joined)
    counts = np.bincount(codes, minlength=1)
    return {chr(code): int(counts[code]) for code in np.flatnonzero(counts)}


def alphabet_of(texts: Sequence[str], places: Sequence[str]) -> str:
    """Return the alphabet of sequences; a few odd letters do not change it.

    Args:
        texts: N sequences in capitals.
        places: N file and row names, for error messages.

    Raises:
        InstanceError: T and U are mixed.
    """
    counts = Counter[str]()
    for first in range(0, len(texts), CHUNK):
        counts.update(letter_counts(texts[first : first + CHUNK]))
    bases = sum(counts[letter] for letter in _BASES)
    if bases < BASES_SHARE * counts.total():
        return PROTEIN
    if counts["T"] and counts["U"]:
        rare, usual = ("U", "T") if counts["U"] <= counts["T"] else ("T", "U")
        row = next(row for row, text in enumerate(texts) if rare in text)
        raise InstanceError(
            f"{places[row]}: T and U are mixed ({usual} {counts[usual]} times, {rare} "
            f"{counts[rare]} times): DNA is written with T, RNA with U; write one of them"
        )
    return RNA if counts["U"] else DNA


def readable(texts: Sequence[str], places: Sequence[str], alphabet: str, drop: bool) -> np.ndarray:
    """Tell which sequences have only letters of the alphabet, bool [N].

    Args:
        texts: N sequences.
        places: N file and row names, for error messages.
        alphabet: the letters.
        drop: whether the others may be left out, which is said; else they are refused.

    Raises:
        InstanceError: a sequence has another letter, or all have.
    """
    kept = np.ones(len(texts), np.bool_)
    for first in range(0, len(texts), CHUNK):
        part = texts[first : first + CHUNK]
        if not letter_counts(part).keys() <= set(alphabet):
            kept[first : first + CHUNK] = [not set(text).difference(alphabet) for text in part]
    if kept.all():
        return kept
    row = int(np.flatnonzero(~kept)[0])
    letter = next(letter for letter in texts[row] if letter not in alphabet)
    at = texts[row].index(letter) + 1
    kinds = {DNA: f"DNA ({DNA})", RNA: f"RNA ({RNA})", PROTEIN: "proteins"}
    kind = kinds.get(alphabet, alphabet)
    why = _WHY.get(letter, "") if alphabet == PROTEIN or letter in "*-." else ""
    told = f"{letter!r} at position {at} of {shortened(texts[row])} {why and why + ', '}"
    count = np.count_nonzero(~kept)
    if drop and kept.any():
        note(
            f"{places[row]}: {told}{'' if why else 'is '}no letter of {kind}; {count} of "
            f"{len(kept)} rows have such letters, left out"
        )
        return kept
    raise InstanceError(
        f"{places[row]}: {told}{'' if why else 'is '}no letter of {kind}; correct it, or leave out "
        f"the {count} of {len(kept)} rows with such letters by odd_letters=drop (if the letters "
        f"mean something else, set alphabet={'protein' if alphabet != PROTEIN else 'dna'} or spell "
        "it)"
    )


def shortened(text: str) -> str:
    """Quote a sequence for a message, cut off if it is long.

    Args:
        text: the sequence.
    """
    return repr(text) if len(text) <= 40 else f"{text[:37]!r}..."
