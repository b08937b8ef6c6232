"""MuZero's categorical values, its default network, and searches with it."""

from __future__ import annotations

import copy
from typing import ClassVar

import gymnasium as gym
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sysopt_gym.agents.muzero.forest import SearchSettings
from sysopt_gym.agents.muzero.networks import MLP, Scalars, Support
from sysopt_gym.agents.muzero.planning import Planner
from sysopt_gym.core.errors import SettingError


@given(st.floats(-200, 200))
def test_a_number_comes_back_from_its_target(number: float) -> None:
    support = Support(-200, 200, 41)
    target = support.target(torch.tensor([number]))
    assert float(target.sum()) == pytest.approx(1.0, abs=1e-5)
    assert int((target > 0).sum()) <= 2
    logits = (target + 1e-12).log()
    assert float(support.expected(logits)) == pytest.approx(number, rel=1e-2, abs=0.02)


def test_numbers_beyond_the_support_count_as_its_ends() -> None:
    support = Support(0, 1, 11)
    target = support.target(torch.tensor([-3.0, 5.0]))
    assert target.argmax(dim=1).tolist() == [0, 10]
    assert np.allclose(target.sum(dim=1), 1.0)


def test_the_loss_is_least_at_the_target() -> None:
    support = Support(-1, 1, 21)
    numbers = torch.tensor([0.37])
    at = (support.target(numbers) + 1e-12).log()
    beside = (support.target(numbers + 0.2) + 1e-12).log()
    assert support.loss(at, numbers) < support.loss(beside, numbers)


def test_a_support_of_nothing_is_refused() -> None:
    for wrong in ((1, 1, 5), (2, 1, 5), (0, 1, 1)):
        with pytest.raises(SettingError, match="support"):
            Support(*wrong)


class Walk(gym.Env[dict[str, np.ndarray], int]):
    """Five steps along a line; only steps to the right are paid. `fork` is not there: copies."""

    observation_space = gym.spaces.Dict(
        {
            "place": gym.spaces.Box(-5, 5, (1,), np.float32),
            "action_mask": gym.spaces.Box(0, 1, (3,), np.int8),
        }
    )
    action_space = gym.spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: object = None) -> tuple:
        super().reset(seed=seed)
        self.place, self.left = 0, 5
        return self.seen(), {}

    def seen(self) -> dict[str, np.ndarray]:
        mask = np.array([1, 1, self.place < 2], np.int8)
        return {"place": np.array([self.place], np.float32), "action_mask": mask}

    def step(self, action: int) -> tuple:
        assert self.left > 0 and self.seen()["action_mask"][action]
        self.place += int(action) - 1
        self.left -= 1
        return self.seen(), float(action == 2), self.left == 0, False, {}


def small_model() -> tuple[Scalars, gym.Env]:
    torch.manual_seed(0)
    env = Walk()
    values, rewards = Support(-5, 5, 11), Support(-1, 1, 11)
    return Scalars(MLP(env.observation_space, 3, values, rewards, width=16), values, rewards), env


def observed(env: gym.Env, seeds: int) -> dict[str, torch.Tensor]:
    seen, _ = env.reset(seed=0)
    return {key: torch.from_numpy(np.stack([part] * seeds)) for key, part in seen.items()}


def test_plans_are_the_same_for_the_same_noise() -> None:
    model, env = small_model()
    planner = Planner(SearchSettings(12, 3))
    plans = [planner.plan(model, observed(env, 4), np.random.default_rng(1)) for _ in range(2)]
    for first, second in zip(*plans, strict=True):
        assert np.array_equal(first, second)
    assert plans[0].policy.shape == (4, 3)


def test_a_known_model_is_searched_by_its_own_rules_and_left_as_it_was() -> None:
    model, env = small_model()
    seen = observed(env, 2)
    planner = Planner(SearchSettings(60, 3, 1.0))
    found = planner.plan(model, seen, None, [env, None])
    assert found.action[0] == 2
    assert (env.place, env.left) == (0, 5)


class Lottery(Walk):
    """Every step pays what a fork of the world drew for its future."""

    paid: ClassVar[list[float]] = []
    prize: float | None = None

    def fork(self) -> Lottery:
        twin = copy.copy(self)
        twin.prize = self.np_random.random() if self.prize is None else self.prize
        return twin

    def step(self, action: int) -> tuple:
        assert self.prize is not None, "a search plays in the world itself"
        self.paid.append(self.prize)
        seen, _, *rest = super().step(action)
        return seen, self.prize, *rest


def test_a_search_compares_actions_in_one_future_and_the_next_search_in_another() -> None:
    model, env = small_model()[0], Lottery()
    seen = observed(env, 1)
    for _ in range(2):
        Planner(SearchSettings(12, 3)).plan(model, seen, None, [env])
    assert len(Lottery.paid) == 24 and len(set(Lottery.paid)) == 2


def test_an_observation_that_allows_nothing_still_gives_a_plan() -> None:
    model, env = small_model()
    seen = observed(env, 1)
    seen["action_mask"][:] = 0
    assert 0 <= Planner(SearchSettings(4)).plan(model, seen, None).action[0] < 3
