"""Folders of rows side by side: each row is judged again, and only what compares is merged."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import toy_family
from result_rows import rewrite, with_first
from sysopt_gym.cli import app
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.contracts import World
from sysopt_gym.core.errors import InstanceError, OutputError
from sysopt_gym.evaluation.cells import Cell, Entry, Folder
from sysopt_gym.evaluation.judge import judge, world_seed
from sysopt_gym.evaluation.merging import merge
from sysopt_gym.evaluation.report import write_report
from sysopt_gym.evaluation.seat import Terms, blank_row
from typer.testing import CliRunner

pytestmark = pytest.mark.usefixtures("toy")
PLANNERS = {"best": toy_family.best, "greedy": toy_family.greedy, "agent": toy_family.greedy}


def played(
    path: Path,
    *contenders: str,
    budget_s: float = 0.5,
    nonce: str = "n",
    numbers: tuple[int, ...] = (0, 1, 2),
    **settings: str,
) -> Path:
    """A comparison's folder, without processes: each plan is judged as a seat judges it."""
    problem, budget = toy_family.PROBLEM, Budget(budget_s)
    entries = [
        Entry("toy", problem.apply_settings(toy_family.make_items(number), settings), settings)
        for number in numbers
    ]
    folder, terms = Folder(path), Terms({"toy": budget}, "one at a time")
    path.mkdir()
    folder.prepare()
    folder.seal(nonce, entries)
    for contender in contenders:
        for entry in entries:
            cell = Cell(entry, contender, 0, world_seed(entry.instance_hash, 0, nonce))
            plan = PLANNERS[contender](entry.instance, budget, 0).actions
            found = judge(problem, entry.instance, plan, World(cell.world_seed, 0.1))
            row = replace(
                blank_row(cell, terms), objective=found.objective, feasible=found.feasible,
                scored_objective=found.objective, status="feasible", wall_s=0.1, cpu_s=0.1,
                actions=plan.tolist(), detail=dict(found.detail),
            )  # fmt: skip
            folder.keep(cell, row)
    folder.open_up(entries)
    folder.write_run({"command": f"compare {path.name}", "baseline": {"toy": "greedy"}})
    return path


def figures(rows: Any) -> set[tuple[Any, ...]]:
    return {(r.contender, r.instance, r.scored_objective, r.best, r.gap_to_best) for r in rows}


def test_two_runs_merged_are_one_run_with_both_contenders(tmp_path: Path) -> None:
    both = write_report(Folder(played(tmp_path / "both", "best", "greedy")))
    paths = [played(tmp_path / "a", "best"), played(tmp_path / "b", "greedy")]
    words = ["report", str(tmp_path / "out"), "--merge", *map(str, paths)]
    said = CliRunner().invoke(app, words)
    assert said.exit_code == 0, said.output
    merged = write_report(Folder(tmp_path / "out"))
    assert figures(merged) == figures(both)
    page = (tmp_path / "out" / "report.md").read_text()
    assert "better than greedy" in page and "--merge" in page
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run["merged_from"]["a"]["command"] == "compare a"


def test_contenders_of_one_name_are_told_apart_by_folder(tmp_path: Path) -> None:
    paths = [played(tmp_path / name, "best", "agent") for name in ("mine", "theirs")]
    rows = merge(paths, tmp_path / "out")
    names = {row.contender for row in rows}
    assert names == {"best (mine)", "best (theirs)", "agent (mine)", "agent (theirs)"}
    with pytest.raises(OutputError, match="holds rows of a comparison"):
        merge(paths, paths[0])


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"objective": 99.0, "scored_objective": 99.0}, "was 99.0, is now"),
        ({"scored_objective": 99.0}, "states scored_objective 99.0"),
        ({"null_objective": -5.0}, "states null_objective -5.0"),
        ({"wall_s": 9.0}, "states scored_objective"),
        ({"direction": "minimize"}, "states direction 'minimize'"),
        ({"actions": [0, 0]}, "was feasible, is now infeasible"),
        ({"budget_s": 9.0}, "played with 0.5 and 9 s"),
    ],
)
def test_a_row_that_states_what_its_plan_does_not_give_is_refused_by_name(
    tmp_path: Path, change: dict[str, Any], why: str
) -> None:
    paths = [played(tmp_path / "a", "best"), played(tmp_path / "b", "greedy")]
    rewrite(paths[0], with_first(**change))
    with pytest.raises(OutputError) as refused:
        merge(paths, tmp_path / "out")
    assert why in str(refused.value) and not (tmp_path / "out" / "rows.jsonl").exists()
    assert "budget_s" in change or "the row of best on toy/0, seed 0" in str(refused.value)


def test_an_instance_that_was_exchanged_is_refused(tmp_path: Path) -> None:
    paths = [played(tmp_path / "a", "best"), played(tmp_path / "b", "greedy")]
    first, second = sorted((paths[0] / "instances").glob("*.npz"))[:2]
    first.write_bytes(second.read_bytes())
    with pytest.raises((OutputError, InstanceError), match=r"not the one of its hash|refused"):
        merge(paths, tmp_path / "out")


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"budget_s": 1.0}, "a was played with 0.5 s a plan, b with 1 s a plan"),
        ({"numbers": (0, 1)}, r"only a has rows on 1 of the instances .*toy/2"),
        ({"capacity": "5"}, r"only a has rows on 3 of the instances"),
    ],
)
def test_rows_that_do_not_compare_are_told(tmp_path: Path, other: dict[str, Any], why: str) -> None:
    paths = [played(tmp_path / "a", "best"), played(tmp_path / "b", "greedy", **other)]
    with pytest.raises(OutputError, match=why):
        merge(paths, tmp_path / "out")


def test_worlds_that_move_on_have_to_be_the_same(tmp_path: Path) -> None:
    paths = [
        played(tmp_path / "a", "best", drift="0.1"),
        played(tmp_path / "b", "greedy", drift="0.1", nonce="other"),
        played(tmp_path / "c", "greedy", drift="0.1"),
    ]
    with pytest.raises(OutputError, match=r"met other worlds on toy/.; .*--nonce"):
        merge(paths[:2], tmp_path / "out")
    assert len(merge([paths[0], paths[2]], tmp_path / "out")) == 6


def test_another_version_of_the_environment_is_refused(tmp_path: Path) -> None:
    paths = [played(tmp_path / "a", "best"), played(tmp_path / "b", "greedy")]
    rewrite(paths[1], with_first(env_version="0"))
    with pytest.raises(OutputError, match="environment version 0"):
        merge(paths, tmp_path / "out")


def test_one_folder_or_none_is_refused(tmp_path: Path) -> None:
    path = played(tmp_path / "a", "best")
    for paths in ([path], [path, path]):
        with pytest.raises(OutputError, match="at least two folders"):
            merge(paths, tmp_path / "out")
    assert CliRunner().invoke(app, ["report"]).exit_code == 2
