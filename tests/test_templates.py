"""The template of each family: it says what its fields mean, loads, and is played at once."""

from __future__ import annotations

import csv
import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.contracts import World
from sysopt_gym.core.play import Task, run
from sysopt_gym.core.problem import Template
from sysopt_gym.core.registry import FAMILIES, load_contender, load_problem
from sysopt_gym.words import expand_lists
from typer.testing import CliRunner

# Solvers that are quick on a machine where nothing is compiled yet.
QUICK = {
    "vm_rescheduling": "ha",
    "memory_mapping": "greedy",
    "sequence_design": "random",
    "federated_lr": "fedavg",
    "vm_allocation": "first_fit",
    "sequence_parallelism": "greedy",
}


def template(family: str) -> Template:
    found = load_problem(family).template()
    assert found is not None
    return found


def paths(value: Any, place: str = "") -> set[str]:
    """The paths of a document's fields, as Template.fields names them."""
    if isinstance(value, dict):
        return {p for k, v in value.items() for p in paths(v, f"{place}.{k}".lstrip("."))}
    if isinstance(value, list) and any(isinstance(one, dict | list) for one in value):
        return {p for one in value for p in paths(one, place + "[]")}
    return {place}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_template_loads_and_a_solver_plays_it(family: str, tmp_path: Path) -> None:
    problem, found = load_problem(family), template(family)
    (tmp_path / found.name).write_text(found.text)
    instance = problem.load_file(tmp_path / found.name, {})
    # Code that is compiled in an episode takes its seconds.
    task = Task(instance, Budget(300.0, 50), 0, 0)
    solution = run(load_contender(family, QUICK[family]), problem, task)
    assert problem.validate(instance, solution.actions, World()).feasible


@pytest.mark.parametrize("family", FAMILIES)
def test_every_field_of_a_template_is_explained(family: str) -> None:
    found = template(family)
    if found.name.endswith(".csv"):
        rows = list(csv.reader(found.text.splitlines()))
        assert rows[0] == list(found.fields)
        assert all(len(row) == len(rows[0]) for row in rows)
        return
    document = json.loads(found.text)
    assert document.pop("explained") == found.fields
    assert paths(document) <= set(found.fields)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_command_writes_it_and_says_what_the_fields_mean_and_what_to_do_next(
    family: str, tmp_path: Path
) -> None:
    from sysopt_gym.cli import app

    path = tmp_path / "mine"
    words = ["data", "template", family, "--out", str(path)]
    done = CliRunner().invoke(app, words, catch_exceptions=False, env={"COLUMNS": "80"})
    found = template(family)
    assert done.exit_code == 0 and path.read_text() == found.text
    told = " ".join(done.output.split())
    assert all(f"{name}: " in told for name in found.fields)
    assert f"sysopt-gym {found.command.format(file=path)}" in told
    assert CliRunner().invoke(app, words).exit_code == 2  # it is there already


@pytest.mark.parametrize("family", FAMILIES)
def test_the_command_that_it_recommends_can_be_parsed(family: str) -> None:
    words = expand_lists(shlex.split(template(family).command))
    assert words[:3] == ["solve", family, "{file}"] and "--budget" in words
