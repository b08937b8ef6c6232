"""The relational policy in compiled code: embeddings kept up to date; heads.py scores them.

A move changes two PMs, and all layers below the network's mean depend on one PM only; so each move
computes the embeddings of two PMs and their VMs, and the scores. Tests hold it equal to network.py.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from torch import nn

from ...core.budget import Clock
from ...envs.vm_rescheduling.observation import PM_RESIDUE, VM_CPU, VM_MEM, VM_RESIDUE, Pm, Vm
from ...envs.vm_rescheduling.packed import N_PMS, N_VMS
from ..layers import Layer, affine, relu, take_layer
from .network import (
    EPS,
    HARMONICS,
    MESSAGE_SCALE,
    N_NODE,
    N_OWN,
    N_PLACED,
    N_VM,
    NODE_COLUMNS,
    VM_FLAGS,
)

CIRCLE = 2 * HARMONICS
EMBEDDED_A_LOOK = 5000  # VMs between two looks at the clock
NODES, VMS = range(2)  # rows of Memory.sums and Memory.counts
GUEST, PAIR = range(2)  # rows of Memory.residues
CACHED = 128  # residues of each kind that are kept
SIXTEENTHS = 32  # rows for a residue from 0 to 1: twice as many as of whole cores in a slot
NONE = -1.0  # no residue
LINEAR = (
    "message", "node", "host", "placed", "pool", "vm_own", "vm_context", "vm_score",
    "dest_own", "dest_vm", "dest_context", "dest_pair", "dest_score",
)  # fmt: skip


class Weights(NamedTuple):
    """The layers of RelationalPolicy that playing needs; see there."""

    message: Layer
    node: Layer
    host: Layer
    placed: Layer
    pool: Layer
    vm_own: Layer
    vm_context: Layer
    vm_score: Layer
    dest_own: Layer
    dest_vm: Layer
    dest_context: Layer
    dest_pair: Layer
    dest_score: Layer


class Memory(NamedTuple):
    """Embeddings of P PMs and V VMs, updated after each move.

    Residues of 16 cores recur, so what layers make of them is kept by their values, in rows that a
    later value may take over.

    Attributes:
        message: float32 [V, d]; each VM's message to its nodes; never changes.
        alone: float32 [V, d]; part of the layer `placed` that a VM has wherever it is; never
            changes.
        nodes: float32 [2P, d]; embeddings of the nodes.
        node_scores: float32 [2P, d]; their part of the destination head.
        placed: float32 [V, d]; embeddings of the VMs.
        vm_scores: float32 [V, d]; their part of the VM head.
        sums: float64 [2, d]; sums of `nodes` (row NODES) and of `placed` (row VMS).
        counts: float64 [2]; number of nodes, of VMs.
        residues: float32 [2, CACHED]; residues with a row (GUEST: of a node that a VM has left,
            PAIR: of one that it enters, and 1); NONE for none.
        of_residues: float32 [2, CACHED, d]; the layers' outputs for them.
    """

    message: np.ndarray
    alone: np.ndarray
    nodes: np.ndarray
    node_scores: np.ndarray
    placed: np.ndarray
    vm_scores: np.ndarray
    sums: np.ndarray
    counts: np.ndarray
    residues: np.ndarray
    of_residues: np.ndarray


def copy_memory(memory: Memory) -> Memory:
    """Return a memory that play can change; what never changes is shared."""
    return Memory(memory.message, memory.alone, *(array.copy() for array in memory[2:]))


def take_weights(network: nn.Module) -> Weights:
    """Copy the network's layers for compiled functions."""
    return Weights(*(take_layer(getattr(network, name)) for name in LINEAR))


