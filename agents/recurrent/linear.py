"""Memories that are matrices: linear attention, and the gated delta rule.

A head's state is a matrix S, K x V, that maps keys to values. It fades by a factor, then takes in
the step's value under its key: as it is (Lightning Attention-2, Qin et al. 2024), or what the key
does not give yet (gated DeltaNet, Yang et al. 2024). What is read is S^T q. Short convolutions of
the inputs, which the published layers have, are left out: observations here hold the last steps.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from .cell import Cell, Rows, State

HEAD = 16  # size of keys and values of a head
LEAST_STEP, STEP_RANGE = 1e-4, (1e-3, 1e-1)  # of the time that a step of the delta rule takes
MOST_RATE = 16.0  # of fading, per time


class Parts(NamedTuple):
    """What a step does to the state.

    Attributes:
        query, key: float32 [B, H, T, K].
        value: float32 [B, H, T, V].
        strength: of writing, float32 [B, H, T].
        fading: logarithm of the factor of the state before it, float32 [B, H, T], at most 0.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    strength: Tensor
    fading: Tensor


class MatrixMemory(Cell):
    """Base of memories whose state "memory" is float32 [B, H, K, V].

    Args:
        width: of input and output; a head has HEAD of it, or all of a smaller one.
    """

    delta: bool  # whether what a key already gives is subtracted from the value

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads, self.size = max(width // HEAD, 1), min(width, HEAD)
        inner = self.heads * self.size
        self.query, self.key, self.value, self.gate = (
            nn.Linear(width, inner, bias=False) for _ in range(4)
        )
        self.norm = nn.RMSNorm(self.size, eps=1e-5)
        self.out = nn.Linear(inner, width, bias=False)

    @abstractmethod
    def parts(self, x: Tensor) -> Parts:
        """Return what each step, float32 [B, T, width], does to the state."""

    def initial_state(self, lanes: int) -> State:
        """See Cell."""
        return {"memory": self.out.weight.new_zeros(lanes, self.heads, self.size, self.size)}

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """See Cell."""
        x = x.unsqueeze(1)
        parts = Parts(*(part.squeeze(2) for part in self.parts(x)))
        memory = parts.fading.exp()[..., None, None] * state["memory"]
        value = parts.value
        if self.delta:
            value = value - (parts.key.unsqueeze(-2) @ memory).squeeze(-2)
        written = parts.strength.unsqueeze(-1) * value
        memory = memory + parts.key.unsqueeze(-1) * written.unsqueeze(-2)
        read = parts.query.unsqueeze(-2) @ memory
        return self._output(x, read).squeeze(1), {"memory": memory}

    def chunk(self, x: Tensor, state: State, rows: Rows) -> tuple[Tensor, State]:
        """See Cell. Within a chunk the delta rule is a triangular system (UT transform)."""
        q, k, v, strength, fading = self.parts(x)
        valid, episode = rows.valid.unsqueeze(1), rows.episode.unsqueeze(1)
        strength, fading = strength * valid, fading * valid
        memory, steps = state["memory"], x.shape[1]
        # What is left at step i of what was written at j, [B, H, T, T], and of what was there
        # before, [B, H, T, 1]; nothing of another episode.
        fallen = fading.cumsum(-1)
        kept = (episode.unsqueeze(-1) == episode.unsqueeze(-2)) & torch.ones(
            steps, steps, dtype=torch.bool, device=x.device
        ).tril()
        left = torch.where(kept, fallen.unsqueeze(-1) - fallen.unsqueeze(-2), -math.inf).exp()
        of_before = torch.where(episode == 0, fallen, -math.inf).exp().unsqueeze(-1)
        if self.delta:
            among = (strength.unsqueeze(-1) * left * (k @ k.mT)).tril(-1)
            new = strength.unsqueeze(-1) * (v - of_before * (k @ memory))
            written = torch.linalg.solve_triangular(among, new, upper=False, unitriangular=True)
        else:
            written = strength.unsqueeze(-1) * v
        read = of_before * (q @ memory) + (left * (q @ k.mT)) @ written
        memory = of_before[..., -1:, :] * memory
        memory = memory + (left[..., -1, :].unsqueeze(-1) * k).mT @ written
        return self._output(x, read), {"memory": memory}

    def _heads(self, linear: nn.Linear, x: Tensor) -> Tensor:
        """Return a linear map of x, [B, T, width], by heads, [B, H, T, size]."""
        parts: Tensor = linear(x).unflatten(-1, (self.heads, self.size))
        return parts.transpose(1, 2)

    def _output(self, x: Tensor, read: Tensor) -> Tensor:
        """Return the output [B, T, width] for what was read, [B, H, T, V]."""
        gated = self.norm(read) * functional.silu(self._heads(self.gate, x))
        output: Tensor = self.out(gated.transpose(1, 2).flatten(-2))
        return output


class LinearAttention(MatrixMemory):
    """Lightning Attention-2: fixed fading, each head its own; no normalization of weights."""

    delta = False

    def __init__(self, width: int) -> None:
        super().__init__(width)
        slopes = [2.0 ** (-8 * (head + 1) / self.heads) for head in range(self.heads)]
        self.register_buffer("slopes", torch.tensor(slopes), persistent=False)

    def parts(self, x: Tensor) -> Parts:
        """See MatrixMemory."""
        q, k = (functional.silu(self._heads(linear, x)) for linear in (self.query, self.key))
        ones = torch.ones_like(q[..., 0])
        slopes: Tensor = self.slopes  # type: ignore[assignment]
        return Parts(q, k, self._heads(self.value, x), ones, -slopes[:, None] * ones)


class GatedDeltaNet(MatrixMemory):
    """Gated DeltaNet: keys of length 1, learned strength and fading of each step and head."""

    delta = True

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.strength = nn.Linear(width, self.heads, bias=False)
        self.time = nn.Linear(width, self.heads, bias=False)
        self.log_rate = nn.Parameter(torch.empty(self.heads).uniform_(0.0, MOST_RATE).log())
        low, high = map(math.log, STEP_RANGE)
        first = torch.empty(self.heads).uniform_(low, high).exp().clamp(min=LEAST_STEP)
        self.first_time = nn.Parameter(first + torch.log(-torch.expm1(-first)))

    def parts(self, x: Tensor) -> Parts:
        """See MatrixMemory."""
        q, k, v = (
            functional.silu(self._heads(linear, x)) for linear in (self.query, self.key, self.value)
        )
        q = functional.normalize(q, dim=-1) * self.size**-0.5
        time = functional.softplus(self.time(x) + self.first_time)
        fading = -self.log_rate.exp() * time
        return Parts(
            q,
            functional.normalize(k, dim=-1),
            v,
            torch.sigmoid(self.strength(x)).transpose(1, 2),
            fading.transpose(1, 2),
        )
