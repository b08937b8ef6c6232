"""Users' data sets: what each format becomes, and what is refused."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sysopt_gym.core.errors import InstanceError
from sysopt_gym.core.instance import save_archive
from sysopt_gym.core.notes import told_to
from sysopt_gym.datasets.federated_lr.generator import generate
from sysopt_gym.datasets.federated_lr.images import pooled
from sysopt_gym.datasets.federated_lr.instance import Federation
from sysopt_gym.datasets.federated_lr.loaders import load_file, play_federation
from sysopt_gym.datasets.federated_lr.text import speeches

DataFile = Callable[[str], Path]
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (60, 6, 5)).astype(np.uint8)
DIGITS = (np.arange(60) % 3).astype(np.uint8)


def idx(values: np.ndarray) -> bytes:
    sizes = b"".join(int(n).to_bytes(4, "big") for n in values.shape)
    return bytes([0, 0, 8, values.ndim]) + sizes + values.tobytes()


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """Images and labels as MNIST's are called; the images' file."""
    path = tmp_path / "toy-images-idx3-ubyte"
    path.write_bytes(idx(PIXELS))
    (tmp_path / "toy-labels-idx1-ubyte").write_bytes(idx(DIGITS))
    return path


def rows_of(made: Federation) -> np.ndarray:
    return np.concatenate([made.inputs, made.val_inputs, made.test_inputs])


def labels_of(made: Federation) -> np.ndarray:
    return np.concatenate([made.labels, made.val_labels, made.test_labels])


def test_idx_images_become_numbers_from_0_to_1_with_their_own_labels(pair: Path) -> None:
    made = load_file(pair)
    assert made.inputs.shape == (42, 1, 6, 5) and made.classes == 3
    known = {row.tobytes(): label for row, label in zip(PIXELS, DIGITS, strict=True)}
    for row, label in zip(rows_of(made), labels_of(made), strict=True):
        assert known[np.rint(row[0] * 255).astype(np.uint8).tobytes()] == label


def test_idx_files_may_be_gzipped_each_for_itself_and_either_may_be_given(pair: Path) -> None:
    plain = load_file(pair)
    labels = pair.with_name("toy-labels-idx1-ubyte")
    labels.with_name(labels.name + ".gz").write_bytes(gzip.compress(labels.read_bytes()))
    labels.unlink()
    assert load_file(pair).content_hash == plain.content_hash
    given = load_file(labels.with_name(labels.name + ".gz"))
    assert given.content_hash == plain.content_hash


def test_missing_labels_are_named_with_the_folder_they_belong_in(pair: Path) -> None:
    labels = pair.with_name("toy-labels-idx1-ubyte")
    labels.unlink()
    with pytest.raises(InstanceError) as told:
        load_file(pair)
    assert f"its labels are missing; put {labels.name} into {pair.parent}" in str(told.value)


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (idx(DIGITS[:-1]), "has 59 labels for the 60 images"),
        (idx(DIGITS)[:-1], "ends at byte 67, expected 68"),
        (idx(DIGITS)[:6], "ends within its head of 8 bytes"),
        (idx(PIXELS), r"expected images .N, height, width. and labels .N."),
        (b"\x00\x00\x0d\x01", "not an idx file of bytes"),
    ],
)
def test_labels_that_do_not_fit_are_refused_by_file(pair: Path, labels: bytes, told: str) -> None:
    pair.with_name("toy-labels-idx1-ubyte").write_bytes(labels)
    with pytest.raises(InstanceError, match=told):
        load_file(pair)


def test_an_idx_file_by_another_name_has_no_other_half(tmp_path: Path) -> None:
    (tmp_path / "train.bin").write_bytes(idx(PIXELS))
    with pytest.raises(InstanceError, match="call them NAME-images-idx3-ubyte"):
        load_file(tmp_path / "train.bin")


def test_a_damaged_gzip_and_one_without_end_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t.gz"
    path.write_bytes(gzip.compress(bytes(5000))[:-9])
    with pytest.raises(InstanceError, match=r"damaged gzip .*copy it again"):
        load_file(path)
    monkeypatch.setenv("SYSOPT_MAX_FILE_MB", "0.01")
    path.write_bytes(gzip.compress(bytes(10**5)))
    with pytest.raises(InstanceError, match="holds more than"):
        load_file(path)


def test_pooling_takes_the_mean_of_each_two_by_two() -> None:
    square = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    assert pooled(square)[0, 0].tolist() == [[2.5, 4.5], [10.5, 12.5]]


def test_a_batch_of_cifar_10_becomes_color_images(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, (40, 3072)).astype(np.uint8)
    pixels[:, 0] = 0
    labels = (np.arange(40) % 10).astype(np.uint8)
    path = tmp_path / "data_batch_1.bin"
    path.write_bytes(np.column_stack([labels, pixels]).tobytes())
    made = load_file(path)
    assert made.inputs.shape == (28, 3, 32, 32) and made.classes == 10
    red = made.inputs[0].reshape(-1)
    row = np.flatnonzero((pixels == np.rint(red * 255)).all(axis=1))
    assert labels[row] == made.labels[0]


def leaf(**changes: Any) -> str:
    users = [f"writer {n}" for n in range(5)]
    data = {
        user: {"x": RNG.random((8, 784)).round(3).tolist(), "y": [n, 7] * 4}
        for n, user in enumerate(users)
    }
    return json.dumps({"users": users, "num_samples": [8] * 5, "user_data": data} | changes)


def test_writers_of_femnist_are_clients_and_keep_their_images(tmp_path: Path) -> None:
    (tmp_path / "all_data_0.json").write_text(leaf())
    made = load_file(tmp_path / "all_data_0.json")
    assert made.clients == 5 and made.inputs.shape[1:] == (1, 28, 28) and made.classes == 8
    for client in range(5):
        assert set(made.labels[made.owner == client]) <= {client, 7}


def test_users_of_leafs_shakespeare_continue_their_texts(tmp_path: Path) -> None:
    data = {user: {"x": ["to be ", "or not"] * 4, "y": ["o", " "] * 4} for user in ("A", "B")}
    (tmp_path / "s.json").write_text(json.dumps({"users": ["A", "B"], "user_data": data}))
    made = load_file(tmp_path / "s.json")
    alphabet = sorted(set("to be or not"))
    spoken = {
        "".join(alphabet[code] for code in [*row, after[-1]])
        for row, after in zip(made.inputs, made.labels, strict=True)
    }
    assert spoken == {"to be o", "or not "} and made.model == "gru" and made.clients == 2
    assert np.array_equal(made.inputs[:, 1:], made.labels[:, :-1])


def test_users_without_rows_are_left_out_and_quoted_labels_are_numbers(tmp_path: Path) -> None:
    rows = {"x": RNG.random((9, 3)).round(3).tolist(), "y": [0, 1, 2] * 3}
    quoted = {"x": rows["x"], "y": [str(label) for label in rows["y"]]}
    data = {"a": rows, "b": {"x": [], "y": []}, "c": quoted, "d": rows}
    document = {"users": ["a", "b", "c"], "hierarchies": ["h"] * 3, "num_samples": [9, 0, 8]}
    (tmp_path / "l.json").write_text(json.dumps(document | {"user_data": data}))
    said: list[str] = []
    with told_to(said.append):
        made = load_file(tmp_path / "l.json")
    assert made.clients == 2 and made.classes == 3
    told = " | ".join(said)
    assert "1 of 3 users have no rows (the first is 'b'); left out" in told
    assert "1 users of user_data are not in users (the first is 'd')" in told
    assert "num_samples differs" in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "not valid JSON at line 1, column 2"),
        ("{}", "the fields 'users', 'user_data' are missing"),
        (json.dumps({"users": ["a"], "user_data": {}}), "user_data: the field 'a' is missing"),
        (json.dumps({"users": [], "user_data": {}}), "no user has any rows"),
        (
            json.dumps({"users": ["a"], "user_data": {"a": {"x": [], "y": []}}}),
            "no user has any rows",
        ),
        (
            json.dumps({"users": ["a"], "user_data": {"a": {"x": [[1]], "y": []}}}),
            "user_data.a: has 1 x and 0 y; give as many of each",
        ),
        (
            json.dumps({"users": ["a", "a"], "user_data": {"a": {"x": [[1]], "y": [0]}}}),
            r"users\[1\]: 'a' is named twice",
        ),
        (
            json.dumps(
                {"users": ["a"], "user_data": {"a": {"x": [[1], [float("nan")]], "y": [0, 1]}}}
            ),
            "user a, row 1: x holds something that is no finite number",
        ),
        (
            json.dumps({"users": ["a"], "user_data": {"a": {"x": [[1], [1, 2]], "y": [0, 1]}}}),
            "user a, row 1: x is no list of 1 numbers",
        ),
        (
            json.dumps({"users": ["a"], "user_data": {"a": {"x": [[10**400]], "y": [0]}}}),
            "user a, row 0: x holds something",
        ),
        (
            json.dumps({"users": ["a"], "user_data": {"a": {"x": [[1]], "y": [0.5]}}}),
            "user a, row 0: y is 0.5; give a whole number",
        ),
        (
            json.dumps({"users": ["a"], "user_data": {"a": {"x": ["ab", "c"], "y": ["c", "d"]}}}),
            "user a: 'c' has 1 characters .* expected 2",
        ),
        (
            json.dumps(
                {"users": ["a"], "user_data": {"a": {"x": ["c", "ab", "de"], "y": ["c", "d", "e"]}}}
            ),
            "user a: 'c' has 1 characters .* expected 2",
        ),
        (
            json.dumps({"users": ["a"], "user_data": {"a": {"x": ["000001.jpg"], "y": [1]}}}),
            "user a, row 0: .*LEAF's CelebA: the file holds no pixels",
        ),
        (
            json.dumps({"users": ["a"], "user_data": {"a": {"x": [["1", "good day"]], "y": [1]}}}),
            "user a, row 0: .*LEAF's Sent140: no model here classifies texts",
        ),
        (
            json.dumps({"users": ["a"], "user_data": {"a": {"x": ["good day"], "y": [1]}}}),
            "user a, row 0: .*LEAF's Sent140: no model here classifies texts",
        ),
        (
            json.dumps({"users": ["a"], "user_data": {"a": {"x": [[["hi"]]], "y": [{"n": 1}]}}}),
            "user a, row 0: .*LEAF's Reddit: no model here predicts words",
        ),
        (
            json.dumps({"users": ["a"], "user_data": {"a": {"x": ["ab", 1], "y": ["c", "d"]}}}),
            "user a: x and y are not texts throughout",
        ),
    ],
)
def test_a_malformed_leaf_file_is_refused_by_user_and_row(
    tmp_path: Path, text: str, told: str
) -> None:
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(InstanceError, match=rf"bad\.json.*{told}"):
        load_file(tmp_path / "bad.json")


def table(tmp_path: Path, *lines: str, header: str = "age,client,pay,label") -> Path:
    path = tmp_path / "own.csv"
    path.write_text("\n".join([header, *lines]))
    return path


def people(count: int) -> list[str]:
    return [f"{20 + n},{'abc'[n % 3]},{n * n},{'yes' if n % 2 else 'no'}" for n in range(count)]


def test_a_table_is_scaled_by_what_is_trained_on_and_keeps_its_clients(tmp_path: Path) -> None:
    made = load_file(table(tmp_path, *people(60)))
    assert made.clients == 3 and made.classes == 2
    assert made.inputs.mean(axis=0) == pytest.approx([0, 0], abs=1e-6)
    assert made.inputs.std(axis=0) == pytest.approx([1, 1], rel=1e-5)
    # Age rises by one a row and rows alternate no, yes: its rank tells label and client.
    age = rows_of(made)[:, 0]
    rank = np.argsort(np.argsort(age))
    assert np.array_equal(rank % 2, labels_of(made))
    assert np.array_equal(rank[: len(made.owner)] % 3, made.owner)


def test_numeric_labels_keep_their_order_and_rows_without_clients_are_partitioned(
    tmp_path: Path,
) -> None:
    lines = [f"{n},{(2, 10)[n % 2]}" for n in range(100)]
    made = load_file(table(tmp_path, *lines, header="x,label"))
    rank = np.argsort(np.argsort(rows_of(made)[:, 0]))
    assert np.array_equal(labels_of(made), rank % 2)
    assert made.clients == 7 and made.participants == 7


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("x,a,1,yes", "row 3, column 'age': is 'x', expected a number"),
        ("1,a,inf,yes", "row 3, column 'pay': is inf, expected a finite number"),
        ("1,a,1e300,yes", "row 3, column 'pay': is 1e300, outside"),
        ("1,a,yes", "row 3: has 3 columns, the header has 4"),
    ],
)
def test_a_malformed_line_of_a_table_is_refused_by_line_and_column(
    tmp_path: Path, line: str, told: str
) -> None:
    with pytest.raises(InstanceError, match=rf"own\.csv: {told}"):
        load_file(table(tmp_path, "30,a,1,no", line))


@pytest.mark.parametrize(
    ("header", "line", "told"),
    [
        ("a,b", "1,2", "no column is called like labels .* 'a', 'b'; name the one of the classes"),
        ("label,client", "1,2", "no column of features"),
        ("x,label", "", "has a header but no rows"),
    ],
)
def test_a_table_without_labels_numbers_or_rows_is_refused(
    tmp_path: Path, header: str, line: str, told: str
) -> None:
    with pytest.raises(InstanceError, match=told):
        load_file(table(tmp_path, line, header=header))


def test_too_short_a_table_is_refused_with_its_file(tmp_path: Path) -> None:
    path = table(tmp_path, *people(4))
    with pytest.raises(InstanceError, match=r"own\.csv: own: holds 4 rows"):
        load_file(path)


def test_optdigits_lines_are_images_after_a_comment(tmp_path: Path) -> None:
    pixels, digits = RNG.integers(0, 17, (50, 64)), np.arange(50) % 10
    lines = [",".join(map(str, [*row, d])) for row, d in zip(pixels, digits, strict=True)]
    path = tmp_path / "some.tra"
    path.write_text("\n".join(["# the last digit is the class", *lines]))
    made = load_file(path)
    assert made.inputs.shape[1:] == (1, 8, 8) and made.classes == 10
    known = {row.tobytes(): digit for row, digit in zip(pixels, digits, strict=True)}
    for row, label in zip(rows_of(made), labels_of(made), strict=True):
        assert known[np.rint(row.reshape(-1) * 16).astype(np.int64).tobytes()] == label
    lines[30] = lines[30].replace(",", ",99,", 1).rsplit(",", 2)[0] + ",1"
    path.write_text("\n".join(lines))
    with pytest.raises(InstanceError, match="line 31, column 2: '99' is no pixel"):
        load_file(path)


PLAY = """KING:
O, that this too
too solid: flesh

