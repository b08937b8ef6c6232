"""Federations that need not be alike, side by side: those that are alike in one computation."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from ...datasets.federated_lr.instance import Federation
from .alike import kind_of
from .dynamics import Dynamics, make_dynamics
from .statistics import Statistics, blank


class Groups:
    """E federations, one a lane, each stepped with those of its kind.

    A kind has dynamics with room for every lane, as long as a lane plays it; all write to the same
    statistics. Where all lanes are of one kind, it is these dynamics and nothing more.

    Attributes:
        federations: of each lane.
        statistics: what the servers know now, one row a lane; to be read only.
    """

    def __init__(self, federations: Sequence[Federation], device: str = "cpu") -> None:
        """Make room for a federation in each lane.

        Args:
            federations: one for each lane.
            device: torch's name of the device that trains.
        """
        self.federations, self.device = list(federations), device
        self.statistics: Statistics = blank(len(federations))
        self._kinds: dict[Hashable, Dynamics] = {}
        self._kind_of = [kind_of(one) for one in federations]

    def begin(self, lane: int, federation: Federation, seed: int) -> None:
        """Start a lane again; see Dynamics. The federation may be of any kind."""
        before, kind = self._kind_of[lane], kind_of(federation)
        self._kind_of[lane] = kind
        if before not in self._kind_of:
            self._kinds.pop(before, None)
        if kind not in self._kinds:
            room = make_dynamics([federation] * len(self.federations), self.device)
            room.statistics = self.statistics
            self._kinds[kind] = room
        self.federations[lane] = federation
        self._kinds[kind].begin(lane, federation, seed)

    def step(self, orders: np.ndarray, lanes: np.ndarray) -> None:
        """Obey an order in each lane; see Dynamics."""
        places: dict[Hashable, list[int]] = {}
        for place, lane in enumerate(lanes.tolist()):
            places.setdefault(self._kind_of[lane], []).append(place)
        for kind, some in places.items():
            self._kinds[kind].step(orders[some], lanes[some])
