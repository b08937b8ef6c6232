"""Controllers: hand-computed steps of FedHyper and its neighbors, and what holds of every one."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.errors import SettingError
from sysopt_gym.core.registry import contender_names, load_contender
from sysopt_gym.datasets.federated_lr.instance import ALPHA_RANGE, BETA_RANGE
from sysopt_gym.envs.federated_lr.orders import (
    ADAPTIVE,
    LOCAL_RULES,
    SERVER,
    SERVER_RULES,
    SIZES,
    TAU_RANGE,
    constant,
    rate_of,
    server_code,
    server_of,
)
from sysopt_gym.solvers.federated_lr import fedhyper, fixed
from toy_quadratic import info, play, terms

SCHEDULES = [
    "linear",
    "cosine",
    "cyclic_cosine",
    "step",
    "exponential",
    "rex",
    "refinement",
    "wsd",
    "wsd_s",
    "wsd_s_levanter",
    "wsdc",
    "infinite",
    "rewarm_redecay",
    "slow_start_fast_decay",
    "power",
    "power_law",
    "uba",
    "one_cycle",
]
FIXED = ("constant", "decay")
FEDHYPER = ("fedhyper_g", "fedhyper_sl", "fedhyper_cl", "fedhyper_full")
NAMES = contender_names("federated_lr", "solver", "player")
ROUNDING = 2e-6  # of a rate by its code


def named(name: str) -> Any:
    return load_contender("federated_lr", name).object()


def rates(policy: Any, seen: list[dict[str, Any]], **given_terms: Any) -> np.ndarray:
    """Alpha and beta float64 [steps, 2] ordered after each info."""
    policy.reset(terms(**given_terms), Budget(1.0), 0)
    orders = [policy.act(None, one) for one in seen]
    return np.array([(rate_of(o[0], ALPHA_RANGE), rate_of(o[1], BETA_RANGE)) for o in orders])


def inner(*products: float) -> list[dict[str, Any]]:
    return [info(step, inner_product=product) for step, product in enumerate(products)]


def cosines(*values: float) -> list[dict[str, Any]]:
    """Updates a million times longer than unit, of which a scale-free rule knows nothing."""
    return [info(step, cosine=c, inner_product=1e12 * c) for step, c in enumerate(values)]


def approx(values: Any) -> Any:
    return pytest.approx(values, rel=ROUNDING)


def test_the_names_that_scripts_use_are_there() -> None:
    names = {"fedavg", "fedavgm", "fedadagrad", "fedadam", "fedyogi", "fedexp", "autolrs", "ftrl"}
    names |= {"hypergradient", "hypergradient_multiplicative", "random", "bold_driver"}
    names |= {"dog", "d_adaptation", "d_adaptation_half", "schedule_free"}
    names |= {"prodigy", "prodigy_dual_averaging", "fedadam_flower", "fedyogi_flower"}
    names |= {*FEDHYPER, *(f"{name}_cosine" for name in FEDHYPER)}
    names |= {f"{name}_{kind}" for name in ("fedavg", "fedavgm", "fedadam") for kind in FIXED}
    names |= {*SCHEDULES, *(f"{name}_server" for name in SCHEDULES)}
    assert set(NAMES) == names


@pytest.mark.parametrize("name", NAMES)
def test_every_controller_gives_legal_orders_to_the_end_and_the_same_ones_again(name: str) -> None:
    policy = named(name)
    for rounds in (1, 2, 23):
        orders = play(policy, terms(rounds), seed=3).orders
        assert orders.shape == (rounds + 1, 5) and orders.dtype == np.int64
        assert (orders >= 0).all() and (orders < SIZES).all()
        assert (play(policy, terms(rounds), seed=3).orders == orders).all()


@pytest.mark.parametrize("rule", ADAPTIVE)
@given(tau=st.floats(*TAU_RANGE))
def test_every_tau_of_a_server_rule_has_a_code_of_its_own(rule: str, tau: float) -> None:
    code = server_code(rule, tau)
    assert 0 <= code < SIZES[SERVER]
    found, met = server_of(code)
    assert found == rule and met == approx(tau)


def test_server_optimizers_take_another_eta_and_tau() -> None:
    policy = fixed.fedyogi(eta=0.01, tau=1e-5)
    policy.reset(terms(3), Budget(1.0), 0)
    row = policy.act(None, info(1))
    assert rate_of(row[0], ALPHA_RANGE) == approx(0.01)
    assert server_of(row[SERVER])[0] == "yogi" and server_of(row[SERVER])[1] == approx(1e-5)
    assert [server_of(code) for code in range(6)] == [(rule, 1e-3) for rule in SERVER_RULES]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: fixed.fedyogi(eta=1e-4), r"eta is 0\.0001; give a server rate from 0\.001"),
        (lambda: fixed.fedadam(eta=math.nan), "eta is nan"),
        (lambda: fixed.fedadam(tau=0.0), r"tau is 0\.0; give a number from 1e-12 to 1"),
        (lambda: fixed.fedadam(tau=math.nan), "tau is nan"),
        (lambda: fixed.fedavgm(tau=0.1), "'momentum' has no tau"),
    ],
)
def test_an_eta_or_tau_that_no_order_can_hold_is_refused(
    make: Callable[[], Any], told: str
) -> None:
    with pytest.raises(SettingError, match=told):
        make()


def test_fedavg_plays_the_initial_rates() -> None:
    given_terms = terms(7, alpha=1.5, beta=0.01)
    assert (play(named("fedavg"), given_terms).orders == constant(given_terms)).all()


def test_g_adds_the_inner_product_to_alpha_for_the_update_in_hand_and_clips_at_three() -> None:
    alpha, beta = rates(named("fedhyper_g"), inner(0, 0, 0.5, -0.2, 5.0, -0.4, -9.0)).T
    assert alpha == approx([1.0, 1.0, 1.5, 1.3, 3.0, 2.6, 1 / 3])
    assert beta == approx(np.full(7, 0.05))


def test_g_starts_from_the_federations_alpha() -> None:
    alpha = rates(named("fedhyper_g"), inner(0, 0, 0.25), alpha=2.0)[:, 0]
    assert alpha == approx([2.0, 2.0, 2.25])


def test_the_hyper_step_scales_the_move(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fedhyper, "KAPPA", 0.1)
    seen = inner(0, 0, 0.5, -0.2)
    assert rates(named("fedhyper_g"), seen)[:, 0] == approx([1.0, 1.0, 1.05, 1.03])


def test_sl_moves_the_clients_rate_within_a_factor_of_ten_of_the_initial_one() -> None:
    seen = inner(0, 0, 0.02, -0.03, 7.0, -0.1, -7.0)
    alpha, beta = rates(named("fedhyper_sl"), seen, beta=0.05).T
    assert beta == approx([0.05, 0.05, 0.07, 0.04, 0.5, 0.4, 0.005])
    assert alpha == approx(np.ones(7))


def test_cl_leaves_both_rates_to_the_clients_rule() -> None:
    policy = named("fedhyper_cl")
    assert rates(policy, inner(0, 0, 0.5)) == approx(np.array([[1.0, 0.05]] * 3))
    assert LOCAL_RULES[policy.act(None, info(2))[3]] == "fedhyper"


@pytest.mark.parametrize("form", ["", "_cosine"])
def test_full_is_g_with_the_clients_rule(form: str) -> None:
    seen = cosines(0, 0, 0.5, -0.2, 1.0)
    full, server = named(f"fedhyper_full{form}"), named(f"fedhyper_g{form}")
    assert (rates(full, seen) == rates(server, seen)).all()
    assert LOCAL_RULES[full.act(None, info())[3]] == f"fedhyper{form}"
    assert LOCAL_RULES[server.act(None, info())[3]] == "sgd"


def test_the_cosine_form_multiplies_whatever_the_length_of_updates() -> None:
    seen = cosines(0, 0, 1.0, 0.5, -1.0)
    alpha = rates(named("fedhyper_g_cosine"), seen)[:, 0]
    assert alpha == approx([1.0, 1.0, 1.1, 1.155, 1.0395])
    beta = rates(named("fedhyper_sl_cosine"), seen, beta=0.01)[:, 1]
    assert beta == approx([0.01, 0.01, 0.011, 0.01155, 0.010395])


@given(
    st.sampled_from([f"{name}{form}" for name in FEDHYPER for form in ("", "_cosine")]),
    st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=20),
    st.sampled_from([0.5, 1.0, 2.0]),
    st.sampled_from([0.001, 0.1]),
)
def test_fedhyper_stays_within_its_clips(
    name: str, products: list[float], alpha: float, beta: float
) -> None:
    seen = [info(cosine=float(np.clip(p, -1, 1)), inner_product=p) for p in products]
    played = rates(named(name), seen, alpha=alpha, beta=beta)
    slack = 1.0 + ROUNDING
    assert (played[:, 0] <= 3 * slack).all() and (played[:, 0] >= 1 / 3 / slack).all()
    assert (played[:, 1] <= 10 * beta * slack).all() and (played[:, 1] >= beta / 10 / slack).all()


def test_a_clipped_rate_comes_back_at_once() -> None:
    alpha = rates(named("fedhyper_g"), inner(0, 0, *[50.0] * 20, -1.0))[:, 0]
    assert alpha[-2:] == approx([3.0, 2.0])


def test_cosine_sl_mends_a_low_client_rate() -> None:
    low = terms(50, beta=0.01)
    assert play(named("fedhyper_sl_cosine"), low).final < 0.2 * play(named("fedavg"), low).final


def test_fedexp_extrapolates_by_the_disagreement_of_the_participants() -> None:
    agreed = info(1, update_norm=2.0, mean_square_norm=4.0)
    spread = info(2, update_norm=1.0, mean_square_norm=8.0)
    tiny = info(3, update_norm=0.0, mean_square_norm=0.01)
    alpha = rates(named("fedexp"), [info(), agreed, spread, tiny], alpha=0.5)[:, 0]
    assert alpha == approx([1.0, 1.0, 8.0 / 2.002, 5.0])


def test_fedexp_survives_norms_whose_square_overflows() -> None:
    huge = info(1, update_norm=1e200, mean_square_norm=1e300)
    assert rates(named("fedexp"), [huge])[0, 0] == approx(1.0)


@pytest.mark.parametrize(
    ("name", "rule", "alpha"),
    [
        ("fedavgm", "momentum", 1.5),
        ("fedadagrad", "adagrad", 0.1),
        ("fedadam", "adam", 0.1),
        ("fedadam_flower", "adam_corrected", 0.1),
        ("fedyogi_flower", "yogi", 0.01),
        ("fedyogi", "yogi", 0.1),
    ],
)
def test_server_optimizers_have_their_published_rate(name: str, rule: str, alpha: float) -> None:
    policy = named(name)
    assert rates(policy, [info()], alpha=1.5)[0, 0] == approx(alpha)
    assert SERVER_RULES[policy.act(None, info(1))[2]] == rule


@pytest.mark.parametrize("name", LOCAL_RULES[3:])
def test_local_rules_are_controllers_under_their_own_names(name: str) -> None:
    orders = play(named(name), terms(3)).orders
    assert {LOCAL_RULES[rule] for rule in orders[:, 3]} == {name}


def test_the_random_walk_follows_its_seed_and_stays_in_fedhypers_reach() -> None:
    far = terms(400, alpha=2.0, beta=0.001)
    one, other = play(named("random"), far, seed=1), play(named("random"), far, seed=2)
    assert (one.orders != other.orders).any()
    for game in (one, other):
        assert abs(np.log(game.alphas / 2.0)).max() <= np.log(3.0) + ROUNDING
        assert abs(np.log(game.betas / 0.001)).max() <= np.log(10.0) + ROUNDING
    inside = (one.betas[1:] < 0.00999) & (one.betas[1:] > 0.000101)
    steps = np.diff(np.log10(one.betas))[inside]
    assert steps.std() == pytest.approx(0.1, rel=0.2)


def test_the_bold_driver_raises_by_a_tenth_and_halves() -> None:
    losses = [1.0, 1.0, 0.9, 0.8, 0.85, 0.85]
    seen = [info(step, validation_loss=loss) for step, loss in enumerate(losses)]
    beta = rates(named("bold_driver"), seen, beta=0.1)[:, 1]
    assert beta == approx([0.1, 0.1, 0.11, 0.121, 0.0605, 0.0605])


def test_the_bold_driver_turns_round_at_the_largest_rate_at_once() -> None:
    seen = [info(step, validation_loss=1.0 / (1 + step)) for step in range(200)]
    beta = rates(named("bold_driver"), [*seen, info(200, validation_loss=9.0)])[:, 1]
    assert beta[-2:] == approx([BETA_RANGE[1], BETA_RANGE[1] / 2])
