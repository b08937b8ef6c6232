"""Comparisons on a Ray cluster: the serial table, whatever nodes and processes are lost."""

from __future__ import annotations

import os
import signal
import site
import subprocess
import sys
import threading
import time
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
import toy_family
from ray.cluster_utils import Cluster
from sysopt_gym.core import registry
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.errors import SettingError
from sysopt_gym.core.results import Row
from sysopt_gym.core.user_code import file_hash
from sysopt_gym.evaluation import cluster as ray_cluster
from sysopt_gym.evaluation.cells import Cell, Entry, Folder
from sysopt_gym.evaluation.runner import Plan, play
from sysopt_gym.evaluation.schedule import TRIES, Schedule, contender_of
from sysopt_gym.evaluation.seat import Terms

pytestmark = pytest.mark.usefixtures("toy", "apart")
BUDGET = Budget(0.3)
HERE = Path(__file__).parent
PATIENCE_S = 120.0


def a_plan(names: list[str], seeds: int = 1, **more: Any) -> Plan:
    instances = toy_family.PROBLEM.sets.load("toy")[:3]
    entries = [Entry("toy", items, {}) for items in instances]
    return Plan(entries, {"toy": names}, {"toy": BUDGET}, range(seeds), **more)


def table(rows: list[Row]) -> dict[tuple[str, str, int], Any]:
    """What must not depend on where cells are played; plain worlds: of this family none matters."""
    return {
        (row.contender, row.instance, row.seed): (row.status, row.actions, row.error)
        for row in rows
    }


