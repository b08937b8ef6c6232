"""Read the arrays of Design-Bench (Trabucco et al. 2022): shards of codes or one-hot rows, scores.

Its process/process_raw_*.py number letters by alphabet for tf_bind_8, tf_bind_10 and utr (a, c, g,
t), but those of gfp as a BLOSUM matrix has them.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...core.archives import read_array
from ...core.errors import InstanceError
from ...core.files import files_in
from ...core.notes import note
from ..columns import plain
from ..files import UserFile, read_file
from .instance import MOST_LENGTH, MOST_LETTERS, encode
from .landscape_tables import DNA, PROTEIN
from .letters import alphabet_of, readable
from .measured import WILD_TYPES
from .settings import chosen_alphabet

NUMPY_MAGIC = b"\x93NUMPY"
BLOSUM = "ARNDCQEGHILKMFPSTWYV"  # the order of gfp
_KNOWN = {"tfbind": DNA, "utr": DNA, "gfp": BLOSUM}  # by how the name begins
_NAME = re.compile(r"(.*?)(?<![A-Za-z0-9])([xyXY])((?:[-_.]\d+)?)(\.npy(?:\..+)?)")
MOST_NUMBERS = 2**26  # of an array: they are copied several times
_NEAR = 0.8  # share of letters by which a sequence is one of a known protein's family


class Arrays(NamedTuple):
    """What was read of arrays.

    Attributes:
        name: name of the data set.
        alphabet: V letters.
        tokens: int8 [N, L].
        scores: float64 [N].
        places: N file and row names, for error messages.
    """

    name: str
    alphabet: str
    tokens: np.ndarray
    scores: np.ndarray
    places: list[str]


def read_arrays(file: UserFile, settings: Mapping[str, str]) -> Arrays:
    """Read x, all shards of it (`gfp-x-0.npy`, `gfp-x-1.npy`, ...), and the y beside each.

    x is codes [N, L], one-hot [N, L, V], or letters; y is one number a row. The letters that codes
    stand for follow from the data set's name, which is said where it is none of Design-Bench's.

    Args:
        file: one of the files.
        settings: texts by name; `alphabet` gives the letters in the order of their codes.

    Raises:
        InstanceError: a file is missing or malformed; names file, row and remedy.
        SettingError: the setting cannot be used.
    """
    named = _NAME.fullmatch(file.path.name)
    if named is None:
        raise InstanceError(
            f"{file.path}: an array of Design-Bench needs its other half; call the files "
            "NAME-x-0.npy (sequences) and NAME-y-0.npy (scores), in one folder"
        )
    parts = [_pair(x, y) for x, y in _shards(file.path, *named.groups())]
    shapes = {x.shape[1:] for _, x, _ in parts}
    if len(shapes) > 1:
        raise InstanceError(
            f"{file.path}: its shards hold rows of different shapes, "
            f"{' and '.join(map(str, sorted(shapes)))}; take the odd ones out of the folder"
        )
    if len(parts) > 1:
        note(f"{file.path}: read with the other shards beside it, {len(parts)} in all")
    x, y = (np.concatenate([part[at] for part in parts]) for at in (1, 2))
    places = [f"{path}, row {row}" for path, own, _ in parts for row in range(len(own))]
    name = named[1].rstrip("-_.") or file.stem
    if x.dtype.kind in "US":
        alphabet, tokens = _of_letters(x, places, settings)
    else:
        codes, width = _codes(file.path, x, places, settings)
        alphabet = _alphabet(file.path, name, codes, width, settings)
        tokens = codes.astype(np.int8)
    odd = np.flatnonzero(~np.isfinite(y))
    if odd.size:
        raise InstanceError(
            f"{places[odd[0]]}: the score is {y[odd[0]]}; give a finite number, or drop the row"
        )
    return Arrays(name, alphabet, tokens, y, places)


def _shards(path: Path, head: str, letter: str, number: str, tail: str) -> list[tuple[Path, Path]]:
    """Return the x and y file of each shard, in order of their numbers."""
    x = "x" if letter.islower() else "X"
    y = "y" if letter.islower() else "Y"
    mark = number[:1]
    own = re.compile(re.escape(f"{head}{x}{mark}") + r"(\d+)" + re.escape(tail))
    found = {int(m[1]): p for p in files_in(path.parent) if mark and (m := own.fullmatch(p.name))}
    paths = [found[at] for at in sorted(found)] or [path.with_name(f"{head}{x}{number}{tail}")]
    if found and len(found) <= max(found):
        gap = next(at for at in range(max(found)) if at not in found)
        note(f"{path}: there is no shard {head}{x}{mark}{gap}{tail} beside it")
    pairs = [(p, p.with_name(f"{head}{y}{p.name.removeprefix(head)[1:]}")) for p in paths]
    for pair in pairs:
        for here, other in (pair, pair[::-1]):
            if not here.is_file():
                raise InstanceError(
                    f"{other}: an array of Design-Bench needs its other half; put {here.name} into "
                    f"{here.parent}"
                )
    return pairs


def _pair(x_path: Path, y_path: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    x, y = _array(x_path), _array(y_path)
    if not x.size:
        raise InstanceError(f"{x_path}: holds no sequences")
    if y.size != len(x) or y.dtype.kind not in "fiu":
        raise InstanceError(
            f"{y_path}: has shape {y.shape} and dtype {y.dtype}, expected {len(x)} numbers, one "
            f"for each row of {x_path.name}"
        )
    return x_path, x, y.ravel().astype(np.float64)


def _array(path: Path) -> np.ndarray:
    return read_array(str(path), read_file(path).data)


def _codes(
    path: Path, x: np.ndarray, places: list[str], settings: Mapping[str, str]
) -> tuple[np.ndarray, int]:
    """Return codes int64 [N, L], and how many letters there are; 0 if that is not known."""
    few, many = sorted(x.shape[1:]) if x.ndim == 3 else (0, 0)
    if x.size > MOST_NUMBERS or few > MOST_LETTERS or many > MOST_LENGTH:
        raise InstanceError(
            f"{path}: has shape {x.shape}; give {MOST_NUMBERS:,} numbers at most, and of one-hot "
            f"rows [N, L, V] {MOST_LENGTH} positions and {MOST_LETTERS} letters at most"
        )
    if x.ndim == 3 and x.dtype.kind in "fiub":
        hot = x.astype(np.float64)
        if not np.isclose(hot.sum(axis=2), 1).all() and np.isclose(hot.sum(axis=1), 1).all():
            note(f"{path}: read as one-hot rows [N, V, L], letters on the second axis")
            hot = hot.transpose(0, 2, 1)
        return _from_one_hot(hot, places), hot.shape[2]
    if x.ndim != 2 or x.dtype.kind not in "iuf":
        raise InstanceError(
            f"{path}: has shape {x.shape} and dtype {x.dtype}, expected whole numbers [N, L] or "
            "one-hot rows [N, L, V]"
        )
    if x.dtype.kind == "f" and not (np.isfinite(x).all() and (x == np.floor(x)).all()):
        raise InstanceError(
            f"{path}: has dtype {x.dtype} and broken numbers, expected whole numbers [N, L]; undo "
            "what turned letters into features (Design-Bench: task.map_to_integers())"
        )
    given = _asked(settings)
    for letters in (len(given),) if given else (4, 20):
        blocks = x.reshape(len(x), -1, letters) if x.shape[1] % letters == 0 else None
        if blocks is not None and x.max() == 1 and x.min() == 0 and (blocks.sum(axis=2) == 1).all():
            note(f"{path}: read as one-hot letters, {letters} numbers each")
            return _from_one_hot(blocks.astype(np.float64), places), letters
    low = int(x.min())
    if low < 0:
        row = int(np.argwhere(x < 0)[0, 0])
        raise InstanceError(f"{places[row]}: has the code {low}; codes count from 0")
    if x.max() >= MOST_LETTERS:
        row = int(np.argwhere(x >= MOST_LETTERS)[0, 0])
        raise InstanceError(
            f"{places[row]}: has the code {x.max()}; codes count letters, {MOST_LETTERS} at most"
        )
    return x.astype(np.int64), 0


def _from_one_hot(x: np.ndarray, places: list[str]) -> np.ndarray:
    """Return the place of the one in each one-hot letter; float64 [N, L, V] -> int64 [N, L]."""
    most = x.max(axis=2, keepdims=True)
    # Softened rows, as Design-Bench interpolates, are shares with one that is greatest.
    good = np.isclose(x.sum(axis=2), 1) & ((x == most).sum(axis=2) == 1) & (x.min(axis=2) >= 0)
    if not good.all():
        row, at = np.argwhere(~good)[0]
        raise InstanceError(
            f"{places[row]}: the numbers of letter {at}, {np.array2string(x[row, at][:6])}, are no "
            "shares with one greatest; give one-hot rows or codes"
        )
    codes: np.ndarray = x.argmax(axis=2)
    return codes


def _alphabet(
    path: Path, name: str, codes: np.ndarray, width: int, settings: Mapping[str, str]
) -> str:
    """Return the letters that codes stand for."""
    count = max(width, int(codes.max()) + 1)
    given = _asked(settings)
    known = next((v for k, v in _KNOWN.items() if plain(name).startswith(k)), "")
    if not given and count <= len(known) and width in (0, len(known)):
        return known
    if given:
        if count > len(given):
            raise InstanceError(
                f"{path}: has {count} codes, but alphabet={given} has {len(given)} letters"
            )
        return given
    if count > 30:
        raise InstanceError(f"{path}: has codes up to {count - 1}; at most 30 letters are read")
    letters = _guess(codes, count)
    note(
        f"{path}: codes 0, 1, 2, ... are read as the letters {letters}; if they mean others, set "
        "alphabet=LETTERS in the order of the codes"
    )
    return letters


def _guess(codes: np.ndarray, count: int) -> str:
    if count <= 2:
        return "01"
    if count <= 4:
        return DNA
    if count > 20:
        return (PROTEIN + string.digits)[:count]
    # The order by which the first sequence is one of a protein that is known.
    for order in (BLOSUM, PROTEIN):
        text = "".join(order[code] for code in codes[0])
        for wild in WILD_TYPES.values():
            same = sum(a == b for a, b in zip(text[-len(wild) :], wild, strict=False))
            if len(text) in (len(wild), len(wild) + 1) and same > _NEAR * len(wild):
                return order
    return PROTEIN


def _of_letters(
    x: np.ndarray, places: list[str], settings: Mapping[str, str]
) -> tuple[str, np.ndarray]:
    texts = ["".join(row).upper() for row in np.atleast_2d(x.astype(str).reshape(len(x), -1))]
    alphabet = _asked(settings) or alphabet_of(texts, places)
    readable(texts, places, alphabet, drop=False)
    return alphabet, encode(alphabet, texts, places)


def _asked(settings: Mapping[str, str]) -> str:
    """Return the letters that the setting `alphabet` gives; empty if it is not given."""
    return chosen_alphabet(settings["alphabet"]) if "alphabet" in settings else ""
