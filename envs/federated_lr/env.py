"""The environment sysopt/FederatedLR-v0: a thin shell over the dynamics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from ...core.errors import IllegalActionError, SettingError
from ...core.lookup import check_name
from ...datasets.federated_lr.instance import Federation
from ..actions import LegalDiscrete
from ..base import FamilyEnv, Observation
from .dynamics import make_dynamics
from .forms import order_of
from .grid import ACTIONS, mask_of
from .objective import score
from .observation import Observer, observation_space
from .orders import SERVER_RULES, SIZES
from .render import frame
from .statistics import DIVERGED_ABOVE, TINY, Statistics

LANE = np.array([0])
LEAST_LOSS = 1e-3  # of the first; below it a loss is as good as none


class FederatedLREnv(FamilyEnv[Federation]):
    """Control the learning rates of federated training (after FedHyper, ICLR 2024).

    ## Description
    In each round the server sends its model to some clients, each of them takes a few local steps
    at rate beta, and the server moves its model by alpha times the mean of their updates. The
    controller sets both rates round by round. A step is one round: the update in hand is applied at
    the alpha that the action leads to, which the controller chooses with the update's statistics
    before it, and the next round's clients train at the beta it leads to. The first step finds no
    update in hand: only its beta matters. What chance decides (first weights, participants, rows)
    depends on the seed alone.

    ## Action space
    Form grid (default): `Discrete(25)`, alpha's factor `grid.FACTORS[action // 5]`, beta's
    `grid.FACTORS[action % 5]`, each 1/4, 0.71, 1, 1.41 or 4; 12 changes nothing. `action_mask` is
    exact: masked out is what would leave the rates' ranges (instance.ALPHA_RANGE, BETA_RANGE), and
    raises IllegalActionError. The space's own `sample()` draws a legal action. Form continuous:
    `Box(-1, 1, (2,))`, logarithms of the factors of alpha and beta to base 4; rates are clipped to
    their ranges. Form orders: `MultiDiscrete`, one of orders.py: absolute rates, rules of server
    and clients, checkpoints; plans are made of these.

    ## Observation space
    A flat Dict; what is returned never changes afterwards, and is always finite.

    | key | shape, dtype | meaning |
    |---|---|---|
    | rounds | [4, 16] float32 | the last steps, the present first, `observation.FEATURES` |
    | action_mask | [25] int8 | form grid: 1 for legal actions |

    `info` has the same in plain numbers, with units: `statistics.Statistics`' fields by name.

    ## Rewards
    What the logarithm of the validation loss fell by; over an episode they add up to log(first /
    last), up to a thousandth of the first that is added to every loss. Divergence (what is not
    finite, or a loss of 20 times the first) ends the episode as if with that loss, so that the sum
    is -log(20), -3.0. The score itself is the judge's, of test rows; `info["objective"]` says the
    same of the validation rows, beside `info["feasible"]` (True once the episode is over, also by
    divergence).

    ## Starting state
    The federation in `reset(options={"instance": federation})`, else one of the set, drawn by the
    environment's generator.

    ## Episode end
    Terminated after rounds + 1 steps, or by divergence. Never truncated.

    ## Arguments
    instances: a set's name, a file's path, or federations; their test rows are not kept. form: see
        above. server: the rule that alpha is the rate of, one of orders.SERVER_RULES (orders name
        theirs). settings: as `--set`, by name. device: of torch, e.g. "cuda". render_mode:
        "rgb_array" or "human" (needs matplotlib).

    ## Version history
    v0, version 1: first version.
    """

    metadata: dict[str, Any] = FamilyEnv.metadata | {"render_fps": 10}
    family = "federated_lr"
    forms = ("grid", "continuous", "orders")

    def __init__(
        self,
        instances: str | Path | Federation | Sequence[Federation] = "small:test",
        form: str = "grid",
        server: str = "average",
        settings: Mapping[str, str] | None = None,
        device: str = "cpu",
        render_mode: str | None = None,
    ) -> None:
        check_name(server, SERVER_RULES, "server rule of federated_lr")
        super().__init__(instances, settings, render_mode, form)
        self.server, self.device = server, device
        self.observation_space = observation_space(ACTIONS if form == "grid" else None)
        self.action_space: gym.Space[Any]
        if form == "grid":
            self.action_space = LegalDiscrete(ACTIONS)
            self.action_space.belong_to(self._draw_legal)
        elif form == "continuous":
            self.action_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
        else:
            self.action_space = gym.spaces.MultiDiscrete(np.array(SIZES))
        self._over = True

    def _begin(self, instance: Federation, seed: int | None, options: Mapping[str, Any]) -> None:
        self.federation = instance
        world = int(self.np_random.integers(2**32)) if seed is None else seed
        self.dynamics = make_dynamics([instance], self.device)
        self.dynamics.begin(0, instance, world)
        self._over, self._observer = False, Observer(1)
        self.trace = [self.dynamics.statistics.row(0)]
        self._accuracies: list[float] = []  # of the validation rows, round by round
        self._observer.begin(self.dynamics.statistics, LANE)

    def _play(self, action: Any) -> tuple[float, bool]:
        orders = self._order(action)[None]
        s = self.dynamics.statistics
        before = float(s.validation_loss[0])
        self.dynamics.step(orders)
        self.trace.append(s.row(0))
        if s.step[0] > 1:
            self._accuracies.append(float(s.validation_accuracy[0]))
        self._over = bool(s.diverged[0] or s.step[0] > s.rounds[0])
        self._observer.look(s, LANE)
        return reward_of(s, 0, before), self._over

    def _frame(self) -> np.ndarray:
        return frame(self.trace)

    def _own_episode(self) -> None:
        self.dynamics, self._observer = self.dynamics.fork(), self._observer.fork()
        self.trace, self._accuracies = list(self.trace), list(self._accuracies)

    def _draw_future(self, rng: np.random.Generator) -> None:
        self.dynamics.draw_future(int(rng.spawn(1)[0].integers(2**32)))

    def _order(self, action: Any) -> np.ndarray:
        """Return the action as an order, int64 [5]."""
        if self._over:
            raise IllegalActionError("the episode is over; call reset")
        s = self.dynamics.statistics
        alpha, beta = float(s.alpha[0]), float(s.beta[0])
        return order_of(self.form, action, alpha, beta, self.server, self.federation.name)

    def _action_masks(self) -> np.ndarray:
        if self.form == "orders":
            raise SettingError(
                f"every order is legal, and a mask of them would have {sum(SIZES)} entries; make "
                "the environment with form='grid' for a few actions that have one"
            )
        return super()._action_masks()

    def _draw_legal(self, rng: np.random.Generator, seed: int | None) -> Any:
        if seed is not None or self._over:
            first = self.instances[0] if seed is None else self._drawn_after(seed)[0]
            alpha, beta = first.alpha, first.beta
        else:
            s = self.dynamics.statistics
            alpha, beta = float(s.alpha[0]), float(s.beta[0])
        return rng.choice(np.flatnonzero(mask_of(alpha, beta)))

    def _observation(self) -> Observation:
        seen = {"rounds": self._observer.rounds[0].copy()}
        if self.form == "grid":
            s = self.dynamics.statistics
            seen["action_mask"] = mask_of(float(s.alpha[0]), float(s.beta[0]))
        return seen

    def _info(self) -> dict[str, Any]:
        f = self.federation
        accuracies = np.array(self._accuracies)
        reported = score(f.objective, accuracies, f.rounds, f.target)
        info: dict[str, Any] = self.trace[-1]
        return info | {"objective": reported, "feasible": self._over}


def reward_of(s: Statistics, lane: int, before: float) -> float:
    """Return the reward of a lane's last step.

    Args:
        s: statistics after the step.
        lane: index of the lane.
        before: validation loss before the step.
    """
    first = float(s.initial_loss[lane])
    now = DIVERGED_ABOVE * first if s.diverged[lane] else float(s.validation_loss[lane])
    least = max(LEAST_LOSS * first, TINY)  # a first loss of 0 must not be divided by
    return math.log((before + least) / (now + least))
