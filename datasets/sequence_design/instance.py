"""DesignTask: measured sequences, and the handle of the oracle that judges new designs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NoReturn

import numpy as np

from ...core.errors import InstanceError
from ...core.fields import BLANK, array, declared, names, string, whole
from ...core.instance import Instance, remembered
from .equality import first_banned, first_of_each
from .handles import handle_fault
from .motifs import automaton, least_changes

BATCH_SIZE = 128
START_POOL = 128
CHUNK = 2**16  # texts that are encoded together
MEASURED = "measured"  # name of a landscape that is known only by measured rows
MOST_LETTERS = 100
LAST_LETTER = 255  # code of the last letter of Latin-1
MOST_LENGTH = 4096
MOST_DESIGNS = 1_000_000
MOST_ROUNDS = 100
MOST_CELLS = 2**24  # references x positions x states of the automaton, which tables of masks hold
LARGEST, LEAST_SPREAD = 1e100, 1e-100  # of scores: their squares and ratios are still numbers


@declared
class DesignTask(Instance):
    """N measured sequences of L letters out of V, to design better ones from, in one batch or
    several.

    The oracle is asked once about each batch handed in. A contender, and an environment of one
    round, hold a *sealed* task: one without the handle and the hidden rows.

    Rules that designs must keep are optional: letters that may not stand at a position, motifs that
    may not occur, and how many letters may differ from the nearest of some reference sequences.
    Measured sequences may break them.
    """

    FAMILY: ClassVar[str] = "sequence_design"

    alphabet: str = names(
        "V", "The letters, one character each; a token is an index into it.", unique=False
    )
    sequences: np.ndarray = array(
        "int8", "N,L", "Tokens of the offline set. A sequence may stand twice.",
        low=0, high="V-1", exact=True, empty="the offline set is empty; give measured sequences",
        remedy="a token is an index into the alphabet",
    )  # fmt: skip
    scores: np.ndarray = array(
        "float64", "N", "Measured values, higher is better.",
        exact=True, remedy="drop the row, or measure it again",
    )  # fmt: skip
    starts: np.ndarray = array(
        "int64", "S", "Rows of the offline set that mutating starts from, best first.",
        low=0, high="N-1", exact=True, remedy="starts must hold rows of the offline set",
        empty="starts must hold rows of the offline set, at least one",
    )  # fmt: skip
    batch_size: int = whole(
        "Designs that are asked for in a round.",
        low=1,
        high=MOST_DESIGNS,
        remedy=f"ask for at least 1 design, {MOST_DESIGNS} at most",
    )
    banned: np.ndarray = array(
        "bool", "V,V", "Letter b may not follow letter a where banned[a, b].", exact=True
    )
    oracle: str = string(
        "The handle, JSON: the landscape's name and its parameters; empty where sealed."
    )
    hidden_sequences: np.ndarray = array(
        "int8", "H,L", "Tokens of measured rows for the oracle alone.",
        low=0, high="V-1", exact=True, remedy="a token is an index into the alphabet",
    )  # fmt: skip
    hidden_scores: np.ndarray = array(
        "float64", "H", "Measured values of the hidden rows.",
        exact=True, remedy="drop the row, or measure it again",
    )  # fmt: skip
    wild_type: str = string(
        "The sequence that the measured ones are mutants of; empty where none is known.",
        default=BLANK,
    )
    barred: np.ndarray = array(
        "bool", "L,V", "Letter b may not stand at position p where barred[p, b].",
        exact=True, default=BLANK,
    )  # fmt: skip
    forbidden: tuple[str, ...] = names("M", "Motifs that no design may hold.", default=BLANK)
    references: np.ndarray = array(
        "int8", "R,L", "Tokens of the sequences that designs must be near; none for no such rule.",
        low=0, high="V-1", exact=True, remedy="a token is an index into the alphabet",
        default=BLANK,
    )  # fmt: skip
    most_changes: int = whole(
        "Letters in which a design may differ from the nearest reference; 0 where there is none.",
        low=0, default=BLANK,
    )  # fmt: skip
    negated: int = whole(
        "1 where lower measured values are better: scores are then their negatives; else 0.",
        low=0, high=1, default=BLANK,
    )  # fmt: skip
    further_rounds: int = whole(
        "Batches after the first one, each made when the scores of those before it are known.",
        low=0, high=MOST_ROUNDS - 1, remedy=f"ask for 1 to {MOST_ROUNDS} rounds", default=BLANK,
    )  # fmt: skip

    @property
    def sign(self) -> float:
        """Factor from a score to the measured value: -1.0 where lower values are better."""
        return -1.0 if self.negated else 1.0

    @property
    def rounds(self) -> int:
        """Batches that are measured one after the other, R."""
        return self.further_rounds + 1

    @property
    def designs_asked(self) -> int:
        """Designs of all rounds together."""
        return self.rounds * self.batch_size

    @property
    def ruled(self) -> bool:
        """Whether designs must keep rules beside the banned pairs."""
        return bool(self.barred.any() or self.forbidden or self.most_changes)

    @property
    def letters(self) -> int:
        """Number of letters in the alphabet, V."""
        return len(self.alphabet)

    @property
    def length(self) -> int:
        """Letters of a sequence, L."""
        return int(self.sequences.shape[1])

    @property
    def sealed(self) -> bool:
        """Whether the oracle's handle has been removed."""
        return self.oracle == ""

    @property
    def estimated(self) -> bool:
        """Whether the oracle estimates the scores of sequences that were never measured."""
        return not self.sealed and self.handle()["landscape"] == MEASURED

    def handle(self) -> dict[str, Any]:
        """Return the oracle's name and parameters.

        Raises:
            InstanceError: the task is sealed.
        """
        if self.sealed:
            self.refuse("the task is sealed; only the evaluation holds the oracle's handle")
        found: dict[str, Any] = json.loads(self.oracle)
        return found

    def check(self) -> None:
        """Refuse impossible alphabets, scores, duplicates and handles.

        Raises:
            InstanceError: names the field, the row and the remedy.
        """
        v, length = self.letters, self.length
        odd = v < 2 or v > MOST_LETTERS or len(set(self.alphabet)) < v
        if odd or max(map(ord, self.alphabet)) > LAST_LETTER:
            self.refuse(
                f"alphabet {self.alphabet[:MOST_LETTERS]!r}: give 2 to {MOST_LETTERS} characters "
                "of Latin-1, none twice"
            )
        if not 1 <= length <= MOST_LENGTH:
            self.refuse(f"sequences of {length} letters; give 1 to {MOST_LENGTH}")
        if self.scores.min() == self.scores.max():
            self.refuse(
                f"all {len(self.scores)} scores are {self.scores[0]:g}; there is nothing to learn "
                "from, give sequences of different scores"
            )
        every = np.concatenate([self.scores, self.hidden_scores])
        if np.abs(every).max() > LARGEST:
            self.refuse(
                f"scores reach {np.abs(every).max():g}, beyond {LARGEST:g}; give them in a larger "
                "unit"
            )
        if self.scores.max() - self.scores.min() < LEAST_SPREAD:
            self.refuse(
                f"its scores differ by {self.scores.max() - self.scores.min():g} only, which is "
                "lost in rounding; give them in a smaller unit"
            )
        self._check_duplicates()
        self._check_banned()
        self._check_rules()
        if self.oracle:
            self._check_handle()

    def _check_duplicates(self) -> None:
        """Check that equal sequences have one score, and that enough differ to pad a batch."""
        rows, scores = self.sequences, self.scores
        if len(self.hidden_sequences):
            rows = np.concatenate([rows, self.hidden_sequences])
            scores = np.concatenate([scores, self.hidden_scores])
        first = first_of_each(rows)
        differs = np.flatnonzero(scores != scores[first])
        if differs.size:
            row = int(differs[0])
            other = int(first[row])
            self.refuse(
                f"rows {other} and {row} are the same sequence, {self.text(rows[row])}, with "
                f"scores {scores[other]:g} and {scores[row]:g}; keep one, or their mean"
            )
        count = int(np.count_nonzero(first[: len(self.sequences)] == np.arange(len(self.scores))))
        if self.rounds > 1 and count < self.designs_asked:
            self.refuse(
                f"the offline set holds {count} different sequences, fewer than the "
                f"{self.designs_asked} designs of {self.rounds} rounds that they pad; measure "
                f"more, or set batch={max(1, count // self.rounds)} or fewer rounds"
            )
        if count < self.batch_size:
            self.refuse(
                f"the offline set holds {count} different sequences, fewer than the batch of "
                f"{self.batch_size} that they pad; measure more, or set batch={count}"
            )

    def _check_banned(self) -> None:
        if self.banned.diagonal().any():
            letter = self.alphabet[int(self.banned.diagonal().argmax())]
            self.refuse(f"banned: {letter!r} may not follow itself; every letter must be able to")
        if not self.banned.any():
            return
        row, place = first_banned(self.sequences, self.banned)
        if row >= 0:
            pair = self.text(self.sequences[row, place : place + 2])
            self.refuse(
                f"sequences, row {row}: {pair} at position {place} is banned; drop the row, or "
                "allow the pair"
            )

    def _check_rules(self) -> None:
        if self.wild_type:
            encode(self.alphabet, [self.text(self.sequences[0]), self.wild_type],
                   [f"{self.name}: row 0", f"{self.name}: wild_type"])  # fmt: skip
        closed = np.flatnonzero(self.barred.all(axis=1))
        if closed.size:
            self.refuse(f"barred: no letter is left for position {closed[0]}; allow one")
        for motif in self.forbidden:
            odd = [letter for letter in motif if letter not in self.alphabet]
            if odd or not motif:
                what = f"{odd[0]!r} is not in the alphabet {self.alphabet!r}" if odd else "is empty"
                self.refuse(f"forbidden: motif {motif!r}: {what}; correct it")
        if (len(self.references) > 0) != (self.most_changes > 0):
            self.refuse(
                f"{len(self.references)} references and most_changes {self.most_changes}; give "
                "both or none"
            )
        if not self.ruled:
            return
        letters = sum(map(len, self.forbidden))
        if letters * self.letters > MOST_CELLS:
            self.refuse(f"{letters} letters of forbidden motifs are too many; name fewer motifs")
        step = self.automaton()
        length = self.length
        cells = len(step) * length
        if cells > MOST_CELLS or len(self.references[1:]) * cells > MOST_CELLS:
            self.refuse(
                f"{len(self.references)} references of {length} letters with {letters} letters of "
                f"forbidden motifs need a table of more than {MOST_CELLS} cells; name fewer"
            )
        if not self._has_designs(step):
            near = f", {self.most_changes} letters at most from a reference" * bool(
                self.references.size
            )
            self.refuse(
                "no sequence keeps all rules (the letters allowed at each position"
                f"{near}, {len(self.forbidden)} forbidden motifs, "
                f"{int(self.banned.sum())} banned pairs); relax one"
            )

    def _has_designs(self, step: np.ndarray) -> bool:
        """Return whether some sequence keeps all rules, of which `step` is the automaton."""
        barred, counts = np.array(self.barred), self.most_changes > 0
        references = np.array(self.references if counts else self.sequences[:1])
        return any(
            int(least_changes(one[None], barred, step, counts)[0, 0, 0]) <= self.most_changes
            for one in references
        )

    def automaton(self) -> np.ndarray:
        """Return the automaton of forbidden motifs and banned pairs; see motifs.automaton."""
        motifs = [[self.alphabet.index(letter) for letter in motif] for motif in self.forbidden]
        return automaton([*motifs, *np.argwhere(self.banned).tolist()], self.letters)

    def _check_handle(self) -> None:
        try:
            handle = json.loads(self.oracle)
        except (ValueError, RecursionError) as error:
            handle = error
        if not isinstance(handle, dict) or not isinstance(handle.get("landscape"), str):
            self.refuse(
                f"oracle {self.oracle[:60]!r} is no handle; expected a JSON object with a "
                "'landscape'"
            )
        if fault := handle_fault(handle, self.letters, self.length):
            self.refuse(f"the oracle's handle of landscape {handle['landscape']}: {fault}")

    def text(self, tokens: np.ndarray) -> str:
        """Convert tokens to letters.

        Args:
            tokens: int8 [L].
        """
        return "".join(self.alphabet[int(token)] for token in tokens)


