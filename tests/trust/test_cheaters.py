"""The judge takes data and keeps its own time: no contender's answer costs another's row."""

from __future__ import annotations

import contextlib
import math
import pickle
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cheats
import psutil
import pytest
import toy_family
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.errors import OutputError, SettingError
from sysopt_gym.core.results import Row
from sysopt_gym.evaluation.cells import Entry, Folder
from sysopt_gym.evaluation.channel import Channel, TimeUp
from sysopt_gym.evaluation.process import Limits, Outcome, Worker
from sysopt_gym.evaluation.runner import Plan, play
from sysopt_gym.evaluation.table import score

pytestmark = pytest.mark.usefixtures("cheaters")
WORLD_SEED = 0x1234_5678_9ABC


@pytest.fixture
def cheaters(toy: None) -> Iterator[None]:
    cheats.register()
    yield


def played(folder: Path, *names: str, seeds: int = 1, budget_s: float = 0.3, **more: object):  # type: ignore[no-untyped-def]
    entries = [Entry("toy", toy_family.make_items(0), {})]
    budget = {"toy": Budget(budget_s)}
    plan = Plan(entries, {"toy": list(names)}, budget, range(seeds), **more)  # type: ignore[arg-type]
    return play(plan, Folder(folder), quiet=True)


def only(rows: list[Row], contender: str) -> Row:
    (found,) = (row for row in rows if row.contender == contender)
    return found


def left_behind() -> list[psutil.Process]:
    found = []
    for one in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if cheats.MARK in one.cmdline() and one.status() != psutil.STATUS_ZOMBIE:
                found.append(one)
    return found


@pytest.mark.parametrize("kind", ["mistakes", "forgeries"])
def test_an_answer_that_is_no_plan_is_its_contenders_crash_and_no_one_elses(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwned = tmp_path / "pwned"
    monkeypatch.setenv("SYSOPT_TEST_PWNED", str(pwned))
    monkeypatch.setattr("sysopt_gym.evaluation.process.answer_limit", lambda budget: 2.0)
    expected = cheats.MISTAKES if kind == "mistakes" else cheats.FORGERIES
    rows = played(tmp_path / "out", kind, "best", seeds=len(expected))
    assert [row.status for row in rows if row.contender == "best"] == ["optimal"] * len(expected)
    told = {row.seed: row for row in rows if row.contender == kind}
    for seed, (name, (_, text)) in enumerate(expected.items()):
        row = told[seed]
        assert row.status in ("crashed", "hung"), name
        assert re.search(text, row.error), (name, row.error)
        assert row.scored_objective == row.null_objective and not row.actions
    assert not pwned.exists()


def test_a_player_whose_action_no_environment_takes_has_a_row(tmp_path: Path) -> None:
    row = only(played(tmp_path, "illegal"), "illegal")
    assert row.status == "crashed" and "Error" in row.error


def test_time_is_the_judges_and_not_that_of_a_contenders_clock(tmp_path: Path) -> None:
    row = only(played(tmp_path, "stopped_clock"), "stopped_clock")
    assert row.status == "late" and row.wall_s is not None and row.wall_s > 0.6


def test_what_a_contender_leaves_behind_is_counted_and_ended_with_its_run(tmp_path: Path) -> None:
    row = only(played(tmp_path, "leaves_a_child", budget_s=5.0), "leaves_a_child")
    assert row.cpu_s is not None and row.cpu_s > 0.2
    assert left_behind() == []


def test_more_cpu_seconds_than_the_cores_give_are_late(tmp_path: Path) -> None:
    rows = played(tmp_path, "takes_more_cores", "best", budget_s=99.0)
    row = only(rows, "takes_more_cores")
    # On a busy machine two processes may get no more than one core.
    assert row.cpu_s is not None and row.wall_s is not None and row.cpu_s > 1.0
    assert row.late == (row.cpu_s > 1.1 * row.wall_s + 0.25)
    assert not row.late or "more than 1 core" in row.failure_reason
    assert only(rows, "best").status == "optimal"


@pytest.mark.parametrize("name", ["fills_memory", "fills_memory_by_children"])
def test_memory_is_limited_and_its_excess_costs_one_row(name: str, tmp_path: Path) -> None:
    rows = played(tmp_path, name, "best", budget_s=9.0, memory_gib=0.4)
    assert only(rows, name).status == "crashed"
    assert "llocat" in only(rows, name).error or "over its limit" in only(rows, name).error
    assert only(rows, "best").status == "optimal"
    assert left_behind() == []


def test_a_proof_needs_a_bound(tmp_path: Path) -> None:
    row = only(played(tmp_path, "unproven"), "unproven")
    assert row.status == "feasible" and "without a bound" in row.note


def test_a_proof_that_another_plan_contradicts_counts_for_nothing(tmp_path: Path) -> None:
    rows, notes = score(played(tmp_path, "claims_too_much", "best"))
    claimed, better = only(list(rows), "claims_too_much"), only(list(rows), "best")
    assert claimed.status == "feasible" and claimed.bound is None and better.status == "optimal"
    assert "yet best has one" in claimed.note and "claims_too_much claims" in better.note
    assert len(notes) == 2


@pytest.mark.parametrize("contender", ["greedy", "follow"])
def test_the_worlds_seed_is_never_sent_to_a_contender(
    contender: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[bytes] = []
    send = Worker._send

    def recorded(self: Worker, message: bytes, limit_s: float) -> None:
        sent.append(message)
        send(self, message, limit_s)

    monkeypatch.setattr(Worker, "_send", recorded)
    worker = Worker("toy", contender, Budget(0.3))
    try:
        outcome = worker.play(toy_family.make_items(0), 0, WORLD_SEED)
    finally:
        worker.close()
    assert isinstance(outcome, Outcome) and outcome.solution.actions.size
    held = WORLD_SEED.to_bytes(6, "little")
    assert held in pickle.dumps({"seed": WORLD_SEED})
    assert not any(held in message for message in sent)


def test_limits_that_no_contender_can_keep_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="--cores 0"):
        Limits.shared(0, None, 1)
    with pytest.raises(SettingError, match=r"--memory 0\.1"):
        Limits.shared(1, 0.1, 1)
    assert Limits.shared(1, None, 2).memory * 2 <= psutil.virtual_memory().total
    played(tmp_path, "best")
    with pytest.raises(OutputError, match="--cores 1, this is --cores 2"):
        entries = [Entry("toy", toy_family.make_items(0), {})]
        plan = Plan(entries, {"toy": ["best"]}, {"toy": Budget(0.3)}, range(1), cores=2)
        play(plan, Folder(tmp_path), resume=True, quiet=True)


def test_a_message_larger_than_any_buffer_arrives_whole_with_or_without_a_limit() -> None:
    ours, theirs = map(Channel, socket.socketpair())
    data = bytes(range(256)) * 2**16  # 16 MiB
    for limit_s in (60.0, math.inf):
        sender = threading.Thread(target=theirs.send, args=(data, limit_s))
        sender.start()
        time.sleep(0.2)  # the buffer is full by now
        assert ours.receive(limit_s, len(data)) == data
        sender.join()
    with pytest.raises(TimeUp):
        theirs.send(data, 0.1)
    ours.close()
    theirs.close()
