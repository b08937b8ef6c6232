"""The family's `Problem`: names, sets, settings, defaults and hooks of VM rescheduling."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar

import numpy as np

from ...core.problem import Defaults, Problem
from ...datasets.vm_rescheduling.generator import PARAMETERS, generate
from ...datasets.vm_rescheduling.instance import ACTIVE, STATUS_NAMES, Cluster
from ...datasets.vm_rescheduling.loaders import load_file
from ...datasets.vm_rescheduling.settings import SETTINGS, with_settings
from ...datasets.vm_rescheduling.splits import SETS, utilization
from ...datasets.vm_rescheduling.template import template
from . import FAMILY
from .dynamics import broken_sets
from .objective import objective_of
from .plan import export_plan
from .validate import validate, validate_each

# Proven with the aggregated MILP and HiGHS (solver `milp`); the plans were replayed move by move.
# By content hash of the snapshot's default task (MNL 50, fragment rate) and MNL.
PROVEN_MEDIUM = {10: 0.8508, 25: 0.7245, 50: 0.5753, 100: 0.2884}
MEDIUM_HASH = "4fb4cdb5bdc7fe38"


def _default_hash(cluster: Cluster) -> str:
    """Hash the snapshot with the task's settings at their defaults."""
    defaults = {key: setting.default for key, setting in SETTINGS.items()}
    return with_settings(cluster, defaults).content_hash


class VMRescheduling(Problem[Cluster]):
    """VM rescheduling in a data center (after VMR2L, Ding et al., EuroSys 2025)."""

    family = "vm_rescheduling"
    env_id = FAMILY.env_id
    env_version = "1"
    title = "Migrate a few VMs so that free cores form whole 16-core slots (VMR2L, EuroSys 2025)"
    instance_type = Cluster
    sets = SETS
    generator_parameters = PARAMETERS
    settings = SETTINGS
    defaults = Defaults(
        instances=("lookalike:test/0", "lookalike:test/1", "constrained:test/0"),
        contenders=(
            "agent", "ppo", "ppo_greedy", "columns", "milp", "local_search", "greedy",
            "pop", "ha", "random",
        ),
        budget_s=0.5,
        always=("random", "greedy"),
        baseline="ha",
        variants=({}, {"mode": "live"}),
    )  # fmt: skip
    replay_arguments: ClassVar[Mapping[str, Any]] = {"allow_stop": True}
    pictures = ".evaluation.pictures.vm_rescheduling:pictures"
    benchmark = ".benchmarks.vm_rescheduling:measure"

    load_file = staticmethod(load_file)
    generate = staticmethod(generate)
    apply_settings = staticmethod(with_settings)
    reads_folders = True
    template = staticmethod(template)
    objective = staticmethod(objective_of)
    validate = staticmethod(validate)
    validate_each = staticmethod(validate_each)
    export_plan = staticmethod(export_plan)

    @staticmethod
    @cache
    def warm_up_instance() -> Cluster:
        """Make twelve hosts with a pin and deployment sets, which exercise every compiled path."""
        cluster = generate({"pms": "12", "sets": "2", "rack_sets": "1", "pinned": "0.02"}, 1)
        return with_settings(cluster, {"mnl": "4"})

    def describe(self, cluster: Cluster) -> dict[str, Any]:
        """List facts; free room and fragment rate count ACTIVE hosts only."""
        active = cluster.pm_status == ACTIVE
        free_cpu, free_mem = (free[active] for free in cluster.free())
        fragments = int((free_cpu % cluster.fragment_unit).sum())
        slots = int((free_cpu // cluster.fragment_unit).sum())
        nodes = cluster.flavor_nodes[cluster.vm_flavor]
        facts: dict[str, Any] = {
            "PMs": cluster.n_pms,
            "VMs": cluster.n_vms,
            "VMs on several NUMA nodes": int((nodes > 1).sum()),
            "flavors": len(cluster.flavor_names),
            "NUMA nodes a host": "/".join(map(str, np.unique(cluster.pm_nodes))),
            "racks": len(np.unique(cluster.pm_rack)),
            "CPU in use": f"{utilization(cluster):.1%}",
            "memory in use": f"{1 - cluster.free()[1].sum() / max(cluster.numa_mem.sum(), 1):.1%}",
            "free cores": int(free_cpu.sum()) / cluster.cpu_per_core,
            "free memory (GiB)": int(free_mem.sum()) // 1024,
            "free 16-core slots": slots,
            "fragment rate": round(fragments / max(int(free_cpu.sum()), 1), 4),
            "deployment sets by host": int((~cluster.set_by_rack).sum()),
            "deployment sets by rack": int(cluster.set_by_rack.sum()),
            "deployment sets broken": int(broken_sets(cluster).sum()),
            "pinned VMs": int(cluster.vm_pinned.sum()),
            "objective": cluster.objective,
            "MNL": cluster.mnl,
            "mode": cluster.mode,
        }
        if cluster.overcommit.size:
            facts["sold by (CPU, memory)"] = ", ".join(f"{one:g}" for one in cluster.overcommit)
        for status, name in enumerate(STATUS_NAMES):
            if status != ACTIVE and (cluster.pm_status == status).any():
                facts[f"{name} hosts"] = int((cluster.pm_status == status).sum())
        return facts

    def best_known(self, cluster: Cluster) -> tuple[float, str] | None:
        """Look up the proven optimum of VMR2L's medium snapshot, to four decimals."""
        rate = PROVEN_MEDIUM.get(cluster.mnl)
        if (
            rate is None
            or cluster.objective != "fragment_rate"
            or cluster.mode != "static"
            or cluster.pm_move_cap != 0
            or (cluster.n_pms, cluster.n_vms) != (279, 2089)
            or _default_hash(cluster) != MEDIUM_HASH
        ):
            return None
        return rate, "proven optimal (aggregated MILP, HiGHS)"

    def is_live(self, cluster: Cluster) -> bool:
        """Whether VMs come and go while a contender thinks (mode live)."""
        return cluster.mode == "live"


PROBLEM = VMRescheduling()
