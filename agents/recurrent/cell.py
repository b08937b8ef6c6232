"""The interface of memories.

A memory reads one vector a step and keeps a state per lane. Acting takes one `step` at a time;
learning computes whole rows of steps by `forward`, which gives the same numbers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

State = dict[str, Tensor]
"""Name of a part of the state -> float32 [B, ...], a row per lane."""


class Rows(NamedTuple):
    """How B rows of T steps are to be read.

    Attributes:
        begins: bool [B, T]; whether an episode begins with the step, so that the state before it is
            forgotten.
        lengths: int64 [B]; steps of each row, at least 0; what follows is padding, which changes no
            state and whose outputs mean nothing.
    """

    begins: Tensor
    lengths: Tensor

    @property
    def valid(self) -> Tensor:
        """Whether a step is one, and no padding, bool [B, T]."""
        steps = torch.arange(self.begins.shape[1], device=self.lengths.device)
        return steps < self.lengths.unsqueeze(1)


def whole(x: Tensor) -> Rows:
    """Return how rows are read that are single episodes, or parts of them, without padding.

    Args:
        x: [B, T, ...].
    """
    lanes, steps = x.shape[:2]
    begins = torch.zeros(lanes, steps, dtype=torch.bool, device=x.device)
    return Rows(begins, torch.full((lanes,), steps, device=x.device))


class Cell(nn.Module, ABC):
    """A memory; input and output have the same width."""

    @abstractmethod
    def initial_state(self, lanes: int) -> State:
        """Return the state in which an episode begins: zeros.

        Args:
            lanes: number of lanes, B.
        """

    @abstractmethod
    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step in each lane.

        Args:
            x: float32 [B, width].
            state: of the lanes; it is not changed.

        Returns:
            The output, float32 [B, width], and the state after it.
        """

    def forward(self, x: Tensor, state: State, rows: Rows | None = None) -> tuple[Tensor, State]:
        """Compute T steps of each lane.

        Args:
            x: float32 [B, T, width].
            state: of the lanes before the first step; it is not changed.
            rows: where episodes begin and padding does; None for `whole`.

        Returns:
            The outputs, float32 [B, T, width], and the state after each lane's last step.
        """
        rows = rows or whole(x)
        first, valid, outputs = self.initial_state(len(x)), rows.valid, []
        for t in range(x.shape[1]):
            y, after = self.step(x[:, t], _where(rows.begins[:, t], first, state))
            state = _where(valid[:, t], after, state)
            outputs.append(y)
        return torch.stack(outputs, dim=1), state


def _where(lanes: Tensor, a: State, b: State) -> State:
    """Return a's rows for some lanes, bool [B], and b's for the others."""
    return {
        key: torch.where(lanes.view(-1, *(1 for _ in part.shape[1:])), a[key], part)
        for key, part in b.items()
    }
