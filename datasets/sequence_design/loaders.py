"""Read users' measurements into design tasks: CSV, and Design-Bench's arrays.

The format is recognized by the content, not by the file's name.
"""

from __future__ import annotations

import io
import math
import string
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ...core.errors import InstanceError
from ...core.files import read_bytes
from ...core.instance import load_single
from ..files import NO_SETTINGS, UserFile, naming, read_file
from ..tables import read_table
from .instance import (
    BATCH_SIZE,
    MEASURED,
    DesignTask,
    distinct,
    encode,
    make_task,
)
from .landscape_tables import DNA, PROTEIN
from .rule_settings import tell_defaults, with_file_defaults
from .settings import DEFAULT_SHARE, chosen_alphabet, with_settings

ALPHABETS = (DNA, "ACGU", PROTEIN)
FORMATS = (
    "CSV with the columns sequence and score, arrays of Design-Bench, or an instance saved by this "
    "library"
)
NUMPY_MAGIC = b"\x93NUMPY"


def load_file(path: Path, settings: Mapping[str, str] = NO_SETTINGS) -> DesignTask:
    """Read the task in a user's file.

    Supported are: CSV with the columns `sequence` and `score`; Design-Bench's pair of arrays, given
    the x file (`tf_bind_8-x-0.npy`, its y file beside it); and what this library saved itself
    (.npz, or a .zip set of one instance). Contenders see the lower half of measurements, as in BIB,
    unless the setting `offline` says otherwise; only the oracle has the others.

    Args:
        path: the file.
        settings: texts by the names in SETTINGS; they replace the defaults while the task is made.

    Raises:
        InstanceError: the file is none of these or is malformed; names file, row and remedy.
        SettingError: a setting cannot be used.
    """
    file = read_file(path)
    if file.is_zip:
        return with_settings(load_single(DesignTask, path, file.data), settings)
    if file.data.startswith(NUMPY_MAGIC):
        return _told(_load_arrays(file, with_file_defaults(settings)), settings)
    sequences, scores, places = _read_csv(str(path), file.text(FORMATS))
    full = with_file_defaults(settings)
    task = measured_task(file.stem, str(path), sequences, scores, places, full)
    return _told(task, settings)


def _told(task: DesignTask, settings: Mapping[str, str]) -> DesignTask:
    """Return a file's task after telling its user which rules it has by default."""
    tell_defaults(task, settings)
    return task


def measured_task(
    name: str,
    place: str,
    texts: Sequence[str],
    scores: np.ndarray,
    places: Sequence[str],
    settings: Mapping[str, str] = NO_SETTINGS,
) -> DesignTask:
    """Make a task on a landscape that is known only by measured rows.

    Args:
        name: name of the task.
        place: the file, for error messages.
        texts: N sequences of L letters.
        scores: float64 [N]; measured value of each; higher is better.
        places: N file and row names, for error messages.
        settings: texts by the names in SETTINGS.

    Raises:
        InstanceError: the rows do not make a task.
        SettingError: a setting cannot be used.
    """
    asked = settings.get("alphabet")
    alphabet = chosen_alphabet(asked) if asked else _alphabet(texts, places)
    tokens = encode(alphabet, texts, places)
    return _as_task(name, place, alphabet, tokens, scores, settings)


def _as_task(
    name: str,
    place: str,
    alphabet: str,
    tokens: np.ndarray,
    scores: np.ndarray,
    settings: Mapping[str, str],
) -> DesignTask:
    """Make a task of measured rows; its batch is at most a quarter of the different sequences."""
    first, _ = distinct(tokens)
    with naming(place):
        task = make_task(
            name, alphabet, tokens, scores, {"landscape": MEASURED},
            batch_size=max(1, min(BATCH_SIZE, len(first) // 4)),
        )  # fmt: skip
        return with_settings(task, {"offline": DEFAULT_SHARE, **settings})


def _alphabet(texts: Sequence[str], places: Sequence[str]) -> str:
    """Return the first of ALPHABETS that has every letter of the texts."""
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


def _read_csv(place: str, text: str) -> tuple[list[str], np.ndarray, list[str]]:
    """Return the sequences, their scores float64 [N], and file and row of each."""
    table = read_table(place, text, ("sequence", "score"), ragged=True)
    sequences = [sequence.upper() for sequence in table.names("sequence")]
    scores = table.reals("score", -math.inf, math.inf)
    places = [f"{place}: row {line}" for line, _ in table.rows]
    _one_score_each(sequences, scores, places)
    return sequences, scores, places


def _one_score_each(sequences: list[str], scores: np.ndarray, places: list[str]) -> None:
    seen: dict[str, int] = {}
    for row, sequence in enumerate(sequences):
        first = seen.setdefault(sequence, row)
        if scores[first] != scores[row]:
            raise InstanceError(
                f"{places[row]}: {sequence} has the score {scores[row]:g} here and "
                f"{scores[first]:g} in {places[first]}; keep one, or their mean"
            )


def _load_arrays(file: UserFile, settings: Mapping[str, str]) -> DesignTask:
    """Read Design-Bench's x (integers [N, L]) and y (real [N] or [N, 1])."""
    path = file.path
    other = path.with_name(path.name.replace("-x-", "-y-"))
    if other == path or not other.is_file():
        raise InstanceError(
            f"{path}: an array of Design-Bench needs its other half; give the x file "
            "(NAME-x-0.npy) with the y file (NAME-y-0.npy) beside it"
        )
    x, y = _array(path, file.data), _array(other, read_bytes(other))
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
    scores = y.ravel().astype(np.float64)
    odd = np.flatnonzero(~np.isfinite(scores))
    if odd.size:
        raise InstanceError(
            f"{other}, row {odd[0]}: the score is {scores[odd[0]]}; give a finite number, or drop "
            "the row"
        )
    return _as_task(file.stem, str(path), letters, x.astype(np.int8), scores, settings)


def _array(path: Path, data: bytes) -> np.ndarray:
    try:
        loaded: np.ndarray = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise InstanceError(f"{path}: not a readable array ({error}); copy it again") from error
    return loaded
