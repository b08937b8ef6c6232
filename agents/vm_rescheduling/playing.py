"""Play the relational policy at full speed, on the dynamics themselves.

A 50-move plan on 279 PMs and 2,016 VMs takes some milliseconds; see compiled.py.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ...core.budget import Clock
from ...datasets.vm_rescheduling.instance import Cluster
from ...envs.vm_rescheduling.dynamics import State, Static, make_state, make_static
from ...envs.vm_rescheduling.episode import ENDED, GOES_ON, ILLEGAL, begin, play
from ...envs.vm_rescheduling.observation import PM_FEATURES, VM_FEATURES
from ...envs.vm_rescheduling.packed import CHOSEN, N_PMS, N_VMS, Episode, pack
from .compiled import Memory, Weights, context_of, copy_memory, embed_pm, remember
from .heads import choose, dest_scores, vm_scores
from .network import N_NODE, N_PLACED

NOTHING = np.zeros(0, np.int64)
SCORED_A_LOOK = 1_000_000  # VMs between two looks at the clock


class Player:
    """Plays one cluster again and again.

    Attributes:
        start: the objective before any move.
    """

    def __init__(
        self, cluster: Cluster, weights: Weights, clock: Clock | None = None,
        static: Static | None = None, state: State | None = None,
    ) -> None:  # fmt: skip
        """Compute what all plans begin with.

        Args:
            cluster: the instance.
            weights: the policy.
            clock: ends that, and plans, wherever they are; None for no limit.
            static: `make_static(cluster)`, where it is known.
            state: likewise, the state before any move.
        """
        self._cluster, self._weights, self._clock = cluster, weights, clock
        e = self._episode = start_episode(cluster, static, state)
        self._memory = remember(e.ints, e.pms, e.vms, e.vm_pm, e.vm_mask, weights, clock)
        outcome = play(e.ints, e.floats, e.pms, e.vms, e.vm_pm, e.vm_legal, e.dest_legal, -1, -1)
        self.start = outcome[2]

    def play(
        self, temperature: float, rng: np.random.Generator, first: np.ndarray = NOTHING
    ) -> tuple[float, np.ndarray]:
        """Play one plan.

        Args:
            temperature: temperature of sampling; 0 takes the likeliest actions.
            rng: source of the samples.
            first: int64 [2 * moves]; plies that it begins with. A move of these that is not legal
                when its turn comes is left out.

        Returns:
            The best objective on the way, and the plies up to it, int64 [2 * moves].
        """
        e, memory = copy_episode(self._episode), copy_memory(self._memory)
        plies = np.zeros(2 * self._cluster.mnl, np.int64)
        kept, best, _ = rollout(
            e.ints, e.floats, e.pms, e.vms, e.vm_pm, e.vm_legal, e.dest_legal,
            self._weights, memory, self._cluster.mnl, temperature, rng, plies, self._clock, first,
        )  # fmt: skip
        return best, plies[:kept]


def start_episode(
    cluster: Cluster, static: Static | None = None, state: State | None = None
) -> Episode:
    """Return the episode of a cluster before any move, as the environment makes it.

    Args:
        cluster: the instance, whose hosts have at most two NUMA nodes.
        static: `make_static(cluster)`, where it is known.
        state: likewise, the state before any move.
    """
    static = make_static(cluster) if static is None else static
    state = make_state(cluster, static) if state is None else state
    ints, floats = pack(cluster, static, state, np.ones(cluster.n_vms, np.bool_))
    p, v = cluster.n_pms, cluster.n_vms
    actions = max(v + 1, cluster.stride * p)
    pms, vms = (
        np.zeros((p, len(PM_FEATURES)), np.float32),
        np.zeros((v, len(VM_FEATURES)), np.float32),
    )
    small = (np.zeros(n, np.int8) for n in (v, p, actions, actions))
    e = Episode(ints, floats, pms, vms, np.zeros(v, np.int32), *small)
    e.pm_mask[:] = 1
    begin(ints, floats, pms, vms, e.vm_pm, e.vm_mask, e.vm_legal)
    return e


def copy_episode(episode: Episode) -> Episode:
    """Return an independent copy of an episode."""
    return Episode(*(array.copy() for array in episode))


def rollout(
    ints: np.ndarray, floats: np.ndarray, pms: np.ndarray, vms: np.ndarray, vm_pm: np.ndarray,
    vm_legal: np.ndarray, dest_legal: np.ndarray, w: Weights, memory: Memory, mnl: int,
    temperature: float, rng: np.random.Generator, plies: np.ndarray, clock: Clock | None = None,
    first: np.ndarray = NOTHING,
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
        first: int64 [2 * moves]; plies that the plan begins with, see Player.play.

    Returns:
        Plies up to the best objective on the way; that objective; plies played.
    """
    at_once = max(1, SCORED_A_LOOK // max(1, int(ints[N_VMS])))
    none = np.int64(-1)  # a literal would have `play` compiled once more for each of its types
    outcome, _, best, _, made = play(
        ints, floats, pms, vms, vm_pm, vm_legal, dest_legal, none, none
    )
    kept, played = 0, 0
    if len(first):
        outcome, kept, best, played, made = _begin_with(
            ints, floats, pms, vms, vm_pm, vm_legal, dest_legal, w, memory, first, plies, best
        )
    while outcome == GOES_ON and (clock is None or clock.remaining > 0.0):
        outcome, kept, best, played, made = _play_moves(
            ints, floats, pms, vms, vm_pm, vm_legal, dest_legal, w, memory, mnl, temperature, rng,
            plies, at_once, kept, best, played, made,
        )  # fmt: skip
    ints[CHOSEN] = -1
    return kept, best, played


@njit(cache=True)
def _begin_with(
    ints: np.ndarray, floats: np.ndarray, pms: np.ndarray, vms: np.ndarray, vm_pm: np.ndarray,
    vm_legal: np.ndarray, dest_legal: np.ndarray, w: Weights, memory: Memory, first: np.ndarray,
    plies: np.ndarray, best: float,
) -> tuple[int, int, float, int, int]:  # fmt: skip
    """Play given moves, as far as they are legal; return outcome, kept, best, played, made."""
    n_pms, n_vms, d = ints[N_PMS], ints[N_VMS], len(w.pool.bias)
    touched = np.zeros(n_pms, np.bool_)
    outcome, kept, played, made = GOES_ON, 0, 0, 0
    for i in range(0, len(first), 2):
        if outcome != GOES_ON or played + 2 > len(plies):
            break
        vm, dest = first[i], first[i + 1]
        host = vm_pm[vm]
        found, _, objective, _, moves = play(
            ints, floats, pms, vms, vm_pm, vm_legal, dest_legal, vm, dest
        )
        if found == ILLEGAL:
            continue
        outcome, made = found, moves
        touched[host] = touched[dest // 2] = True
        plies[played], plies[played + 1] = vm, dest
        played += 2
        if objective < best - 1e-12:
            best, kept = objective, played
    x = np.zeros(N_PLACED + N_NODE + 2 * d, np.float32)
    for pm in np.flatnonzero(touched):
        embed_pm(pms, vms, np.flatnonzero(vm_pm[:n_vms] == pm), w, memory, pm, x)
    return outcome, kept, best, played, made


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