@njit(cache=True)
def angles(residue: float, weight: float, out: np.ndarray, at: int) -> None:
    """Add weight * (cosines, sines) of the residue's harmonics to out[at:], by the addition
    theorem.
    """
    c1, s1 = math.cos(2 * math.pi * residue), math.sin(2 * math.pi * residue)
    c, s = c1, s1
    for k in range(HARMONICS):
        out[at + k] += weight * c
        out[at + HARMONICS + k] += weight * s
        c, s = c * c1 - s * s1, s * c1 + c * s1


@njit(cache=True)
def larger(row: np.ndarray, columns: tuple[int, int]) -> float:
    """Return the larger of two nodes' features: that of the node, or nodes, that the VM uses."""
    larger: float = max(row[columns[0]], row[columns[1]])
    return larger


@njit(cache=True)
def uses_both(row: np.ndarray) -> bool:
    """Return whether the VM uses both nodes."""
    return bool(row[Vm.CPU_0] > 0 and row[Vm.CPU_1] > 0)


@njit(cache=True)
def own_features(row: np.ndarray, x: np.ndarray) -> None:
    """Write a VM's features, wherever it is, from its row, float32 [9], to x[:N_VM]."""
    x[:N_VM] = 0.0
    x[0], x[1], x[2] = larger(row, VM_CPU), larger(row, VM_MEM), 1.0 if uses_both(row) else 0.0
    for j in range(len(VM_FLAGS)):
        x[N_OWN + j] = row[VM_FLAGS[j]]
    angles(larger(row, VM_RESIDUE), 1.0, x, N_OWN + len(VM_FLAGS))


@njit(cache=True)
def node_features(row: np.ndarray, k: int, x: np.ndarray) -> None:
    """Write the features of a PM's node k, from the PM's row, float32 [15], to x[:N_NODE]."""
    x[:N_NODE] = 0.0
    columns = NODE_COLUMNS.shape[1]
    for j in range(columns):
        x[j] = row[NODE_COLUMNS[k, j]]
    angles(row[PM_RESIDUE[k]], 1.0, x, columns)
    angles(row[PM_RESIDUE[1 - k]], 1.0, x, columns + CIRCLE)


@njit(cache=True)
def guest_features(pms: np.ndarray, row: np.ndarray, pm: int, x: np.ndarray) -> None:
    """Write a VM's features on its host: slots that its removal opens, angles of the residue left.

    Args:
        pms: float32 [>= P, 15]; rows of the PMs.
        row: float32 [9]; row of the VM.
        pm: its PM.
        x: float32 [N_PLACED - N_VM]; gets the features.
    """
    own, share = larger(row, VM_RESIDUE), 0.5 if uses_both(row) else 1.0
    x[:] = 0.0
    for k in range(2):
        if row[VM_CPU[k]] > 0:
            after = pms[pm, PM_RESIDUE[k]] + own
            wraps = math.floor(after + EPS)
            x[0] += share * wraps
            angles(after - wraps, share, x, 1)


@njit(cache=True)
def row_of(memory: Memory, kind: int, residue: float) -> tuple[int, bool]:
    """Return the row that is kept for a residue, and whether it holds another one's."""
    row = int(residue * SIXTEENTHS + 0.5) % CACHED
    known = memory.residues[kind, row] == np.float32(residue)
    memory.residues[kind, row] = residue
    return row, not known


@njit(cache=True)
def _left_behind(w: Weights, memory: Memory, after: float) -> np.ndarray:
    """Return what the layer `placed` makes of the residue of a node without a VM, float32 [d].

    Args:
        w: the network.
        memory: keeps it.
        after: residue of the node and of the VM, from 0 to 2.
    """
    row, new = row_of(memory, GUEST, after)
    out: np.ndarray = memory.of_residues[GUEST, row]
    if new:
        x = np.zeros(1 + CIRCLE, np.float32)
        wraps = math.floor(after + EPS)
        x[0] = wraps
        angles(after - wraps, 1.0, x, 1)
        add_rows(x, w.placed.weight, N_VM, out)
    return out


