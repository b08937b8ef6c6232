"""Models and clusters whose costs are known: the constants of FlexSP's published code."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

K = 1024
# All-to-all bandwidth in MiB/ms by degree: nodes of 8 A100 with NVLink, InfiniBand between them.
BANDWIDTH = {2: 119.54, 4: 104.07, 8: 96.5, 16: 10.33, 32: 5.94, 64: 4.87}


@dataclass(frozen=True, slots=True)
class Model:
    """A model with its fitted constants; those of computation are for one A100 of 40 GB.

    Attributes:
        token_memory: MiB of a token's activations, on more than 16 devices.
        token_memory_16: the same on up to 16 devices.
        quadratic: ms / token^2.
        linear: ms / token.
        fixed_ms: ms of a group besides.
        hidden: width of a layer.
        layers: number of layers.
        parameters: billions, at contexts of 192K and of 384K tokens.
    """

    token_memory: float
    token_memory_16: float
    quadratic: float
    linear: float
    fixed_ms: float
    hidden: int
    layers: int
    parameters: tuple[float, float]

    @property
    def traffic(self) -> float:
        """MiB that a token's all-to-alls move: 4 forward and 4 backward in each layer, 2 bytes."""
        return 4 * 2 * self.layers * self.hidden * 2 / 2**20

    def activations(self, devices: int) -> float:
        """Return the MiB of a token's activations.

        Args:
            devices: of the whole cluster.
        """
        return self.token_memory if devices > 16 else self.token_memory_16

    def billions(self, context: int) -> float:
        """Return the parameters at a context; embeddings of positions grow with it.

        Args:
            context: tokens.
        """
        low, high = self.parameters
        return low + (high - low) * (context - 192 * K) / (192 * K)


MODELS = {
    "7B": Model(
        4.480441895, 2.668764648, 5.128e-6, 0.1839576, 629.3563, 4096, 32, (7.1174, 7.8499)
    ),
    "13B": Model(
        4.220439453, 4.220439453, 9.2852e-6, 0.3060189, 1132.5632, 5120, 40, (13.1161, 14.0316)
    ),
    "30B": Model(
        3.417381836, 3.417381836, 15.4262e-6, 0.8035742, 2789.3644, 6656, 60, (31.5251, 32.7153)
    ),
}


def bandwidths(degrees: np.ndarray) -> np.ndarray:
    """Return the bandwidth of groups in MiB/ms, float64 [D]; between two degrees the larger's.

    Args:
        degrees: int64 [D], at most 64 each.
    """
    known = np.array(sorted(BANDWIDTH))
    values = np.array([BANDWIDTH[degree] for degree in known])
    found: np.ndarray = values[np.searchsorted(known, degrees)]
    return found
