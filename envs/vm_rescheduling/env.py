"""The environment sysopt/VMRescheduling-v0: a thin shell over the compiled dynamics."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from ...core.errors import IllegalActionError, InstanceError, SettingError
from ...datasets.vm_rescheduling.churn import churned
from ...datasets.vm_rescheduling.instance import Cluster
from ..actions import LegalDiscrete, LegalMultiDiscrete
from ..base import FamilyEnv, Observation
from . import packed
from .dynamics import State, make_state, make_static
from .episode import ENDED, ILLEGAL, UNMASKED, begin, destination_mask, pack_destinations, play
from .observation import observation_space, pm_features, vm_features
from .packed import ALLOW_STOP, CHOSEN, LIVE, OVER, Episode, pack, state_of
from .render import frame


class VMReschedulingEnv(FamilyEnv[Cluster]):
    """Migrate a few VMs so that a cluster's free cores form whole 16-core slots (VMR2L, EuroSys
    2025).

    ## Description
    A cluster of P physical machines (PMs), most of two NUMA nodes, hosts V virtual machines (VMs).
    A VM sits on one node, or in parts on several. Free cores on a node beyond the last multiple of
    16 are fragments: no 16-core VM fits in them. Up to MNL VMs may be migrated, one at a time, to
    nodes with room for them.

    ## Action space
    Form "plies" (default): `Discrete(max(V_max + 1, 2 * P_max))`, two plies a move. The first
    chooses a VM by its index (or, with allow_stop, stops: index V, the instance's number of VMs);
    the second the destination `2 * pm + numa`, with numa 0 for VMs on two nodes. Where PMs have
    more nodes, or VMs unequal parts, a destination is `S * pm + place` and S takes the place of 2:
    the most ways in which the parts of a VM can lie on a PM (datasets/vm_rescheduling/places.py).
    `observation["action_mask"]` is exact: an action masked in is always taken, one masked out
    raises IllegalActionError. The space's own `sample()` draws a legal action.

    Form "joint": `MultiDiscrete([V_max + 1, 2 * P_max])`, one step a move. The observation's mask
    is that of the VM; `observation["destinations"]` holds the destination's for every VM, exact,
    and `destination_mask(vm)` gives it for one. After the stop action's VM any destination will do.

    ## Observation space
    A flat Dict, padded to P_max PMs, V_max VMs and N actions; every observation has arrays of its
    own.

    | key | shape, dtype | meaning |
    |---|---|---|
    | pms | [P_max, 15] float32 | PM features in 0..1, columns `observation.pm_features` |
    | vms | [V_max, 9] float32 | VM features in 0..1, columns `observation.vm_features` |
    | vm_pm | [V_max] int32 | row in pms of each VM's host; 0 in padding |
    | pm_mask, vm_mask | [P_max], [V_max] int8 | 1 for rows that are no padding |
    | chosen_vm | [1] int32 | the VM chosen by the first ply, -1 before it |
    | phase | [1] int8 | 0 before the first ply, 1 before the second |
    | progress | [1] float32 | moves made / MNL |
    | action_mask | [N] int8 | 1 for legal actions |
    | destinations | [V_max, D] uint8 | form joint: where each VM may go, in bits |

    With NUMA nodes above two, pms has 5 more columns for each, and vms 3. In row v of destinations,
    bit d % 8 of byte d // 8 (0 is the lowest bit) is 1 where VM v may go to destination d; rows of
    VMs masked out are 0. They make a step of 2,089 VMs on 279 PMs 0.12 ms long in place of 0.02,
    and its observation 146 KB longer.

    ## Rewards
    (objective before the move - after) * `objective.reward_scale` at the start on the second ply, 0
    on the first; for the fragment rate that is fragment cores removed / 128, as published. The
    score itself is `info["objective"]` (lower is better; units in objective.py), beside
    `info["feasible"]` (False only between the plies of a move), `info["moves"]` and
    `info["fragment_rate"]`.

    ## Starting state
    The instance in `reset(options={"instance": cluster})`, else one of the set, drawn by the
    environment's generator.

    ## Episode end
    Terminated after MNL moves, by the stop action, when the goal rate is reached (objective
    moves_to_goal), or when no VM has a legal destination. Then, and where an episode is over before
    its first ply, only the stop action is masked in. Never truncated.

    In live mode, `options={"instance": cluster, "elapsed_s": x}` with `seed` plays the cluster as
    it is after x seconds of churn (datasets/vm_rescheduling/churn.py), with the indices of the
    cluster as given: VMs that left are masked, arrivals only take up room. Moves that no longer fit
    are then skipped: they count as no move and raise nothing. In static mode "elapsed_s" is
    refused.

    ## Arguments
    instances: a set's name, a file's path, or clusters. form: "plies" or "joint". allow_stop:
        whether a plan may stop early. max_pms, max_vms: padding, by default the largest of the
        instances. settings: as `--set`, by name, e.g. {"mnl": "25"}. render_mode: "rgb_array" or
        "human" (needs matplotlib).

    ## Version history
    v0, version 1: first version.
    """

    family = "vm_rescheduling"
    forms = ("plies", "joint")
    reset_options: ClassVar[tuple[str, ...]] = ("instance", "elapsed_s")

    def __init__(
        self,
        instances: str | Path | Cluster | Sequence[Cluster] = "small:train",
        form: Literal["plies", "joint"] = "plies",
        allow_stop: bool = False,
        max_pms: int | None = None,
        max_vms: int | None = None,
        settings: Mapping[str, str] | None = None,
        render_mode: str | None = None,
    ) -> None:
        if form not in self.forms:
            raise SettingError(f"form {form!r} is unknown; known: {', '.join(self.forms)}")
        super().__init__(instances, settings, render_mode, form)
        self.allow_stop = allow_stop
        self.max_pms = max_pms or max(cluster.n_pms for cluster in self.instances)
        self.max_vms = max_vms or max(cluster.n_vms for cluster in self.instances)
        self.max_nodes = max(cluster.n_nodes for cluster in self.instances)
        self.max_places = max(cluster.stride for cluster in self.instances)
        if form == "plies":
            self.n_actions = max(self.max_vms + 1, self.max_places * self.max_pms)
            self.action_space: LegalDiscrete | LegalMultiDiscrete = LegalDiscrete(self.n_actions)
        else:
            self.n_actions = self.max_vms + 1
            self.action_space = LegalMultiDiscrete(
                [self.max_vms + 1, self.max_places * self.max_pms]
            )
        self.action_space.belong_to(self._draw_legal)
        self.observation_space = observation_space(
            self.max_pms,
            self.max_vms,
            self.n_actions,
            self.max_nodes,
            self._bytes_of_destinations(),
        )
        for cluster in self.instances:
            self.check_padding(cluster)

    def _begin(self, instance: Cluster, seed: int | None, options: Mapping[str, Any]) -> None:
        self.check_padding(instance)
        self.cluster = instance
        elapsed_s = options.get("elapsed_s")
        if elapsed_s is None:
            start = self.start_of(instance)
        elif instance.mode == "live":
            start = self._packed(*_pack_churned(instance, seed or 0, float(elapsed_s)), live=True)
        else:
            raise SettingError(
                f"{instance.name}: elapsed_s is of live mode; a static cluster waits for its plan"
            )
        saved, *self._reported = start
        self.episode = Episode(*saved)
        self._moves, self._unmasked = 0, False
        self._last_move: tuple[int, int, int] | None = None
        self._own_episode()

    def _play(self, action: Any) -> tuple[float, bool]:
        e = self.episode
        if e.ints[OVER] and e.ints[LIVE]:
            return 0.0, True  # what follows the end is ignored
        chosen = int(e.ints[CHOSEN])
        if self.form == "joint":
            vm, dest = int(action[0]), int(action[1])
        elif chosen < 0:
            vm, dest = int(action), UNMASKED
        else:
            vm, dest = -1, int(action)
        if max(vm, dest) < 0 or (self.form == "joint" and min(vm, dest) < 0):
            raise self._illegal(action)
        before = self.state if self.render_mode is not None else None
        outcome, reward, *self._reported, moves = play(
            e.ints, e.floats, e.pms, e.vms, e.vm_pm, e.vm_legal, e.dest_legal, vm, dest
        )
        if outcome == ILLEGAL:
            raise self._illegal(action)
        if before is not None and moves > self._moves:
            mover = vm if vm >= 0 else chosen
            stride = self.cluster.stride
            self._last_move = mover, int(stride * before.vm_pm[mover] + before.vm_numa[mover]), dest
        if dest >= 0:
            self._moves = moves
        self._unmasked = dest == UNMASKED
        return reward, outcome == ENDED

    def destination_mask(self, vm: int) -> np.ndarray:
        """Return where the VM may go now, int8 [S * P_max]; the second mask of the joint form."""
        return self._destination_mask(self.episode, vm)

    @property
    def state(self) -> State:
        """A copy of the current state."""
        return state_of(self.episode)

    def _frame(self) -> np.ndarray:
        return frame(make_static(self.cluster), self.state, self.cluster.numa_cpu, self._last_move)

    def _own_episode(self) -> None:
        self.episode = Episode(*(array.copy() for array in self.episode))

    def _destination_mask(self, episode: Episode, vm: int) -> np.ndarray:
        mask = np.zeros(self.max_places * self.max_pms, np.int8)
        if not episode.ints[OVER] and 0 <= vm < episode.ints[packed.N_VMS]:
            destination_mask(episode.ints, vm, mask)
        return mask

    def _action_masks(self) -> np.ndarray:
        if self.form == "joint":
            raise SettingError(
                "form joint has no one mask: where a VM may go depends on the VM; make the "
                "environment with form='plies', whose masks are exact, or ask "
                "destination_mask(vm)"
            )
        return self._legal()[: self.n_actions].astype(np.bool_)

    def _legal(self) -> np.ndarray:
        """Return the present ply's mask, int8; that of the second ply is made when it is needed."""
        e = self.episode
        chosen = int(e.ints[CHOSEN])
        if chosen < 0:
            return e.vm_legal
        if self._unmasked:
            destination_mask(e.ints, chosen, e.dest_legal)
            self._unmasked = False
        return e.dest_legal

    def _draw_legal(self, rng: np.random.Generator, seed: int | None) -> Any:
        episode = self.episode if seed is None else self.start_of(self._drawn_after(seed)[0])[0]
        legal = np.flatnonzero(self._legal() if seed is None else episode.vm_legal)
        action = rng.choice(legal) if len(legal) else np.int64(0)
        if self.form == "plies":
            return action
        places = np.flatnonzero(self._destination_mask(episode, int(action)))
        return np.array([action, rng.choice(places) if len(places) else 0], np.int64)

    def _make_start(self, instance: Cluster) -> tuple[Episode, float, float]:
        static = make_static(instance)
        present = np.ones(instance.n_vms, np.bool_)
        return self._packed(*pack(instance, static, make_state(instance, static), present))

    def _packed(
        self, ints: np.ndarray, floats: np.ndarray, live: bool = False
    ) -> tuple[Episode, float, float]:
        """Make the first moment of an episode, its objective and its fragment rate.

        Args:
            ints: int64 buffer; see packed.py.
            floats: float64 buffer.
            live: whether moves that no longer fit are skipped.
        """
        ints[ALLOW_STOP], ints[LIVE] = self.allow_stop, live
        e = Episode(
            ints,
            floats,
            np.zeros((self.max_pms, len(pm_features(self.max_nodes))), np.float32),
            np.zeros((self.max_vms, len(vm_features(self.max_nodes))), np.float32),
            np.zeros(self.max_vms, np.int32),
            np.zeros(self.max_vms, np.int8),
            np.zeros(self.max_pms, np.int8),
            np.zeros(max(self.n_actions, self.max_vms + 1), np.int8),
            np.zeros(max(self.n_actions, self.max_places * self.max_pms), np.int8),
        )
        e.pm_mask[: ints[packed.N_PMS]] = 1
        return e, *begin(ints, floats, e.pms, e.vms, e.vm_pm, e.vm_mask, e.vm_legal)

    def _observation(self) -> Observation:
        e = self.episode
        chosen = int(e.ints[CHOSEN])
        legal = self._legal()
        masks = {}
        if self.form == "joint":
            masks["destinations"] = np.zeros(
                (self.max_vms, self._bytes_of_destinations()), np.uint8
            )
            pack_destinations(e.ints, e.vm_legal, masks["destinations"])
        return {
            "pms": e.pms.copy(),
            "vms": e.vms.copy(),
            "vm_pm": e.vm_pm.copy(),
            "pm_mask": e.pm_mask.copy(),
            "vm_mask": e.vm_mask.copy(),
            "chosen_vm": np.array((chosen,), np.int32),
            "phase": np.array((chosen >= 0,), np.int8),
            "progress": np.array((min(1.0, self._moves / self.cluster.mnl),), np.float32),
            "action_mask": legal[: self.n_actions].copy(),
            **masks,
        }

    def _bytes_of_destinations(self) -> int:
        return -(-self.max_places * self.max_pms // 8) if self.form == "joint" else 0

    def _info(self) -> dict[str, Any]:
        objective, rate = self._reported
        return {
            "objective": objective,
            "feasible": bool(self.episode.ints[CHOSEN] < 0),
            "moves": self._moves,
            "fragment_rate": rate,
        }

    def _illegal(self, action: Any) -> IllegalActionError:
        if self.episode.ints[OVER]:
            return IllegalActionError(f"{self.cluster.name}: the episode is over; call reset")
        ply = "VM" if self.episode.ints[CHOSEN] < 0 else "destination"
        return IllegalActionError(
            f"{self.cluster.name}: after {self._moves} moves {ply} {action} is not legal; choose "
            'among observation["action_mask"]'
            + (" and destination_mask(vm)" if self.form == "joint" else "")
        )

    def check_padding(self, cluster: Cluster) -> None:
        """Refuse a cluster that is larger than the padding.

        Raises:
            InstanceError: with the arguments that fit it.
        """
        if cluster.n_pms > self.max_pms or cluster.n_vms > self.max_vms:
            raise InstanceError(
                f"{cluster.name}: {cluster.n_pms} PMs and {cluster.n_vms} VMs are more than the "
                f"environment's padding, {self.max_pms} and {self.max_vms}; make the environment "
                f"with max_pms={cluster.n_pms}, max_vms={cluster.n_vms} or more"
            )
        if cluster.n_nodes > self.max_nodes or cluster.stride > self.max_places:
            raise InstanceError(
                f"{cluster.name}: has hosts of {cluster.n_nodes} NUMA nodes, and VMs of "
                f"{cluster.stride} places on a host; the environment was made for "
                f"{self.max_nodes} and {self.max_places}: give it this cluster when it is made"
            )


def _pack_churned(cluster: Cluster, seed: int, elapsed_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Pack the cluster after churn, in the indices of the cluster as given.

    Args:
        cluster: in live mode.
        seed: of the churn.
        elapsed_s: seconds of churn.
    """
    after, where = churned(cluster, seed, elapsed_s)
    before = np.full(after.n_vms, -1, np.int64)
    before[where[where >= 0]] = np.flatnonzero(where >= 0)
    view = dataclasses.replace(
        cluster,
        vm_pinned=cluster.vm_pinned | (where < 0),
        set_start=after.set_start,
        set_vms=before[after.set_vms],
    )
    static = make_static(view)
    real = make_state(after, make_static(after))
    state = make_state(view, static)._replace(
        free_cpu=real.free_cpu, free_mem=real.free_mem, totals=real.totals
    )
    return pack(cluster, static, state, where >= 0)
