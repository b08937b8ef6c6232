"""How clients descend: steps computed by hand, and what each rule promises."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sysopt_gym.envs.federated_lr.local_rules import FIRST_DISTANCE, Round, begin, descend, query
from sysopt_gym.envs.federated_lr.orders import LOCAL_RULES

FREE = (  # of a learning rate
    "dog", "d_adaptation", "d_adaptation_half", "prodigy", "prodigy_dual_averaging",
)  # fmt: skip
SEEDS = st.integers(0, 10**6)
every_rule = pytest.mark.parametrize("rule", LOCAL_RULES)


def tensor(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def one_client(beta: float, trend: list[float], steps: int, at: list[float] | None = None) -> Round:
    return begin(tensor(at or [0.0] * len(trend)), tensor([beta]), tensor(trend), steps)


def step(rule: str, r: Round, slope: list[float]) -> list[float]:
    """The client's weights after a step along the slope."""
    descend(rule, r, tensor(slope), torch.tensor([[True]]))
    return r.w[0].tolist()


def course(rule: str, slopes: np.ndarray, beta: float = 0.1, start: float = 1.0) -> np.ndarray:
    """Weights [K, P] after each step along given slopes [K, P]."""
    r = one_client(beta, [0.3, -0.2], len(slopes), [start, -start])
    return np.array([step(rule, r, slope) for slope in slopes.tolist()])


def slopes_of(seed: int, steps: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(steps, 2))


def test_sgd_goes_by_beta_along_the_slope() -> None:
    r = one_client(0.5, [0.0, 0.0], 2, [1.0, 2.0])
    assert step("sgd", r, [2.0, -4.0]) == [0.0, 4.0]
    assert step("sgd", r, [1.0, 0.0]) == [-0.5, 4.0]


def test_fedhyper_cl_grows_by_agreement_with_the_last_slope_and_the_last_update() -> None:
    r = one_client(0.1, [-0.4, 0.2], 2)
    assert step("fedhyper", r, [1.0, 0.0]) == pytest.approx([-0.1, 0.0])
    # <g1, g0> = 0.5; the update goes downhill, so -<g1, update> / 2 = (0.2 - 0.2) / 2 with (.5, 1).
    # rate = 0.1 + 0.5 + 0 = 0.6.
    assert step("fedhyper", r, [0.5, 1.0]) == pytest.approx([-0.1 - 0.3, -0.6])
    # <g2, g1> = 0.25, -<g2, update> / 2 = 0.5 * 0.4 / 2 = 0.1: rate 0.95.
    assert step("fedhyper", r, [0.5, 0.0]) == pytest.approx([-0.4 - 0.475, -0.6])


def test_fedhyper_cls_rate_stays_within_a_tenth_and_ten_times_of_beta() -> None:
    up, down = one_client(0.1, [0.0, 0.0], 2), one_client(0.1, [0.0, 0.0], 2)
    step("fedhyper", up, [9.0, 0.0])
    assert step("fedhyper", up, [9.0, 0.0]) == pytest.approx([-0.9 - 9.0, 0.0])
    step("fedhyper", down, [9.0, 0.0])
    assert step("fedhyper", down, [-9.0, 0.0]) == pytest.approx([-0.9 + 0.09, 0.0])


def test_fedhyper_by_cosines_grows_by_a_tenth_for_agreement_whatever_the_scale() -> None:
    for scale in (1e-3, 1.0, 1e3):
        r = one_client(0.1, [-scale, 0.0], 4)
        step("fedhyper_cosine", r, [scale, 0.0])
        step("fedhyper_cosine", r, [scale, 0.0])
        # cos(g, g) = 1 and -cos(g, update) / 4 = 1 / 4: a factor of 1 + 0.1 * 1.25.
        assert r.rate.item() == pytest.approx(0.1 * 1.125)


