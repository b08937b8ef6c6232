"""Generate design tasks: Ehrlich functions, and offline sets for landscapes without one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...core.contracts import Setting
from ...core.errors import SettingError
from .. import setting_texts
from . import rna
from .ehrlich import draw_ehrlich
from .equality import RowIndex, first_of_each
from .instance import DesignTask, encode, make_task
from .landscape_tables import DNA, PROTEIN, gb1, tf_binding

# Amino acids come first, so that tasks of up to 20 states look like proteins.
LETTERS = PROTEIN + "BJOUXZ0123456789"
MOST_ROUNDS = 2000
CROSSOVER = 0.3
BROKEN = 0.2  # share of regions drawn with a wrong letter: about half of those below the ceiling
GB1_SHARE = 0.95  # share of the variants, lowest first, that the offline set is drawn from

PARAMETERS: Mapping[str, Setting] = {
    "states": Setting("8", "letters of the alphabet (3 to 36)"),
    "length": Setting("16", "letters of a sequence (2 to 512)"),
    "motifs": Setting("2", "motifs to be found (1 to 16)"),
    "motif_length": Setting("4", "elements of a motif (2 to 16)"),
    "quantization": Setting("4", "steps that a motif counts in (1 to motif_length)"),
    "epistasis": Setting("0", "how much later elements outweigh first ones (0 to 3)"),
    "rows": Setting("2000", "sequences in the offline set (256 to 1000000)"),
    "ceiling": Setting("0.3", "score that no sequence of the offline set exceeds (0.05 to 1)"),
}
_WHOLE = {
    "states": (3, 36), "length": (2, 512), "motifs": (1, 16), "motif_length": (2, 16),
    "quantization": (1, 16), "rows": (256, 1_000_000),
}  # fmt: skip
_REAL = {"epistasis": (0.0, 3.0), "ceiling": (0.05, 1.0)}

Score = Callable[[np.ndarray], np.ndarray]


def generate(parameters: Mapping[str, str], seed: int) -> DesignTask:
    """Generate a task on a random Ehrlich function.

    Half of the offline set is drawn from the function's Markov chain; half are descendants of such
    sequences under selection that stops at the ceiling, as if from an earlier campaign.

    Args:
        parameters: texts by the names in PARAMETERS; those left out have their defaults.
        seed: the same seed and parameters give the same task.

    Raises:
        SettingError: a parameter cannot be read, is out of range, or allows no function.
        InstanceError: the task is impossible: all scores are equal, say.
    """
    try:
        whole = {key: _whole(parameters, key) for key in _WHOLE}
        real = {key: _real(parameters, key) for key in _REAL}
    except SettingError as error:
        raise SettingError(f"generate sequence_design: {error}") from error
    if whole["quantization"] > whole["motif_length"]:
        raise SettingError(
            f"generate sequence_design: quantization={whole['quantization']} exceeds "
            f"motif_length={whole['motif_length']}; set it to that or less"
        )
    rng = np.random.default_rng([seed, 0xE4211C])
    function = draw_ehrlich(
        whole["states"],
        whole["length"],
        whole["motifs"],
        whole["motif_length"],
        whole["quantization"],
        real["epistasis"],
        rng,
    )
    first = function.sample(4 * whole["rows"], whole["length"], rng)
    sequences, scores = explore(
        function.score, first, whole["rows"], real["ceiling"], function.banned, rng
    )
    return make_task(
        f"ehrlich-{whole['states']}-{whole['length']}-{whole['motifs']}-seed{seed}",
        LETTERS[: whole["states"]],
        sequences,
        scores,
        function.handle(),
        banned=function.banned,
    )


def explore(
    score: Score,
    first: np.ndarray,
    rows: int,
    ceiling: float,
    banned: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Make an offline set of different feasible sequences that score at most the ceiling.

    Args:
        score: tokens int8 [n, L] -> scores float64 [n].
        first: int8 [n, L]; feasible sequences to start from.
        rows: sequences wanted; half of them from `first`, half bred from those.
        ceiling: largest allowed score.
        banned: bool [V, V]; see DesignTask.
        rng: draws parents and changes.

    Returns:
        Tokens int8 [rows, L] and scores float64 [rows].

    Raises:
        SettingError: not enough different sequences under the ceiling were found.
    """
    pool, marks = _distinct(first, score(first), ceiling)
    chosen = rng.permutation(len(pool))[: rows // 2]
    drawn, drawn_marks = pool[chosen], marks[chosen]
    bred, bred_marks = drawn, drawn_marks
    for _ in range(MOST_ROUNDS):
        if len(bred) >= 2 * rows:
            break
        if not len(bred):
            continue
        best = np.argsort(-bred_marks, kind="stable")[: max(2, len(bred) // 3)]
        children = _children(bred[best], len(banned), rng)
        feasible = ~banned[children[:, :-1], children[:, 1:]].any(axis=1)
        children = children[feasible]
        bred, bred_marks = _distinct(
            np.concatenate([bred, children]),
            np.concatenate([bred_marks, score(children)]),
            ceiling,
        )
    new = np.flatnonzero(~_among(bred, drawn))
    new = rng.permutation(new)[: rows - len(drawn)]
    sequences = np.concatenate([drawn, bred[new]])
    if len(sequences) < rows:
        raise SettingError(
            f"generate sequence_design: only {len(sequences)} different sequences score at most "
            f"{ceiling:g}; set fewer rows or a higher ceiling"
        )
    order = rng.permutation(rows)
    return sequences[order], np.concatenate([drawn_marks, bred_marks[new]])[order]


def _distinct(
    tokens: np.ndarray, marks: np.ndarray, ceiling: float
) -> tuple[np.ndarray, np.ndarray]:
    low = np.isfinite(marks) & (marks <= ceiling)
    tokens, marks = tokens[low], marks[low]
    rows = np.flatnonzero(first_of_each(tokens) == np.arange(len(tokens)))
    return tokens[rows], marks[rows]


def _among(tokens: np.ndarray, others: np.ndarray) -> np.ndarray:
    among: np.ndarray = RowIndex.of(others).find(tokens) >= 0
    return among


def _children(parents: np.ndarray, letters: int, rng: np.random.Generator) -> np.ndarray:
    """Make one child per parent: a segment of another parent, or one to three substitutions."""
    count, length = len(parents), parents.shape[1]
    children = parents.copy()
    ends = np.sort(rng.integers(0, length + 1, (count, 2)), axis=1)
    places = np.arange(length)[None]
    crossed = rng.random(count) < CROSSOVER
    taken = (places >= ends[:, :1]) & (places < ends[:, 1:]) & crossed[:, None]
    other = parents[rng.permutation(count)]
    children[taken] = other[taken]
    for change in range(3):
        rows = np.flatnonzero(~crossed & (rng.random(count) < 1 / (1 + change)))
        children[rows, rng.integers(0, length, len(rows))] = rng.integers(0, letters, len(rows))
    return children


def rna_task(
    name: str,
    targets: Sequence[int],
    length: int,
    ceiling: float,
    rows: int,
    conserved: rna.Region | None,
    seed: int,
) -> DesignTask:
    """Make a task of binding RNA targets, on random sequences that score at most the ceiling.

    If a region is conserved, all sequences have it, some with one letter changed, which score 0.

    Args:
        name: name of the task.
        targets: indices into rna.TARGETS; the score is the mean over them.
        length: letters of a sequence, L.
        ceiling: largest score in the offline set.
        rows: sequences in the offline set.
        conserved: letters that every design must have; None for none.
        seed: seed of the sequences.

    Raises:
        MissingDependencyError: ViennaRNA is not installed.
    """
    rng = np.random.default_rng([seed, 0x12A])
    handle: dict[str, Any] = {"landscape": "rna", "targets": list(targets)}
    if conserved is not None:
        handle["conserved"] = dataclasses.asdict(conserved)
    found: dict[bytes, float] = {}
    while len(found) < rows:
        tokens = rng.integers(0, 4, (1000, length)).astype(np.int8)
        if conserved is not None:
            _conserve(tokens, conserved, rng)
        scores = rna.binding(tokens, targets, conserved)
        low = scores <= ceiling
        pairs = zip(tokens[low], scores[low], strict=True)
        found |= {codes.tobytes(): float(score) for codes, score in pairs}
    kept = list(found)[:rows]
    sequences = np.frombuffer(b"".join(kept), np.int8).reshape(rows, length)
    scores = np.array([found[codes] for codes in kept])
    return make_task(name, rna.ALPHABET, sequences, scores, handle)


def _conserve(tokens: np.ndarray, region: rna.Region, rng: np.random.Generator) -> None:
    """Write the region into tokens int8 [n, L], in place, and change one letter of it in some."""
    count, width = len(tokens), len(region.pattern)
    pattern = encode(rna.ALPHABET, [region.pattern], ["the conserved region"])
    tokens[:, region.start : region.start + width] = pattern
    places = region.start + rng.integers(width, size=count)
    shifts = rng.integers(1, 4, count) * (rng.random(count) < BROKEN)
    tokens[np.arange(count), places] = (tokens[np.arange(count), places] + shifts) % 4


def gb1_task(name: str, seed: int) -> DesignTask:
    """Make a task on GB1, with 5,000 variants drawn from the lower 95 % of those measured.

    Args:
        name: name of the task.
        seed: seed of the draw.

    Raises:
        InstanceError: the table is not in the data folder.
    """
    table = gb1()
    low = np.flatnonzero(table.scores <= np.quantile(table.scores, GB1_SHARE))
    rows = np.random.default_rng([seed, 0x6B1]).choice(low, 5000, replace=False)
    return make_task(
        name,
        PROTEIN,
        table.sequences[rows],
        table.scores[rows],
        {"landscape": "gb1"},
    )


def tf_binding_task(name: str, factor: str, lowest: int | None) -> DesignTask:
    """Make a task on a transcription factor's DNA 8-mers.

    Args:
        name: name of the task.
        factor: name of the factor's table.
        lowest: number of rows in the offline set, lowest scores first, as in BIB's TFBind8(r) (Chen
            et al. 2023, section 5.1); None for Design-Bench's split (Trabucco et al. 2022), every
            row up to the median score.

    Raises:
        InstanceError: the factor's table is not in the data folder.
    """
    table = tf_binding(factor)
    if lowest is None:
        shown = np.flatnonzero(table.scores <= np.percentile(table.scores, 50))
    else:
        shown = np.sort(np.argsort(table.scores, kind="stable")[:lowest])
    handle = {"landscape": "tf_binding", "factor": factor}
    return make_task(name, DNA, table.sequences[shown], table.scores[shown], handle)


def _whole(parameters: Mapping[str, str], key: str) -> int:
    low, high = _WHOLE[key]
    return setting_texts.whole({key: parameters.get(key, PARAMETERS[key].default)}, key, high, low)


def _real(parameters: Mapping[str, str], key: str) -> float:
    text = parameters.get(key, PARAMETERS[key].default)
    return setting_texts.real({key: text}, key, _REAL[key])
