"""What contenders must not know is out of their reach while they play, and there for everybody
afterwards.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import toy_family
from result_rows import rewrite, with_first
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.errors import InstanceError, OutputError, RegistryError, SettingError
from sysopt_gym.core.registry import contender_entry, load_problem
from sysopt_gym.core.results import Row
from sysopt_gym.evaluation import isolation, judge
from sysopt_gym.evaluation.cells import Entry, Folder
from sysopt_gym.evaluation.comparison import Request, compare, make_plan
from sysopt_gym.evaluation.judge import world_seed
from sysopt_gym.evaluation.replay import replay_all
from sysopt_gym.evaluation.runner import Plan, play

BUDGET = Budget(0.2)
LIVE = toy_family.PROBLEM.apply_settings(toy_family.make_items(0), {"drift": "1"})

# Tries what it should not, and says what it found where it may say something: in its error.
SPY = """
import json, os, sys
from pathlib import Path

def seeds():
    frame, found = sys._getframe(), set()
    while frame is not None:
        for name, value in frame.f_locals.items():
            value = value if name == "world_seed" else getattr(value, "world_seed", None)
            if isinstance(value, int):
                found.add(value)
        frame = frame.f_back
    return sorted(found)

def look(instance, budget, seed):
    if instance.name == "warm-up":
        return budget.start().solution([0])
    out = Path({out!r})
    rows = [row for path in out.glob("rows.jsonl") for row in path.read_text().splitlines()]
    kept = sorted(out.glob("instances/*"))
    raise RuntimeError(json.dumps([
        seeds(), [sorted(json.loads(row)) for row in rows],
        [one.name for one in kept], oct((out / "nonce").stat().st_mode & 0o777),
    ]))
"""


def plan(*names: str, **more: Any) -> Plan:
    return Plan([Entry("toy", LIVE, {})], {"toy": list(names)}, {"toy": BUDGET}, range(1), **more)


def seeds_of(rows: list[Row]) -> set[int]:
    return {row.world_seed for row in rows}


@pytest.mark.usefixtures("toy")
def test_every_contender_meets_the_same_world_which_no_other_comparison_has(tmp_path: Path) -> None:
    rows = play(plan("greedy", "best"), Folder(tmp_path / "a"), quiet=True)
    others = play(plan("greedy"), Folder(tmp_path / "b"), quiet=True)
    nonce = Folder(tmp_path / "a").nonce()
    assert seeds_of(rows) == {world_seed(LIVE.content_hash, 0, nonce)}
    assert seeds_of(rows).isdisjoint(seeds_of(others))
    again = play(plan("greedy", nonce=nonce), Folder(tmp_path / "c"), quiet=True)
    assert seeds_of(again) == seeds_of(rows)
    assert all(found.agrees for found in replay_all(Folder(tmp_path / "a")))


@pytest.mark.usefixtures("toy")
def test_a_killed_comparison_goes_on_in_its_worlds_and_in_no_others(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    before = play(plan("greedy"), folder, quiet=True)
    folder.seal(folder.nonce(), plan().entries)  # as if it had been killed now
    after = play(plan("greedy", "best"), folder, resume=True, quiet=True)
    assert len(after) == 2 and seeds_of(after) == seeds_of(before)
    with pytest.raises(OutputError, match=r"worlds of --nonce .*leave --nonce out"):
        play(plan("best", nonce="other"), folder, resume=True, quiet=True)


def test_rows_of_earlier_versions_keep_the_worlds_they_were_played_in(tmp_path: Path) -> None:
    toy_family.register()
    try:
        folder = Folder(tmp_path)
        (row,) = play(plan("greedy", nonce=""), folder, quiet=True)
        assert row.world_seed == world_seed(LIVE.content_hash, 0)
        rewrite(tmp_path, with_first(world_seed=7))
        assert seeds_of(list(folder.rows().values())) == {7}
    finally:
        toy_family.unregister()


@pytest.mark.usefixtures("toy")
def test_contenders_find_no_seed_in_their_process_nor_in_the_rows_of_others(tmp_path: Path) -> None:
    out, spy = tmp_path / "out", tmp_path / "spy.py"
    spy.write_text(SPY.replace("{out!r}", repr(str(out))))
    names = ["best", f"{spy}:look"]
    rows = compare(Request(["toy"], [LIVE], names, 0.2, nonce="abc", quiet=True), out)
    (found,) = (row.error for row in rows if row.contender == "look")
    seeds, cells, kept, mode = json.loads(found.partition(": ")[2])
    assert seeds == [0]
    assert len(cells) >= 1 and not any("world_seed" in row for row in cells)
    assert kept == [f"{LIVE.content_hash}.npz"]  # all of it is shown
    assert mode == "0o600" and (out / "nonce").stat().st_mode & 0o777 == 0o644
    assert "--nonce abc" not in (out / "report.md").read_text()  # no command was given


def test_hidden_parts_of_instances_are_in_the_folder_only_after_the_last_contender(
    tmp_path: Path,
) -> None:
    problem = load_problem("sequence_design")
    task = problem.warm_up_instance()
    entry = Entry("sequence_design", task, {})
    folder = Folder(tmp_path)
    folder.prepare()
    for _ in range(2):  # also where an earlier comparison left the whole
        folder.seal("abc", [entry])
        assert not list((tmp_path / "instances").iterdir())
        folder.open_up([entry])
        (path,) = (tmp_path / "instances").iterdir()
        assert type(task).load(path).content_hash == task.content_hash
    assert problem.contender_view(task).content_hash != task.content_hash


def test_what_a_killed_comparison_has_not_written_yet_is_said(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    row = Row(
        family="sequence_design", instance="x", instance_hash="0", contender="a", role="solver",
        seed=0, world_seed=0, scored_objective=0.0, null_objective=0.0, objective_name="x",
        direction="maximize", status="crashed", is_live=False, setup_s=0.0, budget_s=1.0,
        env_version="1",
    )  # fmt: skip
    with pytest.raises(InstanceError, match="--resume"):
        folder.instance(row)


@pytest.mark.parametrize("nonce", ["a b", "x" * 65, "a/b", "ä"])
def test_a_nonce_can_be_written_in_a_command(nonce: str) -> None:
    with pytest.raises(SettingError, match="--nonce"):
        make_plan(Request(["vm_rescheduling"], ["small:test/0"], ["greedy"], nonce=nonce))


# Every attempt of an isolated contender to leave its room, by name.
ATTEMPTS = """
import json, os, signal, socket, subprocess, sys
from pathlib import Path
judge, out, instance, own, port = int(sys.argv[1]), *map(Path, sys.argv[2:5]), int(sys.argv[5])
done = {}
def attempt(name, act):
    try:
        done[name] = bool(act())
    except Exception as error:
        done[name] = False
