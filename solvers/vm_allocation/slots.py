"""Keep whole slots for large VMs: 16 free cores on a node, 32, and 32 on both nodes of a host.

Of places that keep as many slots, the one on the fullest host is taken (least sum of squares of
free cores once the request is there); see methods/vm_allocation/slots.py.
"""

from __future__ import annotations

from ...methods.vm_allocation.slots import SlotPlacement

TIE = 1e-3  # small against any slot, so that it decides among places that keep the same


class Slots(SlotPlacement):
    """Keep 16-core slots."""

    weights = (1.0, 0.0, 0.0)
    packing = TIE


class TunedSlots(SlotPlacement):
    """Keep 16-, 32- and 64-core slots, and full hosts, by weights tuned on medium-95:train."""
