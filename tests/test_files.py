"""Files: how large a user's may be, how they are unpacked and read, and what is refused where."""

from __future__ import annotations

from pathlib import Path

import pytest
from sysopt_gym.core.errors import InstanceError, OutputError, SettingError
from sysopt_gym.core.files import MEGABYTE, read_bytes, size_limit, write_bytes


def sparse(path: Path, size: int) -> Path:
    """A file of `size` bytes that takes no room on the disk."""
    with path.open("wb") as stream:
        stream.truncate(size)
    return path


@pytest.mark.parametrize(("text", "megabytes"), [("", 64), ("1.5", 1.5), ("200", 200)])
def test_the_size_limit_is_a_number_of_megabytes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, megabytes: float
) -> None:
    monkeypatch.setenv("SYSOPT_MAX_FILE_MB", text)
    assert size_limit() == megabytes * MEGABYTE
    assert len(read_bytes(sparse(tmp_path / "fits", MEGABYTE))) == MEGABYTE
    with pytest.raises(InstanceError, match=rf"201 MB, over the limit of {megabytes:g} MB; split"):
        read_bytes(sparse(tmp_path / "large", 201 * MEGABYTE), "split it")


@pytest.mark.parametrize("text", ["64MB", "0", "-1", "nan", "inf", "much"])
def test_a_size_limit_that_is_no_positive_number_is_refused_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    monkeypatch.setenv("SYSOPT_MAX_FILE_MB", text)
    with pytest.raises(SettingError, match=f"SYSOPT_MAX_FILE_MB='{text}'; .* such as 128"):
        read_bytes(sparse(tmp_path / "file", 1))


def test_advice_about_a_large_file_is_the_callers(tmp_path: Path) -> None:
    with pytest.raises(InstanceError, match="over the limit of 64 MB; set SYSOPT_MAX_FILE_MB if"):
        read_bytes(sparse(tmp_path / "large", 65 * MEGABYTE))


def test_a_file_is_written_whole_into_a_new_folder_or_not_at_all(tmp_path: Path) -> None:
    write_bytes(tmp_path / "new" / "file", b"all of it")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file"]
    with pytest.raises(OutputError, match="choose another place"):
        write_bytes(tmp_path / "new" / "file" / "below", b"")
    assert (tmp_path / "new" / "file").read_bytes() == b"all of it"