attempt("environment", lambda: Path(f"/proc/{judge}/environ").read_bytes())
attempt("command", lambda: b"pytest" in Path(f"/proc/{judge}/cmdline").read_bytes())
attempt("memory", lambda: open(f"/proc/{judge}/mem", "rb"))
attempt("files of the judge", lambda: os.listdir(Path(f"/proc/{judge}", "root", *out.parts[1:])))
attempt("others", lambda: [p for p in os.listdir("/proc") if p.isdigit() and int(p) > 9999])
attempt("rows", lambda: os.listdir(out))
attempt("a row", lambda: (out / "rows.jsonl").read_text())
attempt("instance", lambda: instance.read_bytes())
attempt("write a row", lambda: (out / "rows.jsonl").write_text("{}"))
attempt("write its file", lambda: own.write_text("other"))
attempt("write the package", lambda: Path(sys.argv[6], "mine.py").write_text("a = 1"))
attempt("signal", lambda: os.kill(judge, 0) is None)
attempt("network", lambda: socket.create_connection(("127.0.0.1", port), timeout=2))
attempt("uncover", lambda: not subprocess.run(["umount", str(out)], capture_output=True).returncode)
attempt("uncover as another root", lambda: not subprocess.run(
    ["unshare", "--user", "--map-root-user", "--mount", "umount", str(out)], capture_output=True
).returncode)
done["own file"] = own.read_text() == "mine"
print(json.dumps(done))
"""
WAYS: dict[str, Callable[..., list[str]]] = {
    "bwrap": isolation._by_bubblewrap,
    "unshare": isolation._by_unshare,
}


def works(name: str) -> bool:
    """Whether the system lets this way be tried at all: containers often forbid namespaces."""
    if shutil.which(name) is None:
        return False
    command = WAYS[name](["true"], isolation._base(), [])
    return subprocess.run(command, capture_output=True).returncode == 0


@pytest.fixture
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Contenders are isolated in this way."""
    if not works(request.param):
        pytest.skip(f"{request.param} cannot isolate on this system")
    monkeypatch.setattr(isolation, "_way", lambda: WAYS[request.param])


