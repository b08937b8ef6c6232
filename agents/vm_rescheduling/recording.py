"""Play an episode of VM rescheduling in compiled code and record it, as versions of PMs and VMs.

A move changes two PMs, and all layers below the network's mean depend on one PM only. So a version
is a PM and the VMs on it as they were from one move to another; see selfplay.py.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from ...envs.vm_rescheduling.episode import GOES_ON, play
from ...envs.vm_rescheduling.observation import VM_CPU, Pm
from ...envs.vm_rescheduling.packed import N_PMS, N_VMS
from ..layers import Layer, affine, relu
from ..selfplay.drawing import draw
from .compiled import (
    Memory,
    Weights,
    context_of,
    embed_pm,
    guest_features,
    node_features,
    own_features,
    uses_both,
)
from .heads import dest_scores, pair_features, vm_scores
from .network import N_NODE, N_PAIR, N_PLACED, N_VM

# Environment steps of a move: its VM is chosen, then its destination.
PLIES = 2


class Book(NamedTuple):
    """Room for the record of one episode: V VMs, S states (one before each move), M versions of
    PMs, G versions of VMs, E of these on a node.

    Attributes:
        nodes: float32 [2 M, N_NODE]; features of the nodes of a PM's version.
        exists: float32 [2 M, 1]; 1 for nodes that there are.
        since: int64 [M]; the state that each version of a PM begins at.
        until: int64 [M]; the state that it has ended at.
        guests: float32 [G, N_PLACED]; features of a VM's version, by itself and on its host.
        guest_pm: int64 [G]; the version of the PM that it is on.
        edge_vm: int64 [E]; the VM of each VM's version on a node,
        edge_guest: int64 [E]; the version, and
        edge_node: int64 [E]; the node.
        share: float32 [E, 1]; the part of the VM there: 1, or 1/2 on each of two nodes.
        vm_state: int64 [n]; state of each legal first action, and
        vm_rank: int64 [n]; its position among the legal ones of the state, and
        vm_guest: int64 [n]; the VM's version.
        vm_score: float32 [n]; its score when it was played.
        dest_state: int64 [m]; state of each legal second action,
        dest_rank: int64 [m]; its position among the legal ones,
        dest_node: int64 [m]; the node, and
        dest_pair: float32 [m, N_PAIR]; features of the VM there.
        dest_score: float32 [m]; its score when it was played.
        chosen: int64 [S]; version of the VM that moves.
        both: bool [S]; whether that uses both nodes.
        progress: float32 [S, 1]; moves made, as a part of MNL.
        actions: int64 [2 S]; actions as positions among the legal ones.
        log_probabilities: float32 [2 S]; of the actions.
        values: float32 [S]; expected returns.
        rewards: float64 [S]; of the moves.
        objectives: float64 [1]; the objective after the last move.
    """

    nodes: np.ndarray
    exists: np.ndarray
    since: np.ndarray
    until: np.ndarray
    guests: np.ndarray
    guest_pm: np.ndarray
    edge_vm: np.ndarray
    edge_guest: np.ndarray
    edge_node: np.ndarray
    share: np.ndarray
    vm_state: np.ndarray
    vm_rank: np.ndarray
    vm_guest: np.ndarray
    vm_score: np.ndarray
    dest_state: np.ndarray
    dest_rank: np.ndarray
    dest_node: np.ndarray
    dest_pair: np.ndarray
    dest_score: np.ndarray
    chosen: np.ndarray
    both: np.ndarray
    progress: np.ndarray
    actions: np.ndarray
    log_probabilities: np.ndarray
    values: np.ndarray
    rewards: np.ndarray
    objectives: np.ndarray


# Kinds of rows of a record.
VERSIONS, GUESTS, EDGES, VM_PLIES, DEST_PLIES = range(5)


class Worth(NamedTuple):
    """The layers of the value; see RelationalPolicy."""

    value_hidden: Layer
    value_score: Layer


def _rows(n_pms: int, n_vms: int, most: int, crowd: int) -> tuple[int, int, int, int]:
    """Return the most versions of PMs and of VMs, first and second actions; see make_book."""
    guests = n_vms + 2 * most * min(n_vms, crowd + most)
    return n_pms + 2 * most, guests, most * n_vms, most * 2 * n_pms


def bytes_of_a_book(n_pms: int, n_vms: int, most: int, crowd: int) -> int:
    """Return how much room make_book would make, in bytes, its smallest parts left out."""
    versions, guests, firsts, seconds = _rows(n_pms, n_vms, most, crowd)
    size: int = (
        versions * (8 * N_NODE + 24)
        + guests * (4 * N_PLACED + 8 + 2 * 28)
        + firsts * 28
        + seconds * (28 + 4 * N_PAIR)
    )
    return size


def make_book(n_pms: int, n_vms: int, most: int, crowd: int) -> Book:
    """Make room for an episode.

    Args:
        n_pms: number of PMs.
        n_vms: number of VMs.
        most: the most moves.
        crowd: the most VMs on a PM at the start; a move adds at most one.
    """
    versions, guests, firsts, seconds = _rows(n_pms, n_vms, most, crowd)

    def whole(*shape: int) -> np.ndarray:
        return np.empty(shape, np.int64)

    def part(*shape: int) -> np.ndarray:
        return np.empty(shape, np.float32)

    return Book(
        part(2 * versions, N_NODE), part(2 * versions, 1), whole(versions), whole(versions),
        part(guests, N_PLACED), whole(guests),
        whole(2 * guests), whole(2 * guests), whole(2 * guests), part(2 * guests, 1),
        whole(firsts), whole(firsts), whole(firsts), part(firsts),
        whole(seconds), whole(seconds), whole(seconds), part(seconds, N_PAIR), part(seconds),
        whole(most), np.empty(most, np.bool_), part(most, 1),
        whole(2 * most), part(2 * most), part(most), np.empty(most), np.empty(1),
    )  # fmt: skip


@njit(cache=True)
def _version(
    book: Book, at: np.ndarray, state: int, pms: np.ndarray, vms: np.ndarray, guests: np.ndarray,
    pm: int, version_of: np.ndarray, guest_of: np.ndarray,
) -> None:  # fmt: skip
    """Begin a version of a PM and of the VMs on it.

    Args:
        book: written to.
        at: int64 [5]; how many rows there are, by VERSIONS ... DEST_PLIES.
        state: the state that it begins at.
        pms: float32 [>= P, 15]; rows of the PMs.
        vms: float32 [>= V, 9]; rows of the VMs.
        guests: int64 [n]; the VMs on the PM.
        pm: the PM.
        version_of: int64 [P]; the PMs' versions now; -1 for none.
        guest_of: int64 [V]; the VMs' versions now.
    """
    new = at[VERSIONS]
    if version_of[pm] >= 0:
        book.until[version_of[pm]] = state
    version_of[pm] = new
    book.since[new] = state
    for k in range(2):
        node_features(pms[pm], k, book.nodes[2 * new + k])
    book.exists[2 * new, 0], book.exists[2 * new + 1, 0] = 1.0, pms[pm, Pm.TWO_NODES]
    for vm in guests:
        guest = at[GUESTS]
        guest_of[vm] = guest
        book.guest_pm[guest] = new
        own_features(vms[vm], book.guests[guest])
        guest_features(pms, vms[vm], pm, book.guests[guest, N_VM:])
        for k in range(2):
            if vms[vm, VM_CPU[k]] > 0:
                edge = at[EDGES]
                book.edge_vm[edge] = vm
                book.edge_guest[edge] = guest
                book.edge_node[edge] = 2 * new + k
                book.share[edge, 0] = 0.5 if uses_both(vms[vm]) else 1.0
                at[EDGES] += 1
        at[GUESTS] += 1
    at[VERSIONS] += 1


@njit(cache=True)
def record(
    ints: np.ndarray, floats: np.ndarray, pms: np.ndarray, vms: np.ndarray, vm_pm: np.ndarray,
    vm_mask: np.ndarray, vm_legal: np.ndarray, dest_legal: np.ndarray, w: Weights, worth: Worth,
    memory: Memory, mnl: int, greedy: bool, rng: np.random.Generator, book: Book, at: np.ndarray,
) -> int:  # fmt: skip
    """Play an episode to its end, in place, and record it.

    Args:
        ints: int64; buffer of the episode, see packed.py.
        floats: float64; likewise.
        pms: float32 [P_max, 15]; rows of the PMs.
        vms: float32 [V_max, 9]; rows of the VMs.
        vm_pm: int32 [V_max]; the VMs' PMs.
        vm_mask: int8 [V_max]; 1 for rows that are VMs.
        vm_legal: int8 [N]; the first ply's mask.
        dest_legal: int8 [N]; the second ply's mask.
        w: the network.
        worth: its value.
        memory: the embeddings; changed in place.
        mnl: the most moves.
        greedy: whether the likeliest actions are taken.
        rng: source of the actions.
        book: gets the record.
        at: int64 [5]; gets the numbers of rows, by VERSIONS ... DEST_PLIES.

    Returns:
        The number of moves.
    """
    n_pms, n_vms, d = ints[N_PMS], ints[N_VMS], len(w.pool.bias)
    x = np.zeros(N_PLACED + N_NODE + 2 * d, np.float32)
    for_vms, for_dests = np.empty(n_vms), np.empty(2 * n_pms)
    hidden, value = np.empty(d, np.float32), np.empty(1, np.float32)
    none = np.int64(-1)  # a literal would have `play` compiled once more for each of its types
    version_of, guest_of = np.full(n_pms, -1, np.int64), np.full(n_vms, -1, np.int64)
    at[:] = 0
    order = np.argsort(vm_pm[:n_vms], kind="mergesort")
    first = 0
    for pm in range(n_pms):
        last = first
        while last < n_vms and vm_pm[order[last]] == pm:
            last += 1
        here = order[first:last]
        _version(book, at, 0, pms, vms, here[vm_mask[here] > 0], pm, version_of, guest_of)
        first = last
    outcome, _, objective, _, made = play(
        ints, floats, pms, vms, vm_pm, vm_legal, dest_legal, none, none
    )
    state = 0
    while outcome == GOES_ON and state < mnl and vm_legal[:n_vms].any():
        book.progress[state, 0] = min(1.0, made / mnl)
        context = context_of(w, memory, book.progress[state, 0])
        affine(context, d, worth.value_hidden, hidden)
        relu(hidden)
        affine(hidden, d, worth.value_score, value)
        book.values[state] = value[0]

        vm_scores(w, memory, context, vm_legal, for_vms)
        legal = np.flatnonzero(vm_legal[:n_vms])
        begin, end = at[VM_PLIES], at[VM_PLIES] + len(legal)
        for i in range(len(legal)):
            book.vm_state[begin + i] = state
            book.vm_rank[begin + i] = i
            book.vm_guest[begin + i] = guest_of[legal[i]]
            book.vm_score[begin + i] = for_vms[legal[i]]
        at[VM_PLIES] = end
        taken, book.log_probabilities[2 * state] = draw(book.vm_score[begin:end], greedy, rng)
        book.actions[2 * state] = taken
        vm = legal[taken]
        host = vm_pm[vm]
        book.chosen[state] = guest_of[vm]
        book.both[state] = uses_both(vms[vm])
        play(ints, floats, pms, vms, vm_pm, vm_legal, dest_legal, vm, none)

        dest_scores(pms, vms[vm], host, w, memory, context, vm, dest_legal, for_dests)
        legal = np.flatnonzero(dest_legal[: 2 * n_pms])
        begin, end = at[DEST_PLIES], at[DEST_PLIES] + len(legal)
        for i in range(len(legal)):
            dest = legal[i]
            book.dest_state[begin + i] = state
            book.dest_rank[begin + i] = i
            book.dest_node[begin + i] = 2 * version_of[dest // 2] + dest % 2
            pair_features(pms, vms[vm], host, dest, book.dest_pair[begin + i])
            book.dest_score[begin + i] = for_dests[dest]
        at[DEST_PLIES] = end
        taken, book.log_probabilities[2 * state + 1] = draw(book.dest_score[begin:end], greedy, rng)
        book.actions[2 * state + 1] = taken
        dest = legal[taken]
        outcome, book.rewards[state], objective, _, made = play(
            ints, floats, pms, vms, vm_pm, vm_legal, dest_legal, none, dest
        )
        state += 1
        for end_of_move in range(2):
            pm = host if end_of_move == 0 else dest // 2
            if end_of_move == 0 or pm != host:
                guests = np.flatnonzero(vm_pm[:n_vms] == pm)
                embed_pm(pms, vms, guests, w, memory, pm, x)
                _version(book, at, state, pms, vms, guests, pm, version_of, guest_of)
    for pm in range(n_pms):
        book.until[version_of[pm]] = state
    book.objectives[0] = objective
    return state
