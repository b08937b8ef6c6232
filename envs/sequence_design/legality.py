"""The compiled parts of rules.py.

`near` is (most, center, starts, places, letters): see the attributes of rules.Rules. References are
kept as their differences from one center, as measured sequences mostly differ from each other in
few letters.
"""

from __future__ import annotations

import numpy as np
from numba import njit

Near = tuple[int, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@njit(cache=True)
def _changes(sequence: np.ndarray, end: int, own: int, row: int, near: Near) -> int:
    """Count the letters before a position in which a sequence differs from a reference.

    Args:
        sequence: int8 [L].
        end: the position.
        own: letters before it in which the sequence differs from the center.
        row: the reference.
        near: see the module.
    """
    _, center, starts, places, letters = near
    changes = own
    for at in range(starts[row], starts[row + 1]):
        place = places[at]
        if place >= end:
            break
        if sequence[place] == letters[at]:
            changes -= 1
        elif sequence[place] == center[place]:
            changes += 1
    return changes


@njit(cache=True)
def _from_center(sequence: np.ndarray, end: int, near: Near) -> int:
    """Count the letters before a position in which a sequence differs from the center."""
    center, count = near[1], 0
    for place in range(end):
        count += sequence[place] != center[place]
    return count


@njit(cache=True)
def _is_near(sequence: np.ndarray, near: Near) -> bool:
    """Return whether a sequence differs from a reference in few enough letters."""
    most, _, starts, _, _ = near
    length = len(sequence)
    if most >= length:
        return True
    own = _from_center(sequence, length, near)
    for row in range(len(starts) - 1):
        size = starts[row + 1] - starts[row]
        if abs(own - size) <= most and _changes(sequence, length, own, row, near) <= most:
            return True
    return False


@njit(cache=True)
def legal_rows(tokens: np.ndarray, barred: np.ndarray, step: np.ndarray, near: Near) -> np.ndarray:
    """Return which sequences int8 [n, L] keep all rules, bool [n]; see rules.legal."""
    found = np.zeros(len(tokens), np.bool_)
    for lane in range(len(tokens)):
        state = 0
        for place in range(tokens.shape[1]):
            letter = tokens[lane, place]
            state = step[state, letter] if letter < len(barred[place]) else -1
            if state < 0 or barred[place, letter]:
                state = -1
                break
        found[lane] = state >= 0 and _is_near(tokens[lane], near)
    return found


@njit(cache=True)
def allowed_letters(
    tokens: np.ndarray,
    at: np.ndarray,
    barred: np.ndarray,
    step: np.ndarray,
    references: np.ndarray,
    least: np.ndarray,
    near: Near,
    mask: np.ndarray,
) -> None:
    """Write the letters with which sequences can become legal; see rules.letters_at.

    Args:
        tokens: int8 [n, L].
        at: int64 [n]; the position that is next.
        barred: see rules.Rules, also for the next ones.
        step: its automaton.
        references: its references.
        least: its least changes.
        near: see the module.
        mask: int8 [n, V], zeros; written.
    """
    most = near[0]
    counts = most < tokens.shape[1]
    for lane in range(len(tokens)):
        state, place = 0, at[lane]
        for before in range(place):
            state = step[state, tokens[lane, before]]
            if state < 0:
                break
        if state < 0:
            continue
        missing = 0
        for letter in range(len(step[0])):
            missing += step[state, letter] >= 0 and not barred[place, letter]
        own = _from_center(tokens[lane], place, near)
        for row in range(len(references)):
            if not missing:
                break
            spent = _changes(tokens[lane], place, own, row, near) if counts else 0
            if spent > most:
                continue
            for letter in range(len(step[0])):
                after = step[state, letter]
                if mask[lane, letter] or after < 0 or barred[place, letter]:
                    continue
                change = 1 if counts and letter != references[row, place] else 0
                if spent + change + np.int64(least[row, place + 1, after]) <= most:
                    mask[lane, letter] = 1
                    missing -= 1


@njit(cache=True)
def allowed_edits(
    tokens: np.ndarray,
    barred: np.ndarray,
    step: np.ndarray,
    references: np.ndarray,
    near: Near,
    mask: np.ndarray,
) -> None:
    """Write which substitutions keep sequences legal; see rules.edits.

    Args:
        tokens: int8 [n, L]; legal.
        barred: see rules.Rules, also for the next ones.
        step: its automaton.
        references: its references.
        near: see the module.
        mask: int8 [n, L * V + 1], zeros; written.
    """
    count, length = tokens.shape
    letters = len(step[0])
    states = np.empty(length + 1, np.int64)
    for lane in range(count):
        sequence = tokens[lane]
        close = _close_edits(sequence, references, letters, near)
        states[0] = 0
        for place in range(length):
            states[place + 1] = step[states[place], sequence[place]]
        for place in range(length):
            for letter in range(letters):
                if letter == sequence[place] or barred[place, letter] or not close[place, letter]:
                    continue
                state, at = step[states[place], letter], place + 1
                while state >= 0 and at < length and state != states[at]:
                    state = step[state, sequence[at]]
                    at += 1
                mask[lane, place * letters + letter] = state >= 0
        mask[lane, length * letters] = 1


@njit(cache=True)
def _close_edits(
    sequence: np.ndarray, references: np.ndarray, letters: int, near: Near
) -> np.ndarray:
    """Return which substitutions, bool [L, V], keep a sequence near a reference."""
    most, length = near[0], len(sequence)
    close = np.zeros((length, letters), np.bool_)
    own = _from_center(sequence, length, near)
    for row in range(len(references)):
        changes = 0 if most >= length else _changes(sequence, length, own, row, near)
        if changes < most or most >= length:
            close[:] = True
            return close
        if changes > most + 1:
            continue
        for place in range(length):
            if sequence[place] != references[row, place]:
                if changes == most:
                    close[place] = True
                else:
                    close[place, references[row, place]] = True
    return close


@njit(cache=True)
def best_legal(
    scores: np.ndarray,
    at: np.ndarray,
    barred: np.ndarray,
    step: np.ndarray,
    references: np.ndarray,
    least: np.ndarray,
    near: Near,
    tokens: np.ndarray,
) -> None:
    """Write the legal sequences with the highest sum of scores; see rules.likeliest.

    A reference is chosen first, then the letters by dynamic programming over positions, states of
    the automaton and changes made (Viterbi 1967).

    Args:
        scores: float64 [n, L, V].
        at: int64 [n]; letters that are kept.
        barred: see rules.Rules, also for the next ones.
        step: its automaton.
        references: its references.
        least: its least changes.
        near: see the module.
        tokens: int8 [n, L]; written from position `at` on.
    """
    count, length, letters = scores.shape
    most = near[0]
    counts = most < length
    budget = most if counts else 0
    values = np.empty((length + 1, len(step), budget + 1))
    choice = np.empty((length, len(step), budget + 1), np.int8)
    for lane in range(count):
        first, state = at[lane], 0
        for place in range(first):
            state = step[state, tokens[lane, place]]
        own = _from_center(tokens[lane], first, near)
        chosen, spent, best = 0, 0, -np.inf
        for row in range(len(references)):
            used = _changes(tokens[lane], first, own, row, near) if counts else 0
            if used + np.int64(least[row, first, state]) > most:
                continue
            total = 0.0
            for place in range(first, length):
                total += scores[lane, place, references[row, place]]
            if total > best:
                chosen, spent, best = row, used, total
        values[length] = 0.0
        for place in range(length - 1, first - 1, -1):
            for now in range(len(step)):
                for used in range(budget + 1):
                    top, which = -np.inf, -1
                    for letter in range(letters):
                        after = step[now, letter]
                        if after < 0 or barred[place, letter]:
                            continue
                        change = 1 if counts and letter != references[chosen, place] else 0
                        if used + change > budget:
                            continue
                        value = (
                            scores[lane, place, letter] + values[place + 1, after, used + change]
                        )
                        if value > top:
                            top, which = value, letter
                    values[place, now, used] = top
                    choice[place, now, used] = which
        used = spent
        for place in range(first, length):
            letter = choice[place, state, used]
            tokens[lane, place] = letter
            state = step[state, letter]
            if counts and letter != references[chosen, place]:
                used += 1
