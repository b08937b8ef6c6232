"""Check an installation: versions, threads, solver back ends, agents' packages, data."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..core.errors import SysOptError
from ..core.registry import family_names, load_problem
from .conditions import usable_cores

Health = Literal["ok", "note", "off"]
CONSTRAINTS = Path(__file__).resolve().parents[1] / "constraints.txt"
REQUIRED = ("numpy", "gymnasium", "networkx", "numba", "typer", "rich")


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check.

    Attributes:
        what: name of what was checked.
        health: "ok"; "note" if something optional does not work; "off" if something required does
            not.
        text: what was found.
        remedy: what to do about it; empty if nothing is to be done.
    """

    what: str
    health: Health
    text: str
    remedy: str = ""


def examine() -> list[Finding]:
    """Run all checks and return their findings."""
    checks: list[Callable[[], list[Finding]]] = [
        _python, _packages, _threads, _back_ends, _agents, _report, _families,
    ]  # fmt: skip
    return [finding for check in checks for finding in check()]


def pins(path: Path = CONSTRAINTS) -> dict[str, str]:
    """Return the package versions that this library is developed with; empty without the file.

    Args:
        path: a pip constraints file.

    Returns:
        Name of the package -> version.
    """
    if not path.is_file():
        return {}
    lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    return dict(line.split("==", 1) for line in lines if "==" in line)


def _python() -> list[Finding]:
    return [Finding("Python", "ok", platform.python_version())]


def _packages() -> list[Finding]:
    """Check pinned packages: missing ones are "off" if required, other versions are a "note"."""
    findings = []
    wanted = dict.fromkeys(REQUIRED, "") | pins()
    for name, pin in wanted.items():
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            required = name in REQUIRED
            findings.append(
                Finding(
                    name,
                    "off" if required else "note",
                    "not installed",
                    f"pip install {name}" + (f"=={pin}" if pin else ""),
                )
            )
            continue
        if pin and version.partition("+")[0] != pin:
            remedy = f"pip install {name}=={pin} to repeat published figures"
            findings.append(Finding(name, "note", f"{version}, made with {pin}", remedy))
        else:
            findings.append(Finding(name, "ok", version))
    return findings


def _threads() -> list[Finding]:
    value = os.environ.get("OMP_NUM_THREADS")
    cores = f"{usable_cores()} cores"
    if value == "1":
        return [Finding("threads", "ok", f"OMP_NUM_THREADS=1, {cores}")]
    remedy = "export OMP_NUM_THREADS=1 before training (compare sets it for its own processes)"
    return [Finding("threads", "note", f"OMP_NUM_THREADS is {value or 'not set'}, {cores}", remedy)]


def _tried(what: str, attempt: Callable[[], str], extra: str) -> Finding:
    """Return what an attempt finds, or how it failed.

    Args:
        what: name of what is checked.
        attempt: () -> text of the finding.
        extra: the extra that installs what is checked.
    """
    remedy = f"pip install 'sysopt-gym[{extra}]'"
    try:
        return Finding(what, "ok", attempt())
    except ImportError as error:
        return Finding(what, "note", f"not installed ({error})", remedy)
    except Exception as error:
        again = f"pip install --force-reinstall 'sysopt-gym[{extra}]'"
        return Finding(what, "off", f"does not work: {type(error).__name__}: {error}", again)


# Both maximize 3x + 4y subject to 2x + 3y <= 12, x and y whole in 0..4: 17, at (3, 2).
HIGHS = """
import highspy
model = highspy.Highs()
model.setOptionValue("output_flag", False)
x, y = model.addIntegral(lb=0, ub=4), model.addIntegral(lb=0, ub=4)
model.addConstr(2 * x + 3 * y <= 12)
model.maximize(3 * x + 4 * y)
assert abs(model.getObjectiveValue() - OPTIMUM) < 1e-6, model.getObjectiveValue()
print("HiGHS", model.version(), "solves a problem")
"""
CPSAT = """
import importlib.metadata
from ortools.sat.python import cp_model
model = cp_model.CpModel()
x, y = model.new_int_var(0, 4, "x"), model.new_int_var(0, 4, "y")
model.add(2 * x + 3 * y <= 12)
model.maximize(3 * x + 4 * y)
solver = cp_model.CpSolver()
solver.parameters.num_workers = 1
solver.solve(model)
assert solver.objective_value == OPTIMUM, solver.objective_value
print("CP-SAT of OR-Tools", importlib.metadata.version("ortools"), "solves a problem")
"""


def _back_ends() -> list[Finding]:
    """Check solver back ends, each in its own process: a broken one may end its process."""
    return [
        _tried("HiGHS", lambda: _run_apart(HIGHS), "solvers"),
        _tried("CP-SAT", lambda: _run_apart(CPSAT), "solvers"),
    ]


def _run_apart(program: str) -> str:
    """Run a Python program in a separate process and return the last line that it prints.

    Raises:
        ImportError: it needs a package that is not installed.
        RuntimeError: it fails.
    """
    ended = subprocess.run(
        [sys.executable, "-c", program.replace("OPTIMUM", "17")],
        capture_output=True,
        text=True,
        timeout=120,
    )
    if ended.returncode == 0:
        return ended.stdout.strip().splitlines()[-1]
    last = (ended.stderr.strip().splitlines() or [f"ended with code {ended.returncode}"])[-1]
    if last.startswith("ModuleNotFoundError"):
        raise ImportError(last.partition(": ")[2])
    raise RuntimeError(last)


def _agents() -> list[Finding]:
    def torch() -> str:
        module = importlib.import_module("torch")
        device = "with CUDA" if module.cuda.is_available() else "on the CPU"
        return f"{module.__version__} {device}, adds {float(module.ones(2).sum()):g}"

    def rllib() -> str:
        importlib.import_module("ray.rllib.core.rl_module.rl_module")
        return f"RLlib of ray {importlib.metadata.version('ray')} can be imported"

    def geometric() -> str:
        return str(importlib.import_module("torch_geometric").__version__)

    return [
        _tried("torch", torch, "agents"),
        _tried("torch-geometric", geometric, "agents"),
        _tried("RLlib", rllib, "training"),
    ]


def _report() -> list[Finding]:
    def attempt() -> str:
        for name in ("jinja2", "matplotlib", "pyarrow", "scipy", "yaml"):
            importlib.import_module(name)
        return "jinja2, matplotlib, pyarrow, scipy and PyYAML can be imported"

    return [_tried("report", attempt, "report")]


def _families() -> list[Finding]:
    """Check that every family loads, and that each of its instance sets can be had."""
    findings = []
    for family in family_names():
        try:
            problem = load_problem(family)
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            findings.append(
                Finding(family, "off", text, "pip install --force-reinstall sysopt-gym")
            )
            continue
        missing = []
        for name in problem.sets:
            try:
                problem.sets.check(name)
            except SysOptError as error:
                missing.append((name, str(error)))
        have = len(problem.sets) - len(missing)
        findings.append(Finding(family, "ok", f"{have} instance sets at hand"))
        for name, why in missing:
            place, _, remedy = why.partition("; ")
            findings.append(Finding(f"data: {name}", "note", place, remedy))
    return findings
