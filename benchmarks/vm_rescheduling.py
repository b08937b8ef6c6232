"""Measure the speed of the VM-rescheduling environment at the size of Medium (279 PMs).

Whole `env.step` calls with observation, masks and resets are timed in one process, without the
choice of actions; in seconds of CPU, so that other jobs on the machine count little. The published
environment (gym 0.23, Python 3.7) cannot be run here: its speeds were measured on a quiet core, 592
steps/s (full features) and 1,013 steps/s (graph form), and one of its steps is a whole move. So
moves are given beside plies. The NumPy reference runs here, in the same run.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numba import njit

from ..core.contracts import Throughput
from ..core.errors import InstanceError
from ..datasets.hosts import LARGE_MEM_MB
from ..datasets.vm_rescheduling.instance import ACTIVE, OUTAGE, Cluster
from ..datasets.vm_rescheduling.splits import SETS
from ..envs.borrowed import borrow
from ..envs.vm_rescheduling.dynamics import State, Static, is_legal, make_state, make_static, move
from ..envs.vm_rescheduling.env import VMReschedulingEnv
from .timing import take_turns

PUBLISHED = "the published environment, graph form, as measured elsewhere on a quiet core"
PUBLISHED_STEPS = 1013.0
PLAIN = "NumPy, everything recomputed each step, in this run"
PLIES = 20_000
PLAIN_MOVES = 500
BARE_MOVES = 1_000_000
UNLIMITED = 2**40


def measure() -> list[Throughput]:
    """Measure the throughputs on bytedance-medium, or on a look-alike if it is not available."""
    cluster = _cluster()
    plies, joint, plain, bare = take_turns(
        [
            lambda: _plies_per_second(cluster),
            lambda: _joint_per_second(cluster),
            lambda: _plain_moves_per_second(cluster),
            lambda: _bare_moves_per_second(cluster),
        ]
    )
    size = f"{cluster.n_pms} PMs, {cluster.n_vms} VMs"
    published = (PUBLISHED, PUBLISHED_STEPS)
    in_numpy = (PLAIN, plain.per_second)
    moves = plies.per_second / 2
    return [
        Throughput(
            f"env.step, form plies, {size}", plies.per_second, "plies/s", *published, plies.spread
        ),
        Throughput(f"moves of two plies, {size}", moves, "moves/s", *published, plies.spread),
        Throughput(
            f"moves of two plies, {size}", moves, "moves/s", *in_numpy,
            max(plies.spread, plain.spread),
        ),
        Throughput(
            f"env.step, form joint, {size}", joint.per_second, "moves/s", *published, joint.spread
        ),
        Throughput(
            f"bare dynamics, random legal moves, {size}", bare.per_second, "moves/s", *in_numpy,
            max(bare.spread, plain.spread),
        ),
    ]  # fmt: skip


def _cluster() -> Cluster:
    try:
        return SETS.load("bytedance-medium")[0]
    except InstanceError:
        return SETS.load("lookalike:test/0")[0]


@njit(cache=True)
def _pick(mask: np.ndarray, draw: float) -> int:
    """Return the index of a legal action, chosen by a draw in [0, 1)."""
    left = int(draw * mask.sum())
    for i in range(len(mask)):
        if mask[i]:
            if left == 0:
                return i
            left -= 1
    return 0


def _plies_per_second(cluster: Cluster) -> float:
    env = VMReschedulingEnv(cluster)
    observation, _ = env.reset(seed=0)
    spent = 0.0
    for draw in np.random.default_rng(0).random(PLIES):
        action = _pick(observation["action_mask"], draw)
        began = time.process_time()
        observation, _, ended, _, _ = env.step(action)
        if ended:
            observation, _ = env.reset()
        spent += time.process_time() - began
    return PLIES / spent


def _joint_per_second(cluster: Cluster) -> float:
    env = VMReschedulingEnv(cluster, form="joint")
    observation, _ = env.reset(seed=0)
    spent, moves = 0.0, PLIES // 4
    for first, second in np.random.default_rng(0).random((moves, 2)):
        vm = _pick(observation["action_mask"], first)
        action = np.array([vm, _pick(env.destination_mask(vm), second)])
        began = time.process_time()
        observation, _, ended, _, _ = env.step(action)
        if ended:
            observation, _ = env.reset()
        spent += time.process_time() - began
    return moves / spent


@njit(cache=True)
def _wander(static: Static, state: State, moves: int, rng: np.random.Generator) -> int:
    """Make a number of random legal moves; return the number of proposals drawn."""
    static, state = borrow(static), borrow(state)
    n_vms, n_pms, made, drawn = len(state.vm_pm), len(static.pm_status), 0, 0
    while made < moves:
        drawn += 1
        vm, dest = int(rng.random() * n_vms), int(rng.random() * 2 * n_pms)
        if is_legal(static, state, vm, dest // 2, dest % 2):
            move(static, state, vm, dest // 2, dest % 2)
            made += 1
    return drawn


def _bare_moves_per_second(cluster: Cluster) -> float:
    static = make_static(cluster)._replace(mnl=UNLIMITED, pm_move_cap=UNLIMITED)
    state = make_state(cluster, static)
    rng = np.random.default_rng(0)
    _wander(static, state, 1, rng)
    began = time.process_time()
    _wander(static, state, BARE_MOVES, rng)
    return BARE_MOVES / (time.process_time() - began)


def _plain_moves_per_second(cluster: Cluster) -> float:
    plain = _Plain(cluster)
    rng = np.random.default_rng(0)
    spent = 0.0
    for _ in range(PLAIN_MOVES):
        vm = int(rng.choice(np.flatnonzero(plain.vm_mask())))
        dest = int(rng.choice(np.flatnonzero(plain.dest_mask(vm))))
        began = time.process_time()
        plain.dest_mask(vm)
        plain.move(vm, dest)
        plain.observe()
        plain.vm_mask()
        spent += time.process_time() - began
    return PLAIN_MOVES / spent


class _Plain:
    """The same features and masks (without deployment sets) in NumPy, recomputed at every step."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.pm, self.numa = cluster.vm_pm.copy(), cluster.vm_numa.copy()
        self.flavor = cluster.vm_flavor
        self.both = cluster.flavor_nodes[self.flavor] == 2
        self._count_free()

    def _here(self) -> np.ndarray:
        here: np.ndarray = (self.numa[:, None] == np.arange(2)) | self.both[:, None]
        return here

    def _count_free(self) -> None:
        c, here = self.cluster, self._here()
        self.cpu, self.mem = c.numa_cpu.copy(), c.numa_mem.copy()
        for k in (0, 1):
            at, kind = self.pm[here[:, k]], self.flavor[here[:, k]]
            self.cpu[:, k] -= np.bincount(at, c.flavor_cpu[kind], c.n_pms).astype(np.int64)
            self.mem[:, k] -= np.bincount(at, c.flavor_mem[kind], c.n_pms).astype(np.int64)

    def _fits(self) -> np.ndarray:
        """Return where each flavor fits, bool [K, P, 2]."""
        c = self.cluster
        room = (self.cpu >= c.flavor_cpu[:, None, None]) & (self.mem >= c.flavor_mem[:, None, None])
        room &= (c.pm_status == ACTIVE)[:, None] & (c.numa_cpu > 0)
        two = c.flavor_nodes == 2
        room[two, :, 0] = room[two].all(axis=2)
        room[two, :, 1] = False
        return room

    def vm_mask(self) -> np.ndarray:
        """Return the VMs that may move, bool [V]."""
        fits = self._fits()
        own = fits[self.flavor, self.pm, np.where(self.both, 0, self.numa)]
        leaves = ~self.cluster.vm_pinned & (self.cluster.pm_status[self.pm] != OUTAGE)
        mask: np.ndarray = leaves & (fits.sum(axis=(1, 2))[self.flavor] - own > 0)
        return mask

    def dest_mask(self, vm: int) -> np.ndarray:
        """Return the nodes that a VM may move to, bool [2P]."""
        mask: np.ndarray = self._fits()[self.flavor[vm]].ravel()
        mask[2 * self.pm[vm] + (0 if self.both[vm] else self.numa[vm])] = False
        return mask

    def move(self, vm: int, dest: int) -> None:
        """Migrate a VM and recompute free resources."""
        self.pm[vm], self.numa[vm] = dest // 2, dest % 2
        self._count_free()

    def observe(self) -> dict[str, Any]:
        """Return the features of PMs and VMs."""
        c, unit, here = self.cluster, self.cluster.fragment_unit, self._here()
        cpu_scale, mem_scale = c.numa_cpu.sum(axis=1).max(), c.numa_mem.sum(axis=1).max()
        residue = self.cpu % unit
        status = [c.pm_status == ACTIVE, c.pm_status != OUTAGE, c.pm_status == ACTIVE]
        pms = [
            self.cpu / cpu_scale, self.mem / mem_scale, residue / np.maximum(self.cpu, 1), residue /
            unit, self.mem % LARGE_MEM_MB / LARGE_MEM_MB, np.stack([*status, c.numa_cpu[:, 1] > 0],
            1),
        ]  # fmt: skip
        need, need_mem = c.flavor_cpu[self.flavor], c.flavor_mem[self.flavor]
        vms = [
            here * need[:, None] / cpu_scale, here * need_mem[:, None] / mem_scale,
            here * (need % unit)[:, None] / unit, ~c.vm_pinned[:, None],
        ]  # fmt: skip
        return {
            "pms": np.concatenate(pms, axis=1, dtype=np.float32),
            "vms": np.concatenate(vms, axis=1, dtype=np.float32),
            "vm_pm": self.pm.astype(np.int32),
        }
