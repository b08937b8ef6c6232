"""The command line: what each command prints, and how lists are typed."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import toy_family
from sysopt_gym.cli import app
from sysopt_gym.core.instance import load_archive
from sysopt_gym.words import expand_lists
from typer.testing import CliRunner

COMMANDS = (
    "list", "data", "solve", "validate", "train", "compare", "report", "bench", "zoo",
    "warm-up", "doctor",
)  # fmt: skip
pytestmark = pytest.mark.usefixtures("toy")


def run(*arguments: str | Path, code: int = 0) -> Any:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def solution(tmp_path: Path) -> Path:
    path = tmp_path / "solution.json"
    run("solve", "toy", "toy/0", "--with", "best", "--budget", "0.5", "--out", path)
    return path


def test_list_options_take_several_values_at_once() -> None:
    typed = ["compare", "toy", "--instances", "a", "b", "--budget", "1", "--set", "k=1", "l=2"]
    assert expand_lists(typed) == [
        "compare", "toy", "--instances", "a", "--instances", "b", "--budget", "1",
        "--set", "k=1", "--set", "l=2",
    ]  # fmt: skip


def test_list_options_may_be_repeated_as_well() -> None:
    typed = ["--contenders", "a", "--contenders", "b", "c"]
    assert expand_lists(typed) == ["--contenders", "a", "--contenders", "b", "--contenders", "c"]


def test_a_list_of_settings_ends_where_no_setting_follows() -> None:
    assert expand_lists(["solve", "--set", "k=1", "toy", "x"]) == [
        "solve", "--set", "k=1", "toy", "x",
    ]  # fmt: skip


def test_after_two_dashes_nothing_is_expanded() -> None:
    assert expand_lists(["--set", "a=1", "--", "b=2"]) == ["--set", "a=1", "--", "b=2"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_a_line_and_a_worked_example(command: str) -> None:
    commands = (
        [[command]] if command != "data" else [["data", c] for c in ("info", "import", "generate")]
    )
    for words in commands:
        text = run(*words, "--help").output
        assert "Example:" in text and "sysopt-gym" in text


def test_help_says_what_an_argument_is() -> None:
    assert "a family, e.g. vm_rescheduling" in run("validate", "--help").output


def test_help_loads_nothing_heavy() -> None:
    program = (
        "import sys, sysopt_gym.cli;"
        "heavy = {'torch', 'ray', 'scipy', 'matplotlib', 'pyarrow', 'numba'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    out = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("what", "has"),
    [("families", "toy"), ("instances", "toy"), ("solvers", "best"), ("agents", "agent")],
)
def test_list_names_what_is_registered(what: str, has: str) -> None:
    assert has in run("list", what).output


def test_version_is_printed() -> None:
    assert run("--version").output.strip().count(".") == 2


def test_solve_prints_the_score_and_writes_a_solution_that_validates(solution: Path) -> None:
    verdict = json.loads(run("validate", "toy", "toy/0", solution).stdout)
    assert verdict["feasible"] is True and verdict["violations"] == []
    result = run("solve", "toy", "toy/0", "--with", "best", "--budget", "0.5", "--out", solution)
    assert f"objective: {verdict['objective']:g} coins" in result.stdout
    for label in ("feasible: yes", "seconds:", "bound:", "proven optimal"):
        assert label in result.stdout


def test_solve_applies_settings_and_validate_remembers_them(tmp_path: Path) -> None:
    out = tmp_path / "s.json"
    words = ["solve", "toy", "toy/0", "--with", "best", "--budget", "0.5", "--out", out]
    run(*words, "--set", "capacity=5")
    assert json.loads(out.read_text())["settings"] == {"capacity": "5"}
    assert json.loads(run("validate", "toy", "toy/0", out).stdout)["feasible"]


def test_solve_takes_the_first_of_a_set_and_says_so(tmp_path: Path) -> None:
    words = ["solve", "toy", "toy", "--with", "greedy", "--budget", "0.5"]
    result = run(*words, "--out", tmp_path / "s.json")
    assert "taking the first, toy/0" in result.stderr
    assert json.loads((tmp_path / "s.json").read_text())["instance"] == "toy/0"


@pytest.mark.parametrize("suffix", [".csv", ".json"])
def test_solve_writes_the_plan_in_an_operators_form(tmp_path: Path, suffix: str) -> None:
    plan = tmp_path / f"plan{suffix}"
    out = tmp_path / "s.json"
    run("solve", "toy", "toy/0", "--with", "best", "--budget", "1", "--out", out, "--plan", plan)
    text = plan.read_text()
    steps = json.loads(text) if suffix == ".json" else list(csv.DictReader(text.splitlines()))
    assert [int(step["item"]) for step in steps] == json.loads(out.read_text())["actions"]


def test_validate_of_an_infeasible_plan_ends_with_one(solution: Path) -> None:
    document = json.loads(solution.read_text())
    solution.write_text(json.dumps(document | {"actions": [0, 0]}))
    verdict = json.loads(run("validate", "toy", "toy/0", solution, code=1).stdout)
    assert verdict["objective"] is None and verdict["feasible"] is False
    assert verdict["violations"] == ["step 2: item 0 cannot be taken"]


def test_generated_instances_are_a_set_like_any_other(tmp_path: Path) -> None:
    out = tmp_path / "made.zip"
    words = ["data", "generate", "toy", "--count", "3", "--seed", "5"]
    run(*words, "--set", "count=4", "capacity=9", "--out", out)
    instances = load_archive(toy_family.Items, out)
    assert [len(items.value) for items in instances] == [4, 4, 4]
    assert {items.capacity for items in instances} == {9}
    assert "items" in run("data", "info", "toy", out).output


def test_an_imported_file_is_an_instance_set(tmp_path: Path) -> None:
    toy_family.make_items(3, "mine").save(tmp_path / "mine.npz")
    run("data", "import", "toy", tmp_path / "mine.npz", "--out", tmp_path / "set.zip")
    (items,) = load_archive(toy_family.Items, tmp_path / "set.zip")
    assert items.name == "mine"


def test_an_import_finds_its_family_takes_settings_and_says_what_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    toy_family.make_items(3, "mine").save(tmp_path / "mine.npz")
    (tmp_path / "in").mkdir()
    (tmp_path / "mine.npz").rename("in/mine.npz")
    said = run("data", "import", "in/mine.npz", "--capacity", "7").output
    assert "mine.npz: 1 instance of toy" in said and "items" in said
    assert toy_family.Items.load(tmp_path / "mine.npz").capacity == 7


def test_compare_writes_its_four_files_and_report_makes_them_again(tmp_path: Path) -> None:
    words = ["compare", "toy", "--instances", "toy/0", "toy/1", "--contenders", "best", "agent"]
    result = run(*words, "--budget", "0.3", "--out", tmp_path / "out")
    names = ("results.parquet", "summary.json", "report.md", "report.html")
    assert all((tmp_path / "out" / name).stat().st_size > 0 for name in names)
    assert "report.html" in result.stdout
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert {row["contender"] for row in summary} == {"best", "agent", "random", "greedy"}
    (tmp_path / "out" / "report.html").unlink()
    again = run("report", tmp_path / "out", "--replay")
    assert "replay: all 8 rows agree" in again.stdout
    assert (tmp_path / "out" / "report.html").exists()


def test_compare_plays_a_users_file(tmp_path: Path) -> None:
    toy_family.make_items(3, "mine").save(tmp_path / "mine.npz")
    run(
        "compare",
        "toy",
        "--instances",
        tmp_path / "mine.npz",
        "--budget",
        "0.3",
        "--out",
        tmp_path / "o",
    )
    summary = json.loads((tmp_path / "o" / "summary.json").read_text())
    assert {row["instance"] for row in summary} == {"mine"}


def test_a_file_is_given_to_the_family_that_reads_it(tmp_path: Path) -> None:
    toy_family.make_items(3, "mine").save(tmp_path / "mine.npz")
    run("compare", "--instances", tmp_path / "mine.npz", "--budget", "0.3", "--out", tmp_path / "o")
    summary = json.loads((tmp_path / "o" / "summary.json").read_text())
    assert {row["family"] for row in summary} == {"toy"}


def test_the_same_instance_named_twice_is_played_once(tmp_path: Path) -> None:
    words = ["compare", "toy", "--instances", "toy/0", "toy", "--contenders", "greedy"]
    run(*words, "--budget", "0.3", "--out", tmp_path / "o")
    summary = json.loads((tmp_path / "o" / "summary.json").read_text())
    assert len(summary) == 6


def test_a_chosen_baseline_is_played_and_paired_with(tmp_path: Path) -> None:
    words = ["compare", "toy", "--contenders", "best", "--baseline", "follow", "--budget", "0.3"]
    run(*words, "--out", tmp_path / "o")
    assert "better than follow" in (tmp_path / "o" / "report.md").read_text()


def test_bench_prints_ratios_and_writes_them(tmp_path: Path) -> None:
    result = run("bench", "toy", "--json", tmp_path / "speeds.json")
    assert "200.0x" in result.stdout
    document = json.loads((tmp_path / "speeds.json").read_text())
    assert document["throughput"][0]["ratio"] == 200.0 and "processor" in document["conditions"]


@pytest.mark.long
def test_doctor_tries_the_back_ends() -> None:
    result = run("doctor")
    for what in ("HiGHS", "CP-SAT", "OMP_NUM_THREADS", "numba", "torch"):
        assert what in result.stdout


def test_doctor_names_the_remedy_for_a_back_end_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sysopt_gym.evaluation.doctor.CPSAT", "raise ArithmeticError('wrong')")
    monkeypatch.setattr("sysopt_gym.evaluation.doctor.family_names", list)  # their sets take long
    result = run("doctor", "--json", code=1)
    assert "ArithmeticError: wrong" in result.stdout
    assert "--force-reinstall" in result.stdout


def test_train_hands_over_configuration_and_overrides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[Any] = []

    def train(*arguments: Any) -> Path:
        called.append(arguments)
        return tmp_path / "run" / "policy"

    real = __import__("sysopt_gym.core.registry", fromlist=["resolve"]).resolve
    monkeypatch.setattr(
        "sysopt_gym.core.lookup.resolve",
        lambda entry: train if entry == ".agents.training:train" else real(entry),
    )
    run("train", "some_config", "seed=3", "lr=1e-4", "--resume")
    assert called == [("some_config", {"seed": "3", "lr": "1e-4"}, True, None)]


def test_commands_that_make_no_report_need_none_of_the_extras(tmp_path: Path) -> None:
    program = f"""
import sys
for name in "scipy matplotlib jinja2 pyarrow torch ray yaml highspy ortools".split():
    sys.modules[name] = None
sys.path.insert(0, {str(Path(toy_family.__file__).parent)!r})
import toy_family; toy_family.register()
from sysopt_gym.cli import app
out = {str(tmp_path / "s.json")!r}
for words in (
    ["list"],
    ["data", "info", "toy", "toy"],
    ["solve", "toy", "toy/0", "--with", "greedy", "--budget", "1", "--out", out],
    ["validate", "toy", "toy/0", out],
):
    app(words, standalone_mode=False)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_compare_without_the_report_extra_is_refused_before_anything_is_played(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = run("compare", "toy", "--out", tmp_path / "o", code=2)
    assert "sysopt-gym[report]" in result.stderr and not (tmp_path / "o").exists()
