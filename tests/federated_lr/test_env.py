"""The environment: forms, rewards, ends, and that test rows cannot be reached from it."""

from __future__ import annotations

import copy
import dataclasses
import math
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st
from sysopt_gym.core.errors import IllegalActionError, SettingError, UnknownNameError
from sysopt_gym.datasets.federated_lr.instance import OBJECTIVES, Federation, terms_of
from sysopt_gym.envs.federated_lr.env import LEAST_LOSS, FederatedLREnv
from sysopt_gym.envs.federated_lr.grid import STAY
from sysopt_gym.envs.federated_lr.observation import FEATURES, LIMIT
from sysopt_gym.envs.federated_lr.orders import SERVER, SERVER_RULES, SIZES, constant, order

World = Callable[..., Federation]
ENV_ID = "sysopt/FederatedLR-v0"
SEEDS = st.integers(0, 10**6)
every_form = pytest.mark.parametrize("form", FederatedLREnv.forms)
FIRST = FEATURES.index  # of a feature's column


def play(env: FederatedLREnv, seed: int) -> tuple[list[float], list[dict[str, Any]]]:
    """A random legal episode: rewards and infos; checks what every step must keep to."""
    env.action_space.seed(seed)
    observation, info = env.reset(seed=seed)
    rewards, infos, ended = [], [info], False
    while not ended:
        assert env.observation_space.contains(observation)
        assert all(np.isfinite(value) for value in info.values())
        observation, reward, ended, truncated, info = env.step(env.action_space.sample())
        rewards.append(reward)
        infos.append(info)
        assert math.isfinite(reward) and not truncated
    assert env.observation_space.contains(observation)
    return rewards, infos


@every_form
def test_gymnasiums_checker_finds_nothing_to_warn_of_in_any_form(world: World, form: str) -> None:
    env = gymnasium.make(ENV_ID, instances=(world(),), form=form, disable_env_checker=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)


@every_form
@given(seed=SEEDS)
@settings(max_examples=6, deadline=None)
def test_rewards_add_up_to_the_fall_of_the_log_loss_and_numbers_stay_finite(
    world: World, form: str, seed: int
) -> None:
    rewards, infos = play(FederatedLREnv(world("mlp"), form=form), seed)
    first, last = infos[0]["initial_loss"], infos[-1]["validation_loss"]
    if infos[-1]["diverged"]:
        last = 20 * first
    expected = math.log((1 + LEAST_LOSS) / (last / first + LEAST_LOSS))
    assert sum(rewards) == pytest.approx(expected)


def test_divergence_ends_the_episode_at_the_worst_there_is(world: World) -> None:
    env = FederatedLREnv(world(rounds=30), form="orders")
    env.reset(seed=0)
    rewards, ended, info = [], False, {}
    while not ended:
        _, reward, ended, _, info = env.step(order(1e2, 1e1))
        rewards.append(reward)
    assert info["diverged"] and len(rewards) < 31
    assert sum(rewards) == pytest.approx(-math.log(20), abs=0.01)
    assert info["feasible"] and info["objective"] == 0.0
    with pytest.raises(IllegalActionError, match="the episode is over"):
        env.step(order(1.0, 0.1))


@every_form
def test_an_episode_has_a_step_more_than_rounds(world: World, form: str) -> None:
    env = FederatedLREnv(world(rounds=7), form=form)
    f = world(rounds=7)
    _, info = env.reset(seed=0)
    stay = {"grid": STAY, "continuous": np.zeros(2), "orders": constant(terms_of(f))[0]}[form]
    for step in range(8):
        assert info["step"] == step and info["rounds"] == 7 and not info["feasible"]
        _, _, ended, _, info = env.step(stay)
        assert ended == (step == 7)
    assert info["feasible"] and info["alpha"] == pytest.approx(f.alpha, rel=1e-5)


def test_doing_nothing_in_any_form_is_fedavg(world: World) -> None:
    f = world()
    actions = {"grid": STAY, "continuous": np.zeros(2), "orders": order(f.alpha, f.beta)}
    ends = {}
    for form, action in actions.items():
        env = FederatedLREnv(f, form=form)
        env.reset(seed=5)
        ends[form] = [env.step(action)[4] for _ in range(f.rounds + 1)][-1]
    for form in ("grid", "continuous"):
        assert ends[form] == pytest.approx(ends["orders"], rel=1e-4)


