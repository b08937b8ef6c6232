"""Settings a user may put on a data center, and how they are read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from ...core.contracts import Setting
from ...core.errors import SettingError
from ..setting_texts import choice, cut, real, whole
from .fleets import Wishes
from .generator import MOST_PMS
from .instance import DEFAULT_TASK, LIFETIMES, MOST_HOURS, MOST_MOVES, DataCenter
from .windows import Window

MOST_PERIOD_MIN = 7 * 24 * 60
STARTS = ("given", "best_fit")
TIMES = ("auto", "s", "ms", "us", "min", "h", "days", "dates")
SETTINGS: Mapping[str, Setting] = {
    "horizon_h": Setting(
        f"{DEFAULT_TASK['horizon_h']:g}", "hours that are played (of a trace's file the rest of it)"
    ),
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
    "start_h": Setting("0", "of a trace's file: hours from its beginning to what is played"),
    "pms": Setting("", "of a trace's file: number of hosts; as many as the load asks for"),
    "load": Setting(
        "0.95", "of a trace's file, without pms: part of the hosts that it holds on average"
    ),
    "node_cores": Setting("", "of a trace's file: cores of each NUMA node of a host"),
    "node_mem_gib": Setting("", "of a trace's file: memory of each NUMA node in GiB"),
    "nodes": Setting("", "of a trace's file: NUMA nodes of a host, 1 or 2"),
    "start": Setting(
        STARTS[0], "of a trace's file: VMs that are there at the start are on the hosts given in "
        "it, and the policy places those without (given); or they are where a replay of what comes "
        "before by best fit has them, the same for all (best_fit)"
    ),
    "both_nodes_above": Setting(
        "", "of a trace's file: VMs of more cores are spread over both nodes; those too large for "
        "one"
    ),
    "times": Setting(
        "auto", f"of a trace's own CSV: what its times are, {', '.join(TIMES[1:])}; auto: by the "
        "columns' names, else dates or seconds"
    ),
    "columns": Setting(
        "", "of a trace's own CSV: its names of columns: arrival:NAME,exit:NAME,cores:NAME, ..."
    ),
    "priority": Setting(
        "", "of an Azure trace: the largest number of a VM's priority (0: no evictable ones); all"
    ),
}  # fmt: skip
READ_BY_FILES = (
    "start_h", "start", "pms", "load", "node_cores", "node_mem_gib", "nodes", "both_nodes_above",
    "times", "columns", "priority",
)  # fmt: skip


def window_of(values: Mapping[str, str]) -> Window:
    """Return which part of a trace is to be played, and on which hosts.

    Args:
        values: texts by the names in SETTINGS.

    Raises:
        SettingError: a value cannot be read.
    """

    def given(key: str, low: float, high: float) -> float | None:
        return real(values, key, (low, high)) if values.get(key, "") else None

    return Window(
        given("start_h", 0.0, 100 * MOST_HOURS) or 0.0,
        given("horizon_h", 1 / 60, MOST_HOURS),
        Wishes(
            whole(values, "pms", MOST_PMS, 1) if values.get("pms", "") else None,
            given("node_cores", 0.001, 10**6),
            given("node_mem_gib", 0.0, 10**6),
            whole(values, "nodes", 2, 1) if values.get("nodes", "") else None,
            given("load", 0.01, 3.0) or 0.95,
        ),
        given("both_nodes_above", 0.0, 10**6),
        choice(values, "start", STARTS) == "best_fit",
    )


def priority_of(values: Mapping[str, str]) -> int | None:
    """Return the largest number of the priority of VMs that are read; None to read all.

    Args:
        values: texts by the names in SETTINGS.

    Raises:
        SettingError: the text cannot be read.
    """
    return whole(values, "priority", 9) if values.get("priority", "") else None


def columns_of(values: Mapping[str, str], known: tuple[str, ...]) -> dict[str, str]:
    """Return the names of columns in the setting `columns`, by what they hold.

    Args:
        values: texts by the names in SETTINGS.
        known: what columns may hold.

    Raises:
        SettingError: the text cannot be read.
    """
    found = {}
    for pair in filter(None, values.get("columns", "").split(",")):
        what, _, name = pair.partition(":")
        if what.strip() not in known or not name.strip():
            raise SettingError(
                f"columns={cut(pair)}; give WHAT:NAME, where WHAT is one of {', '.join(known)}"
            )
        found[what.strip()] = name.strip()
    return found


def with_settings(center: DataCenter, values: Mapping[str, str]) -> DataCenter:
    """Return a data center with settings of its task replaced.

    Args:
        center: any data center.
        values: texts by the names in SETTINGS, as given by `--set`.

    Raises:
        SettingError: a value cannot be read, or only the file of a trace can be read with it.
        InstanceError: a value is impossible.
    """
    changes: dict[str, object] = {}
    for key in values:
        if key in READ_BY_FILES:
            raise SettingError(
                f"{key}={cut(values[key])}: only the file of a trace is read with {key}; "
                f"{center.name} is none, or was read already: give the file with this setting"
            )
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
