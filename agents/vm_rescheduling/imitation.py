"""Warm start of the VM-rescheduling policy from a solver's plans.

A plan is a set of moves in no fixed order, among VMs that are alike. So the network need not choose
one VM and one destination: the loss is -log of the probability it gives to any VM of the plan's
remaining moves (or one of the same flavor on the same node), and then to any destination the plan
has for that flavor. States come from plans replayed in random and greedy orders, and from the
policy's own play, with new plans made there (DAgger, Ross et al. 2011).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from ...datasets.vm_rescheduling.instance import Cluster
from ...envs.vm_rescheduling.dynamics import State, Static, make_static
from ...envs.vm_rescheduling.env import VMReschedulingEnv
from ..batches import pad, stack, step
from ..recipe import ImitationPass
from .network import RelationalPolicy
from .playing import Player, take_weights

LESSONS_A_PLAN = 80  # samples taken from one replayed plan


@dataclasses.dataclass(frozen=True, slots=True)
class Sample:
    """An observation and the actions that follow the plan from it.

    Attributes:
        observation: key -> array, as the environment returned it.
        good: int8 [N]; 1 for actions that follow the plan.
    """

    observation: dict[str, np.ndarray]
    good: np.ndarray


def lessons(imitation: ImitationPass[RelationalPolicy, Cluster]) -> list[Sample]:
    """Replay each instance's plan and return samples of it; see Recipe.

    From the pass `own_play_from` on, every second pass starts from states of the policy's own play.
    """
    rng, plan_of = imitation.rng, imitation.plan
    own_play = imitation.number >= imitation.options["own_play_from"] and imitation.number % 2 == 1
    weights = take_weights(imitation.network)
    samples: list[Sample] = []
    for cluster in imitation.instances:
        start = cluster
        if own_play:
            _, plies = Player(cluster, weights).play(1.0, rng)
            moves = int(rng.integers(len(plies) // 2 + 1))
            start = after(cluster, plies[: 2 * moves])
        plan = plan_of(start)
        replay = list(demonstrate(start, plan, bool(rng.random() < 0.5), rng))
        samples += [replay[i] for i in rng.permutation(len(replay))[:LESSONS_A_PLAN]]
    return samples


def demonstrate(
    cluster: Cluster, plan: np.ndarray, greedy: bool, rng: np.random.Generator
) -> Iterator[Sample]:
    """Replay a plan's moves in another order.

    Args:
        cluster: the instance.
        plan: int64 [2 * moves]; the plies of the plan: VM, destination, VM, ...
        greedy: whether to play the legal move that opens most 16-core slots first; else a random
            one.
        rng: source of the order.

    Yields:
        A sample for every ply.
    """
    static = make_static(cluster)
    env = VMReschedulingEnv(cluster)
    observation, _ = env.reset(options={"instance": cluster})
    moves = plan.reshape(-1, 2)
    left = list(range(len(moves)))
    ended = False
    while left and not ended:
        legal = [i for i in left if env.destination_mask(int(moves[i, 0]))[moves[i, 1]]]
        if not legal:
            return
        state = env.state
        good = np.zeros(env.n_actions, np.int8)
        good[_alike(static.vm_flavor, static.flavor_nodes, state, moves[legal, 0])] = 1
        yield Sample(observation, good & observation["action_mask"])
        order = rng.permutation(legal)
        chosen = int(order[0])
        if greedy:
            gains = [slots_gained(static, state, *map(int, moves[i])) for i in order]
            chosen = int(order[int(np.argmax(gains))])
        vm, dest = map(int, moves[chosen])
        observation, *_ = env.step(vm)
        good = np.zeros(env.n_actions, np.int8)
        same = static.vm_flavor[moves[left, 0]] == static.vm_flavor[vm]
        good[moves[left, 1][same]] = 1
        yield Sample(observation, good & observation["action_mask"])
        observation, _, ended, _, _ = env.step(dest)
        left.remove(chosen)


def after(cluster: Cluster, plies: np.ndarray) -> Cluster:
    """Return the cluster after some moves, with the limit of moves (MNL) that is left.

    Args:
        cluster: the instance.
        plies: int64 [2 * moves], legal plies.
    """
    env = VMReschedulingEnv(cluster)
    env.reset(options={"instance": cluster})
    for ply in plies:
        env.step(int(ply))
    state = env.state
    return dataclasses.replace(
        cluster,
        vm_pm=state.vm_pm,
        vm_numa=state.vm_numa,
        mnl=max(1, cluster.mnl - len(plies) // 2),
    )


def _alike(
    vm_flavor: np.ndarray, flavor_nodes: np.ndarray, state: State, vms: np.ndarray
) -> np.ndarray:
    """Find all VMs of the same flavor on the same node as one of `vms`: indices, int64."""
    numa = np.where(flavor_nodes[vm_flavor] == 2, 0, state.vm_numa)
    kind = (state.vm_pm * 2 + numa) * len(flavor_nodes) + vm_flavor
    return np.flatnonzero(np.isin(kind, kind[vms]))


def slots_gained(static: Static, state: State, vm: int, dest: int) -> int:
    """Return the 16-core slots that a move opens, less those it closes.

    Args:
        static: the cluster.
        state: before the move.
        vm: the VM that moves.
        dest: its destination, 2 * PM + node.
    """
    kind, unit = static.vm_flavor[vm], static.unit
    cpu, both = static.flavor_cpu[kind], static.flavor_nodes[kind] == 2
    gain = 0
    for pm, numa, change in (
        (state.vm_pm[vm], state.vm_numa[vm], cpu),
        (dest // 2, dest % 2, -cpu),
    ):
        for node in (0, 1) if both else (numa,):
            free = state.free_cpu[pm, node]
            gain += int((free + change) // unit - free // unit)
    return gain


def loss_of(network: RelationalPolicy, samples: Sequence[Sample]) -> Tensor:
    """Return the mean of -log P(any good action) over samples.

    Args:
        network: the policy.
        samples: may differ in padding.
    """
    observation = stack([sample.observation for sample in samples])
    logits = network.logits(network.encode(observation), observation)
    n_actions = logits.shape[1]
    good = torch.from_numpy(np.stack([pad(s.good, n_actions) for s in samples])) > 0
    log_p = logits.log_softmax(dim=1)
    return -torch.where(good, log_p, torch.full_like(log_p, -1e9)).logsumexp(dim=1).mean()


def imitate(
    network: RelationalPolicy,
    samples: Sequence[Sample],
    optimizer: torch.optim.Optimizer,
    batch_size: int,
    rng: np.random.Generator,
) -> float:
    """Train one pass and return the mean loss of its batches.

    Args:
        network: the policy.
        samples: what `lessons` returned.
        optimizer: optimizer of the network's parameters.
        batch_size: samples per gradient step; those of a batch have about the same size.
        rng: source of the batches and their order.
    """
    total = []
    # Neighbors in size share a batch, so that little of it is padding.
    order = sorted(rng.permutation(len(samples)), key=lambda i: len(samples[i].good) // 200)
    batches = [order[at : at + batch_size] for at in range(0, len(order), batch_size)]
    for row in rng.permutation(len(batches)):
        loss = loss_of(network, [samples[i] for i in batches[row]])
        step(network, optimizer, loss)
        total.append(loss.item())
    return float(np.mean(total)) if total else 0.0
