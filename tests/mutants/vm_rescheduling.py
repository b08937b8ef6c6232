"""Faults of vm_rescheduling."""

from __future__ import annotations

from mutants.mutant import Mutant

DYNAMICS = "envs/vm_rescheduling/dynamics.py"

MUTANTS = (
    Mutant(
        DYNAMICS,
        "static.set_by_rack[group] and static.pm_rack[host]",
        "False and static.pm_rack[host]",
        "rack sets ignored",
    ),
)
