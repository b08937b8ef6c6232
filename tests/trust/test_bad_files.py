"""Files and names that no loader can use end in one clear error, which names the file, at once and
in little memory.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import lzma
import os
import socket
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzz.files import FAMILIES
from refusals import little_memory, refused
from sysopt_gym.agents.bounded_yaml import read_yaml
from sysopt_gym.agents.checkpoints import read_card
from sysopt_gym.core.archives import read_array
from sysopt_gym.core.errors import InstanceError, SysOptError
from sysopt_gym.core.files import MEGABYTE, read_bytes
from sysopt_gym.core.registry import load_problem
from sysopt_gym.core.solution import SolutionFile
from sysopt_gym.core.sources import find_instances
from sysopt_gym.core.user_code import import_file

pytestmark = pytest.mark.usefixtures("in_time", "imported")


# --- what is no regular file ------------------------------------------------------------------


def a_pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


def a_socket(folder: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as one, contextlib.chdir(folder):
        one.bind("sock")
    return folder / "sock"


def a_circle_of_links(folder: Path) -> Path:
    (folder / "loop").symlink_to(folder / "loop")
    return folder / "loop"


def an_empty_folder(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "made",
    [a_pipe, a_socket, a_circle_of_links, an_empty_folder, lambda _: Path("/dev/zero")],
    ids=["pipe", "socket", "circle of links", "folder", "/dev/zero"],
)
def test_what_has_no_content_or_no_end_is_refused_at_once(
    tmp_path: Path, family: str, made: Callable[[Path], Path]
) -> None:
    path = made(tmp_path)
    with little_memory():
        assert str(path) in refused(family, path)


@pytest.mark.parametrize(
    "read",
    [read_bytes, SolutionFile.load, lambda path: read_yaml(path), import_file],
    ids=["instance", "solution", "configuration", "code"],
)
@pytest.mark.parametrize("made", [a_pipe, a_circle_of_links, an_empty_folder])
def test_so_it_is_wherever_a_file_is_read(
    tmp_path: Path, read: Callable[[Path], Any], made: Callable[[Path], Path]
) -> None:
    path = made(tmp_path)
    with pytest.raises(SysOptError, match=rf"{path}: .*cannot be read"):
        read(path)


def test_a_policys_card_that_is_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "policy.json")
    (tmp_path / "policy.safetensors").write_bytes(b"")
    with pytest.raises(SysOptError, match=r"policy\.json"):
        read_card(tmp_path)


def test_a_file_that_says_it_is_empty_is_read_up_to_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = Path("/proc/self/maps")
    if not path.exists():
        pytest.skip("the kernel shows no processes as files")
    assert path.stat().st_size == 0 and read_bytes(path)
    monkeypatch.setenv("SYSOPT_MAX_FILE_MB", "0.0001")
    with pytest.raises(InstanceError, match="over the limit"):
        read_bytes(path)


# --- names ------------------------------------------------------------------------------------

NAMES = ("a\0b", "x" * 5000, "~nosuchuser/x.json", "bad\udcffname.json", "\ud800", "a/" * 3000)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", NAMES, ids=["NUL", "long", "~", "byte", "half", "deep"])
def test_a_name_that_no_file_can_have_is_refused(family: str, name: str) -> None:
    assert refused(family, name)


def test_a_file_with_an_odd_name_is_named_so_that_it_can_be_printed(tmp_path: Path) -> None:
    path = tmp_path / "bad\udcff\x1b[31m.json"
    path.write_text("{}")
    for family in FAMILIES:
        assert r"bad\udcff\x1b[31m.json" in refused(family, path)


def told_without_rights(argument: Path) -> str:
    """Gives an argument to a family in a process that may read only what everybody may."""
    here, there = os.pipe()
    problem = load_problem("memory_mapping")
    process = os.fork()
    if process == 0:
        try:
            if os.geteuid() == 0:
                os.setgid(65534)
                os.setuid(65534)
            find_instances(problem, str(argument), {})
        except SysOptError as error:
            os.write(there, str(error).encode())
        finally:
            os._exit(0)
    os.close(there)
    os.waitpid(process, 0)
    with os.fdopen(here) as stream:
        return stream.read()


def test_what_may_not_be_read_is_refused(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    (closed / "x.json").write_text("{}")
    closed.chmod(0)
    told = told_without_rights(closed / "x.json"), told_without_rights(closed / "none.json")
    closed.chmod(0o700)
    assert all("json: cannot be read (Permission denied)" in one for one in told)


COMMANDS = {
    "info": ("data", "info", "toy", "{}"),
    "import": ("data", "import", "toy", "{}", "--out", "x.npz"),
    "import of any": ("data", "import", "{}", "--out", "x.npz"),
    "validate": ("validate", "toy", "toy/0", "{}"),
    "solve": ("solve", "toy", "toy/0", "--budget", "1", "--with", "{}", "--out", "x"),
    "solve with a function": (
        "solve",
        "toy",
        "toy/0",
        "--budget",
        "1",
        "--with",
        "{}.py:f",
        "--out",
        "x",
    ),
    "compare": ("compare", "toy", "--contenders", "{}", "--out", "x"),
    "instances": ("compare", "toy", "--instances", "{}", "--out", "x"),
    "report": ("report", "{}"),
    "train": ("train", "{}"),
    "train from": ("train", "vm_rescheduling_ppo", "start={}"),
}


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_refuses_names_that_no_file_can_have(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sysopt_gym.cli import app
    from typer.testing import CliRunner

    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        words = [word.format(name) for word in COMMANDS[command]]
        result: Any = CliRunner().invoke(app, words)
        assert result.exit_code == 2, (name, result.exception, result.output)
        assert "no name can have" in result.output or "Usage" not in result.output, result.output
    assert not list(tmp_path.iterdir())


# --- archives ---------------------------------------------------------------------------------


def npz(**members: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return made.getvalue()


def npy(value: Any) -> bytes:
    made = io.BytesIO()
    np.save(made, np.asarray(value), allow_pickle=True)
    return made.getvalue()


def lying(shape: tuple[int, ...], follows: int = 80, dtype: str = "<f8") -> bytes:
    made = io.BytesIO()
    terms = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(made, terms)
    return made.getvalue() + bytes(follows)


def flagged(encrypted: int = 0, method: int = 0) -> bytes:
    data = bytearray(npz(meta=npy("{}")))
    entry = data.find(b"PK\x01\x02")
    data[6] |= encrypted
    data[entry + 8] |= encrypted
    if method:
        data[8] = data[entry + 10] = method
    return bytes(data)


class Hostile:
    def __reduce__(self) -> Any:
        return pytest.fail, ("a pickle of a file was run",)


BROKEN = {
    "shape of 256 TiB": npz(meta=npy("{}"), x=lying((1 << 45,))),
    "negative shape": npz(meta=npy("{}"), x=lying((-1, 10))),
    "shape beyond numpy": npz(meta=npy("{}"), x=lying((0, 1 << 62, 1 << 62), 0)),
    "items of no size": npz(meta=npy("{}"), x=lying((1 << 60,), 0, "|S0")),
    "Python objects": npz(meta=npy(np.array([Hostile()], object))),
    "a member that is no array": npz(meta=b"x" * 100),
    "encrypted": flagged(encrypted=1),
    "unknown method": flagged(method=99),
    "bzip2, which unpacks at once": flagged(method=12),
    "a list for meta": npz(meta=npy("[1]")),
    "numbers for meta": npz(meta=npy([1, 2])),
    "no meta": npz(x=npy([1.0])),
    "deep meta": npz(meta=npy("[" * 100_000)),
    "digits": npz(meta=npy('{"fields": {"mnl": ' + "9" * 5000 + "}}")),
    "no zip": b"PK\x03\x04 and no more",
    "empty zip": b"PK\x05\x06" + bytes(18),
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_archive_is_refused_by_name(tmp_path: Path, family: str, kind: str) -> None:
    for suffix in ("npz", "zip"):
        path = tmp_path / f"broken.{suffix}"
        path.write_bytes(BROKEN[kind])
        with little_memory():
            assert str(path) in refused(family, path)


@pytest.mark.parametrize("family", FAMILIES)
def test_fields_without_a_family_are_refused(tmp_path: Path, family: str) -> None:
    one = load_problem(family).warm_up_instance()
    head = {"family": one.FAMILY, "schema": one.SCHEMA}
    for odd in (
        {}, {"fields": []}, {"fields": {}}, {"schema": [1]}, {"schema": True}, {"family": {}},
    ):  # fmt: skip
        path = tmp_path / "odd.npz"
        path.write_bytes(npz(meta=npy(json.dumps(head | odd))))
        assert str(path) in refused(family, path)


ZEROS = 20 * MEGABYTE


@pytest.fixture(scope="module")
def bombs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Files of some kilobytes that unpack to 20 MB."""
    folder, zeros = tmp_path_factory.mktemp("bombs"), bytes(ZEROS)
    made = {
        "gz": gzip.compress(zeros, 1),
        "xz": lzma.compress(zeros, preset=0),
        "npz": npz(meta=npy("{}"), x=lying((ZEROS // 8,), ZEROS)),
        "zip": npz(meta=npy("{}"), x=zeros).replace(b"meta.npy", b"0000.npz"),
    }
    for kind, content in made.items():
        (folder / f"bomb.{kind}").write_bytes(content)
    return [folder / f"bomb.{kind}" for kind in made]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_bomb_is_refused_before_it_is_unpacked(
    bombs: list[Path], family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYSOPT_MAX_FILE_MB", "0.2")
    for path in bombs:
        with little_memory(10):
            assert f"{path}: holds more than 1.6 MB" in refused(family, path)


def test_many_small_bombs_in_one_zip_are_counted_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYSOPT_MAX_FILE_MB", "1")
    one = npz(meta=npy("{}"), x=lying((7 * MEGABYTE // 8,), 7 * MEGABYTE))
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(20):
            archive.writestr(f"{number:04}.npz", one)
    with little_memory():
        assert f"{path}: holds more than 8 MB" in refused("vm_rescheduling", path)


def test_a_zip_of_many_members_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "many.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(10_001):
            archive.writestr(f"{number}.npz", b"")
    assert f"{path}: holds 10001 files" in refused("vm_rescheduling", path)


def test_names_in_a_zip_lead_nowhere(tmp_path: Path) -> None:
    one = load_problem("memory_mapping").warm_up_instance()
    folder = tmp_path / "inner"
    folder.mkdir()
    with zipfile.ZipFile(folder / "set.zip", "w") as archive:
        archive.writestr("../../escaped.npz", one.to_bytes())
    (read,) = find_instances(load_problem("memory_mapping"), str(folder / "set.zip"), {})
    assert read.content_hash == one.content_hash
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["inner", "set.zip"]


def test_arrays_are_read_as_they_were_written() -> None:
    for value in (np.arange(6.0).reshape(2, 3), np.zeros((0, 4), np.int8), np.array("text")):
        for order in ("C", "F"):
            again = read_array("x", npy(np.asarray(value, order=order)))
            assert again.dtype == value.dtype and np.array_equal(again, value)
            assert again.flags.owndata
