"""Settings a user may put on a data center, and how they are read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from ...core.contracts import Setting
from ..setting_texts import choice, real, whole
from .instance import DEFAULT_TASK, LIFETIMES, MOST_HOURS, MOST_MOVES, DataCenter

MOST_PERIOD_MIN = 7 * 24 * 60
SETTINGS: Mapping[str, Setting] = {
    "horizon_h": Setting(f"{DEFAULT_TASK['horizon_h']:g}", "hours that are played"),
    "warm_up_h": Setting(
        f"{DEFAULT_TASK['warm_up_h']:g}", "hours at the start whose requests do not count"
    ),
    "moves_per_hour": Setting("0", "migrations an hour; 0 for none"),
    "period_min": Setting("60", "minutes from one chance to migrate to the next"),
    "move_cost_h": Setting(
        "0", "hours of its cores that the migration of a VM costs, counted as rejected"
    ),
    "lifetimes": Setting("hidden", f"what is told of lifetimes: {', '.join(LIFETIMES)}"),
    "prediction_sigma": Setting(
        "1", "error of predicted lifetimes: standard deviation of the logarithm (0 to 5)"
    ),
}


def with_settings(center: DataCenter, values: Mapping[str, str]) -> DataCenter:
    """Return a data center with settings of its task replaced.

    Args:
        center: any data center.
        values: texts by the names in SETTINGS, as given by `--set`.

    Raises:
        SettingError: a value cannot be read.
        InstanceError: a value is impossible.
    """
    changes: dict[str, object] = {}
    for key in values:
        if key == "moves_per_hour":
            changes[key] = whole(values, key, MOST_MOVES)
        elif key == "period_min":
            changes[key] = whole(values, key, MOST_PERIOD_MIN, 1)
        elif key == "lifetimes":
            changes[key] = choice(values, key, LIFETIMES)
        elif key == "prediction_sigma":
            changes[key] = real(values, key, (0.0, 5.0))
        else:
            changes[key] = real(values, key, (0.0, MOST_HOURS))
    return dataclasses.replace(center, **changes) if changes else center  # type: ignore[arg-type]
