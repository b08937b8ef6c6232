"""The environment sysopt/VMAllocation-v0: a thin shell over the compiled world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import IllegalActionError, InstanceError
from ...datasets.vm_allocation.arrivals import requests_of
from ...datasets.vm_allocation.instance import HOUR_S, DataCenter
from ..actions import LegalDiscrete
from ..base import FamilyEnv, Observation
from .dynamics import (
    CHOSEN,
    CLOCK_S,
    ENDED,
    ILLEGAL,
    MOVES,
    N_REJECTED,
    OVER,
    PHASE,
    PLACE,
    REQUEST,
    State,
    make_state,
    make_static,
)
from .imagined import imagine
from .objective import rejected_so_far, reward_scale
from .observation import Asked, Clock, Pm, Vm, observation_space
from .packed import (
    LAYOUT,
    Seen,
    begin,
    left_in,
    look,
    look_at_vms,
    play,
    seen_flavor,
    state_in,
    static_in,
)
from .render import frame


class VMAllocationEnv(FamilyEnv[DataCenter]):
    """Place VMs as they are asked for, over days, so that little has to be turned away.

    ## Description
    VMs arrive at a data center of P physical machines (PMs) of one or two NUMA nodes, stay for some
    time and leave. Each has to be placed at once, on one node or in equal parts on both; if it fits
    nowhere it is rejected and gone. Where the data center has a budget of migrations, some VMs may
    be moved from time to time. VMs of a deployment set must be on different PMs. What will arrive,
    and when VMs leave, is not known. The static problem is VMR2L's (EuroSys 2025), the moving world
    is after LAVA (MLSys 2025).

    ## Action space
    `Discrete(N)`, N = 2 * P_max without migrations, else max(2 * P_max, V_max + 1). A request is
    placed by `2 * pm + node`; a VM on both nodes by `2 * pm`. At a chance to migrate, two plies a
    move: the first chooses a VM by its row (or stops: row V, the most VMs the data center holds),
    the second its new place. `observation["action_mask"]` is exact: an action masked out raises
    IllegalActionError. The space's own `sample()` draws a legal action.

    ## Observation space
    A flat Dict, padded to P_max PMs, V_max VMs and N actions; every observation has arrays of its
    own. Its columns have names: `observation.Pm`, `Asked`, `Clock`, `Vm`.

    | key | shape, dtype | meaning |
    |---|---|---|
    | pms | [P_max, 23] float32 | features of PMs in 0..1 |
    | pm_mask | [P_max] int8 | 1 for rows that are no padding |
    | request | [13] float32 | the request, or the VM chosen; zeros where a VM is to be chosen |
    | flavor | [1] int32 | its flavor, -1 for none |
    | clock | [8] float32 | time, hour of the day, moves left, and whose turn it is |
    | action_mask | [N] int8 | 1 for legal actions |
    | vms | [V_max, 11] float32 | with migrations: features of VMs, zeros while placing |
    | vm_pm, vm_flavor | [V_max] int32 | row in pms and flavor of each VM; flavor -1: no VM |
    | chosen_vm | [1] int32 | row of the VM chosen by the first ply, -1 before it |

    What is told of lifetimes (setting `lifetimes`) is in the columns CLASS and STAY: nothing
    (hidden), the class (under 1, 10, 100 h or longer), or a prediction with a stated error.

    ## Rewards
    Minus the CPU times hours that were rejected since the action before, in % of what all PMs could
    have given in the hours that count; a migration's cost likewise. The score itself is
    `info["objective"]`: the rejected % of the core-hours asked for so far (lower is better), beside
    `info["feasible"]` (False only between the plies of a move), `info["hours"]`, `info["request"]`
    (number of the request, -1 for none), `info["left"]` (numbers of those that left since the
    last action), `info["rejected"]` (requests so far) and `info["moves"]`.

    ## Starting state
    The data center in `reset(options={"instance": center})`, else one of the set, drawn by the
    environment's generator; the world's requests are drawn by `seed`. VMs that are there at the
    start are placed first, and do not count.

    ## Episode end
    Terminated at the horizon. Then, and where a world has nothing to decide, only action 0 is
    masked in. Never truncated.

    ## Arguments
    instances: a set's name, a file's path, or data centers. max_pms, max_vms: padding, by default
        the largest of the instances. settings: as `--set`, by name, e.g. {"moves_per_hour": "50"}.
        render_mode: "rgb_array" or "human" (needs matplotlib).

    ## Version history
    v0, version 1: first version.
    """

    family = "vm_allocation"

    def __init__(
        self,
        instances: str | Path | DataCenter | Sequence[DataCenter] = "medium-95:train",
        max_pms: int | None = None,
        max_vms: int | None = None,
        settings: Mapping[str, str] | None = None,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(instances, settings, render_mode)
        self.max_pms = max_pms or max(center.n_pms for center in self.instances)
        migrating = [center.n_slots for center in self.instances if center.period_moves]
        self.max_vms = max_vms or max(migrating, default=0)
        self.n_actions = max(2 * self.max_pms, self.max_vms + 1)
        self.action_space = LegalDiscrete(self.n_actions)
        self.action_space.belong_to(self._draw_legal)
        self.observation_space = observation_space(self.max_pms, self.max_vms, self.n_actions)
        for center in self.instances:
            self.check_padding(center)

    def _begin(self, instance: DataCenter, seed: int | None, options: Mapping[str, Any]) -> None:
        self.check_padding(instance)
        self.center = instance
        world = int(self.np_random.integers(2**32)) if seed is None else seed
        self._packed, self._seen = self.start(instance, world)
        self._scale = reward_scale(instance)
        self._pm_mask = np.zeros(self.max_pms, np.int8)
        self._pm_mask[: instance.n_pms] = 1
        self._own_episode()

    def start(self, center: DataCenter, world: int) -> tuple[np.ndarray, Seen]:
        """Return the first moment of a world.

        Args:
            center: the data center.
            world: the world's seed.

        Returns:
            The packed episode, int64 [n], and room for what is seen, up to date.
        """
        trace = requests_of(center, world)
        packed = LAYOUT.pack(make_static(center, trace), make_state(center, len(trace.flavor)))
        seen = Seen(
            np.zeros((self.max_pms, len(Pm)), np.float32),
            np.zeros(len(Asked), np.float32),
            np.zeros(len(Clock), np.float32),
            np.zeros(self.n_actions, np.int8),
        )
        begin(packed)
        look(packed, *seen)
        return packed, seen

    def _play(self, action: Any) -> tuple[float, bool]:
        outcome, rejected = play(self._packed, int(action))
        if outcome == ILLEGAL:
            raise IllegalActionError(
                f"{self.center.name}: action {action} is not legal at "
                f"{self._numbers[CLOCK_S] / HOUR_S:.2f} h; choose among "
                'observation["action_mask"]'
                + (": the episode is over, call reset" * bool(self._numbers[PHASE] == OVER))
            )
        self._stale = True
        return -self._scale * rejected, outcome == ENDED

    @property
    def state(self) -> State:
        """The present state, as views: it changes with the next action."""
        return self._state

    def _frame(self) -> np.ndarray:
        return frame(static_in(self._packed), self._state)

    def _own_episode(self) -> None:
        self._packed = self._packed.copy()
        self._seen = Seen(*(array.copy() for array in self._seen))
        self._state = state_in(self._packed)
        self._numbers = self._state.numbers
        self._stale = True

    def _draw_future(self, rng: np.random.Generator) -> None:
        if self._numbers[PHASE] != OVER:
            static = static_in(self._packed)
            world = imagine(self.center, static, self._state, rng.spawn(1)[0])
            self._packed = LAYOUT.pack(*world)
            self._state = state_in(self._packed)
            self._numbers = self._state.numbers

    def _look(self) -> Seen:
        """Return what is seen now; of a few million actions nobody looks at most."""
        if self._stale:
            look(self._packed, *self._seen)
            self._stale = False
        return self._seen

    def _action_masks(self) -> np.ndarray:
        return self._look().mask.astype(np.bool_)

    def _draw_legal(self, rng: np.random.Generator, seed: int | None) -> Any:
        if seed is None:
            return rng.choice(np.flatnonzero(self._look().mask))
        return rng.choice(np.flatnonzero(self.start(self._drawn_after(seed)[0], seed)[1].mask))

    def _observation(self) -> Observation:
        seen, n = self._look(), self._numbers
        flavor = seen_flavor(self._packed)
        observation: Observation = {
            "pms": seen.pms.copy(),
            "pm_mask": self._pm_mask.copy(),
            "request": seen.request.copy(),
            "flavor": np.array((flavor,), np.int32),
            "clock": seen.clock.copy(),
            "action_mask": seen.mask.copy(),
        }
        if self.max_vms:
            vms = np.zeros((self.max_vms, len(Vm)), np.float32)
            vm_pm = np.zeros(self.max_vms, np.int32)
            vm_flavor = np.full(self.max_vms, -1, np.int32)
            look_at_vms(self._packed, seen.mask, vms, vm_pm, vm_flavor)
            observation |= {
                "vms": vms, "vm_pm": vm_pm, "vm_flavor": vm_flavor,
                "chosen_vm": np.array((n[CHOSEN],), np.int32),
            }  # fmt: skip
        return observation

    def _info(self) -> dict[str, Any]:
        n = self._numbers
        return {
            "objective": rejected_so_far(n),
            "feasible": bool(n[CHOSEN] < 0),
            "hours": int(n[CLOCK_S]) / HOUR_S,
            "request": int(n[REQUEST]) if n[PHASE] == PLACE else -1,
            "left": left_in(self._state),
            "rejected": int(n[N_REJECTED]),
            "moves": int(n[MOVES]),
        }

    def check_padding(self, center: DataCenter) -> None:
        """Refuse a data center that is larger than the padding.

        Args:
            center: the data center.

        Raises:
            InstanceError: with the arguments that fit it.
        """
        vms = center.n_slots if center.period_moves else 0
        if center.n_pms > self.max_pms or vms > self.max_vms:
            raise InstanceError(
                f"{center.name}: {center.n_pms} PMs and rows for {vms} VMs are more than the "
                f"environment's padding, {self.max_pms} and {self.max_vms}; make the environment "
                f"with max_pms={center.n_pms}, max_vms={vms} or more"
            )
