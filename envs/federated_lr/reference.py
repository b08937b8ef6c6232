"""The validator's models: loss, gradient and accuracy of one client, in plain NumPy.

The batched models of the dynamics are written apart (models.py, dense.py); tests hold both equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np

from ...datasets.federated_lr.instance import Federation

# (weights [P], inputs, labels) -> (mean loss, its gradient [P], accuracy).
Task = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[float, np.ndarray, float]]


def task_of(f: Federation) -> tuple[Task, int, np.ndarray]:
    """Make the model of a federation.

    Args:
        f: the federation.

    Returns:
        The model as a function, the number of its weights P, and the bounds float64 [P] within
        which the first weights are uniform: 1 / sqrt(number of inputs), as torch's.
    """
    features, classes = int(np.prod(f.inputs.shape[1:])), f.classes
    if f.model in ("logistic", "mlp"):
        sizes = [features, classes] if f.model == "logistic" else [features, f.width, classes]
        pairs = list(pairwise(sizes))
        bounds = np.concatenate([np.full((a + 1) * b, 1 / math.sqrt(a)) for a, b in pairs])

        def dense(w: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray, float]:
            with np.errstate(all="ignore"):
                return _dense(w, pairs, x.reshape(len(x), -1).astype(np.float64), y)

        return dense, len(bounds), bounds
    if f.model == "gru":
        return _recurrent(f)
    return _with_torch(f)


def _dense(
    w: np.ndarray, pairs: list[tuple[int, int]], x: np.ndarray, y: np.ndarray
) -> tuple[float, np.ndarray, float]:
    layers, at = [], 0
    for a, b in pairs:
        layers.append((w[at : at + a * b].reshape(b, a), w[at + a * b : at + a * b + b]))
        at += (a + 1) * b
    seen = [x]
    for number, (matrix, bias) in enumerate(layers):
        out = seen[-1] @ matrix.T + bias
        seen.append(out if number == len(layers) - 1 else np.maximum(out, 0.0))
    loss, error, accuracy = _judged(seen[-1], y)
    slopes: list[np.ndarray] = []
    for number in range(len(layers) - 1, -1, -1):
        slopes = [(error.T @ seen[number]).ravel(), error.sum(axis=0), *slopes]
        if number:
            error = (error @ layers[number][0]) * (seen[number] > 0)
    return loss, np.concatenate(slopes), accuracy


def _judged(scores: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray, float]:
    """Return the mean cross-entropy, its gradient float64 [n, classes] and the accuracy.

    Args:
        scores: logits, float64 [n, classes].
        y: labels, int [n].
    """
    scores = scores - scores.max(axis=1, keepdims=True)
    logs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    everyone = np.arange(len(y))
    error = np.exp(logs)
    error[everyone, y] -= 1.0
    return (
        float(-logs[everyone, y].mean()),
        error / len(y),
        float((scores.argmax(axis=1) == y).mean()),
    )


def _recurrent(f: Federation) -> tuple[Task, int, np.ndarray]:
    """Make a GRU on one-hot characters with a linear layer, its weights in torch's order."""
    h, v = f.width, f.classes
    shapes = ((3 * h, v), (3 * h, h), (3 * h,), (3 * h,), (v, h), (v,))
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    bounds = np.full(int(ends[-1]), 1 / math.sqrt(h))

    def task(w: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray, float]:
        parts = [p.reshape(s) for p, s in zip(np.split(w, ends[:-1]), shapes, strict=True)]
        with np.errstate(all="ignore"):
            return _gru(parts, x, y)

    return task, len(bounds), bounds


def _gru(parts: list[np.ndarray], x: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray, float]:
    w_in, w_own, b_in, b_own, w_out, b_out = parts
    (rows, length), width = x.shape, w_own.shape[1]
    given = w_in.T[x] + b_in
    states, notes = np.zeros((length + 1, rows, width)), []
    for t in range(length):
        own = states[t] @ w_own.T + b_own
        both = given[:, t, : 2 * width] + own[:, : 2 * width]
        r, z = np.split(1 / (1 + np.exp(-both)), 2, axis=1)
        own_n = own[:, 2 * width :]
        n = np.tanh(given[:, t, 2 * width :] + r * own_n)
        states[t + 1] = n + z * (states[t] - n)
        notes.append((r, z, n, own_n))
    seen = states[1:].transpose(1, 0, 2).reshape(-1, width)
    loss, error, accuracy = _judged(seen @ w_out.T + b_out, y.ravel())
    by_state = (error @ w_out).reshape(rows, length, width)
    by_given, by_own = np.empty((2, rows, length, 3 * width))
    later = np.zeros((rows, width))
    for t in range(length - 1, -1, -1):
        r, z, n, own_n = notes[t]
        dh = by_state[:, t] + later
        dn = dh * (1 - z) * (1 - n**2)
        dz = dh * (states[t] - n) * z * (1 - z)
        dr = dn * own_n * r * (1 - r)
        by_given[:, t] = np.concatenate([dr, dz, dn], axis=1)
        by_own[:, t] = np.concatenate([dr, dz, dn * r], axis=1)
        later = dh * z + by_own[:, t] @ w_own
    flat_given, flat_own = by_given.reshape(-1, 3 * width), by_own.reshape(-1, 3 * width)
    before = states[:-1].transpose(1, 0, 2).reshape(-1, width)
    letters = np.zeros((x.size, w_in.shape[1]))
    letters[np.arange(x.size), x.ravel()] = 1.0
    slopes = (
        flat_given.T @ letters, flat_own.T @ before, flat_given.sum(axis=0), flat_own.sum(axis=0),
        error.T @ seen, error.sum(axis=0),
    )  # fmt: skip
    return loss, np.concatenate([slope.ravel() for slope in slopes]), accuracy


def _with_torch(f: Federation) -> tuple[Task, int, np.ndarray]:
    """Make a CNN or an LSTM of torch's own layers."""
    import torch
    from torch import nn

    width, classes = f.width, f.classes
    recurrent = f.model == "lstm"
    parts: nn.ModuleList | nn.Sequential
    if recurrent:
        core = nn.LSTM(classes, width, batch_first=True)
        parts = nn.ModuleList([core, nn.Linear(width, classes)]).double()
        fans = [width] * 6
    else:
        channels, height, wide = f.inputs.shape[1:]
        flat = 2 * width * (height // 4) * (wide // 4)
        parts = nn.Sequential(
            nn.Conv2d(channels, width, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(flat, classes),
        ).double()  # fmt: skip
        fans = [channels * 25] * 2 + [width * 25] * 2 + [flat] * 2
    weights = list(parts.parameters())
    bounds = np.concatenate(
        [np.full(p.numel(), 1 / math.sqrt(fan)) for p, fan in zip(weights, fans, strict=True)]
    )

    def task(w: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray, float]:
        nn.utils.vector_to_parameters(torch.from_numpy(w), weights)
        wanted = torch.from_numpy(y.astype(np.int64)).flatten()
        if recurrent:
            letters = nn.functional.one_hot(torch.from_numpy(x.astype(np.int64)), classes).double()
            scores = parts[1](parts[0](letters)[0]).flatten(0, 1)
        else:
            scores = parts(torch.from_numpy(x.astype(np.float64)))
        loss = nn.functional.cross_entropy(scores, wanted)
        slopes = torch.autograd.grad(loss, weights)
        hits = (scores.argmax(1) == wanted).double().mean()
        slope = nn.utils.parameters_to_vector(slopes).detach().numpy()
        return float(loss.detach()), slope, float(hits)

    return task, len(bounds), bounds
