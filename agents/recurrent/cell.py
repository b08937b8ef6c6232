"""The interface of memories, and the table of them.

A memory reads one vector a step and keeps a state per lane. Acting takes one `step` at a time;
learning computes whole rows of steps by `forward`, which gives the same numbers, chunk by chunk.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ...core.lookup import check_name, resolve

State = dict[str, Tensor]
"""Name of a part of the state -> float32 [B, ...], a row per lane."""

CHUNK = 32  # steps that are computed at once


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

    def part(self, first: int, size: int) -> Rows:
        """Return how steps first..first + size - 1 are to be read."""
        begins = self.begins[:, first : first + size]
        return Rows(begins, (self.lengths - first).clamp(0, size))

    @property
    def valid(self) -> Tensor:
        """Whether a step is one, and no padding, bool [B, T]."""
        steps = torch.arange(self.begins.shape[1], device=self.lengths.device)
        return steps < self.lengths.unsqueeze(1)

    @property
    def episode(self) -> Tensor:
        """Number of each step's episode within the row, int64 [B, T]; 0 is one that went on from
        before it.
        """
        return (self.begins & self.valid).long().cumsum(1)


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

    @abstractmethod
    def chunk(self, x: Tensor, state: State, rows: Rows) -> tuple[Tensor, State]:
        """Compute a few steps of each lane; see `forward`."""

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
        outputs = []
        for first in range(0, x.shape[1], CHUNK):
            part = x[:, first : first + CHUNK]
            y, state = self.chunk(part, state, rows.part(first, part.shape[1]))
            outputs.append(y)
        return torch.cat(outputs, dim=1), state


CELLS: Mapping[str, str] = {
    "gru": ".agents.recurrent.gru:GRU",
    "gated_deltanet": ".agents.recurrent.linear:GatedDeltaNet",
    "linear_attention": ".agents.recurrent.linear:LinearAttention",
    "diagonal": ".agents.recurrent.diagonal:Diagonal",
}


def make_cell(name: str, width: int) -> Cell:
    """Make a memory.

    Args:
        name: a key of CELLS.
        width: of its input and output.

    Raises:
        UnknownNameError: there is none of that name.
    """
    cell: Cell = resolve(CELLS[check_name(name, CELLS, "memory")])(width)
    return cell
