"""Dense models of many clients on a CPU, compiled: layers of products with ReLU between them.

Rows go four at a time, so that each weight read from memory serves four; a round of logistic
regression then takes a fifth of what batched products of a general library take. Tests hold it
equal to models.py's torch.
"""

from __future__ import annotations

import numpy as np
from numba import njit

# Sums may be taken in another order, but what is not finite stays so: divergence must be seen.
FAST = {"reassoc", "contract", "arcp", "nsz"}


@njit(cache=True, fastmath=FAST)
def forward(w: np.ndarray, sizes: np.ndarray, rows: int, act: np.ndarray) -> None:
    """Fills act[1:], the layers' outputs, from act[0], the inputs.

    Args:
        w: one client's weights, flat: for each layer its matrix [out, in], then its bias [out].
        sizes: int64 [layers + 1], inputs first.
        rows: B.
        act: [layers + 1, B, widest].
    """
    last, at = len(sizes) - 2, 0
    for layer in range(last + 1):
        n_in, n_out = sizes[layer], sizes[layer + 1]
        bias = at + n_in * n_out
        x, z = act[layer], act[layer + 1]
        for b in range(0, rows - 3, 4):
            x0, x1, x2, x3 = x[b], x[b + 1], x[b + 2], x[b + 3]
            for o in range(n_out):
                t0 = t1 = t2 = t3 = 0.0
                row = w[at + o * n_in : at + (o + 1) * n_in]
                for i in range(n_in):
                    t0 += row[i] * x0[i]
                    t1 += row[i] * x1[i]
                    t2 += row[i] * x2[i]
                    t3 += row[i] * x3[i]
                k = w[bias + o]
                z[b, o], z[b + 1, o], z[b + 2, o], z[b + 3, o] = t0 + k, t1 + k, t2 + k, t3 + k
        for b in range(rows - rows % 4, rows):
            for o in range(n_out):
                t = w[bias + o]
                for i in range(n_in):
                    t += w[at + o * n_in + i] * x[b, i]
                z[b, o] = t
        if layer < last:
            for b in range(rows):
                for o in range(n_out):
                    z[b, o] = max(z[b, o], 0.0)
        at = bias + n_out


@njit(cache=True, fastmath=FAST)
def _gather_slopes(
    g: np.ndarray, at: int, n_in: int, n_out: int, rows: int, x: np.ndarray, error: np.ndarray
) -> None:
    """Adds a layer's slopes to g, from its inputs x and the errors of its outputs."""
    bias = at + n_in * n_out
    for b in range(0, rows - 3, 4):
        x0, x1, x2, x3 = x[b], x[b + 1], x[b + 2], x[b + 3]
        for o in range(n_out):
            e0, e1, e2, e3 = error[b, o], error[b + 1, o], error[b + 2, o], error[b + 3, o]
            row = g[at + o * n_in : at + (o + 1) * n_in]
            for i in range(n_in):
                row[i] += e0 * x0[i] + e1 * x1[i] + e2 * x2[i] + e3 * x3[i]
            g[bias + o] += e0 + e1 + e2 + e3
    for b in range(rows - rows % 4, rows):
        for o in range(n_out):
            for i in range(n_in):
                g[at + o * n_in + i] += error[b, o] * x[b, i]
            g[bias + o] += error[b, o]


