"""The relational policy in compiled code: embeddings kept up to date, and scores.

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
    N_PAIR,
    N_PLACED,
    N_VM,
    NODE_COLUMNS,
    VM_FLAGS,
)

CIRCLE = 2 * HARMONICS
EMBEDDED_A_LOOK = 5000  # VMs between two looks at the clock
NODES, VMS = range(2)  # rows of Memory.sums and Memory.counts
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

    Attributes:
        message: float32 [V, d]; each VM's message to its nodes; never changes.
        nodes: float32 [2P, d]; embeddings of the nodes.
        node_scores: float32 [2P, d]; their part of the destination head.
        placed: float32 [V, d]; embeddings of the VMs.
        vm_scores: float32 [V, d]; their part of the VM head.
        sums: float64 [2, d]; sums of `nodes` (row NODES) and of `placed` (row VMS).
        counts: float64 [2]; number of nodes, of VMs.
    """

    message: np.ndarray
    nodes: np.ndarray
    node_scores: np.ndarray
    placed: np.ndarray
    vm_scores: np.ndarray
    sums: np.ndarray
    counts: np.ndarray


def take_weights(network: nn.Module) -> Weights:
    """Copy the network's layers for compiled functions."""
    return Weights(*(take_layer(getattr(network, name)) for name in LINEAR))


@njit(cache=True)
def _angles(residue: float, weight: float, out: np.ndarray, at: int) -> None:
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
    _angles(larger(row, VM_RESIDUE), 1.0, x, N_OWN + len(VM_FLAGS))


@njit(cache=True)
def node_features(row: np.ndarray, k: int, x: np.ndarray) -> None:
    """Write the features of a PM's node k, from the PM's row, float32 [15], to x[:N_NODE]."""
    x[:N_NODE] = 0.0
    columns = NODE_COLUMNS.shape[1]
    for j in range(columns):
        x[j] = row[NODE_COLUMNS[k, j]]
    _angles(row[PM_RESIDUE[k]], 1.0, x, columns)
    _angles(row[PM_RESIDUE[1 - k]], 1.0, x, columns + CIRCLE)


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
            _angles(after - wraps, share, x, 1)


@njit(cache=True)
def _embed_vm(
    pms: np.ndarray, vms: np.ndarray, w: Weights, memory: Memory, pm: int, vm: int, x: np.ndarray
) -> None:
    """Update a VM's embedding and its part of the VM head; `x` is scratch."""
    row, d = vms[vm], memory.nodes.shape[1]
    own_features(row, x)
    guest_features(pms, row, pm, x[N_VM:N_PLACED])
    x[N_PLACED : N_PLACED + d] = 0.0
    share = 0.5 if uses_both(row) else 1.0
    for k in range(2):
        if row[VM_CPU[k]] > 0:
            for j in range(d):
                x[N_PLACED + j] += share * memory.nodes[2 * pm + k, j]
    memory.sums[VMS] -= memory.placed[vm]
    affine(x, N_PLACED + d, w.placed, memory.placed[vm])
    relu(memory.placed[vm])
    memory.sums[VMS] += memory.placed[vm]
    affine(memory.placed[vm], d, w.vm_own, memory.vm_scores[vm])


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
    for k in range(2):
        at = 2 * pm + k
        exists = k == 0 or pms[pm, Pm.TWO_NODES] > 0
        if exists:
            memory.sums[NODES] -= memory.nodes[at]
        joined = np.zeros(2 * d, np.float32)
        for vm in guests:
            if vms[vm, VM_CPU[k]] > 0:
                joined[d:] += memory.message[vm]
        joined[d:] *= np.float32(MESSAGE_SCALE)
        node_features(pms[pm], k, x)
        affine(x, N_NODE, w.node, joined[:d])
        relu(joined)
        affine(joined, 2 * d, w.host, memory.nodes[at])
        relu(memory.nodes[at])
        affine(memory.nodes[at], d, w.dest_own, memory.node_scores[at])
        if exists:
            memory.sums[NODES] += memory.nodes[at]
    for vm in guests:
        _embed_vm(pms, vms, w, memory, pm, vm, x)


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
    own, nodes, dests, located, scores = (
        np.zeros((rows, d), np.float32) for rows in (v, 2 * p, 2 * p, v, v)
    )
    memory = Memory(own, nodes, dests, located, scores, np.zeros((2, d)), np.zeros(2))
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
    for pm in range(first, last):
        here = guests[end[pm - 1] if pm else 0 : end[pm]]
        for vm in here:
            own_features(vms[vm], x)
            affine(x, N_VM, w.message, memory.message[vm])
            relu(memory.message[vm])
        embed_pm(pms, vms, here, w, memory, pm, x)
        memory.counts[NODES] += 2.0 if pms[pm, Pm.TWO_NODES] > 0 else 1.0
        memory.counts[VMS] += len(here)


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


