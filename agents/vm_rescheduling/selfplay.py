"""Compiled self-play of VM rescheduling, and the network over what it records, without padding.

An episode is recorded as versions of PMs (recording.py). The network embeds each once, however many
moves it lasts; sums over the cluster follow from which versions begin and end at each state. Only
legal actions are scored.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from ...datasets.vm_rescheduling.instance import Cluster
from ...envs.vm_rescheduling.observation import Pm
from ...envs.vm_rescheduling.packed import N_PMS, N_VMS, Episode
from ..layers import take_layer
from ..network import MASKED
from ..pair_scores import pair_scores
from ..room import BATCH
from ..selfplay.minibatches import of_segments
from ..selfplay.segment import Judged, Minibatch, Order, Segment, SelfPlay
from .compiled import Memory, Weights, copy_memory, remember, take_weights
from .network import MESSAGE_SCALE, N_PLACED, RelationalPolicy, vm_features
from .playing import copy_episode, start_episode
from .recording import DEST_PLIES, PLIES, Book, Worth, bytes_of_a_book, make_book, record


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
        e, at = copy_episode(start.episode), np.zeros(DEST_PLIES + 1, np.int64)
        book = make_book(int(e.ints[N_PMS]), int(e.ints[N_VMS]), mnl, start.crowd)
        made = record(
            e.ints, e.floats, e.pms, e.vms, e.vm_pm, e.vm_mask, e.vm_legal, e.dest_legal, weights,
            worth, copy_memory(memory), mnl, order.greedy, order.rng, book, at,
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
    for cluster in own.instances:
        crowd = int(np.bincount(cluster.vm_pm).max(initial=0))
        size = bytes_of_a_book(cluster.n_pms, cluster.n_vms, cluster.mnl, crowd)
        if size > BATCH:
            return f"episodes like those of {cluster.name}, whose record takes {size / 1e9:.1f} GB"
    return ""


def minibatches(
    moments: Sequence[Moments], size: int, rng: np.random.Generator
) -> Iterator[Minibatch]:
    """Cut episodes into minibatches of whole ones; see selfplay.minibatches.of_segments."""
    sizes = [PLIES * len(one.progress) for one in moments]
    return of_segments(moments, sizes, size, rng, together)


SELF_PLAY = SelfPlay(unserved, _Player, minibatches, judge, recorded)
