"""Rules that users set on what they bring, and those a file has by default."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruled_designs import every_legal
from sysopt_gym.core.errors import InstanceError, SettingError
from sysopt_gym.core.notes import InputNote
from sysopt_gym.core.registry import load_problem
from sysopt_gym.datasets.sequence_design.instance import DesignTask, make_task, seal
from sysopt_gym.datasets.sequence_design.landscapes import open_oracle
from sysopt_gym.datasets.sequence_design.loaders import load_file
from sysopt_gym.datasets.sequence_design.rule_settings import reach
from sysopt_gym.datasets.sequence_design.settings import with_settings
from sysopt_gym.envs.sequence_design.plan import export_plan
from sysopt_gym.envs.sequence_design.rules import legal

WILD = "MKVLACDE"


def mutants_file(folder: Path, rows: dict[str, float]) -> Path:
    path = folder / "mine.csv"
    lines = [f"{sequence},{score}" for sequence, score in rows.items()]
    path.write_text("\n".join(["sequence,score", *lines]))
    return path


def singles() -> dict[str, float]:
    """Single mutants of WILD at positions 3, 4 and 8."""
    places = {2: "AILFW", 3: "VIMF", 7: "DQK"}
    made = [WILD[:at] + new + WILD[at + 1 :] for at, letters in places.items() for new in letters]
    return {sequence: float(score) for score, sequence in enumerate(made)}


def free_positions(task: DesignTask) -> list[int]:
    return (1 + np.flatnonzero((~task.barred).sum(axis=1) > 1)).tolist()


def test_positions_that_never_vary_stay_and_designs_keep_near_by_default(tmp_path: Path) -> None:
    path = mutants_file(tmp_path, singles())
    with pytest.warns(InputNote, match=r"5 of 8 positions never vary.*in at most 1 letter, as"):
        task = load_file(path, {"offline": "1"})
    assert free_positions(task) == [3, 4, 8]
    assert task.most_changes == 1 and len(task.references) == len(singles())
    assert all(design[:2] == WILD[:2] for design in map(task.text, every_some(task)))


def every_some(task: DesignTask) -> np.ndarray:
    """Return all sequences without barred letters, int8 [n, L]."""
    letters = [np.flatnonzero(~barred) for barred in task.barred]
    return np.array(list(itertools.product(*letters)), np.int8)


@pytest.mark.parametrize(
    ("values", "free"),
    [
        ({"fixed": "none"}, [1, 2, 3, 4, 5, 6, 7, 8]),
        ({"fixed": "3"}, [4, 8]),
        ({"fixed": "1-3,8"}, [4]),
        ({"fixed": "none,1-3"}, [4, 5, 6, 7, 8]),
        ({"allowed": "1:MV"}, [1, 3, 4, 8]),
        ({"allowed": "1-2:*;3:V"}, [1, 2, 4, 8]),
        ({"forbidden": "AC"}, [3, 4, 5, 6, 8]),  # stands in letters that never vary, which it frees
    ],
)
def test_fixed_and_allowed_say_which_positions_vary(
    tmp_path: Path, values: dict[str, str], free: list[int]
) -> None:
    path = mutants_file(tmp_path, singles())
    with pytest.warns(InputNote):
        assert free_positions(load_file(path, {"offline": "1", **values})) == free


def test_a_fixed_position_keeps_the_wild_types_letter_or_that_of_most_rows(tmp_path: Path) -> None:
    path = mutants_file(tmp_path, singles())
    with pytest.warns(InputNote):
        by_rows = load_file(path, {"offline": "1", "fixed": "3"})
        by_wild = load_file(path, {"offline": "1", "fixed": "3", "wild_type": "MKALACDE"})
    assert by_rows.alphabet[int(np.argmin(by_rows.barred[2]))] == "V"
    assert by_wild.alphabet[int(np.argmin(by_wild.barred[2]))] == "A"


def test_max_mutations_count_from_the_wild_type_if_there_is_one(tmp_path: Path) -> None:
    path = mutants_file(tmp_path, singles())
    with pytest.warns(InputNote):
        near = load_file(path, {"offline": "1", "max_mutations": "2"})
        wild = load_file(path, {"offline": "1", "max_mutations": "2", "wild_type": WILD.lower()})
        free = load_file(path, {"offline": "1", "max_mutations": "none"})
    assert len(near.references) == len(singles()) and near.most_changes == 2
    assert [wild.text(row) for row in wild.references] == [WILD] and wild.most_changes == 2
    designs = every_some(wild)
    away = np.array([sum(a != b for a, b in zip(wild.text(d), WILD, strict=True)) for d in designs])
    assert np.array_equal(legal(wild, designs), away <= 2)
    assert free.most_changes == 0 and legal(free, designs).all()


def test_the_reach_is_what_nine_in_ten_rows_keep_from_the_nearest_other() -> None:
    rows = np.array([[0, 0, 0, 0], [0, 0, 0, 1], [1, 1, 1, 0]], np.int8)
    assert reach(rows, rows) == 3
    scan = np.eye(20, 30, dtype=np.int8)  # single mutants, and one sequence of its own kind
    assert reach(np.concatenate([scan, np.ones((1, 30), np.int8)]), scan) == 2
    assert reach(scan, np.concatenate([np.zeros((1, 30), np.int8), scan])) == 1
    assert reach(rows[1:], rows[1:]) == 4
    assert reach(rows[:1], rows[:1]) == 4  # nothing to be near to: no limit


def test_forbidden_motifs_may_have_classes_of_letters(tmp_path: Path) -> None:
    path = mutants_file(tmp_path, singles())
    with pytest.warns(InputNote):
        task = load_file(path, {"offline": "1", "forbidden": "v[lm],W.A"})
    assert set(task.forbidden) >= {"VL", "VM", "WLA", "WVA"} and len(task.forbidden) == 22
    for design in every_some(task)[legal(task, every_some(task))]:
        text = task.text(design)
        assert "VL" not in text and "VM" not in text and not (text[2] == "W" and text[4] == "A")


def test_lower_is_better_where_asked_and_is_shown_with_its_sign_back(tmp_path: Path) -> None:
    path = mutants_file(tmp_path, {s: v + 1.0 for s, v in singles().items()})
    with pytest.warns(InputNote):
        task = load_file(path, {"minimize": "1", "offline": "0.5"})
        best = min(singles(), key=singles().get)  # type: ignore[arg-type]
    assert task.negated and task.scores.max() < task.hidden_scores.min() <= -1.0
    oracle = open_oracle(task)
    rows = np.array([[task.alphabet.index(letter) for letter in best]], np.int8)
    assert oracle.normalized(oracle.score(rows))[0] == pytest.approx(1.0)
    facts = load_problem("sequence_design").describe(task)
    assert facts["best offline score"] == 7.0 and facts["worst offline score"] == 12.0
    plan = export_plan(task, task.sequences[:2].astype(np.int64).ravel())
    assert all(row["proxy_score"] > 0 for row in plan)
    back = with_settings(task, {"minimize": "0"})
    assert not back.negated and back.scores.max() < back.hidden_scores.min()


def test_an_alphabet_may_have_letters_that_were_not_measured(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("sequence,score\nAC,1\nCA,2\nCC,3\nAA,4\n")
    task = load_file(path, {"offline": "1", "alphabet": "CAX", "max_mutations": "none"})
    assert task.alphabet == "CAX" and task.text(task.sequences[0]) == "AC"
    with pytest.raises(SettingError, match="lacks 'C'"):
        with_settings(task, {"alphabet": "AXY"})
    wider = with_settings(task, {"alphabet": "XYAC"})
    assert [wider.text(row) for row in wider.sequences] == [task.text(r) for r in task.sequences]
    assert with_settings(task, {"alphabet": "protein", "batch": "1"}).letters == 20


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"fixed": "0"}, "fixed: '0' is no position; give one from 1 to 8"),
        ({"fixed": "5-2"}, "'5-2' is no position"),
        ({"fixed": "2-99"}, "'2-99' is no position"),
        ({"allowed": "AVIL"}, "'AVIL' is no POSITION:LETTERS"),
        ({"allowed": "3:AB"}, "allowed: 'B' is not in the alphabet"),
        ({"allowed": "3:"}, "allowed: no letter is given"),
        ({"forbidden": "N?G"}, "forbidden: '\\?' is not in the alphabet"),
        ({"forbidden": "[NG"}, "bracket without its other half"),
        ({"forbidden": "...."}, "more than 1000 motifs"),
        ({"max_mutations": "0"}, "max_mutations='0'; give a whole number of letters, at least 1"),
        ({"max_mutations": "few"}, "max_mutations='few'"),
        ({"wild_type": "MKV"}, "wild_type: 3 letters, where the measured sequences have 8"),
        ({"wild_type": "MKVLACDB"}, "wild_type: 'B' is not in the alphabet"),
        ({"minimize": "maybe"}, "minimize='maybe'; give 1 or 0"),
        ({"alphabet": "AAC"}, "alphabet='AAC'; give 2 to 100 letters, none twice"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_remedy(
    tmp_path: Path, values: dict[str, str], why: str
) -> None:
    with pytest.raises(SettingError, match=why):
        load_file(mutants_file(tmp_path, singles()), values)


def test_rules_that_leave_no_design_are_refused_with_the_settings_named(tmp_path: Path) -> None:
    path = mutants_file(tmp_path, singles())
    with pytest.raises(InstanceError, match=r"no sequence keeps all rules.*max_mutations"):
        load_file(path, {"forbidden": "M,K,C", "max_mutations": "1", "offline": "1"})


def test_a_benchmark_whose_oracle_is_given_is_maximized_in_its_own_letters() -> None:
    problem = load_problem("sequence_design")
    task = problem.sets.load("ehrlich:small")[0]
    for setting in ("minimize=1", "alphabet=ACGT"):
        name, _, value = setting.partition("=")
        with pytest.raises(SettingError, match="measured rows"):
            with_settings(task, {name: value})
    assert with_settings(task, {"minimize": "0"}).content_hash == task.content_hash
    ruled_task = with_settings(task, {"fixed": "1-3", "max_mutations": "2"})
    assert ruled_task.ruled and (~ruled_task.barred[:3]).sum() == 3
    assert with_settings(ruled_task, {"fixed": "none", "max_mutations": "none"}).content_hash == (
        task.content_hash
    )


def test_references_hold_no_rows_that_are_hidden_later(tmp_path: Path) -> None:
    path = mutants_file(tmp_path, singles())
    with pytest.warns(InputNote):
        task = load_file(path, {"offline": "1"})
    half = seal(with_settings(task, {"offline": "0.5"}))
    seen = {row.tobytes() for row in half.sequences}
    assert {row.tobytes() for row in half.references} == seen


@given(seed=st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_default_rules_always_leave_measured_rows_legal_and_a_file_brings_them_back(
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    length = int(rng.integers(2, 9))
    wild = rng.integers(0, 4, length)
    rows = np.where(rng.random((30, length)) < 0.2, rng.integers(0, 4, (30, length)), wild)
    rows = np.unique(rows, axis=0)
    if len(rows) < 2:
        return
    task = make_task("t", "ACGT", rows, rng.normal(size=len(rows)), {"landscape": "measured"},
                     batch_size=1)  # fmt: skip
    task = with_settings(task, {"fixed": "constant", "max_mutations": "measured"})
    assert legal(task, task.sequences).all()
    constant = (rows == rows[0]).all(axis=0)
    assert np.array_equal((~task.barred).sum(axis=1) == 1, constant)
    again = DesignTask.from_bytes(task.to_bytes(), "file")
    assert again.content_hash == task.content_hash
    if length <= 5 and task.ruled:
        for design in every_legal(task):
            assert (design == rows[0])[constant].all()
            away = min(int((row != design).sum()) for row in rows)
            assert not task.most_changes or away <= task.most_changes
