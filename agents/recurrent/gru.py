"""Gated recurrent unit (Cho et al. 2014)."""

from __future__ import annotations

from torch import Tensor, nn

from .cell import Cell, State


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
