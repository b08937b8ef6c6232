"""Reads users' measurements into design tasks: CSV, and Design-Bench's arrays.

The format is told from the content, never from the file's name.
"""

from __future__ import annotations

import csv
import io
import math
import string
from pathlib import Path

import numpy as np

from ...core.errors import InstanceError
from ...core.files import read_bytes
from ...core.instance import load_single
from .instance import (
    BATCH_SIZE,
    MEASURED,
    DesignTask,
    distinct,
    encode,
    make_task,
)
from .settings import DEFAULT_SHARE, with_settings
from .tables import DNA, PROTEIN

ALPHABETS = (DNA, "ACGU", PROTEIN)
NUMPY_MAGIC = b"\x93NUMPY"


def load_file(path: Path) -> DesignTask:
    """The task in a user's file.

    Read are: CSV with the columns `sequence` and `score`; Design-Bench's pair of arrays, given the
    x file (`tf_bind_8-x-0.npy`, its y file beside it); and what this library saved itself (.npz, or
    a .zip set of one instance). Of measurements the lower half is shown, as in BIB, the rest is
    for the oracle alone; the setting `offline` says otherwise.

    Raises:
        InstanceError: the file is none of these or is malformed; names file, row and remedy.
    """
    data = read_bytes(path)
    if data.startswith(b"PK\x03\x04"):
        return load_single(DesignTask, path, data)
    name = path.name.split(".")[0]
    if data.startswith(NUMPY_MAGIC):
        return _load_arrays(path, name, data)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InstanceError(f"{path}: neither text nor an archive ({error.reason})") from error
    sequences, scores, places = _read_csv(path, text)
    return measured_task(name, str(path), sequences, scores, places)


def measured_task(
    name: str, place: str, texts: list[str], scores: list[float], places: list[str]
) -> DesignTask:
    """A task on a landscape known by these rows alone; `places` names each row in errors.

    Raises:
        InstanceError: the rows make no task.
    """
    if not texts:
        raise InstanceError(f"{place}: holds no sequences; give rows of sequence,score")
    alphabet = _alphabet(texts, places)
    return _as_task(name, place, alphabet, encode(alphabet, texts, places), scores)


def _as_task(
    name: str, place: str, alphabet: str, tokens: np.ndarray, scores: list[float]
) -> DesignTask:
    """A batch that the rows cannot pad is made smaller, half of them at most."""
    first, _ = distinct(tokens)
    try:
        task = make_task(
            name, alphabet, tokens, np.asarray(scores), {"landscape": MEASURED},
            batch_size=max(1, min(BATCH_SIZE, len(first) // 4)),
        )  # fmt: skip
        return with_settings(task, {"offline": DEFAULT_SHARE})
    except InstanceError as error:
        raise InstanceError(f"{place}: {error}") from error


def _alphabet(texts: list[str], places: list[str]) -> str:
    """The first of the known alphabets that holds every letter."""
    letters = set().union(*texts)
    for alphabet in ALPHABETS:
        if letters <= set(alphabet):
            return alphabet
    odd = sorted(letters - set(PROTEIN))
    if odd:
        row = next(row for row, text in enumerate(texts) if odd[0] in text)
        raise InstanceError(
            f"{places[row]}: {odd[0]!r} in {texts[row]!r} is no letter of DNA, RNA ({ALPHABETS[1]})"
            " or proteins; correct it or drop the row"
        )
    return PROTEIN


def _read_csv(path: Path, text: str) -> tuple[list[str], list[float], list[str]]:
    delimiter = "\t" if "\t" in text.partition("\n")[0] else ","
    rows = csv.reader(io.StringIO(text), delimiter=delimiter)
    try:
        header = [cell.strip().lower() for cell in next(rows, [])]
        if "sequence" not in header or "score" not in header:
            raise InstanceError(
                f"{path}: the first line is {','.join(header)[:80]!r}; it must name the columns "
                "sequence and score"
            )
        at, value = header.index("sequence"), header.index("score")
        sequences, scores, places = [], [], []
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            place = f"{path}, line {rows.line_num}"
            if len(row) <= max(at, value):
                raise InstanceError(f"{place}: has {len(row)} cells, expected {len(header)}")
            sequence = row[at].strip().upper()
            if not sequence:
                raise InstanceError(f"{place}: the sequence is empty; drop the row")
            sequences.append(sequence)
            scores.append(_score(row[value], place))
            places.append(place)
    except csv.Error as error:
        raise InstanceError(f"{path}, line {rows.line_num}: not CSV ({error})") from error
    _one_score_each(sequences, scores, places)
    return sequences, scores, places


def _score(cell: str, place: str) -> float:
    try:
        score = float(cell)
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise InstanceError(
            f"{place}: the score is {cell.strip()!r}; give a finite number, or drop the row"
        )
    return score


def _one_score_each(sequences: list[str], scores: list[float], places: list[str]) -> None:
    seen: dict[str, int] = {}
    for row, sequence in enumerate(sequences):
        first = seen.setdefault(sequence, row)
        if scores[first] != scores[row]:
            raise InstanceError(
                f"{places[row]}: {sequence} has the score {scores[row]:g} here and "
                f"{scores[first]:g} in {places[first]}; keep one, or their mean"
            )


def _load_arrays(path: Path, name: str, data: bytes) -> DesignTask:
    """Design-Bench's x (whole numbers [N, L]) and y (real [N] or [N, 1])."""
    other = path.with_name(path.name.replace("-x-", "-y-"))
    if other == path or not other.is_file():
        raise InstanceError(
            f"{path}: an array of Design-Bench needs its other half; give the x file "
            "(NAME-x-0.npy) with the y file (NAME-y-0.npy) beside it"
        )
    x, y = _array(path, data), _array(other, read_bytes(other))
    if x.ndim != 2 or x.dtype.kind not in "iu":
        raise InstanceError(
            f"{path}: has shape {x.shape} and dtype {x.dtype}, expected whole numbers [N, L]"
        )
    if y.size != len(x) or y.dtype.kind not in "fiu":
        raise InstanceError(
            f"{other}: has shape {y.shape} and dtype {y.dtype}, expected {len(x)} numbers, one for "
            f"each row of {path.name}"
        )
    if not x.size:
        raise InstanceError(f"{path}: holds no sequences")
    low, high = int(x.min()), int(x.max())
    letters = {4: DNA, 20: PROTEIN}.get(high + 1, (PROTEIN + string.digits)[: high + 1])
    if low < 0 or high >= len(letters) or high < 1:
        row = int(np.argwhere((x < 0) | (x >= len(letters)))[0, 0]) if low != high else 0
        raise InstanceError(f"{path}, row {row}: tokens in {low}..{high}; expected 0..29 at most")
    scores = [_score(str(value), f"{other}, row {row}") for row, value in enumerate(y.ravel())]
    return _as_task(name, str(path), letters, x.astype(np.int8), scores)


def _array(path: Path, data: bytes) -> np.ndarray:
    try:
        loaded: np.ndarray = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise InstanceError(f"{path}: not a readable array ({error}); copy it again") from error
    return loaded
