"""The report's pictures of federated training, and the numbers they show."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import sysopt_gym  # noqa: F401
from result_rows import make_row
from sysopt_gym.core.results import Row
from sysopt_gym.datasets.federated_lr.instance import Federation, make_federation, terms_of
from sysopt_gym.envs.federated_lr.objective import objective_of
from sysopt_gym.envs.federated_lr.orders import constant, order
from sysopt_gym.evaluation.pictures import federated_figures as figures
from sysopt_gym.evaluation.pictures.federated_figures import (
    MOST_WORLDS,
    axes_of_grid,
    choose,
    courses,
    gains,
    group,
    rates,
    rounds_to_fedavg,
    worlds,
)
from sysopt_gym.evaluation.pictures.federated_lr import pictures

PNG = b"\x89PNG"
ROUNDS = 6
ALPHAS, BETAS = (0.5, 1.0, 2.0), (0.01, 0.1)


@pytest.fixture
def federation(fields: Callable[..., dict[str, Any]]) -> Federation:
    return make_federation("data", **fields(rounds=ROUNDS, local_steps=2, batch_size=2))


@pytest.fixture
def grid(federation: Federation) -> list[Federation]:
    """Two betas by three alphas, not in their order."""
    return [
        dataclasses.replace(federation, name=f"data/b{beta:g}-a{alpha:g}", alpha=alpha, beta=beta)
        for alpha in ALPHAS
        for beta in reversed(BETAS)
    ]


@pytest.fixture
def curve() -> Federation:
    law = np.array([0.1, 1.0, 0.5, 0.01, 0.9, 0.5])
    return make_federation(
        "law", model="curve", law=law, participants=1, rounds=ROUNDS, alpha=1.0, beta=0.1
    )


def row(
    federation: Federation,
    contender: str,
    plan: np.ndarray | None = None,
    objective: float = 0.5,
    **more: Any,
) -> Row:
    """A run of a plan, of FedAvg's where none is given."""
    plan = constant(terms_of(federation)) if plan is None else plan
    return make_row(
        contender,
        federation.name,
        objective,
        **{
            "instance_hash": federation.content_hash,
            "world_seed": 3,
            "direction": objective_of(federation).direction,
            "actions": plan.tolist(),
            "detail": {"rounds_to_fedavg": float(ROUNDS), "area_under_curve": objective / 2},
        }
        | more,
    )


def failure(federation: Federation, contender: str, **more: Any) -> Row:
    failed: dict[str, Any] = {"feasible": False, "actions": [], "detail": {}}
    return row(federation, contender, **failed | more)


class Blue(dict[str, str]):
    """The same color for every contender."""

    def __missing__(self, name: str) -> str:
        return "#0072B2"


COLORS = Blue()


def by_hash(*federations: Federation) -> dict[str, Federation]:
    return {federation.content_hash: federation for federation in federations}


def test_a_grid_of_initial_rates_has_curves_rates_a_heat_map_and_rounds(
    grid: list[Federation],
) -> None:
    rows = [row(f, name) for f in grid for name in ("fedavg", "cosine")]
    rows += [row(f, "best", role="oracle") for f in grid]
    drawn = pictures(rows, by_hash(*grid), COLORS)
    assert [p.title for p in drawn] == [
        "Accuracy and loss over the rounds",
        "The learning rates chosen",
        "data: gain over FedAvg by initial rates",
        "Rounds to FedAvg's final accuracy",
    ]
    assert all(p.png.startswith(PNG) for p in drawn)
    assert "6 of 6 of data" in drawn[0].caption
    assert all("cosine" in p.result and "nan" not in p.result for p in drawn)


def test_there_is_no_heat_map_without_a_grid_or_without_fedavg(grid: list[Federation]) -> None:
    part = [row(f, name) for f in grid[:5] for name in ("fedavg", "cosine")]
    alone = [row(f, "cosine") for f in grid]
    for rows in (part, alone, part[:2]):
        titles = [p.title for p in pictures(rows, by_hash(*grid), COLORS)]
        assert len(titles) == 3 and not any("gain" in title for title in titles)


def test_failures_alone_have_no_pictures_and_do_not_spoil_others(federation: Federation) -> None:
    failed = failure(federation, "cosine")
    assert pictures([failed], by_hash(federation), COLORS) == []
    assert pictures([failed], {}, COLORS) == []
    assert len(pictures([failed, row(federation, "fedavg")], by_hash(federation), COLORS)) == 3


def test_learning_curves_without_data_are_drawn_too(curve: Federation) -> None:
    others = [dataclasses.replace(curve, name=f"law{n}", target=n / 10) for n in range(1, 6)]
    rows = [row(f, "fedavg") for f in (curve, *others)]
    drawn = pictures(rows, by_hash(curve, *others), COLORS)
    assert len(drawn) == 3
    assert "4 of 6 data sets" in drawn[0].caption


