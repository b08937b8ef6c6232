"""Playing: who fails keeps a row, seconds are the contender's own, and an interrupted run goes
on."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import toy_family
from result_rows import kept, rewrite, with_first
from stopped_commands import hear_sigint
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.errors import OutputError, SettingError, UnknownNameError
from sysopt_gym.core.registry import contender_names, family_names
from sysopt_gym.core.results import Row
from sysopt_gym.evaluation import warming
from sysopt_gym.evaluation.cells import Entry, Folder
from sysopt_gym.evaluation.comparison import Request, make_plan
from sysopt_gym.evaluation.judge import is_late
from sysopt_gym.evaluation.process import Trouble, Worker, answer_limit
from sysopt_gym.evaluation.replay import replay_all
from sysopt_gym.evaluation.runner import Plan, play

pytestmark = pytest.mark.usefixtures("toy")
BUDGET = Budget(0.2)


def entries(count: int = 3) -> list[Entry]:
    return [Entry("toy", items, {}) for items in toy_family.PROBLEM.sets.load("toy")[:count]]


def played(tmp_path: Path, *names: str, **more: object) -> dict[tuple[str, str, int], Row]:
    plan = Plan(entries(), {"toy": list(names)}, {"toy": BUDGET}, range(1), **more)  # type: ignore[arg-type]
    rows = play(plan, Folder(tmp_path), quiet=True)
    return {(row.contender, row.instance, row.seed): row for row in rows}


def test_every_cell_is_a_row_with_the_judged_objective(tmp_path: Path) -> None:
    rows = played(tmp_path, "best", "greedy")
    assert len(rows) == 6
    row = rows["best", "toy/0", 0]
    assert row.status == "optimal" and row.bound == row.objective == row.scored_objective
    assert row.feasible and not row.late
    assert 0 < row.wall_s < row.budget_s == 0.2
    assert row.setup_s > row.wall_s
    assert row.detail == {"items": len(row.actions)}


def test_instances_in_hand_are_played_like_those_with_names() -> None:
    items = toy_family.make_items(3)
    plan = make_plan(Request(instances=["toy/1", items], contenders=["best"]))
    assert [entry.instance.name for entry in plan.entries] == ["toy/1", items.name]
    assert list(plan.contenders) == ["toy"]
    with pytest.raises(UnknownNameError, match="family of this comparison 'toy'"):
        make_plan(Request(families=["vm_rescheduling"], instances=[items]))


def test_a_proof_about_the_instance_as_given_is_none_where_the_world_moves_on(
    tmp_path: Path,
) -> None:
    items = toy_family.PROBLEM.apply_settings(toy_family.make_items(0), {"drift": "1"})
    plan = Plan([Entry("toy", items, {})], {"toy": ["best"]}, {"toy": BUDGET}, range(1))
    (row,) = play(plan, Folder(tmp_path), quiet=True)
    assert row.status == "feasible" and row.bound is None
    assert row.objective < items.value[row.actions].sum()


def test_an_infeasible_plan_keeps_its_row_and_ranks_as_doing_nothing(tmp_path: Path) -> None:
    row = played(tmp_path, "infeasible")["infeasible", "toy/0", 0]
    assert row.status == "infeasible" and not row.feasible
    assert math.isnan(row.objective) and row.scored_objective == 0.0
    assert "too heavy" in row.violations[0]


def test_a_late_plan_keeps_its_objective_but_ranks_as_doing_nothing(tmp_path: Path) -> None:
    row = played(tmp_path, "late")["late", "toy/0", 0]
    assert row.status == "late" and row.late and row.feasible
    assert row.objective > 0.0 == row.scored_objective


def test_a_contender_that_raises_loses_that_cell_only(tmp_path: Path) -> None:
    rows = played(tmp_path, "raises")
    assert rows["raises", "toy/1", 0].status == "crashed"
    assert rows["raises", "toy/1", 0].error == "RuntimeError: ran out of luck"
    assert rows["raises", "toy/2", 0].status == "feasible"


def test_a_contender_that_dies_is_replaced_by_a_fresh_process(tmp_path: Path) -> None:
    rows = played(tmp_path, "dies")
    assert rows["dies", "toy/1", 0].status == "crashed"
    assert "killed by signal 9" in rows["dies", "toy/1", 0].error
    assert "about to die" in rows["dies", "toy/1", 0].error
    assert rows["dies", "toy/2", 0].status == "feasible"


def test_a_contender_that_cannot_start_has_a_row_for_every_cell(tmp_path: Path) -> None:
    rows = played(tmp_path, "broken_start")
    assert [row.status for row in rows.values()] == ["crashed"] * 3
    assert all("no weights to load" in row.error for row in rows.values())


def test_a_contender_that_gives_no_answer_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sysopt_gym.evaluation.process.answer_limit", lambda budget: 0.1)
    worker = Worker("toy", "slow", Budget(5.0))
    outcome = worker.play(toy_family.make_items(0), 0, 0)
    assert isinstance(outcome, Trouble) and outcome.status == "hung"
    worker.close()
    assert answer_limit(Budget(2.0)) == 36.0


def test_a_policy_plays_closed_loop_and_its_actions_replay(tmp_path: Path) -> None:
    row = played(tmp_path, "follow")["follow", "toy/0", 0]
    assert (row.role, row.form) == ("solver", "player") and row.feasible and row.actions


def test_everything_a_contender_prints_stays_out_of_the_way(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    played(tmp_path, "dies")
    assert "about to die" not in capfd.readouterr().out


def test_late_starts_beyond_five_percent_and_twenty_milliseconds() -> None:
    assert not is_late(1.07, 1.0)
    assert is_late(1.071, 1.0)


def test_rows_replay(tmp_path: Path) -> None:
    played(tmp_path, "best", "infeasible", "raises")
    assert all(judged.agrees for judged in replay_all(Folder(tmp_path)))


def test_a_tampered_row_does_not_replay(tmp_path: Path) -> None:
    played(tmp_path, "best")
    rewrite(tmp_path, lambda rows: [rows[0] | {"objective": rows[0]["objective"] + 1}, *rows[1:]])
    off = [judged for judged in replay_all(Folder(tmp_path)) if not judged.agrees]
    assert len(off) == 1 and "is now" in off[0].why


def test_processes_side_by_side_find_the_same_plans_and_say_so(tmp_path: Path) -> None:
    alone = played(tmp_path / "one", "best", "greedy", "random")
    beside = played(tmp_path / "two", "best", "greedy", "random", workers=2)
    for key, row in alone.items():
        assert beside[key].actions == row.actions
        assert beside[key].timing.startswith("2 processes at a time")


def test_where_no_terminal_shows_a_bar_each_contender_that_is_done_has_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = Plan(entries(), {"toy": ["best", "greedy"]}, {"toy": BUDGET}, range(1))
    play(plan, Folder(tmp_path))
    said = capsys.readouterr()
    told = [line.split(" after ")[0] for line in said.err.splitlines() if "done" in line]
    assert told == ["toy best: done, 3 of 6 runs", "toy greedy: done, 6 of 6 runs"]
    assert said.out == "" and "compiling" not in said.err


def test_a_contender_that_takes_long_to_start_is_said_to_be_compiled_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sysopt_gym.evaluation.seat.SLOW_START_CPU_S", 0.0)
    monkeypatch.setattr("sysopt_gym.evaluation.seat.LOOK_S", 0.01)
    play(Plan(entries(), {"toy": ["best"]}, {"toy": BUDGET}, range(1)), Folder(tmp_path))
    said = capsys.readouterr().err
    assert said.count("compiling best, first time only") == 1


def test_warming_up_names_each_contender_and_goes_on_after_one_that_cannot_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(warming, "contender_names", lambda family: ["broken_start", "best"])
    warming.warm_up_family("toy")
    judge, broken, best = capsys.readouterr().out.splitlines()
    assert judge.startswith("toy: the judge is ready")
    assert broken.startswith("toy: broken_start is left out: ")
    assert best.startswith("toy: best is ready after ")


def test_warming_up_refuses_families_that_are_not_there_and_no_processes() -> None:
    with pytest.raises(UnknownNameError, match="family 'toys'"):
        warming.warm_up_families(["toys"])
    with pytest.raises(SettingError, match="at least 1"):
        warming.warm_up_families(["toy"], 0)


def test_runs_differ_by_seed_and_repeat_with_it(tmp_path: Path) -> None:
    plan = Plan(entries(1), {"toy": ["random"]}, {"toy": BUDGET}, range(4))
    first = [row.actions for row in play(plan, Folder(tmp_path / "a"), quiet=True)]
    again = [row.actions for row in play(plan, Folder(tmp_path / "b"), quiet=True)]
    assert first == again
    assert len({tuple(actions) for actions in first}) > 1


def test_fewer_than_one_worker_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="--workers 0"):
        played(tmp_path, "best", workers=0)


def test_resume_plays_only_what_is_missing(tmp_path: Path) -> None:
    played(tmp_path, "best")
    rewrite(tmp_path, lambda rows: rows[1:])
    before = kept(tmp_path)
    plan = Plan(entries(), {"toy": ["best"]}, {"toy": BUDGET}, range(1))
    assert len(play(plan, Folder(tmp_path), resume=True, quiet=True)) == 3
    assert kept(tmp_path)[:-1] == before


def test_resume_may_add_contenders_and_seeds(tmp_path: Path) -> None:
    played(tmp_path, "best")
    plan = Plan(entries(), {"toy": ["greedy"]}, {"toy": BUDGET}, range(2))
    assert len(play(plan, Folder(tmp_path), resume=True, quiet=True)) == 9


def refused(tmp_path: Path, budget: Budget = BUDGET, settings: float = 0.0) -> None:
    items = toy_family.PROBLEM.apply_settings(toy_family.make_items(0), {"drift": str(settings)})
    plan = Plan([Entry("toy", items, {})], {"toy": ["best"]}, {"toy": budget}, range(1))
    play(plan, Folder(tmp_path), resume=True, quiet=True)


def test_resume_refuses_rows_of_another_budget(tmp_path: Path) -> None:
    refused(tmp_path)
    with pytest.raises(OutputError, match=r"budget of 0.2 s, this is 0.4 s.*another --out"):
        refused(tmp_path, budget=Budget(0.4))


def test_resume_refuses_rows_of_other_settings(tmp_path: Path) -> None:
    refused(tmp_path)
    with pytest.raises(OutputError, match=r"does not have .*another --out"):
        refused(tmp_path, settings=1.0)


def test_resume_refuses_rows_of_another_environment_version(tmp_path: Path) -> None:
    refused(tmp_path)
    rewrite(tmp_path, with_first(env_version="0"))
    with pytest.raises(OutputError, match=r"environment version 0, this is 1"):
        refused(tmp_path)


RUN = """
import toy_family; toy_family.register()
from sysopt_gym.cli import main; main()
"""


def run_cli(*arguments: str) -> subprocess.Popen[bytes]:
    path = os.pathsep.join(
        [str(Path(toy_family.__file__).parent), os.environ.get("PYTHONPATH", "")]
    )
    return subprocess.Popen(
        [sys.executable, "-c", RUN, *arguments],
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=hear_sigint,
    )


def whole_lines(path: Path) -> bytes:
    """The content of a file up to its last line's end."""
    content = path.read_bytes() if path.exists() else b""
    return content[: content.rfind(b"\n") + 1]