@pytest.mark.parametrize("way", WAYS, indirect=True)
@pytest.mark.usefixtures("way")
def test_an_isolated_process_reaches_nothing_but_its_own_files(tmp_path: Path) -> None:
    out, own = tmp_path / "mine" / "out", tmp_path / "mine" / "solve.py"
    out.mkdir(parents=True)
    (out / "rows.jsonl").write_text("{}")
    own.write_text("mine")
    instance = tmp_path / "mine" / "instance.npz"
    instance.write_text("secret")
    with socket.create_server(("127.0.0.1", 0)) as server:
        words = [str(os.getpid()), str(out), str(instance), str(own)]
        plain = [sys.executable, "-c", ATTEMPTS, *words, str(server.getsockname()[1])]
        whole = [*plain, str(isolation.PACKAGE / "evaluation")]
        command = isolation.isolated(whole, [own, own.parent], [out, instance])
        said = subprocess.run(command, capture_output=True, text=True)
        assert said.returncode == 0, said.stderr
        done = json.loads(said.stdout)
        assert done.pop("own file")
        assert [name for name, managed in done.items() if managed] == []
        # The same attempts by a process that is not isolated show that they are attempts.
        plain.append(str(tmp_path))
        read = json.loads(subprocess.run(plain, capture_output=True, text=True).stdout)
    managed = {name for name, done in read.items() if done}
    assert managed >= {"environment", "rows", "a row", "instance", "write a row", "network"}


ROOM = """
import json, os
from pathlib import Path

def may_write(place):
    try:
        Path(place, "mine").write_text("x")
    except OSError:
        return False
    return True

places = ["/", "/dev", os.environ["COVERED"], os.environ["HOME"], "/tmp", "/dev/shm"]
print(json.dumps([
    [may_write(place) for place in places],
    [os.statvfs(place).f_blocks * os.statvfs(place).f_frsize for place in places[-2:]],
]))
"""


@pytest.mark.parametrize("way", WAYS, indirect=True)
@pytest.mark.usefixtures("way")
def test_an_isolated_process_writes_in_a_small_room_of_its_own(tmp_path: Path) -> None:
    covered = tmp_path / "shown" / "covered"
    covered.mkdir(parents=True)
    command = isolation.isolated([sys.executable, "-c", ROOM], [covered.parent], [covered])
    environment = os.environ | {"COVERED": str(covered)}
    said = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    written, sizes = json.loads(said.stdout)
    assert written == [False, False, False, True, True, True]
    assert sizes == [isolation.SCRATCH_BYTES] * 2
    assert not Path("/tmp", "mine").exists() and not list(covered.iterdir())


def names(processes: list[psutil.Process]) -> list[str]:
    """Names of those that are still there."""
    found = []
    for one in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            found.append(one.name())
    return found


