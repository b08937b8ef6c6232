"""Proxies: that they learn and extrapolate, that inference is what it should be, and gradients by
differences.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sysopt_gym.datasets.sequence_design.instance import DesignTask, make_task, seal
from sysopt_gym.envs.sequence_design.proxy import (
    MotifNetworks,
    Networks,
    Trainer,
    fit_proxy,
    normal_scores,
    reference_proxy,
    scaled_scores,
)
from sysopt_gym.envs.sequence_design.proxy.fit import stacking_weights
from sysopt_gym.envs.sequence_design.proxy.networks import Perceptrons

GOLDEN = Path(__file__).parent / "golden" / "proxy.json"
Tiny = Callable[..., DesignTask]
Make = Callable[[np.random.Generator], Networks]
LENGTH, LETTERS = 10, 4
KINDS: dict[str, Make] = {
    "strongest match": lambda rng: MotifNetworks(2, LENGTH, LETTERS, False, rng),
    "total match": lambda rng: MotifNetworks(2, LENGTH, LETTERS, True, rng),
    "perceptron": lambda rng: Perceptrons(2, np.zeros(LENGTH, np.int8), LETTERS, 7.0, rng),
}


@pytest.fixture(scope="module")
def additive() -> tuple[DesignTask, np.ndarray, np.ndarray]:
    """The lower half of an additive landscape of DNA 6-mers; and all of it."""
    rng = np.random.default_rng(0)
    every = np.array(np.meshgrid(*[range(4)] * 6)).reshape(6, -1).T.astype(np.int8)
    scores = rng.normal(size=(6, 4))[np.arange(6), every].sum(axis=1)
    low = scores <= np.median(scores)
    task = make_task("additive", "ACGT", every[low], scores[low], {"landscape": "measured"})
    return task, every, scores


@pytest.fixture(params=KINDS)
def networks(request: pytest.FixtureRequest) -> Networks:
    """Of weights far from the first ones, biases included."""
    rng = np.random.default_rng(1)
    made = KINDS[request.param](rng)
    for weight in made.weights:
        weight += rng.normal(0.0, 0.3, weight.shape).astype(np.float32)
    if isinstance(made, Perceptrons):
        made.weights[0][:, np.arange(LENGTH) * LETTERS] = 0.0  # the consensus adds nothing
    return made


def some_tokens(count: int) -> np.ndarray:
    return np.random.default_rng(2).integers(0, LETTERS, (count, LENGTH)).astype(np.int8)


def one_hot(tokens: np.ndarray) -> np.ndarray:
    return np.eye(LETTERS, dtype=np.float32)[tokens]


def test_compiled_inference_is_that_of_whole_arrays_and_row_by_row(networks: Networks) -> None:
    tokens = some_tokens(20)
    together, _ = networks.forward(tokens[None])
    dense, _ = networks.input_gradients(one_hot(tokens))
    assert together == pytest.approx(dense, abs=1e-4)
    alone = [networks.forward(row[None, None])[0][:, 0] for row in tokens]
    assert (together == np.stack(alone, axis=1)).all()


def test_slopes_are_the_gradients_at_letters_that_are_not_whole(networks: Networks) -> None:
    rng = np.random.default_rng(3)
    soft = rng.dirichlet(np.ones(LETTERS), (6, LENGTH)).astype(np.float32)
    values, slopes = networks.input_gradients(soft)
    smooth = 0
    for place, letter in ((0, 0), (4, 3), (9, 1)):
        differences = []
        for step in np.float32([1e-3, -1e-3]):
            moved = soft.copy()
            moved[:, place, letter] += step
            differences.append((networks.input_gradients(moved)[0] - values) / step)
        # Where both sides agree, no unit switches here.
        same = np.abs(differences[0] - differences[1]) < 4e-3
        assert differences[0][same] == pytest.approx(slopes[:, :, place, letter][same], abs=1e-2)
        smooth += same.sum()
    assert smooth > 10


def test_gradients_of_weights_are_those_of_differences(networks: Networks) -> None:
    tokens = np.stack([some_tokens(8), some_tokens(8)[::-1]])
    slope = np.random.default_rng(4).normal(size=(2, 8)).astype(np.float32)
    gradients = networks.backward(networks.forward(tokens)[1], slope)
    rng, step = np.random.default_rng(5), np.float32(1e-3)
    for weight, gradient in zip(networks.weights, gradients, strict=True):
        assert gradient.shape == weight.shape
        used = np.flatnonzero(gradient)
        for at in rng.choice(used, min(6, len(used)), replace=False):
            place = np.unravel_index(at, weight.shape)
            before = float((networks.forward(tokens)[0] * slope).sum())
            weight[place] += step
            after = float((networks.forward(tokens)[0] * slope).sum())
            weight[place] -= step
            assert (after - before) / step == pytest.approx(gradient[place], abs=3e-2, rel=3e-2)


def test_a_motif_counts_the_same_wherever_it_stands() -> None:
    networks = MotifNetworks(1, 20, 4, False, np.random.default_rng(0))
    networks.weights[0][:, : 3 * 4] = 0.0
    networks.weights[0][:, 7 * 4 :] = 0.0  # filters of the four letters in the middle
    matches = []
    for start in (5, 8, 11):
        tokens = np.zeros((1, 1, 20), np.int8)
        tokens[0, 0, start : start + 4] = [1, 3, 2, 1]
        matches.append(float(networks.forward(tokens)[0][0, 0]))
    assert matches[0] == pytest.approx(matches[1], abs=1e-6)
    assert matches[1] == pytest.approx(matches[2], abs=1e-6)


@pytest.mark.parametrize("name", KINDS)
def test_training_lowers_the_error(name: str, tiny_task: Tiny) -> None:
    rng = np.random.default_rng(0)
    tokens = some_tokens(300)
    targets = (tokens == 2).sum(axis=1) - 2.5
    trainer = Trainer(KINDS[name](rng), tokens, targets, rng)
    errors = []
    for steps in (1, 150):
        trainer.train(steps)
        predicted, _ = trainer.networks.forward(tokens[None])
        errors.append(float(((predicted - targets) ** 2).mean()))
    assert errors[1] < 0.5 * errors[0]


def test_a_member_never_sees_its_own_fold() -> None:
    rng = np.random.default_rng(0)
    fold = rng.integers(10, size=200)
    trainer = Trainer(KINDS["perceptron"](rng), some_tokens(200), rng.normal(size=200), rng, fold)
    drawn = trainer.draw_rows(500)
    assert all(not (fold[rows] == member).any() for member, rows in enumerate(drawn))


def test_a_proxy_ranks_what_it_never_saw(
    additive: tuple[DesignTask, np.ndarray, np.ndarray],
) -> None:
    task, every, scores = additive
    means, _ = fit_proxy(task, np.random.default_rng(1)).predict(every)
    high = scores > np.median(scores)
    assert np.corrcoef(means[high], scores[high])[0, 1] > 0.7
    assert np.corrcoef(means[~high], scores[~high])[0, 1] > 0.9


def test_a_pessimist_takes_off_the_spread_and_a_prediction_has_no_neighbors(
    additive: tuple[DesignTask, np.ndarray, np.ndarray],
) -> None:
    task, every, _ = additive
    proxy = fit_proxy(task, np.random.default_rng(2), members=3)
    some = every[::37]
    mean, spread = proxy.predict(some)
    assert (proxy.pessimistic(some, 2.0) == mean - 2.0 * spread).all()
    assert (spread > 0).any()
    alone = [proxy.predict(row[None]) for row in some]
    assert (mean == [m[0] for m, _ in alone]).all()
    assert (spread == [s[0] for _, s in alone]).all()


def test_the_ensembles_gradient_is_its_members_by_weight(tiny_task: Tiny) -> None:
    task = tiny_task(0)
    proxy = fit_proxy(task, np.random.default_rng(3), members=2)
    letters = np.eye(task.letters, dtype=np.float32)[task.sequences[:3]]
    values, slopes = proxy.member_gradients(letters)
    each = proxy.predict_members(task.sequences[:3])
    assert pytest.approx(each, abs=1e-4) == values.T
    expected = (proxy.weights[:, None, None, None] * slopes).sum(axis=0)
    assert proxy.gradient(letters) == pytest.approx(expected, abs=1e-5)


def test_normal_scores_keep_the_order_and_lead_back(tiny_task: Tiny) -> None:
    task = tiny_task(0)
    normal, scale = normal_scores(task)
    scaled = scaled_scores(task)
    assert normal.mean() == pytest.approx(0.0, abs=1e-9) and normal.std() == pytest.approx(1.0)
    assert (np.argsort(normal, kind="stable") == np.argsort(scaled, kind="stable")).all()
    assert scale.to_scaled(normal) == pytest.approx(scaled)
    beyond = np.linspace(normal.min() - 3.0, normal.max() + 3.0, 200)
    assert (np.diff(scale.to_scaled(beyond)) >= 0).all()
    assert scale.to_scaled(beyond)[-1] > 1.0


@given(arrays.arrays(np.int64, (3, 12), elements=st.integers(-5, 5)), st.integers(0, 2))
def test_stacking_gives_all_to_a_kind_that_is_right_and_shares_add_up(
    predictions: np.ndarray, right: int
) -> None:
    predictions = predictions.astype(np.float64)
    shares = stacking_weights(predictions, np.arange(12.0) - 5.5)
    assert (shares >= 0).all() and shares.sum() == pytest.approx(1.0)
    known = predictions.copy()
    known[right] = np.arange(12.0) - 5.5
    apart = np.linalg.matrix_rank(known) == 3  # else others may be right together
    assert not apart or stacking_weights(known, known[right])[right] == pytest.approx(1.0, abs=1e-6)


def test_the_same_generator_gives_the_same_proxy(tiny_task: Tiny) -> None:
    task = tiny_task(0)
    one, other = (fit_proxy(task, np.random.default_rng(5)) for _ in range(2))
    assert (one.predict_members(task.sequences) == other.predict_members(task.sequences)).all()


def test_a_fitted_proxy_predicts_what_it_always_has(tiny_task: Tiny) -> None:
    task = tiny_task(0)
    proxy = fit_proxy(task, np.random.default_rng(5), members=2)
    mean, spread = proxy.predict(task.sequences[::24])
    found = {"weights": proxy.weights, "mean": mean, "spread": spread}
    for name, numbers in json.loads(GOLDEN.read_text()).items():
        assert found[name] == pytest.approx(numbers, abs=1e-4), (
            f"the proxy has changed ({name}); if that was meant, raise the environment's version "
            f"and record it in {GOLDEN.name}"
        )


def test_seconds_cut_training_short_by_steps_and_by_the_dearest_kind(tiny_task: Tiny) -> None:
    proxy = fit_proxy(tiny_task(0), np.random.default_rng(5), seconds=1e-3, members=2)
    assert proxy.n_members <= 4
    rng = np.random.default_rng(5)
    trainer = Trainer(KINDS["total match"](rng), some_tokens(50), np.arange(50.0), rng)
    trainer.train(100, until=0.0)
    assert trainer.steps == 0


def test_the_reference_proxy_is_of_the_sealed_task(tiny_task: Tiny) -> None:
    task = tiny_task(1)
    assert reference_proxy(task) is reference_proxy(seal(task))
