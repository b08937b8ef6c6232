"""Run a program as in an environment with some of the package's extras and nothing else."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

from sysopt_gym.core.extras import INSTALLED_AS

ROOT = Path(__file__).parents[1]
WITHOUT = ROOT / "tests" / "without"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
IMPORTED_AS = {installed: name for name, installed in INSTALLED_AS.items()}
# What packages of the extras need themselves.
BRINGS = {
    "ray": {"pyarrow", "pyyaml", "scipy"}, "scikit-learn": {"scipy"}, "torch": {"jinja2"},
}  # fmt: skip


def environment(extras: str) -> dict[str, str]:
    """The variables of a process that finds only what some extras bring.

    Args:
        extras: their names, as in brackets behind the package's; empty for the base package.
    """
    here = _names(PROJECT["dependencies"]).union(*map(_brought_by, filter(None, extras.split(","))))
    here = here.union(*(BRINGS.get(package, ()) for package in here))
    every = set().union(*(_brought_by(extra) for extra in EXTRAS if extra != "dev"))
    hidden = {IMPORTED_AS.get(name, name.replace("-", "_")) for name in every - here}
    path = os.pathsep.join(filter(None, (str(WITHOUT), os.environ.get("PYTHONPATH"))))
    return os.environ | {"PYTHONPATH": path, "WITHOUT": " ".join(hidden), "OMP_NUM_THREADS": "1"}


def _brought_by(extra: str) -> set[str]:
    """The packages that an extra asks for, by way of other extras, too."""
    found = _names(EXTRAS[extra])
    for ours in re.findall(r"sysopt-gym\[(.+?)\]", " ".join(EXTRAS[extra])):
        found = found.union(*map(_brought_by, ours.split(",")))
    return found


def _names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=~ ]", line)[0] for line in requirements} - {PROJECT["name"]}