def make_task(
    name: str,
    alphabet: str,
    sequences: np.ndarray,
    scores: np.ndarray,
    handle: Mapping[str, Any],
    *,
    banned: np.ndarray | None = None,
    hidden_sequences: np.ndarray | None = None,
    hidden_scores: np.ndarray | None = None,
    batch_size: int = BATCH_SIZE,
    wild_type: str = "",
) -> DesignTask:
    """Make a task whose start pool is the best START_POOL rows of the offline set.

    Args:
        name: name of the task.
        alphabet: V letters, one character each.
        sequences: int8 [N, L]; tokens of the offline set.
        scores: float64 [N]; measured values, higher is better.
        handle: name ("landscape") and parameters of the oracle.
        banned: bool [V, V]; letter b may not follow letter a where banned[a, b]; None for no bans.
        hidden_sequences: int8 [H, L]; tokens of rows for the oracle alone; None for none.
        hidden_scores: float64 [H]; their measured values; None for none.
        batch_size: designs that are asked for.
        wild_type: L letters, the sequence that the measured ones are mutants of; empty for none.

    Raises:
        InstanceError: the task is impossible.
    """
    sequences = np.asarray(sequences, np.int8)
    scores = np.asarray(scores, np.float64)
    length = sequences.shape[1] if sequences.ndim == 2 else 0
    if banned is None:
        banned = np.zeros((len(alphabet), len(alphabet)), np.bool_)
    if hidden_sequences is None or hidden_scores is None:
        hidden_sequences, hidden_scores = np.zeros((0, length), np.int8), np.zeros(0)
    return DesignTask(
        name,
        alphabet,
        sequences,
        scores,
        np.argsort(-scores, kind="stable")[:START_POOL],
        batch_size,
        banned,
        json.dumps(dict(handle), sort_keys=True),
        hidden_sequences,
        hidden_scores,
        wild_type,
    )


