"""Settings a user may put on a cluster, and how they are read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from ...core.contracts import Setting
from ...core.errors import SettingError
from .instance import DEFAULT_TASK, MODES, OBJECTIVES, Cluster

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
}


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
                changes[key] = int(text)
            elif key in ("goal_rate", "churn_per_min"):
                changes[key] = float(text)
            elif key == "weights":
                changes[key] = np.array([float(part) for part in text.split(",")])
            elif key == "drain":
                changes["drain_pms"] = _pm_indices(cluster, text)
            else:
                changes[key] = text
        except ValueError as error:
            raise SettingError(f"setting {key}={text!r} cannot be read ({error})") from error
    return dataclasses.replace(cluster, **changes) if changes else cluster  # type: ignore[arg-type]


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
