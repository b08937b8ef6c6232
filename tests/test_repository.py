"""What holds of every file of the repository."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MOST_BYTES = 2**20
MOST_LINES = 500


@pytest.fixture(scope="module")
def tracked() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout (an unpacked source archive, say)")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    files = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [file for file in files if file.is_file()]


def lines_with(pattern: str, files: list[Path]) -> list[str]:
    """The places in text files whose line matches the pattern."""
    found = re.compile(pattern)
    return [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()}"
        for file in files
        if b"\0" not in (content := file.read_bytes())
        for number, line in enumerate(content.decode().splitlines(), 1)
        if found.search(line)
    ]


def test_no_file_names_a_place_on_somebodys_machine(tracked: list[Path]) -> None:
    assert lines_with(r"(?<![\w.~-])/(home|mnt|root|tmp|work|Users)/", tracked) == []


def test_nothing_is_left_to_do(tracked: list[Path]) -> None:
    assert lines_with(r"\b(TO[D]O|FIX[M]E|XX[X])\b|NotImplemented[E]rror", tracked) == []


def test_files_are_small_enough_to_clone_quickly(tracked: list[Path]) -> None:
    assert [file.name for file in tracked if file.stat().st_size > MOST_BYTES] == []


def test_source_files_are_short_enough_to_read(tracked: list[Path]) -> None:
    sources = [file for file in tracked if file.suffix == ".py"]
    assert sources
    long = [file.name for file in sources if len(file.read_text().splitlines()) > MOST_LINES]
    assert long == []
