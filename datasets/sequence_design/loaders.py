"""Read users' measurements into design tasks: tables, and Design-Bench's arrays.

The format is recognized by the content, not by the file's name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ...core.errors import InstanceError
from ...core.instance import load_single
from ..files import NO_SETTINGS, naming, read_file
from ..setting_texts import choice
from .arrays import NUMPY_MAGIC, read_arrays
from .equality import first_of_each
from .instance import BATCH_SIZE, MEASURED, DesignTask, encode, make_task
from .letters import alphabet_of, readable
from .replicates import joined
from .rule_settings import tell_defaults, with_file_defaults
from .settings import DEFAULT_SHARE, READING, chosen_alphabet, with_settings
from .tables import read_measurements

FORMATS = (
    "a table with the columns sequence and score, arrays of Design-Bench, or an instance saved by "
    "this library"
)
SMALLER = "keep the columns of the sequences and the scores alone and pack the file (gzip)"


def load_file(path: Path, settings: Mapping[str, str] = NO_SETTINGS) -> DesignTask:
    """Read the task in a user's file, plain or packed.

    Supported are: tables of sequences and scores (see `tables.read_measurements`); Design-Bench's
    arrays, given one of them (`tf_bind_8-x-0.npy`; the others are found beside it); and what this
    library saved itself (.npz, or a .zip set of one instance). Contenders see the lower half of
    measurements, as in BIB, unless the setting `offline` says otherwise; only the oracle has the
    others.

    Args:
        path: the file.
        settings: texts by the names in SETTINGS; they replace the defaults while the task is made.

    Raises:
        InstanceError: the file is none of these or is malformed; names file, row and remedy.
        SettingError: a setting cannot be used.
    """
    file = read_file(path, SMALLER)
    if file.is_zip:
        return with_settings(load_single(DesignTask, path, file.data), settings)
    full = with_file_defaults(settings)
    if file.data.startswith(NUMPY_MAGIC):
        found = read_arrays(file, full)
        task = _as_task(
            found.name, str(path), found.alphabet, found.tokens, found.scores, found.places, full
        )
    else:
        text = file.text(FORMATS)
        if text.lstrip().startswith(("{", "[", "<")):
            raise InstanceError(f"{path}: not a known format; give {FORMATS}")
        read = read_measurements(str(path), text, full)
        task = measured_task(file.stem, str(path), *read[:3], full, read.wild_type)
    tell_defaults(task, settings)
    return task


def measured_task(
    name: str,
    place: str,
    texts: Sequence[str],
    scores: np.ndarray,
    places: Sequence[str],
    settings: Mapping[str, str] = NO_SETTINGS,
    wild_type: str = "",
) -> DesignTask:
    """Make a task on a landscape that is known only by measured rows.

    Args:
        name: name of the task.
        place: the file, for error messages.
        texts: N sequences of L letters.
        scores: float64 [N]; measured value of each; higher is better.
        places: N file and row names, for error messages.
        settings: texts by the names in SETTINGS.
        wild_type: L letters, the sequence that the measured ones are mutants of; empty for none.

    Raises:
        InstanceError: the rows do not make a task.
        SettingError: a setting cannot be used.
    """
    texts = [text.upper() for text in texts]
    asked = settings.get("alphabet")
    alphabet = chosen_alphabet(asked) if asked else alphabet_of(texts, places)
    drop = choice(settings, "odd_letters", ("refuse", "drop")) == "drop"
    kept = np.flatnonzero(readable(texts, places, alphabet, drop)).tolist()
    places = [places[row] for row in kept]
    tokens = encode(alphabet, [texts[row] for row in kept], places)
    return _as_task(name, place, alphabet, tokens, scores[kept], places, settings, wild_type)


def _as_task(
    name: str,
    place: str,
    alphabet: str,
    tokens: np.ndarray,
    scores: np.ndarray,
    places: Sequence[str],
    settings: Mapping[str, str],
    wild_type: str = "",
) -> DesignTask:
    """Make a task of measured rows; its batch is at most a quarter of the different sequences."""
    with naming(place):
        tokens, scores = joined(place, tokens, scores, places, settings)
        rest = {key: text for key, text in settings.items() if key not in READING}
        different = np.count_nonzero(first_of_each(tokens) == np.arange(len(tokens)))
        task = make_task(
            name, alphabet, tokens, scores, {"landscape": MEASURED},
            batch_size=max(1, min(BATCH_SIZE, int(different) // 4)), wild_type=wild_type,
        )  # fmt: skip
        return with_settings(task, {"offline": DEFAULT_SHARE, **rest})