@pytest.mark.parametrize(
    ("form", "action"),
    [
        ("grid", 25),
        ("grid", -1),
        ("continuous", np.array([0.0, 1.01])),
        ("continuous", np.array([np.nan, 0.0])),
        ("continuous", np.zeros(3)),
        ("continuous", 0.5),
        ("orders", np.array([SIZES[0], 0, 0, 0, 0])),
        ("orders", np.array([0, 0, SIZES[2], 0, 0])),
        ("orders", np.array([0, 0, 0, -1, 0])),
        ("orders", np.zeros(4, np.int64)),
        ("orders", 3),
    ],
)
def test_an_illegal_action_is_named_and_changes_nothing(
    world: World, form: str, action: Any
) -> None:
    env = FederatedLREnv(world(), form=form)
    env.reset(seed=1)
    before = copy.copy(env)
    with pytest.raises(IllegalActionError, match=r"world-logistic-0: .*(action|order)"):
        env.step(action)
    legal = {"grid": STAY, "continuous": np.zeros(2), "orders": order(1.0, 0.1)}[form]
    assert env.step(legal)[4] == before.step(legal)[4]


def test_what_would_leave_the_rates_ranges_is_masked_out_and_refused(world: World) -> None:
    env = FederatedLREnv(world(alpha=100.0, beta=1e-6))
    observation, _ = env.reset(seed=0)
    mask = observation["action_mask"].reshape(5, 5)
    assert mask.tolist() == [[0, 0, 1, 1, 1]] * 3 + [[0] * 5] * 2
    with pytest.raises(IllegalActionError, match="alpha 100, beta 1e-06"):
        env.step(24)


def test_no_step_is_taken_before_the_first_reset(world: World) -> None:
    with pytest.raises(IllegalActionError, match="call reset"):
        FederatedLREnv(world()).step(STAY)


@every_form
@given(seed=SEEDS)
@settings(max_examples=5, deadline=None)
def test_a_copy_goes_its_own_way_from_the_same_state(world: World, form: str, seed: int) -> None:
    env = FederatedLREnv(world("mlp"), form=form)
    env.reset(seed=seed)
    actions = {"grid": [STAY, 6, 7], "continuous": [np.zeros(2), np.full(2, -0.3)],
               "orders": [order(0.5, 0.02), order(0.7, 0.03)]}[form]  # fmt: skip
    env.step(actions[0])
    twin = copy.copy(env)
    after = [twin.step(action) for action in actions]
    again = [env.step(action) for action in actions]
    for one, other in zip(after, again, strict=True):
        assert one[1] == other[1] and one[4] == other[4]
        assert np.array_equal(one[0]["rounds"], other[0]["rounds"])


def test_what_was_returned_stays_as_it_was_and_the_last_steps_move_down(world: World) -> None:
    env = FederatedLREnv(world())
    seen = [env.reset(seed=0)[0], *(env.step(STAY)[0] for _ in range(3))]
    copies = pickle.loads(pickle.dumps(seen))
    env.step(STAY)
    for before, now in zip(copies, seen, strict=True):
        assert np.array_equal(before["rounds"], now["rounds"])
    for earlier, later in pairwise(seen):
        assert np.array_equal(earlier["rounds"][:-1], later["rounds"][1:])
    assert (seen[0]["rounds"][1:] == 0).all() and seen[0]["rounds"][0, FIRST("known")] == 1


