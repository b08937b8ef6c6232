"""Learned dual prices for VM rescheduling: the network, and how it is trained.

The network reads a cluster once and predicts the worth of a VM of each flavor, and of a move, at
the optimum of the Lagrangian relaxation (methods/vm_rescheduling/pricing.py). It learns without
labels or solver, by descending the relaxation's bound L itself over training clusters; L's slope is
VMs in less VMs out.

Nodes and flavors are the two sides of a graph whose edges are "holds VMs of": a node's embedding
comes from its free room, a flavor's from the nodes that hold it, so any size of cluster will do.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ...core.errors import InstanceError
from ...datasets.vm_rescheduling.generator import generate
from ...datasets.vm_rescheduling.instance import Cluster
from ...methods.vm_rescheduling.pricing import Nodes, Prices, first_prices, make_nodes, slope
from ..batches import Losses, one_pass
from ..recipe import ImitationPass, Recipe

PMS_DRAWN, EXITS_DRAWN = (12, 350), (0.01, 0.2)  # ranges of the clusters sampled for training
MOVES_A_NODE = (0.01, 0.25)
FIRST_SEED = 1 << 40  # above the seeds of every split
SUBGRADIENT_STEPS = 200
BINS = 8  # into which a node's residue of 16 cores is divided
N_NODE, N_FLAVOR, N_TASK = BINS + 4, 6, 3


class Graph(NamedTuple):
    """A cluster as the network reads it; N nodes, Q PMs, F one-node and D two-node flavors.

    Attributes:
        nodes: float32 [N, N_NODE]; residue (one-hot by 2 cores, and as a number), whole slots,
            whether full, memory a free core.
        holds: float32 [F, N]; whether a VM of the flavor may leave the node, over N.
        holds_double: float32 [D, Q]; the same for two-node flavors and PMs, over Q.
        flavors: float32 [F + D, N_FLAVOR]; size, residue, whether that is 0, whether on two nodes,
            VMs a node (PM), share of nodes (PMs) with such a VM.
        task: float32 [N_TASK]; 10 times the moves a node, their logarithm, the share of nodes
            without a free slot.
        first: float32 [F + D + 1]; prices to start from, in 16-core slots.
    """

    nodes: Tensor
    holds: Tensor
    holds_double: Tensor
    flavors: Tensor
    task: Tensor
    first: Tensor


class PriceNetwork(nn.Module):
    """Network that predicts the prices of the flavors and of a move.

    Args:
        width: length of the embeddings.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.node = nn.Sequential(nn.Linear(N_NODE, width), nn.ReLU(), nn.Linear(width, width))
        self.pair = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU())
        # The names of layers are those in shipped checkpoints.
        self.flavour = nn.Sequential(nn.Linear(N_FLAVOR + 2 * width, width), nn.ReLU())
        self.price = nn.Sequential(
            nn.Linear(3 * width + N_TASK, width), nn.ReLU(), nn.Linear(width, 1)
        )
        self.move = nn.Sequential(
            nn.Linear(2 * width + N_TASK, width), nn.ReLU(), nn.Linear(width, 1)
        )

    def forward(self, graph: Graph) -> Tensor:
        """Predict prices from a graph: float32 [F + D + 1], in 16-core slots, at least 0."""
        nodes = torch.relu(self.node(graph.nodes))
        both = nodes.reshape(-1, 2, nodes.shape[1])
        pairs = self.pair(torch.cat([both.sum(1), (both[:, 0] - both[:, 1]).abs()], dim=1))
        mean = nodes.mean(0)
        held = torch.cat([graph.holds @ nodes, graph.holds_double @ pairs])
        everywhere = mean.expand(len(held), -1)
        flavors = self.flavour(torch.cat([graph.flavors, held, everywhere], dim=1))
        context = torch.cat([mean, flavors.mean(0), graph.task])
        rows = torch.cat([flavors, context.expand(len(flavors), -1)], dim=1)
        shift = torch.cat([self.price(rows).squeeze(1), self.move(context)])
        return torch.relu(graph.first + shift)


