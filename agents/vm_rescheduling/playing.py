"""Play the relational policy at full speed, on the dynamics themselves.

A 50-move plan on 279 PMs and 2,016 VMs takes some milliseconds; see compiled.py.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numba import njit

from ...core.budget import Clock
from ...datasets.vm_rescheduling.instance import Cluster
from ...envs.vm_rescheduling.env import VMReschedulingEnv
from ...envs.vm_rescheduling.episode import ENDED, GOES_ON, play
from ...envs.vm_rescheduling.packed import CHOSEN, N_PMS, N_VMS, Episode
from .compiled import (
    Memory,
    Weights,
    choose,
    context_of,
    dest_scores,
    embed_pm,
    remember,
    vm_scores,
)
from .network import N_NODE, N_PLACED

SCORED_A_LOOK = 1_000_000  # VMs between two looks at the clock

AnyArrays = TypeVar("AnyArrays", Episode, Memory)


class Player:
    """Plays one cluster again and again.

    Attributes:
        start: the objective before any move.
    """

    def __init__(self, cluster: Cluster, weights: Weights, clock: Clock | None = None) -> None:
        """Compute what all plans begin with; a clock ends that, and plans, wherever they are."""
        self._cluster, self._weights, self._clock = cluster, weights, clock
        e = self._episode = start_episode(cluster)
        self._memory = remember(e.ints, e.pms, e.vms, e.vm_pm, e.vm_mask, weights, clock)
        outcome = play(e.ints, e.floats, e.pms, e.vms, e.vm_pm, e.vm_legal, e.dest_legal, -1, -1)
        self.start = outcome[2]

    def play(self, temperature: float, rng: np.random.Generator) -> tuple[float, np.ndarray]:
        """Play one plan.

        Args:
            temperature: temperature of sampling; 0 takes the likeliest actions.
            rng: source of the samples.

        Returns:
            The best objective on the way, and the plies up to it, int64 [2 * moves].
        """
        e, memory = copy_arrays(self._episode), copy_arrays(self._memory)
        plies = np.zeros(2 * self._cluster.mnl, np.int64)
        kept, best, _ = rollout(
            e.ints, e.floats, e.pms, e.vms, e.vm_pm, e.vm_legal, e.dest_legal,
            self._weights, memory, self._cluster.mnl, temperature, rng, plies, self._clock,
        )  # fmt: skip
        return best, plies[:kept]


def start_episode(cluster: Cluster) -> Episode:
    """Return the episode of a cluster before any move, as the environment makes it."""
    env = VMReschedulingEnv(cluster)
    env.reset()
    return env.episode


def copy_arrays(arrays: AnyArrays) -> AnyArrays:
    """Return an independent copy of an episode or of a memory."""
    return type(arrays)(*(array.copy() for array in arrays))


def rollout(
    ints: np.ndarray, floats: np.ndarray, pms: np.ndarray, vms: np.ndarray, vm_pm: np.ndarray,
    vm_legal: np.ndarray, dest_legal: np.ndarray, w: Weights, memory: Memory, mnl: int,
    temperature: float, rng: np.random.Generator, plies: np.ndarray, clock: Clock | None = None,
) -> tuple[int, float, int]:  # fmt: skip
    """Play an episode to its end, in place.

    Args:
        ints: int64; buffer of the episode, see packed.py.
        floats: float64; likewise.
        pms: float32 [P_max, 15]; rows of the PMs.
        vms: float32 [V_max, 9]; rows of the VMs.
        vm_pm: int32 [V_max]; the VMs' PMs.
        vm_legal: int8 [N]; the first ply's mask.
        dest_legal: int8 [N]; the second ply's mask.
        w: the network.
        memory: the embeddings; changed in place.
        mnl: the most moves.
        temperature: temperature of sampling; 0 takes the best score.
        rng: source of the samples.
        plies: int64 [2 * mnl]; gets the plies played.
        clock: ends the plan wherever it is; None for no limit.

    Returns:
        Plies up to the best objective on the way; that objective; plies played.
    """
    at_once = max(1, SCORED_A_LOOK // max(1, int(ints[N_VMS])))
    none = np.int64(-1)  # a literal would have `play` compiled once more for each of its types
    outcome, _, best, _, made = play(
        ints, floats, pms, vms, vm_pm, vm_legal, dest_legal, none, none
    )
    kept, played = 0, 0
    while outcome == GOES_ON and (clock is None or clock.remaining > 0.0):
        outcome, kept, best, played, made = _play_moves(
            ints, floats, pms, vms, vm_pm, vm_legal, dest_legal, w, memory, mnl, temperature, rng,
            plies, at_once, kept, best, played, made,
        )  # fmt: skip
    ints[CHOSEN] = -1
    return kept, best, played


@njit(cache=True)
def _play_moves(
    ints: np.ndarray, floats: np.ndarray, pms: np.ndarray, vms: np.ndarray, vm_pm: np.ndarray,
    vm_legal: np.ndarray, dest_legal: np.ndarray, w: Weights, memory: Memory, mnl: int,
    temperature: float, rng: np.random.Generator, plies: np.ndarray, most: int, kept: int,
    best: float, played: int, made: int,
) -> tuple[int, int, float, int, int]:  # fmt: skip
    """Play up to `most` further moves; return the last one's outcome, kept, best, played, made."""
    n_pms, n_vms, d = ints[N_PMS], ints[N_VMS], len(w.pool.bias)
    x = np.zeros(N_PLACED + N_NODE + 2 * d, np.float32)
    for_vms, for_dests = np.empty(n_vms), np.empty(2 * n_pms)
    none = np.int64(-1)  # as in rollout
    for _ in range(most):
        if not vm_legal[:n_vms].any() or played + 2 > len(plies):
            return ENDED, kept, best, played, made
        context = context_of(w, memory, min(1.0, made / mnl))
        vm_scores(w, memory, context, vm_legal, for_vms)
        vm = choose(for_vms, temperature, rng)
        host = vm_pm[vm]
        play(ints, floats, pms, vms, vm_pm, vm_legal, dest_legal, vm, none)
        dest_scores(pms, vms[vm], host, w, memory, context, vm, dest_legal, for_dests)
        dest = choose(for_dests, temperature, rng)
        outcome, _, objective, _, made = play(
            ints, floats, pms, vms, vm_pm, vm_legal, dest_legal, none, dest
        )
        for end in range(2):
            pm = host if end == 0 else dest // 2
            embed_pm(pms, vms, np.flatnonzero(vm_pm[:n_vms] == pm), w, memory, pm, x)
        plies[played], plies[played + 1] = vm, dest
        played += 2
        if objective < best - 1e-12:
            best, kept = objective, played
        if outcome != GOES_ON:
            return outcome, kept, best, played, made
    return GOES_ON, kept, best, played, made
