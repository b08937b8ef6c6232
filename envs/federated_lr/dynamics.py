"""The dynamics of federations side by side: what all kinds of them do, and which kind plays what.

A lane is one federation of such a computation, called by its index 0..E-1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Self

import numpy as np

from ...core.extras import missing
from ...datasets.federated_lr.instance import CURVE, Federation
from .statistics import Statistics


class Dynamics(Protocol):
    """E federations side by side, one a lane; each goes its own way.

    Attributes:
        federations: of each lane.
        statistics: what the servers know now, one row a lane; to be read only.
    """

    federations: list[Federation]
    statistics: Statistics

    def begin(self, lane: int, federation: Federation, seed: int) -> None:
        """Start a lane again, with the first model and before the first round.

        Args:
            lane: index of the lane.
            federation: what is played in it from now on.
            seed: seed of the world: first weights, participants, stragglers and batches.

        Raises:
            InstanceError: the federation is not like the others; see `check_alike`.
        """

    def step(self, orders: np.ndarray, lanes: np.ndarray | None = None) -> None:
        """Obey an order in each lane: apply and validate the last update, then train a round.

        Args:
            orders: int64 [n, 5], one row a lane; see orders.py.
            lanes: int64 [n], indices of the lanes; None for all in their order.
        """

    def fork(self) -> Self:
        """Return a copy in the same state that goes its own way; data are shared."""

    def draw_future(self, seed: int) -> None:
        """Draw anew what chance decides in the rounds to come, of all lanes.

        Args:
            seed: of another world, whose rounds take the place of these.
        """


def make_dynamics(federations: Sequence[Federation], device: str = "cpu") -> Dynamics:
    """Make room for federations that are alike; `begin` starts each of them.

    Args:
        federations: one for each lane.
        device: torch's name of the device that trains; closed-form curves do not need it.

    Raises:
        InstanceError: the federations are not alike; see `check_alike`.
        MissingDependencyError: torch is not installed.
    """
    if federations[0].model == CURVE:
        from .curve import Curves

        return Curves(federations)
    try:
        from .training import Training
    except ModuleNotFoundError as error:
        raise missing(error, "federated training", room="federated") from error
    return Training(federations, device)
