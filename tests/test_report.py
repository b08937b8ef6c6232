"""The report: what it answers, that it stands alone, and that nothing a contender does can lose
it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
import toy_family
from result_rows import make_row, rewrite, with_first
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.contracts import Picture
from sysopt_gym.core.errors import OutputError
from sysopt_gym.core.results import Row
from sysopt_gym.evaluation import family_pictures, instance_tables, table
from sysopt_gym.evaluation.cells import Entry, Folder
from sysopt_gym.evaluation.headline import headline, leaders, percent, seconds
from sysopt_gym.evaluation.instance_tables import figures as figures_of
from sysopt_gym.evaluation.instance_tables import objectives, over_seeds
from sysopt_gym.evaluation.plots import anytime_plot, cost_plot
from sysopt_gym.evaluation.replay import replay_all
from sysopt_gym.evaluation.report import write_report
from sysopt_gym.evaluation.runner import Plan, play
from sysopt_gym.evaluation.screens import result_lines
from sysopt_gym.evaluation.statistics import standings
from sysopt_gym.evaluation.table import Scored, score

NEEDED = {
    "family", "instance", "instance_hash", "contender", "role", "form", "seed", "objective",
    "objective_name", "direction", "feasible", "status", "bound", "gap_to_best", "gap_to_bound",
    "wall_s", "cpu_s", "budget_s", "late", "env_version", "setup_s", "world_seed", "versions",
}  # fmt: skip


def made(tmp_path: Path, *names: str, drift: float = 0.0, seeds: int = 1) -> Folder:
    toy_family.register()
    instances = [
        toy_family.PROBLEM.apply_settings(items, {"drift": str(drift)})
        for items in toy_family.PROBLEM.sets.load("toy")
    ]
    entries = [Entry("toy", items, {}) for items in instances]
    plan = Plan(entries, {"toy": list(names)}, {"toy": Budget(0.2)}, range(seeds))
    folder = Folder(tmp_path)
    play(plan, folder, quiet=True)
    folder.write_run({"command": "sysopt-gym compare toy --out out", "baseline": {"toy": "greedy"}})
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("compare")
    yield made(path, "agent", "best", "greedy", "random", "infeasible", "late", "raises")
    toy_family.unregister()


def test_the_summary_has_every_promised_field_in_every_row(folder: Folder) -> None:
    summary = json.loads((folder.path / "summary.json").read_text())
    assert len(summary) == 21
    assert all(set(row) >= NEEDED for row in summary)
    failed = next(row for row in summary if row["contender"] == "infeasible")
    assert failed["objective"] is None and failed["feasible"] is False


def test_the_parquet_table_holds_actions_and_curves(folder: Folder) -> None:
    table = pyarrow.parquet.read_table(folder.path / "results.parquet").to_pylist()
    assert len(table) == 21
    row = next(r for r in table if r["contender"] == "best" and r["instance"] == "toy/0")
    assert json.loads(row["actions"]) and row["curve_objective"][-1] == row["objective"]
    assert "detail.items" in row


def test_the_page_is_self_contained(folder: Folder) -> None:
    page = (folder.path / "report.html").read_text()
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", page)
    assert "@import" not in page
    assert page.count("<script") == page.count('<script type="module">') == 1
    assert not re.findall(r"\b(fetch|XMLHttpRequest|import)\b\s*\(", page)
    assert page.count("<svg") == 2


def test_the_page_answers_first(folder: Folder) -> None:
    text = (folder.path / "report.md").read_text()
    answer = text[: text.index("| contender |")]
    assert "**best** comes first under 0.2 s a plan on 3 instances" in answer
    assert "proven bound" in answer and "baseline greedy" in answer
    assert "Train an agent or run a solver?" in answer
    assert "The best agent, agent, gets" in answer and "the best solver, best," in answer


def test_failed_contenders_stay_in_the_table_with_their_reasons(folder: Folder) -> None:
    text = (folder.path / "report.md").read_text()
    assert re.search(r"\| late \| solver \| 0 .* 3 late \|", text)
    assert "raises crashed on toy/1 (seed 0): RuntimeError: ran out of luck" in text
    assert "too heavy" in text


def test_a_busy_machine_is_told_on_the_page(folder: Folder) -> None:
    text = (folder.path / "report.md").read_text()
    assert "late" in text and "The machine was busy" in text  # the late contender sleeps


def test_the_page_says_how_to_repeat_it(folder: Folder) -> None:
    page = (folder.path / "report.html").read_text()
    assert "sysopt-gym compare toy --out out" in page
    assert "numpy" in page and "one contender at a time" in page


def test_pictures_that_fail_become_a_note(folder: Folder) -> None:
    page = (folder.path / "report.html").read_text()
    assert "pictures could not be drawn: no paint" in page


def test_pictures_get_rows_instances_by_hash_and_the_colors_of_contenders(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw(rows: list[Row], instances: Any, colors: dict[str, str]) -> list[Picture]:
        assert {row.instance_hash for row in rows} == set(instances)
        assert {row.contender for row in rows} == set(colors)
        assert all(re.fullmatch("#[0-9a-fA-F]{6}", color) for color in colors.values())
        return [Picture("A toy", "How to read it.", b"png")]

    monkeypatch.setattr(toy_family, "pictures", draw)
    write_report(folder)
    assert 'src="data:image/png;base64,cG5n"' in (folder.path / "report.html").read_text()


def test_each_contender_has_its_color_in_the_table(folder: Folder) -> None:
    page = (folder.path / "report.html").read_text()
    dots = re.findall(r'class="dot" style="background:(.*?)"', page)
    assert len(set(dots)) == 7 and all(re.fullmatch("#[0-9A-F]{6}", dot) for dot in dots)


def test_a_report_is_made_again_from_the_rows_alone(folder: Folder) -> None:
    before = (folder.path / "summary.json").read_text()
    write_report(folder)
    assert (folder.path / "summary.json").read_text() == before


def test_settings_that_differ_have_tables_of_their_own(
    tmp_path: Path, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {
        str(at): replace(row, settings={"shared": "1"} | ({"moves": "5"} if at % 2 else {}))
        for at, row in enumerate(folder.rows().values())
    }
    copied = Folder(Path(shutil.copytree(folder.path, tmp_path / "copy")))
    monkeypatch.setattr(Folder, "rows", lambda _: rows)
    write_report(copied)
    titles = re.findall(r"^## (toy: .*)$", (copied.path / "report.md").read_text(), re.M)
    assert titles == ["toy: value", "toy: value, moves=5"]


def test_where_the_world_moves_on_the_page_claims_no_bound(tmp_path: Path) -> None:
    try:
        made(tmp_path, "best", "greedy", drift=1.0)
    finally:
        toy_family.unregister()
    text = (tmp_path / "report.md").read_text()
    assert "toy: value, moving world" in text and "no bound holds" in text


@pytest.mark.usefixtures("toy")
def test_an_empty_folder_has_no_report(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="holds no results"):
        write_report(Folder(tmp_path))


@pytest.mark.usefixtures("toy")
def test_mixed_environment_versions_are_refused(tmp_path: Path) -> None:
    made(tmp_path, "best")
    rewrite(tmp_path, with_first(env_version="0"))
    with pytest.raises(OutputError, match="do not compare"):
        write_report(Folder(tmp_path))


@pytest.mark.usefixtures("toy")
def test_a_damaged_row_is_named_with_what_to_do(tmp_path: Path) -> None:
    made(tmp_path, "best")
    first, *others = (tmp_path / "rows.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "rows.jsonl").write_text("".join([others[0], first[:40] + "\n", *others[1:]]))
    with pytest.raises(OutputError, match=r"rows\.jsonl, line 2: .*delete this line") as told:
        write_report(Folder(tmp_path))
    (command,) = re.findall(r"\((sed .*?)\)", str(told.value))
    subprocess.run(command, shell=True, check=True)
    assert (tmp_path / "rows.jsonl").read_text() == "".join(others)


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize("figure", [float("nan"), float("inf"), float("-inf")])
def test_further_figures_without_a_finite_value_do_not_end_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figure: float
) -> None:
    real = toy_family.Toy.validate

    def odd(self: Any, *given: Any) -> Any:
        return replace(real(self, *given), detail={"odd": figure, "items": 1.0})

    monkeypatch.setattr(toy_family.Toy, "validate", odd)
    made(tmp_path, "greedy", seeds=2)
    kept = {repr(row.detail["odd"]) for row in Folder(tmp_path).rows().values()}
    assert kept == {repr(figure)}
    table = pyarrow.parquet.read_table(tmp_path / "results.parquet").to_pylist()
    assert {repr(row["detail.odd"]) for row in table} == {repr(figure)}
    shown = "–" if figure != figure else f"{figure:g}"
    assert f"| greedy | {shown} | 1 [1, 1] |" in (tmp_path / "report.md").read_text()


def rows_of(**values: list[float]) -> list[Scored]:
    """Minimizing contenders, their objective on each instance; names starting with "agent" are
    agents, with "oracle" oracles."""
    return scored(
        make_row(
            name, f"i{at}", value, null_objective=9.0,
            role=next((role for role in ("agent", "oracle") if role in name), "solver"),
        )
        for name, found in values.items()
        for at, value in enumerate(found)
    )  # fmt: skip


def scored(rows: Iterable[Row]) -> list[Scored]:
    found, _ = score(rows)
    return found


@pytest.fixture
def told() -> Callable[..., str]:
    def tell(**values: list[float]) -> str:
        rows = rows_of(**values)
        return " ".join(headline(rows, standings(rows, "ha"), "ha"))

    return tell


def test_a_clear_lead_is_a_win_and_the_advice_names_the_agent(told: Callable[..., str]) -> None:
    text = told(agent=[1, 1, 1, 1.1], ha=[2, 2.1, 2, 2])
    assert text.startswith("**agent** wins")
    assert "better on 4, level on 0, worse on 0" in text
    assert "**use agent** (its training is not in these seconds)" in text


def test_a_clear_lead_of_a_solver_advises_to_run_it(told: Callable[..., str]) -> None:
    assert "**run milp**" in told(agent=[2, 2, 2.1], milp=[1, 1, 1.2], ha=[3, 3, 3])


def test_a_lead_that_may_be_chance_is_called_a_tie(told: Callable[..., str]) -> None:
    text = told(agent=[1, 3, 1, 2.8], ha=[2, 2, 2, 2])
    assert "comes first" in text and "take it as a tie" in text
    assert "quality does not decide it" in text


def test_a_winner_by_the_mean_that_loses_most_instances_is_no_tie(told: Callable[..., str]) -> None:
    text = told(milp=[1.1] * 20, ha=[1.0] * 19 + [30.0])
    assert text.startswith("**milp** comes first")
    assert "The next, ha, does better on most instances (better on 1, level on 0, worse" in text


def test_equal_plans_share_the_first_place(told: Callable[..., str]) -> None:
    text = told(agent=[1, 2], ha=[1, 2])
    assert "share the first place" in text and "they are level" in text


def test_one_instance_decides_nothing(told: Callable[..., str]) -> None:
    text = told(agent=[1], ha=[2])
    assert "the one instance" in text and "one instance does not decide it" in text


def test_without_an_agent_the_question_stays_open(told: Callable[..., str]) -> None:
    assert "No agent took part" in told(milp=[1, 1], ha=[2, 2])


def test_who_leads_when_stopped_earlier_is_told_in_spans() -> None:
    rows = rows_of(quick=[2.0], slow=[1.0])
    rows = [
        replace(row, curve=((0.01 if row.contender == "quick" else 0.5, row.objective),))
        for row in rows
    ]
    text = leaders(rows, ["slow", "quick"], np.geomspace(0.001, 1.0, 200), 1.0)
    assert re.fullmatch(
        r"Stopped earlier, the best plans are held until 0.5\d s quick, then slow.", text
    )


def test_numbers_read_well() -> None:
    assert (percent(0.1234), percent(-0.00001), percent(None)) == ("12.3 %", "0.0 %", "–")
    assert (seconds(0.0123), seconds(2.5), seconds(None)) == ("12 ms", "2.50 s", "–")


def test_further_figures_are_means_over_instances_of_feasible_runs() -> None:
    rows = rows_of(best=[3.0, 4.0], greedy=[1.0, 2.0])
    rows.append(replace(rows[0], seed=1))
    rows[3] = replace(rows[3], feasible=False)
    spreads = (1.0, 2.0, 5.0, 7.0, 3.0)
    rows = [replace(row, detail={"spread": s}) for row, s in zip(rows, spreads, strict=True)]
    figures = figures_of(rows, standings(rows, "greedy"), lambda row: row.instance_hash)
    cells = {line["name"]: line["cells"] for line in figures["rows"]}
    assert figures["names"] == ["spread"]
    assert cells == {"best": [("2", "[2, 2]")], "greedy": [("5", "")]}


def test_instances_played_with_several_seeds_have_a_table_over_seeds() -> None:
    rows = rows_of(best=[3.0, 4.0], greedy=[1.0, 2.0])
    rows = [replace(row, detail={"spread": 1.0}) for row in rows]
    assert over_seeds(rows, standings(rows, "greedy")) == []
    rows.append(replace(rows[0], seed=1, objective=5.0, detail={"spread": 2.0}))
    (table,) = over_seeds(rows, standings(rows, "greedy"))
    assert table["name"] == "i0" and table["figures"]["names"] == ["cost", "spread"]
    cells = {line["name"]: line["cells"] for line in table["figures"]["rows"]}
    assert cells["best"] == [("4", "[3, 5]"), ("1.5", "[1, 2]")]
    assert cells["greedy"] == [("1", ""), ("1", "")]


def test_seeds_are_shown_on_the_page_with_their_intervals(tmp_path: Path) -> None:
    try:
        made(tmp_path, "random", "greedy", seeds=2)
    finally:
        toy_family.unregister()
    page, text = ((tmp_path / name).read_text() for name in ("report.html", "report.md"))
    assert page.count(", over seeds</summary>") == 3 and "over these seeds" in page
    assert re.search(r"### toy/0, over seeds\n+\| contender \| value \| items \|", text)
    assert re.search(r"\| greedy \| \d+ \[\d+, \d+\] \| ", text)


def test_who_is_first_by_average_rank_is_told(told: Callable[..., str]) -> None:
    text = told(agent=[1, 1, 3], ha=[2, 2, 2], milp=[3, 3, 1.5])
    assert "By average rank over the instances agent is first: 1.7 [1.0, 3.0] among 3." in text
    assert "agent, ha are first: 1.5" in told(agent=[1, 2], ha=[2, 1])
    assert "average rank" not in told(agent=[1], ha=[2])


def test_an_oracle_is_told_apart_from_the_winner(told: Callable[..., str]) -> None:
    text = told(agent=[2, 2, 2, 2], oracle=[1, 1.5, 1, 1], ha=[3, 3, 3, 3])
    assert text.startswith("**agent** wins")
    assert "Out of competition: the oracle oracle, which plans with what only the judge" in text
    assert "agent is 1 behind it [0.5, 1]." in text
    assert "among 2." in text, "an oracle has no rank"
    ahead = told(agent=[2, 2, 2, 2], oracle=[3, 3, 3, 4], ha=[5, 5, 5, 5])
    assert "agent is 1 ahead of it [1, 2]." in ahead


def test_an_oracle_is_last_and_never_the_best_of_an_instance() -> None:
    rows = rows_of(oracle=[1.0, 9.0], ha=[2.0, 2.0])
    lines = standings(rows, "ha")
    assert [line.contender for line in lines] == ["ha", "oracle"]
    for one in objectives(rows, lines)["rows"]:
        assert [cell["best"] for cell in one["cells"]] == [True, False]
    printed = [line for line in result_lines(rows, Path("out")) if "gap to best" in line]
    assert "out of competition" not in printed[0]
    assert printed[1].endswith("(oracle, out of competition)")


def test_an_oracle_is_a_line_among_the_marks_and_has_no_anytime_curve() -> None:
    rows = rows_of(oracle=[1.0, 1.0], ha=[2.0, 2.0])
    color = {"oracle": "#123456", "ha": "#654321"}
    lines = standings(rows, "ha")
    assert "oracle (oracle)" in cost_plot(rows, lines, color, 1.0)
    curves = anytime_plot(rows, lines, color, 1.0)
    assert "#654321" in curves and "#123456" not in curves


@pytest.mark.usefixtures("toy")
def test_each_instance_is_loaded_once_by_a_report_and_by_a_replay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(tmp_path, "best", "greedy", "random", seeds=2)
    loaded: list[str] = []
    load = toy_family.Items.load.__func__

    def counted(kind: Any, path: Path) -> Any:
        loaded.append(path.stem)
        return load(kind, path)

    monkeypatch.setattr(toy_family.Items, "load", classmethod(counted))
    write_report(Folder(tmp_path))
    assert len(loaded) == len(set(loaded)) == 3
    loaded.clear()
    assert [judged.row.contender for judged in replay_all(Folder(tmp_path))] == sorted(
        ["best", "greedy", "random"] * 6
    )
    assert len(loaded) == len(set(loaded)) == 3


@pytest.mark.usefixtures("toy")
def test_the_page_of_many_instances_shows_some_and_the_files_hold_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = made(tmp_path, "greedy", "random", seeds=2)
    drawn: list[set[str]] = []

    def draw(rows: list[Row], instances: Any, colors: dict[str, str]) -> list[Picture]:
        assert {row.instance_hash for row in rows} == set(instances)
        drawn.append(set(instances))
        return [Picture("A toy", "How to read it.", b"png")]

    monkeypatch.setattr(toy_family, "pictures", draw)
    monkeypatch.setattr(instance_tables, "MOST_INSTANCES", 2)
    monkeypatch.setattr(instance_tables, "MOST_OVER_SEEDS", 1)
    monkeypatch.setattr(family_pictures, "MOST_DRAWN", 2)
    monkeypatch.setattr(table, "ROWS_AT_ONCE", 5)
    write_report(folder)
    for name in ("report.html", "report.md"):
        page = (tmp_path / name).read_text()
        assert page.count("The first 2 of 3 instances") == page.count("The first 1 of 3") == 1
        assert "pictures are of the 2 smallest of 3 instances" in page
    assert len(drawn) == 1 and len(drawn[0]) == 2
    assert len(json.loads((tmp_path / "summary.json").read_text())) == 12
    rows = pyarrow.parquet.read_table(tmp_path / "results.parquet").to_pylist()
    plans = [json.loads(row["actions"]) for row in rows]
    assert plans == [list(row.actions) for row in folder.rows().values()]


def test_a_figure_that_only_a_later_row_has_is_a_column(tmp_path: Path) -> None:
    rows = rows_of(a=[1.0], b=[2.0])
    rows[1] = replace(rows[1], detail={"spread": 2.0})
    table.write_parquet(rows, tmp_path / "results.parquet")
    found = pyarrow.parquet.read_table(tmp_path / "results.parquet").to_pylist()
    assert [row["detail.spread"] for row in found] == [None, 2.0]
