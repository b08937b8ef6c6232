"""Warm start of the VM-rescheduling policy from a solver's plans.

A plan is a set of moves in no fixed order, among VMs that are alike. So the network need not choose
one VM and one destination: the loss is -log of the probability it gives to any VM of the plan's
remaining moves (or one of the same flavor on the same node), and then to any destination the plan
has for that flavor. States come from plans replayed in random and greedy orders, and from the
policy's own play, with new plans made there (DAgger, Ross et al. 2011). The value learns what the
rest of the replay gained.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ...datasets.vm_rescheduling.instance import Cluster
from ...envs.vm_rescheduling.dynamics import State, Static, make_static
from ...envs.vm_rescheduling.env import VMReschedulingEnv
from ..batches import Losses, descend, pad, returns, stack, value_error
from ..recipe import ImitationPass
from .compiled import take_weights
from .network import RelationalPolicy
from .playing import Player

LESSONS_A_PLAN = 80  # samples taken from one replayed plan


@dataclasses.dataclass(frozen=True, slots=True)
class Sample:
    """An observation and the actions that follow the plan from it.

    Attributes:
        observation: key -> array, as the environment returned it.
        good: int8 [N]; 1 for actions that follow the plan.
        to_come: discounted sum of the rewards from here to the end of the replay.
    """

    observation: dict[str, np.ndarray]
    good: np.ndarray
    to_come: float


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
        replay = demonstrate(start, plan, bool(rng.random() < 0.5), rng, imitation.discount)
        samples += [replay[i] for i in rng.permutation(len(replay))[:LESSONS_A_PLAN]]
    return samples


def demonstrate(
    cluster: Cluster,
    plan: np.ndarray,
    greedy: bool,
    rng: np.random.Generator,
    discount: float = 1.0,
) -> list[Sample]:
    """Replay a plan's moves in another order, and return a sample for every ply.

    Args:
        cluster: the instance.
        plan: int64 [2 * moves]; the plies of the plan: VM, destination, VM, ...
        greedy: whether to play the legal move that opens most 16-core slots first; else a random
            one.
        rng: source of the order.
        discount: of the rewards to come.
    """
    static = make_static(cluster)
    env = VMReschedulingEnv(cluster)
    observation, _ = env.reset(options={"instance": cluster})
    moves = plan.reshape(-1, 2)
    left = list(range(len(moves)))
    seen: list[tuple[dict[str, np.ndarray], np.ndarray]] = []
    rewards: list[float] = []
    ended = False
    while left and not ended:
        legal = [i for i in left if env.destination_mask(int(moves[i, 0]))[moves[i, 1]]]
        if not legal:
            break
        state = env.state
        good = np.zeros(env.n_actions, np.int8)
        good[_alike(static.vm_flavor, static.flavor_nodes, state, moves[legal, 0])] = 1
        seen.append((observation, good & observation["action_mask"]))
        order = rng.permutation(legal)
        chosen = int(order[0])
        if greedy:
            gains = [slots_gained(static, state, *map(int, moves[i])) for i in order]
            chosen = int(order[int(np.argmax(gains))])
        vm, dest = map(int, moves[chosen])
        observation, gained, *_ = env.step(vm)
        rewards.append(gained)
        good = np.zeros(env.n_actions, np.int8)
        same = static.vm_flavor[moves[left, 0]] == static.vm_flavor[vm]
        good[moves[left, 1][same]] = 1
        seen.append((observation, good & observation["action_mask"]))
        observation, gained, ended, _, _ = env.step(dest)
        rewards.append(gained)
        left.remove(chosen)
    to_come = returns(rewards, discount).tolist()
    return [Sample(*one, gain) for one, gain in zip(seen, to_come, strict=True)]


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


def losses_of(network: RelationalPolicy, samples: Sequence[Sample]) -> tuple[Tensor, Tensor]:
    """Return the mean of -log P(any good action) over samples, and the values' squared error.

    Args:
        network: the policy.
        samples: may differ in padding.
    """
    observation = stack([sample.observation for sample in samples])
    encoded = network.encode(observation)
    logits = network.logits(encoded, observation)
    n_actions = logits.shape[1]
    good = torch.from_numpy(np.stack([pad(s.good, n_actions) for s in samples])) > 0
    log_p = logits.log_softmax(dim=1)
    by_policy = -torch.where(good, log_p, torch.full_like(log_p, -1e9)).logsumexp(dim=1).mean()
    return by_policy, value_error(network.value(encoded), [s.to_come for s in samples])


def imitate(
    network: RelationalPolicy,
    samples: Sequence[Sample],
    optimizer: torch.optim.Optimizer,
    batch_size: int,
    rng: np.random.Generator,
) -> Losses:
    """Train one pass and return the means of "loss", the policy's, and "value_loss".

    Args:
        network: the policy.
        samples: what `lessons` returned.
        optimizer: optimizer of the network's parameters.
        batch_size: samples per gradient step; those of a batch have about the same size.
        rng: source of the batches and their order.
    """

    def loss_of(batch: Sequence[Sample]) -> tuple[Tensor, Losses]:
        by_policy, by_value = losses_of(network, batch)
        return by_policy + by_value, {"loss": by_policy.item(), "value_loss": by_value.item()}

    # Neighbors in size share a batch, so that little of it is padding.
    order = sorted(rng.permutation(len(samples)), key=lambda i: len(samples[i].good) // 200)
    batches = [order[at : at + batch_size] for at in range(0, len(order), batch_size)]
    in_turn = [batches[row] for row in rng.permutation(len(batches))]
    return descend(network, samples, optimizer, in_turn, loss_of)
