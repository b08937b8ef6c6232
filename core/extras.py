"""Which of this package's extras brings a package that is not installed."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, requires

from .errors import MissingDependencyError

PROJECT = "sysopt-gym"
# Packages that are imported by another name than they are installed by.
INSTALLED_AS = {"sklearn": "scikit-learn", "yaml": "pyyaml", "RNA": "ViennaRNA"}
LISTED = re.compile(r"([\w.-]+).*; extra == \"([\w-]+)\"")


def missing(error: ModuleNotFoundError, what: str, room: str = "") -> MissingDependencyError:
    """Return an error that says how to install what is missing.

    Args:
        error: of the import.
        what: what needs the package.
        room: extra to name if it brings the package; else the smallest one that does.
    """
    package = (error.name or "").partition(".")[0]
    return MissingDependencyError(
        f"{what} needs the package {package!r}, which is not installed; {remedy(package, room)}"
    )


def remedy(package: str, room: str = "") -> str:
    """Return the command that installs a package.

    Args:
        package: as it is imported.
        room: extra to name if it brings the package; else the smallest one that does.
    """
    return remedy_for([package], room)


def remedy_for(packages: Sequence[str], room: str = "") -> str:
    """Return the command that installs packages: by the smallest extra that brings them all.

    Args:
        packages: as they are imported.
        room: extra to name if it brings them all.
    """
    names = [INSTALLED_AS.get(package, package.replace("_", "-")) for package in packages]
    extras: defaultdict[str, set[str]] = defaultdict(set)
    try:
        lines = requires(PROJECT) or []
    except PackageNotFoundError:  # run from its folder
        lines = []
    for line in lines:
        if listed := LISTED.match(line):
            extras[listed[2]].add(listed[1].lower())
    wanted = {name.lower() for name in names}
    having = [extra for extra, brought in extras.items() if wanted <= brought]
    if not having:
        return f"pip install {' '.join(names)}"
    extra = room if room in having else min(having, key=lambda one: len(extras[one]))
    return f"pip install '{PROJECT}[{extra}]'"
