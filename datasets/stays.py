"""When VMs arrive and leave, and what they need: what the readers of traces give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

MILLI = 1000  # units of CPU in a core, unless others are asked for: traces give fractions
MB_PER_GB = 1024


@dataclass(frozen=True, slots=True)
class HostType:
    """A type of physical machine.

    Attributes:
        name: prefix of the hosts' ids.
        cores: number of cores of each NUMA node.
        memory_gb: memory of each in GiB.
        nodes: number of NUMA nodes.
    """

    name: str
    cores: float
    memory_gb: float
    nodes: int = 1


def _nothing() -> np.ndarray:
    return np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Stays:
    """When N VMs arrive and leave, and what they need; in any order.

    Attributes:
        names: N names; no two VMs of one name run at the same time.
        start: float64 [N]; when each arrives, in the trace's unit; minus infinity if it was there
            before the trace.
        end: float64 [N]; when it leaves, infinity if it never does.
        cpu: int64 [N]; demand in parts of a core.
        mem: int64 [N]; demand in MB.
        kinds: N names of flavors.
        lines: int64 [N]; line of the file that says what each needs; [0] where there are no lines.
        left_at: int64 [N]; line that says that it leaves, 0 for none; [0] where arrivals and exits
            have no lines of their own, so that their order within one time is not known.
    """

    names: Sequence[str]
    start: np.ndarray
    end: np.ndarray
    cpu: np.ndarray
    mem: np.ndarray
    kinds: Sequence[str]
    lines: np.ndarray = field(default_factory=_nothing)
    left_at: np.ndarray = field(default_factory=_nothing)
