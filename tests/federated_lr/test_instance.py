"""Federations: what is refused, what sealing leaves, and what settings change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sysopt_gym.core.errors import InstanceError, SettingError
from sysopt_gym.datasets.federated_lr.generator import generate
from sysopt_gym.datasets.federated_lr.instance import (
    CURVE,
    Federation,
    make_federation,
    seal,
    terms_of,
)
from sysopt_gym.datasets.federated_lr.partition import federation_of
from sysopt_gym.datasets.federated_lr.settings import SETTINGS, with_settings

Fields = Callable[..., dict[str, Any]]
LAW = [0.1, 1.0, 0.5, 0.2, 0.9, 0.3]


def with_value(value: float) -> np.ndarray:
    rows = np.ones((8, 3), np.float32)
    rows[5, 1] = value
    return rows


@pytest.fixture(scope="module")
def digits_like() -> Federation:
    rng = np.random.default_rng(7)
    images = rng.random((400, 1, 8, 8)).astype(np.float32)
    return federation_of("images", images, rng.integers(0, 10, 400), clients=20)


@pytest.fixture(scope="module")
def text() -> Federation:
    rng = np.random.default_rng(8)
    rows = rng.integers(0, 9, (60, 5))
    owner = np.arange(60) % 4
    return federation_of(
        "text", rows[:, :-1].astype(np.uint8), rows[:, 1:], owner=owner, model="gru", width=4
    )


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"owner": np.array([0, 0, 1, 1, 3, 3, 3, 3])}, "client 2 has no rows; leave it out"),
        ({"owner": np.array([1, 1, 1, 1, 2, 2, 2, 2])}, "client 0 has no rows"),
        ({"owner": np.full(8, 10**15)}, "client 0 has no rows"),
        ({"owner": np.array([0, 0, 1, 1, -1, 3, 3, 3])}, r"owner\[4\] is -1, .*number the clients"),
        ({"owner": np.arange(7)}, r"owner has shape \(7,\), expected \(8,\); .*Client of each"),
        ({"owner": np.arange(8) / 2}, "owner has dtype float64, expected int64"),
        ({"inputs": with_value(np.nan)}, r"inputs\[5, 1\] is nan; drop or mend the row"),
        ({"inputs": with_value(np.inf)}, r"inputs\[5, 1\] is inf"),
        ({"val_inputs": with_value(np.nan)[4:6]}, r"val_inputs\[1, 1\] is nan"),
        ({"test_inputs": with_value(np.nan)[4:6]}, r"test_inputs\[1, 1\] is nan"),
        ({"inputs": with_value(0).astype(np.float64)}, "inputs has dtype float64"),
        ({"val_inputs": np.ones((2, 4), np.float32)}, r"rows of \(4,\), expected \(3,\)"),
        ({"val_inputs": np.ones((0, 3), np.float32)}, r"val_labels has shape \(2,\)"),
        (
            {"val_inputs": np.ones((0, 3), np.float32), "val_labels": np.zeros(0, np.int64)},
            "val_inputs holds no rows",
        ),
        ({"labels": np.full(8, 3)}, r"labels\[0\] is 3, outside 0\.\.2"),
        ({"labels": np.full(8, -1)}, r"labels\[0\] is -1"),
        ({"labels": np.zeros((8, 2), np.int64)}, "the labels of inputs are int64"),
        ({"labels": np.zeros(8)}, "labels has dtype float64, expected int64"),
        ({"classes": 1}, "classes is 1"),
        ({"classes": 10**9}, "classes is 1000000000"),
        ({"participants": 0}, "participants is 0; give a whole number from 1"),
        ({"participants": 5}, "participants is 5, but there are 4 clients; set participants=4"),
        ({"rounds": 0}, "rounds is 0"),
        ({"rounds": 10**6}, "rounds is 1000000; give a whole number from 1 to 10000"),
        ({"local_steps": 0}, "local_steps is 0"),
        ({"local_steps": 1.5}, "local_steps is 1.5; give a whole number"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"alpha": 0.0}, "alpha is 0; give a number from 0.001 to 100"),
        ({"alpha": 1e9}, r"alpha is 1e\+09; give a number"),
        ({"alpha": float("nan")}, "alpha is nan"),
        ({"beta": 0.0}, "beta is 0; give a number from 1e-06 to 10"),
        ({"beta": 1e9}, r"beta is 1e\+09; give a number"),
        ({"drift": -1.0}, "drift is -1"),
        ({"stragglers": 1.5}, "stragglers is 1.5; give a number from 0 to 1"),
        ({"target": 2.0}, "target is 2"),
        ({"model": "transformer"}, "model 'transformer' is unknown; known: logistic"),
        ({"objective": "speed"}, "objective 'speed' is unknown; known: final_accuracy"),
        ({"model": "mlp", "width": 0}, "mlp needs at least 1 hidden unit"),
        ({"model": "cnn", "width": 4}, "which cnn cannot read"),
        ({"model": "gru", "width": 4}, "labels of inputs are int64"),
    ],
)  # fmt: skip
def test_impossible_federations_are_refused_by_place_and_remedy(
    fields: Fields, changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(InstanceError, match=told):
        make_federation("tiny", **fields(**changes))


def test_images_too_small_to_be_halved_twice_are_no_input_of_cnn(fields: Fields) -> None:
    small = np.ones((8, 1, 3, 3), np.float32)
    held = {"val_inputs": small[:2], "test_inputs": small[:2]}
    with pytest.raises(InstanceError, match="needs 4 pixels a side"):
        make_federation("tiny", **fields(model="cnn", width=2, inputs=small, **held))


@pytest.mark.parametrize(
    "law",
    [
        LAW[:5],
        [-0.1, *LAW[1:]],
        [*LAW[:4], 1.0, LAW[5]],
        [*LAW[:5], 0.0],
        [np.nan, *LAW[1:]],
        [0.0, 0.0, *LAW[2:]],
        [LAW[0], LAW[1], 400.0, *LAW[3:5], 0.1],
    ],
)
def test_a_law_that_no_curve_follows_is_refused(law: list[float]) -> None:
    with pytest.raises(InstanceError, match=r"law(\[0\])? is"):
        make_federation("curve", model=CURVE, participants=1, law=np.array(law))


def test_a_sealed_federation_lacks_the_test_rows_and_nothing_else(tiny: Federation) -> None:
    sealed = seal(tiny)
    assert sealed.sealed and not tiny.sealed
    assert len(sealed.test_inputs) == len(sealed.test_labels) == 0
    assert terms_of(sealed) == terms_of(tiny)
    assert np.array_equal(sealed.val_inputs, tiny.val_inputs)
    assert seal(sealed) is sealed


def test_a_federation_comes_back_from_its_file(tiny: Federation, tmp_path: Path) -> None:
    tiny.save(tmp_path / "tiny.npz")
    again = Federation.load(tmp_path / "tiny.npz")
    assert again.content_hash == tiny.content_hash and again.name == "tiny"
    assert seal(tiny).content_hash != tiny.content_hash


EXAMPLES = {
    "alpha": "2", "beta": "0.5", "rounds": "7", "participants": "3", "local_steps": "2",
    "batch": "9", "model": "mlp", "width": "5", "clients": "11", "skew": "iid", "drift": "1.5",
    "label_drift": "2", "stragglers": "0.25", "noise": "0.1", "target": "0.9",
    "objective": "area_under_curve",
}  # fmt: skip


def test_every_setting_changes_the_federation_and_only_what_it_names(
    digits_like: Federation,
) -> None:
    assert set(EXAMPLES) == set(SETTINGS) - {"client_column", "label_column"}  # of tables alone
    fields = {"batch": "batch_size", "clients": "owner", "skew": "owner", "noise": "labels",
              "label_drift": "relabel"}  # fmt: skip
    more = {"model": {"width"}, "label_drift": {"changes"}}
    for key, text in EXAMPLES.items():
        changed = with_settings(digits_like, {key: text})
        allowed = {fields.get(key, key)} | more.get(key, set())
        moved = {
            name
            for name in Federation.__slots__
            if not np.array_equal(getattr(changed, name), getattr(digits_like, name))
        }
        assert fields.get(key, key) in moved <= allowed


def test_settings_give_the_same_federation_in_any_order(digits_like: Federation) -> None:
    forth = with_settings(digits_like, EXAMPLES)
    back = with_settings(digits_like, dict(reversed(EXAMPLES.items())))
    assert forth.content_hash == back.content_hash
    assert (forth.clients, forth.participants, forth.model, forth.width) == (11, 3, "mlp", 5)


def test_no_settings_leave_a_federation_as_it_is(tiny: Federation) -> None:
    assert with_settings(tiny, {}) is tiny


def test_label_noise_replaces_the_share_asked_for_and_nothing_held_out(
    digits_like: Federation,
) -> None:
    noisy = with_settings(digits_like, {"noise": "0.25"})
    assert np.count_nonzero(noisy.labels != digits_like.labels) == round(
        0.25 * len(digits_like.labels)
    )
    assert np.array_equal(noisy.val_labels, digits_like.val_labels)
    assert np.array_equal(noisy.test_labels, digits_like.test_labels)


def test_the_smaller_the_skew_the_fewer_labels_a_client_has(digits_like: Federation) -> None:
    def labels_a_client(skew: str) -> float:
        made = with_settings(digits_like, {"skew": skew})
        pairs = np.unique(np.stack([made.owner, made.labels]), axis=1)
        return pairs.shape[1] / made.clients

    assert labels_a_client("0.05") < labels_a_client("0.5") < labels_a_client("iid")


def test_a_model_that_had_no_width_gets_one_and_keeps_it_otherwise(
    digits_like: Federation,
) -> None:
    mlp = with_settings(digits_like, {"model": "mlp"})
    assert (mlp.model, mlp.width) == ("mlp", 32)
    assert with_settings(mlp, {"model": "cnn"}).width == 32
    assert with_settings(digits_like, {"model": "cnn"}).width == 8
    assert with_settings(mlp, {"model": "logistic"}).width == 0


@pytest.mark.parametrize(
    ("values", "error", "told"),
    [
        ({"alpha": "fast"}, SettingError, "alpha='fast'; give a number"),
        ({"alpha": "0"}, InstanceError, "alpha is 0; give a number"),
        ({"beta": "1e9"}, InstanceError, r"beta is 1e\+09"),
        ({"beta": "nan"}, SettingError, "beta='nan'"),
        ({"rounds": "5.5"}, SettingError, "rounds='5.5'; give a whole number"),
        ({"rounds": "9" * 5000}, SettingError, "rounds="),
        ({"rounds": "²"}, SettingError, "rounds="),
        ({"participants": "0"}, InstanceError, "participants is 0"),
        ({"participants": "21"}, InstanceError, "there are 20 clients; set participants=20"),
        ({"clients": "0"}, SettingError, "clients='0'; give a whole number from 1"),
        ({"clients": "281"}, InstanceError, "280 rows to train on cannot be shared among 281"),
        ({"clients": "5"}, InstanceError, "set participants=5 or fewer"),
        ({"skew": "0"}, SettingError, "skew='0'; give a number from 0.001 to 1000, or iid"),
        ({"skew": "high"}, SettingError, "skew='high'"),
        ({"label_drift": "101"}, SettingError, "label_drift='101'"),
        ({"noise": "1.5"}, SettingError, "noise='1.5'; give a number from 0 to 1"),
        ({"model": "curve"}, SettingError, "model='curve'; give one of logistic"),
        ({"model": "gru"}, SettingError, "rows of images are numbers; give one of logistic, mlp"),
        ({"objective": "loss"}, SettingError, "objective='loss'; give one of final_accuracy"),
        ({"model": "mlp", "width": "0"}, InstanceError, "mlp needs at least 1 hidden unit"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(
    digits_like: Federation, values: dict[str, str], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        with_settings(digits_like, values)


def test_flat_rows_are_no_images(tiny: Federation) -> None:
    with pytest.raises(SettingError, match=r"needs images .N, channels, height, width."):
        with_settings(tiny, {"model": "cnn"})


def test_text_is_partitioned_evenly_and_has_no_class_to_be_skewed_by(text: Federation) -> None:
    spread = with_settings(text, {"clients": "6", "participants": "2"})
    assert np.ptp(np.bincount(spread.owner)) <= 1
    with pytest.raises(InstanceError, match="set skew=iid"):
        with_settings(text, {"skew": "0.5"})
    with pytest.raises(SettingError, match="are text; give one of gru, lstm"):
        with_settings(text, {"model": "mlp"})
    assert with_settings(text, {"model": "lstm"}).width == text.width


def test_a_learning_curve_has_rates_and_rounds_but_no_data_to_change() -> None:
    drawn = generate({"kind": CURVE}, 0)
    assert terms_of(with_settings(drawn, {"rounds": "9", "beta": "0.2"})).rounds == 9
    with pytest.raises(SettingError, match=r"clients='5': .* learning curve without data"):
        with_settings(drawn, {"clients": "5"})
