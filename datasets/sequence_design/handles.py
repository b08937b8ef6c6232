"""Check an oracle's handle, so that a task whose designs cannot be scored is refused when read."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeGuard

from . import rna

MOST_EPISTASIS = 4.0  # beyond, an incomplete motif counts less than nothing
_FACTOR = re.compile(r"\w[\w.\-]*")  # the name of a file in a folder


def handle_fault(handle: Mapping[str, Any], letters: int, length: int) -> str:
    """Return why a handle's parameters are impossible for a task; empty if they are possible.

    Args:
        handle: the landscape's name ("landscape") and its parameters.
        letters: size of the task's alphabet, V.
        length: letters of a sequence, L.
    """
    check = _CHECKS.get(handle["landscape"])
    return check(handle, letters, length) if check else ""


def _ehrlich(handle: Mapping[str, Any], letters: int, length: int) -> str:
    motifs, offsets = handle.get("motifs"), handle.get("offsets")
    steps, epistasis = handle.get("quantization"), handle.get("epistasis")
    if not (_is_table(motifs) and _is_table(offsets)):
        return "motifs and offsets must be lists of lists of whole numbers, all of one length"
    if (len(motifs), len(motifs[0])) != (len(offsets), len(offsets[0])):
        return "motifs and offsets must have the same numbers of rows and columns"
    if not all(0 <= letter < letters for motif in motifs for letter in motif):
        return f"motifs must hold tokens from 0 to {letters - 1}"
    if not all(row[0] == 0 and row == sorted(set(row)) for row in offsets):
        return "each motif's offsets must rise from 0"
    if sum(row[-1] + 1 for row in offsets) > length:
        return f"the motifs with their gaps are longer than a sequence of {length} letters"
    if not _is_whole(steps) or not 1 <= steps <= len(motifs[0]):
        return f"quantization must be a whole number from 1 to {len(motifs[0])}"
    if not isinstance(epistasis, int | float) or not 0 <= epistasis <= MOST_EPISTASIS:
        return f"epistasis must be a number from 0 to {MOST_EPISTASIS:g}"
    return ""


def _tf_binding(handle: Mapping[str, Any], letters: int, length: int) -> str:
    factor = handle.get("factor")
    if not isinstance(factor, str) or not _FACTOR.fullmatch(factor):
        return "factor must be the name of a transcription factor's table"
    return "" if (letters, length) == (4, 8) else "its designs must be DNA 8-mers"


def _gb1(handle: Mapping[str, Any], letters: int, length: int) -> str:
    return "" if (letters, length) == (20, 4) else "its designs must be four amino acids"


def _rna(handle: Mapping[str, Any], letters: int, length: int) -> str:
    targets, region = handle.get("targets"), handle.get("conserved")
    known = range(len(rna.TARGETS))
    if targets is None:
        return ""  # what a handle lacks is said where the oracle is opened
    if not isinstance(targets, list) or not targets or not all(t in known for t in targets):
        return f"targets must be a list of numbers from 0 to {known[-1]}"
    if region is not None:
        keys = isinstance(region, dict) and region.keys() == {"start", "pattern"}
        if not (keys and _is_whole(region["start"]) and isinstance(region["pattern"], str)):
            return "conserved must have a start, from 0, and a pattern of letters"
        if not 0 <= region["start"] <= length - len(region["pattern"]):
            return f"the conserved letters must lie within the {length} of a sequence"
    return "" if letters == len(rna.ALPHABET) else "its designs must be of the four letters of RNA"


def _is_whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_table(value: Any) -> TypeGuard[list[list[int]]]:
    """Whether a value is a list of lists of whole numbers, all of one length of at least 1."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(row, list) and row and all(map(_is_whole, row)) for row in value)
        and len({len(row) for row in value}) == 1
    )


_CHECKS: Mapping[str, Callable[[Mapping[str, Any], int, int], str]] = {
    "ehrlich": _ehrlich, "tf_binding": _tf_binding, "gb1": _gb1, "rna": _rna,
}  # fmt: skip
