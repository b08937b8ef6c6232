"""Run a program as in an environment with some of the package's extras and nothing else."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
WITHOUT = ROOT / "tests" / "without"
IMPORTED_AS = {"scikit-learn": "sklearn", "torch-geometric": "torch_geometric"}
BRINGS = {"torch": {"jinja2"}, "ray": {"pyarrow", "scipy"}}  # what some need themselves
PACKAGES = {
    "botorch", "cma", "flwr", "highspy", "jax", "jinja2", "matplotlib", "minari", "ortools",
    "pyarrow", "ray", "safetensors", "scikit-learn", "scipy", "tensorboard", "torch",
    "torch-geometric",
}  # fmt: skip


def brought_by(extra: str) -> set[str]:
    """The packages that an extra asks for, by way of other extras, too."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    found: set[str] = set()
    for line in table[extra]:
        if ours := re.match(r"sysopt-gym\[(.+)\]", line):
            found |= set().union(*map(brought_by, ours[1].split(",")))
        else:
            found.add(re.split(r"[\[<>=~ ]", line)[0])
    return found.union(*(BRINGS.get(package, ()) for package in found))


def environment(extras: str) -> dict[str, str]:
    """The variables of a process that finds only what some extras bring.

    Args:
        extras: their names, as in brackets behind the package's; empty for the base package.
    """
    here = set().union(*map(brought_by, extras.split(","))) if extras else set()
    hidden = (IMPORTED_AS.get(package, package) for package in PACKAGES - here)
    path = os.pathsep.join(filter(None, (str(WITHOUT), os.environ.get("PYTHONPATH"))))
    return os.environ | {"PYTHONPATH": path, "WITHOUT": " ".join(hidden), "OMP_NUM_THREADS": "1"}
