"""Users' files: CSV, Design-Bench's arrays, saved tasks; and what is refused, by line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sysopt_gym.core.errors import InstanceError
from sysopt_gym.core.instance import save_archive
from sysopt_gym.datasets.sequence_design import splits
from sysopt_gym.datasets.sequence_design.instance import DesignTask
from sysopt_gym.datasets.sequence_design.landscapes import open_oracle
from sysopt_gym.datasets.sequence_design.loaders import load_file
from sysopt_gym.datasets.sequence_design.measured import FILES

GOOD = "sequence,score\nACGT,0.1\nACGA,0.2\nACGC,0.3\nACGG,0.9\n"


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_csv_is_a_task_with_its_upper_half_hidden(tmp_path: Path) -> None:
    task = load_file(write(tmp_path / "mine.csv", "\ufeff" + GOOD.replace("ACGT", " acgt ")))
    assert (task.name, task.alphabet, task.length) == ("mine", "ACGT", 4)
    assert task.scores.tolist() == [0.1, 0.2] and task.hidden_scores.tolist() == [0.3, 0.9]
    assert task.estimated


@pytest.mark.parametrize(
    ("sequences", "alphabet"),
    [("AC AG AT CC", "ACGT"), ("AC AU AG CC", "ACGU"), ("AC MK WW YV", "ACDEFGHIKLMNPQRSTVWY")],
)
def test_the_alphabet_is_told_from_the_letters(
    tmp_path: Path, sequences: str, alphabet: str
) -> None:
    rows = [f"{text}\t{row}" for row, text in enumerate(sequences.split())]
    path = write(tmp_path / "a.tsv", "\n".join(["sequence\tscore", *rows]))
    assert load_file(path).alphabet == alphabet


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty"),
        ("ACGT,0.1\nACGA,0.2\n", "the first line holds data, put the names above it"),
        ('{"sequence": ["A"]}', "not a known format; give a table"),
        (">a\nACGT\n", "FASTA, whose sequences have no scores .* make a CSV"),
        ("sequence,score\n", "has a header but no rows"),
        (GOOD + "ACG,0.5\n", "row 6: 'ACG' has 3 letters where .*row 2 has 4"),
        (GOOD + "ACGX,0.5\n", "row 6: 'X' at position 4 of 'ACGX' is no letter of DNA"),
        (GOOD + "AC-T,0.5\n", "row 6: '-' at position 3 of 'AC-T' is a gap of an alignment"),
        (GOOD + "CCCC,inf\n", "row 6, column 'score': is inf, expected a finite number"),
        (GOOD + "CCCC,1_0\n", "row 6, column 'score': is '1_0', expected a number"),
        (GOOD + "CCCC,high\n", "row 6, column 'score': is 'high', expected a number"),
        (GOOD + "CCCC\n", "row 6: has 1 columns"),
        (GOOD + ",0.3\n", "row 6, column 'sequence': is empty"),
        ("sequence,score\nAC,1\nAG,1\nAT,1\n", "all 3 scores are 1"),
        ("sequence,score\nAC,1\nAG,1\nAT,2\nCC,3\n", "all score 1: .* set offline=0.51 or more"),
    ],
)
def test_bad_rows_are_refused_by_line_and_remedy(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(InstanceError, match=told):
        load_file(write(tmp_path / "bad.csv", text))


def test_files_of_no_known_kind_are_refused(tmp_path: Path) -> None:
    (tmp_path / "junk").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "zip").write_bytes(b"PK\x03\x04oops")
    (tmp_path / "array").write_bytes(b"\x93NUMPY\x01")
    for name, told in (("junk", "neither text"), ("zip", "damaged"), ("array", "other half")):
        with pytest.raises(InstanceError, match=told):
            load_file(tmp_path / name)


def test_a_saved_set_of_one_is_read_back(
    tmp_path: Path, tiny_task: Callable[..., DesignTask]
) -> None:
    task = tiny_task(0)
    save_archive([task], tmp_path / "one.zip")
    assert load_file(tmp_path / "one.zip").content_hash == task.content_hash
    save_archive([task, task], tmp_path / "two.zip")
    with pytest.raises(InstanceError, match="2 instances where one"):
        load_file(tmp_path / "two.zip")


def test_an_estimated_oracle_scores_measured_rows_as_measured(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = np.unique(rng.integers(0, 4, (120, 5)), axis=0)
    lines = ["".join("ACGT"[x] for x in row) + f",{row.sum()}" for row in rows]
    task = load_file(write(tmp_path / "m.csv", "\n".join(["sequence,score", *lines])))
    oracle = open_oracle(task)
    assert not oracle.exact
    assert (oracle.score(task.hidden_sequences) == task.hidden_scores).all()
    assert (oracle.low, oracle.high) == (task.scores.min(), task.hidden_scores.max())


@pytest.mark.parametrize("name", list(FILES))
def test_protein_sets_hold_whole_sequences_of_one_length(
    data_file: Callable[[str], Path], name: str
) -> None:
    data_file(FILES[name])
    (task,) = splits.SETS.load(name)
    assert task.length == {"avgfp": 237, "e4b": 102}[name]
    assert task.estimated and task.scores.max() <= task.hidden_scores.min()