def test_hypergradient_descent_grows_by_the_product_of_slopes_or_their_cosine() -> None:
    plain, times = one_client(0.1, [9.0, 9.0], 2), one_client(0.1, [9.0, 9.0], 2)
    for rule, r in (("hypergradient", plain), ("hypergradient_multiplicative", times)):
        step(rule, r, [0.4, 0.3])
        step(rule, r, [0.3, 0.4])
    assert plain.rate.item() == pytest.approx(0.1 + 0.24)
    assert times.rate.item() == pytest.approx(0.1 * (1 + 0.1 * 0.96))
    assert plain.w[0].tolist() == pytest.approx([-0.04 - 0.34 * 0.3, -0.03 - 0.34 * 0.4])


def test_dog_goes_by_the_farthest_distance_over_the_root_of_all_squares() -> None:
    r = one_client(9.0, [0.0, 0.0], 3, [3.0, 4.0])
    first = 1e-3 * (1 + 5)  # of the norm of the start
    assert step("dog", r, [0.0, 2.0]) == pytest.approx([3.0, 4.0 - first])
    # It moved by `first`, no farther: the same distance, over sqrt(4 + 9).
    assert step("dog", r, [3.0, 0.0]) == pytest.approx([3.0 - first * 3 / math.sqrt(13), 4 - first])
    far = first * math.sqrt(1 + 9 / 13)
    assert step("dog", r, [0.0, 6.0])[1] == pytest.approx(4 - first - far * 6 / 7)


def test_d_adaptation_by_half_steps_by_d_over_the_first_slope_and_learns_d() -> None:
    r, d = one_client(9.0, [0.0, 0.0], 3), FIRST_DISTANCE
    assert step("d_adaptation_half", r, [2.0, 0.0]) == pytest.approx([-d, 0.0])
    # step 2 is still of d0: s = d / 2 * (2 + 4), ahead = d / 2 * <(4, 0), (d, 0)> = 2 d^2.
    assert step("d_adaptation_half", r, [4.0, 0.0]) == pytest.approx([-3 * d, 0.0])
    assert r.notes["d"].item() == d, "ahead / |s| = 2 d / 3 is less than d"
    # ahead = 2 d^2 + d / 2 * 4 * 3 d = 8 d^2; s = 5 d: d becomes 8 d / 5.
    step("d_adaptation_half", r, [4.0, 0.0])
    assert r.notes["d"].item() == pytest.approx(1.6 * d)


def test_d_adaptation_takes_the_first_slope_that_there_is() -> None:
    r = one_client(9.0, [0.0, 0.0], 3)
    assert step("d_adaptation", r, [0.0, 0.0]) == [0.0, 0.0]
    assert step("d_adaptation", r, [0.0, 5.0]) == pytest.approx([0.0, -FIRST_DISTANCE])


def test_prodigy_averages_slopes_from_the_start_weighted_by_squares_of_d() -> None:
    r, d = one_client(9.0, [0.0, 0.0], 3), FIRST_DISTANCE
    # s = d^2 * 3, over sqrt(d^2 * 9 + d^2 * 9).
    first = step("prodigy_dual_averaging", r, [3.0, 0.0])
    assert first == pytest.approx([-d / math.sqrt(2), 0.0], rel=1e-6)
    # ahead = d^2 * 4 * d / sqrt(2), over s = 7 d^2: less than d, which stays.
    second = -7 * d**2 / math.sqrt(16 * d**2 + 25 * d**2)
    assert step("prodigy_dual_averaging", r, [4.0, 0.0]) == pytest.approx([second, 0.0], rel=1e-6)
    ahead = (4 * d / math.sqrt(2) - 4 * second) / 11
    step("prodigy_dual_averaging", r, [4.0, 0.0])
    assert r.notes["d"].item() == pytest.approx(max(d, ahead))


def test_schedule_free_weights_are_the_mean_of_the_fast_ones_and_slopes_are_taken_between() -> None:
    r = one_client(0.5, [0.0, 0.0], 3, [1.0, 1.0])
    assert query("schedule_free", r).tolist() == [[1.0, 1.0]]
    assert step("schedule_free", r, [2.0, 0.0]) == pytest.approx([0.0, 1.0])  # z1 = x1
    assert step("schedule_free", r, [2.0, 4.0]) == pytest.approx([-0.5, 0.0])  # z2 = (-1, -1)
    assert query("schedule_free", r)[0].tolist() == pytest.approx([-0.55, -0.1])
    assert step("schedule_free", r, [0.0, 0.0]) == pytest.approx([-2 / 3, -1 / 3])


