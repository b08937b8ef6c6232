"""The heads of the relational policy in compiled code: scores of VMs and of destinations.

Tests hold them equal to network.py.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from ...envs.vm_rescheduling.observation import PM_RESIDUE, VM_RESIDUE
from ..layers import affine
from .compiled import PAIR, Memory, Weights, add_rows, angles, larger, row_of, uses_both
from .network import EPS, N_PAIR

NEGLIGIBLE = 25.0  # logits this far below the best are never sampled: chances below 2e-11


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
            angles(after - wraps, share, x, 2)


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
    both, size = uses_both(row), larger(row, VM_RESIDUE)
    scores[:] = -1e9
    weight, bias, stays = w.dest_score.weight, w.dest_score.bias[0], w.dest_pair.weight[1]
    own, half = np.empty(d, np.float32), np.float32(0.5)
    for dest in range(len(scores)):
        if dest_legal[dest]:
            pm, first = dest // 2, dest // 2 * 2
            if both:
                left = _entered(w, memory, pms[pm, PM_RESIDUE[0]] - size)
                right = _entered(w, memory, pms[pm, PM_RESIDUE[1]] - size)
                for j in range(d):
                    nodes = memory.node_scores[first, j] + memory.node_scores[first + 1, j]
                    own[j] = half * (nodes + left[j] + right[j])
            else:
                after = _entered(w, memory, pms[pm, PM_RESIDUE[dest % 2]] - size)
                for j in range(d):
                    own[j] = memory.node_scores[dest, j] + after[j]
            if pm == host:
                own += stays
            scores[dest] = bias + _score(own, shift, weight)


@njit(cache=True)
def _entered(w: Weights, memory: Memory, after: float) -> np.ndarray:
    """Return what the layer `dest_pair` makes of the residue of a node with a VM, float32 [d].

    Args:
        w: the network.
        memory: keeps it.
        after: residue of the node less the VM's, from -1 to 1.
    """
    row, new = row_of(memory, PAIR, after + 1.0)
    out: np.ndarray = memory.of_residues[PAIR, row]
    if new:
        x = np.zeros(N_PAIR, np.float32)
        wraps = math.floor(after + EPS)
        x[0] = -wraps
        angles(after - wraps, 1.0, x, 2)
        add_rows(x, w.dest_pair.weight, 0, out)
    return out


@njit(cache=True)
def choose(scores: np.ndarray, temperature: float, rng: np.random.Generator) -> int:
    """Return the best score's index, or one sampled from softmax(scores / temperature)."""
    best = int(scores.argmax())
    if temperature <= 0.0:
        return best
    least, whole = scores[best] - NEGLIGIBLE * temperature, 0.0
    for score in scores:
        if score > least:
            whole += math.exp((score - scores[best]) / temperature)
    left = rng.random() * whole
    for i in range(len(scores)):
        if scores[i] > least:
            left -= math.exp((scores[i] - scores[best]) / temperature)
            if left < 0.0:
                return i
    return best
