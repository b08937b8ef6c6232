"""Rules that place VMs by their lifetimes: LA-Binary, NILAS, LAVA and DVLA.

They use what the observation tells of lifetimes (setting `lifetimes`): the class of the request and
of the VMs on each host, or a prediction made at arrival. Told nothing, they see one class of VMs;
each class below says what is left of it then.

LA-Binary is after Barbalho et al. (MLSys 2023), NILAS and LAVA after "LAVA" (MLSys 2025), all three
as "DVLA" (OSDI 2026) describes them; where a docstring says second-hand, the papers themselves were
not read. Classes are those of the environment (under 1, 10, 100 h, or longer), not each paper's.
Each rule ranks hosts; among those of the best rank another rule decides.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...core.budget import Budget
from ...datasets.vm_allocation.instance import CLASS_LIMITS_S, HOUR_S, N_CLASSES, DataCenter
from ...envs.vm_allocation.observation import LONGEST_STAY_H, Asked, Clock, Pm
from ...methods.vm_allocation.placement import Choice, PlacementRule
from .fits import BestFit
from .slots import TunedSlots

UNTOLD = -1
CLASSES = slice(Pm.CLASS_0, Pm.CLASS_0 + N_CLASSES)
# Hours after which a VM of a class has outlived it.
CLASS_BOUNDS_H = np.array((*CLASS_LIMITS_S, 10 * CLASS_LIMITS_S[-1])) / HOUR_S
# From 0 to 168 h in 12 intervals, as DVLA says of NILAS; where the points lie is not known.
NILAS_GRID_H = np.array((0, 0.5, 1, 2, 4, 8, 12, 24, 48, 72, 96, 120, 168.0))
FULL = 0.9  # of a host's CPU, from which on LAVA recycles it
PATIENCE = 1.1  # times the bound of a host's class, until LAVA holds it for longer-lived
MONTH_H = 720.0
DVLA_PENALTIES = 0.8, 0.2  # for VMs up to a month, and beyond


class LifetimeRule(PlacementRule):
    """Place a request on a host of the best rank, where another rule scores highest."""

    then: PlacementRule
    """Decides among places of equal rank."""

    def reset(self, instance: DataCenter, budget: Budget, seed: int) -> None:
        """Begin an episode; see core.contracts.Policy."""
        super().reset(instance, budget, seed)
        self.then.reset(instance, budget, seed)

    @abstractmethod
    def ranks(self, choice: Choice) -> np.ndarray:
        """Return the rank of each host, float64 [P], larger for better; steps of .1 at least.

        Args:
            choice: the request and the hosts.
        """

    def scores(self, choice: Choice) -> np.ndarray:
        """Return ranks, and below any step between them the other rule's scores."""
        scores = self.then.scores(choice).astype(np.float64)
        low, high = scores.min(), scores.max()
        return np.asarray(self.ranks(choice)[:, None] + 0.05 * (scores - low) / (high - low + 1e-9))


def hours_of(stay: np.ndarray) -> np.ndarray:
    """Return the hours that a feature STAY of observations stands for.

    Args:
        stay: features, [...].
    """
    return np.asarray(np.expm1(stay * math.log1p(LONGEST_STAY_H)))


def class_of(request: np.ndarray) -> int:
    """Return the class of a request, or UNTOLD.

    Args:
        request: float32 [13], by the columns of observation.Asked.
    """
    told = request[Asked.CLASS_0 : Asked.CLASS_0 + N_CLASSES]
    return int(told.argmax()) if told.any() else UNTOLD


def longest_class(hosts: np.ndarray) -> np.ndarray:
    """Return the longest class among the VMs of each host, int64 [P]; UNTOLD for none.

    Args:
        hosts: float64 [P, 23], by the columns of observation.Pm.
    """
    there = hosts[:, CLASSES] > 0
    return np.where(there.any(axis=1), N_CLASSES - 1 - there[:, ::-1].argmax(axis=1), UNTOLD)


class LaBinary(LifetimeRule):
    """Keep VMs of under an hour apart from longer ones.

    A host is long-lived if any of its VMs is. First come hosts in use of the request's class, then
    any in use, then empty ones, each by best fit. Told nothing: best fit that opens empty hosts
    last.
    """

    def __init__(self) -> None:
        self.then = BestFit()

    def ranks(self, choice: Choice) -> np.ndarray:
        """Return 2 for hosts of the class, 1 for others in use, 0 for empty ones."""
        alike = (longest_class(choice.hosts) > 0) == (class_of(choice.request) > 0)
        return np.where(choice.hosts[:, Pm.EMPTY] > 0, 0.0, 1.0 + alike)


