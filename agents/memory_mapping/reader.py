"""A graph network that reads a program once, and decides in program order at little cost.

The graph's nodes are decisions, instructions and buffers. In each of two rounds a decision hears
its buffer's uses before and after it, the means over its instruction and its buffer, and that over
the instructions around its own. What the decisions before leave (reading.Moment) is joined to its
embedding by a small head. reading.py computes the same compiled.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.utils import scatter

from ..layers import take_layer
from .reading import MOMENTS, SEEN, TRAITS, Links, Weights


class ReadProgram(Data):
    """A program's graph, of D decisions on B buffers in I instructions.

    Attributes:
        traits: float32 [D, TRAITS].
        before: int64 [D]; the buffer's decision before, itself for none.
        after: int64 [D]; the one after, itself for none.
        has_before: float32 [D, 1].
        has_after: float32 [D, 1].
        instr: int64 [D]; the decision's instruction.
        buffer: int64 [D].
        low: int64 [I]; the first instruction of each one's area.
        high: int64 [I]; one after the last.
        buffers: int64 [1]; B.
        moments: float32 [D, MOMENTS]; what the decisions before leave, where there is a choice.
        chosen: bool [D]; where there is a choice.
        wish: float32 [D]; 1 for fast memory in the plan to learn from.
        weight: float32 [D]; of the decision in the loss.
    """

    def __inc__(self, key: str, value: Any, *args: Any, **kwargs: Any) -> Any:
        """Return what is added to an index of the next program in a batch."""
        if key in ("before", "after"):
            return len(self.traits)
        if key in ("instr", "low", "high"):
            return len(self.low)
        return int(self.buffers) if key == "buffer" else 0


def make_graph(traits: np.ndarray, links: Links, **more: np.ndarray) -> ReadProgram:
    """Make a program's graph.

    Args:
        traits: float32 [D, TRAITS].
        links: where messages go.
        **more: further attributes of ReadProgram.
    """
    itself = np.arange(len(traits))
    columns = {
        "traits": traits,
        "before": np.where(links.before < 0, itself, links.before),
        "after": np.where(links.after < 0, itself, links.after),
        "has_before": (links.before >= 0).astype(np.float32)[:, None],
        "has_after": (links.after >= 0).astype(np.float32)[:, None],
        "instr": links.instr,
        "buffer": links.buffer,
        "low": links.low,
        "high": links.high,
        "buffers": np.array([links.buffers]),
        **more,
    }
    return ReadProgram(
        num_nodes=len(traits), **{name: torch.from_numpy(value) for name, value in columns.items()}
    )


class ProgramReader(nn.Module):
    """Log-odds of fast memory for the decisions of programs.

    Args:
        width: length d of the embeddings.
    """

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.width = width
        self.embed = nn.Linear(TRAITS, width)
        self.first = nn.Linear(SEEN * width, width)
        self.second = nn.Linear(SEEN * width, width)
        self.hidden = nn.Linear(width + MOMENTS, width)
        self.score = nn.Linear(width, 1)

    def read(self, graph: ReadProgram) -> Tensor:
        """Return the decisions' embeddings, float32 [D, d].

        Args:
            graph: a program, or a batch of programs one after the other.
        """
        x = torch.relu(self.embed(graph.traits))
        instrs, buffers = len(graph.low), int(graph.buffers.sum())
        length = (graph.high - graph.low)[:, None]
        for layer in (self.first, self.second):
            by_instr = scatter(x, graph.instr, 0, instrs, "mean")
            by_buffer = scatter(x, graph.buffer, 0, buffers, "mean")
            sums = nn.functional.pad(by_instr.double().cumsum(0), (0, 0, 1, 0))
            area = ((sums[graph.high] - sums[graph.low]) / length).float()
            heard = [
                x,
                x[graph.before] * graph.has_before,
                x[graph.after] * graph.has_after,
                by_instr[graph.instr],
                by_buffer[graph.buffer],
                area[graph.instr],
            ]
            x = x + torch.relu(layer(torch.cat(heard, dim=1)))
        return x

    def odds(self, embeddings: Tensor, moments: Tensor) -> Tensor:
        """Return the log-odds of fast memory, float32 [D].

        Args:
            embeddings: float32 [D, d]; as of `read`.
            moments: float32 [D, MOMENTS]; what the decisions before leave.
        """
        hidden = torch.relu(self.hidden(torch.cat([embeddings, moments], dim=1)))
        odds: Tensor = self.score(hidden)
        return odds.squeeze(-1)


def take_weights(network: ProgramReader) -> Weights:
    """Copy the network's layers for compiled functions."""
    return Weights(*(take_layer(getattr(network, name)) for name in Weights._fields))