@pytest.mark.parametrize("way", WAYS, indirect=True)
@pytest.mark.usefixtures("way")
def test_an_isolated_process_ends_with_the_one_that_started_it() -> None:
    command = isolation.isolated(["sleep", "60"], [], [])
    starter = "import subprocess, sys, time; subprocess.Popen(sys.argv[1:]); time.sleep(60)"
    judge = subprocess.Popen([sys.executable, "-c", starter, *command])
    whole: list[psutil.Process] = []
    while "sleep" not in names(whole):
        whole = psutil.Process(judge.pid).children(recursive=True)
    judge.send_signal(signal.SIGKILL)
    judge.wait()
    _, alive = psutil.wait_procs(whole, timeout=20)
    assert not alive


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize("way", WAYS, indirect=True)
@pytest.mark.usefixtures("way")
def test_an_isolated_contender_plays_and_does_not_see_the_folder(tmp_path: Path) -> None:
    out, spy, file = tmp_path / "out", tmp_path / "spy.py", tmp_path / "items.npz"
    LIVE.save(file)
    honest = "\n\ndef play(instance, budget, seed):\n    return budget.start().solution([0])\n"
    spy.write_text(SPY.replace("{out!r}", repr(str(out))) + honest)
    request = Request(["toy"], [str(file)], [f"{spy}:look", f"{spy}:play"], 0.2, quiet=True)
    rows = {row.contender: row for row in compare(replace(request, isolate=True), out)}
    assert rows["play"].status == "feasible" and "isolated" in rows["play"].timing
    assert rows["look"].status == "crashed" and "nonce" in rows["look"].error
    assert "No such file" in rows["look"].error


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize("isolate", [False, True])
def test_the_file_of_a_contender_is_not_run_in_the_judges_process(
    isolate: bool, tmp_path: Path
) -> None:
    if isolate and not any(map(works, WAYS)):
        pytest.skip("nothing can isolate on this system")
    file = tmp_path / "solve.py"
    file.write_text(
        "import os\nfrom pathlib import Path\nfrom sysopt_gym.evaluation import judge\n"
        "judge.TOLERANCE = 1e9\nprint('{}')\nos.environ['LOOKED'] = '1'\n"
        "class Lowest:\n"
        "    def reset(self, instance, budget, seed): pass\n"
        "    def act(self, observation, info): return int(observation['action_mask'].argmax())\n"
    )
    request = Request(["toy"], ["toy/0"], [f"{file}:Lowest"], isolate=isolate)
    plan = make_plan(request)
    assert contender_entry("toy", "Lowest").form == "player" and "Lowest" in plan.contenders["toy"]
    assert judge.TOLERANCE < 1 and "LOOKED" not in os.environ
    file.write_text("import os\nos._exit(0)\n")
    with pytest.raises(RegistryError, match=r"solve\.py:Lowest: .*correct the file"):
        make_plan(request)


READS = """
import ctypes, os
from sysopt_gym.evaluation.isolation import closed_memory

if os.getuid() == 0:  # who may read everything
    os.setuid(65534)
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)

def is_read():
    judge, contender = os.getpid(), os.fork()
    if not contender:
        try:
            open(f"/proc/{judge}/mem", "rb")
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(contender, 0)[1] == 0

before = is_read()
with closed_memory():
    during = is_read()
print(before, during, is_read())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux has /proc")
def test_processes_of_the_same_user_do_not_read_the_judges_memory() -> None:
    said = subprocess.run([sys.executable, "-c", READS], capture_output=True, text=True)
    before, during, after = said.stdout.split()
    if before == "False":
        pytest.skip("this system lets no process read another's memory")
    assert (during, after) == ("False", "True")


def test_isolation_is_refused_where_it_does_not_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda program: None)
    isolation._way.cache_clear()
    try:
        with pytest.raises(SettingError, match=r"install bubblewrap, or leave --isolate out"):
            make_plan(Request(["vm_rescheduling"], ["small:test/0"], ["greedy"], isolate=True))
    finally:
        isolation._way.cache_clear()


def test_of_paths_within_one_another_the_inner_one_counts(tmp_path: Path) -> None:
    inner = tmp_path / "runs" / "try"
    (inner / "policy").mkdir(parents=True)
    mounts = isolation._mounts([tmp_path, inner / "policy"], [tmp_path / "runs"])
    assert mounts == [
        (tmp_path, True),
        (tmp_path / "runs", False),
        (inner / "policy", True),
    ]
    assert isolation._mounts([tmp_path, inner], []) == [(tmp_path, True)]


def test_links_on_the_way_to_a_file_are_kept(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "solve.py").touch()
    (tmp_path / "link").symlink_to("real")
    path = tmp_path / "link" / "solve.py"
    mounts = isolation._mounts([path], [])
    assert mounts == [(tmp_path / "real" / "solve.py", True)]
    assert isolation._links([path], mounts) == {tmp_path / "link": tmp_path / "real"}


def test_a_contender_is_made_of_its_policy_or_of_its_files_folder(tmp_path: Path) -> None:
    entry = contender_entry("vm_rescheduling", "greedy")
    assert isolation.needed(entry) == []
    assert isolation.needed(replace(entry, policy=str(tmp_path))) == [tmp_path]
    file = tmp_path / "solve.py"
    assert isolation.needed(replace(entry, place=f"{file}:mine")) == [file, tmp_path]
