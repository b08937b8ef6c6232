"""Settings that say what designs must keep, and how they are read.

Positions count from 1. A file's task has rules by default: positions that never vary stay, and
designs are no further from the measured sequences than those are from each other.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Mapping, Sequence

import numpy as np

from ...core.contracts import Setting
from ...core.errors import InstanceError, SettingError
from ...core.notes import note
from ..setting_texts import cut, whole
from .equality import distinct, first_of_each
from .instance import MOST_CELLS, MOST_LENGTH, DesignTask
from .motifs import NEVER, least_changes

CONSTANT, MEASURED_REACH, NONE = "constant", "measured", "none"
MOST_REFERENCES = 2000
MOST_MOTIFS = 1000
TYPICAL = 0.9  # share of the measured sequences that say how far designs may go

RULE_SETTINGS: Mapping[str, Setting] = {
    "wild_type": Setting("none known", "letters of the sequence that the measured ones come from"),
    "fixed": Setting(
        f"{CONSTANT} for files, else {NONE}",
        "positions that designs must keep, such as 1-10,15; those that never vary stay beside them "
        f"unless {NONE} stands there",
    ),
    "allowed": Setting("all letters", "letters by position, such as 12:AVIL;15-18:DE;20:*"),
    "forbidden": Setting(
        NONE, "motifs no design may hold, such as C,NG,GAATTC; . is any letter, [ST] one of them"
    ),
    "max_mutations": Setting(
        f"{MEASURED_REACH} for files, else {NONE}",
        "letters changed at most, from the wild type if known, else from the nearest measured "
        f"sequence; {MEASURED_REACH}: as nine in ten of those are from the next, or {NONE}",
    ),
}
FILE_DEFAULTS = {"fixed": CONSTANT, "max_mutations": MEASURED_REACH}


def with_file_defaults(settings: Mapping[str, str]) -> dict[str, str]:
    """Return a file's settings with the rules that apply where the user names none.

    Args:
        settings: texts by name, as the user gave them.
    """
    full = FILE_DEFAULTS | dict(settings)
    if NONE not in _items(full["fixed"]):
        full["fixed"] = f"{CONSTANT},{full['fixed']}"
    return full


def with_rules(task: DesignTask, values: Mapping[str, str]) -> DesignTask:
    """Return a task with the rules that settings name, all at once.

    Args:
        task: any task.
        values: texts by the names in RULE_SETTINGS; other names are not read.

    Raises:
        SettingError: a value cannot be read.
        InstanceError: no sequence keeps all rules.
    """
    if "wild_type" in values:
        task = _with_wild_type(task, values["wild_type"])
    forbidden = task.forbidden
    if "forbidden" in values:
        forbidden = _motifs(task, values["forbidden"])
    barred = task.barred.copy()
    if "fixed" in values:
        barred = _fixed(task, values["fixed"], forbidden)
    if "allowed" in values:
        _allow(task, values["allowed"], barred)
    if not {"fixed", "allowed", "forbidden", "max_mutations"} & values.keys():
        return task
    no_limit = {"references": task.references[:0], "most_changes": 0}
    ruled = _replaced(task, barred=barred, forbidden=forbidden, **no_limit)
    if "max_mutations" in values:
        return _limited(ruled, values["max_mutations"])
    return _replaced(ruled, references=task.references, most_changes=task.most_changes)


def tell_defaults(task: DesignTask, settings: Mapping[str, str]) -> None:
    """Note which rules a file's task has that its user did not ask for.

    Args:
        task: the task.
        settings: texts by name, as the user gave them.
    """
    told = []
    single = np.flatnonzero((~task.barred).sum(axis=1) == 1)
    if "fixed" not in settings and len(single):
        told.append(
            f"{len(single)} of {task.length} positions never vary and stay as they are "
            f"(fixed={NONE} frees them)"
        )
    if "max_mutations" not in settings and task.most_changes:
        wild = " or the wild type" * bool(task.wild_type)
        told.append(
            f"designs differ from the nearest measured sequence{wild} in at most "
            f"{task.most_changes} letter{'s' * (task.most_changes > 1)}, as nine in ten measured "
            "ones do from theirs "
            f"(max_mutations=NUMBER or {NONE} to have it otherwise)"
        )
    if told:
        note(f"{task.name}: {'; '.join(told)}")


def positions(task: DesignTask, text: str, setting: str) -> np.ndarray:
    """Read a position, or a range of them.

    Args:
        task: the task.
        text: such as "15" or "1-10"; positions count from 1.
        setting: the setting's name, for the error message.

    Returns:
        int64 [k]; positions from 0.

    Raises:
        SettingError: neither, or outside the sequence.
    """
    found = re.fullmatch(r"(\d+)(?:-(\d+))?", text.strip())
    if found and max(map(len, found[0].split("-"))) > len(str(task.length)):
        found = None  # of more digits than any position
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not 1 <= first <= last <= task.length:
        raise SettingError(
            f"{setting}: {cut(text.strip())} is no position; give one from 1 to {task.length}, or "
            "a range such as 1-10"
        )
    return np.arange(first - 1, last)


def _items(text: str) -> list[str]:
    return [item.strip() for item in re.split(r"[,;\s]+", text) if item.strip()]


def _letters(task: DesignTask, text: str, setting: str) -> str:
    """Return letters as the alphabet has them; a task's alphabet is in capitals, as a rule."""
    if not set(text) <= set(task.alphabet):
        text = text.upper()
    odd = [letter for letter in text if letter not in task.alphabet]
    if odd or not text:
        what = f"{odd[0]!r} is not in the alphabet {task.alphabet}" if odd else "no letter is given"
        raise SettingError(f"{setting}: {what}; give its letters")
    return text