@every_rule
@given(seed=SEEDS)
@settings(max_examples=10, deadline=None)
def test_clients_in_a_batch_descend_as_each_would_alone(rule: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    w, trend = torch.from_numpy(rng.normal(size=(2, 3, 4)))
    beta = torch.from_numpy(rng.uniform(0.01, 0.5, (3, 1)))
    slopes = torch.from_numpy(rng.normal(size=(5, 3, 4)))
    together = begin(w.clone(), beta, trend, 5)
    apart = [begin(w[c : c + 1].clone(), beta[c : c + 1], trend[c : c + 1], 5) for c in range(3)]
    for k in range(5):
        active = torch.tensor([[True], [k < 3], [k < 1]])
        descend(rule, together, slopes[k], active)
        for c, r in enumerate(apart):
            descend(rule, r, slopes[k, c : c + 1], active[c : c + 1])
    assert torch.allclose(together.w, torch.cat([r.w for r in apart]), rtol=1e-12, atol=1e-15)


@every_rule
def test_a_client_that_has_ended_stands_still_even_where_its_slope_is_not_finite(rule: str) -> None:
    r = one_client(0.1, [0.1, 0.1], 3, [1.0, 2.0])
    step(rule, r, [1.0, 1.0])
    before = r.w.clone()
    descend(rule, r, tensor([math.nan, math.inf]), torch.tensor([[False]]))
    assert torch.equal(r.w, before)
    assert r.start.tolist() == [[1.0, 2.0]], "where the round began is remembered"


@pytest.mark.parametrize("rule", FREE)
@given(seed=SEEDS, scale=st.floats(1e-2, 1e2), beta=st.floats(1e-6, 10))
@settings(max_examples=20, deadline=None)
def test_rules_without_a_rate_care_neither_for_beta_nor_for_the_scale_of_the_loss(
    rule: str, seed: int, scale: float, beta: float
) -> None:
    slopes = slopes_of(seed)
    other = course(rule, scale * slopes, beta)
    rounding = 1e-3 if rule == "prodigy" else 1e-6  # its epsilon is not scaled with the loss
    assert course(rule, slopes, 0.1) == pytest.approx(other, rel=rounding, abs=1e-7)


@pytest.mark.parametrize("rule", ["d_adaptation_half", "prodigy_dual_averaging"])
@given(seed=SEEDS)
@settings(max_examples=15, deadline=None)
def test_the_distance_that_is_learned_grows_and_never_passes_the_true_one(
    rule: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    goal = torch.from_numpy(rng.normal(size=(1, 2)))
    curves = torch.from_numpy(rng.uniform(0.2, 2.0, 2))
    r, seen = one_client(1.0, [0.0, 0.0], 60), []
    for _ in range(60):
        descend(rule, r, curves * (r.w - goal), torch.tensor([[True]]))  # of a convex loss
        seen.append(r.notes["d"].item())
    assert seen == sorted(seen) and seen[-1] > 3 * FIRST_DISTANCE
    assert seen[-1] <= goal.norm().item() * (1 + 1e-9)


@given(seed=SEEDS)
@settings(max_examples=15, deadline=None)
def test_with_slopes_that_have_nothing_in_common_hypergradients_change_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    slopes = np.stack([rng.normal(size=4) * [1, 0, 1, 0], rng.normal(size=4) * [0, 1, 0, 1]])
    for rule in ("fedhyper", "fedhyper_cosine", "hypergradient", "hypergradient_multiplicative"):
        r, plain = (one_client(0.1, [0.0] * 4, 2) for _ in range(2))
        for slope in slopes.tolist():
            found, expected = step(rule, r, slope), step("sgd", plain, slope)
        assert found == pytest.approx(expected)
