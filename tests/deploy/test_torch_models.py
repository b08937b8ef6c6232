"""The strategy with PyTorch's models: every kind of array in a state dict, round after round."""

from __future__ import annotations

import logging
from typing import Any

import flower_nets as nets
import ml_dtypes
import numpy as np
import pytest
import torch
from flower_clients import Grid, Steady, a_server_app  # noqa: F401
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from hypothesis import given, settings
from hypothesis import strategies as st
from sysopt_gym.core.errors import SettingError, UnknownNameError
from sysopt_gym.core.registry import load_contender
from sysopt_gym.datasets.federated_lr.instance import Terms
from sysopt_gym.deploy.flower.arrays import layout_of, read
from sysopt_gym.deploy.flower.strategy import controller_strategy
from torch import nn

ROUNDS = 6
TERMS = Terms(
    rounds=ROUNDS, clients=3, participants=3, local_steps=3, batch_size=24, alpha=1.0, beta=0.2
)
NETS = [nets.Images, nets.Transformer, nets.Recurrent]


class NetGrid(Grid):
    """Clients that train a net; notes what each returned."""

    def __init__(self, net: type[nn.Module], names: bool = True) -> None:
        super().__init__(self.train)
        self.net, self.names = net, names
        self.returned: list[list[tuple[int, ArrayRecord]]] = []

    def train(self, message: Message) -> RecordDict:
        if not self.names:
            state = dict(zip(nets.made(self.net).state_dict(),
                             message.content["arrays"].values(), strict=True))  # fmt: skip
            message.content["arrays"] = ArrayRecord(state)
        model, metrics = nets.trained(self.net, message, message.metadata.dst_node_id)
        arrays = ArrayRecord(model.state_dict())
        turn = int(message.content["config"]["server-round"])
        while len(self.returned) < turn:
            self.returned.append([])
        self.returned[turn - 1].append((int(metrics["num-examples"]), arrays))
        return RecordDict({"arrays": arrays if self.names else nets.unnamed(arrays),
                           "metrics": metrics})  # fmt: skip


def run(
    net: type[nn.Module], controller: Any, *, names: bool = True, first: Any = None, **options: Any
) -> tuple[Any, Any, NetGrid]:
    """A whole run: the strategy, its result and the clients."""
    grid, state = NetGrid(net, names), nets.made(net).state_dict()
    first = first or ArrayRecord(state)

    def validate(arrays: ArrayRecord) -> tuple[float, float]:
        return nets.validation(net)(ArrayRecord(dict(zip(state, arrays.values(), strict=True))))

    if isinstance(controller, str):
        controller = load_contender("federated_lr", controller).object()
    strategy = controller_strategy(controller, TERMS, validate, fraction_evaluate=0.0, **options)
    result = strategy.start(grid, first if names else nets.unnamed(first))
    return strategy, result, grid


@pytest.mark.parametrize("controller", ["fedavg", "fedavgm", "fedadam", "fedyogi_flower", "agent"])
@pytest.mark.parametrize("net", NETS)
def test_a_torch_model_trains_to_the_last_round(net: type[nn.Module], controller: str) -> None:
    strategy, result, grid = run(net, controller)
    assert sorted(result.train_metrics_clientapp) == list(range(1, ROUNDS + 1))
    assert not strategy.server.diverged
    losses = [info["validation_loss"] for info in strategy.server.history]
    assert strategy.server.validation[0] < losses[0]
    model = nets.made(net)
    model.load_state_dict(result.arrays.to_torch_state_dict(), strict=True)
    for name, before in nets.made(net).state_dict().items():
        after = model.state_dict()[name]
        assert (after.dtype, after.shape) == (before.dtype, before.shape), name
    if net is nets.Transformer:
        assert torch.equal(model.state_dict()["decoder.weight"],
                           result.arrays.to_torch_state_dict()["embedding.weight"])  # fmt: skip
        assert torch.equal(model.mask, nets.made(net).mask)
        assert torch.equal(model.positions, torch.arange(nets.LENGTH))
    assert len(grid.returned) == ROUNDS


