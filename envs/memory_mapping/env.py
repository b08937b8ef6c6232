"""The environment sysopt/MallocGame-v0: a thin shell over the compiled dynamics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...core.errors import IllegalActionError, SettingError
from ...datasets.memory_mapping.instance import Program
from ..actions import LegalDiscrete
from ..base import FamilyEnv, Observation
from .dynamics import (
    DEAD,
    DROP,
    FINISHED,
    GOES_ON,
    OUTCOME,
    POSITION,
    REWINDS,
    STALL,
    TIME,
    State,
    Static,
    copy_state,
    make_static,
)
from .objective import saving, speedup
from .observation import (
    AHEAD,
    BINS,
    DECISION_FEATURES,
    GLOBAL_FEATURES,
    PAST,
    SUPPLY,
    WINDOW,
    fixed_features,
    observation_space,
)
from .packed import advance, pack, restart, state_in
from .render import frame


class _Episode(NamedTuple):
    """A program's arrays, and the state as views into `ints`."""

    ints: np.ndarray
    static: Static
    state: State
    fixed: np.ndarray
    first_mask: np.ndarray


class MallocGameEnv(FamilyEnv[Program]):
    """Map a program's tensors to fast and slow memory so that it runs sooner (mallocGame, 2023).

    ## Description
    A scheduled program reads and writes buffers. Slow memory holds them all; fast memory is small.
    Each use of a buffer by an instruction is a decision, in program order; in a loop it is carried
    out in every trip. The mechanics follow
    the project's reading of the paper; docs/memory_mapping.md says what is the paper's.

    ## Action space
    `Discrete(3)`. 0, Copy: prefetch the buffer into fast memory during the idle time of slow
    memory in earlier instructions. 1, NoCopy: use it where it already is in fast memory, or write
    it there. 2, Drop: use slow memory, where needed after a write-back. `action_mask` is exact: an
    action masked in is always taken, one masked out raises IllegalActionError. At the end of an
    episode the mask holds Drop, which no step takes. The space's own `sample()` draws a legal
    action.

    ## Observation space
    A flat Dict of float32 in 0..1 and the mask; what is returned never changes afterwards.

    | key | shape, dtype | meaning |
    |---|---|---|
    | decisions | [W, 28] float32 | this and the next decisions, `observation.DECISION_FEATURES` |
    | occupancy | [32, 32] float32 | the part of each bin of addresses (columns) held at each
    instruction (rows): 24 past ones, then 8 from the current one on |
    | supply | [24] float32 | idle time of the last instructions, summed backwards, against what a
    copy of the current buffer needs: x / (1 + x) |
    | globals | [8] float32 | `observation.GLOBAL_FEATURES` |
    | action_mask | [3] int8 | 1 for legal actions |

    ## Rewards
    The time saved by the action, as a part of the all-slow time; negative where a rewind takes
    savings back, and at the end where outputs are written back late. The rewards of an episode add
    up to 1 - 1 / speed-up. The score itself is `info["objective"]` (the speed-up over all-slow,
    higher is better; what is undecided counts as slow), beside `info["feasible"]` (True once the
    program is decided to its end), `info["decisions"]`, `info["rewinds"]`, `info["time_us"]` and
    `info["stall_us"]`.

    ## Starting state
    The program in `reset(options={"instance": program})`, else one of the set, drawn by the
    environment's generator.

    ## Episode end
    Terminated after the last decision. Where no action is legal, the instance's `dead_end` says
    what happens: backup (default) rewinds to the write that led there, forces Drop, and redoes the
    decisions since (as they were where legal, else as Drop); terminate ends the episode with a
    reward that makes its sum -1; reserve makes every fast write go to slow memory too, so that
    there are no dead ends. Never truncated.

    ## Arguments
    instances: a set's name, a file's path, or programs. window: W, the decisions ahead.
        settings: as `--set`, by name, e.g. {"capacity": "1/4"}. render_mode: "rgb_array" or
        "human" (needs matplotlib).

    ## Version history
    v0, version 4: Drop is masked in at the end, where the mask was all zeros.
    v0, version 3: loops; a plan can be executed in the unrolled program.
    v0, version 2: six more features of a decision (density to left_fits).
    v0, version 1: first version.
    """

    family = "memory_mapping"

    def __init__(
        self,
        instances: str | Path | Program | Sequence[Program] = "synthetic:train",
        window: int = WINDOW,
        settings: Mapping[str, str] | None = None,
        render_mode: str | None = None,
    ) -> None:
        if window < 1:
            raise SettingError(f"window is {window}; an agent needs at least 1 decision to see")
        super().__init__(instances, settings, render_mode)
        self.window = window
        self.action_space: LegalDiscrete = LegalDiscrete(3)
        self.action_space.belong_to(self._draw_legal)
        self.observation_space = observation_space(window)

    def _begin(self, instance: Program, seed: int | None, options: Mapping[str, Any]) -> None:
        self.program = instance
        self._episode: _Episode = self.start_of(instance)
        self._return = 0.0
        self._seen = self._arrays()
        restart(self._episode.ints, self._episode.fixed, *self._seen)

    def _play(self, action: Any) -> tuple[float, bool]:
        chosen, e = int(action), self._episode
        state = e.state
        if not (0 <= chosen < 3 and state.mask[chosen] and state.scalars[OUTCOME] == GOES_ON):
            raise self._illegal(action)
        self._seen = self._arrays()
        reward = saving(e.static, advance(e.ints, e.fixed, chosen, *self._seen))
        outcome = state.scalars[OUTCOME]
        if outcome == DEAD:
            reward = -1.0 - self._return
        self._return += reward
        return reward, bool(outcome != GOES_ON)

    @property
    def static(self) -> Static:
        """The program's arrays, which no decision changes."""
        return self._episode.static

    @property
    def state(self) -> State:
        """A copy of the current state."""
        return copy_state(self._episode.state)

    def _frame(self) -> np.ndarray:
        return frame(self._episode.static, self._episode.state)

    def _own_episode(self) -> None:
        ints = self._episode.ints.copy()
        self._episode = self._episode._replace(ints=ints, state=state_in(ints))

    def _make_start(self, instance: Program) -> _Episode:
        static = make_static(instance)
        ints = pack(static)
        state = state_in(ints)
        return _Episode(ints, static, state, fixed_features(static), state.mask.copy())

    def _draw_legal(self, rng: np.random.Generator, seed: int | None) -> Any:
        if seed is not None:
            return rng.choice(np.flatnonzero(self.start_of(self._drawn_after(seed)[0]).first_mask))
        return rng.choice(np.flatnonzero(self._mask())) if self._begun else np.int64(DROP)

    def _mask(self) -> np.ndarray:
        """Return the legal actions now, int8 [3]; Drop after the end."""
        mask = self._episode.state.mask.astype(np.int8)
        if self._episode.state.scalars[OUTCOME] != GOES_ON:
            mask[DROP] = 1
        return mask

    def _arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Make room for an observation."""
        return (
            np.empty((self.window, len(DECISION_FEATURES)), np.float32),
            np.empty((PAST + AHEAD, BINS), np.float32),
            np.empty(SUPPLY, np.float32),
            np.empty(len(GLOBAL_FEATURES), np.float32),
        )

    def _observation(self) -> Observation:
        decisions, occupancy, supply, globals_ = self._seen
        return {
            "decisions": decisions,
            "occupancy": occupancy,
            "supply": supply,
            "globals": globals_,
            "action_mask": self._mask(),
        }

    def _info(self) -> dict[str, Any]:
        e = self._episode
        scalars = e.state.scalars.tolist()
        return {
            "objective": speedup(e.static, e.state),
            "feasible": scalars[OUTCOME] == FINISHED,
            "decisions": scalars[POSITION],
            "rewinds": scalars[REWINDS],
            "time_us": scalars[TIME] / 1e6,
            "stall_us": scalars[STALL] / 1e6,
        }

    def _illegal(self, action: Any) -> IllegalActionError:
        state, name = self._episode.state, self.program.name
        if state.scalars[OUTCOME] != GOES_ON:
            return IllegalActionError(f"{name}: the episode is over; call reset")
        legal = np.flatnonzero(state.mask).tolist()
        return IllegalActionError(
            f"{name}: action {action} is not legal for decision {state.scalars[POSITION]}; choose "
            f'among observation["action_mask"], {legal}'
        )
