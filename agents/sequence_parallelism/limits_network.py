"""The network that proposes limits for sequence parallelism: what it reads, and what it draws.

Opening groups as sequences come (methods/sequence_parallelism/opening.py) gives a good plan at once
if it is given the right time limits of the micro-batches and the right bias of the kinds of groups;
search finds them by hundreds of tries. The network reads a step once and proposes a distribution of
both.

What it reads are shares and ratios, and it has the same layers for each kind and each micro-batch,
so that any batch and any cluster will do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numba import njit
from torch import Tensor, nn

from ...methods.sequence_parallelism.bounds import simple_bound
from ...methods.sequence_parallelism.grouping import Work
from ...methods.sequence_parallelism.limits import MORE
from ...methods.sequence_parallelism.opening import least_batches
from ..layers import Layer, take_layer

BINS = 12  # of the sequences' time alone, in parts of a micro-batch; each of half the time before
ROOMS = 14  # bins of their length, in parts of a device's room, from 1/64 on; each twice as long
LONGEST = 8  # sequences that are seen one by one
MOST_LOSS = 3.0  # logarithm of how much more device time a kind takes than the best
PLACES = 8  # micro-batches that are told apart
N_WHOLE, N_KIND, N_PLACE = 7 + BINS + 2 * ROOMS + LONGEST, 4 + ROOMS, 3 + PLACES
TINY = 1e-12  # ms: a cost model may have costs of 0
FIRST_SPREAD = 0.2  # of the logarithms
SPREADS = (-3.5, 0.0)  # logarithms of the least and the largest
LEAST_CHANCE = 0.02  # of each number of micro-batches: one that is never tried is never learned


class Step(NamedTuple):
    """A step as the network reads it, of G kinds of groups.

    Attributes:
        work: the sequences and kinds.
        least: the fewest micro-batches.
        bound: lower bound on its time, ms.
        whole: float32 [N_WHOLE].
        kinds: float32 [G, N_KIND].
    """

    work: Work
    least: int
    bound: float
    whole: np.ndarray
    kinds: np.ndarray


class Proposals(NamedTuple):
    """Distributions of limits and biases for B steps; M the most micro-batches, G kinds.

    Attributes:
        extra: float32 [B, MORE + 1]; log-probabilities of micro-batches beyond the least number.
        limits: float32 [B, MORE + 1, M]; mean logarithm of the limits' shape.
        bias: float32 [B, G]; mean logarithm of the biases.
        spread: float32 [B, 2]; scales of the Laplace distributions around both means.
    """

    extra: Tensor
    limits: Tensor
    bias: Tensor
    spread: Tensor


class LimitsNetwork(nn.Module):
    """Network that proposes limits and biases.

    Args:
        width: length of the embeddings.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.kind = nn.Sequential(nn.Linear(N_KIND, width), nn.ReLU())
        self.context = nn.Sequential(
            nn.Linear(N_WHOLE + width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()
        )
        self.extra, self.spread = _zeros(width, MORE + 1), _zeros(width, 2)
        self.limit, self.bias = _head(width + N_PLACE, width), _head(2 * width, width)
        with torch.no_grad():
            self.spread.bias.fill_(float(np.log(FIRST_SPREAD)))
            self.extra.bias.copy_(-torch.arange(MORE + 1.0))

    def forward(self, steps: Sequence[Step]) -> Proposals:
        """Propose for B steps."""
        kinds = [torch.from_numpy(step.kinds) for step in steps]
        rows = nn.utils.rnn.pad_sequence(kinds, batch_first=True)
        there = torch.zeros(rows.shape[:2])
        for row, one in enumerate(kinds):
            there[row, : len(one)] = 1.0
        embedded = self.kind(rows) * there.unsqueeze(2)
        mean = embedded.sum(1) / there.sum(1, keepdim=True)
        whole = torch.from_numpy(np.stack([step.whole for step in steps]))
        context = self.context(torch.cat([whole, mean], dim=1))
        of_kinds = context.unsqueeze(1).expand(-1, rows.shape[1], -1)
        bias = self.bias(torch.cat([embedded, of_kinds], dim=2)).squeeze(2)
        places = torch.from_numpy(_all_places([step.least for step in steps]))
        in_plan = (places[..., 1] > 0).float()  # 1 / M, 0 beyond the last
        of_places = context[:, None, None].expand(-1, *places.shape[1:3], -1)
        limits = self.limit(torch.cat([places, of_places], dim=3)).squeeze(3)
        spread = self.spread(context).clamp(*SPREADS).exp()
        chance = LEAST_CHANCE + (1 - (MORE + 1) * LEAST_CHANCE) * self.extra(context).softmax(1)
        return Proposals(chance.log(), _around(limits, in_plan), _around(bias, there), spread)


def _around(x: Tensor, there: Tensor) -> Tensor:
    """Subtract the mean of what is there along the last axis."""
    return x - (x * there).sum(-1, keepdim=True) / there.sum(-1, keepdim=True)


def _head(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), _zeros(width, 1))


