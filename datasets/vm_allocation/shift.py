"""Requests whose law changes for good at an hour that nobody is told."""

from __future__ import annotations

import dataclasses

import numpy as np

from .arrivals import draw_requests, events_of
from .instance import HOUR_S, DataCenter


def shifted(before: DataCenter, after: DataCenter, hour: float) -> DataCenter:
    """Return a data center whose requests come by one process up to an hour, then by another.

    They are recorded as a trace, the same for every seed. Contenders are told of the process before
    and of no other, for they are not shown a trace. VMs that are there at the hour stay as long as
    they would have.

    Args:
        before: with the hosts and the task.
        after: with the same flavors.
        hour: of the change.
    """
    old = draw_requests(before, 0)
    new = draw_requests(dataclasses.replace(after, start_vms=0), 1)
    early, late = old.arrive_s < hour * HOUR_S, new.arrive_s >= hour * HOUR_S
    exits = np.concatenate([old.exit_s[early], new.exit_s[late]])
    arrive = np.concatenate([old.arrive_s[early], new.arrive_s[late]])
    others = np.where(new.group >= 0, new.group + old.group.max(initial=-1) + 1, -1)
    event_s, event_request = events_of(arrive, exits, before.horizon_s)
    return dataclasses.replace(
        before,
        name=f"{before.name}-shifted",
        event_s=event_s,
        event_request=event_request,
        request_flavor=np.concatenate([old.flavor[early], new.flavor[late]]),
        request_set=np.concatenate([old.group[early], others[late]]),
        request_pinned=np.concatenate([old.pinned[early], new.pinned[late]]),
        request_place=np.full(len(arrive), -1),
        trace_starts=old.starts,
    )