def test_replays_are_what_the_environment_reports(grid: list[Federation]) -> None:
    rng = np.random.default_rng(0)
    plans = [
        np.array([order(a, b) for a, b in rng.uniform(0.1, 2.0, (ROUNDS + 1, 2))])
        for _ in range(figures.LANES + 1)
    ]
    rows = [row(grid[0], "any", plan, seed=at, world_seed=at) for at, plan in enumerate(plans)]
    (one,) = group(rows, by_hash(*grid))
    chosen = [(grid[0].content_hash, at) for at in range(len(plans))]
    found = courses(one, choose([one], COLORS), chosen)["any"]
    assert found.shape == (len(plans), ROUNDS + 1, 2)
    env = gym.make("sysopt/FederatedLR-v0", instances=[grid[0]], form="orders").unwrapped
    for at, plan in enumerate(plans):
        _, info = env.reset(seed=at, options={"instance": grid[0]})
        for step, action in enumerate(plan):
            _, _, _, _, info = env.step(action)
            expected = info["validation_loss"], info["validation_accuracy"]
            assert found[at, step] == pytest.approx(expected, rel=1e-9), (at, step)


def test_after_divergence_a_course_stays_at_accuracy_zero(curve: Federation) -> None:
    wild = np.array([order(1.0, 0.1), order(1.0, 0.1), order(100.0, 0.1)])
    (one,) = group([row(curve, "wild", wild)], by_hash(curve))
    (course,) = courses(one, choose([one], COLORS), [(curve.content_hash, 0)])["wild"]
    assert (course[:2, 1] > 0).all() and (course[2:, 1] == 0).all()
    assert (course[2:, 0] == 20 * course[0, 0]).all()


def test_rates_of_a_round_are_its_clients_beta_and_the_alpha_that_applied_it(
    federation: Federation,
) -> None:
    plan = np.array([order(9.0, 0.1), order(1.0, 0.2), order(2.0, 0.4)])
    (one,) = group([row(federation, "any", plan)], by_hash(federation))
    (found,) = rates(one, choose([one], COLORS)[0])
    assert found[:2] == pytest.approx(np.array([[1.0, 0.1, 0.1], [2.0, 0.2, 0.4]]), rel=1e-5)
    assert np.isnan(found[2:]).all(), "no rates after divergence"


def test_gains_are_points_above_fedavg_in_the_same_cell_and_seed(grid: list[Federation]) -> None:
    rows = []
    for at, one in enumerate(grid):
        rows += [row(one, "fedavg", objective=0.5 + at / 100, seed=seed) for seed in (0, 1)]
        rows += [row(one, "good", objective=0.6 + at / 100, seed=seed) for seed in (0, 1)]
    rows[2] = dataclasses.replace(rows[2], objective=0.7)  # "good", seed 0, first instance
    rows += [row(grid[1], "late", objective=0.0, seed=7), failure(grid[2], "late")]
    (one,) = group(rows, by_hash(*grid))
    assert axes_of_grid(one) == (list(BETAS), list(ALPHAS))
    fedavg, good, late = gains(one, choose([one], COLORS))
    assert fedavg.gains == pytest.approx(np.array([[51.0, 53.0, 55.0], [50.0, 52.0, 54.0]]))
    assert good.gains == pytest.approx(np.array([[10.0, 10.0, 10.0], [15.0, 10.0, 10.0]]))
    assert np.isnan(late.gains).all(), "FedAvg was not played with its seed"


def test_gains_are_of_the_mean_accuracy_where_the_objective_is_no_accuracy(
    federation: Federation,
) -> None:
    goal = dataclasses.replace(federation, objective="rounds_to_target", target=0.5)
    rows = [row(goal, "fedavg", objective=6.0), row(goal, "good", objective=4.0)]
    rows[1] = dataclasses.replace(rows[1], detail={"area_under_curve": 3.25})
    (one,) = group(rows, by_hash(goal))
    assert gains(one, choose([one], COLORS))[1].gains == pytest.approx(25.0)


def test_speed_ups_are_all_rounds_over_those_needed_and_failures_never_arrive(
    federation: Federation,
) -> None:
    needed = (1.0, 2.0, 3.0, ROUNDS + 1.0)
    rows = [
        row(federation, "fast", seed=at, detail={"rounds_to_fedavg": rounds})
        for at, rounds in enumerate(needed)
    ]
    rows += [row(federation, "slow"), failure(federation, "slow", seed=1)]
    rows += [failure(federation, "broken")]
    fast, slow, broken = rounds_to_fedavg(group(rows, by_hash(federation)), COLORS)
    assert (fast.low, fast.middle, fast.high) == (2.0, 3.0, 6.0)
    assert fast.reached == 0.75
    assert (slow.low, slow.middle, slow.reached) == (0.0, 1.0, 0.5)
    assert (broken.contender.name, broken.middle, broken.reached) == ("broken", 0.0, 0.0)


