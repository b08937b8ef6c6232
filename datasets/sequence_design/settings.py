"""Settings a user may put on a design task, and how they are read."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...core.contracts import Setting
from ...core.errors import InstanceError, SettingError
from ..setting_texts import cut, whole
from .instance import (
    BATCH_SIZE,
    MOST_DESIGNS,
    MOST_LETTERS,
    MOST_ROUNDS,
    START_POOL,
    DesignTask,
)
from .landscape_tables import DNA, PROTEIN
from .rule_settings import RULE_SETTINGS, with_rules

DEFAULT_SHARE = "0.5"  # share of the rows, lowest scores first, that contenders see

# How a user's file is read; nothing that can be changed in a task.
READING: Mapping[str, Setting] = {
    "sequence_column": Setting("sequence, ...", "column of the sequences, by name or place from 1"),
    "score_column": Setting("score, DMS_score, target, ...", "column of the scores, likewise"),
    "mutation_column": Setting("mutant, ...", "column of mutations such as A23G:K5R, likewise"),
    "first_position": Setting("1, or what fits", "number of the wild type's first letter there"),
    "odd_letters": Setting("refuse", "rows with letters outside the alphabet: refuse or drop"),
    "replicates": Setting(
        "mean", "score of a sequence measured several times: mean, median, max, min, or refuse"
    ),
}
SETTINGS: Mapping[str, Setting] = {
    "batch": Setting(str(BATCH_SIZE), "designs asked for in a round"),
    "rounds": Setting("1", "batches, each made when the scores of those before it are known"),
    "offline": Setting(
        f"{DEFAULT_SHARE} of measured rows, else 1",
        "share of the rows, lowest scores first, that contenders see; 1 to design for real",
    ),
    "minimize": Setting("0", "1 if lower measured values are better"),
    "alphabet": Setting(
        "that of the letters found",
        "letters that designs are made of, or dna, rna, protein; of arrays, in the order of codes",
    ),
    **RULE_SETTINGS,
    **READING,
}
ALPHABETS = {"dna": DNA, "rna": "ACGU", "protein": PROTEIN}
YES_OR_NO = {"1": 1, "yes": 1, "true": 1, "0": 0, "no": 0, "false": 0}


def with_settings(task: DesignTask, values: Mapping[str, str]) -> DesignTask:
    """Return a task with settings applied, all at once.

    Args:
        task: any task.
        values: texts by the names in SETTINGS, as given by `--set`. `batch` is the number of
            designs asked for in each of `rounds` rounds. `offline` is the share of the rows, lowest
            scores first, that contenders see; all rows of a measured landscape are divided again,
            and the others are hidden. `minimize` negates the scores, and back; the rows are divided
            again. `alphabet` may hold letters that were not measured. The others are rules; see
            rule_settings.py.

    Raises:
        SettingError: a value cannot be used.
        InstanceError: the settings leave no possible task.
    """
    reading = next((key for key in values if key in READING), None)
    if reading:
        raise SettingError(
            f"{reading}={values[reading]!r}: says how a table or arrays are read, and "
            f"{task.name} is neither"
        )
    if "alphabet" in values:
        task = _with_alphabet(task, chosen_alphabet(values["alphabet"]))
    share = len(task.scores) / (len(task.scores) + len(task.hidden_scores))
    if "minimize" in values:
        negated = _yes_or_no("minimize", values["minimize"])
        if negated != task.negated:
            task = _with_sign(task, negated)
            values = {"offline": f"{share}", **values}
    changes: dict[str, Any] = {}
    if "offline" in values:
        changes |= _divided_rows(task, _share(values["offline"]))
    if "batch" in values:
        changes["batch_size"] = whole(values, "batch", MOST_DESIGNS, 1)
    if "rounds" in values:
        changes["further_rounds"] = whole(values, "rounds", MOST_ROUNDS, 1) - 1
    if changes:
        task = dataclasses.replace(task, **changes)
    if "offline" in values and len(task.references) > 1 and "max_mutations" not in values:
        values = {**values, "max_mutations": "measured"}  # the old references may be hidden now
    return with_rules(task, values)


def chosen_alphabet(text: str) -> str:
    """Read the letters that a setting `alphabet` names.

    Raises:
        SettingError: fewer than two letters, or one twice.
    """
    letters = ALPHABETS.get(text.strip().lower(), "".join(text.split()).upper())
    odd = not letters.isascii() or len(set(letters)) < len(letters)
    if odd or not 2 <= len(letters) <= MOST_LETTERS:
        raise SettingError(
            f"alphabet={cut(text)}; give 2 to {MOST_LETTERS} letters, none twice, or "
            f"{', '.join(ALPHABETS)}"
        )
    return letters


def _yes_or_no(name: str, text: str) -> int:
    if text.strip().lower() not in YES_OR_NO:
        raise SettingError(f"{name}={cut(text)}; give 1 or 0")
    return YES_OR_NO[text.strip().lower()]


def _with_sign(task: DesignTask, negated: int) -> DesignTask:
    """Return a task whose scores are negated, as a whole."""
    if not (task.sealed or task.estimated):
        raise SettingError(
            f"{task.name}: minimize goes with measured rows; the scores of its landscape, "
            f"{task.handle()['landscape']}, are maximized"
        )
    return dataclasses.replace(
        task, negated=negated, scores=-task.scores, hidden_scores=-task.hidden_scores,
        starts=np.argsort(task.scores, kind="stable")[:START_POOL],
    )  # fmt: skip


def _with_alphabet(task: DesignTask, alphabet: str) -> DesignTask:
    """Return a task in another alphabet, which has all letters of its sequences."""
    if alphabet == task.alphabet:
        return task
    if not (task.sealed or task.estimated):
        raise SettingError(
            f"{task.name}: alphabet goes with measured rows; its landscape, "
            f"{task.handle()['landscape']}, has {task.alphabet}"
        )
    rows = [task.sequences, task.hidden_sequences, task.references]
    used = {*np.unique(np.concatenate(rows)).tolist(), *map(task.alphabet.index, task.wild_type)}
    lost = [task.alphabet[token] for token in sorted(used) if task.alphabet[token] not in alphabet]
    if lost:
        raise SettingError(
            f"{task.name}: alphabet={alphabet} lacks {lost[0]!r}, which measured sequences have"
        )
    new = np.array([alphabet.find(letter) for letter in task.alphabet], np.int64)
    old = np.flatnonzero(new >= 0)
    banned = np.zeros((len(alphabet), len(alphabet)), np.bool_)
    banned[np.ix_(new[old], new[old])] = task.banned[np.ix_(old, old)]
    barred = np.zeros((task.length, len(alphabet)), np.bool_)
    barred[:, new[old]] = task.barred[:, old]
    sequences, hidden, references = (new[row].astype(np.int8) for row in rows)
    return dataclasses.replace(
        task, alphabet=alphabet, banned=banned, barred=barred, sequences=sequences,
        hidden_sequences=hidden, references=references,
        forbidden=tuple(motif for motif in task.forbidden if set(motif) <= set(alphabet)),
    )  # fmt: skip


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = math.nan
    if not 0 < share <= 1:
        raise SettingError(f"offline={cut(text)}; give a share above 0, up to 1")
    return share


def _divided_rows(task: DesignTask, share: float) -> dict[str, np.ndarray]:
    """Return the task's fields with the given share of its rows, lowest scores first, visible.

    Raises:
        InstanceError: these have one score, others do not.
    """
    sequences = np.concatenate([task.sequences, task.hidden_sequences])
    scores = np.concatenate([task.scores, task.hidden_scores])
    order = np.argsort(scores, kind="stable")
    shown = math.ceil(share * len(order))
    kept, rest = np.split(order, [shown])
    tied = int(np.count_nonzero(scores == scores[order[0]]))
    if shown <= tied < len(order):
        least = math.floor(100 * tied / len(order) + 1) / 100
        raise InstanceError(
            f"{task.name}: the lower {share:g} of the rows, {shown} of {len(order)}, which "
            f"contenders see, all score {scores[order[0]] * task.sign:g}: there is nothing to "
            f"learn from; set offline={least:g} or more, up to 1"
        )
    if not task.estimated:
        rest = rest[:0]
    return {
        "sequences": sequences[kept],
        "scores": scores[kept],
        "starts": np.argsort(-scores[kept], kind="stable")[:START_POOL],
        "hidden_sequences": sequences[rest],
        "hidden_scores": scores[rest],
    }