QUEEN:
Good

KING:
would melt."""


def test_a_speech_ends_where_the_next_speaker_is_named() -> None:
    assert speeches(PLAY) == {"KING": "O, that this too\ntoo solid: flesh\nwould melt.",
                              "QUEEN": "Good"}  # fmt: skip


def test_speakers_that_say_enough_continue_their_texts() -> None:
    thrice = "\n\n".join([PLAY] * 3)
    made = play_federation("play", "play", thrice, length=4, least=20, participants=1)
    assert made.clients == 1 and made.classes == len(set(PLAY))
    assert np.array_equal(made.inputs[:, 1:], made.labels[:, :-1])
    said = "\n".join([speeches(PLAY)["KING"]] * 3)
    alphabet = sorted(set(PLAY))
    for row, after in zip(made.inputs, made.labels, strict=True):
        assert "".join(alphabet[code] for code in [*row, after[-1]]) in said


def test_a_play_in_which_nobody_says_enough_is_refused(tmp_path: Path) -> None:
    (tmp_path / "play.txt").write_text(PLAY)
    with pytest.raises(InstanceError, match=r"play\.txt: nobody of 2 speakers says 1000"):
        load_file(tmp_path / "play.txt")


def test_too_many_different_characters_are_refused() -> None:
    odd = "KING:\n" + "".join(chr(0x4E00 + n) for n in range(300))
    with pytest.raises(InstanceError, match=r"has 30. different characters"):
        play_federation("play", "play", odd, least=100)


def test_a_file_of_this_library_comes_back_as_it_was(tmp_path: Path) -> None:
    made = generate({"clients": "5", "features": "4"}, 0)
    made.save(tmp_path / "one.npz")
    save_archive([made], tmp_path / "set.zip")
    save_archive([made, made], tmp_path / "two.zip")
    assert load_file(tmp_path / "one.npz").content_hash == made.content_hash
    assert load_file(tmp_path / "set.zip").content_hash == made.content_hash
    with pytest.raises(InstanceError, match="a set of 2 instances"):
        load_file(tmp_path / "two.zip")
    (tmp_path / "cut.zip").write_bytes((tmp_path / "set.zip").read_bytes()[:200])
    with pytest.raises(InstanceError, match="damaged"):
        load_file(tmp_path / "cut.zip")


def test_other_bytes_and_missing_files_are_refused_by_path(tmp_path: Path) -> None:
    (tmp_path / "odd").write_bytes(b"\xff\x00\x01")
    with pytest.raises(InstanceError, match=r"odd: neither text nor a known binary format .byte 0"):
        load_file(tmp_path / "odd")
    with pytest.raises(InstanceError, match="none: cannot be read"):
        load_file(tmp_path / "none")
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(InstanceError, match="empty: is empty; the first line must name"):
        load_file(tmp_path / "empty")


def test_mnist_is_read_from_its_own_files(data_file: DataFile) -> None:
    made = load_file(data_file("federated/t10k-images-idx3-ubyte.gz"))
    assert made.inputs.shape == (7000, 1, 28, 28) and made.clients == 100
    assert np.bincount(labels_of(made))[:3].tolist() == [980, 1135, 1032]


def test_tinyshakespeare_has_141_speakers_with_1000_characters(data_file: DataFile) -> None:
    made = load_file(data_file("federated/tinyshakespeare.txt"))
    assert made.clients == 141 and made.classes == 65
