"""Two writers, a read-only folder, a full disk, a clock that jumps, signals in the middle of a
write: nothing is lost, and the message says what to do.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from stopped_commands import CELLS, COMPARE, PATIENCE_S, Command, rows, table, wait_for
from sysopt_gym.agents.ray_clusters import own_sigterm
from sysopt_gym.cli import app
from sysopt_gym.core.errors import OutputError
from sysopt_gym.core.files import write_bytes
from sysopt_gym.core.folder_lock import sole_writer
from typer.testing import CliRunner


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The table of a comparison that nothing befell."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    assert Command(*COMPARE, "--out", out).ended()[0] == 0
    assert len(table(out)) == CELLS
    return table(out)


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Do the block as a user who may write little, where the tests are run by root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 28 KiB, in pages of four; `enlarge` gives it more."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=28k", "none", place])
    if done.returncode:
        pytest.skip("only root may mount a small disk")
    yield place
    subprocess.run(["umount", place], check=True)


def enlarge(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=8m", disk], check=True)


# Two writers of one folder.


def test_a_second_comparison_is_kept_out_of_a_folder_until_the_first_has_ended(
    tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    out = tmp_path / "out"
    first = Command(*COMPARE, "--out", out)
    wait_for(lambda: rows(out))
    first.send(signal.SIGSTOP)  # until the others have tried
    others = [Command(*COMPARE, "--out", out, *more) for more in ((), ("--resume",))]
    for other in others:
        code, said = other.ended()
        assert code == 2 and f"process {first.process.pid} on " in said, said
        assert "wait until it has ended, or choose another --out" in said
    first.send(signal.SIGCONT)
    assert first.ended()[0] == 0
    assert table(out) == undisturbed
    assert not list(out.glob(".*"))


def test_a_folder_is_free_at_once_when_its_holder_was_killed(
    tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    out = tmp_path / "out"
    first = Command(*COMPARE, "--out", out, "--workers", "2")
    wait_for(lambda: rows(out))
    first.send(signal.SIGKILL)
    first.ended()
    again = Command(*COMPARE, "--out", out, "--resume")
    assert again.ended()[0] == 0
    assert table(out) == undisturbed
    assert first.left_behind() == []


def test_of_many_that_want_a_folder_one_has_it(tmp_path: Path) -> None:
    """Each that has it finds no trace of another; the killed ones leave it free."""
    code = """
import os, sys, time, random
from pathlib import Path
from sysopt_gym.core.errors import OutputError
from sysopt_gym.core.folder_lock import sole_writer
from sysopt_gym.agents.ray_clusters import own_sigterm
folder = Path(sys.argv[1])
for turn in range(40):
    try:
        with sole_writer(folder, "another"):
            inside = os.open(folder / "inside", os.O_CREAT | os.O_EXCL)
            time.sleep(random.uniform(0, 0.003))
            (folder / "inside").unlink()
            os.write(1, b"had it\\n")
    except OutputError as error:
        assert "writes there" in str(error), error
    time.sleep(random.uniform(0, 0.003))
"""
    words = [sys.executable, "-c", code, str(tmp_path / "folder")]
    crowd = [subprocess.Popen(words, stdout=-1, stderr=-1) for _ in range(4)]
    for said, wrong in (one.communicate(timeout=PATIENCE_S) for one in crowd):
        assert not wrong and said.count(b"had it") > 0, wrong.decode()


def test_training_and_recording_are_kept_out_of_a_folder_that_has_a_writer(
    tmp_path: Path,
) -> None:
    from sysopt_gym.agents.training import train

    tiny = {"out": str(tmp_path), "validation": "[small:val/0]"}
    many = {"seeds": "2"}, {"sweep.space": "{seed: {choice: [0, 1]}}"}
    with sole_writer(tmp_path, "another"):
        for more in ({}, *many):
            with pytest.raises(OutputError, match=rf"process {os.getpid()} on .*out=FOLDER"):
                train("vm_rescheduling_ppo", tiny | more, resume=False)
        words = ["data", "record", "memory_mapping", "--with", "greedy", "--out", str(tmp_path)]
        said = CliRunner().invoke(app, words)
        assert said.exit_code == 2 and f"process {os.getpid()} on" in said.output
    assert list(tmp_path.iterdir()) == []


def test_writers_of_one_file_never_leave_a_mixture(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from sysopt_gym.core.files import write_bytes
for turn in range(60):
    write_bytes(Path(sys.argv[1]), sys.argv[2].encode() * 200_000)
"""
    path = tmp_path / "file"
    crowd = [subprocess.Popen([sys.executable, "-c", code, str(path), letter]) for letter in "abc"]
    seen = set()
    while any(one.poll() is None for one in crowd):
        content = path.read_bytes() if path.exists() else b""
        assert len(content) in (0, 200_000) and len(set(content)) <= 1
        seen |= set(content)
    assert [one.returncode for one in crowd] == [0, 0, 0] and len(seen) > 1
    assert [left.name for left in tmp_path.iterdir()] == ["file"]


