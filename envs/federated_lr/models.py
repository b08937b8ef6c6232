"""Models of many clients at once: weights lie flat, one row a client, and every layer is one
batched product over them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ...datasets.federated_lr.instance import DENSE, IMAGE, Federation
from . import dense

KERNEL = 5  # of cnn's convolutions, padded; each is followed by pooling of 2 x 2

Weights = list[Tensor]
Shapes = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Model:
    """A model of one federation.

    Attributes:
        shapes: of its weights, in the order in which they lie flat.
        fans: of each, the number of inputs that set its initial spread.
        forward: (weights [C, *shape] each, inputs [C, B, ...]) -> logits [C, B, classes], or
            [C, B, L, classes] for text.
        sizes: of a dense model, its layers', inputs first; none of another.
    """

    shapes: Shapes
    fans: tuple[int, ...]
    forward: Callable[[Weights, Tensor], Tensor]
    sizes: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """Weights of one client, P."""
        return sum(map(math.prod, self.shapes))

    def bounds(self) -> np.ndarray:
        """Weights begin evenly drawn from -bound..bound, float64 [P]; 1 / sqrt(fan), as torch's."""
        parts = zip(self.shapes, self.fans, strict=True)
        return np.concatenate([np.full(math.prod(s), 1 / math.sqrt(fan)) for s, fan in parts])

    @property
    def _layers(self) -> np.ndarray:
        return np.array(self.sizes)

    def views(self, flat: Tensor) -> Weights:
        """The weights in rows of flat [C, P]."""
        parts = flat.split([math.prod(shape) for shape in self.shapes], dim=1)
        return [part.unflatten(1, s) for part, s in zip(parts, self.shapes, strict=True)]

    def evaluate(self, flat: Tensor, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss and accuracy, each [C], of flat [C, P] on the same rows for all, [B, ...]."""
        if self.sizes and flat.device.type == "cpu":
            found = torch.empty((2, len(flat)), dtype=flat.dtype)
            rows = inputs.flatten(1).numpy()
            loss, accuracy = found.numpy()
            dense.evaluate(flat.numpy(), self._layers, rows, labels.numpy(), loss, accuracy)
            return found[0], found[1]
        with torch.no_grad():
            shared = inputs.expand(len(flat), *inputs.shape)
            logits = self.forward(self.views(flat), shared).flatten(1, -2)
            wanted = labels.flatten().expand(len(flat), -1)
            loss = functional.cross_entropy(logits.transpose(1, 2), wanted, reduction="none")
            hits = (logits.argmax(-1) == wanted).double()
            return loss.mean(1), hits.mean(1)

    def gradient(self, flat: Tensor, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss [C] over each client's rows, and its gradient [C, P].

        Args:
            flat: [C, P].
            inputs: [C, B, ...].
            labels: int64 [C, B], or [C, B, L].
        """
        if self.sizes and flat.device.type == "cpu":
            found, slopes = torch.empty(len(flat), dtype=flat.dtype), torch.empty_like(flat)
            arrays = [part.numpy() for part in (inputs.flatten(2), labels, found, slopes)]
            dense.gradients(flat.numpy(), self._layers, *arrays)
            return found, slopes
        # A player may step environments where gradients are switched off; clients need theirs.
        with torch.inference_mode(False), torch.enable_grad():
            leaf, given = flat.clone().requires_grad_(), inputs.clone()
            logits = self.forward(self.views(leaf), given).flatten(1, -2)
            loss = functional.cross_entropy(
                logits.transpose(1, 2), labels.flatten(1).clone(), reduction="none"
            ).mean(1)
            (slope,) = torch.autograd.grad(loss.sum(), leaf)
        return loss.detach(), slope


def model_of(federation: Federation) -> Model:
    """The federation's model."""
    shape, classes, width = federation.inputs.shape[1:], federation.classes, federation.width
    if federation.model in DENSE:
        sizes = [math.prod(shape), *([width] if federation.model == "mlp" else []), classes]
        pairs = list(pairwise(sizes))
        shapes: Shapes = tuple(s for a, b in pairs for s in ((b, a), (b,)))
        return Model(shapes, tuple(a for a, _ in pairs for _ in range(2)), _dense, tuple(sizes))
    if federation.model in IMAGE:
        channels, height, wide = shape
        flat = 2 * width * (height // 4) * (wide // 4)
        area = KERNEL * KERNEL
        shapes = (
            (width, channels, KERNEL, KERNEL), (width,),
            (2 * width, width, KERNEL, KERNEL), (2 * width,),
            (classes, flat), (classes,),
        )  # fmt: skip
        fans = (channels * area,) * 2 + (width * area,) * 2 + (flat,) * 2
        return Model(shapes, fans, _convolutional)
    gates = {"gru": 3, "lstm": 4}[federation.model] * width
    shapes = ((gates, classes), (gates, width), (gates,), (gates,), (classes, width), (classes,))
    forward = {"gru": _gru, "lstm": _lstm}[federation.model]
    return Model(shapes, (width,) * 6, forward)


def _dense(weights: Weights, inputs: Tensor) -> Tensor:
    x = inputs.flatten(2)
    for layer in range(0, len(weights), 2):
        x = torch.baddbmm(weights[layer + 1].unsqueeze(1), x, weights[layer].transpose(1, 2))
        if layer + 2 < len(weights):
            x = torch.relu(x)
    return x


def _convolutional(weights: Weights, inputs: Tensor) -> Tensor:
    """Clients are groups of channels."""
    clients = len(inputs)
    x = inputs.transpose(0, 1).flatten(1, 2)
    for layer in (0, 2):
        kernel, bias = weights[layer].flatten(0, 1), weights[layer + 1].flatten()
        x = functional.conv2d(x, kernel, bias, padding=KERNEL // 2, groups=clients)
        x = functional.max_pool2d(torch.relu(x), 2)
    x = x.unflatten(1, (clients, -1)).transpose(0, 1).flatten(2)
    return torch.baddbmm(weights[5].unsqueeze(1), x, weights[4].transpose(1, 2))


def _unrolled(weights: Weights, inputs: Tensor) -> Tensor:
    """What each character adds to the gates, [L, C, B, gates]; a one-hot input picks its row."""
    table, bias = weights[0].transpose(1, 2), weights[2]
    clients, letters = table.shape[:2]
    rows = inputs.long() + torch.arange(clients, device=inputs.device).view(-1, 1, 1) * letters
    given = table.flatten(0, 1).index_select(0, rows.flatten()).unflatten(0, rows.shape)
    gates: Tensor = given + bias[:, None, None]
    return gates.permute(2, 0, 1, 3)


def _outputs(weights: Weights, states: list[Tensor]) -> Tensor:
    """Logits [C, B, L, classes] of the hidden states, L of [C, B, H]."""
    x = torch.stack(states, dim=2)
    flat = torch.baddbmm(weights[5].unsqueeze(1), x.flatten(1, 2), weights[4].transpose(1, 2))
    logits: Tensor = flat.unflatten(1, x.shape[1:3])
    return logits


def _gru(weights: Weights, inputs: Tensor) -> Tensor:
    within, bias = weights[1].transpose(1, 2), weights[3].unsqueeze(1)
    h = within.new_zeros(*inputs.shape[:2], within.shape[1])
    states = []
    for given in _unrolled(weights, inputs):
        own = torch.baddbmm(bias, h, within)
        r, z = torch.sigmoid(given[..., : 2 * h.shape[-1]] + own[..., : 2 * h.shape[-1]]).chunk(
            2, -1
        )
        n = torch.tanh(given[..., 2 * h.shape[-1] :] + r * own[..., 2 * h.shape[-1] :])
        h = torch.lerp(n, h, z)
        states.append(h)
    return _outputs(weights, states)


def _lstm(weights: Weights, inputs: Tensor) -> Tensor:
    within, bias = weights[1].transpose(1, 2), weights[3].unsqueeze(1)
    h = within.new_zeros(*inputs.shape[:2], within.shape[1])
    cell = h
    states = []
    for given in _unrolled(weights, inputs):
        i, f, g, o = (given + torch.baddbmm(bias, h, within)).chunk(4, -1)
        cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(cell)
        states.append(h)
    return _outputs(weights, states)
