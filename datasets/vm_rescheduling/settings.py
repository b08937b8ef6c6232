"""Settings a user may put on a cluster, and how they are read."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from ...core.contracts import Setting
from ...core.errors import SettingError
from ..host_lists import Reading
from ..setting_texts import cut, whole
from .instance import DEFAULT_TASK, MODES, MOST_MOVES, OBJECTIVES, STATUS_NAMES, Cluster

SETTINGS: Mapping[str, Setting] = {
    "mnl": Setting("50", "the most moves in a plan (a file or set may bring its own)"),
    "objective": Setting("fragment_rate", f"what counts: {', '.join(OBJECTIVES)}"),
    "mode": Setting("static", f"{' or '.join(MODES)}: VMs come and go while a contender computes"),
    "goal_rate": Setting("0.4", "fragment rate to reach (objective moves_to_goal)"),
    "drain": Setting("", "hosts to empty, by id: HOST,HOST (objective drain)"),
    "weights": Setting(
        "0.5,0.25,0.25", "of the 16-core, 64-core and memory rates (objective mixed)"
    ),
    "pm_move_cap": Setting("0", "the most moves a host may take part in; 0 for no limit"),
    "churn_per_min": Setting(
        f"{DEFAULT_TASK['churn_per_min']:g}", "arrivals and exits together, a minute (mode live)"
    ),
    "overcommit": Setting(
        "", "factors of CPU and of memory that hosts are sold by: CPU,MEMORY or CPU; the file's"
    ),
    "status_names": Setting(
        "", "what other names of statuses in a file mean: NAME:DISABLED,NAME:OUTAGE"
    ),
}
READ_BY_FILES = ("overcommit", "status_names")


def reading_of(values: Mapping[str, str]) -> Reading:
    """Return how a file is to be read, from the settings that say so.

    Args:
        values: texts by the names in SETTINGS.

    Raises:
        SettingError: a value cannot be read.
    """
    text = values.get("overcommit", "")
    return Reading(_factors(text) if text else None, _status_names(values.get("status_names", "")))


def _factors(text: str) -> tuple[float, float]:
    try:
        cpu, *rest = (float(part) for part in text.split(","))
        (memory,) = rest or (1.0,)
    except ValueError:
        cpu = memory = math.nan
    if not all(0.01 <= factor <= 1000 for factor in (cpu, memory)):
        raise SettingError(
            f"setting overcommit={text!r}; give factors from 0.01 to 1000, such as 1.5 (CPU) or "
            "16,1.5 (CPU and memory)"
        )
    return cpu, memory


def _status_names(text: str) -> dict[str, str]:
    names = {}
    for pair in filter(None, text.split(",")):
        name, _, status = pair.rpartition(":")
        if not name or status.upper() not in STATUS_NAMES:
            raise SettingError(
                f"setting status_names: {pair!r} is not NAME:STATUS with a status of "
                f"{', '.join(STATUS_NAMES)}"
            )
        names[name.strip().lower()] = status.upper()
    return names


def with_settings(cluster: Cluster, values: Mapping[str, str]) -> Cluster:
    """Return a cluster with settings of its task replaced.

    Args:
        cluster: any cluster.
        values: texts by the names in SETTINGS, as given by `--set`.

    Raises:
        SettingError: a value cannot be read.
        InstanceError: a value is impossible.
    """
    changes: dict[str, object] = {}
    for key, text in values.items():
        try:
            if key in ("mnl", "pm_move_cap"):
                changes[key] = whole(values, key, MOST_MOVES)
            elif key in ("goal_rate", "churn_per_min"):
                changes[key] = float(text)
            elif key == "weights":
                changes[key] = np.array([float(part) for part in text.split(",")])
            elif key == "overcommit":
                changes |= _sold_by(cluster, text)
            elif key == "status_names":
                _status_names(text)  # of files alone: a cluster has statuses, not their names
            elif key == "drain":
                changes["drain_pms"] = _pm_indices(cluster, text)
            else:
                changes[key] = text
        except ValueError as error:
            raise SettingError(f"setting {key}={cut(text)} cannot be read ({error})") from error
    return dataclasses.replace(cluster, **changes) if changes else cluster  # type: ignore[arg-type]


def _sold_by(cluster: Cluster, text: str) -> dict[str, object]:
    """Return what changes if a cluster's hosts are sold by other factors."""
    if not text:
        return {}
    factors = np.array(_factors(text))
    if np.array_equal(cluster.overcommit, factors):
        return {}
    if cluster.overcommit.size:
        raise SettingError(
            f"{cluster.name}: its hosts are sold by the factors "
            f"{','.join(f'{one:g}' for one in cluster.overcommit)} already; read the file they "
            "come from with others"
        )
    cpu, memory = (
        np.floor(given * factor + 1e-6).astype(np.int64)
        for given, factor in zip((cluster.numa_cpu, cluster.numa_mem), factors, strict=True)
    )
    return {"numa_cpu": cpu, "numa_mem": memory, "overcommit": factors}


def _pm_indices(cluster: Cluster, text: str) -> np.ndarray:
    row = {name: i for i, name in enumerate(cluster.pm_ids)}
    names = [name for name in text.split(",") if name]
    for name in names:
        if name not in row:
            raise SettingError(
                f"drain: {cluster.name} has no host {name!r}; hosts are called like "
                f"{cluster.pm_ids[0]!r}"
            )
    return np.array([row[name] for name in names], np.int64)
