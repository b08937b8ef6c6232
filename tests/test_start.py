"""The scripts in notebook form for six kinds of users: each runs with the one extra it names."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

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
# Modules of the extras, and which extras bring them.
MODULES = {
    "cma": ("solvers",),
    "flwr": ("flower",),
    "highspy": ("agents", "flower", "solvers"),
    "jax": (),
    "jinja2": ("agents", "flower", "report"),  # of torch
    "matplotlib": ("report",),
    "ortools": ("solvers",),
    "pyarrow": ("report",),
    "ray": (),
    "scipy": ("agents", "flower", "report", "solvers"),
    "sklearn": ("agents", "flower", "solvers"),
    "torch": ("agents", "flower"),
}
PRELUDE = """
import runpy, sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {missing}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name.partition(".")[0])

sys.meta_path.insert(0, Missing())
sys.path[0] = {folder!r}  # as where a script is run by its name
runpy.run_path({script!r}, run_name="__main__")
"""


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
    missing = [module for module, extras in MODULES.items() if extra not in extras]
    program = PRELUDE.format(missing=missing, folder=str(START), script=str(START / f"{name}.py"))
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert last in done.stdout.splitlines()[-1] or last in done.stdout
