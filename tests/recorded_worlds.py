"""Drawn worlds of VM allocation as traces, for the tests."""

from __future__ import annotations

import dataclasses

from sysopt_gym.datasets.vm_allocation.arrivals import requests_of
from sysopt_gym.datasets.vm_allocation.instance import DataCenter


def recorded(center: DataCenter, world: int) -> DataCenter:
    """Return the data center with one world's requests as its trace."""
    trace = requests_of(center, world)
    return dataclasses.replace(
        center,
        event_s=trace.event_s,
        event_request=trace.event_request,
        request_flavor=trace.flavor,
        request_set=trace.group,
        request_pinned=trace.pinned,
        request_place=trace.place,
        trace_starts=trace.starts,
    )
