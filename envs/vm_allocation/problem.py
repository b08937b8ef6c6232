"""The family's `Problem`: names, sets, settings, defaults and hooks of VM allocation."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

import numpy as np

from ...core.problem import Defaults, Problem
from ...datasets.vm_allocation.arrivals import requests_of
from ...datasets.vm_allocation.generator import PARAMETERS, generate
from ...datasets.vm_allocation.instance import DataCenter
from ...datasets.vm_allocation.loaders import load_file
from ...datasets.vm_allocation.settings import SETTINGS, with_settings
from ...datasets.vm_allocation.splits import SETS
from ...datasets.vm_allocation.template import template
from . import FAMILY
from .objective import objective_of
from .plan import export_plan
from .validate import validate


def without_trace(center: DataCenter) -> DataCenter:
    """Return what contenders see of a data center: its hosts, flavors and process, no trace."""
    if not center.is_traced:
        return center
    nothing = np.zeros(0, np.int64)
    return dataclasses.replace(
        center,
        event_s=nothing,
        event_request=nothing,
        request_flavor=nothing,
        request_set=nothing,
        request_pinned=np.zeros(0, np.bool_),
        request_place=nothing,
        trace_starts=0,
    )


def _load(center: DataCenter) -> float:
    """Return the CPU that a trace's requests ask for on average, over the hosts'."""
    trace, end = requests_of(center, 0), center.horizon_s
    seconds = np.minimum(trace.exit_s, end) - np.minimum(trace.arrive_s, end)
    held = float(center.flavor_total[trace.flavor] @ seconds)
    return held / (float(center.numa_cpu.sum()) * end)


class VMAllocation(Problem[DataCenter]):
    """Placing VMs over days (VMR2L's moving world, EuroSys 2025; LAVA, MLSys 2025)."""

    family = "vm_allocation"
    env_id = FAMILY.env_id
    env_version = "1"
    title = "Place VMs as they come and go over days, so that few are rejected (LAVA, MLSys 2025)"
    instance_type = DataCenter
    sets = SETS
    generator_parameters = PARAMETERS
    settings = SETTINGS
    reads_folders = True
    pictures = ".evaluation.pictures.vm_allocation:pictures"
    defaults = Defaults(
        instances=("days:test/0", "days:test/1"),
        contenders=(
            "agent",
            "potential",
            "slots_tuned",
            "slots_tuned_mixed",
            "best_fit",
            "best_fit_columns",
            "fluid",
        ),
        budget_s=60.0,
        always=("random", "first_fit"),
        baseline="best_fit",
        variants=({}, {"moves_per_hour": "50"}),
    )

    load_file = staticmethod(load_file)
    template = staticmethod(template)
    generate = staticmethod(generate)
    apply_settings = staticmethod(with_settings)
    objective = staticmethod(objective_of)
    validate = staticmethod(validate)
    export_plan = staticmethod(export_plan)
    contender_view = staticmethod(without_trace)

    @staticmethod
    @cache
    def warm_up_instance() -> DataCenter:
        """Make six hosts with batches, sets and pins, which exercise every compiled path."""
        center = generate(
            {"pms": "6", "batch_mean": "2", "sets": "0.5", "pinned": "0.1", "law": "classes"}, 1
        )
        return with_settings(center, {"horizon_h": "3", "moves_per_hour": "3"})

    def environment_view(self, center: DataCenter) -> DataCenter:
        """Keep the trace: it is what happens in the environment."""
        return center

    def describe(self, center: DataCenter) -> dict[str, Any]:
        """List facts for `data info` and the report."""
        cores = center.numa_cpu.sum() / center.cpu_per_core
        facts: dict[str, Any] = {
            "PMs": center.n_pms,
            "cores": float(cores),
            "memory (GiB)": int(center.numa_mem.sum()) // 1024,
            "flavors": len(center.flavor_names),
            "hours played": center.horizon_h,
            "of them warm-up": center.warm_up_h,
            "migrations an hour": center.moves_per_hour,
            "told of lifetimes": center.lifetimes,
        }
        if center.is_traced:
            facts |= {
                "requests of the trace": len(center.request_flavor),
                "of them there at the start": center.trace_starts,
                "of them with a given host": int((center.request_place >= 0).sum()),
                "mean load of the trace": round(_load(center), 4),
            }
        told = "told: " if center.is_traced else ""
        process = {
            "requests an hour": round(center.arrivals_per_h, 1),
            "there at the start": center.start_vms,
            "mean lifetime (h)": round(float(center.flavor_share @ center.mean_life_h), 3),
            "offered load": round(center.offered_load, 4),
            "requests in a batch": center.batch_mean,
            "deployment sets": f"{center.set_share:.0%} of the batches",
            "pinned": f"{center.pinned_share:.0%} of the VMs",
        }
        return facts | {told + key: value for key, value in process.items()}

    def is_random(self, center: DataCenter) -> bool:
        """Whether the world draws requests, or how predictions of lifetimes err."""
        return not center.is_traced or center.lifetimes == "predicted"


PROBLEM = VMAllocation()
