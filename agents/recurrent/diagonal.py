"""Diagonal state space (S4D-Lin, Gu et al. 2022; after LSSL, Gu et al. 2021)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from .cell import Cell, Rows, State

MODES = 16  # complex modes of a channel
STEP_RANGE = (1e-3, 1e-1)  # time that a step takes, at first


class Diagonal(Cell):
    """Each channel drives linear oscillators x' = A x + u and outputs y = 2 Re(C x) + D u, held
    over a step (zero-order hold); then GELU and a linear mix of the channels.

    The state "modes" is float32 [B, width, MODES, 2], real and imaginary parts. What it keeps does
    not depend on what it reads.

    Args:
        width: number of channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        low, high = map(math.log, STEP_RANGE)
        self.log_time = nn.Parameter(torch.empty(width).uniform_(low, high))
        self.log_decay = nn.Parameter(torch.full((width, MODES), math.log(0.5)))
        turn = math.pi * torch.arange(MODES, dtype=torch.float32)
        self.turn = nn.Parameter(turn.expand(width, MODES).clone())
        self.read = nn.Parameter(torch.randn(width, MODES, 2) * 0.5**0.5)
        self.direct = nn.Parameter(torch.randn(width))
        self.mix = nn.Linear(width, width)

    def initial_state(self, lanes: int) -> State:
        """See Cell."""
        return {"modes": self.read.new_zeros(lanes, *self.read.shape)}

    def _held(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return, complex64 [width, MODES], logarithms of the factors of the state, factors of the
        input, and twice the weights of reading.
        """
        rates = torch.complex(-self.log_decay.exp(), self.turn)
        log_factor = rates * self.log_time.exp().unsqueeze(-1)
        return log_factor, (log_factor.exp() - 1) / rates, 2 * torch.view_as_complex(self.read)

    def _output(self, x: Tensor, read: Tensor) -> Tensor:
        output: Tensor = self.mix(functional.gelu(read + self.direct * x))
        return output

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """See Cell."""
        log_factor, of_input, weights = self._held()
        modes = torch.view_as_complex(state["modes"])
        modes = log_factor.exp() * modes + of_input * x.unsqueeze(-1)
        read = (weights * modes).sum(-1).real
        return self._output(x, read), {"modes": torch.view_as_real(modes)}

    def chunk(self, x: Tensor, state: State, rows: Rows) -> tuple[Tensor, State]:
        """See Cell; a chunk is a convolution."""
        log_factor, of_input, weights = self._held()
        modes, count = torch.view_as_complex(state["modes"]), x.shape[1]
        steps = torch.arange(count, device=x.device)
        powers = (log_factor.unsqueeze(-1) * torch.arange(count + 1, device=x.device)).exp()
        kernel = ((weights * of_input).unsqueeze(-1) * powers[..., :-1]).sum(1).real  # [width, T]
        apart = steps.unsqueeze(-1) - steps
        episode = rows.episode
        same = ((episode.unsqueeze(-1) == episode.unsqueeze(-2)) & (apart >= 0)).to(x.dtype)
        read = torch.einsum("wij,bij,bjw->biw", kernel[:, apart.clamp(min=0)], same, x)
        before = torch.einsum("wn,wni,bwn->biw", weights, powers[..., 1:], modes).real
        read = read + before * (episode == 0).unsqueeze(-1)
        # The state after each row's last step: inputs at j have faded for length - 1 - j steps.
        last = (rows.lengths - 1).clamp(min=0)
        ended = episode.gather(1, last.unsqueeze(1))
        counts = (rows.valid & (episode == ended)).to(x.dtype)
        faded = powers[..., (last.unsqueeze(1) - steps).clamp(min=0)]  # [width, N, B, T]
        inputs = (counts.unsqueeze(-1) * x).to(faded.dtype)
        new = of_input * torch.einsum("wnbj,bjw->bwn", faded, inputs)
        old = powers[..., rows.lengths].permute(2, 0, 1) * modes
        modes = new + old * (ended == 0).unsqueeze(-1)
        return self._output(x, read), {"modes": torch.view_as_real(modes)}
