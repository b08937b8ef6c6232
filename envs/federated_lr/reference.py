"""The validator's models (loss, gradient and accuracy) and local rules of one client, in plain
NumPy.

What the dynamics do for many clients at once is written apart (models.py, dense.py,
local_rules.py); tests hold both equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ...datasets.federated_lr.instance import Federation

LEAST = 1e-12  # added to denominators
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


@dataclass(slots=True)
class Descent:
    """A client's local steps in one round.

    Rules 0 to 10: SGD; FedHyper-CL by inner products, and by cosines; hypergradient descent by
    inner products, and by cosines; DoG; D-Adaptation with half its estimate; Prodigy by dual
    averaging; Schedule-Free SGD; D-Adaptation; Prodigy.

    Attributes:
        rule: its number.
        beta: the client's rate.
        start: weights as the round begins, float64 [P].
        trend: the global update of the round before, float64 [P].
        steps: local steps of the round, K.
        w: weights now.
        rate: in force, for rules 1 to 4.
        d: distance estimate, for rules 5 to 7, 9 and 10.
        total: sum of squared norms, weighted for rule 7.
        ahead: sum of (start - w) . gradient, weighted, for rules 6, 7, 9 and 10.
        first: norm of the first gradient, or the largest so far for rule 7.
        s: weighted sum of gradients, for rules 6, 7, 9 and 10.
        mean, square: running means of the gradient and its square, weighted, for rule 10.
        z: the sequence that Schedule-Free averages.
        before: the gradient before.
        k: steps done.
    """

    rule: int
    beta: float
    start: np.ndarray
    trend: np.ndarray
    steps: int

    w: np.ndarray = None  # type: ignore[assignment]
    rate: float = 0.0
    d: float = 1e-3
    total: float = 0.0
    ahead: float = 0.0
    first: float = 0.0
    s: np.ndarray = None  # type: ignore[assignment]
    mean: np.ndarray = None  # type: ignore[assignment]
    square: np.ndarray = None  # type: ignore[assignment]
    z: np.ndarray = None  # type: ignore[assignment]
    before: np.ndarray | None = None
    k: int = 0

    def __post_init__(self) -> None:
        self.w, self.z = self.start.copy(), self.start.copy()
        self.s, self.mean, self.square = np.zeros((3, *self.start.shape))
        self.rate = self.beta

    def where(self) -> np.ndarray:
        """Return the weights at which the next gradient is taken."""
        return 0.1 * self.z + 0.9 * self.w if self.rule == 8 and self.k else self.w

    def move(self, g: np.ndarray, active: bool) -> None:
        """Take a step.

        Args:
            g: the gradient at `where()`, float64 [P].
            active: whether the client does this step; a straggler that stopped does not.
        """
        with np.errstate(all="ignore"):
            step = self._step(g)
            if active:
                self.w = self.w + step
        self.before = g
        self.k += 1

    def _step(self, g: np.ndarray) -> np.ndarray:
        if self.rule in (1, 2, 3, 4):
            self._set_rate(g)
            return -self.rate * g
        norm = float(np.linalg.norm(g))
        if self.rule == 5:
            far = float(np.linalg.norm(self.w - self.start))
            least = 1e-3 * (1 + float(np.linalg.norm(self.start)))
            self.d = max(self.d if self.k else least, far)
            self.total += norm * norm
            return -self.d / (math.sqrt(self.total) + LEAST) * g
        if self.rule in (6, 9):
            self.first = self.first or norm
            factor, least = (2, LEAST**2) if self.rule == 9 else (1, LEAST)
            step = self.d / (self.first + least)
            self.s = self.s + step * g
            self.ahead += step * float(g @ (self.start - self.w))
            self.d = max(self.d, factor * self.ahead / (float(np.linalg.norm(self.s)) + least))
            return -step * g
        if self.rule == 7:
            weight, self.first = self.d * self.d, max(self.first, norm)
            self.s = self.s + weight * g
            self.ahead += weight * float(g @ (self.start - self.w))
            self.total += weight * norm * norm
            self.d = max(self.d, self.ahead / (float(np.linalg.norm(self.s)) + LEAST))
            most = self.d * self.first
            scale = math.sqrt(most * most + self.total) + LEAST
            move: np.ndarray = self.start - self.s / scale - self.w
            return move
        if self.rule == 10:
            return self._prodigy(g)
        if self.rule == 8:
            self.z = self.z - self.beta * g
            mean: np.ndarray = (self.z - self.w) / (self.k + 1)
            return mean
        return -self.beta * g

    def _prodigy(self, g: np.ndarray) -> np.ndarray:
        """Return Prodigy's step in its Adam form, with (0.9, 0.999), 1e-8 and d from 1e-3."""
        d, keep = self.d, math.sqrt(0.999)
        self.ahead = keep * self.ahead + d * d / 1e-3 * float(g @ (self.start - self.w))
        self.s = keep * self.s + d * d / 1e-3 * g
        self.mean = 0.9 * self.mean + (1 - 0.9) * d * g
        self.square = 0.999 * self.square + (1 - 0.999) * (d * g) ** 2
        self.d = max(d, self.ahead / (float(np.abs(self.s).sum()) + LEAST**2))
        step: np.ndarray = -d * self.mean / (np.sqrt(self.square) + self.d * 1e-8)
        return step

    def _set_rate(self, g: np.ndarray) -> None:
        """Change the rate by FedHyper-CL or hypergradient descent."""
        if self.before is None:
            return
        cosines = self.rule in (2, 4)
        agree = _agreement(g, self.before, cosines)
        if self.rule in (1, 2):
            agree -= _agreement(g, self.trend, cosines) / self.steps
        rate = self.rate * (1 + 0.1 * agree) if cosines else self.rate + agree
        self.rate = min(max(rate, self.beta / 10), self.beta * 10)


def _agreement(a: np.ndarray, b: np.ndarray, cosine: bool) -> float:
    product = float(a @ b)
    if not cosine:
        return product
    return product / (float(np.linalg.norm(a)) * float(np.linalg.norm(b)) + LEAST)
