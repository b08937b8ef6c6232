"""The commands on real families: small clusters of VM rescheduling, played end to end."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from sysopt_gym.cli import app
from typer.testing import CliRunner


def run(*arguments: str | Path, code: int = 0) -> Any:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


@pytest.mark.parametrize("mode", ["static", "live"])
def test_a_plan_is_solved_validated_and_exported(tmp_path: Path, mode: str) -> None:
    out, plan = tmp_path / "s.json", tmp_path / "plan.csv"
    words = ["solve", "vm_rescheduling", "small:test/1", "--with", "greedy", "--budget", "0.3"]
    run(*words, "--set", "mnl=4", f"mode={mode}", "--out", out, "--plan", plan)
    verdict = json.loads(run("validate", "vm_rescheduling", "small:test/1", out).stdout)
    assert verdict["feasible"] and verdict["agree"]
    steps = list(csv.DictReader(plan.read_text().splitlines()))
    assert 0 < len(steps) <= 4 and {"vm", "from_pm", "to_pm", "gain_slots"} <= set(steps[0])


def test_a_move_of_a_vm_that_does_not_exist_is_a_stop_and_a_bad_place_a_violation(
    tmp_path: Path,
) -> None:
    out = tmp_path / "s.json"
    words = ["solve", "vm_rescheduling", "small:test/1", "--with", "ha", "--budget", "0.3"]
    run(*words, "--out", out)
    document = json.loads(out.read_text())
    out.write_text(json.dumps(document | {"actions": [0, 10**6]}))
    result = run("validate", "vm_rescheduling", "small:test/1", out, code=1)
    verdict = json.loads(result.stdout)
    assert "destination 1000000 is outside" in verdict["violations"][0]


def test_a_comparison_ranks_the_published_heuristic_and_random_search(tmp_path: Path) -> None:
    words = ["compare", "vm_rescheduling", "--instances", "small:test/1", "small:test/2"]
    task = ("--contenders", "ha", "--set", "mode=static", "--budget", "0.3")
    run(*words, *task, "--out", tmp_path / "o")
    rows = json.loads((tmp_path / "o" / "summary.json").read_text())
    assert {row["contender"] for row in rows} == {"ha", "random", "greedy"}
    assert all(row["feasible"] for row in rows)
    assert "could not be drawn" not in (tmp_path / "o" / "report.html").read_text()
    assert "all 6 rows agree" in run("report", tmp_path / "o", "--replay").stdout