# Places that cannot be written.


def commands(out: Path) -> list[list[str]]:
    """The commands that make a folder, each told to write to a place."""
    record = ["data", "record", "memory_mapping", "--with", "greedy", "--out", str(out)]
    train = ["train", "vm_rescheduling_ppo", "validation=[small:val/0]", f"out={out}"]
    return [["compare", "toy", "--out", str(out)], record, train]


def test_a_read_only_folder_is_refused_before_anything_is_played(toy: None) -> None:
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o555)
        with as_nobody():
            for out in (Path(place), Path(place) / "new"):
                for words in commands(out):
                    said = CliRunner().invoke(app, words)
                    text = " ".join(said.output.split())
                    assert said.exit_code == 2 and "cannot be written" in text, (words, text)
                    assert "Permission denied" in text and "choose another" in text
        assert list(Path(place).iterdir()) == []


def test_a_file_or_a_link_to_nothing_in_place_of_a_folder_is_refused(
    toy: None, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("file", "link"):
        for words in commands(tmp_path / name):
            said = CliRunner().invoke(app, words)
            text = " ".join(said.output.split())
            assert said.exit_code == 2 and "a link to nothing, where a folder must be" in text, text
    assert (tmp_path / "file").read_bytes() == b"mine" and not (tmp_path / "nowhere").exists()


def test_links_are_followed_and_devices_stay_devices(tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "there")
    write_bytes(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "there").read_bytes() == b"new"
    write_bytes(Path(os.devnull), b"gone")
    assert Path(os.devnull).is_char_device()
    with pytest.raises(OutputError, match="make room, then try again"):
        write_bytes(Path("/dev/full"), b"too much")


# A full disk.


def test_a_comparison_on_a_full_disk_keeps_its_rows_and_goes_on_when_there_is_room(
    small_disk: Path, undisturbed: dict[str, Any]
) -> None:
    out = small_disk / "out"
    code, said = Command(*COMPARE, "--out", out).ended()
    assert code == 2 and "make room, then go on with --resume" in said, said
    before = table(out)
    assert 0 < len(before) < CELLS and not list(out.rglob("*.partial"))
    code, said = Command(*COMPARE, "--out", out, "--resume").ended()  # it is still full
    assert code == 2 and "make room" in said and table(out) == before
    enlarge(small_disk)
    assert Command(*COMPARE, "--out", out, "--resume").ended()[0] == 0
    assert table(out) == undisturbed and before.items() <= undisturbed.items()


def test_a_limit_on_the_size_of_files_is_named(tmp_path: Path) -> None:
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000));"
        "from pathlib import Path; from sysopt_gym.core.files import write_bytes;"
        "write_bytes(Path(sys.argv[1]), bytes(2000))"
    )
    path = tmp_path / "file"
    path.write_bytes(b"old")
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True)
    assert b"raise the limit, ulimit -f" in done.stderr
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_a_row_that_was_cut_off_is_dropped_and_its_cell_played_again(
    tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    out = tmp_path / "out"
    assert Command(*COMPARE, "--out", out).ended()[0] == 0
    file = out / "rows.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole[:-100])
    code, said = Command("report", out).ended()
    assert code == 0 and "left out; `compare --resume` plays its cell again" in said
    assert f"{CELLS - 1} rows" in said and file.read_bytes() == whole[:-100]
    code, said = Command(*COMPARE, "--out", out, "--resume").ended()
    assert code == 0 and said.count("its cell is played again") == 1
    assert file.read_bytes().startswith(whole[: whole[:-1].rfind(b"\n") + 1])
    assert table(out) == undisturbed


# Signals.


def test_stopped_in_the_middle_of_any_write_a_comparison_ends_as_if_nothing_had_happened(
    tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    out = tmp_path / "out"
    # run.json, the nonce and three instances, then rows; later, two files before the rows.
    kept = 0
    for trouble, code, more in (
        ("SIGTERM:6", 143, 0),  # the first row; what has been played is still written or is not
        ("SIGKILL:2", -9, 0),  # the nonce
        ("full:4", 2, 1),  # the second row
        ("SIGINT:4", 130, 1),
        ("SIGKILL:3", -9, 0),
    ):
        resume = ["--resume"] if rows(out) else []
        command = Command(*COMPARE, "--out", out, *resume, trouble=trouble)
        ended, said = command.ended()
        assert ended == code, (trouble, said)
        assert code == -9 or "--resume" in said, said
        wait_for(lambda: not command.left_behind())  # noqa: B023
        assert len(rows(out)) >= kept + more
        kept = len(rows(out))
    left = CELLS - kept
    drawing = Command(
        *COMPARE, "--out", out, "--resume", trouble=f"SIGKILL:{left + 4}", report=True
    )
    assert drawing.ended()[0] == -9
    assert table(out).keys() == undisturbed.keys() and (out / "summary.json").exists()
    assert not (out / "report.html").exists()
    assert Command(*COMPARE, "--out", out, "--resume", report=True).ended()[0] == 0
    assert table(out) == undisturbed and (out / "report.html").exists()
    assert len(rows(out)) == CELLS


def test_sigterm_ends_the_workers_and_gives_the_terminal_back(tmp_path: Path) -> None:
    out = tmp_path / "out"
    ours, theirs = pty.openpty()
    terminal = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    running = Command(
        "compare", "toy", "--contenders", "slow", "--budget", "60", "--out", out, **terminal
    )
    os.close(theirs)
    said = b""
    while b"slow on toy/0" not in said:
        said += os.read(ours, 4096)
    running.send(signal.SIGTERM)
    running.send(signal.SIGTERM)  # as `timeout` does
    with contextlib.suppress(OSError):  # the end of a terminal
        while piece := os.read(ours, 4096):
            said += piece
    os.close(ours)
    assert running.process.wait(PATIENCE_S) == 143
    assert b"ended by SIGTERM; finished cells are kept" in said
    assert said.rfind(b"\x1b[?25h") > said.rfind(b"\x1b[?25l") >= 0  # the cursor is shown again
    assert running.left_behind() == []


@pytest.mark.parametrize("busy", ["holds the interpreter", "computes", "sleeps"])
def test_a_worker_and_its_children_end_with_the_judge_whatever_they_do(busy: str) -> None:
    child = """
import ctypes, subprocess, sys
from sysopt_gym.evaluation.parent_death import end_with_parent
end_with_parent(sys.argv[1])
mine = subprocess.Popen(["sleep", "600"])
print(mine.pid, flush=True)
busy = sys.argv[2]
if busy == "holds the interpreter":
    ctypes.PyDLL(None).sleep(600)
while busy == "computes":
    pass
ctypes.CDLL(None).sleep(600)
"""
    parent = """
import os, subprocess, sys, threading, time
lifeline, held = os.pipe()
words = [sys.executable, "-c", sys.argv[1], str(lifeline), sys.argv[2]]
start = lambda: subprocess.Popen(words, pass_fds=[lifeline], start_new_session=True)
thread = threading.Thread(target=start)
thread.start()
thread.join()  # a worker outlives the thread that started it
os.close(lifeline)
time.sleep(600)
"""
    judge = subprocess.Popen([sys.executable, "-c", parent, child, busy], stdout=subprocess.PIPE)
    assert judge.stdout is not None
    grandchild = psutil.Process(int(judge.stdout.readline()))
    worker = grandchild.parent()
    assert worker is not None and worker.is_running()
    time.sleep(0.2)  # now it is busy
    judge.kill()
    _, alive = psutil.wait_procs([worker, grandchild], timeout=PATIENCE_S)
    assert not alive


def test_a_contender_ends_with_a_judge_that_was_killed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    running = Command("compare", "toy", "--contenders", "slow", "--budget", "600", "--out", out)
    wait_for(lambda: len(running.left_behind()) > 1)
    time.sleep(1.0)  # it plays, for four minutes if it is let
    running.send(signal.SIGKILL)
    running.process.wait()
    wait_for(lambda: not running.left_behind())


TRAINING = {
    "width": "8", "validation": "[small:val/0]", "imitation.contender": "ha",
    "imitation.instances": "[small:train/0]", "imitation.epochs": "3", "ppo.iterations": "0",
}  # fmt: skip


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What a run ends in that nothing befell."""
    from sysopt_gym.agents.training import train

    out = tmp_path_factory.mktemp("calm") / "run"
    train("vm_rescheduling_ppo", TRAINING | {"out": str(out)}, resume=False)
    return trained(out)


def test_stopped_in_the_middle_of_any_write_training_ends_as_if_nothing_had_happened(
    tmp_path: Path, calm: list[Any]
) -> None:
    from sysopt_gym.agents.training import train

    out = tmp_path / "run"
    settings = [f"{key}={value}" for key, value in TRAINING.items()]
    for trouble, code in (("SIGTERM:12", 143), ("SIGKILL:17", -9)):
        more = ["--resume"] if (out / "config.yaml").exists() else []
        command = Command(
            "train", *more, "vm_rescheduling_ppo", *settings, f"out={out}", trouble=trouble
        )
        ended, said = command.ended()
        assert ended == code, said
        assert code == -9 or "--resume" in said, said
        assert command.left_behind() == []
    train(out, {}, resume=True)
    assert trained(out) == calm
    assert not list(out.rglob("*.partial"))


def trained(out: Path) -> list[Any]:
    """What a run's end consists of, but for the clock's part."""
    history = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
    for record in history:
        del record["seconds"], record["timers"]
    state = json.loads((out / "state.json").read_text())
    return [history, state, (out / "policy" / "policy.safetensors").read_bytes()]


def test_training_on_a_full_disk_keeps_its_last_checkpoint(
    small_disk: Path,
) -> None:
    from sysopt_gym.agents.training import train

    out = small_disk / "run"
    enlarge(small_disk)
    train("vm_rescheduling_ppo", TRAINING | {"out": str(out), "imitation.epochs": "1"}, False)
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    with pytest.raises(OutputError, match="make room, then go on with --resume"):
        train(out, {"imitation.epochs": "3"}, resume=True)
    filler.unlink()
    train(out, {"imitation.epochs": "3"}, resume=True)
    assert [one["done"] for one in trained(out)[0]] == [0, 1, 2, 3]


@pytest.mark.parametrize("fails", [False, True])
def test_ray_does_not_take_over_sigterm(fails: bool) -> None:
    before = signal.signal(signal.SIGTERM, answer := lambda *_: None)
    try:
        with contextlib.suppress(ConnectionError), own_sigterm():
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
            if fails:
                raise ConnectionError
        assert signal.getsignal(signal.SIGTERM) is answer
    finally:
        signal.signal(signal.SIGTERM, before)


# The clock.


def test_a_clock_that_jumps_changes_no_row(tmp_path: Path, undisturbed: dict[str, Any]) -> None:
    out = tmp_path / "out"
    running = Command(*COMPARE, "--out", out, trouble="clock:1")
    wait_for(lambda: len(rows(out)) > 1 or running.process.poll() is not None)
    running.send(signal.SIGTERM)
    assert running.ended()[0] == 143
    for path in out.rglob("*"):  # written tomorrow, or in 1970
        os.utime(path, (4e9, 4e9) if path.name < "m" else (0, 0))
    code, said = Command(*COMPARE, "--out", out, "--resume", trouble="clock:2").ended()
    assert code == 0, said
    assert table(out) == undisturbed
    found = rows(out)
    assert all(0.0 <= row["wall_s"] < 2.0 and not row["late"] for row in found)
    assert all(0.0 <= seconds <= row["wall_s"] for row in found for seconds, _ in row["curve"])
    words = ["data", "generate", "toy", "--count", "2", "--out", tmp_path / "two.zip"]
    code, said = Command(*words, trouble="clock:3").ended()
    assert code == 0, said
