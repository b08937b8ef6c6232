"""Facts about hosts and flavors that the families of data centers share."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

# Weights of the features of envs/host_potential.py, as agents/vm_allocation/cross_entropy.py
# trained them.
HOST_POTENTIAL = Path(__file__).parent / "host_potential.csv"

# What may happen to a host; see `pm_status` of vm_rescheduling's instances.
ACTIVE, DISABLED, OUTAGE = 0, 1, 2
STATUS_NAMES = ("ACTIVE", "DISABLED", "OUTAGE")
MOST_NODES = 64  # NUMA nodes of a host

FRAGMENT_CORES = 16
SIZE_LIMITS = (8, 16, 32)  # cores on a node, by which VMs are told apart as small
LARGE_CORES = 64
LARGE_MEM_MB = 64 * 1024

# ByteDance's public Medium snapshot (bytedance/DRL-based-VM-Rescheduling, Apache-2.0): 279 PMs of
# two NUMA nodes and 2,089 VMs.
MEDIUM_PMS, MEDIUM_VMS = 279, 2089
NODE_CPU, NODE_MEM_MB = 44, 184_388
MB_PER_CORE = 2048
PMS_PER_RACK = 28
# (name, CPU on each node, nodes, VMs)
MEDIUM_FLAVORS = (
    ("xlarge", 4, 1, 906),
    ("large", 2, 1, 337),
    ("2xlarge", 8, 1, 311),
    ("4xlarge", 16, 1, 184),
    ("16xlarge", 32, 2, 130),
    ("8xlarge", 32, 1, 61),
    ("2xlarge-double", 4, 2, 57),
    ("8xlarge-double", 16, 2, 50),
    ("4xlarge-double", 8, 2, 46),
    ("22xlarge", 44, 2, 4),
    ("xlarge-double", 2, 2, 3),
)


@cache
def host_potential() -> np.ndarray:
    """Return the weights of the learned potential of a host, float64 [20]."""
    weights = np.loadtxt(HOST_POTENTIAL, delimiter=",", skiprows=1)
    weights.flags.writeable = False
    return weights
