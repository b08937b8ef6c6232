"""Rows of results: what is written is read back, and folders of earlier versions still open."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from result_rows import make_row
from sysopt_gym.core.errors import OutputError
from sysopt_gym.core.results import Row
from sysopt_gym.evaluation.cells import Folder
from sysopt_gym.evaluation.replay import replay_all
from sysopt_gym.evaluation.report import write_report

GOLDEN = Path(__file__).parent / "golden"
FLOATS = st.floats(allow_nan=True, allow_infinity=True)


def reread(row: Row) -> Row:
    text = json.dumps(row.to_json(), allow_nan=False)
    return Row.from_json(json.loads(text), "here")


@given(FLOATS, FLOATS, FLOATS)
def test_every_float_of_a_row_is_read_as_it_was_written(a: float, b: float, c: float) -> None:
    row = make_row("a", objective=a, detail={"x": b}, curve=((0.1, a), (0.2, c)), setup_s=c)
    assert repr(reread(row)) == repr(row)  # NaN equals itself as a text


def test_a_row_without_a_plan_is_read_as_it_was_written() -> None:
    none = {"objective": math.nan, "wall_s": None, "cpu_s": None, "curve": ()}
    row = make_row("a", status="hung", feasible=False, error="no answer", **none)
    read = reread(row)
    assert read.wall_s is None and math.isnan(read.objective) and read.failed
    assert read.failure_reason == "no answer"


def test_the_sign_makes_less_of_either_direction_better() -> None:
    assert make_row("a", direction="minimize").sign == 1.0
    assert make_row("a", direction="maximize").sign == -1.0


@pytest.mark.parametrize("status", ["late", "infeasible", "disagreement", "crashed", "hung"])
def test_a_run_without_a_plan_in_time_failed(status: Any) -> None:
    assert make_row("a", status=status).failed
    assert not make_row("a", status="optimal").failed


def test_runs_compare_across_world_seeds_only_where_the_world_does_not_matter() -> None:
    seeds = [make_row("a", world_seed=seed) for seed in (1, 2)]
    assert len({row.world for row in seeds}) == 1
    for trait in ("is_live", "is_random"):
        assert len({dataclasses.replace(row, **{trait: True}).world for row in seeds}) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"contender": None}, "field 'contender' must be a text, is None"),
        ({"status": "fine"}, "field 'status' must be one of optimal, .*, is 'fine'"),
        ({"seed": 1.5}, "field 'seed' must be a whole number, is 1.5"),
        ({"feasible": 1}, "field 'feasible' must be true or false, is 1"),
        ({"objective": "good"}, "field 'objective' must be a number, is 'good'"),
        ({"wall_s": [1]}, r"field 'wall_s' must be a number, is \[1\]"),
        ({"detail": [1]}, "field 'detail' must be an object"),
        ({"curve": [[1]]}, r"field 'curve' must be a list of 2, is \[1\]"),
        ({"versions": {"numpy": 2}}, "field 'versions' must be a text, is 2"),
    ],
)
def test_a_damaged_field_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(OutputError, match=f"^cell.json: {message}"):
        Row.from_json(make_row("a").to_json() | changes, "cell.json")


def test_a_missing_field_is_named() -> None:
    document = make_row("a").to_json()
    del document["budget_s"]
    with pytest.raises(OutputError, match=r"cell.json: field 'budget_s' is missing"):
        Row.from_json(document, "cell.json")
    with pytest.raises(OutputError, match="a row of results is a JSON object"):
        Row.from_json([document], "cell.json")


@pytest.mark.parametrize(
    ("kind", "role", "form"),
    [
        ("solver", "solver", "planner"),
        ("policy", "solver", "player"),
        ("oracle", "oracle", "planner"),
        ("agent", "agent", None),
    ],
)
def test_kinds_of_old_rows_are_roles_and_forms(kind: str, role: str, form: str | None) -> None:
    document = make_row("a").to_json() | {"kind": kind}
    del document["role"], document["form"]
    row = Row.from_json(document, "here")
    assert (row.role, row.form) == (role, form)


@pytest.fixture
def old(tmp_path: Path) -> Folder:
    """A folder that version 0.1 wrote: static, live and oracles' runs, failures among them."""
    shutil.copytree(GOLDEN / "old_results", tmp_path / "old")
    return Folder(tmp_path / "old")


def test_old_folders_still_have_their_report_with_the_same_figures(old: Folder) -> None:
    rows = write_report(old)
    expected = json.loads((GOLDEN / "old_figures.json").read_text())
    written = json.loads((old.path / "summary.json").read_text())
    assert [{key: row[key] for key in expected[0]} for row in written] == expected
    live = [row for row in rows if row.family == "vm_rescheduling"]
    assert all(row.is_live for row in live) and len({row.world for row in live}) == 2
    page = (old.path / "report.html").read_text()
    assert "could not be drawn" not in page and page.count("data:image/png") == 10


def test_old_folders_still_replay(old: Folder) -> None:
    found = replay_all(old)
    assert len(found) == 25 and all(judged.agrees for judged in found)