def _zeros(inputs: int, outputs: int) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def places_of(many: int) -> np.ndarray:
    """Describe the micro-batches of a plan, float32 [M, N_PLACE].

    Args:
        many: their number, M.
    """
    place = np.arange(many)
    seen = np.zeros((many, N_PLACE), np.float32)
    seen[:, 0], seen[:, 1], seen[-1, 2] = place / many, 1.0 / many, 1.0
    seen[place, 3 + np.minimum(place, PLACES - 1)] = 1.0
    return seen


def _all_places(least: Sequence[int]) -> np.ndarray:
    """Describe those of plans with 0 to MORE micro-batches more than the fewest of each of B steps.

    Returns:
        float32 [B, MORE + 1, M, N_PLACE]; 0 beyond a plan's last.
    """
    seen = np.zeros((len(least), MORE + 1, max(least) + MORE, N_PLACE), np.float32)
    for row, fewest in enumerate(least):
        for extra in range(MORE + 1):
            seen[row, extra, : fewest + extra] = places_of(fewest + extra)
    return seen


def read_step(work: Work) -> Step:
    """Make the network's view of a step.

    Args:
        work: the step, of G kinds.
    """
    least, bound = least_batches(work), simple_bound(work)
    part, all_devices = max(bound / least, TINY), work.devices.sum()  # ms of one micro-batch
    each = (work.capacity / work.degree).max()  # tokens that a device holds
    shares, of_kinds = np.zeros((3, max(BINS, ROOMS))), np.zeros((len(work.degree), 1 + ROOMS))
    longest = np.zeros(LONGEST)
    _add_up(work, part, each, shares, of_kinds, longest)
    fullness = work.lengths.sum() / (each * all_devices)
    whole = np.concatenate(
        [
            [
                np.log2(len(work.lengths)) / 10, np.log2(all_devices) / 6, np.log2(least) / 4,
                fullness - least + 1, work.constant.min() / part, 1.0 / least, float(least == 1),
            ],
            shares[0, :BINS],
            shares[1:, :ROOMS].ravel(),
            longest,
        ]
    )  # fmt: skip
    kinds = np.column_stack(
        [
            np.log2(work.degree) / 6,
            work.devices[work.device_class] / all_devices,
            work.capacity / (each * all_devices),
            of_kinds,
        ]
    )
    return Step(work, least, bound, whole.astype(np.float32), kinds.astype(np.float32))


@njit(cache=True, nogil=True)
def _add_up(
    work: Work, part: float, each: float, shares: np.ndarray, of_kinds: np.ndarray,
    longest: np.ndarray,
) -> None:  # fmt: skip
    """Add up sequences by their time and length.

    Args:
        work: the step, of G kinds.
        part: ms of a micro-batch.
        each: tokens that a device holds.
        shares: float64 [3, bins]; zeros, to which are added the shares of the least device time by
            a sequence's time alone and by its length, and of tokens by its length.
        of_kinds: float64 [G, 1 + ROOMS]; zeros, to which are added the share of the least device
            time that is a kind's, and by length the mean logarithm of its device time over the
            least.
        longest: float64 [LONGEST]; overwritten by the time alone of the first sequences, in parts.
    """
    count, kinds = work.times.shape
    effort, tokens, least_effort = np.zeros(kinds), 0.0, 0.0
    number = np.zeros(ROOMS)
    for k in range(count):
        alone = work.times[k, 0]
        for g in range(kinds):
            effort[g] = work.times[k, g] * work.degree[g]
            alone = min(alone, work.times[k, g])
        best = int(effort.argmin())
        least = max(effort[best], TINY)
        depth = min(max(-np.log2(max(alone, TINY) / part), 0.0), BINS - 1.0)
        room = int(min(max(np.log2(work.lengths[k] / each) + 6.0, 0.0), ROOMS - 1.0))
        shares[0, int(depth)] += effort[best]
        shares[1, room] += effort[best]
        shares[2, room] += work.lengths[k]
        of_kinds[best, 0] += effort[best]
        number[room] += 1.0
        for g in range(kinds):
            of_kinds[g, 1 + room] += min(np.log(max(effort[g], TINY) / least), MOST_LOSS)
        if k < len(longest):
            longest[k] = alone / part
        least_effort += effort[best]
        tokens += work.lengths[k]
    least_effort = max(least_effort, TINY)
    shares[:2] /= least_effort
    shares[2] /= tokens
    of_kinds[:, 0] /= least_effort
    of_kinds[:, 1:] /= np.maximum(number, 1.0)


