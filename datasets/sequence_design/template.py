"""A small valid table of measured sequences, with every column explained."""

from __future__ import annotations

from ...core.problem import Template
from .landscape_tables import DNA

FIELDS = {
    "sequence": "needed (or mutant, such as A3G, of the setting wild_type). The letters of a DNA, "
    "RNA or protein sequence; all rows have as many.",
    "score": "needed. The measured value, a number of any unit; higher is better, or "
    "--set minimize=1. Empty: the row is left out.",
}
WILD_TYPE = "ACGTTGCAAC"
WORTH = (0, 3, 1, 2)  # of A, C, G, T at one place; elsewhere they count less


def template() -> Template:
    """Return measurements to start one's own from: a wild type, its single and some double mutants.

    The scores are made up by a formula, so that a method has something to find.
    """
    singles = [
        WILD_TYPE[:at] + letter + WILD_TYPE[at + 1 :]
        for at in range(len(WILD_TYPE))
        for letter in DNA
        if letter != WILD_TYPE[at]
    ]
    doubles = [
        "".join(b if b != WILD_TYPE[at] else a for at, (a, b) in enumerate(zip(*pair, strict=True)))
        for pair in zip(singles, singles[7:], strict=False)
    ]
    rows = [f"{text},{_score(text):.2f}" for text in dict.fromkeys([WILD_TYPE, *singles, *doubles])]
    command = (
        "solve sequence_design {file} --with ga --budget 5 --set offline=1 --out designs.json "
        "--plan designs.csv"
    )
    return Template("measured.csv", "\n".join([",".join(FIELDS), *rows]) + "\n", FIELDS, command)


def _score(text: str) -> float:
    each = [WORTH[DNA.index(letter)] / (1 + at % 4) for at, letter in enumerate(text)]
    return 0.1 * sum(each) + 0.5 * text.count("GC")
