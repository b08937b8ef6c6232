"""Read users' files into data centers: traces, and what this library saved.

The format is recognized by the content, not by the file's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ...core.errors import InstanceError
from ...core.files import files_in, kind_of, opened
from ...core.instance import load_single
from ..azure import SQLITE_MAGIC
from ..files import NO_SETTINGS, UserFile, read_file
from ..host_lists import file_named
from ..huawei import HUAWEI_COLUMNS
from ..openb import NODE_COLUMNS, POD_COLUMNS, pair_of
from ..setting_texts import choice
from ..tables import Table, header_of, read_table
from .google import google_trace, is_google, is_task_events
from .instance import DataCenter
from .own_tables import CALLED, is_own, own_trace
from .recorded import Recorded
from .settings import READ_BY_FILES, TIMES, columns_of, priority_of, window_of, with_settings
from .traces import azure_trace, huawei_trace, openb_trace
from .windows import data_center

ADVICE = "give a part of the trace"
FORMATS = (
    "a table of VMs with arrival, exit, and flavor or cores and memory_mb (CSV, or a folder or zip "
    "of vms.csv with hosts.csv), a Huawei-East-1 CSV, an Azure Packing sqlite file, an Alibaba "
    "openb pair, Google's task or instance events, or an instance saved by this library"
)
TRACE_NAMES = ("vms", "trace", "requests")
BESIDE = ("hosts", "flavors")


def load_file(path: Path, settings: Mapping[str, str] = NO_SETTINGS) -> DataCenter:
    """Read the data center in a user's file.

    Supported are traces of VMs that come and go: a user's own table (own_tables.py), alone or in a
    folder or zip with hosts.csv and flavors.csv; Huawei-East-1 (CSV), Azure Packing 2020 (sqlite),
    Alibaba's openb (either file of the pair), Google's task and instance events (google.py). And
    what this library saved itself (.npz, or a .zip set of one instance). Any of them may be packed
    (gzip, bzip2, xz, zip).

    Args:
        path: the file or folder.
        settings: texts by the names in SETTINGS; some say which part of a trace is played, and on
            which hosts.

    Raises:
        InstanceError: the file is of no known format or is malformed; names file, row, column and
            remedy.
        SettingError: a setting cannot be used.
    """
    file = None
    if kind_of(path) != "folder":
        with opened(path) as stream:
            is_base = stream.read(len(SQLITE_MAGIC)) == SQLITE_MAGIC
        file = None if is_base else read_file(path, ADVICE)
        if file is not None and file.is_zip and _trace_in(file.members()) is None:
            return with_settings(load_single(DataCenter, path, file.data), settings)
    trace = _read(path, file, settings)
    left = {key: text for key, text in settings.items() if key not in READ_BY_FILES}
    return with_settings(data_center(trace, window_of(settings)), left)


def _read(path: Path, file: UserFile | None, settings: Mapping[str, str]) -> Recorded:
    """Return the trace in a file, or in a folder or a database, of which nothing is read yet."""
    times, named = choice(settings, "times", TIMES), columns_of(settings, tuple(CALLED))
    if kind_of(path) == "folder":
        members = [one.name for one in files_in(path)]
        name = _trace_in(members)
        if name is None:
            raise InstanceError(
                f"{path}: no vms.csv in it; give the trace itself, or a folder of vms.csv "
                "(arrival,exit,cores,memory_mb,...) and hosts.csv"
            )
        return own_trace(
            path / name, read_file(path / name, ADVICE), _beside(path, name), times, named
        )
    if file is None or file.data.startswith(SQLITE_MAGIC):
        return azure_trace(path, priority_of(settings))
    if file.is_zip:
        name = _trace_in(file.members())
        assert name is not None
        return own_trace(path / name, file.member(name), _members(file), times, named)
    text = file.text(FORMATS)
    if not text.strip():
        raise InstanceError(f"{path}: is empty; give {FORMATS}")
    first = next(line for line in text.splitlines() if line.strip())
    columns = header_of(first)
    # A table that lacks a column is passed to its own reader, which then names the column.
    if len(set(HUAWEI_COLUMNS) & set(columns)) >= len(HUAWEI_COLUMNS) - 1:
        return huawei_trace(path)
    if "sn" in columns and "cpu_milli" in columns:
        return openb_trace(path, pair_of(path, POD_COLUMNS))
    if {"name", "cpu_milli"} <= set(columns):
        return openb_trace(pair_of(path, NODE_COLUMNS), path)
    if is_google(columns) or is_task_events(first):
        return google_trace(file)
    if named or is_own(columns) or _has_own_header(path, text):
        return own_trace(path, file, _beside(path.parent, path.name), times, named)
    raise InstanceError(
        f"{path}: row 1: {first[:80]!r} is no header of a known trace; give {FORMATS}. A table "
        "with other names is read by the setting columns, such as columns=arrival:NAME,exit:NAME"
    )


def _has_own_header(path: Path, text: str) -> bool:
    """Whether a table whose header is not in the first line is a user's own."""
    try:
        return is_own(read_table(str(path), text, ()).columns)
    except InstanceError:
        return False


def _trace_in(names: list[str]) -> str | None:
    """Return the table of VMs among the files of a folder or zip; None if there is none."""
    found = (file_named(what, names) for what in TRACE_NAMES)
    return next((name for name in found if name is not None), None)


def _beside(folder: Path, own: str) -> dict[str, Table]:
    """Read the tables of hosts and flavors in a folder, where there are such."""
    names = [one.name for one in files_in(folder) if one.name != own]
    found = {what: file_named(what, names) for what in BESIDE}
    return {
        what: read_table(str(folder / name), read_file(folder / name).text("a CSV file"), ())
        for what, name in found.items()
        if name is not None
    }


def _members(archive: UserFile) -> dict[str, Table]:
    """Read the tables of hosts and flavors in a zip, where there are such."""
    found = {what: file_named(what, archive.members()) for what in BESIDE}
    return {
        what: read_table(f"{archive.path}/{name}", archive.member(name).text("a CSV file"), ())
        for what, name in found.items()
        if name is not None
    }