@pytest.mark.parametrize("controller", ["fedavgm", "fedadam"])
def test_statistics_are_the_clients_means_whatever_the_servers_rule(controller: str) -> None:
    _, result, grid = run(nets.Images, controller)
    counts = np.array([count for count, _ in grid.returned[-1]], float)
    found = 0
    for name, array in result.arrays.items():
        if not name.rsplit(".", 1)[-1].startswith(("running", "num_batches")):
            continue
        returned = np.array([arrays[name].numpy() for _, arrays in grid.returned[-1]])
        mean = np.tensordot(counts / counts.sum(), returned, 1)
        np.testing.assert_allclose(array.numpy(), mean, rtol=1e-6, atol=1e-7)
        found += 1
        if name.endswith("running_var"):
            assert (array.numpy() > 0).all()
        if name.endswith("num_batches_tracked"):
            assert array.numpy() == 3 * ROUNDS and array.numpy().shape == ()
    assert found == 6


def values(result: Any) -> list[np.ndarray]:
    return [array.numpy() for array in result.arrays.values()]


def statistics_of_images() -> list[str]:
    names = list(nets.made(nets.Images).state_dict())
    return [name for name in names if name.rsplit(".", 1)[-1] in ("running_mean", "running_var")]


def test_statistics_named_or_not_or_in_a_list_without_names_are_the_same_run() -> None:
    names = list(nets.made(nets.Images).state_dict())
    places = [names.index(name) for name in statistics_of_images()]
    plain = values(run(nets.Images, "fedadam")[1])
    for options in (
        {"buffers": statistics_of_images()},
        {"buffers": places},
        {"names": False},
        {"names": False, "buffers": places},
        {"names": False, "buffers": [str(place) for place in places]},
    ):
        other = values(run(nets.Images, "fedadam", **options)[1])
        for one, two in zip(plain, other, strict=True):
            np.testing.assert_array_equal(one, two, err_msg=str(options))


def test_statistics_that_cannot_be_told_from_weights_are_spoken_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rows = [np.ones((4, 2)), np.ones(4), np.zeros(4), np.zeros(4), np.ones(4), np.ones((3, 4))]
    layout_of(ArrayRecord(rows), ())
    assert "name them by their places (buffers=[2, 3])" in caplog.text
    caplog.clear()
    parts = layout_of(ArrayRecord(rows), (3, 4)).parts
    assert [part.start is None for part in parts] == [False, False, False, True, True, False]


