"""Named sets: what is in them, and that they are drawn the same everywhere.

golden/hashes.json holds `digest` of each set that needs no data folder.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sysopt_gym.core.errors import InstanceError, MissingDependencyError, UnknownNameError
from sysopt_gym.datasets.federated_lr.digits import digits
from sysopt_gym.datasets.federated_lr.instance import CURVE, Federation
from sysopt_gym.datasets.federated_lr.splits import SETS

DataFile = Callable[[str], Path]
GOLDEN: dict[str, str] = json.loads((Path(__file__).parent / "golden" / "hashes.json").read_text())
PUBLIC = {
    "optdigits-grid": ("optdigits.tra", "optdigits.tes", "optdigits.hol"),
    "mnist10k-grid": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
    "shakespeare-grid": ("tinyshakespeare.txt",),
    "mixed:test": ("optdigits.tra",),
    "drifting:test": ("optdigits.tra",),
    "drifting-wide:test": ("optdigits.tra",),
}
GRIDS = [name for name in SETS if name.endswith("-grid")]


def digest(name: str) -> str:
    """Of the content hashes of a set's federations, in order."""
    text = " ".join(federation.content_hash for federation in SETS.load(name))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@pytest.mark.parametrize("name", [name for name in SETS if name not in PUBLIC])
def test_a_set_is_drawn_as_it_was_recorded(name: str) -> None:
    assert digest(name) == GOLDEN[name]


@pytest.mark.parametrize("name", GRIDS)
def test_a_grid_is_one_federation_at_25_pairs_of_rates_in_the_same_memory(
    name: str, data_file: DataFile
) -> None:
    for file in PUBLIC.get(name, ()):
        data_file(f"federated/{file}")
    grid = SETS.load(name)
    assert [(one.beta, one.alpha) for one in grid] == [
        (beta, alpha)
        for beta in (0.001, 0.005, 0.01, 0.05, 0.1)
        for alpha in (0.5, 0.75, 1, 1.5, 2)
    ]
    assert grid[7].name == f"{name}/b0.005-a1"
    for field in ("inputs", "labels", "owner", "val_inputs", "test_inputs"):
        assert all(np.shares_memory(getattr(one, field), getattr(grid[0], field)) for one in grid)
    [single] = SETS.load(f"{name}/7")
    assert single.content_hash == grid[7].content_hash


def test_the_grid_of_digits_is_of_fedhypers_shape() -> None:
    one = SETS.load("digits-grid")[0]
    assert (one.clients, one.participants, one.local_steps, one.batch_size) == (100, 10, 5, 16)
    assert (one.rounds, one.model, one.inputs.max()) == (50, "logistic", 1)


def test_digits_are_those_of_scikit_learn() -> None:
    pixels, labels = load_digits(return_X_y=True)
    images, ours = digits()
    assert np.array_equal(images.reshape(-1, 64) * 16, pixels) and np.array_equal(ours, labels)


def test_without_scikit_learn_the_digits_say_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'sysopt-gym\[federated\]'"):
        digits.__wrapped__()


def test_mnist_is_pooled_to_14_pixels_a_side(data_file: DataFile) -> None:
    data_file("federated/t10k-images-idx3-ubyte.gz")
    one = SETS.load("mnist10k-grid")[0]
    assert one.inputs.shape == (8000, 1, 14, 14)
    assert len(one.val_labels) == len(one.test_labels) == 1000
    assert (one.clients, one.participants, one.local_steps, one.batch_size) == (100, 10, 10, 32)


def test_speakers_of_shakespeare_are_clients(data_file: DataFile) -> None:
    data_file("federated/tinyshakespeare.txt")
    one = SETS.load("shakespeare-grid")[0]
    assert (one.clients, one.classes, one.inputs.shape[1], one.rounds) == (141, 65, 16, 30)
    assert len(one.val_labels) == len(one.test_labels) == 200


def test_a_missing_public_file_is_named_with_its_place(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SYSOPT_DATA", str(tmp_path))
    for name, files in PUBLIC.items():
        with pytest.raises(InstanceError) as told:
            SETS.load(name)
        path = tmp_path / "federated" / files[0]
        assert f"no file {path}; put {files[0]} of " in str(told.value)
        assert f"SYSOPT_DATA to the folder that holds federated/{files[0]}" in str(told.value)


def test_an_unknown_set_and_an_unknown_federation_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="cifar-grid"):
        SETS.load("cifar-grid")
    with pytest.raises(UnknownNameError, match="it holds digits-grid/0 to digits-grid/24"):
        SETS.load("digits-grid/25")


def digits_in(federations: list[Federation]) -> set[bytes]:
    """All pictures of digits, whatever they were scaled and enlarged by."""
    found = set()
    for one in federations:
        for part in ("inputs", "val_inputs", "test_inputs"):
            rows = getattr(one, part)
            if rows.ndim == 4:
                step = rows.shape[-1] // 8
                pixels = rows[:, 0, ::step, ::step] / one.inputs.max() * 16
                found |= {row.tobytes() for row in pixels.round().astype(np.int8)}
    return found


def test_agents_are_chosen_by_digits_they_were_not_trained_on() -> None:
    train, val = digits_in(SETS.load("mixed:train")), digits_in(SETS.load("mixed:val"))
    assert len(train) > 1000 and len(val) > 300
    assert not train & val


@pytest.mark.parametrize("kind", ["mixed", "drifting"])
def test_what_agents_are_measured_on_has_digits_that_no_other_set_has(
    kind: str, data_file: DataFile
) -> None:
    data_file("federated/optdigits.tra")
    test = SETS.load(f"{kind}:test")
    known = digits_in(SETS.load(f"{kind}:train")) | digits_in(SETS.load(f"{kind}:val"))
    found = digits_in(test)
    # Of 8 x 8 pixels in 17 shades, some are alike by chance.
    assert len(test) == 32 and len(found) > 1000 and len(found & known) < 0.02 * len(found)
    assert not {one.content_hash for one in test} & {
        one.content_hash for part in ("train", "val") for one in SETS.load(f"{kind}:{part}")
    }


def test_in_drifting_federations_clients_come_and_go_and_labels_change() -> None:
    drifting = SETS.load("drifting:val")
    assert all(one.drift >= 1 and 1 <= len(one.changes) <= 4 for one in drifting)
    assert {one.objective for one in drifting} == {"area_under_curve"}
    assert {one.model for one in drifting} == {"logistic", "mlp", "gru"}


def test_federations_to_train_on_are_of_many_kinds() -> None:
    train = SETS.load("mixed:train")
    assert len({one.content_hash for one in train}) == 240
    assert {one.model for one in train} == {"logistic", "mlp", "gru"}
    assert all(20 <= one.rounds <= 60 and one.participants <= one.clients for one in train)
    assert all(5e-4 <= one.beta <= 0.2 and 0.3 <= one.alpha <= 3 for one in train)
    for field in ("drift", "stragglers"):
        share = np.mean([getattr(one, field) > 0 for one in train])
        assert 0.1 < share < 0.5
    rates = np.log10([one.beta for one in train])
    assert rates.min() < -3 and rates.max() > -1


def test_curves_hold_no_data_and_have_one_participant() -> None:
    curves = SETS.load("curves:train")
    assert len(curves) == 200 and len(SETS.load("curves:val")) == 16
    assert all(one.model == CURVE and one.clients == 1 for one in curves)


def test_the_small_set_is_small() -> None:
    small = SETS.load("small:test")
    assert len(small) == 6 and all(len(one.labels) < 1000 for one in small)
