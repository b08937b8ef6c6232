"""Bad input to the commands: each error says where it is and what to do, in one message without a
traceback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sysopt_gym.cli import app
from typer.testing import CliRunner

pytestmark = pytest.mark.usefixtures("toy")
SOLVE = ("solve", "toy", "toy/0", "--with", "best", "--budget", "0.5")


def refused(*arguments: str | Path) -> str:
    """Runs a command that must be refused, and returns its message."""
    result: Any = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    return " ".join(result.stderr.split())


@pytest.fixture
def solution(tmp_path: Path) -> Path:
    path = tmp_path / "solution.json"
    assert CliRunner().invoke(app, [*SOLVE, "--out", str(path)]).exit_code == 0
    return path


def changed(solution: Path, **fields: Any) -> Path:
    solution.write_text(json.dumps(json.loads(solution.read_text()) | fields))
    return solution


def test_an_unknown_solver_is_refused_with_the_nearest(tmp_path: Path) -> None:
    words = ("solve", "toy", "toy/0", "--budget", "1", "--out", tmp_path / "s.json")
    text = refused(*words, "--with", "gredy")
    assert "unknown toy contender 'gredy'; did you mean 'greedy'? known:" in text


def test_an_unknown_contender_of_a_comparison_is_refused_before_anything_is_played(
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    text = refused("compare", "toy", "--contenders", "best", "gredy", "--out", out)
    assert "did you mean 'greedy'?" in text and not out.exists()


def test_an_unknown_family_is_refused_with_the_nearest() -> None:
    assert "unknown family 'toi'; did you mean 'toy'?" in refused("data", "info", "toi", "toy")
    assert "did you mean 'toy'?" in refused("compare", "toi", "--out", "never")


def test_a_name_that_is_neither_set_nor_file_offers_both(tmp_path: Path) -> None:
    (tmp_path / "cluster.json").write_text("{}")
    text = refused("data", "info", "toy", tmp_path / "clustre.json")
    assert "neither a toy instance set nor a file" in text
    assert "did you mean the file" in text and "cluster.json" in text
    assert "did you mean the set 'toy'?" in refused("data", "info", "toy", "toyy")


def test_a_folder_is_no_instance(tmp_path: Path) -> None:
    assert "is a folder" in refused("data", "info", "toy", tmp_path)


def test_an_unknown_setting_is_refused_with_the_nearest(tmp_path: Path) -> None:
    text = refused(*SOLVE, "--set", "capasity=3", "--out", tmp_path / "s.json")
    assert "unknown toy setting 'capasity'; did you mean 'capacity'?" in text


@pytest.mark.parametrize(
    ("pair", "says"),
    [("capacity", "write key=value"), ("capacity=much", "cannot be read")],
)
def test_a_setting_that_cannot_be_read_is_refused(tmp_path: Path, pair: str, says: str) -> None:
    assert says in refused(*SOLVE, "--set", pair, "--out", tmp_path / "s.json")


def test_a_setting_given_twice_is_refused(tmp_path: Path) -> None:
    words = ("--set", "capacity=3", "capacity=4", "--out", tmp_path / "s.json")
    assert "given twice" in refused(*SOLVE, *words)


@pytest.mark.parametrize("budget", ["0", "-1", "nan", "inf"])
@pytest.mark.parametrize("command", ["solve", "compare"])
def test_a_budget_that_cannot_be_spent_is_refused(
    tmp_path: Path, command: str, budget: str
) -> None:
    words = (
        ("solve", "toy", "toy/0", "--with", "best") if command == "solve" else ("compare", "toy")
    )
    text = refused(*words, "--budget", budget, "--out", tmp_path / "x")
    assert "--budget" in text and "positive number of seconds" in text
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("seeds", ["0", "-3", "100000"])
def test_a_number_of_seeds_out_of_range_is_refused(tmp_path: Path, seeds: str) -> None:
    assert "--seeds" in refused("compare", "toy", "--seeds", seeds, "--out", tmp_path / "x")


def test_compare_without_a_place_to_write_is_refused() -> None:
    assert "--out" in refused("compare", "toy")


def test_a_solution_for_another_instance_is_refused(solution: Path) -> None:
    text = refused("validate", "toy", "toy/1", solution)
    assert f"{solution}: is a solution for toy/0" in text.replace("\n", "")
    assert "not for toy/1" in text and "give the instance it was made for" in text


def test_a_solution_of_another_family_is_refused(solution: Path) -> None:
    assert "not of toy" in refused("validate", "toy", "toy/0", changed(solution, family="other"))


@pytest.mark.parametrize("cut", [1, 30, 200])
def test_a_truncated_solution_is_refused(solution: Path, cut: int) -> None:
    solution.write_bytes(solution.read_bytes()[:cut])
    assert "not a solution file" in refused("validate", "toy", "toy/0", solution)


def test_a_missing_solution_is_refused(tmp_path: Path) -> None:
    text = refused("validate", "toy", "toy/0", tmp_path / "none.json")
    assert "no such file" in text and "solve --out" in text


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("actions", "all"), ("actions", [0.5]), ("actions", [[0], [1, 2]]), ("actions", ["x"]),
        ("seed", -1), ("seed", "one"), ("settings", ["capacity"]), ("settings", {"capacity": 3}),
        ("wall_s", None), ("wall_s", -1.0), ("instance_hash", 7),
    ],
)  # fmt: skip
def test_a_solution_with_a_wrong_field_is_refused_by_its_name(
    solution: Path, field: str, value: Any
) -> None:
    assert f"'{field}'" in refused("validate", "toy", "toy/0", changed(solution, **{field: value}))


@pytest.mark.parametrize("field", ["family", "instance", "instance_hash", "actions"])
def test_a_solution_without_a_field_is_refused_by_its_name(solution: Path, field: str) -> None:
    document = json.loads(solution.read_text())
    del document[field]
    solution.write_text(json.dumps(document))
    text = refused("validate", "toy", "toy/0", solution)
    assert f"field '{field}' is missing" in text


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_played(
    tmp_path: Path,
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    text = refused("compare", "toy", "--out", blocked / "out")
    assert "cannot be written" in text and "choose another --out" in text
    assert blocked.read_text() == "not a folder"
    assert "cannot be written" in refused("compare", "toy", "--out", blocked)


def test_a_read_only_place_is_refused() -> None:
    # Whoever runs this, root included: the kernel makes no folders here.
    kernel = Path("/proc/self/out") if Path("/proc/self").exists() else Path("/dev/null/out")
    assert "choose another --out" in refused("compare", "toy", "--out", kernel)


def test_a_solution_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert "choose another" in refused(*SOLVE, "--out", blocked / "s.json")


def test_a_plan_of_unknown_form_is_refused_before_solving(tmp_path: Path) -> None:
    words = ("--out", tmp_path / "s.json", "--plan", tmp_path / "plan.txt")
    assert ".csv or .json" in refused(*SOLVE, *words)
    assert not (tmp_path / "s.json").exists()


def test_an_output_folder_with_results_is_not_written_over(tmp_path: Path) -> None:
    words = (
        "compare",
        "toy",
        "--instances",
        "toy/0",
        "--budget",
        "0.3",
        "--out",
        str(tmp_path / "o"),
    )
    assert CliRunner().invoke(app, list(words)).exit_code == 0
    text = refused(*words)
    assert "--resume" in text and "another --out" in text
    assert "budget of 0.3 s, this is 0.4 s" in refused(
        *words[:4], "--budget", "0.4", "--out", tmp_path / "o", "--resume"
    )


def test_a_contender_that_fails_to_solve_is_told_in_one_message(tmp_path: Path) -> None:
    words = ("solve", "toy", "toy/1", "--budget", "0.5", "--out", tmp_path / "s.json")
    text = refused(*words, "--with", "raises")
    assert "raises crashed on toy/1: RuntimeError: ran out of luck" in text
    assert "killed by signal 9" in refused(*words, "--with", "dies")


def test_generating_none_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "x.zip"
    assert "--count 0" in refused("data", "generate", "toy", "--count", "0", "--out", out)
    assert "unknown toy parameter" in refused(
        "data", "generate", "toy", "--set", "cout=1", "--out", out
    )


def test_a_set_needs_a_name_that_says_what_it_is(tmp_path: Path) -> None:
    words = ("data", "generate", "toy", "--count", "2", "--out")
    assert "end the name in .zip" in refused(*words, tmp_path / "x.npz")
    assert "end the name in .zip" in refused(*words, tmp_path / "x")


def test_importing_what_is_no_file_or_no_instance_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "x.zip"
    assert "no such file" in refused("data", "import", "toy", tmp_path / "none", "--out", out)
    (tmp_path / "odd.txt").write_text("odd")
    assert "odd.txt" in refused("data", "import", "toy", tmp_path / "odd.txt", "--out", out)


def test_a_limit_of_file_sizes_that_cannot_be_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.csv").write_text("a,b")
    monkeypatch.setenv("SYSOPT_MAX_FILE_MB", "64MB")
    text = refused("data", "info", "memory_mapping", tmp_path / "a.csv")
    assert "SYSOPT_MAX_FILE_MB='64MB'; give a positive number of megabytes" in text


def test_a_report_of_an_empty_folder_is_refused(tmp_path: Path) -> None:
    assert "holds no results" in refused("report", tmp_path)
    assert "holds no results" in refused("report", tmp_path, "--replay")


def test_an_override_without_a_value_is_refused() -> None:
    text = refused("train", "config", "seed")
    assert "key=value" in text
