"""Design-Bench's arrays: pairs, shards, letter codes, one-hot rows; and what is refused."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sysopt_gym.core.errors import InstanceError
from sysopt_gym.core.notes import told_to
from sysopt_gym.datasets.sequence_design.instance import DesignTask
from sysopt_gym.datasets.sequence_design.loaders import load_file
from sysopt_gym.datasets.sequence_design.measured import WILD_TYPES

UNRULED = {"offline": "1", "fixed": "none", "max_mutations": "none"}
RNG = np.random.default_rng(0)
PAIRS = np.array([[a, b] for a in range(4) for b in range(4)])
SCORES = np.arange(16.0)[:, None]
GFP_ORDER = "ARNDCQEGHILKMFPSTWYV"


def saved(folder: Path, name: str, x: np.ndarray, y: np.ndarray, shard: str = "-0") -> Path:
    np.save(folder / f"{name}-y{shard}.npy", y)
    np.save(folder / f"{name}-x{shard}.npy", x)
    return folder / f"{name}-x{shard}.npy"


def load(path: Path, **given: str) -> tuple[DesignTask, str]:
    said: list[str] = []
    with told_to(said.append):
        task = load_file(path, UNRULED | given)
    return task, " | ".join(said)


def texts(task: DesignTask) -> list[str]:
    return [task.text(row) for row in task.sequences]


def test_arrays_are_read_in_pairs_whichever_is_given(tmp_path: Path) -> None:
    np.save(tmp_path / "tf_bind_8-x-0.npy", PAIRS)
    with pytest.raises(InstanceError, match=r"needs its other half; put tf_bind_8-y-0.npy into"):
        load(tmp_path / "tf_bind_8-x-0.npy")
    path = saved(tmp_path, "tf_bind_8", PAIRS, SCORES)
    task, said = load(path)
    assert (task.name, task.alphabet, said) == ("tf_bind_8", "ACGT", "")
    assert texts(task)[:5] == ["AA", "AC", "AG", "AT", "CA"] and task.scores.tolist() == [
        *range(16)
    ]
    other, _ = load(path.with_name("tf_bind_8-y-0.npy"))
    assert other.content_hash == task.content_hash
    assert load(saved(tmp_path, "tf_bind_8", PAIRS.astype(float), SCORES))[0].content_hash == (
        task.content_hash
    )


def test_all_shards_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    codes = np.array([[n // 4, n % 4, 0] for n in range(12)])
    for n in range(12):
        path = saved(tmp_path, "utr", codes[[n]], SCORES[[n]], f"-{n}")
    task, said = load(path)
    assert task.name == "utr" and task.scores.tolist() == [*range(12)]
    assert texts(task)[-1] == "GTA" and "12 in all" in said
    (tmp_path / "utr-x-4.npy").unlink()
    assert "there is no shard utr-x-4.npy" in load(path)[1]
    saved(tmp_path, "utr", codes[:1, :2], SCORES[:1], "-4")
    with pytest.raises(InstanceError, match=r"different shapes, \(2,\) and \(3,\)"):
        load(path)


@pytest.mark.parametrize("form", ["codes", "one-hot", "flat", "letters", "soft", "turned"])
def test_gfps_codes_are_in_the_order_of_a_blosum_matrix(tmp_path: Path, form: str) -> None:
    wild = WILD_TYPES["avgfp"]
    rows = [list(wild) for _ in range(20)]
    for n, row in enumerate(rows):
        row[n] = GFP_ORDER[n]
    codes = np.array([[GFP_ORDER.index(letter) for letter in row] for row in rows])
    hot = np.eye(20)[codes]
    x = {"codes": codes, "one-hot": hot, "flat": hot.reshape(20, -1), "letters": np.array(rows),
         "soft": 0.6 * hot + 0.4 / 20, "turned": hot.transpose(0, 2, 1)}[form]  # fmt: skip
    for name in ("gfp", "mine"):
        task, said = load(saved(tmp_path, name, x, RNG.random(20)))
        assert sorted(texts(task)) == sorted("".join(row) for row in rows)
        assert ("read as the letters" in said) == (name == "mine" and form != "letters")


def test_codes_of_no_known_data_set_are_said_and_can_be_spelled(tmp_path: Path) -> None:
    path = saved(tmp_path, "rna", PAIRS, SCORES)
    task, said = load(path)
    assert task.alphabet == "ACGT" and "read as the letters ACGT" in said
    task, said = load(path, alphabet="UGCA")
    assert texts(task)[:5] == ["UU", "UG", "UC", "UA", "GU"] and said == ""
    with pytest.raises(InstanceError, match="has 4 codes, but alphabet=AC has 2 letters"):
        load(path, alphabet="AC")
    three = PAIRS[(PAIRS < 3).all(axis=1)]
    assert load(saved(tmp_path, "tf", three, SCORES[:9]))[0].alphabet == "ACGT"
    binary = PAIRS[(PAIRS < 2).all(axis=1)]
    assert texts(load(saved(tmp_path, "nk", binary, SCORES[:4]))[0]) == ["00", "01", "10", "11"]


def test_scores_measured_several_times_are_joined(tmp_path: Path) -> None:
    path = saved(tmp_path, "tf_bind_10", np.repeat(PAIRS, 2, axis=0), np.arange(32.0))
    task, said = load(path)
    assert task.scores.tolist() == [2 * n + 0.5 for n in range(16)]
    assert "32 rows are 16 different sequences" in said


@pytest.mark.parametrize(
    ("x", "y", "told"),
    [
        (PAIRS, SCORES[:-1], r"y-0.npy: has shape \(15, 1\) .* expected 16 numbers"),
        (PAIRS, np.where(SCORES == 3, np.nan, SCORES), "x-0.npy, row 3: the score is nan"),
        (PAIRS - 1, SCORES, "row 0: has the code -1"),
        (PAIRS + 0.5, SCORES, "broken numbers, expected whole numbers"),
        (PAIRS[:, 0], SCORES, "expected whole numbers"),
        (np.zeros((16, 2, 4)), SCORES, "row 0: the numbers of letter 0, .* no shares"),
        (np.array([[None, "a"]] * 16), SCORES, "Python objects; save numbers"),
        (PAIRS[:0], SCORES[:0], "holds no sequences"),
    ],
)
def test_arrays_that_are_no_sequences_are_refused_by_row(
    tmp_path: Path, x: np.ndarray, y: np.ndarray, told: str
) -> None:
    with pytest.raises(InstanceError, match=told):
        load(saved(tmp_path, "tf", x, y))


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_arrays_in_any_form_and_shards_are_the_same_task(
    tmp_path: Path, data: st.DataObject
) -> None:
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    letters = data.draw(st.permutations("ACGT"))
    cuts = sorted(data.draw(st.sets(st.integers(1, 15), max_size=11)))
    kind = data.draw(st.sampled_from([np.int8, np.int64, np.uint8, np.float32]))
    form = data.draw(st.sampled_from(["codes", "one-hot", "letters"]))
    hot = np.eye(4)[PAIRS].astype(kind)
    forms = {"codes": PAIRS.astype(kind), "one-hot": hot, "letters": np.array(letters)[PAIRS]}
    flat = data.draw(st.booleans())
    parts = zip(np.split(forms[form], cuts), np.split(SCORES, cuts), strict=True)
    for n, (x, y) in enumerate(parts):
        path = saved(folder, "own", x, y[:, 0] if flat else y, f"-{n}")
    task, _ = load(path, alphabet="".join(letters))
    assert texts(task) == ["".join(letters[code] for code in row) for row in PAIRS]
    assert task.scores.tolist() == [*range(16)]