@njit(cache=True)
def add_rows(x: np.ndarray, weight: np.ndarray, first: int, out: np.ndarray) -> None:
    """Write x, float32 [n], times rows first .. first + n - 1 of a layer's weight to `out`."""
    out[:] = 0.0
    for i in range(len(x)):
        for j in range(len(out)):
            out[j] += x[i] * weight[first + i, j]


@njit(cache=True, fastmath=True)
def _embed_vm(
    pms: np.ndarray, vms: np.ndarray, w: Weights, memory: Memory, pm: int, vm: int,
    of_hosts: np.ndarray,
) -> None:  # fmt: skip
    """Update a VM's embedding and its part of the VM head.

    Args:
        pms: float32 [>= P, 15]; rows of the PMs.
        vms: float32 [>= V, 9]; rows of the VMs.
        w: the network.
        memory: changed in place.
        pm: the VM's PM.
        vm: the VM.
        of_hosts: float32 [2, d]; what the layer `placed` makes of the PM's nodes.
    """
    row, out, sums, d = vms[vm], memory.placed[vm], memory.sums[VMS], of_hosts.shape[1]
    own = larger(row, VM_RESIDUE)
    share = np.float32(0.5 if uses_both(row) else 1.0)
    for j in range(d):
        sums[j] -= out[j]
        out[j] = memory.alone[vm, j]
    for k in range(2):
        if row[VM_CPU[k]] > 0:
            left = _left_behind(w, memory, pms[pm, PM_RESIDUE[k]] + own)
            for j in range(d):
                out[j] += share * (left[j] + of_hosts[k, j])
    for j in range(d):
        out[j] = max(out[j], np.float32(0.0))
        sums[j] += out[j]
    affine(out, d, w.vm_own, memory.vm_scores[vm])


@njit(cache=True)
def embed_pm(
    pms: np.ndarray,
    vms: np.ndarray,
    guests: np.ndarray,
    w: Weights,
    memory: Memory,
    pm: int,
    x: np.ndarray,
) -> None:
    """Update the embeddings of a PM's nodes and of its guests.

    Args:
        pms: float32 [P, 15]; rows of the PMs.
        vms: float32 [V, 9]; rows of the VMs.
        guests: int64 [n]; the VMs on the PM.
        w: the network.
        memory: changed in place.
        pm: the PM.
        x: float32; scratch.
    """
    d = memory.nodes.shape[1]
    joined, of_hosts = np.empty(2 * d, np.float32), np.empty((2, d), np.float32)
    for k in range(2):
        at = 2 * pm + k
        exists = k == 0 or pms[pm, Pm.TWO_NODES] > 0
        if exists:
            memory.sums[NODES] -= memory.nodes[at]
        joined[d:] = 0.0
        for vm in guests:
            if vms[vm, VM_CPU[k]] > 0:
                for j in range(d):
                    joined[d + j] += memory.message[vm, j]
        joined[d:] *= np.float32(MESSAGE_SCALE)
        node_features(pms[pm], k, x)
        affine(x, N_NODE, w.node, joined[:d])
        relu(joined)
        affine(joined, 2 * d, w.host, memory.nodes[at])
        relu(memory.nodes[at])
        affine(memory.nodes[at], d, w.dest_own, memory.node_scores[at])
        add_rows(memory.nodes[at], w.placed.weight, N_PLACED, of_hosts[k])
        if exists:
            memory.sums[NODES] += memory.nodes[at]
    for vm in guests:
        _embed_vm(pms, vms, w, memory, pm, vm, of_hosts)