def _with_wild_type(task: DesignTask, text: str) -> DesignTask:
    if text.strip().lower() == NONE:
        return dataclasses.replace(task, wild_type="")
    letters = _letters(task, re.sub(r"\s", "", text), "wild_type")
    if len(letters) != task.length:
        raise SettingError(
            f"wild_type: {len(letters)} letters, where the measured sequences have {task.length}; "
            "give the same stretch of it"
        )
    return dataclasses.replace(task, wild_type=letters)


def _tokens(task: DesignTask, letters: str) -> np.ndarray:
    return np.array([task.alphabet.index(letter) for letter in letters], np.int8)


def _fixed(task: DesignTask, text: str, forbidden: Sequence[str]) -> np.ndarray:
    """Return the letters barred, bool [L, V]: those there are, and those that `fixed` bars.

    A position keeps the wild type's letter; where none is known, that of most measured sequences.
    """
    barred, items = task.barred.copy(), _items(text)
    if NONE in items:
        barred[:] = False
    counts = np.stack([np.bincount(column, minlength=task.letters) for column in task.sequences.T])
    kept = _tokens(task, task.wild_type) if task.wild_type else counts.argmax(axis=1)
    places: set[int] = set()
    if CONSTANT in items:
        places |= _constant(task, counts, kept, forbidden)
    for item in items:
        if item not in (CONSTANT, NONE):
            places |= set(positions(task, item, "fixed").tolist())
    rows = sorted(places)
    barred[rows] = True
    barred[rows, kept[rows]] = False
    return barred


def _constant(
    task: DesignTask, counts: np.ndarray, kept: np.ndarray, forbidden: Sequence[str]
) -> set[int]:
    """Return the positions where all measured sequences and the wild type have one letter.

    Positions whose constant letters hold a forbidden motif are left out: the motif must go.
    """
    measured = counts.max(axis=1) == len(task.sequences)
    constant = measured & (counts.argmax(axis=1) == kept)
    free = np.zeros(task.length, np.bool_)
    letters = task.text(kept)
    for motif in forbidden:
        for start in range(task.length - len(motif) + 1):
            span = slice(start, start + len(motif))
            if letters[span] == motif and constant[span].all():
                free[span] = True
    return set(np.flatnonzero(constant & ~free).tolist())


def _allow(task: DesignTask, text: str, barred: np.ndarray) -> None:
    """Write the letters that `allowed` bars; its positions are as it says, whatever was before."""
    if text.strip().lower() == NONE:
        raise SettingError("allowed: none; give positions and letters, such as 12:AVIL;15:DE")
    for item in filter(None, (part.strip() for part in re.split(r"[;,\s]+", text))):
        where, colon, letters = item.partition(":")
        if not colon:
            raise SettingError(
                f"allowed: {item!r} is no POSITION:LETTERS; write such as 12:AVIL;15-18:DE;20:*"
            )
        rows = positions(task, where, "allowed")
        chosen = task.alphabet if letters == "*" else _letters(task, letters, "allowed")
        barred[rows] = True
        for letter in chosen:
            barred[rows, task.alphabet.index(letter)] = False


