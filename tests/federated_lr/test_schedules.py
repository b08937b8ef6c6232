"""Schedules: hand-computed factors, other libraries, and how a controller plays them."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sysopt_gym.core.budget import Budget
from sysopt_gym.datasets.federated_lr.instance import BETA_RANGE
from sysopt_gym.envs.federated_lr.orders import rate_of
from sysopt_gym.methods.federated_lr import schedules
from sysopt_gym.solvers.federated_lr.refinement import Refinement, forecast, refine
from sysopt_gym.solvers.federated_lr.timed import Scheduled
from toy_quadratic import info, play, terms
from transformers.optimization import get_wsd_schedule

ALL = list(schedules.SCHEDULES.values())


@pytest.mark.parametrize("schedule", ALL)
def test_a_schedule_has_a_factor_from_0_to_1_for_each_round(schedule: schedules.Schedule) -> None:
    for rounds in (*range(1, 31), 50, 99, 100):
        factors = schedule(rounds)
        assert factors.shape == (rounds,), rounds
        assert (factors >= 0).all() and (factors <= 1 + 1e-12).all(), rounds


@pytest.mark.parametrize("schedule", ALL)
def test_no_round_is_wasted_on_a_rate_of_nothing(schedule: schedules.Schedule) -> None:
    assert schedule(50).min() > 1e-6


def test_no_two_schedules_are_the_same() -> None:
    for one, other in combinations(ALL, 2):
        assert abs(one(50) - other(50)).max() > 0.01, (one.__name__, other.__name__)


def test_linear_by_hand() -> None:
    assert schedules.linear(4) == pytest.approx([1.0, 0.75, 0.5, 0.25])


def test_cosine_by_hand() -> None:
    half = math.sqrt(0.5)
    assert schedules.cosine(4) == pytest.approx([1.0, (1 + half) / 2, 0.5, (1 - half) / 2])


def test_cyclic_cosine_restarts_in_cycles_that_double() -> None:
    factors = schedules.cyclic_cosine(70)
    for start, length in ((0, 10), (10, 20), (30, 40)):
        assert factors[start : start + length] == pytest.approx(schedules.cosine(length))


def test_step_falls_to_a_tenth_at_half_and_three_quarters() -> None:
    assert schedules.step(8) == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01])


def test_exponential_by_hand() -> None:
    assert schedules.exponential(3) == pytest.approx([1.0, 0.995, 0.990025])


def test_one_cycle_rises_from_a_25th_and_ends_far_below() -> None:
    factors = schedules.one_cycle(50)
    peak = int(factors.argmax())
    assert factors[0] == pytest.approx(1 / 25) and factors[peak] == pytest.approx(1.0)
    assert peak == 14 and (np.diff(factors[:15]) > 0).all() and (np.diff(factors[14:]) < 0).all()
    assert factors[-1] == pytest.approx(1 / 250_000)


def test_rex_by_hand() -> None:
    assert schedules.rex(4) == pytest.approx([1.0, 0.75 / 0.875, 0.5 / 0.75, 0.25 / 0.625])


@pytest.mark.parametrize(("rounds", "decay"), [(50, 5), (100, 10), (20, 2), (7, 1)])
def test_wsd_is_that_of_transformers(rounds: int, decay: int) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = get_wsd_schedule(optimizer, 0, decay, num_training_steps=rounds)
    factors = []
    for _ in range(rounds):
        factors.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    assert schedules.wsd(rounds) == pytest.approx(factors)


def test_wsd_s_goes_on_at_the_full_rate_after_each_decay() -> None:
    factors = schedules.wsd_s(40)
    low = np.flatnonzero(factors < 1.0)
    assert low.tolist() == [9, 18, 19, 36, 37, 38, 39]
    assert 1.0 / factors[36:] == pytest.approx([3.25, 5.5, 7.75, 10.0])
    assert factors[[9, 19]] == pytest.approx([0.1, 0.1])


def test_wsd_s_of_levanter_decays_for_a_tenth_of_each_cycle() -> None:
    """By its own formula: the rate over (1 / lowest - 1) count / decay + 1."""
    factors = np.ones(80)
    for end, decay in ((20, 2), (40, 2), (80, 4)):
        count = np.arange(1, decay + 1)
        factors[end - decay : end] = 1 / ((1 / 0.1 - 1) * count / decay + 1)
    assert schedules.wsd_s_levanter(80) == pytest.approx(factors)


def test_wsdc_stays_at_the_low_rate() -> None:
    factors = schedules.wsdc(50)
    assert (factors[:40] == 1.0).all() and factors[45:] == pytest.approx(np.full(5, 0.1))
    assert (np.diff(factors[40:46]) < 0).all()


def test_infinite_cools_to_a_constant_and_anneals_evenly_in_the_logarithm() -> None:
    factors = schedules.infinite(100)
    assert (np.diff(factors[:6]) > 0).all() and factors[5] == 1.0
    assert (np.diff(factors[5:61]) < 0).all()
    assert factors[60:85] == pytest.approx(np.full(25, 0.55))
    assert np.ptp(np.diff(np.log(factors[84:]))) < 1e-12
    assert factors[-1] == pytest.approx(0.1)


def test_rewarm_redecay_warms_up_again_at_half() -> None:
    factors = schedules.rewarm_redecay(40)
    assert (np.diff(factors[:20]) < 0).all()
    assert factors[20:23] == pytest.approx([0.4, 0.7, 1.0])
    assert (np.diff(factors[22:]) < 0).all()


def test_slow_start_fast_decay_peaks_at_half() -> None:
    factors = schedules.slow_start_fast_decay(20)
    assert factors[0] == pytest.approx(0.1) and factors[10] == 1.0
    assert np.diff(factors[:11]) == pytest.approx(np.full(10, 0.09))
    assert factors[11:] / factors[10:-1] == pytest.approx(np.full(9, 0.01**0.1))


def test_power_is_capped_then_falls_with_its_exponent_then_exponentially() -> None:
    factors = schedules.power(100)
    assert (factors[:10] == 1.0).all()
    assert factors[[19, 39, 79]] == pytest.approx([2**-0.51, 4**-0.51, 8**-0.51])
    assert factors[-1] == pytest.approx(0.1 * 10**-0.51)


def test_power_law_is_the_power_without_its_last_decay() -> None:
    for rounds in (1, 7, 50, 100):
        law, power = schedules.power_law(rounds), schedules.power(rounds)
        tail = max(1, round(0.1 * rounds))
        assert law[:-tail] == pytest.approx(power[:-tail])
        assert law[-1] == pytest.approx(10 * power[-1])
    assert schedules.power_law(100)[[9, 19, 99]] == pytest.approx([1.0, 2**-0.51, 10**-0.51])


def test_uba_is_the_cosine_at_two_and_drops_late_below_and_early_above(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cosine = schedules.cosine(50)
    assert (schedules.uba(50)[1:] < cosine[1:]).all()
    monkeypatch.setattr(schedules, "PHI", 2.0)
    assert schedules.uba(50) == pytest.approx(cosine)
    monkeypatch.setattr(schedules, "PHI", 0.5)
    assert (schedules.uba(50)[1:] > cosine[1:]).all()


@given(st.floats(1e-30, 1e30), st.integers(1, 100))
def test_constant_norms_refine_to_the_linear_schedule(norm: float, rounds: int) -> None:
    assert refine(np.full(rounds + 1, norm)) == pytest.approx(1.0 - np.arange(rounds) / rounds)


def test_refinement_by_hand() -> None:
    # Weights 1, 1/4, 1: the first is followed by 5/4, the second by 1.
    assert refine(np.array([1.0, 2.0, 1.0])) == pytest.approx([1.0, 0.2])


def test_falling_norms_refine_to_a_warm_up() -> None:
    factors = refine(1.0 / np.sqrt(np.arange(1, 52)))
    assert 0.4 * 50 < factors.argmax() < 0.7 * 50
    assert factors[0] < 0.1


@given(st.lists(st.floats(0.0, 1e300), min_size=2, max_size=60))
def test_refined_factors_are_never_above_one_whatever_the_norms(norms: list[float]) -> None:
    factors = refine(np.array(norms))
    assert (factors > 0).all() and factors.max() == 1.0


def test_a_single_odd_norm_is_filtered_out_of_the_forecast() -> None:
    assert (forecast([3.0, 3.0, 90.0, 3.0], 10) == 3.0).all()


def test_the_authors_filter_mirrors_the_end_and_repeats_the_start() -> None:
    norms = [9.0, 1.0, 5.0, 2.0, 8.0, 3.0, 7.0, 4.0]
    # Width 3: the first sees 9 twice; the last sees the one before it again, without itself twice.
    padded = [9.0, *norms, 7.0]
    medians = [float(np.median(padded[at : at + 3])) for at in range(8)]
    assert forecast(norms, 20, "authors")[:8].tolist() == medians
    assert forecast([3.0], 20, "authors").tolist() == [3.0] * 21
    assert forecast(norms, 20).tolist() != forecast(norms, 20, "authors").tolist()


def test_the_forecast_holds_the_last_filtered_norm() -> None:
    seen = forecast([9.0, 8.0, 7.0, 6.0, 5.0], 10)
    assert seen.tolist() == [9.0, 8.0, 7.0, 6.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0]


def test_beta_of_a_round_is_set_before_it_and_alpha_after_it() -> None:
    given_terms = terms(4, alpha=2.0, beta=0.1)
    clients = play(Scheduled(schedules.linear), given_terms)
    assert clients.betas[:4] == pytest.approx([0.1, 0.075, 0.05, 0.025], rel=2e-6)
    assert clients.alphas == pytest.approx(np.full(5, 2.0), rel=2e-6)
    server = play(Scheduled(schedules.linear, "alpha"), given_terms)
    assert server.alphas[1:] == pytest.approx([2.0, 1.5, 1.0, 0.5], rel=2e-6)
    assert server.betas == pytest.approx(np.full(5, 0.1), rel=2e-6)


def refined_betas(norms: np.ndarray) -> np.ndarray:
    """What Refinement orders of ten rounds from beta 0.1, whatever their norms [10] are."""
    policy = Refinement()
    policy.reset(terms(10, beta=0.1), Budget(1.0), 0)
    seen = [info(s, gradient_norm=norm) for s, norm in enumerate([0.0, *norms[:-1]])]
    return np.array([rate_of(policy.act(None, one)[1], BETA_RANGE) for one in seen])


def test_refinement_plays_linear_where_norms_stay() -> None:
    betas = refined_betas(np.full(10, 7.0))
    assert betas == pytest.approx(0.1 * schedules.linear(10), rel=2e-6)


def test_refinement_holds_on_where_norms_fall_and_lets_go_where_they_rise() -> None:
    linear = 0.1 * schedules.linear(10)
    assert (refined_betas(0.7 ** np.arange(10))[3:] > 1.2 * linear[3:]).all()
    assert (refined_betas(1.4 ** np.arange(10))[3:] < 0.8 * linear[3:]).all()


def test_refinement_never_looks_ahead() -> None:
    norms = np.random.default_rng(0).uniform(1.0, 2.0, 10)
    other = np.concatenate([norms[:5], norms[5:] * 9.0])
    assert (refined_betas(norms)[:6] == refined_betas(other)[:6]).all()


def test_refinement_of_alpha_looks_at_the_norms_of_the_rounds_it_scales() -> None:
    game = play(Refinement("alpha"), terms(20))
    assert game.alphas[1] == pytest.approx(1.0, rel=2e-6) and game.alphas[-1] < 0.3
    assert game.betas == pytest.approx(np.full(21, 0.05), rel=2e-6)
