"""Read measured sequences from tables: laboratories' CSV, FLIP's, ProteinGym's, mutation lists."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import NamedTuple, NoReturn

import numpy as np

from ...core.errors import InstanceError, SettingError
from ...core.notes import note
from ..columns import Wanted, find_column, plain
from ..numerals import is_missing, number
from ..tables import Table, read_table
from .mutations import applied, changes_of, is_notation, recovered

SEQUENCE = Wanted(
    "sequences", "sequence_column",
    (
        frozenset({"sequence"}), frozenset({"mutatedsequence"}),
        frozenset({"seq", "sequences", "aasequence", "proteinsequence", "aaseq", "dnasequence",
                   "rnasequence", "ntsequence", "nucleotidesequence", "fullsequence", "peptide",
                   "variantsequence", "mutantsequence", "protein", "primary"}),
    ),
)  # fmt: skip
SCORE = Wanted(
    "scores", "score_column",
    (
        frozenset({"score"}), frozenset({"dmsscore"}), frozenset({"target"}),
        frozenset({"fitness", "scores", "value", "label", "y", "activity", "measurement",
                   "measured", "labels", "targets", "logfitness", "brightness", "meanscore",
                   "medianbrightness", "fluorescence", "logfluorescence", "enrichment", "affinity",
                   "stability"}),
    ),
)  # fmt: skip
MUTATION = Wanted(
    "mutations", "mutation_column",
    (
        frozenset({"mutant"}),
        frozenset({"mutation", "mutations", "mutants", "variant", "variants", "mut", "hgvspro",
                   "aamutations", "aasubstitutions", "substitutions", "substitution"}),
    ),
)  # fmt: skip


class Measurements(NamedTuple):
    """What was read of a table.

    Attributes:
        texts: N sequences.
        scores: float64 [N]; measured value of each.
        places: N file and row names, for error messages.
        wild_type: the sequence that they are mutants of; empty if the table does not tell.
    """

    texts: list[str]
    scores: np.ndarray
    places: list[str]
    wild_type: str


def read_measurements(place: str, text: str, settings: Mapping[str, str]) -> Measurements:
    """Read sequences and their scores; rows without a score are left out, which is said.

    Args:
        place: the file, for error messages.
        text: its content.
        settings: texts by name: `sequence_column`, `score_column`, `mutation_column`,
            `first_position`, `wild_type`.

    Raises:
        InstanceError: the table is malformed, or lacks a column; names row and remedy.
        SettingError: a setting names no column.
    """
    if text.lstrip().startswith(">"):
        raise InstanceError(
            f"{place}: FASTA, whose sequences have no scores that could be told; make a CSV with "
            "the columns sequence and score"
        )
    table = read_table(place, text, ())
    score, sequence = find_column(table, SCORE, settings), find_column(table, SEQUENCE, settings)
    mutation = find_column(table, MUTATION, settings)
    if sequence is not None and is_notation(table.texts(sequence)):
        sequence, mutation = None, sequence if mutation is None else mutation
    elif sequence is None and mutation is not None and _spelled(table.texts(mutation)):
        sequence, mutation = mutation, None  # such as GB1's variants, their four letters
    if None not in (sequence, mutation) and not is_notation(table.texts(mutation or 0)):
        mutation = None
    read = mutation if sequence is None else sequence
    if score is None or read is None:
        raise InstanceError(_missing(table, score, sequence))
    _say_columns(table, score, read)
    table = _measured(table, score)
    places = [f"{place}: row {line}" for line, _ in table.rows]
    texts, wild_type = _sequences(table, sequence, mutation, settings)
    return Measurements(texts, table.reals(score, -math.inf, math.inf), places, wild_type)


def _missing(table: Table, score: int | None, sequence: int | None) -> str:
    """Say which column was not found, and which ones look like it."""
    wanted, fits = (SCORE, _numeric) if score is None else (SEQUENCE, _lettered)
    looks = [
        name for at, name in enumerate(table.columns)
        if at != sequence and fits([cell for cell in table.texts(at) if not is_missing(cell)])
    ]  # fmt: skip
    hint = f" ({' or '.join(map(repr, looks[:5]))} may hold them)" if looks else ""
    first = table.columns[0] if table.columns else ""
    if number(first) is not None or number(table.columns[-1]) is not None:
        hint = "; the first line holds data, put the names above it"
    known = "score, DMS_score, target" if score is None else "sequence, mutated_sequence, mutant"
    return (
        f"{table.place}: row 1: no column is called like {wanted.what} ({known}, ...): the columns "
        f"are {', '.join(map(repr, table.columns))[:200]}; name the one by the setting "
        f"{wanted.setting}{hint}"
    )


def _numeric(cells: list[str]) -> bool:
    return bool(cells) and all(number(cell.replace(",", ".")) is not None for cell in cells)


def _spelled(cells: list[str]) -> bool:
    """Whether all cells are letters of one number, and not notation."""
    return not is_notation(cells) and all(map(str.isalpha, cells)) and len({*map(len, cells)}) == 1


def _lettered(cells: list[str]) -> bool:
    return bool(cells) and (is_notation(cells) or all(cell.isalpha() for cell in cells))


def _say_columns(table: Table, score: int, sequence: int) -> None:
    """Say which columns are read, unless they are called sequence and score, alone."""
    names = table.columns
    called = [
        f"{name!r} (column {at + 1})" if names.count(name) > 1 else repr(name)
        for at, name in enumerate(names)
    ]
    rest = [at for at in range(len(names)) if at not in (sequence, score)]
    rivals = [at for at in rest if any(plain(names[at]) in rank for rank in SCORE.ranks)]
    if rivals or (names[sequence], names[score]) != ("sequence", "score"):
        others = f"; not read: {', '.join(called[at] for at in rest)[:200]}" if rest else ""
        note(
            f"{table.place}: sequences are read from the column {called[sequence]}, scores from "
            f"{called[score]}{others} (settings sequence_column, score_column)"
        )


def _measured(table: Table, score: int) -> Table:
    """Leave out the rows without a score."""
    kept = table.present(score)
    if kept.all():
        return table
    first = table.rows[int(np.flatnonzero(~kept)[0])][0]
    if not kept.any():
        raise InstanceError(f"{table.place}: no row has a score")
    note(
        f"{table.place}: {np.count_nonzero(~kept)} of {len(kept)} rows have no score (the first is "
        f"row {first}); left out"
    )
    return table.only(kept)


def _sequences(
    table: Table, sequence: int | None, mutation: int | None, settings: Mapping[str, str]
) -> tuple[list[str], str]:
    """Return the sequences and the wild type."""
    first = _first_position(settings)
    given = "".join(settings.get("wild_type", "").split()).upper()
    given = "" if given == "NONE" else given
    column = mutation if mutation is not None else 0

    def refuse(row: int, why: str) -> NoReturn:
        table.refuse(row, column, why)

    if sequence is None:
        if not given:
            raise InstanceError(
                f"{table.place}: the column {table.columns[column]!r} holds mutations, and no "
                "column whole sequences; give the wild type by the setting wild_type=SEQUENCE"
            )
        changes = changes_of(table.names(column), refuse)
        return applied(changes, given, first, refuse), given
    texts = ["".join(cell.split()).upper() for cell in table.names(sequence)]
    if mutation is None or given:
        return texts, ""  # the setting is applied with the others
    cells = table.texts(mutation)
    if "" in cells:
        return texts, ""
    try:
        changes = changes_of(cells, refuse)
    except InstanceError as error:
        note(f"{error}; the column is not read")
        return texts, ""
    return texts, recovered(changes, texts, table.place, first)


def _first_position(settings: Mapping[str, str]) -> int | None:
    text = settings.get("first_position")
    if text is None:
        return None
    if not re.fullmatch(r"[+-]?\d{1,6}", text.strip(), re.ASCII):
        raise SettingError(
            f"first_position={text!r}; give the number of the wild type's first letter, such as 1"
        )
    return int(text)