def _motifs(task: DesignTask, text: str) -> tuple[str, ...]:
    """Read forbidden motifs; classes of letters are spelled out, one motif for each choice."""
    if text.strip().lower() == NONE:
        return ()
    spelled: dict[str, None] = {}
    for item in _items(text):
        if not re.fullmatch(r"(\[[^][]+\]|[^][])+", item):
            raise SettingError(f"forbidden: {item!r} has a bracket without its other half")
        parts = re.findall(r"\[[^][]+\]|[^][]", item)
        choices = [
            task.alphabet if part == "." else _letters(task, part.strip("[]"), "forbidden")
            for part in parts
        ]
        if len(choices) > task.length:
            continue  # longer than any design
        for motif in itertools.islice(itertools.product(*choices), MOST_MOTIFS + 1):
            spelled["".join(motif)] = None
        if len(spelled) > MOST_MOTIFS:
            raise SettingError(
                f"forbidden: {item!r} and those before it are more than {MOST_MOTIFS} motifs when "
                "spelled out; name fewer letters"
            )
    return tuple(sorted(spelled))


def _limited(task: DesignTask, text: str) -> DesignTask:
    """Return a task with a limit of changes; `task` has the other rules and no limit."""
    text = text.strip().lower()
    if text == NONE:
        return task
    states = len(task.automaton())
    count = max(1, min(MOST_REFERENCES, MOST_CELLS // (states * task.length)))
    wild = [_tokens(task, task.wild_type)] if task.wild_type else []
    best = _best_rows(task, count)
    references = np.stack([*wild, *task.sequences[best]]).astype(np.int8)
    if text == MEASURED_REACH:
        needed = least_changes(references, np.array(task.barred), task.automaton(), True)[:, 0, 0]
        if needed.min() == NEVER:
            return task  # no sequence keeps the rules, which is refused elsewhere
        most = reach(task.sequences[best], references) + int(needed.min())
    else:
        try:
            most = whole({"max_mutations": text}, "max_mutations", MOST_LENGTH, 1)
        except SettingError as error:
            raise SettingError(
                f"max_mutations={cut(text)}; give a whole number of letters, at least 1, {NONE} or "
                f"{MEASURED_REACH}"
            ) from error
        references = references[:1] if wild else references
    free = (~task.barred).sum(axis=1) > 1
    if most >= task.length or (
        most >= free.sum() and not task.barred[np.arange(task.length), references].any()
    ):
        return task  # no sequence is further away
    return _replaced(task, references=references, most_changes=most)


def _best_rows(task: DesignTask, count: int) -> np.ndarray:
    """Return the rows of the best different sequences, at most so many, int64 [n].

    Of equal scores, what comes first in the alphabet's order is first.
    """
    first = first_of_each(task.sequences)
    rows = np.flatnonzero(first == np.arange(len(first)))
    least = np.partition(task.scores[rows], max(0, len(rows) - count))[max(0, len(rows) - count)]
    rows = rows[task.scores[rows] >= least]
    in_order = rows[distinct(task.sequences[rows])[0]]
    best: np.ndarray = in_order[np.argsort(-task.scores[in_order], kind="stable")][:count]
    return best


def reach(measured: np.ndarray, references: np.ndarray) -> int:
    """Return in how many letters nine in ten measured sequences differ from the nearest other one.

    Args:
        measured: int8 [n, L]; different sequences.
        references: int8 [R, L]; these, and perhaps the wild type.

    Returns:
        At most so many, at least 1; L if there is no other.
    """
    varies = (references != references[0]).any(axis=0)  # columns that count
    references = np.ascontiguousarray(references[:, varies])
    nearest = []
    for row in measured[:, varies]:
        away = (references != row).sum(axis=1)
        nearest.append(away[away > 0].min(initial=measured.shape[1]))
    return max(1, int(np.quantile(nearest, TYPICAL, method="higher")))


def _replaced(task: DesignTask, **changes: object) -> DesignTask:
    try:
        return dataclasses.replace(task, **changes)  # type: ignore[arg-type]
    except InstanceError as error:
        if "no sequence keeps" not in str(error):
            raise
        raise InstanceError(f"{error}: fixed, allowed, forbidden or max_mutations") from error
