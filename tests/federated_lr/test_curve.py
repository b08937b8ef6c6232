"""Closed-form dynamics: the annealing scaling law, and what plans it calls for."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sysopt_gym.core.contracts import World
from sysopt_gym.datasets.federated_lr.instance import CURVE, Federation, make_federation, terms_of
from sysopt_gym.envs.federated_lr.curve import Curves
from sysopt_gym.envs.federated_lr.env import FederatedLREnv
from sysopt_gym.envs.federated_lr.orders import BETA, BETA_RANGE, constant, order, rate_of
from sysopt_gym.envs.federated_lr.problem import PROBLEM
from sysopt_gym.evaluation.judge import judge

FLOOR, SCALE, EXPONENT, ANNEALING, MEMORY, MOST = LAW = (0.3, 0.6, 0.5, 0.2, 0.8, 0.5)
RATES = st.lists(st.floats(1e-4, MOST * 0.999), min_size=1, max_size=8)


def curve(rounds: int, law: tuple[float, ...] = LAW, **fields: Any) -> Federation:
    return make_federation("curve", model=CURVE, rounds=rounds, law=np.array(law), **fields)


def plan_of(rates: list[float]) -> np.ndarray:
    """Orders whose products of alpha and beta are the rates."""
    return np.array([order(1.0, rate) for rate in [*rates, rates[-1]]])


def play(f: Federation, plan: np.ndarray) -> Curves:
    curves = Curves([f])
    curves.begin(0, f, seed=0)
    for row in plan:
        curves.step(row[None])
    return curves


def law_written_out(rates: list[float], law: tuple[float, ...]) -> float:
    """floor + scale S1^-exponent - annealing S2, both sums term by term."""
    floor, scale, exponent, annealing, memory, most = law
    s1 = most + sum(rates)
    s2 = sum(
        (rates[k - 1] - rates[k]) * memory ** (i - k)
        for i in range(1, len(rates)) for k in range(1, i + 1)
    )  # fmt: skip
    return max(floor + scale * s1**-exponent - annealing * s2, 0.0)


@given(rates=RATES)
@settings(max_examples=40, deadline=None)
def test_the_loss_is_the_laws_with_its_sums_written_out(rates: list[float]) -> None:
    plan = plan_of(rates)
    coded = [rate_of(int(row[BETA]), BETA_RANGE) for row in plan[:-1]]
    s = play(curve(len(rates)), plan).statistics
    assert s.validation_loss[0] == pytest.approx(law_written_out(coded, LAW), rel=1e-12)
    assert s.validation_accuracy[0] == pytest.approx(np.exp(-s.validation_loss[0]))
    assert not s.diverged[0]


@given(rates=RATES, keep=st.integers(0, 7), back=st.integers(0, 7))
@settings(max_examples=40, deadline=None)
def test_the_judge_agrees_also_where_a_plan_returns_to_a_checkpoint(
    rates: list[float], keep: int, back: int
) -> None:
    f, plan = curve(len(rates)), plan_of(rates)
    plan[min(back, len(rates)), -1], plan[min(keep, len(rates)), -1] = 2, 1
    assert judge(PROBLEM, f, plan, World(3)).feasible


def test_a_rate_above_the_most_diverges_and_the_judge_says_so_too() -> None:
    f = curve(4)
    plan = plan_of([0.4, MOST * 1.01, 0.4, 0.4])
    s = play(f, plan[:3]).statistics
    assert s.diverged[0] and s.validation_accuracy[0] == 0
    found = judge(PROBLEM, f, plan[:3], World())
    assert found.feasible and found.objective == 0 and found.detail["diverged"] == 1
    assert not judge(PROBLEM, f, plan, World()).feasible


@given(
    exponent=st.floats(0.1, 2.0), annealing=st.floats(0.0, 0.5), memory=st.floats(0.05, 0.95),
    scale=st.floats(0.05, 2.0),
)  # fmt: skip
@settings(max_examples=25, deadline=None)
def test_the_best_plan_holds_the_most_and_then_drops(
    exponent: float, annealing: float, memory: float, scale: float
) -> None:
    law = (5.0, scale, exponent, annealing, memory, MOST)  # a floor that no loss falls below
    levels = [1e-6, MOST * 0.5, MOST]
    best = min(itertools.product(levels, repeat=5), key=lambda r: law_written_out(list(r), law))
    assert list(best) == sorted(best, reverse=True), "once it falls it never rises"
    assert best[0] == MOST
    assert sum(rate == levels[1] for rate in best) <= 1, "at most one step between most and least"


def test_annealing_late_beats_both_holding_and_annealing_early() -> None:
    held, law = [0.49] * 12, (0.3, 0.6, 0.5, 0.05, 0.8, MOST)
    plans = (held[:9] + [1e-4] * 3, held, held[:3] + [1e-4] * 9)
    losses = [law_written_out(rates, law) for rates in plans]
    assert losses[0] < min(losses[1:])
    f = curve(12, law)
    played = [play(f, plan_of(rates)).statistics.validation_loss[0] for rates in plans]
    assert played == pytest.approx(losses, rel=1e-5)


def test_successive_updates_agree_below_half_of_the_most_and_disagree_above_it() -> None:
    below, above = (
        play(curve(4), plan_of([share * MOST] * 4)[:3]).statistics for share in (0.3, 0.8)
    )
    assert below.cosine[0] > 0 > above.cosine[0]
    assert below.inner_product[0] > 0 > above.inner_product[0]


def test_no_seed_makes_a_difference_to_a_curve() -> None:
    env = FederatedLREnv(curve(4), form="orders")
    plan = constant(terms_of(curve(4, beta=0.2)))
    ends = []
    for seed in (0, 1):
        env.reset(seed=seed)
        ends.append([env.step(row)[4] for row in plan][-1])
    assert ends[0] == ends[1] and ends[0]["objective"] > 0


def test_a_curves_fork_goes_its_own_way() -> None:
    f = curve(6)
    curves = Curves([f])
    curves.begin(0, f, 0)
    for _ in range(3):
        curves.step(order(1.0, 0.3)[None])
    twin = curves.fork()
    twin.step(order(1.0, 0.01)[None])
    curves.step(order(1.0, 0.4)[None])
    for lane in (twin, curves):
        lane.step(order(1.0, 0.3)[None])
    betas = [0.3, 0.3, 0.3]
    for lane, beta in ((twin, 0.01), (curves, 0.4)):
        expected = law_written_out([*betas, beta], LAW)
        assert lane.statistics.validation_loss[0] == pytest.approx(expected, rel=1e-5)
