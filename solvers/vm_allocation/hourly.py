"""Rules with migrations: vm_rescheduling's methods at each chance, and LARS.

`..._columns` plans for the fragment rate with vm_rescheduling's `columns`, `..._mixed` for its
objective `mixed` with its `local_search`, for .4 s a chance. Where the data center allows no moves
these are the rules themselves.
"""

from __future__ import annotations

from ...methods.vm_allocation.hourly import HourlyMoves, rescheduler
from .fits import BestFit, FirstFit
from .lars import plan_lars
from .lifetimes import Nilas
from .slots import TunedSlots


def first_fit_columns() -> HourlyMoves:
    """Make first fit with moves for the fragment rate."""
    return HourlyMoves(FirstFit(), rescheduler("columns", "fragment_rate"))


def first_fit_mixed() -> HourlyMoves:
    """Make first fit with moves for the mixed objective."""
    return HourlyMoves(FirstFit(), rescheduler("local_search", "mixed"))


def best_fit_columns() -> HourlyMoves:
    """Make best fit with moves for the fragment rate."""
    return HourlyMoves(BestFit(), rescheduler("columns", "fragment_rate"))


def best_fit_mixed() -> HourlyMoves:
    """Make best fit with moves for the mixed objective."""
    return HourlyMoves(BestFit(), rescheduler("local_search", "mixed"))


def slots_tuned_columns() -> HourlyMoves:
    """Make tuned slots with moves for the fragment rate."""
    return HourlyMoves(TunedSlots(), rescheduler("columns", "fragment_rate"))


def slots_tuned_mixed() -> HourlyMoves:
    """Make tuned slots with moves for the mixed objective."""
    return HourlyMoves(TunedSlots(), rescheduler("local_search", "mixed"))


def nilas_lars() -> HourlyMoves:
    """Make NILAS with moves that empty hosts, the longest-lived VMs first."""
    return HourlyMoves(Nilas(), plan_lars)
