"""Gated recurrent unit (Cho et al. 2014): the baseline among memories."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .cell import Cell, Rows, State


class GRU(Cell):
    """torch's GRUCell; its state "hidden" is float32 [B, width], its output.

    Args:
        width: of input, state and output.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.cell = nn.GRUCell(width, width)

    def initial_state(self, lanes: int) -> State:
        """See Cell."""
        return {"hidden": self.cell.weight_hh.new_zeros(lanes, self.cell.hidden_size)}

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """See Cell."""
        hidden = self.cell(x, state["hidden"])
        return hidden, {"hidden": hidden}

    def chunk(self, x: Tensor, state: State, rows: Rows) -> tuple[Tensor, State]:
        """See Cell; the unit has no form but the recurrence."""
        hidden, outputs = state["hidden"], []
        begins, valid = rows.begins.unsqueeze(-1), rows.valid.unsqueeze(-1)
        for t in range(x.shape[1]):
            before = torch.where(begins[:, t], 0.0, hidden)
            after = self.cell(x[:, t], before)
            hidden = torch.where(valid[:, t], after, hidden)
            outputs.append(after)
        return torch.stack(outputs, dim=1), {"hidden": hidden}