def graph_of(nodes: Nodes, mnl: int) -> Graph:
    """Make the network's view of a cluster.

    Args:
        nodes: the cluster, of N nodes, Q PMs and F + D flavors.
        mnl: the most moves.
    """
    free = nodes.free.ravel()
    residue = free % nodes.slot
    memory = nodes.free_mem.ravel() / np.maximum(1, free)
    usual = np.median(nodes.mem / np.maximum(1, nodes.cpu)) if len(nodes.mem) else 1.0
    rows = np.column_stack(
        [
            np.eye(BINS)[residue * BINS // nodes.slot],
            residue / nodes.slot,
            np.minimum(free // nodes.slot, 3) / 3,
            free == 0,
            np.minimum(memory / max(usual, 1.0), 2.0) / 2,
        ]
    )
    cpu = np.concatenate([nodes.cpu, nodes.cpu_double])
    movable = nodes.movable.reshape(len(free), -1)
    common = np.concatenate([movable.mean(0), nodes.movable_double.mean(0)])
    flavors = np.column_stack(
        [
            cpu / nodes.slot,
            cpu % nodes.slot / nodes.slot,
            cpu % nodes.slot == 0,
            np.repeat([0.0, 1.0], [len(nodes.cpu), len(nodes.cpu_double)]),
            common,
            np.concatenate([(movable > 0).mean(0), (nodes.movable_double > 0).mean(0)]),
        ]
    )
    share = mnl / len(free)
    task = np.array([10 * share, np.log(share), (free < nodes.slot).mean()])
    first = first_prices(nodes)
    start = np.concatenate([first.single, first.double, [first.move]])
    holds = (movable > 0).T / len(free)
    holds_double = (nodes.movable_double > 0).T / len(nodes.pms)
    parts = (rows, holds, holds_double, flavors, task, start)
    return Graph(*(torch.as_tensor(part, dtype=torch.float32) for part in parts))


@dataclass(frozen=True, slots=True)
class Lesson:
    """A cluster whose bound is to be lowered.

    Attributes:
        nodes: the cluster.
        mnl: the most moves.
        graph: the network's view of both.
    """

    nodes: Nodes
    mnl: int
    graph: Graph


def lessons(imitation: ImitationPass[PriceNetwork, Cluster]) -> list[Lesson]:
    """Return each cluster once with a random limit of moves, and as many sampled from the
    generator.

    No plans are imitated; see Recipe.
    """
    clusters, rng = list(imitation.instances), imitation.rng
    while len(clusters) < 2 * len(imitation.instances):
        pms = int(np.exp(rng.uniform(*np.log(PMS_DRAWN))))
        parameters = {"pms": str(pms), "exits": f"{rng.uniform(*EXITS_DRAWN):.3f}"}
        with contextlib.suppress(InstanceError):  # the mix of VMs found no place
            clusters.append(generate(parameters, FIRST_SEED + int(rng.integers(1 << 30))))
    made = []
    for cluster in clusters:
        nodes = make_nodes(cluster)
        share = np.exp(rng.uniform(*np.log(MOVES_A_NODE)))
        mnl = max(2, round(share * nodes.free.size))
        made.append(Lesson(nodes, mnl, graph_of(nodes, mnl)))
    return made


def descend(
    network: nn.Module,
    samples: Sequence[Lesson],
    optimizer: torch.optim.Optimizer,
    batch_size: int,
    rng: np.random.Generator,
) -> Losses:
    """Train one pass by gradient descent on the bound L per move.

    Args:
        network: the price network.
        samples: clusters with limits of moves.
        optimizer: optimizer of the network's parameters.
        batch_size: samples per gradient step.
        rng: source of the order of the samples.

    Returns:
        "loss": the mean of L / mnl over the samples, in slots per move.
    """

    def loss_of(batch: Sequence[Lesson]) -> tuple[Tensor, Losses]:
        loss, bounds = torch.zeros(()), 0.0
        for lesson in batch:
            prices = network(lesson.graph)
            bound, downhill = bound_at(lesson.nodes, lesson.mnl, prices)
            slope_of = torch.as_tensor(downhill, dtype=torch.float32)
            loss = loss + (prices * slope_of).sum() / (lesson.mnl * len(batch))
            bounds += bound / lesson.mnl
        return loss, {"loss": bounds / len(batch)}

    return one_pass(network, samples, optimizer, batch_size, rng, loss_of)


def prices_of(nodes: Nodes, values: np.ndarray) -> Prices:
    """Name the entries of a vector of prices.

    Args:
        nodes: the cluster that the prices are of.
        values: float [F + D + 1]; prices of one-node flavors, two-node flavors and a move, in
            slots.
    """
    single, double = np.split(values[:-1].astype(np.float64), [len(nodes.single)])
    return Prices(single, double, float(values[-1]))


def bound_at(nodes: Nodes, mnl: int, prices: Tensor) -> tuple[float, np.ndarray]:
    """Evaluate the relaxation's bound L at the network's prices.

    Args:
        nodes: the cluster.
        mnl: the most moves.
        prices: float32 [F + D + 1], in slots.

    Returns:
        L in slots, and its slope along the prices, float64 [F + D + 1].
    """
    return slope(nodes, mnl, prices_of(nodes, prices.detach().numpy()))


def score(network: nn.Module, instances: Sequence[Cluster]) -> dict[str, float]:
    """Measure how far L at the network's prices lies above the lowest known.

    Args:
        network: the price network.
        instances: the clusters.

    Returns:
        "excess": L over the lowest L known, less 1, as a mean over the instances.
    """
    excess = []
    with torch.inference_mode():
        for instance in instances:
            nodes = make_nodes(instance)
            bound, _ = bound_at(nodes, instance.mnl, network(graph_of(nodes, instance.mnl)))
            lowest = _lowest_bound(nodes, instance.mnl)
            excess.append(bound / lowest - 1)
    return {"excess": float(np.mean(excess))}


def _lowest_bound(nodes: Nodes, mnl: int) -> float:
    """Return the least L that subgradient steps of diminishing length reach."""
    first = first_prices(nodes)
    at = np.concatenate([first.single, first.double, [first.move]])
    lowest = np.inf
    for step in range(1, SUBGRADIENT_STEPS):
        bound, uphill = slope(nodes, mnl, prices_of(nodes, at))
        lowest = min(lowest, bound)
        norm = np.sqrt(np.mean(uphill**2))
        if norm == 0:
            break
        at = np.maximum(0.0, at - min(0.08, 0.5 / step) / norm * uphill)
    return lowest


RECIPE: Recipe[PriceNetwork, Cluster, Lesson] = Recipe(
    network=PriceNetwork,
    lessons=lessons,
    imitate=descend,
    score=score,
    chosen_by="excess",
    player="agent",
)
