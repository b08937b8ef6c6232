"""The scripts in notebook form for six kinds of users: each runs with the one extra it names."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from extras import environment

ROOT = Path(__file__).parents[1]
START = ROOT / "examples" / "start"
# What each script needs beside the base package, and a text that it prints when it is through.
NEEDS = {
    "researcher": ("report", "report.html"),
    "data_center": ("solvers", "worst_fit"),
    "compiler": ("agents", "local_search"),
    "biologist": ("", "+-"),
    "federated": ("flower", "is ready"),
    "plugin": ("", "ha "),
}
PAGES = {"data_center": "operator"}  # a script of that name would hide the standard library's


def test_every_script_has_a_page_and_names_its_extra() -> None:
    assert {path.stem for path in START.glob("*.py")} == set(NEEDS)
    for name, (extra, _) in NEEDS.items():
        text, page = (
            (START / f"{name}.py").read_text(),
            ROOT / "docs" / "start" / f"{PAGES.get(name, name)}.md",
        )
        assert text.startswith("# %% [markdown]\n# # ")
        package = f"sysopt-gym[{extra}]" if extra else "sysopt-gym"
        for told in (text, page.read_text()):
            assert set(re.findall(r"pip install '?(sysopt-gym(?:\[\w+\])?)'?", told)) == {package}
        assert f"examples/start/{name}.py" in page.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("name", NEEDS)
def test_a_script_runs_with_its_extra_alone(name: str, tmp_path: Path) -> None:
    extra, last = NEEDS[name]
    done = subprocess.run(
        [sys.executable, str(START / f"{name}.py")], cwd=tmp_path, capture_output=True, text=True,
        env=environment(extra),
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert last in done.stdout
