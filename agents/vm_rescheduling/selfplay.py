"""Compiled self-play of VM rescheduling, and the network over what it records, without padding.

A move changes two PMs, and all layers below the network's mean depend on one PM only. So an episode
is recorded as versions: a PM and the VMs on it, as they were from one move to another. The network
embeds each version once, however many moves it lasts; sums over the cluster follow from which
versions begin and end at each state. Only legal actions are scored.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from numba import njit
from torch import Tensor

from ...datasets.vm_rescheduling.instance import Cluster
from ...envs.vm_rescheduling.episode import GOES_ON, play
from ...envs.vm_rescheduling.observation import VM_CPU, Pm
from ...envs.vm_rescheduling.packed import N_PMS, N_VMS, Episode
from ..layers import Layer, affine, relu, take_layer
from ..network import MASKED
from ..pair_scores import pair_scores
from ..selfplay.minibatches import of_segments
from ..selfplay.segment import Judged, Minibatch, Order, Segment, SelfPlay
from .compiled import (
    Memory,
    Weights,
    context_of,
    dest_scores,
    embed_pm,
    guest_features,
    node_features,
    own_features,
    pair_features,
    remember,
    take_weights,
    uses_both,
    vm_scores,
)
from .network import (
    MESSAGE_SCALE,
    N_NODE,
    N_PAIR,
    N_PLACED,
    N_VM,
    RelationalPolicy,
    vm_features,
)
from .playing import copy_arrays, start_episode

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


def _make_book(n_pms: int, n_vms: int, most: int, crowd: int) -> Book:
    """Make room for an episode.

    Args:
        n_pms: number of PMs.
        n_vms: number of VMs.
        most: the most moves.
        crowd: the most VMs on a PM at the start; a move adds at most one.
    """
    versions = n_pms + 2 * most
    guests = n_vms + 2 * most * min(n_vms, crowd + most)
    firsts, seconds = most * n_vms, most * 2 * n_pms

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
def _draw(scores: np.ndarray, greedy: bool, rng: np.random.Generator) -> tuple[int, float]:
    """Draw from softmax(scores), float32 [n], or take the best; return its position and the
    logarithm of its probability.
    """
    best = int(scores.argmax())
    weights = np.exp(scores.astype(np.float64) - scores[best])
    whole = weights.sum()
    taken = best
    if not greedy:
        left = rng.random() * whole
        for i in range(len(weights)):
            left -= weights[i]
            if left < 0.0:
                taken = i
                break
    return taken, float(scores[taken]) - float(scores[best]) - np.log(whole)


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
def _record(
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
        taken, book.log_probabilities[2 * state] = _draw(book.vm_score[begin:end], greedy, rng)
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
        taken, book.log_probabilities[2 * state + 1] = _draw(
            book.dest_score[begin:end], greedy, rng
        )
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


class Moments(NamedTuple):
    """The record of one episode, or of several one after the other, as the network reads it: a
    graph of V VMs and of the versions of a Book. Arrays where it was played, tensors where it is
    learned from.

    Attributes:
        alone: float32 [V, N_VM]; features of the VMs, wherever they are.
        counts: float32 [S, 2]; how many nodes and VMs there are.
    The others are a Book's.
    """

    alone: Any
    counts: Any
    nodes: Any
    exists: Any
    since: Any
    until: Any
    guests: Any
    guest_pm: Any
    edge_vm: Any
    edge_guest: Any
    edge_node: Any
    share: Any
    vm_state: Any
    vm_rank: Any
    vm_guest: Any
    vm_score: Any
    dest_state: Any
    dest_rank: Any
    dest_node: Any
    dest_pair: Any
    dest_score: Any
    chosen: Any
    both: Any
    progress: Any

    def to(self, device: torch.device) -> Moments:
        """Return the same on a device."""
        return Moments(*(part.to(device) for part in self))


# Positions -> the rows that they are positions of.
POSITIONS = {
    "edge_vm": "alone", "edge_guest": "guests", "edge_node": "nodes",
    "guest_pm": "since", "since": "progress", "until": "progress",
    "vm_state": "progress", "vm_guest": "guests",
    "dest_state": "progress", "dest_node": "nodes", "chosen": "guests",
}  # fmt: skip


def together(records: Sequence[Moments]) -> Moments:
    """Return several records of arrays as one of tensors, the positions of each moved past the rows
    of those before.

    PyTorch Geometric's Batch does the same in seven times the time, a fifth of a whole iteration.

    Args:
        records: at least one.
    """
    joined = {}
    for row, name in enumerate(Moments._fields):
        parts = [record[row] for record in records]
        if name in POSITIONS:
            of = Moments._fields.index(POSITIONS[name])
            before = 0
            for k, record in enumerate(records):
                parts[k] = parts[k] + before
                before += len(record[of])
        joined[name] = torch.from_numpy(np.concatenate(parts))
    return Moments(**joined)


def _moments(book: Book, at: np.ndarray, made: int, start: Start) -> Moments:
    """Copy the record of an episode of `made` moves out of its book.

    Args:
        book: with room to spare.
        at: int64 [5]; numbers of rows, by VERSIONS ... DEST_PLIES.
        made: moves.
        start: what the episode began with.
    """
    versions, guests, edges, vm_plies, dest_plies = at.tolist()
    lengths = {
        "nodes": 2 * versions, "exists": 2 * versions, "since": versions, "until": versions,
        "guests": guests, "guest_pm": guests,
        "edge_vm": edges, "edge_guest": edges, "edge_node": edges, "share": edges,
        "vm_state": vm_plies, "vm_rank": vm_plies, "vm_guest": vm_plies, "vm_score": vm_plies,
        "dest_state": dest_plies, "dest_rank": dest_plies, "dest_node": dest_plies,
        "dest_pair": dest_plies, "dest_score": dest_plies,
        "chosen": made, "both": made, "progress": made,
    }  # fmt: skip
    cut = {name: getattr(book, name)[:length].copy() for name, length in lengths.items()}
    return Moments(start.alone, np.tile(start.counts, (made, 1)), **cut)


class Start(NamedTuple):
    """What every episode of a cluster begins with.

    Attributes:
        episode: the environment's buffers.
        alone: float32 [V, N_VM]; features of the VMs.
        counts: float32 [2]; how many nodes and VMs there are.
        crowd: the most VMs on a PM.
    """

    episode: Episode
    alone: np.ndarray
    counts: np.ndarray
    crowd: int


def _start_of(cluster: Cluster) -> Start:
    e = start_episode(cluster)
    n_pms, n_vms = int(e.ints[N_PMS]), int(e.ints[N_VMS])
    n_nodes = n_pms + int(np.count_nonzero(e.pms[:n_pms, Pm.TWO_NODES]))
    counts = np.array([n_nodes, max(1, int(e.vm_mask.sum()))], np.float32)
    crowd = int(np.bincount(e.vm_pm[:n_vms]).max()) if n_vms else 0
    alone = vm_features(torch.from_numpy(e.vms[:n_vms])).numpy()
    return Start(e, alone, counts, crowd)


class _Player:
    """Plays clusters from their starts to their ends; see selfplay.Player."""

    def __init__(
        self, clusters: Sequence[Cluster], environment: Mapping[str, Any], lanes: int
    ) -> None:
        self.games = None  # episodes are played to their ends
        self._clusters, self._lanes, self._next = clusters, lanes, 0
        self._starts: dict[int, Start] = {}

    def play(self, network: RelationalPolicy, order: Order) -> list[Segment[Moments]]:
        """Play whole episodes, in turns of the lanes, until there are enough."""
        weights = take_weights(network)
        worth = Worth(*(take_layer(getattr(network, name)) for name in Worth._fields))
        memories: dict[int, Memory] = {}
        segments: list[Segment[Moments]] = []
        steps = 0
        while steps < order.steps or len(segments) < order.episodes:
            begun = time.perf_counter()
            which = order.draw()
            if which not in self._starts:
                self._starts[which] = _start_of(self._clusters[which])
            e = self._starts[which].episode
            if which not in memories:
                memories[which] = remember(e.ints, e.pms, e.vms, e.vm_pm, e.vm_mask, weights)
            segment = self._episode(which, weights, worth, memories[which], order)
            segment.seconds = time.perf_counter() - begun
            segments.append(segment)
            steps += len(segment)
        return segments

    def _episode(
        self, which: int, weights: Weights, worth: Worth, memory: Memory, order: Order
    ) -> Segment[Moments]:
        """Play and record one episode of a cluster."""
        mnl, start = self._clusters[which].mnl, self._starts[which]
        e, at = copy_arrays(start.episode), np.zeros(DEST_PLIES + 1, np.int64)
        book = _make_book(int(e.ints[N_PMS]), int(e.ints[N_VMS]), mnl, start.crowd)
        made = _record(
            e.ints, e.floats, e.pms, e.vms, e.vm_pm, e.vm_mask, e.vm_legal, e.dest_legal, weights,
            worth, copy_arrays(memory), mnl, order.greedy, order.rng, book, at,
        )  # fmt: skip
        plies = PLIES * made
        rewards, values = np.zeros(plies), np.zeros(plies + 1, np.float32)
        rewards[1::2] = book.rewards[:made]
        values[:-1] = np.repeat(book.values[:made], PLIES)
        self._next = (self._next + 1) % self._lanes
        return Segment(
            moments=_moments(book, at, made, start),
            actions=book.actions[:plies].copy(),
            log_probabilities=book.log_probabilities[:plies].copy(),
            values=values,
            rewards=rewards,
            steps=np.ones(plies, np.int64),
            lane=self._next,
            instance=which,
            env_steps_made=max(1, plies),  # where nothing can move, the environment stops
            gain=float(rewards.sum()),
            seconds=0.0,
            objective=float(book.objectives[0]),
        )


def judge(network: RelationalPolicy, moments: Moments) -> Judged:
    """Score the legal actions of recorded episodes, and guess what is to come.

    Args:
        network: the policy.
        moments: records with S states.

    Returns:
        logits: float32 [2 S, A]; of the two plies of each state, legal actions in rising order;
            values: float32 [2 S].
    """
    m, width = moments, network.width
    message = torch.relu(network.message(m.alone)).index_select(0, m.edge_vm)
    nodes = torch.relu(network.node(m.nodes))
    received = torch.zeros_like(nodes).index_add(0, m.edge_node, message, alpha=MESSAGE_SCALE)
    nodes = torch.relu(network.host(torch.cat([nodes, received], dim=1)))
    host = nodes.new_zeros(len(m.guests), width).index_add(
        0, m.edge_guest, nodes.index_select(0, m.edge_node) * m.share
    )
    # As network.placed of both together, but without slopes by the features.
    weight, bias = network.placed.weight, network.placed.bias
    placed = torch.addmm(bias, m.guests, weight[:, :N_PLACED].t())
    placed = torch.relu(torch.addmm(placed, host, weight[:, N_PLACED:].t()))
    context = _contexts(network, m, nodes, placed)

    shift, last = network.vm_context(context), network.vm_score
    own = network.vm_own(placed)
    vm_score = pair_scores(own, shift, last.weight[0], m.vm_guest, m.vm_state) + last.bias

    own = network.dest_own(nodes)
    at_node = own.index_select(0, m.dest_node)
    if bool(m.both.any()):
        mean = own.view(-1, 2, width).mean(1).index_select(0, m.dest_node // 2)
        at_node = torch.where(m.both[m.dest_state].unsqueeze(1), mean, at_node)
    shift = network.dest_vm(placed.index_select(0, m.chosen)) + network.dest_context(context)
    own, last = at_node + network.dest_pair(m.dest_pair), network.dest_score
    each = torch.arange(len(own), device=own.device)
    dest_score = pair_scores(own, shift, last.weight[0], each, m.dest_state) + last.bias

    hidden = torch.relu(network.value_hidden(context))
    values = network.value_score(hidden).squeeze(1).repeat_interleave(PLIES)
    return Judged(_spread(m, vm_score, dest_score), values)


def _contexts(network: RelationalPolicy, m: Moments, nodes: Tensor, placed: Tensor) -> Tensor:
    """Return the context of each state, float32 [S, d], from the embeddings of the versions."""
    states, width = len(m.progress), network.width
    of_nodes = (nodes * m.exists).view(-1, 2, width).sum(1)
    of_vms = torch.zeros_like(of_nodes).index_add(0, m.guest_pm, placed)
    version = torch.cat([of_nodes, of_vms], dim=1)
    change = version.new_zeros(states + 1, 2 * width)
    change = change.index_add(0, m.since, version).index_add(0, m.until, version, alpha=-1)
    sums = change.cumsum(0)[:-1].view(-1, 2, width)
    means = (sums / m.counts.unsqueeze(2)).flatten(1)
    return torch.relu(network.pool(torch.cat([means, m.progress], dim=1)))


def _spread(m: Moments, vm_score: Tensor, dest_score: Tensor) -> Tensor:
    """Lay scores of legal actions out as logits, float32 [2 S, A], MASKED where there is none."""
    ply = torch.cat([PLIES * m.vm_state, PLIES * m.dest_state + 1])
    rank = torch.cat([m.vm_rank, m.dest_rank])
    logits = vm_score.new_full((PLIES * len(m.progress), int(rank.max()) + 1), MASKED)
    return logits.index_put((ply, rank), torch.cat([vm_score, dest_score]))


def recorded(moments: Moments) -> Tensor:
    """Return the logits of the policy that played, float32 [2 S, A]; see `judge`."""
    return _spread(moments, moments.vm_score, moments.dest_score)


def unserved(env: gym.Env[Any, Any]) -> str:
    """Return what of an environment is not played compiled; "" if all of it is."""
    own: Any = env.unwrapped
    if own.form != "plies":
        return f"form {own.form!r}"
    if own.allow_stop:
        return "allow_stop"
    if own.max_nodes > 2 or own.max_places > 2:
        return "PMs of more than two NUMA nodes, and VMs of unequal parts"
    return ""


def minibatches(
    moments: Sequence[Moments], size: int, rng: np.random.Generator
) -> Iterator[Minibatch]:
    """Cut episodes into minibatches of whole ones; see selfplay.minibatches.of_segments."""
    sizes = [PLIES * len(one.progress) for one in moments]
    return of_segments(moments, sizes, size, rng, together)


SELF_PLAY = SelfPlay(unserved, _Player, minibatches, judge, recorded)
