"""Results of benchmarks that are kept in files."""

from __future__ import annotations

from pathlib import Path

import pytest
from sysopt_gym.benchmarks.kept_files import kept


def test_what_was_made_once_is_read_again_and_what_failed_leaves_no_file(tmp_path: Path) -> None:
    made = []

    def make() -> list[int]:
        made.append(len(made))
        if len(made) == 1:
            raise OSError("stopped")
        return made.copy()

    file = tmp_path / "folder" / "result.pkl"
    with pytest.raises(OSError, match="stopped"):
        kept(file, make)
    assert not file.exists()
    assert kept(file, make) == kept(file, make) == [0, 1]
