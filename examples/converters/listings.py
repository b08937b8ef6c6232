"""Read the listings that kubectl and openstack print as JSON, and write a cluster file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NoReturn


class ListingError(Exception):
    """A listing that cannot be converted; the message names the place and the remedy."""


def refuse(place: str, why: str) -> NoReturn:
    """Raise ListingError.

    Args:
        place: file and record.
        why: what is wrong, and what to do about it.
    """
    raise ListingError(f"{place}: {why}")


def note(text: str) -> None:
    """Say what was assumed or left out."""
    print(f"note: {text}", file=sys.stderr)


def read(path: Path, command: str) -> Any:
    """Read a listing.

    Args:
        path: the file.
        command: what prints such a listing.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        refuse(str(path), f"cannot be read ({error.strerror}); write it by `{command} > {path}`")
    except ValueError as error:
        refuse(str(path), f"is no JSON ({error}); write it by `{command} > {path}`")


def write(document: dict[str, Any], path: Path) -> None:
    """Write a cluster file, and read it as sysopt-gym will.

    Args:
        document: a snapshot of docs/cluster_files.md.
        path: where to write it.
    """
    from sysopt_gym.core.errors import InstanceError
    from sysopt_gym.datasets.vm_rescheduling.loaders import load_file

    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    try:
        cluster = load_file(path)
    except InstanceError as error:
        raise ListingError(str(error)) from error
    print(f"{path}: {len(cluster.pm_ids)} hosts, {cluster.n_vms} VMs")
    print(f"  sysopt-gym data info vm_rescheduling {path}")