@njit(cache=True, fastmath=True)
def _score(own: np.ndarray, shift: np.ndarray, weight: np.ndarray) -> np.float32:
    """Apply a head's last layer to relu(own + shift), both float32 [d]; without bias."""
    total = np.float32(0.0)
    for j in range(len(shift)):
        total += max(own[j] + shift[j], np.float32(0.0)) * weight[j, 0]
    return total


@njit(cache=True)
def vm_scores(
    w: Weights, memory: Memory, context: np.ndarray, vm_legal: np.ndarray, scores: np.ndarray
) -> None:
    """Score the VMs for the first ply.

    Args:
        w: the network.
        memory: the embeddings.
        context: float32 [d].
        vm_legal: int8 [>= V]; 1 for legal VMs.
        scores: float64 [V]; gets the scores, -1e9 for illegal VMs.
    """
    shift = np.empty(len(context), np.float32)
    affine(context, len(context), w.vm_context, shift)
    own, weight, bias = memory.vm_scores, w.vm_score.weight, w.vm_score.bias[0]
    for vm in range(len(own)):
        scores[vm] = _score(own[vm], shift, weight) + bias if vm_legal[vm] else -1e9


@njit(cache=True)
def pair_features(pms: np.ndarray, row: np.ndarray, host: int, dest: int, x: np.ndarray) -> None:
    """Write the features of a VM at a destination: of both nodes, where it uses both, their means.

    Args:
        pms: float32 [>= P, 15]; rows of the PMs.
        row: float32 [9]; row of the VM.
        host: its PM.
        dest: the destination, 2 * PM + node.
        x: float32 [N_PAIR]; gets the features.
    """
    pm, numa = dest // 2, dest % 2
    both, size = uses_both(row), larger(row, VM_RESIDUE)
    x[:] = 0.0
    x[1] = 1.0 if pm == host else 0.0
    share = 0.5 if both else 1.0
    for k in range(2):
        if both or k == numa:
            after = pms[pm, PM_RESIDUE[k]] - size
            wraps = math.floor(after + EPS)
            x[0] -= share * wraps
            _angles(after - wraps, share, x, 2)


@njit(cache=True)
def dest_scores(
    pms: np.ndarray,
    row: np.ndarray,
    host: int,
    w: Weights,
    memory: Memory,
    context: np.ndarray,
    vm: int,
    dest_legal: np.ndarray,
    scores: np.ndarray,
) -> None:
    """Score the destinations of a VM for the second ply.

    Args:
        pms: float32 [>= P, 15]; rows of the PMs.
        row: float32 [9]; row of the VM.
        host: its PM.
        w: the network.
        memory: the embeddings.
        context: float32 [d].
        vm: the VM.
        dest_legal: int8 [>= 2P]; 1 for legal destinations, 2 * PM + node.
        scores: float64 [2P]; gets the scores, -1e9 for illegal destinations.
    """
    d = len(context)
    shift, more = np.empty(d, np.float32), np.empty(d, np.float32)
    affine(context, d, w.dest_context, shift)
    affine(memory.placed[vm], d, w.dest_vm, more)
    shift += more
    both = uses_both(row)
    own, x = np.empty(d, np.float32), np.empty(N_PAIR, np.float32)
    scores[:] = -1e9
    for dest in range(len(scores)):
        if dest_legal[dest]:
            pair_features(pms, row, host, dest, x)
            affine(x, N_PAIR, w.dest_pair, own)
            own += shift
            scores[dest] = w.dest_score.bias[0]
            if both:
                mean = (memory.node_scores[dest] + memory.node_scores[dest + 1]) * np.float32(0.5)
                scores[dest] += _score(mean, own, w.dest_score.weight)
            else:
                scores[dest] += _score(memory.node_scores[dest], own, w.dest_score.weight)


@njit(cache=True)
def choose(scores: np.ndarray, temperature: float, rng: np.random.Generator) -> int:
    """Return the best score's index, or one sampled from softmax(scores / temperature)."""
    best = int(scores.argmax())
    if temperature <= 0.0:
        return best
    weights = np.exp((scores - scores[best]) / temperature)
    left = rng.random() * weights.sum()
    for i in range(len(weights)):
        left -= weights[i]
        if left < 0.0:
            return i
    return best