def test_features_say_what_they_are_named_for(world: World) -> None:
    f = world(alpha=0.5, beta=0.01)
    env = FederatedLREnv(f, form="orders")
    env.reset(seed=2)
    env.step(order(0.5, 0.01))
    _, info = env.reset(seed=2), env.step(order(0.5, 0.01))[4]
    observation, _, _, _, after = env.step(order(0.2, 0.02))
    row = dict(zip(FEATURES, observation["rounds"][0], strict=True))
    first, loss = after["initial_loss"], after["validation_loss"]
    promise = info["alpha"] * info["gradient_norm"] * info["update_norm"]
    assert row == pytest.approx(
        {
            "known": 1.0,
            "has_update": 1.0,
            "progress": 1 / f.rounds,
            "left": math.log10(f.rounds - 1),
            "loss": math.log10(loss / first),
            "loss_change": 5 * math.log(info["validation_loss"] / loss),
            "over_best": math.log10(loss / min(first, info["validation_loss"])),
            "accuracy": after["validation_accuracy"],
            "train_loss": math.log10(after["train_loss"] / first),
            "alpha": math.log10(0.2),
            "beta": math.log10(0.02) / 2,
            "promise": math.log10(0.2 * after["gradient_norm"] * after["update_norm"] / loss),
            "gain": (info["validation_loss"] - loss) / promise,
            "straightness": math.log10(after["update_norm"] / (0.02 * after["gradient_norm"])),
            "dispersion": math.log10(after["mean_square_norm"] / after["update_norm"] ** 2),
            "cosine": after["cosine"],
        },
        rel=1e-4, abs=1e-5,
    )  # fmt: skip
    assert np.abs(observation["rounds"]).max() <= LIMIT


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_info_says_the_objective_of_the_validation_rows(world: World, objective: str) -> None:
    env = FederatedLREnv(world(objective=objective, target=0.4), form="orders")
    env.reset(seed=4)
    infos = [env.step(order(1.0, 0.1))[4] for _ in range(6)]
    seen = [info["validation_accuracy"] for info in infos[1:]]
    reached = [t for t, accuracy in enumerate(seen, start=1) if accuracy >= 0.4]
    expected = {
        "final_accuracy": seen[-1],
        "area_under_curve": sum(seen) / 5,
        "rounds_to_target": min(reached, default=6),
    }[objective]
    assert infos[-1]["objective"] == pytest.approx(expected)


def test_alpha_is_of_the_server_rule_that_the_environment_is_made_with(world: World) -> None:
    f, losses = world(), {}
    for rule in SERVER_RULES:
        env, plain = FederatedLREnv(f, server=rule), FederatedLREnv(f, form="orders")
        env.reset(seed=0)
        plain.reset(seed=0)
        row = order(f.alpha, f.beta, rule)
        assert row[SERVER] == SERVER_RULES.index(rule)
        for _ in range(3):
            ours, theirs = env.step(STAY)[4], plain.step(row)[4]
        assert ours == pytest.approx(theirs, rel=1e-4)
        losses[rule] = ours["validation_loss"]
    assert len(set(losses.values())) == len(SERVER_RULES)


def test_the_environment_keeps_no_test_rows_anywhere(world: World) -> None:
    f = world()
    mark = np.full(len(f.test_labels), 3)
    f = dataclasses.replace(f, test_inputs=f.test_inputs * 0 + np.float32(77.25), test_labels=mark)
    needle = f.test_inputs[:2].tobytes()
    assert needle in pickle.dumps(f), "else this test could not fail"
    env = gymnasium.make(ENV_ID, instances=(f,), disable_env_checker=True)
    for options in (None, {"instance": f}):
        env.reset(seed=0, options=options)
        env.step(STAY)
        assert env.unwrapped.federation.sealed
        assert env.spec is not None and needle not in pickle.dumps(env.spec.kwargs)
        assert needle not in pickle.dumps(env.unwrapped.spec.kwargs)
        shown = {k: v for k, v in vars(env.unwrapped).items() if "_space" not in k}
        assert needle not in pickle.dumps({k: v for k, v in shown.items() if k != "lanes"})
        assert all(one.sealed for one in env.unwrapped.dynamics.federations)


def test_without_a_seed_each_episode_is_another_world_and_with_one_the_same(world: World) -> None:
    env = FederatedLREnv(world(), form="orders")
    env.reset(seed=0)
    losses = [env.reset()[1]["initial_loss"] for _ in range(3)]
    assert len(set(losses)) == 3
    env.reset(seed=0)
    assert [env.reset()[1]["initial_loss"] for _ in range(3)] == losses


def test_arguments_that_cannot_be_used_are_refused(world: World) -> None:
    for arguments, error, told in (
        ({"form": "plies"}, UnknownNameError, "form of federated_lr"),
        ({"server": "sgd"}, UnknownNameError, "server rule"),
        ({"render_mode": "ansi"}, SettingError, "render_mode"),
        ({"settings": {"betas": "1"}}, UnknownNameError, "did you mean 'beta'"),
    ):
        with pytest.raises(error, match=told):
            FederatedLREnv(world(), **arguments)
    with pytest.raises(UnknownNameError, match="reset option"):
        FederatedLREnv(world()).reset(options={"task": 1})


def test_torch_comes_in_only_when_a_model_is_trained() -> None:
    code = (
        "import sys; from sysopt_gym import load_problem; import gymnasium;"
        "load_problem('federated_lr');"
        f"env = gymnasium.make({ENV_ID!r}, instances='curves:val');"
        "env.reset(seed=0); env.step(12); assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