def test_drawn_are_fedavg_an_oracle_the_agents_and_the_best_of_the_others(
    federation: Federation,
) -> None:
    scores = {f"c{n:02}": n / 100 for n in range(50)} | {"fedavg": 0.01, "ppo": 0.02, "top": 0.99}
    roles = {"ppo": "agent", "top": "oracle"}
    rows = [
        row(federation, name, objective=score, role=roles.get(name, "solver"))
        for name, score in scores.items()
    ]
    chosen = choose(group(rows, by_hash(federation)), COLORS)
    best = ["c49", "c48", "c47", "c46", "c45"]
    assert [one.name for one in chosen] == [*best, "ppo", "fedavg", "top"]
    assert [one.name for one in chosen if one.oracle] == ["top"]


def test_the_best_are_those_with_fewest_rounds_where_that_is_the_objective(
    federation: Federation,
) -> None:
    goal = dataclasses.replace(federation, objective="rounds_to_target", target=0.5)
    rows = [row(goal, "slow", objective=9.0), row(goal, "fast", objective=2.0)]
    assert [one.name for one in choose(group(rows, by_hash(goal)), COLORS)] == ["fast", "slow"]


def test_data_sets_are_told_apart_by_all_but_their_initial_rates(
    grid: list[Federation], federation: Federation
) -> None:
    other = dataclasses.replace(federation, rounds=ROUNDS + 1, name="longer")
    rows = [row(f, "fedavg") for f in (other, *grid)]
    groups = group(rows, by_hash(other, *grid))
    assert [(one.name, len(one.rates)) for one in groups] == [("data", 6), ("longer", 1)]
    assert axes_of_grid(groups[1]) is None


def test_replays_are_spread_evenly_over_instances_and_cost_no_more_than_allowed(
    grid: list[Federation],
) -> None:
    rows = [row(f, "fedavg", seed=seed) for f in grid for seed in range(20)]
    (one,) = group(rows, by_hash(*grid))
    chosen = worlds(one, 1, 1e9)
    assert len(set(chosen)) == MOST_WORLDS
    per_instance = [sum(key == hash_ for hash_, _ in chosen) for key in one.rates]
    assert min(per_instance) >= MOST_WORLDS // len(grid)
    single = figures._work(grid[0])
    assert len(worlds(one, 2, 12 * single)) == 6
    assert len({key for key, _ in worlds(one, 2, 12 * single)}) == 6, "each instance once"
    assert worlds(one, 2, 1.9 * single) == []


def test_where_replays_are_too_much_work_the_other_pictures_remain(
    federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "_work", lambda federation: 1e12)
    drawn = pictures([row(federation, "fedavg")], by_hash(federation), COLORS)
    assert [p.title for p in drawn] == [
        "The learning rates chosen",
        "Rounds to FedAvg's final accuracy",
    ]


@pytest.mark.parametrize(
    ("fields_of_model", "each"),
    [
        ({"model": "mlp", "width": 4}, 3 * 4 + 4 + 4 * 3 + 3),
        (
            {"model": "cnn", "width": 2, "inputs": (8, 1, 8, 8), "val": (2, 1, 8, 8)},
            50 * 64 + 2 + 200 * 16 + 4 + 3 * 16 + 3,
        ),
        ({"model": "gru", "width": 2, "inputs": (8, 5), "val": (2, 5)}, 5 * (12 + 12 + 6 + 3)),
    ],
)
def test_the_work_of_a_replay_counts_where_each_weight_is_used(
    fields: Callable[..., dict[str, Any]], fields_of_model: dict[str, Any], each: int
) -> None:
    changes = dict(fields_of_model)
    if "inputs" in changes:
        kind = np.uint8 if changes["model"] == "gru" else np.float32
        changes["inputs"] = np.zeros(changes["inputs"], kind)
        changes["val_inputs"] = changes["test_inputs"] = np.zeros(changes.pop("val"), kind)
    if changes["model"] == "gru":
        changes["labels"], held = (np.zeros((rows, 5), np.int64) for rows in (8, 2))
        changes["val_labels"] = changes["test_labels"] = held
    terms = {"rounds": 5, "participants": 2, "local_steps": 3, "batch_size": 7}
    sized = make_federation("sized", **fields(**changes, **terms))
    assert figures._work(sized) == each * 5 * 2 * 3 * 7
