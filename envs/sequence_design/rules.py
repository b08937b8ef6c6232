"""The rules that designs must keep: which sequences are legal, and how to stay among them.

Rules are banned pairs of letters, letters barred at a position, forbidden motifs, and the number of
letters that may differ from the nearest reference; DesignTask has them. Everything that makes
designs asks the functions here: environments for their masks, solvers and agents for the nearest
legal sequence. The compiled parts are in legality.py; tasks whose only rule are banned pairs use
those of dynamics.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...core.instance import remembered
from ...datasets.sequence_design.instance import DesignTask
from ...datasets.sequence_design.motifs import least_changes
from .dynamics import append_mask, edit_mask, feasible
from .legality import allowed_edits, allowed_letters, best_legal, legal_rows

NOISE = 0.01  # of the scores that decide which letters a repair keeps, so that no place is favored


@dataclass(frozen=True, slots=True, eq=False)
class Rules:
    """The rules of a task, compiled.

    Attributes:
        barred: bool [L, V]; letter b may not stand at position p where barred[p, b].
        step: int64 [S, V]; the automaton of motifs and banned pairs; see motifs.automaton.
        references: int8 [R, L]; where changes do not count, one row that is not used.
        most: letters that may differ from the nearest reference; L where changes do not count.
        least: uint16 [R, L + 1, S]; changes that the rest of a sequence needs at least.
        center: int8 [L]; the commonest letter of the references at each position.
        starts: int64 [R + 1]; reference r differs from the center in the entries starts[r] up to
            starts[r + 1] of `places` and `letters`.
        places: int64 [D]; rising positions within a reference.
        letters: int8 [D]; the reference's letters there.
    """

    barred: np.ndarray
    step: np.ndarray
    references: np.ndarray
    most: int
    least: np.ndarray
    center: np.ndarray
    starts: np.ndarray
    places: np.ndarray
    letters: np.ndarray

    @property
    def near(self) -> tuple[int, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """most, center, starts, places, letters: what counts changes in compiled functions."""
        return self.most, self.center, self.starts, self.places, self.letters


def has_rules(task: DesignTask) -> bool:
    """Return `task.ruled`, which every step of an environment asks for."""
    return remembered(task, _is_ruled)


def _is_ruled(task: DesignTask) -> bool:
    return task.ruled


def rules_of(task: DesignTask) -> Rules:
    """Return the rules of a task, compiled; kept for as long as the task is."""
    return remembered(task, _compiled)


def _compiled(task: DesignTask) -> Rules:
    step, counts = task.automaton(), task.most_changes > 0
    references = np.array(task.references if counts else task.sequences[:1])
    center = np.array(
        [np.bincount(column, minlength=task.letters).argmax() for column in references.T], np.int8
    )
    rows, places = np.nonzero(references != center)
    starts = np.searchsorted(rows, np.arange(len(references) + 1))
    return Rules(
        np.array(task.barred), step, references, task.most_changes if counts else task.length,
        least_changes(references, np.array(task.barred), step, counts), center,
        starts.astype(np.int64), places.astype(np.int64), references[rows, places],
    )  # fmt: skip


def legal(task: DesignTask, tokens: np.ndarray) -> np.ndarray:
    """Return which sequences int8 [n, L] keep all rules, bool [n]."""
    found: np.ndarray
    if not has_rules(task):
        found = feasible(tokens, task.banned)
        return found
    rules = rules_of(task)
    found = legal_rows(np.ascontiguousarray(tokens, np.int8), rules.barred, rules.step, rules.near)
    return found


def letters_at(task: DesignTask, tokens: np.ndarray, at: int | np.ndarray) -> np.ndarray:
    """Return the letters with which sequences under construction can still become legal.

    Args:
        task: the task.
        tokens: int8 [n, L]; the letters before position `at` are there and can become legal.
        at: the position that is next; one for all, or int64 [n].

    Returns:
        int8 [n, V]; 1 for each such letter. There is always one.
    """
    mask = np.zeros((len(tokens), task.letters), np.int8)
    if not has_rules(task):
        if isinstance(at, np.ndarray):
            before = tokens[np.arange(len(tokens)), at - 1]
            mask[:] = ~task.banned[np.minimum(before, task.letters - 1)] | (at == 0)[:, None]
        else:
            append_mask(tokens, at, task.banned, mask)
        return mask
    rules = rules_of(task)
    allowed_letters(
        np.ascontiguousarray(tokens, np.int8), np.broadcast_to(at, len(tokens)).astype(np.int64),
        rules.barred, rules.step, rules.references, rules.least, rules.near, mask,
    )  # fmt: skip
    return mask


def letters_after(task: DesignTask, tokens: np.ndarray) -> np.ndarray:
    """Return the letters that may stand at each position of sequences after those before it.

    Args:
        task: the task.
        tokens: int8 [n, L]; legal.

    Returns:
        bool [n, L, V].
    """
    if has_rules(task):
        masks = [letters_at(task, tokens, place) for place in range(task.length)]
        return np.stack(masks, axis=1).astype(np.bool_)
    found = np.ones((*tokens.shape, task.letters), np.bool_)
    found[:, 1:] = ~task.banned[tokens[:, :-1]]
    return found


def edits(task: DesignTask, tokens: np.ndarray) -> np.ndarray:
    """Return which substitutions change legal sequences into legal ones.

    Args:
        task: the task.
        tokens: int8 [n, L]; legal.

    Returns:
        int8 [n, L * V + 1]; 1 for the edits (position * V + letter) that do, and for the last, to
        stop.
    """
    mask = np.zeros((len(tokens), task.length * task.letters + 1), np.int8)
    if not has_rules(task):
        edit_mask(tokens, task.banned, mask)
        return mask
    rules = rules_of(task)
    allowed_edits(
        np.ascontiguousarray(tokens, np.int8), rules.barred, rules.step, rules.references,
        rules.near, mask,
    )  # fmt: skip
    return mask


def likeliest(
    task: DesignTask, scores: np.ndarray, tokens: np.ndarray | None = None, at: int | np.ndarray = 0
) -> np.ndarray:
    """Find the legal sequences with the highest sum of scores near one reference each.

    The reference is the one whose own letters have the highest sum.

    Args:
        task: one with rules.
        scores: float [n, L, V]; how much each letter is wanted at each position.
        tokens: int8 [n, L]; sequences whose first `at` letters are kept; None if `at` is 0.
        at: letters that are kept; one number for all, or int64 [n].

    Returns:
        int8 [n, L]; legal.
    """
    rules = rules_of(task)
    found = np.zeros(scores.shape[:2], np.int8) if tokens is None else tokens.astype(np.int8)
    best_legal(
        np.ascontiguousarray(scores, np.float64),
        np.broadcast_to(at, len(found)).astype(np.int64),
        rules.barred, rules.step, rules.references, rules.least, rules.near, found,
    )  # fmt: skip
    return found


def repaired(
    task: DesignTask, tokens: np.ndarray, rng: np.random.Generator | None = None
) -> np.ndarray:
    """Change as few letters as make sequences keep the task's rules.

    Args:
        task: one with rules, or all sequences are returned as they are.
        tokens: int8 [n, L].
        rng: draws which letters are kept where there is a choice; None for the first ones.

    Returns:
        int8 [n, L]; legal sequences are as they were, others the nearest to them among those near
        one reference, that nearest to them.
    """
    if not has_rules(task):
        return tokens
    broken = np.flatnonzero(~legal(task, tokens))
    if not len(broken):
        return tokens
    scores = np.eye(task.letters)[tokens[broken]]
    if rng is not None:
        scores += rng.uniform(0.0, NOISE / task.length, scores.shape)
    whole = tokens.copy()
    whole[broken] = likeliest(task, scores)
    return whole


def starting_designs(task: DesignTask) -> np.ndarray:
    """Return the sequences of the start pool int8 [S, L], those that break a rule repaired."""
    return repaired(task, task.sequences[task.starts])