@pytest.mark.parametrize(
    "how", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.long)]
)
def test_a_compare_that_was_stopped_resumes_without_playing_a_cell_twice(
    tmp_path: Path, how: signal.Signals
) -> None:
    out = tmp_path / "out"
    words = ["compare", "toy", "--contenders", "slow", "--budget", "0.5", "--out", str(out)]
    running = run_cli(*words, "--seeds", "2")
    while whole_lines(out / "rows.jsonl").count(b"\n") < 2 and running.poll() is None:
        time.sleep(0.01)
    running.send_signal(how)
    said = running.communicate()[0].decode()
    if how == signal.SIGINT:
        assert running.returncode == 130 and "--resume" in said
    before = whole_lines(out / "rows.jsonl")
    assert 2 <= before.count(b"\n") < 18
    resumed = run_cli(*words, "--seeds", "2", "--resume")
    assert resumed.wait() == 0
    after = (out / "rows.jsonl").read_bytes()
    assert after.count(b"\n") == 3 * 3 * 2  # slow, random, greedy on three instances, two seeds
    assert after.startswith(before)
    summary = json.loads((out / "summary.json").read_text())
    assert len({(r["contender"], r["instance"], r["seed"]) for r in summary}) == len(summary) == 18


def test_the_toy_family_leaves_no_trace_in_the_registry() -> None:
    toy_family.unregister()
    assert "toy" not in family_names() and not contender_names("toy")
