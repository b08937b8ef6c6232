"""What commands print for programs, shells and narrow screens: JSON, completion, tables."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import toy_family
from result_rows import make_row
from rich.cells import cell_len
from rich.console import Console
from sysopt_gym import train_help
from sysopt_gym.agents.configuration import TrainingConfig
from sysopt_gym.cli import app
from sysopt_gym.completion import CONFIGS
from sysopt_gym.core import registry
from sysopt_gym.core.contracts import Throughput
from sysopt_gym.core.extras import remedy_for
from sysopt_gym.core.registry import contender_entry, family_names, load_problem
from sysopt_gym.core.source_text import about, packages_of
from sysopt_gym.evaluation import doctor
from sysopt_gym.evaluation.listings import KINDS, listed
from sysopt_gym.evaluation.records import described
from sysopt_gym.evaluation.screens import listing, result_lines, speeds
from sysopt_gym.evaluation.table import score
from sysopt_gym.words import tell, write_note
from typer.testing import CliRunner

pytestmark = pytest.mark.usefixtures("toy")
MARKUP = "[red]a[/x] [/red] [bold"


def run(*arguments: str | Path, code: int = 0) -> Any:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


def read(*arguments: str | Path, code: int = 0) -> Any:
    """The one JSON document on the standard output; strict, so that NaN is none."""

    def refuse(text: str) -> None:
        raise AssertionError(f"{text} is no JSON")

    return json.loads(run(*arguments, "--json", code=code).stdout, parse_constant=refuse)


def shown(tables: Any, width: int = 80) -> list[str]:
    console = Console(width=width, file=io.StringIO())
    for table in tables:
        console.print(table)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def test_lists_as_json_have_what_is_registered() -> None:
    found = read("list")
    assert list(found) == ["families", "instances", "solvers", "agents"]
    assert {one["family"] for one in found["families"]} == set(family_names())
    best = next(one for one in found["solvers"] if one["name"] == "best")
    assert best["family"] == "toy" and best["played_by_default"] and best["installed"]
    assert list(read("list", "agents", "toy")) == ["agents"]
    assert read("list", "agents", "toy")["agents"][0]["name"] == "agent"


@pytest.mark.parametrize("family", [*registry.FAMILIES, "toy"])
def test_settings_and_parameters_listed_are_those_that_set_is_read_by(family: str) -> None:
    problem = load_problem(family)
    for kind, table in (
        ("settings", problem.settings),
        ("generators", problem.generator_parameters),
    ):
        found = listed(kind, [family])[kind]
        assert {one["name"]: (one["default"], one["about"]) for one in found} == {
            name: (setting.default, setting.help) for name, setting in table.items()
        }


def test_settings_of_one_family_are_listed_as_a_table_and_as_json() -> None:
    assert "capacity  14" in run("list", "settings", "toy").stdout
    assert [one["name"] for one in read("list", "generators", "toy")["generators"]] == ["count"]


def test_an_unknown_family_is_an_error_on_stderr_also_for_json() -> None:
    result = run("list", "settings", "toyz", "--json", code=2)
    assert result.stdout == "" and "did you mean 'toy'" in result.stderr


def test_facts_as_json_are_of_every_instance_of_the_set() -> None:
    found = read("data", "info", "toy", "toy")
    assert [one["name"] for one in found["instances"]] == ["toy/0", "toy/1", "toy/2"]
    assert found["family"] == "toy" and found["instances"][0]["facts"]["items"] == 6


@pytest.mark.parametrize("family", registry.FAMILIES)
def test_facts_of_every_family_are_json(family: str) -> None:
    problem = load_problem(family)
    (one,) = described(problem, [problem.warm_up_instance()])["instances"]
    assert json.loads(json.dumps(one, allow_nan=False)) == one and one["facts"]


def test_a_solution_as_json_says_what_the_lines_say(tmp_path: Path) -> None:
    out, plan = tmp_path / "s.json", tmp_path / "p.csv"
    words = ["solve", "toy", "toy", "--with", "best", "--budget", "0.5", "--out", out]
    found = read(*words, "--plan", plan)
    assert found["status"] == "optimal" and found["feasible"] and found["violations"] == []
    assert (found["instance"], found["contender"], found["unit"]) == ("toy/0", "best", "coins")
    assert found["solution"] == str(out) and found["plan"] == str(plan) and plan.exists()
    assert found["actions"] == len(json.loads(out.read_text())["actions"])


def test_a_comparison_as_json_has_the_best_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [make_row("b", objective=2.0), make_row("a"), make_row("late", status="late")]
    rows, _ = score(runs)
    monkeypatch.setattr("sysopt_gym.evaluation.comparison.compare", lambda *_: rows)
    found = read("compare", "toy", "--out", tmp_path)
    assert found["contenders"][0]["contender"] == "a"
    assert (found["rows"], found["failed"]) == (3, 1)
    assert found["report"] == str(tmp_path / "report.html")


def test_a_comparison_that_is_refused_prints_no_json(tmp_path: Path) -> None:
    words = ["compare", "toy", "--contenders", "bets", "--out", tmp_path / "o", "--json"]
    result = run(*words, code=2)
    assert result.stdout == "" and "did you mean 'best'" in result.stderr


def test_findings_as_json_keep_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = doctor.Finding(MARKUP, "off", MARKUP, "pip install 'sysopt-gym[agents]'")
    monkeypatch.setattr("sysopt_gym.evaluation.doctor.examine", lambda: [bad])
    found = read("doctor", code=1)
    assert found["healthy"] is False and found["findings"][0]["what"] == MARKUP
    told = "".join(run("doctor", code=1).stdout.split())
    assert MARKUP.replace(" ", "") in told and "sysopt-gym[agents]" in told


def test_markup_in_names_errors_and_notes_is_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = MARKUP.replace("/", "|")
    toy_family.make_items(3, MARKUP).save(tmp_path / f"{name}.npz")
    assert MARKUP in run("data", "info", "toy", tmp_path / f"{name}.npz").stdout
    error = run("data", "info", "toy", MARKUP, code=2).stderr
    assert MARKUP in error and error.startswith("error: ")
    lines = result_lines(score([make_row(MARKUP)])[0], tmp_path / name)
    for line in lines:
        tell(line)
        write_note(line)
    said = capsys.readouterr()
    assert said.out.splitlines() == lines and MARKUP in said.out and MARKUP in said.err


@pytest.mark.parametrize("family", [*registry.FAMILIES, "toy"])
def test_no_name_breaks_over_two_lines_at_eighty_columns(family: str) -> None:
    for kind in KINDS:
        records = listed(kind, [family])[kind]
        lines = shown(listing({kind: records}))
        assert all(cell_len(line) <= 80 for line in lines)
        words = {word for line in lines for word in line.split()}
        field = {"families": "environment", "instances": "set"}.get(kind, "name")
        assert {record[field] for record in records} <= words
        assert kind != "families" or family in words


def test_speeds_fit_eighty_columns() -> None:
    measured = Throughput(
        "one environment, random legal actions of every form", 1234567.0, "steps/s",
        "the reference of its paper, as published", 12.5, 0.03,
    )  # fmt: skip
    lines = shown(speeds({family: [measured] for family in family_names()}))
    assert all(cell_len(line) <= 80 for line in lines)
    for family in family_names():
        assert any(f"Throughput of {family}" in line for line in lines)
    assert sum("1,234,567 steps/s ± 3" in line for line in lines) == len(family_names())


def test_facts_have_as_many_columns_as_fit_with_their_names_whole() -> None:
    told = run("data", "info", "vm_rescheduling", "small:test").stdout
    assert "the first 3 of 16" in told and "small:test/2" in told and "small:test/3" not in told
    assert all(cell_len(line) <= 80 for line in told.splitlines())


def test_every_contender_has_a_line_of_its_own() -> None:
    for kind in ("solvers", "agents"):
        for family in registry.FAMILIES:
            found = listed(kind, [family])[kind]
            assert all(one["about"] and "\n" not in one["about"] for one in found)
            lines = [one["about"] for one in found]
            assert len(set(lines)) == len(lines), family


def test_what_is_not_installed_is_said_with_one_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "sysopt_gym.evaluation.listings.not_installed",
        lambda packages: [name for name in packages if name in ("highspy", "scipy")],
    )
    found = {one["name"]: one for one in listed("solvers", ["vm_rescheduling"])["solvers"]}
    assert found["milp"]["remedy"] == "pip install 'sysopt-gym[solvers]'"
    assert not found["milp"]["installed"] and found["greedy"]["installed"]
    told = run("list", "solvers", "vm_rescheduling").stdout
    assert "not installed)" in told and "Not installed:" in told


def test_the_remedy_is_the_smallest_extra_that_brings_everything() -> None:
    assert remedy_for(["botorch"]) == "pip install 'sysopt-gym[bo]'"
    assert remedy_for(["nothing_like_it", "cma"]) == "pip install nothing-like-it cma"


def test_sources_tell_lines_and_packages_without_being_run(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        '"""A module."""\nfrom functools import partial\nimport absent.part\n'
        'def f(a):\n    """Do it\n    well.\n\n    Args: a."""\n    import lazy\n'
        "g = partial(f, 1, b=2)\nh = f\nraise SystemExit\n"
    )
    assert about(f"{file}:f") == "Do it well." == about(f"{file}:h")
    assert about(f"{file}:g") == "Do it well. (1, b=2)"
    assert about(f"{file}:else") == "A module."
    assert packages_of(f"{file}:f") == ("absent",)
    assert about("no.such.module:f") == "" and packages_of("no.such.module:f") == ()
    milp = contender_entry("vm_rescheduling", "milp").place
    assert {"highspy", "scipy"} <= set(packages_of(milp)) and "torch" not in packages_of(milp)


def test_the_help_of_train_lists_configurations_and_the_keys_that_are_parsed() -> None:
    told = run("train", "--help").stdout
    assert all(path.stem in told for path in CONFIGS.glob("*.yaml"))
    config, parsed = TrainingConfig().document(), train_help.keys()
    stages = train_help.stages()
    assert set(config) - {"imitation", "sweep", *stages} == {
        key for key, _, _ in parsed if "." not in key
    }
    keys = {key: default for key, default, _ in parsed}
    assert {key.partition(".")[2] for key in keys if key.startswith("STAGE.")} == set(config["ppo"])
    assert {key.partition(".")[2] for key in keys if key.startswith("sweep.")} == set(
        config["sweep"]
    )
    assert all(about for _, _, about in parsed)
    assert keys["width"] == str(config["width"]) and all(key in told for key in keys)


def complete(monkeypatch: pytest.MonkeyPatch, typed: str) -> str:
    with monkeypatch.context() as patch:
        patch.setenv("_SYSOPT_GYM_COMPLETE", "complete_bash")
        patch.setenv("COMP_WORDS", f"sysopt-gym {typed}")
        patch.setenv("COMP_CWORD", str(len(typed.split(" "))))
        return str(CliRunner().invoke(app, prog_name="sysopt-gym").stdout)


@pytest.mark.parametrize(
    ("typed", "expected", "unexpected"),
    [
        ("li", "list", "data"),
        ("list settings to", "toy", "vm_rescheduling"),
        ("data info vm_resched", "vm_rescheduling", "toy"),
        ("data info vm_rescheduling small", "small:test", "medium-95:test"),
        ("compare toy --instances to", "toy", "tfbind8"),
        ("compare vm_rescheduling --instances small:test look", "lookalike:test", "vm_"),
        ("compare vm_rescheduling --contenders agent mi", "milp", "small"),
        ("compare vm_rescheduling --set mn", "mnl=", "capacity"),
        ("solve memory_mapping small:test/0 --with thr", "threshold", "greedy"),
        ("train vm_res", "vm_rescheduling_ppo", "memory_mapping"),
    ],
)
def test_names_are_completed(
    monkeypatch: pytest.MonkeyPatch, typed: str, expected: str, unexpected: str
) -> None:
    told = complete(monkeypatch, typed)
    assert expected in told and unexpected not in told


def test_completion_can_be_installed_and_imports_nothing_heavy() -> None:
    assert "--install-completion" in run("--help").stdout
    program = (
        "import os, sys; from sysopt_gym.cli import app\n"
        "os.environ |= {'_SYSOPT_GYM_COMPLETE': 'complete_bash', 'COMP_CWORD': '2',"
        " 'COMP_WORDS': 'sysopt-gym train vm_'}\n"
        "try: app(prog_name='sysopt-gym')\nexcept SystemExit: pass\n"
        "os.environ |= {'COMP_CWORD': '4', 'COMP_WORDS': 'sysopt-gym compare --contenders colu'}\n"
        "try: app(prog_name='sysopt-gym')\nexcept SystemExit: pass\n"
        "print(sorted({'torch', 'ray'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
    assert "vm_rescheduling_ppo" in done.stdout
