"""Rows of a comparison in one file: appended whole or not at all, read without their plans."""

from __future__ import annotations

import errno
import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_family
from result_rows import kept, make_row
from sysopt_gym.core.errors import OutputError
from sysopt_gym.core.notes import InputNote
from sysopt_gym.core.results import Row
from sysopt_gym.evaluation import row_file
from sysopt_gym.evaluation.cells import Cell, Entry, Folder

pytestmark = pytest.mark.usefixtures("toy")


def cell(contender: str, seed: int = 0) -> Cell:
    return Cell(Entry("toy", toy_family.make_items(0), {}), contender, seed, 0)


def keep(folder: Folder, *contenders: str, **more: Any) -> list[Row]:
    """Rows of so many contenders, written into the folder."""
    folder.prepare()
    written = []
    for name in contenders:
        one = cell(name)
        facts = {"family": "toy", "instance_hash": one.entry.instance_hash, **more}
        row = make_row(name, one.entry.instance.name, **facts)
        folder.keep(one, row)
        written.append(row)
    return written


def test_rows_are_read_as_they_were_written_with_their_plans(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    flat, pairs = [3, 1, 2], [[0, 1], [2, 3]]
    (first,) = keep(folder, "a", actions=flat, settings={"x": "1"}, detail={"spread": np.nan})
    (second,) = keep(folder, "b", actions=pairs)
    read = folder.rows()
    assert list(read) == [cell("a").key, cell("b").key]
    for row, written in zip(read.values(), (first, second), strict=True):
        facts = row.to_json()
        assert facts | {"world_seed": 0} == written.to_json()
        assert row.actions == written.actions and list(row.actions) == written.actions
        assert row.actions[-1] == written.actions[-1] and len(row.actions) == len(written.actions)
        assert np.array_equal(np.asarray(row.actions, np.int64), written.actions)


def test_a_last_row_cut_off_anywhere_is_left_out_then_removed_and_no_other(tmp_path: Path) -> None:
    folder, path = Folder(tmp_path), tmp_path / "rows.jsonl"
    keep(folder, "a", "b", actions=[1, 2])
    whole = path.read_bytes()
    start = whole.index(b"\n") + 1
    for end in (start + 1, start + 40, len(whole) - 30, len(whole) - 2):
        path.write_bytes(whole[:end])
        with pytest.warns(InputNote, match=r"rows\.jsonl, line 2: .*left out"):
            assert list(folder.rows()) == [cell("a").key]
        assert path.read_bytes() == whole[:end]  # a report changes nothing
        with pytest.warns(InputNote, match="its cell is played again"):
            folder.drop_half_written()
        assert path.read_bytes() == whole[:start]
    path.write_bytes(whole[:-1])  # only the line's end is missing
    assert len(folder.rows()) == 2
    folder.prepare()
    assert path.read_bytes() == whole


@pytest.mark.parametrize("at", ["half", "sync"])
def test_a_row_that_does_not_fit_on_the_disk_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    folder, path = Folder(tmp_path), tmp_path / "rows.jsonl"
    keep(folder, "a")
    before = path.read_bytes()
    real = os.write

    def write_half(file: int, data: Any) -> int:
        if len(data) < 400:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(file, data[: len(data) // 2])

    def sync(file: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        if at == "half":
            patch.setattr(row_file.os, "write", write_half)
        else:
            patch.setattr(row_file.os, "fsync", sync)
        with pytest.raises(OutputError, match=r"make room, then go on with --resume"):
            keep(folder, "b")
    assert path.read_bytes() == before
    keep(folder, "b")
    assert path.read_bytes().startswith(before) and len(folder.rows()) == 2


def test_a_signal_while_a_row_is_written_leaves_all_of_it_or_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, path = Folder(tmp_path), tmp_path / "rows.jsonl"
    keep(folder, "a")
    before = path.read_bytes()

    def interrupted(*_: Any) -> int:
        raise KeyboardInterrupt

    for what, rows in (("write", 1), ("fsync", 2)):
        with monkeypatch.context() as patch:
            patch.setattr(row_file.os, what, interrupted)
            with pytest.raises(KeyboardInterrupt):
                keep(folder, "b")
        assert path.read_bytes().startswith(before) and len(kept(tmp_path)) == rows


def test_rows_of_earlier_versions_are_read_beside_the_new_ones(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    keep(folder, "a", "b", actions=[1])
    (tmp_path / "cells").mkdir()
    for name, row in zip("ab", kept(tmp_path), strict=True):
        old = row | {"objective": 7.0, "world_seed": 5, "actions": [2]}
        (tmp_path / "cells" / f"{cell(name).key}.json").write_text(json.dumps(old, indent=1))
    (tmp_path / "rows.jsonl").unlink()
    keep(folder, "b", "c", actions=[1])
    found = folder.rows()
    assert [row.contender for row in found.values()] == ["a", "b", "c"]
    assert [row.objective for row in found.values()] == [7.0, 0.5, 0.5]
    assert [list(row.actions) for row in found.values()] == [[2], [1], [1]]
    assert found[cell("a").key].world_seed == 5


def test_plans_stay_on_the_disk_until_they_are_asked_for(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    keep(folder, *"abcdefgh", actions=list(range(1000, 21_000)))
    tracemalloc.start()
    try:
        rows = folder.rows()
        held, _ = tracemalloc.get_traced_memory()
        total = sum(int(np.asarray(row.actions).sum()) for row in rows.values())
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert total == 8 * sum(range(1000, 21_000))
    assert max(held, after) < 20_000 * 8  # less than one plan, a pointer for each step


def test_plans_of_a_file_that_has_changed_are_refused(tmp_path: Path) -> None:
    folder, path = Folder(tmp_path), tmp_path / "rows.jsonl"
    keep(folder, "a", "b", actions=[1, 2])
    last = folder.rows()[cell("b").key]
    path.write_bytes(path.read_bytes().partition(b"\n")[2])
    with pytest.raises(OutputError, match=r"rows\.jsonl: was changed or removed"):
        list(last.actions)
    path.unlink()
    with pytest.raises(OutputError, match=r"rows\.jsonl: was changed or removed"):
        np.asarray(last.actions)


def test_blank_lines_are_no_rows(tmp_path: Path) -> None:
    folder, path = Folder(tmp_path), tmp_path / "rows.jsonl"
    keep(folder, "a", "b", actions=[1, 2])
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"\n" + first + b"\n\n" + second)
    assert [list(row.actions) for row in folder.rows().values()] == [[1, 2], [1, 2]]


def test_a_row_beyond_the_limit_on_files_is_refused_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(tmp_path)
    keep(folder, "a")
    keep(folder, "b", actions=list(range(2000)))
    monkeypatch.setenv("SYSOPT_MAX_FILE_MB", "0.0078125")
    with pytest.raises(OutputError, match=r"line 2: .*more than 0\.0078125 MB; set SYSOPT"):
        folder.rows()