def remember(
    ints: np.ndarray, pms: np.ndarray, vms: np.ndarray, vm_pm: np.ndarray, vm_mask: np.ndarray,
    w: Weights, clock: Clock | None = None,
) -> Memory:  # fmt: skip
    """Compute every embedding of an episode, of P PMs and V VMs.

    Args:
        ints: int64; buffer of the episode, see packed.py.
        pms: float32 [P_max, 15]; rows of the PMs.
        vms: float32 [V_max, 9]; rows of the VMs.
        vm_pm: int32 [V_max]; the VMs' PMs.
        vm_mask: int8 [V_max]; 1 for rows that are VMs.
        w: the network.
        clock: ends it early, with zeros left; None for no limit.
    """
    p, v, d = ints[N_PMS], ints[N_VMS], len(w.pool.bias)
    sent, alone, nodes, dests, located, scores = (
        np.zeros((rows, d), np.float32) for rows in (v, v, 2 * p, 2 * p, v, v)
    )
    memory = Memory(
        sent, alone, nodes, dests, located, scores, np.zeros((2, d)), np.zeros(2),
        np.full((2, CACHED), NONE, np.float32), np.empty((2, CACHED, d), np.float32),
    )  # fmt: skip
    present = np.flatnonzero(vm_mask[:v])
    guests = present[np.argsort(vm_pm[present], kind="stable")]
    end = np.searchsorted(vm_pm[guests], np.arange(1, p + 1))
    first = 0
    while first < p and (clock is None or clock.remaining > 0.0):
        placed = end[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(end, placed + EMBEDDED_A_LOOK)))
        _embed_pms(pms, vms, guests, end, w, memory, first, min(last, p))
        first = last
    return memory


@njit(cache=True)
def _embed_pms(
    pms: np.ndarray, vms: np.ndarray, guests: np.ndarray, end: np.ndarray, w: Weights,
    memory: Memory, first: int, last: int,
) -> None:  # fmt: skip
    """Compute the embeddings of PMs first..last-1 and of the VMs on them: guests[:end[pm]] are
    those on PMs up to pm.
    """
    d = memory.nodes.shape[1]
    x = np.zeros(N_PLACED + N_NODE + 2 * d, np.float32)
    like = np.full(CACHED, -1, np.int64)  # VMs of one kind have the same row
    for pm in range(first, last):
        here = guests[end[pm - 1] if pm else 0 : end[pm]]
        for vm in here:
            kind = int(larger(vms[vm], VM_CPU) * 1e4) % CACHED
            if like[kind] >= 0 and _same(vms[vm], vms[like[kind]]):
                memory.message[vm] = memory.message[like[kind]]
                memory.alone[vm] = memory.alone[like[kind]]
                continue
            like[kind] = vm
            own_features(vms[vm], x)
            affine(x, N_VM, w.message, memory.message[vm])
            relu(memory.message[vm])
            affine(x, N_VM, w.placed, memory.alone[vm])
        embed_pm(pms, vms, here, w, memory, pm, x)
        memory.counts[NODES] += 2.0 if pms[pm, Pm.TWO_NODES] > 0 else 1.0
        memory.counts[VMS] += len(here)


@njit(cache=True)
def _same(row: np.ndarray, other: np.ndarray) -> bool:
    """Return whether two VMs, float32 [9] each, have the same features wherever they are."""
    for column in VM_FLAGS:
        if row[column] != other[column]:
            return False
    return bool(
        uses_both(row) == uses_both(other)
        and larger(row, VM_CPU) == larger(other, VM_CPU)
        and larger(row, VM_MEM) == larger(other, VM_MEM)
        and larger(row, VM_RESIDUE) == larger(other, VM_RESIDUE)
    )


@njit(cache=True)
def context_of(w: Weights, memory: Memory, progress: float) -> np.ndarray:
    """Compute the context, float32 [d], from the sums and the share of moves made."""
    d = memory.nodes.shape[1]
    x = np.empty(2 * d + 1, np.float32)
    x[:d] = memory.sums[NODES] / max(memory.counts[NODES], 1.0)
    x[d : 2 * d] = memory.sums[VMS] / max(memory.counts[VMS], 1.0)
    x[2 * d] = progress
    out = np.empty(d, np.float32)
    affine(x, 2 * d + 1, w.pool, out)
    relu(out)
    return out