@njit(cache=True)
def _gradient(
    w: np.ndarray,
    sizes: np.ndarray,
    labels: np.ndarray,
    act: np.ndarray,
    errors: np.ndarray,
    g: np.ndarray,
) -> float:
    """One client's mean loss on the rows in act[0]; g is filled with its slopes.

    Args:
        w: weights, flat.
        sizes: of the layers.
        labels: int64 [B].
        act: see `forward`.
        errors: room, [2, B, widest].
        g: [P].
    """
    rows, layers = len(labels), len(sizes) - 1
    g[:] = 0.0
    forward(w, sizes, rows, act)
    error, spare = errors[0], errors[1]
    out = sizes[layers]
    total = 0.0
    for b in range(rows):
        scores = act[layers, b, :out]
        top = scores.max()
        mass = 0.0
        for o in range(out):
            error[b, o] = np.exp(scores[o] - top)
            mass += error[b, o]
        total += np.log(mass) + top - scores[labels[b]]
        for o in range(out):
            error[b, o] /= mass * rows
        error[b, labels[b]] -= 1.0 / rows
    at = len(w)
    for layer in range(layers - 1, -1, -1):
        n_in, n_out = sizes[layer], sizes[layer + 1]
        at -= (n_in + 1) * n_out
        _gather_slopes(g, at, n_in, n_out, rows, act[layer], error)
        if layer:
            for b in range(rows):
                spare[b, :n_in] = 0.0
                for o in range(n_out):
                    for i in range(n_in):
                        spare[b, i] += error[b, o] * w[at + o * n_in + i]
                for i in range(n_in):
                    if act[layer, b, i] <= 0.0:
                        spare[b, i] = 0.0
            error, spare = spare, error
    return total / rows


@njit(cache=True)
def gradients(
    flat: np.ndarray,
    sizes: np.ndarray,
    inputs: np.ndarray,
    labels: np.ndarray,
    loss: np.ndarray,
    slopes: np.ndarray,
) -> None:
    """Mean losses and their slopes.

    Args:
        flat: weights [C, P]; see `forward`.
        sizes: of the layers.
        inputs: [C, B, F].
        labels: int64 [C, B].
        loss: filled, [C].
        slopes: filled, [C, P].
    """
    rows = labels.shape[1]
    act = np.empty((len(sizes), rows, sizes.max()))
    errors = np.empty((2, rows, sizes.max()))
    for c in range(len(flat)):
        act[0, :, : sizes[0]] = inputs[c]
        loss[c] = _gradient(flat[c], sizes, labels[c], act, errors, slopes[c])


@njit(cache=True)
def train_sgd(
    flat: np.ndarray,
    sizes: np.ndarray,
    inputs: np.ndarray,
    labels: np.ndarray,
    rows: np.ndarray,
    steps: np.ndarray,
    beta: float,
    firsts: np.ndarray,
) -> None:
    """A round of SGD of the clients of one lane.

    Args:
        flat: weights [M, P], changed in place.
        sizes: of the layers.
        inputs: of the federation, [N, F].
        labels: int64 [N].
        rows: of each step, int32 [M, K, B].
        steps: that each client does, int32 [M].
        beta: rate.
        firsts: filled, [M, 2]: loss and norm of the slope at the first step.
    """
    batch = rows.shape[2]
    act = np.empty((len(sizes), batch, sizes.max()))
    errors = np.empty((2, batch, sizes.max()))
    wanted, g = np.empty(batch, np.int64), np.empty(flat.shape[1])
    for c in range(len(flat)):
        w = flat[c]
        for k in range(steps[c]):
            for b in range(batch):
                row = rows[c, k, b]
                act[0, b, : sizes[0]] = inputs[row]
                wanted[b] = labels[row]
            loss = _gradient(w, sizes, wanted, act, errors, g)
            if k == 0:
                firsts[c, 0], firsts[c, 1] = loss, np.sqrt((g * g).sum())
            for i in range(len(w)):
                w[i] -= beta * g[i]


@njit(cache=True)
def evaluate(
    flat: np.ndarray,
    sizes: np.ndarray,
    inputs: np.ndarray,
    labels: np.ndarray,
    loss: np.ndarray,
    accuracy: np.ndarray,
) -> None:
    """Mean losses and accuracies, both filled [C], of flat [C, P] on the same rows [B, F]."""
    rows, layers = len(labels), len(sizes) - 1
    act = np.empty((layers + 1, rows, sizes.max()))
    act[0, :, : sizes[0]] = inputs
    for c in range(len(flat)):
        forward(flat[c], sizes, rows, act)
        total, hits = 0.0, 0
        for b in range(rows):
            scores = act[layers, b, : sizes[layers]]
            top = scores.max()
            total += np.log(np.exp(scores - top).sum()) + top - scores[labels[b]]
            hits += scores.argmax() == labels[b]
        loss[c], accuracy[c] = total / rows, hits / rows
