"""The flat buffers of one episode, so that a step is one compiled call of few arguments.

See envs/packed.py.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from ...datasets.vm_rescheduling.instance import Cluster
from ..packed import Layout
from .dynamics import State, Static, copy_state

# Header of `ints`: sizes, and where the episode stands.
HEADER = (N_PMS, N_VMS, CHOSEN, OVER, ALLOW_STOP, LIVE, N_LEGAL) = range(7)
# `floats`: the scales of features and reward.
SCALES = (CPU_SCALE, MEM_SCALE, REWARD_SCALE) = range(3)


class Index(NamedTuple):
    """Counts and lists from which the first ply's mask is kept exact at small cost."""

    rooms: np.ndarray  # int64 [K]; destinations with room for a VM of the flavor
    flavor_start: np.ndarray  # int64 [K+1]; VMs of flavor k: flavor_vms[start[k]:start[k+1]]
    flavor_vms: np.ndarray  # int64 [V]
    in_sets: np.ndarray  # int64 [...]; VMs that belong to deployment sets
    barred: np.ndarray  # int64 [V]; the most destinations that the VM's sets can bar
    present: np.ndarray  # int64 [V]; 0 for VMs that left while the contender computed (live)


LAYOUT = Layout(Static, State, Index, header=len(HEADER))
read_static, read_state, read_index = (LAYOUT.reader(kind) for kind in LAYOUT.kinds)


class Episode(NamedTuple):
    """The buffers of one episode.

    Attributes:
        ints, floats: see the constants above.
        pms: float32 [P_max, F]; observation rows, see observation.py.
        vms: float32 [V_max, G].
        vm_pm: int32 [V_max].
        vm_mask: int8 [V_max], pm_mask: int8 [P_max]; 1 where a row is a VM or PM, 0 where it is
            padding. vm_legal: int8 [N]; the first ply's mask. dest_legal: int8 [N]; the second
            ply's mask.
    """

    ints: np.ndarray
    floats: np.ndarray
    pms: np.ndarray
    vms: np.ndarray
    vm_pm: np.ndarray
    vm_mask: np.ndarray
    pm_mask: np.ndarray
    vm_legal: np.ndarray
    dest_legal: np.ndarray


def pack(
    cluster: Cluster, static: Static, state: State, present: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the two flat buffers of an episode before its first move, int64 [n] and float64 [3].

    Args:
        cluster: the instance.
        static: `make_static(cluster)`.
        state: where the VMs are.
        present: bool [V]; False for VMs that have left.
    """
    n_vms, n_flavors = cluster.n_vms, len(cluster.flavor_names)
    sizes = np.diff(static.set_start)
    rack_size = int(np.bincount(static.pm_rack).max())
    reach = np.where(static.set_by_rack, rack_size, 1) * np.maximum(sizes - 1, 0)
    barred = np.zeros(n_vms, np.int64)
    np.add.at(
        barred,
        np.repeat(np.arange(n_vms), np.diff(static.vm_set_start)),
        static.stride * reach[static.vm_sets],
    )
    by_flavor = np.bincount(static.vm_flavor, minlength=n_flavors)
    index = Index(
        rooms=np.zeros(n_flavors, np.int64),
        flavor_start=np.concatenate([[0], np.cumsum(by_flavor)]),
        flavor_vms=np.argsort(static.vm_flavor, kind="stable"),
        in_sets=np.flatnonzero(np.diff(static.vm_set_start)),
        barred=barred,
        present=present,
    )
    ints = LAYOUT.pack(static, state, index)
    ints[[N_PMS, N_VMS, CHOSEN]] = cluster.n_pms, n_vms, -1
    floats = np.zeros(len(SCALES))
    floats[CPU_SCALE] = max(1, cluster.numa_cpu.sum(axis=1).max())
    floats[MEM_SCALE] = max(1, cluster.numa_mem.sum(axis=1).max())
    return ints, floats


@njit(cache=True)
def unpack(ints: np.ndarray) -> tuple[Static, State, Index]:
    """Return views into an episode's `ints`, int64 [n]. For compiled code whose caller holds it."""
    return read_static(ints), read_state(ints), read_index(ints)


def state_of(episode: Episode) -> State:
    """Return a copy of an episode's present state."""
    return copy_state(LAYOUT.view(episode.ints, State))