def seal(task: DesignTask) -> DesignTask:
    """Return a task without the oracle's handle and the hidden rows, as contenders get it; always
    the same object for the same task.
    """
    if task.sealed:
        return task
    return remembered(task, _sealed)


def _sealed(task: DesignTask) -> DesignTask:
    return task.part(
        oracle="",
        hidden_sequences=task.hidden_sequences[:0].copy(),  # a view would keep the rows
        hidden_scores=task.hidden_scores[:0].copy(),  # a view would keep the rows
    )


def encode(alphabet: str, texts: Sequence[str], places: Sequence[str]) -> np.ndarray:
    """Convert texts of one length to tokens.

    Args:
        alphabet: V letters, one character each.
        texts: N texts of L letters.
        places: N names of the rows, for error messages.

    Returns:
        int8 [N, L].

    Raises:
        InstanceError: a character outside the alphabet, or texts of different lengths.
    """
    table = np.full(256, -1, np.int8)
    for token, letter in enumerate(alphabet):
        table[ord(letter)] = token
    length = len(texts[0]) if texts else 0
    tokens = np.zeros((len(texts), length), np.int8)
    for first in range(0, len(texts), CHUNK):
        part = texts[first : first + CHUNK]
        if any(len(text) != length for text in part):
            _refuse_odd_text(alphabet, texts, places)
        codes = np.frombuffer("".join(part).encode("latin-1", "replace"), np.uint8)
        found = table[codes].reshape(len(part), length)
        if found.size and found.min() < 0:
            _refuse_odd_text(alphabet, texts, places)
        tokens[first : first + len(part)] = found
    return tokens


def _refuse_odd_text(alphabet: str, texts: Sequence[str], places: Sequence[str]) -> NoReturn:
    """Raise InstanceError about the first text that `encode` does not take; see there."""
    length = len(texts[0])
    for text, place in zip(texts, places, strict=False):
        if len(text) != length:
            raise InstanceError(
                f"{place}: {text[:40]!r} has {len(text)} letters where {places[0]} has "
                f"{length}; all sequences must have one length (align or trim them)"
            )
        odd = [at for at, letter in enumerate(text) if letter not in alphabet]
        if odd:
            raise InstanceError(
                f"{place}: {text[odd[0]]!r} at position {odd[0]} of {text[:40]!r} is not in "
                f"the alphabet {alphabet!r}; correct it or drop the row"
            )
    raise AssertionError("every text was taken")
