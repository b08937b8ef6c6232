"""Federations of many clients and models of many weights: the same results in less memory."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
from sysopt_gym.core.contracts import World
from sysopt_gym.datasets.federated_lr import partition
from sysopt_gym.datasets.federated_lr.instance import Federation, seal
from sysopt_gym.envs.federated_lr import training, validate
from sysopt_gym.envs.federated_lr.draws import draw_rounds, shelve
from sysopt_gym.envs.federated_lr.objective import first_at
from sysopt_gym.envs.federated_lr.problem import PROBLEM
from sysopt_gym.evaluation import judge
from tiny_federations import make_world

MODELS = ("logistic", "mlp", "cnn", "gru")


def trace(federation: Federation, rule: int = 0) -> list[dict[str, float]]:
    """The statistics after each order of a constant plan."""
    dynamics = training.Training([federation])
    dynamics.begin(0, federation, 5)
    rows = []
    for order in PROBLEM.null_plan(federation):
        order[3] = rule
        dynamics.step(order[None])
        rows.append(dynamics.statistics.row(0))
    return rows


@pytest.mark.parametrize("model", MODELS)
def test_clients_trained_one_by_one_change_the_model_as_all_at_once_do(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    federation = make_world(model, stragglers=0.5)
    at_once = trace(federation)
    monkeypatch.setattr(training, "MOST_WEIGHTS", 1)
    held = []
    real = training.Training._trained

    def watched(self: training.Training, *arguments: object) -> tuple[object, object]:
        weights, firsts = real(self, *arguments)  # type: ignore[arg-type]
        held.append(weights.shape[:2])
        return weights, firsts

    monkeypatch.setattr(training.Training, "_trained", watched)
    for before, after in zip(at_once, trace(federation), strict=True):
        assert after == pytest.approx(before, rel=1e-12, abs=1e-15)
    assert set(held) == {(1, 1)}
    assert len(held) == federation.rounds * federation.participants


def test_what_chance_decides_is_drawn_round_by_round_from_one_stream() -> None:
    federation = make_world("logistic", drift=2.0, stragglers=0.4)
    f, shelf = federation, shelve(federation.owner)
    rng = np.random.default_rng([7, 1])
    phase = np.arange(f.rounds)[:, None] / f.rounds - np.arange(f.clients) / f.clients
    keys = rng.gumbel(size=(f.rounds, f.clients)) + f.drift * np.cos(2 * np.pi * phase)
    chosen = np.argsort(-keys, axis=1)[:, : f.participants]
    late = rng.random(chosen.shape) < f.stragglers
    steps = np.where(late, rng.integers(1, f.local_steps + 1, chosen.shape), f.local_steps)
    places = rng.random((*chosen.shape, f.local_steps, f.batch_size))
    places *= shelf.count[chosen, None, None]
    rows = shelf.rows[shelf.first[chosen, None, None] + places.astype(np.int64)]
    for drawn, whole in zip(draw_rounds(f, shelf, 7), (chosen, steps, rows), strict=True):
        assert np.array_equal(drawn, whole)


def test_empty_clients_are_given_rows_as_if_each_looked_at_all_rows() -> None:
    rng = np.random.default_rng(3)
    owner = rng.choice([0, 1, 1, 4, 4, 4], 60)
    found, plain = owner.copy(), owner.copy()
    partition._fill(found, 12, np.random.default_rng(1))
    drawn = np.random.default_rng(1)
    for empty in range(12):
        if not (plain == empty).any():
            giver = int(np.bincount(plain, minlength=12).argmax())
            plain[drawn.choice(np.flatnonzero(plain == giver))] = empty
    assert np.array_equal(found, plain)
    assert len(np.unique(found)) == 12


@pytest.mark.parametrize(("below", "reached"), [(0.0, 2), (1e-16, 2), (1e-10, 2), (1e-6, 4)])
def test_both_sides_let_a_target_be_reached_within_the_rounding(below: float, reached: int) -> None:
    accuracies = [0.5, 0.7 - below, 0.6]
    assert first_at(np.array(accuracies), 0.7) == reached
    assert validate._score("rounds_to_target", accuracies, 0.7) == reached


@pytest.mark.parametrize("ulps", [-1, 0, 1])
def test_a_curve_whose_accuracy_is_the_target_is_judged_alike(ulps: int) -> None:
    curve = PROBLEM.generate({"kind": "curve", "rounds": "20"}, 2)
    plan = PROBLEM.null_plan(curve)
    course = validate._course(curve, plan, World(0), stop_when_diverged=True)
    target = course.validation[len(course.validation) // 2]
    for _ in range(abs(ulps)):
        target = math.nextafter(target, math.inf * ulps)
    asked = dataclasses.replace(curve, objective="rounds_to_target", target=target)
    found = judge.judge(PROBLEM, asked, plan[: len(course.validation) + 1], World(0))
    assert found.agree, found.violations


def test_scores_of_fedavg_and_of_null_plans_do_not_pile_up(
    world: Callable[..., Federation], monkeypatch: pytest.MonkeyPatch
) -> None:
    federation = world("logistic", rounds=2)
    for module, name in ((validate, "_FEDAVG"), (judge, "_null_objectives")):
        monkeypatch.setattr(module, name, {})
        monkeypatch.setattr(module, "MOST_KEPT", 3)
    for seed in range(5):
        judge.null_objective(PROBLEM, federation, World(seed))
    assert [key[1] for key in validate._FEDAVG] == [2, 3, 4]
    assert [key[2].seed for key in judge._null_objectives] == [2, 3, 4]


def test_a_federation_is_sealed_once(world: Callable[..., Federation]) -> None:
    federation = world("logistic")
    assert seal(federation) is seal(federation)
    assert seal(federation).sealed and seal(federation).inputs is federation.inputs
    assert seal(federation).content_hash == dataclasses.replace(seal(federation)).content_hash
