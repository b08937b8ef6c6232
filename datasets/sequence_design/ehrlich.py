"""Ehrlich functions: landscapes in closed form with a known optimum and adjustable difficulty.

After Stanton et al. 2024 (arXiv 2407.00236, section 4). A sequence is feasible if none of its
transitions is banned. A feasible sequence scores the product, over c motifs, of the share of the
motif that it has: k elements at fixed distances from each other, anywhere in the sequence, counted
in q steps. An infeasible one scores -inf. The best score is 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.errors import SettingError

BAND = 0.4  # share of the states allowed to each side of the diagonal, before rows are shuffled
TEMPERATURE = 0.5  # temperature of the softmax that gives transition probabilities
MOST_DRAWS = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Ehrlich:
    """An Ehrlich function over sequences of letters out of V.

    Attributes:
        transitions: float64 [V, V]; transition probabilities of the Markov chain that sequences are
            drawn from; 0 where a transition is banned.
        motifs: int64 [c, k]; the motifs' elements, letters.
        offsets: int64 [c, k]; distance of each element from its motif's first one, whose own is 0.
        quantization: number of steps in which a motif's elements count, q; 1 <= q <= k.
        epistasis: penalty e on incomplete motifs: a share s of a motif counts s (1 + e s (s - 1)).
    """

    transitions: np.ndarray
    motifs: np.ndarray
    offsets: np.ndarray
    quantization: int
    epistasis: float

    @property
    def banned(self) -> np.ndarray:
        """Whether letter b may not follow letter a, bool [V, V] by [a, b]; see DesignTask."""
        zero: np.ndarray = self.transitions == 0
        return zero

    def handle(self) -> dict[str, Any]:
        """Describe the function as an oracle's handle, which `from_handle` reads."""
        return {
            "landscape": "ehrlich",
            "motifs": self.motifs.tolist(),
            "offsets": self.offsets.tolist(),
            "quantization": self.quantization,
            "epistasis": self.epistasis,
        }

    def score(self, tokens: np.ndarray) -> np.ndarray:
        """Score sequences.

        Args:
            tokens: int8 [n, L].

        Returns:
            float64 [n]; 0 to 1, or -inf for infeasible sequences.
        """
        n, length = tokens.shape
        total = np.ones(n)
        k = self.motifs.shape[1]
        for motif, offsets in zip(self.motifs, self.offsets, strict=True):
            places = length - int(offsets[-1])
            held = np.zeros((n, places), np.int64)
            for element, offset in zip(motif, offsets, strict=True):
                held += tokens[:, offset : offset + places] == element
            share = held.max(axis=1) * self.quantization // k / self.quantization
            total *= share * (1.0 + self.epistasis * share * (share - 1.0))
        feasible = ~self.banned[tokens[:, :-1], tokens[:, 1:]].any(axis=1)
        return np.where(feasible, total, -np.inf)

    def optimum(self, length: int) -> np.ndarray:
        """Construct a sequence of score 1: all motifs, each element repeated up to the next one.

        Args:
            length: letters of the sequence, L.

        Returns:
            int8 [L].
        """
        best = np.empty(length, np.int8)
        at = 0
        for motif, offsets in zip(self.motifs, self.offsets, strict=True):
            for element, offset in zip(motif, offsets, strict=True):
                best[at + offset :] = element
            at += int(offsets[-1]) + 1
        return best

    def sample(self, count: int, length: int, rng: np.random.Generator) -> np.ndarray:
        """Draw feasible sequences from the Markov chain.

        Args:
            count: number of sequences, n.
            length: letters of a sequence, L.
            rng: random generator.

        Returns:
            int8 [n, L].
        """
        steps = np.cumsum(self.transitions, axis=1)
        tokens = np.empty((count, length), np.int8)
        tokens[:, 0] = rng.integers(len(steps), size=count)
        for place in range(1, length):
            draw = rng.random(count)[:, None]
            tokens[:, place] = _drawn(draw, steps[tokens[:, place - 1]])
        return tokens


def from_handle(handle: Mapping[str, Any], banned: np.ndarray) -> Ehrlich:
    """Make the function that a handle describes; all allowed transitions are equally likely.

    Args:
        handle: see `Ehrlich.handle`.
        banned: bool [V, V]; the task's banned transitions.
    """
    allowed = (~banned).astype(np.float64)
    return Ehrlich(
        allowed / allowed.sum(axis=1, keepdims=True),
        np.asarray(handle["motifs"], np.int64),
        np.asarray(handle["offsets"], np.int64),
        int(handle["quantization"]),
        float(handle["epistasis"]),
    )


def draw_ehrlich(
    states: int,
    length: int,
    motifs: int,
    motif_length: int,
    quantization: int,
    epistasis: float,
    rng: np.random.Generator,
) -> Ehrlich:
    """Draw a random function.

    The motifs are drawn as one walk of the Markov chain without repeats in a row and cut apart, so
    that a sequence with all of them is feasible; with its gaps a motif spans at most length //
    motifs letters.

    Args:
        states: letters of the alphabet, V.
        length: letters of a sequence, L.
        motifs: number of motifs, c.
        motif_length: elements of a motif, k.
        quantization: steps in which a motif's elements count, q.
        epistasis: see Ehrlich.
        rng: random generator.

    Raises:
        SettingError: no such function exists.
    """
    if motifs * motif_length > length:
        raise SettingError(
            f"ehrlich: {motifs} motifs of {motif_length} elements need more than the length "
            f"{length}; set length={motifs * motif_length} or more"
        )
    transitions = _transitions(states, rng)
    walk = np.empty(motifs * motif_length, np.int64)
    walk[0] = rng.integers(states)
    for step in range(1, len(walk)):
        chances = transitions[walk[step - 1]].copy()
        chances[walk[step - 1]] = 0.0
        walk[step] = _drawn(rng.random(), np.cumsum(chances / chances.sum())[None])[0]
    slack = length // motifs - motif_length
    offsets = np.zeros((motifs, motif_length), np.int64)
    for row in range(motifs):
        weights = rng.random(motif_length - 1)
        gaps = 1 + np.floor(slack * weights / max(weights.sum(), 1e-12)).astype(np.int64)
        offsets[row, 1:] = np.cumsum(gaps)
    return Ehrlich(
        transitions, walk.reshape(motifs, motif_length), offsets, quantization, epistasis
    )


def _drawn(draws: np.ndarray | float, steps: np.ndarray) -> np.ndarray:
    """Return the columns that uniform draws fall into, by rows of cumulative probabilities."""
    below: np.ndarray = (np.asarray(draws) >= steps).sum(axis=1)
    column: np.ndarray = np.minimum(below, steps.shape[1] - 1)
    return column


def _transitions(states: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a transition matrix with bans under which every state can still reach every other."""
    width = max(1, int(BAND * states))
    for _ in range(MOST_DRAWS):
        near = (np.arange(states)[None] - np.arange(states)[:, None] + width) % states
        allowed = (near <= 2 * width)[rng.permutation(states)]
        np.fill_diagonal(allowed, True)
        chances = np.exp(rng.normal(size=(states, states)) / TEMPERATURE) * allowed
        reach = np.linalg.matrix_power(allowed.astype(np.float64) / states, states)
        if (reach > 0).all():
            normalized: np.ndarray = chances / chances.sum(axis=1, keepdims=True)
            return normalized
    raise SettingError(f"ehrlich: no ergodic chain over {states} states was found; give more")
