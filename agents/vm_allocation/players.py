"""The learned potential and the learned worth of hosts as policies.

`potential` is of a host's free cores (envs/host_potential.py), `agent` also of what would be free
without larger VMs (methods/vm_allocation/worth.py); it migrates VMs where that is worth more, and
rehearses the data center in hand before it begins (methods/vm_allocation/rehearsal.py).
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np

from ...core.budget import Budget
from ...datasets.hosts import host_potential
from ...datasets.vm_allocation.instance import DataCenter
from ...envs.host_potential import FEATURES, potentials
from ...envs.vm_allocation.observation import Pm
from ...methods.vm_allocation.hourly import Chance, HourlyMoves, free_of
from ...methods.vm_allocation.moving import plan_moves
from ...methods.vm_allocation.placement import Choice, PlacementRule
from ...methods.vm_allocation.playing import play_tables, play_worth
from ...methods.vm_allocation.rehearsal import Play, best_of
from ...methods.vm_allocation.slots import TUNED_WEIGHTS, SlotPlacement, slot_tables
from ...methods.vm_allocation.worth import SLOTS, Weights, worth_in, write_changes

WEIGHTS = Path(__file__).parent / "worth.json"
CORE_HOURS = 2.0  # that a unit of worth is about


class Potential(PlacementRule):
    """Place a request where it lowers the learned potential of a host least."""

    def __init__(self) -> None:
        self.weights = host_potential()

    def reset(self, instance: DataCenter, budget: Budget, seed: int) -> None:
        """Begin an episode; see core.contracts.Policy."""
        super().reset(instance, budget, seed)
        core = instance.cpu_per_core
        self._core, self._size = float(core), instance.numa_cpu.max(axis=1) / core

    def scores(self, choice: Choice) -> np.ndarray:
        """Return what the potential of each place's host changes by."""
        hosts = len(choice.free_cpu)
        before, after = np.empty(hosts), np.empty(2 * hosts)
        potentials(self.weights, choice.free_cpu, self._size, self._core, before)
        left = np.ascontiguousarray(choice.left_cpu.reshape(-1, 2))
        potentials(self.weights, left, np.repeat(self._size, 2), self._core, after)
        return np.asarray(after.reshape(-1, 2) - before[:, None])


def save_weights(path: Path, weights: Weights) -> None:
    """Write weights to a JSON file.

    Args:
        path: the file.
        weights: trained ones.
    """
    scarce = dict(zip(SLOTS, zip(weights.last, weights.scale, strict=True), strict=True))
    rows = {
        "features": FEATURES,
        "layers": np.round(weights.layers, 5).tolist(),
        "slots": {name: [round(float(x), 5) for x in pair] for name, pair in scarce.items()},
    }
    path.write_text(json.dumps(rows, indent=1) + "\n")


@cache
def load_weights(path: Path) -> Weights:
    """Read weights that `save_weights` wrote.

    Args:
        path: the file.
    """
    rows = json.loads(path.read_text())
    last, scale = np.array([rows["slots"][name] for name in SLOTS]).T
    return Weights(np.array(rows["layers"]), last.copy(), scale.copy())


class WorthPlacement(PlacementRule):
    """Place a request where hosts lose least of what they are worth."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights

    def reset(self, instance: DataCenter, budget: Budget, seed: int) -> None:
        """Begin an episode; see core.contracts.Policy."""
        super().reset(instance, budget, seed)
        self.worth = worth_in(instance, self.weights)
        self.flavor_size = instance.flavor_size
        self._all = np.ones(2 * instance.n_pms, np.int8)

    def scores(self, choice: Choice) -> np.ndarray:
        """Return what the worth of each place's host changes by."""
        changes = np.empty(2 * len(choice.free_cpu))
        under = under_of(self.center, choice.hosts)
        fits = (choice.left_cpu >= 0).all(axis=2).astype(np.int8).reshape(-1)
        size = int(self.flavor_size[choice.flavor])
        write_changes(
            self.worth, choice.free_cpu, under, fits, choice.cpu, choice.spread, size, changes
        )
        return changes.reshape(-1, 2)


def under_of(center: DataCenter, hosts: np.ndarray) -> np.ndarray:
    """Return the CPU of VMs below each of SIZE_LIMITS on both nodes, int64 [n, 6].

    Args:
        center: the data center.
        hosts: float64 [n, 23]; rows as observed, by the columns of observation.Pm.
    """
    scale = float(center.numa_cpu.sum(axis=1).max())
    return np.rint(hosts[:, Pm.UNDER_8_0 : Pm.UNDER_32_1 + 1] * scale).astype(np.int64)


def play_by_worth(center: DataCenter, weights: Weights) -> Play:
    """Return compiled play by the learned worth of hosts, with the migrations that are allowed.

    Args:
        center: whose worlds are played.
        weights: trained ones.
    """
    worth = worth_in(center, weights)
    return lambda packed: float(play_worth(packed, worth, 0.0))


def play_by_slots(center: DataCenter) -> Play:
    """Return compiled play by the tuned worth of slots, without migrations.

    Args:
        center: whose worlds are played.
    """
    tables = slot_tables(TUNED_WEIGHTS, int(center.numa_cpu.max()) // center.cpu_per_core)
    return lambda packed: float(play_tables(packed, *tables))


class Agent(HourlyMoves):
    """Place requests and migrate VMs by the learned worth of hosts.

    It first rehearses: where the rule of slots turns away less in worlds of the process that is
    told, that rule places this episode's requests, and nothing migrates.
    """

    def __init__(self) -> None:
        self._by_worth, self._by_slots = WorthPlacement(load_weights(WEIGHTS)), SlotPlacement()
        super().__init__(self._by_worth, self._planned)

    def reset(self, instance: DataCenter, budget: Budget, seed: int) -> None:
        """Begin an episode; see core.contracts.Policy."""
        plays = play_by_worth(instance, self._by_worth.weights), play_by_slots(instance)
        self.placing = (self._by_worth, self._by_slots)[best_of(plays, instance, budget, seed)]
        super().reset(instance, budget, seed)

    def _planned(self, chance: Chance) -> np.ndarray:
        """Plan the migrations of a chance."""
        if self.placing is self._by_slots:
            return np.zeros((0, 2), np.int64)
        center, cluster = self.center, chance.cluster
        free_cpu, free_mem = free_of(center, chance.hosts)
        moves = np.empty((cluster.mnl, 2), np.int64)
        unit = center.move_cost_h / (CORE_HOURS * center.cpu_per_core)
        count = plan_moves(
            self._by_worth.worth, free_cpu, free_mem, under_of(center, chance.hosts),
            1 + (center.numa_cpu[:, 1] > 0).astype(np.int64), center.flavor_cpu,
            center.flavor_mem, center.flavor_nodes, self._by_worth.flavor_size,
            cluster.vm_flavor, 2 * cluster.vm_pm + cluster.vm_numa, ~cluster.vm_pinned,
            unit, moves,
        )  # fmt: skip
        return moves[:count]
