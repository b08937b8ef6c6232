"""Say what a contender is: which distribution's version, which file, or which trained policy."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path

from .errors import CheckpointError
from .lookup import PACKAGE, resolve
from .registry import Entry
from .user_code import SUFFIX
from .version import __version__

DISTRIBUTION = "sysopt-gym"


@cache
def provenance(entry: Entry) -> dict[str, str]:
    """Return what a contender is, as texts by name.

    Args:
        entry: of the contender.

    Returns:
        entry_point: where it is. distribution, version: of its package, if it is of an installed
        one. file_hash: of a user's file. policy, hash, network, algorithm, seed, steps: the folder
        of its policy, the policy's hash, and the network and training that its card tells of.
    """
    module = entry.place.rpartition(":")[0]
    found = {"entry_point": entry.place}
    if module.endswith(SUFFIX):
        found["file_hash"] = entry.digest
    else:
        found |= _distribution(module.partition(".")[0])
    if entry.policy:
        found |= {"policy": entry.policy, "hash": entry.digest}
        with suppress(CheckpointError):  # removed meanwhile; who cannot load it has a row, too
            card = resolve(".agents.checkpoints:read_card")(Path(entry.policy))
            found |= {"network": card.network, "algorithm": card.algorithm}
            found |= {"seed": str(card.seed), "steps": str(card.steps)}
    return found


def _distribution(package: str) -> dict[str, str]:
    """Return name and version of the installed distribution of a package; {} if it is of none."""
    if package == PACKAGE:
        return {"distribution": DISTRIBUTION, "version": __version__}
    for name in metadata.packages_distributions().get(package, []):
        return {"distribution": name, "version": metadata.version(name)}
    return {}
