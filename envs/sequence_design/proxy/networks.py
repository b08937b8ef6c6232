"""The networks that proxies are made of, with their gradients: E members side by side.

Two kinds look for motifs: filters of K neighboring letters are laid over every place of a
sequence, their matches are pooled, by the strongest or in total, and added up. So a motif counts
wherever it stands, and evidence for it from weak sequences adds up to strong ones (for protein and
DNA binding: Alipanahi et al. 2015, DeepBind, Nature Biotechnology 33; the strongest match of
several motifs is also what Ehrlich functions are made of). The third kind, a perceptron of two
hidden layers on one-hot letters, has weights for every place of its own. Weights of letters begin
small, which makes all of them extrapolate much better.

Written here, without torch, so that environments need no framework; the compiled parts are in
kernels.py.
"""

from __future__ import annotations

import copy
from typing import Protocol

import numpy as np

from .kernels import (
    best_gradient,
    best_match,
    first_gradient,
    first_layer,
    second_layer,
    total_gradient,
    total_match,
)

FILTERS, WIDTH = 64, 128
NARROWEST, WIDEST = 8, 16  # letters of a filter: a quarter of the sequence, within these
SMALL = 0.1  # of He's deviation, for the first weights of filters
SMALL_DENSE = 0.25  # the same for the perceptron's

Activations = tuple[np.ndarray, ...]  # tokens, and the units between them and the predictions


