"""What the readers of traces give: who came and went, and on which hosts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NoReturn, Self

import numpy as np

from ...core.errors import InstanceError
from ...core.notes import note
from ..stays import HostType, Stays


@dataclass(frozen=True, slots=True)
class GivenHost:
    """A host of a list.

    Attributes:
        name: its id.
        rack: name of its rack.
        nodes: CPU (cores) and memory (MB) of each of its one or two NUMA nodes.
    """

    name: str
    rack: str
    nodes: Sequence[tuple[float, int]]


def _wholes() -> np.ndarray:
    return np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """A trace of N VMs; times are in seconds.

    Attributes:
        place: the file, for error messages.
        name: name of the data center.
        stays: when the VMs come and go, and what each needs on all its nodes together.
        per_core: units of CPU in a core.
        host: type of the hosts where none are listed.
        pms: number of hosts where neither a list nor the user says; None for as many as the load.
        listed: hosts of a list.
        is_catalogue: whether `listed` has far more hosts than the trace needs, so that some of them
            are taken.
        begin: when the trace begins; None for its first event.
        until: when it ends; None for its last event.
        nodes: NUMA nodes of each VM, 0 if a rule says, int64 [N]; [0] if it says for all.
        groups: name of each VM's deployment set, empty for none; none at all if there are none.
        pinned: bool [N]; [0] if no VM is pinned.
        hosts: id of each VM's host, empty if it is not known; none at all if it is never known.
        host_node: first NUMA node of each VM, -1 if it is not known, int64 [N]; [0] if it never is.
    """

    place: str
    name: str
    stays: Stays
    per_core: int
    host: HostType
    pms: int | None = None
    listed: Sequence[GivenHost] = ()
    is_catalogue: bool = False
    begin: float | None = None
    until: float | None = None
    nodes: np.ndarray = field(default_factory=_wholes)
    groups: Sequence[str] = ()
    pinned: np.ndarray = field(default_factory=_wholes)
    hosts: Sequence[str] = ()
    host_node: np.ndarray = field(default_factory=_wholes)

    def refuse(self, vm: int, why: str) -> NoReturn:
        """Raise InstanceError naming the file, and the row of a VM or its name.

        Args:
            vm: index of the VM.
            why: what is wrong, and what to do about it.
        """
        stays, name = self.stays, f"VM {self.stays.names[vm]!r}"
        row = f"row {stays.lines[vm]}: " if stays.lines.size and stays.lines[vm] else ""
        raise InstanceError(f"{self.place}: {row}{name} {why}")

    def only(self, kept: np.ndarray) -> Self:
        """Return the trace with some of its VMs.

        Args:
            kept: bool [N].
        """
        if kept.all():
            return self
        stays, rows = self.stays, np.flatnonzero(kept).tolist()
        some = Stays(
            [stays.names[row] for row in rows],
            stays.start[kept],
            stays.end[kept],
            stays.cpu[kept],
            stays.mem[kept],
            [stays.kinds[row] for row in rows],
            *(part[kept] if part.size else part for part in (stays.lines, stays.left_at)),
        )
        nodes, pinned, host_node = (
            part[kept] if part.size else part for part in (self.nodes, self.pinned, self.host_node)
        )
        groups, hosts = (
            [of[row] for row in rows] if of else of for of in (self.groups, self.hosts)
        )
        return replace(
            self, stays=some, nodes=nodes, pinned=pinned, host_node=host_node, groups=groups,
            hosts=hosts,
        )  # fmt: skip

    def played(self) -> Self:
        """Return the trace without VMs that take nothing or come and go at one time; says so.

        Raises:
            InstanceError: no VM is left.
        """
        if not len(self.stays.start):
            raise InstanceError(f"{self.place}: holds no VMs; there is nothing to place")
        lasts, takes = self.stays.end > self.stays.start, self.stays.cpu > 0
        for kept, what in (
            (lasts, "that came and went at one time"), (takes, "that need no CPU")
        ):  # fmt: skip
            if not kept.all():
                count = int((~kept).sum())
                note(f"{self.place}: {count} VM{'s' * (count > 1)} left out {what}")
        if not (lasts & takes).any():
            raise InstanceError(
                f"{self.place}: no VM needs CPU for any time; there is nothing to place"
            )
        return self.only(lasts & takes)