@pytest.mark.parametrize(
    ("buffer", "error", "told"),
    [
        ("layers.1.runing_mean", UnknownNameError, "did you mean 'layers.1.running_mean'"),
        ("layer.1.running_mean", UnknownNameError, "did you mean 'layers.1.running_mean'"),
        (99, SettingError, "the model has arrays 0 to 15"),
        (-1, SettingError, "the model has arrays 0 to 15"),
    ],
)
def test_a_buffer_that_the_model_does_not_have_is_refused(
    buffer: Any, error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        run(nets.Images, "fedavg", buffers=[buffer])


def test_a_buffer_that_a_layer_has_and_the_client_does_not_send_is_no_misspelling() -> None:
    state = nets.made(nets.Images).state_dict()
    sent = ArrayRecord({k: v for k, v in state.items() if not k.endswith("num_batches_tracked")})
    named = layout_of(sent, ["layers.1.num_batches_tracked", "layers.1.running_mean"])
    assert named == layout_of(sent, ())


def test_a_model_without_weights_or_with_nan_is_refused() -> None:
    with pytest.raises(SettingError, match="none of the model's arrays n is a weight"):
        layout_of(ArrayRecord({"n": Array(np.arange(3))}), ())
    with pytest.raises(SettingError, match="array 'w' of the first model holds NaN"):
        layout_of(ArrayRecord({"w": Array(np.array([1.0, np.nan]))}), ())
    small = Array(np.zeros(3, ml_dtypes.float8_e4m3fn))
    with pytest.raises(SettingError, match="type float8_e4m3fn, which cannot be averaged"):
        layout_of(ArrayRecord({"w": small}), ())


KINDS = ["float16", "float32", "float64", "bfloat16", "complex64", "int8", "int64", "uint8", "bool"]
SHAPES = [(), (0,), (1,), (3,), (2, 3)]


def typed(rng: np.random.Generator, kind: str, shape: tuple[int, ...]) -> np.ndarray:
    """Some numbers of a type."""
    if kind == "bool":
        return np.asarray(rng.random(shape) < 0.5)
    if kind in ("int8", "int64", "uint8"):
        return np.asarray(rng.integers(0, 100, shape), kind)
    real = np.asarray(rng.normal(size=shape))
    if kind == "complex64":
        return np.asarray(real + 1j * rng.normal(size=shape), kind)
    return np.asarray(real, ml_dtypes.bfloat16 if kind == "bfloat16" else kind)


def precise(array: np.ndarray) -> np.ndarray:
    return array.astype(complex if array.dtype.kind == "c" else float)


@given(
    parts=st.lists(st.tuples(st.sampled_from(KINDS), st.sampled_from(SHAPES)), max_size=6),
    counts=st.lists(st.integers(1, 1000), min_size=3, max_size=3),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=25, deadline=None)
def test_arrays_of_every_type_and_shape_keep_them_and_become_the_weighted_mean(
    parts: list[tuple[str, tuple[int, ...]]], counts: list[int], seed: int
) -> None:
    """Five rounds of FedAvg whose clients return whatever they like."""
    rng = np.random.default_rng(seed)
    kinds = {"w": ("float32", (2,)), **{f"x{row}": part for row, part in enumerate(parts)}}
    first = {name: typed(rng, *kind) for name, kind in kinds.items()}
    last: dict[int, dict[str, np.ndarray]] = {}

    def client(message: Message) -> RecordDict:
        node, config = message.metadata.dst_node_id, message.content["config"]
        last[node] = {name: typed(rng, *kind) for name, kind in kinds.items()}
        told = {"lr": config["lr"], "train_loss": 1.0, "gradient_norm": 1.0}
        metrics = MetricRecord({"num-examples": counts[node], **told})
        arrays = ArrayRecord({name: Array(array) for name, array in last[node].items()})
        return RecordDict({"arrays": arrays, "metrics": metrics})

    terms = Terms(5, 3, 3, 1, 1, 1.0, 0.1)
    strategy = controller_strategy(Steady(), terms, lambda a: (1.0, 0.5), fraction_evaluate=0.0)
    arrays = strategy.start(
        Grid(client), ArrayRecord({name: Array(array) for name, array in first.items()})
    ).arrays
    assert list(arrays) == list(first)
    shares = np.array(counts) / sum(counts)
    for name, (kind, shape) in kinds.items():
        assert (arrays[name].dtype, arrays[name].shape) == (kind, shape)
        found = read(name, arrays[name])
        mean = sum(share * precise(last[node][name]) for node, share in enumerate(shares))
        if kind in ("int8", "int64", "uint8"):
            assert (abs(found - mean) <= 0.5 + 1e-6).all()
        elif kind == "bool":
            sure = abs(mean - 0.5) > 1e-9
            assert (found[sure] == (mean > 0.5)[sure]).all()
        else:
            error = {"float16": 2e-3, "bfloat16": 2e-2, "float64": 1e-12}.get(kind, 1e-5)
            np.testing.assert_allclose(precise(np.asarray(found)), mean, atol=3 * error)


def test_bfloat16_is_rounded_as_ml_dtypes_rounds() -> None:
    rng = np.random.default_rng(0)
    exact = np.concatenate([rng.normal(size=999), [0.0, -0.0, 1e-40, 3e38, 1.00390625]])
    record = ArrayRecord({"w": Array(np.zeros(len(exact), ml_dtypes.bfloat16))})
    layout = layout_of(record, ())
    vector = exact.astype(np.float32)
    sent = layout.record(vector, {})
    rounded = vector.astype(ml_dtypes.bfloat16).astype(np.float32)
    np.testing.assert_array_equal(read("w", sent["w"]), rounded)
    np.testing.assert_array_equal(sent["w"].numpy().view(ml_dtypes.bfloat16), rounded)


def test_weights_of_half_precision_move_by_the_servers_rule() -> None:
    """The step is computed from the model as it was sent, and rounded once."""

    def client(message: Message) -> RecordDict:
        w = read("w", message.content["arrays"]["w"]).astype(np.float32)
        told = {"lr": message.content["config"]["lr"], "train_loss": 1.0, "gradient_norm": 1.0}
        back = ArrayRecord({"w": Array((w + 0.5).astype(np.float16))})
        return RecordDict({"arrays": back, "metrics": MetricRecord({"num-examples": 1, **told})})

    first = ArrayRecord({"w": Array(np.zeros(4, np.float16))})
    strategy = controller_strategy(
        Steady(0.5), Terms(5, 3, 3, 1, 1, 1.0, 0.1), lambda a: (1.0, 0.5), fraction_evaluate=0.0
    )
    result = strategy.start(Grid(client), first)
    np.testing.assert_allclose(result.arrays["w"].numpy(), np.full(4, 1.25), rtol=1e-3)


def test_what_is_weight_and_what_is_not_is_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    layout_of(ArrayRecord(nets.made(nets.Images).state_dict()), ())
    assert "averaged and never stepped: layers.1.running_mean, layers.1.running_var" in caplog.text