class Nilas(LifetimeRule):
    """Put off the time at which a host becomes empty as little as possible.

    A host's exit is the latest that is expected of its VMs; what a request adds to it counts on a
    grid of 12 intervals up to 168 h, whose points are second-hand. The paper predicts anew what is
    left of each VM's life as it ages; here what was told at arrival counts until it is over.
    Among equal hosts `slots_tuned` decides, in the place of the production system's own scores.
    Told nothing: `slots_tuned`.
    """

    def __init__(self) -> None:
        self.then = TunedSlots()

    def ranks(self, choice: Choice) -> np.ndarray:
        """Return minus the interval of the grid by which the host's exit is put off."""
        stay = hours_of(choice.request[Asked.STAY : Asked.STAY + 1].astype(np.float64))
        added = stay - hours_of(choice.hosts[:, Pm.STAY])
        return np.asarray(-np.digitize(added, NILAS_GRID_H[1:]), np.float64)


class Lava(LifetimeRule):
    """Fill hosts with VMs of one class, then their gaps with VMs that leave earlier.

    A host takes the class of its first VM. Used to 90 %, it is recycled until it is empty: it is
    for VMs of lower classes alone. It goes a class up when it outlives 1.1 times the bound of its
    class, and down when the longest class told of its VMs falls. First come recycled hosts one
    class above the request, then open ones of its class, then any others that accept it, then
    empty ones, and at last recycled ones of its class or below, as a request that fits must be
    placed. The share of 90 % is DVLA's account of LAVA; the first class, the deadline and the
    order are second-hand. Among equal hosts `slots_tuned` decides. Told nothing: open hosts, then
    empty ones, then those used to 90 %.
    """

    def __init__(self) -> None:
        self.then = TunedSlots()

    def reset(self, instance: DataCenter, budget: Budget, seed: int) -> None:
        """Begin an episode; see core.contracts.Policy."""
        super().reset(instance, budget, seed)
        pms = instance.n_pms
        self._class = np.full(pms, UNTOLD)
        self._longest = np.full(pms, UNTOLD)
        self._since_h = np.zeros(pms)
        self._recycled = np.zeros(pms, np.bool_)
        self._cpu = instance.numa_cpu.sum(axis=1) / float(instance.numa_cpu.sum(axis=1).max())

    def act(self, observation: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> int:
        """Bring the hosts' classes up to date and return an action; see core.contracts.Policy."""
        if observation["clock"][Clock.CHOOSE] == 0:
            self._look(observation["pms"][: self.center.n_pms], float(info["hours"]))
        return super().act(observation, info)

    def _look(self, pms: np.ndarray, now_h: float) -> None:
        """Bring the hosts' classes up to date.

        Args:
            pms: float32 [P, 23].
            now_h: hours since the start.
        """
        empty, longest = pms[:, Pm.EMPTY] > 0, longest_class(pms)
        begins = ~empty & (self._class < 0)
        falls = ~empty & (longest < self._longest) & (longest < self._class)
        over = ~empty & ~begins & (now_h > self._since_h + PATIENCE * CLASS_BOUNDS_H[self._class])
        self._class[over] = np.minimum(self._class[over] + 1, N_CLASSES - 1)
        changed = begins | falls
        # Told nothing, all VMs are of the first class.
        self._class[changed] = np.maximum(longest[changed], 0)
        self._class[empty] = UNTOLD
        self._since_h[changed | over] = now_h
        free = pms[:, Pm.FREE_CPU_0] + pms[:, Pm.FREE_CPU_1]
        self._recycled |= free <= (1.0 - FULL) * self._cpu
        self._recycled &= ~empty
        self._longest = longest

    def ranks(self, choice: Choice) -> np.ndarray:
        """Return 4 for recycled hosts one class above, down to 0 for those that are not for it."""
        told, own = max(class_of(choice.request), 0), self._class
        accepted = np.where(own == told, 3.0, 2.0)
        recycled = np.where(own == told + 1, 4.0, np.where(own > told, 2.0, 0.0))
        in_use = np.where(self._recycled, recycled, accepted)
        return np.where(choice.hosts[:, Pm.EMPTY] > 0, 1.0, in_use)


class Dvla(LifetimeRule):
    """Place a request on a host whose VMs live about as long.

    A host's class is the mean of its VMs' classes, weighted by their cores, to the nearest (ties
    up). The distance to the request's class counts, times 1 + .8 where the request is the longer
    one (1 + .2 if it is expected to stay for a month): the form of that penalty is second-hand, as
    the paper's equation could not be read. Its groups of classes that follow a cluster's mix are
    left out. Empty hosts come last; among equal ones `slots_tuned` decides. Told nothing:
    `slots_tuned` that opens empty hosts last.
    """

    def __init__(self) -> None:
        self.then = TunedSlots()

    def ranks(self, choice: Choice) -> np.ndarray:
        """Return minus the distance between the classes, with its penalty."""
        told, cpu = class_of(choice.request), choice.hosts[:, CLASSES]
        total = cpu.sum(axis=1)
        mean = cpu @ np.arange(N_CLASSES) / np.maximum(total, 1e-9)
        host = np.where(total > 0, np.floor(mean + 0.5), told)
        stay = float(hours_of(choice.request[Asked.STAY]))
        penalty = DVLA_PENALTIES[stay > MONTH_H]
        distance = abs(told - host) * np.where(told > host, 1.0 + penalty, 1.0)
        return np.where(choice.hosts[:, Pm.EMPTY] > 0, -2.0 * N_CLASSES, -distance)
