"""Record the conditions of a comparison: hardware, commit, package versions, load."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from ..core.version import __version__

PACKAGES = (
    "numpy", "numba", "gymnasium", "networkx", "scipy", "highspy", "ortools", "torch",
    "torch-geometric", "ray",
)  # fmt: skip


@cache
def package_versions() -> dict[str, str]:
    """Return the versions of this library and of the installed packages that results may depend on.

    Returns:
        Name of the package -> version.
    """
    versions = {"sysopt-gym": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def commit() -> str:
    """Return the Git commit of this package's checkout, with "+" if files differ; "" for none."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return ""
    try:
        run = [
            subprocess.run(
                ["git", "-C", str(root), *words], capture_output=True, text=True, timeout=10
            )
            for words in (["rev-parse", "--short=12", "HEAD"], ["status", "--porcelain", "-uno"])
        ]
    except (OSError, subprocess.TimeoutExpired):
        return ""
    if run[0].returncode != 0:
        return ""
    return run[0].stdout.strip() + ("+" if run[1].stdout.strip() else "")


def cpu_model() -> str:
    """Return the processor's name."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def usable_cores() -> int:
    """Return the number of cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_gib() -> float:
    """Return the physical memory in GiB; 0 if it is unknown."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (ValueError, OSError, AttributeError):
        return 0.0


def conditions() -> dict[str, Any]:
    """Return the facts in the report's section on how to reproduce it, by name."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return {
        "processor": cpu_model(),
        "cores": usable_cores(),
        "memory_gib": round(memory_gib(), 1),
        "system": f"{platform.system()} {platform.release()}",
        "load_at_start": round(load, 2),
        "commit": commit(),
        "versions": package_versions(),
    }