def wait_for(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


# The schedule.


def cells(**counts: int) -> list[Cell]:
    entry = Entry("toy", toy_family.make_items(0), {})
    return [Cell(entry, name, seed, 0) for name, n in counts.items() for seed in range(n)]


def a_schedule(**counts: int) -> Schedule:
    return Schedule(cells(**counts), Terms({"toy": BUDGET}, ""))


def test_a_seat_goes_on_with_the_contender_that_it_has_started() -> None:
    schedule = a_schedule(best=2, greedy=9)
    assert [schedule.take(("toy", "best")).contender for _ in range(2)] == ["best", "best"]  # type: ignore[union-attr]


def test_a_seat_with_none_left_takes_the_contender_with_the_most_cells_a_seat() -> None:
    schedule = a_schedule(best=3, greedy=4, slow=2)
    found = [schedule.take(None) for _ in range(9)]
    assert [cell.contender for cell in found if cell] == [
        "greedy", "best", "slow", "greedy", "best", "greedy", "slow", "best", "greedy",
    ]  # fmt: skip
    assert schedule.take(None) is None


def test_a_contender_is_not_started_once_more_when_its_seat_is_done_before(tmp_path: Path) -> None:
    (row, *_) = play(a_plan(["best"]), Folder(tmp_path), quiet=True)
    assert row.wall_s is not None and row.setup_s > row.wall_s
    schedule = a_schedule(best=3)
    first = schedule.take(None)
    assert first is not None
    schedule.played(first, row)
    assert schedule.take(contender_of(first)) is not None
    assert schedule.take(None) is None  # one cell is left, and its seat is quicker


def test_a_cell_is_played_again_until_it_was_lost_too_often() -> None:
    schedule = a_schedule(best=1)
    for number in range(TRIES):
        cell = schedule.take(None)
        assert cell is not None
        row = schedule.lost(cell, f"reason {number}")
        assert (row is None) == (number < TRIES - 1)
    assert row is not None and row.status == "crashed" and row.scored_objective == 0.0
    assert "reason 0; reason 1; reason 2" in row.error
    assert schedule.take(None) is None


# Seats in processes of this machine.


def a_killer(folder: Path) -> str:
    """Give the name of a contender that kills its judge on one instance; it imports a neighbor."""
    file = folder / "solve.py"
    file.write_text(
        "import os, signal, neighbor\n"
        "def kills(items, budget, seed):\n"
        "    if items.name == 'toy/1': os.kill(os.getppid(), signal.SIGKILL)\n"
        "    return neighbor.best(items, budget, seed)\n"
    )
    (folder / "neighbor.py").write_text("from toy_family import best\n")
    entry = registry.Entry(f"{file}:kills", digest=file_hash(file))
    registry.give("toy", "kills", entry)
    return "kills"


def test_a_contender_that_kills_its_judge_costs_its_own_cell_only(tmp_path: Path) -> None:
    plan = a_plan([a_killer(tmp_path), "best"], workers=2)
    rows = {(r.contender, r.instance): r for r in play(plan, Folder(tmp_path / "out"), quiet=True)}
    lost = rows.pop(("kills", "toy/1"))
    assert lost.status == "crashed" and "killed by signal 9" in lost.error
    assert {row.status for row in rows.values()} == {"optimal"}


# Ray.


@pytest.fixture(scope="module")
def apart() -> None:
    """No test before has left this process connected to a cluster."""
    ray.shutdown()


@pytest.mark.cluster
@pytest.mark.slow
def test_a_program_that_is_connected_to_another_cluster_is_told_so(
    tmp_path: Path, nodes: Cluster
) -> None:
    ray.init(nodes.address, log_to_driver=False)
    try:
        with pytest.raises(SettingError, match=r"connected to the cluster at .* ray\.shutdown"):
            play(a_plan(["best"], ray="local"), Folder(tmp_path / "local"), quiet=True)
        (row, *_) = play(a_plan(["best"], ray="auto"), Folder(tmp_path / "auto"), quiet=True)
        assert row.status == "optimal" and ray.is_initialized()
    finally:
        ray.shutdown()


@pytest.fixture(scope="module")
def nodes() -> Iterator[Cluster]:
    """A cluster of three nodes of one core each."""
    path = os.environ.get("PYTHONPATH", "")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), path]))
        patch.setenv("RAY_raylet_start_wait_time_s", "300")
        head = {"num_cpus": 1, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        for _ in range(2):
            cluster.add_node(num_cpus=1)
        yield cluster
        cluster.shutdown()


def below(cluster: Cluster, word: str) -> list[psutil.Process]:
    """Processes of the cluster's nodes whose command has a word in it."""
    found = []
    for node in cluster.list_all_nodes():
        for info in node.all_processes.get("raylet", []):
            for process in psutil.Process(info.process.pid).children(recursive=True):
                try:
                    if word in " ".join(process.cmdline()):
                        found.append(process)
                except psutil.Error:
                    continue
    return found


@pytest.mark.cluster
@pytest.mark.slow
def test_the_serial_table_comes_of_a_cluster_that_loses_a_node_and_a_process(
    tmp_path: Path, nodes: Cluster
) -> None:
    names = ["best", "greedy", "raises", "infeasible", "slow", "follow"]
    serial = play(a_plan(names, 2), Folder(tmp_path / "serial"), quiet=True)
    doomed, folder = nodes.add_node(num_cpus=1), Folder(tmp_path / "ray")

    def lose() -> None:
        wait_for(lambda: folder.path.exists() and len(folder.rows()) > 1)
        below(nodes, "NodeSeat")[0].kill()
        nodes.remove_node(doomed, allow_graceful=False)

    loses = threading.Thread(target=lose)
    loses.start()
    found = play(a_plan(names, 2, ray=nodes.address), folder, quiet=True)
    loses.join()
    assert table(found) == table(serial)
    assert all(row.host and row.processor for row in found)


@pytest.mark.cluster
@pytest.mark.slow
def test_a_contender_that_kills_its_judge_on_ray_costs_its_own_cell_only(
    tmp_path: Path, nodes: Cluster
) -> None:
    plan = a_plan([a_killer(tmp_path), "best"], ray=nodes.address)
    rows = {(r.contender, r.instance): r for r in play(plan, Folder(tmp_path / "out"), quiet=True)}
    lost = rows.pop(("kills", "toy/1"))
    assert lost.status == "crashed" and lost.error.count("the process ended") == TRIES
    assert {row.status for row in rows.values()} == {"optimal"}
    assert rows["kills", "toy/0"].provenance["entry_point"] == f"{tmp_path}/solve.py:kills"


RUN = "import toy_family; toy_family.register(); from sysopt_gym.cli import main; main()"


@pytest.mark.cluster
@pytest.mark.slow
def test_a_driver_that_is_killed_leaves_nothing_behind_and_goes_on(
    tmp_path: Path, nodes: Cluster
) -> None:
    out = tmp_path / "out"
    words = ["compare", "toy", "--contenders", "slow", "--budget", "0.3", "--out", str(out)]
    command = [sys.executable, "-c", RUN, *words, "--seeds", "4", "--ray", nodes.address]
    path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    running = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": path})
    folder = Folder(out)
    wait_for(lambda: (out.exists() and len(folder.rows()) > 1) or running.poll() is not None)
    running.kill()
    running.wait()
    wait_for(lambda: not below(nodes, "evaluation.worker") and not below(nodes, "NodeSeat"))
    before = folder.rows()
    assert 1 < len(before) < len(toy_family.PROBLEM.sets.load("toy")) * 4
    subprocess.run([*command, "--resume"], env=os.environ | {"PYTHONPATH": path}, check=True)
    after = folder.rows()
    assert {row.status for row in after.values()} == {"feasible"}
    assert {key: after[key] for key in before} == before


def a_node_without_this_package(
    folder: Path, address: str, versions: dict[str, str]
) -> subprocess.Popen[bytes]:
    """Start a node whose Python has all packages but this one, or says that it has others."""
    venv.create(folder / "venv")
    packages = Path(
        subprocess.check_output(
            [folder / "venv/bin/python", "-c", "import site; print(site.getsitepackages()[0])"],
            text=True,
        ).strip()
    )
    (packages / "all.pth").write_text("\n".join(site.getsitepackages()))
    for name, version in versions.items():
        info = packages / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    words = ["-m", "ray.scripts.scripts", "start", "--block", "--address", address]
    words += ["--num-cpus", "1", "--resources", '{"bare": 1}']
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.Popen(
        [folder / "venv/bin/python", *words],
        env=clean | {"XDG_CACHE_HOME": str(folder / "cache"), "PIP_INDEX_URL": "http://[::1]:1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        start_new_session=True,
    )


def ended(node: subprocess.Popen[bytes]) -> None:
    for process in psutil.Process(node.pid).children(recursive=True):
        process.kill()
    os.killpg(node.pid, signal.SIGKILL)
    node.wait()


@pytest.fixture(scope="module")
def bare() -> Iterator[Cluster]:
    """A cluster whose head has no core to play with."""
    head = {"num_cpus": 0, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    yield cluster
    cluster.shutdown()


@pytest.mark.cluster
@pytest.mark.slow
def test_a_node_without_this_package_is_sent_it_and_the_users_files(
    tmp_path: Path, bare: Cluster
) -> None:
    (tmp_path / "user").mkdir()
    plan = a_plan(["best", a_killer(tmp_path / "user")], ray=bare.address)
    plan.entries[1:2] = []  # the instance on which it kills
    node = a_node_without_this_package(tmp_path, bare.address, {})
    try:
        rows = play(plan, Folder(tmp_path / "out"), quiet=True)
    finally:
        ended(node)
    assert {row.status for row in rows} == {"optimal"} and len(rows) == 4
    assert list((tmp_path / "cache/sysopt-gym/code").iterdir())


@pytest.mark.cluster
@pytest.mark.slow
def test_a_node_with_other_packages_that_cannot_be_installed_is_left_out(
    tmp_path: Path, bare: Cluster
) -> None:
    node = a_node_without_this_package(tmp_path, bare.address, {"networkx": "1.0"})
    try:
        with (
            pytest.warns(match="is left out"),
            pytest.raises(SettingError, match=r"cannot be installed there.*--resume"),
        ):
            play(a_plan(["best"], ray=bare.address), Folder(tmp_path / "out"), quiet=True)
    finally:
        ended(node)


@pytest.mark.cluster
@pytest.mark.slow
def test_a_node_that_runs_low_on_memory_is_told_as_such(
    tmp_path: Path, bare: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_memory_usage_threshold", "0.001")
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "500")
    node = bare.add_node(num_cpus=1)
    try:
        with (
            pytest.warns(match="is left out"),
            pytest.raises(SettingError, match="ran low on memory, and Ray ended the process"),
        ):
            play(a_plan(["best"], ray=bare.address), Folder(tmp_path / "out"), quiet=True)
    finally:
        bare.remove_node(node, allow_graceful=False)


@pytest.mark.long
def test_a_local_cluster_joins_no_other_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # nobody there
    serial = play(a_plan(["best", "raises"]), Folder(tmp_path / "serial"), quiet=True)
    found = play(a_plan(["best", "raises"], ray="local"), Folder(tmp_path / "ray"), quiet=True)
    assert table(found) == table(serial)


def test_no_cluster_at_an_address_is_told_before_anything_is_played(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="no Ray cluster answers there"):
        play(a_plan(["best"], ray="127.0.0.1:1"), Folder(tmp_path), quiet=True)


@pytest.mark.cluster
@pytest.mark.slow
def test_no_node_with_the_cores_that_are_asked_for(
    tmp_path: Path, bare: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_cluster, "PATIENCE_S", 0.0)
    with pytest.raises(SettingError, match=r"none has 1 core.*--resume"):
        play(a_plan(["best"], ray=bare.address), Folder(tmp_path), quiet=True)