class Members(Protocol):
    """E models of one kind, evaluated side by side.

    Attributes:
        weights: float32 arrays [E, ...].
    """

    weights: list[np.ndarray]

    @property
    def title(self) -> str:
        """What the kind is called."""
        ...

    def forward(self, tokens: np.ndarray) -> tuple[np.ndarray, Activations]:
        """Predict.

        Args:
            tokens: int8 [E, n, L], or [1, n, L] if all members read the same ones.

        Returns:
            Predictions float32 [E, n], and the activations that `backward` needs.
        """
        ...

    def member(self, number: int) -> Members:
        """Return one of the models, as if it were the only one."""
        ...

    def input_gradients(self, soft: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Predict for weighted letters, and differentiate.

        Args:
            soft: float32 [n, L, V]; the weight of each letter at each place.

        Returns:
            Predictions float32 [E, n], and their gradients by `soft`, float32 [E, n, L, V].
        """
        ...


class Networks(Members, Protocol):
    """E networks of one kind, trained side by side; their weights are changed in place."""

    def backward(self, activations: Activations, slope: np.ndarray) -> list[np.ndarray]:
        """Return the gradients of the weights, in their order and shapes.

        Args:
            activations: of `forward`.
            slope: gradient of the loss by the predictions, float32 [E, n].
        """
        ...


class MotifNetworks:
    """Filters over neighboring letters, pooled over the places, then a linear layer.

    Args:
        members: number of networks, E.
        length: letters of a sequence, L.
        letters: size of the alphabet, V.
        total: pool by the sum of the rectified matches over the square root of their number; else
            by the strongest match.
        rng: draws the first weights.
    """

    def __init__(
        self, members: int, length: int, letters: int, total: bool, rng: np.random.Generator
    ) -> None:
        self.total, self.letters = total, letters
        self.reach = int(np.clip(length // 4, NARROWEST, WIDEST))
        filters = rng.normal(
            0.0, SMALL * np.sqrt(1.0 / self.reach), (members, self.reach * letters, FILTERS)
        )
        last = rng.normal(0.0, np.sqrt(1.0 / FILTERS), (members, FILTERS))
        self.weights = [
            filters.astype(np.float32),
            np.zeros((members, FILTERS), np.float32),
            last.astype(np.float32),
            np.zeros(members, np.float32),
        ]

    @property
    def title(self) -> str:
        """See Members."""
        return "motif networks, total match" if self.total else "motif networks, strongest match"

    def forward(self, tokens: np.ndarray) -> tuple[np.ndarray, Activations]:
        """See Members."""
        filters, bias, last, last_bias = self.weights
        shape = (len(filters), *tokens.shape[1:2], FILTERS)
        matches = np.empty(shape, np.float32)
        places = np.empty((0, 0, 0) if self.total else shape, np.int32)
        if self.total:
            total_match(tokens, filters, bias, self.letters, matches)
        else:
            best_match(tokens, filters, bias, self.letters, matches, places)
        pooled = np.maximum(matches, 0.0)
        return _linear(pooled, last, last_bias), (tokens, pooled, places)

    def member(self, number: int) -> MotifNetworks:
        """See Members."""
        alone = copy.copy(self)
        alone.weights = [weights[number : number + 1] for weights in self.weights]
        return alone

    def backward(self, activations: Activations, slope: np.ndarray) -> list[np.ndarray]:
        """See Members."""
        filters, bias, last, _ = self.weights
        tokens, pooled, places = activations
        back = slope[:, :, None] * last[:, None] * (pooled > 0)
        gradient, bias_gradient = np.zeros_like(filters), np.zeros_like(bias)
        if self.total:
            total_gradient(tokens, filters, bias, self.letters, back, gradient, bias_gradient)
        else:
            best_gradient(tokens, places, back, self.letters, gradient)
            bias_gradient = back.sum(axis=1)
        return [gradient, bias_gradient, (slope[:, None] @ pooled)[:, 0], slope.sum(axis=1)]

    def input_gradients(self, soft: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See Members."""
        filters, bias, last, last_bias = self.weights
        members, (count, length, letters) = len(filters), soft.shape
        before = self.reach // 2
        around = np.zeros((count, length + 2 * before, letters), np.float32)
        around[:, before : before + length] = soft
        places = length + 2 * before - self.reach + 1
        by_letter = filters.reshape(members, self.reach, letters, FILTERS)
        matches = np.repeat(bias[:, None, None], count, axis=1).repeat(places, axis=2)
        for at in range(self.reach):
            part = around[:, at : at + places].reshape(-1, letters)
            matches += (part @ by_letter[:, at]).reshape(matches.shape)
        chosen = np.zeros_like(matches)
        if self.total:
            pooled = np.maximum(matches, 0.0).sum(axis=2) / np.float32(np.sqrt(places))
            chosen[:] = (matches > 0) / np.float32(np.sqrt(places))
        else:
            best = matches.argmax(axis=2)[:, :, None]
            pooled = np.maximum(np.take_along_axis(matches, best, 2)[:, :, 0], 0.0)
            np.put_along_axis(chosen, best, 1.0, 2)
            chosen *= (pooled > 0)[:, :, None]
        chosen *= last[:, None, None]
        back = np.zeros((members, *around.shape), np.float32)
        for at in range(self.reach):
            part = chosen.reshape(members, -1, FILTERS) @ by_letter[:, at].transpose(0, 2, 1)
            back[:, :, at : at + places] += part.reshape(members, count, places, letters)
        values = _linear(pooled, last, last_bias)
        return values, back[:, :, before : before + length]


class Perceptrons:
    """Two hidden layers of rectified units on one-hot letters; the weights of each place's most
    frequent letter are 0.

    Args:
        members: number of networks, E.
        consensus: int8 [L]; the most frequent letter of each place.
        letters: size of the alphabet, V.
        differing: mean number of letters in which a sequence differs from the consensus.
        rng: draws the first weights.
    """

    def __init__(
        self,
        members: int,
        consensus: np.ndarray,
        letters: int,
        differing: float,
        rng: np.random.Generator,
    ) -> None:
        self.consensus, self.letters = consensus, letters
        he = SMALL_DENSE * np.sqrt(2.0 / max(differing, 1.0)), np.sqrt(2.0 / WIDTH)
        first, second = (
            rng.normal(0.0, deviation, (members, rows, WIDTH)).astype(np.float32)
            for rows, deviation in ((len(consensus) * letters, he[0]), (WIDTH, he[1]))
        )
        first[:, np.arange(len(consensus)) * letters + consensus] = 0.0
        last = rng.normal(0.0, np.sqrt(1.0 / WIDTH), (members, WIDTH)).astype(np.float32)
        biases = [np.zeros((members, WIDTH), np.float32) for _ in range(2)]
        self.weights = [first, biases[0], second, biases[1], last, np.zeros(members, np.float32)]

    @property
    def title(self) -> str:
        """See Members."""
        return "perceptrons"

    def forward(self, tokens: np.ndarray) -> tuple[np.ndarray, Activations]:
        """See Members."""
        first, first_bias, second, second_bias, last, last_bias = self.weights
        shape = (len(first), *tokens.shape[1:2], WIDTH)
        hidden, deeper = np.empty(shape, np.float32), np.empty(shape, np.float32)
        first_layer(tokens, self.consensus, self.letters, first, first_bias, hidden)
        second_layer(hidden, second, second_bias, deeper)
        return _linear(deeper, last, last_bias), (tokens, hidden, deeper)

    def member(self, number: int) -> Perceptrons:
        """See Members."""
        alone = copy.copy(self)
        alone.weights = [weights[number : number + 1] for weights in self.weights]
        return alone

    def backward(self, activations: Activations, slope: np.ndarray) -> list[np.ndarray]:
        """See Members."""
        first, _, second, _, last, _ = self.weights
        tokens, hidden, deeper = activations
        gradients = [(slope[:, None] @ deeper)[:, 0], slope.sum(axis=1)]
        back = (slope[:, :, None] * last[:, None]) * (deeper > 0)
        gradients = [hidden.transpose(0, 2, 1) @ back, back.sum(axis=1), *gradients]
        back = (back @ second.transpose(0, 2, 1)) * (hidden > 0)
        gradient = np.zeros_like(first)
        first_gradient(tokens, self.consensus, self.letters, back, gradient)
        return [gradient, back.sum(axis=1), *gradients]

    def input_gradients(self, soft: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See Members."""
        first, first_bias, second, second_bias, last, last_bias = self.weights
        hidden = np.maximum(soft.reshape(len(soft), -1) @ first + first_bias[:, None], 0.0)
        deeper = np.maximum(hidden @ second + second_bias[:, None], 0.0)
        back = (deeper > 0) * last[:, None]
        back = (back @ second.transpose(0, 2, 1)) * (hidden > 0)
        gradient = (back @ first.transpose(0, 2, 1)).reshape(len(first), *soft.shape)
        return _linear(deeper, last, last_bias), gradient


def _linear(units: np.ndarray, last: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Apply the last, linear layer, summed in the same order for every row; float32 [E, n].

    Args:
        units: float32 [E, n, W].
        last: weights, float32 [E, W].
        bias: float32 [E].
    """
    values: np.ndarray = (units * last[:, None]).sum(axis=2) + bias[:, None]
    return values
