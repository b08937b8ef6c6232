"""Forbidden motifs as an automaton, and how many letters from a reference a sequence must differ.

The automaton is that of Aho & Corasick 1975 (Communications of the ACM 18): read letter by letter,
its state is the longest end of what was read that begins a forbidden motif. Banned pairs are motifs
of two letters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numba import njit

DEAD = -1  # the state in which a forbidden motif has been read
NEVER = np.iinfo(np.uint16).max  # more changes than any sequence has letters


def automaton(motifs: Iterable[Sequence[int]], letters: int) -> np.ndarray:
    """Build the automaton that ends in DEAD as soon as it has read one of some motifs.

    Args:
        motifs: tokens of each motif, at least one each.
        letters: size of the alphabet, V.

    Returns:
        The state after each letter, int64 [S, V]; state 0 is the beginning.
    """
    children: list[dict[int, int]] = [{}]
    ends: list[bool] = [False]
    for motif in motifs:
        node = 0
        for letter in motif:
            if letter not in children[node]:
                children[node][letter] = len(children)
                children.append({})
                ends.append(False)
            node = children[node][letter]
        ends[node] = True
    step = np.zeros((len(children), letters), np.int64)
    fallback = [0] * len(children)
    queue = [0]
    for node in queue:  # breadth first: a fallback is shorter, so that its steps are known
        ends[node] |= ends[fallback[node]]
        for letter in range(letters):
            beside = int(step[fallback[node], letter]) if node else 0
            child = children[node].get(letter)
            step[node, letter] = beside if child is None else child
            if child is not None:
                fallback[child] = beside
                queue.append(child)
    # States that hold a motif are DEAD; the others are numbered anew.
    number = np.cumsum(~np.array(ends)) - 1
    number[np.array(ends)] = DEAD
    renumbered: np.ndarray = number[step][~np.array(ends)]
    return renumbered


@njit(cache=True)
def least_changes(
    references: np.ndarray, barred: np.ndarray, step: np.ndarray, counts: bool
) -> np.ndarray:
    """Count the changes that the rest of a legal sequence needs at least.

    Args:
        references: int8 [R, L].
        barred: bool [L, V]; letter b may not stand at position p where barred[p, b].
        step: int64 [S, V]; of `automaton`.
        counts: whether letters other than the reference's count; else the rest needs 0 changes.

    Returns:
        uint16 [R, L + 1, S]; letters in which positions p, p + 1, ... differ from reference r at
        least, if the automaton is in state s before position p; NEVER where no legal rest exists.
    """
    length, letters = barred.shape
    never = np.uint16(65535)
    least = np.full((len(references), length + 1, len(step)), never, np.uint16)
    least[:, length] = 0
    for row in range(len(references)):
        for place in range(length - 1, -1, -1):
            for state in range(len(step)):
                best = never
                for letter in range(letters):
                    after = step[state, letter]
                    if after < 0 or barred[place, letter]:
                        continue
                    rest = least[row, place + 1, after]
                    if rest == never:
                        continue
                    if counts and letter != references[row, place]:
                        rest += np.uint16(1)
                    best = min(best, rest)
                least[row, place, state] = best
    return least
