"""Models of many clients at once: each client's numbers are those of the plain model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sysopt_gym.datasets.federated_lr.instance import CURVE, DENSE, MODELS, Federation
from sysopt_gym.envs.federated_lr.models import Model, model_of
from sysopt_gym.envs.federated_lr.reference import task_of

World = Callable[..., Federation]
CLIENTS = 3
trained = pytest.mark.parametrize("model", [model for model in MODELS if model != CURVE])


def batch(f: Federation, rows: int) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """Inputs [CLIENTS, rows, ...] and labels as the models take them, and which rows they are."""
    which = np.random.default_rng(rows).integers(0, len(f.labels), (CLIENTS, rows))
    inputs = f.inputs.astype(np.float64 if f.inputs.dtype.kind == "f" else np.int64)
    return torch.from_numpy(inputs[which]), torch.from_numpy(f.labels[which]), which


def weights_of(model: Model, seed: int = 0) -> torch.Tensor:
    """Weights [CLIENTS, P], each client its own."""
    drawn = np.random.default_rng(seed).normal(size=(CLIENTS, model.size))
    return torch.from_numpy(2.0 * drawn * model.bounds())


@trained
@given(rows=st.integers(1, 9), seed=st.integers(0, 1000))
@settings(max_examples=6, deadline=None)
def test_losses_and_slopes_of_many_clients_are_those_of_one_after_the_other(
    world: World, model: str, rows: int, seed: int
) -> None:
    f = world(model)
    many, (plain, size, bounds) = model_of(f), task_of(f)
    assert many.size == size and np.array_equal(many.bounds(), bounds)
    inputs, labels, which = batch(f, rows)
    weights = weights_of(many, seed)
    losses, slopes = many.gradient(weights, inputs, labels)
    for c in range(CLIENTS):
        loss, slope, _ = plain(weights[c].numpy(), f.inputs[which[c]], f.labels[which[c]])
        assert losses[c].item() == pytest.approx(loss, rel=1e-12)
        assert slopes[c].numpy() == pytest.approx(slope, rel=1e-9, abs=1e-13)


@trained
def test_loss_and_accuracy_of_many_models_on_the_same_rows_are_those_of_one(
    world: World, model: str
) -> None:
    f = world(model)
    many, (plain, *_) = model_of(f), task_of(f)
    held = torch.from_numpy(f.val_inputs.astype(np.float64 if model in (*DENSE, "cnn") else int))
    weights = weights_of(many)
    losses, accuracies = many.evaluate(weights, held, torch.from_numpy(f.val_labels.copy()))
    for c in range(CLIENTS):
        loss, _, accuracy = plain(weights[c].numpy(), f.val_inputs, f.val_labels)
        assert losses[c].item() == pytest.approx(loss, rel=1e-12)
        assert accuracies[c].item() == accuracy


@pytest.mark.parametrize("kind", DENSE)
@pytest.mark.parametrize("rows", [1, 3, 4, 7, 16])
def test_compiled_dense_models_are_torchs(world: World, kind: str, rows: int) -> None:
    f = world(kind, width=5 if kind == "mlp" else 0)
    compiled = model_of(f)
    general = dataclasses.replace(compiled, sizes=())
    inputs, labels, _ = batch(f, rows)
    weights = weights_of(compiled)
    mine, its = (
        (*model.gradient(weights, inputs, labels), *model.evaluate(weights, inputs[0], labels[0]))
        for model in (compiled, general)
    )
    for one, other in zip(mine, its, strict=True):
        assert torch.allclose(one, other, rtol=1e-12, atol=1e-14)


def test_slopes_are_what_the_loss_changes_by(world: World) -> None:
    f = world("mlp")
    model = model_of(f)
    inputs, labels, _ = batch(f, 5)
    weights, aside = weights_of(model), torch.randn(CLIENTS, model.size, dtype=torch.float64)
    _, slopes = model.gradient(weights, inputs, labels)
    ahead, behind = (
        model.gradient(weights + way * 1e-6 * aside, inputs, labels)[0] for way in (1, -1)
    )
    assert torch.allclose((ahead - behind) / 2e-6, (slopes * aside).sum(1), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf, 1e200])
def test_a_relu_swallows_no_number_that_is_not_finite(world: World, broken: float) -> None:
    f = world("mlp")
    model = model_of(f)
    inputs, labels, _ = batch(f, 6)
    inputs[:, :, 0] = 0.0  # an infinite weight times this is NaN
    inputs[:, :, 1] = 1e200
    weights = weights_of(model)
    weights[:, 0] = weights[:, 1] = broken
    losses, slopes = model.gradient(weights, inputs, labels)
    assert not losses.isfinite().any() and not slopes.isfinite().all(1).any()
    assert not model.evaluate(weights, inputs[0], labels[0])[0].isfinite().any()


@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
def test_clients_learn_also_where_a_player_has_gradients_switched_off(
    world: World, off: Any
) -> None:
    f = world("gru")
    model = model_of(f)
    inputs, labels, _ = batch(f, 4)
    weights = weights_of(model)
    with off():
        loss, slope = model.gradient(weights.clone(), inputs.clone(), labels.clone())
    wanted = model.gradient(weights, inputs, labels)
    assert torch.equal(loss, wanted[0]) and torch.equal(slope, wanted[1])