Layers = tuple[Layer, ...]


class Weights(NamedTuple):
    """The network's layers as arrays, by its modules."""

    kind: Layers
    context: Layers
    extra: Layers
    spread: Layers
    limit: Layers
    bias: Layers


def take_weights(network: LimitsNetwork) -> Weights:
    """Copy a network for play."""
    modules = (getattr(network, name) for name in Weights._fields)
    return Weights(
        *(
            tuple(take_layer(one) for one in module.modules() if isinstance(one, nn.Linear))
            for module in modules
        )
    )


class Proposer:
    """Draws limits and biases for one step; computes what the network's `forward` does, sooner.

    Args:
        weights: of the network.
        step: what it reads.
    """

    def __init__(self, weights: Weights, step: Step) -> None:
        self.step = step
        embedded = _hidden(step.kinds, weights.kind)
        context = _hidden(np.concatenate([step.whole, embedded.mean(axis=0)]), weights.context)
        beside = np.broadcast_to(context, (len(embedded), len(context)))
        bias = _affine(np.concatenate([embedded, beside], axis=1), weights.bias)[:, 0]
        chance, spread = _affine(context, weights.extra), _affine(context, weights.spread)
        chance = np.exp(chance - chance.max())
        chance = LEAST_CHANCE + (1 - (MORE + 1) * LEAST_CHANCE) * chance / chance.sum()
        self.extra, self.bias = np.log(chance), centered(bias)
        self.spread = np.exp(np.clip(spread, *SPREADS))
        self._context, self._layers = context, weights.limit
        self._limits: dict[int, np.ndarray] = {}

    def limits(self, extra: int) -> np.ndarray:
        """Return the mean logarithms of limits, float [M].

        Args:
            extra: micro-batches beyond the least number.
        """
        if extra not in self._limits:
            places = places_of(self.step.least + extra)
            wide = np.broadcast_to(self._context, (len(places), len(self._context)))
            rows = _affine(np.concatenate([places, wide], axis=1), self._layers)[:, 0]
            self._limits[extra] = centered(rows)
        return self._limits[extra]

    def draw(
        self, temperature: float, rng: np.random.Generator
    ) -> tuple[int, np.ndarray, np.ndarray]:
        """Draw micro-batches beyond the least number, and logarithms of limits and of biases.

        Args:
            temperature: of the draws; 0.0 for the likeliest.
            rng: the generator.

        Returns:
            The number, float64 [M] and float64 [G].
        """
        if temperature:
            gumbel = -np.log(rng.exponential(size=MORE + 1))
            extra = int((self.extra / temperature + gumbel).argmax())
        else:
            extra = int(self.extra.argmax())
        means = self.limits(extra)
        spread = temperature * self.spread
        limits = means + rng.laplace(0.0, spread[0], len(means))
        return extra, limits, self.bias + rng.laplace(0.0, spread[1], len(self.bias))


def centered(x: np.ndarray) -> np.ndarray:
    """Subtract the mean."""
    found: np.ndarray = x - x.mean()
    return found


def _affine(x: np.ndarray, layers: Layers) -> np.ndarray:
    """Compute linear layers with ReLU between them."""
    *first, last = layers
    found: np.ndarray = _hidden(x, tuple(first)) @ last.weight + last.bias
    return found


def _hidden(x: np.ndarray, layers: Layers) -> np.ndarray:
    """Compute linear layers, each with ReLU."""
    for layer in layers:
        x = np.maximum(x @ layer.weight + layer.bias, 0.0)
    return x
