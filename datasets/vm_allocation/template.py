"""A small valid trace of VMs that come and go, with every column explained."""

from __future__ import annotations

from ...core.problem import Template

FIELDS = {
    "id": "The VM's name. Default: its row.",
    "arrival_h": "needed. Hours at which it is asked for. Other units: arrival_min, arrival (dates "
    "as 2026-01-31T12:00:00), arrival_s. Empty: it was there before.",
    "exit_h": "needed (or lifetime_h, hours). Hours at which it leaves. Empty: it stays.",
    "cores": "needed (or flavor, such as 4U8G). Cores of the whole VM.",
    "memory_gib": "Memory of the whole VM in GiB; memory_mb is in MB. Default: CPU alone counts.",
    "set": "VMs of one set are on different hosts. Empty: in none.",
    "pinned": "yes: it may not be migrated. Default: no.",
    "host": "The host it is on at the start, if it is there then. Empty: not known.",
    "node": "The host's NUMA node that it is on, 0 or 1. Empty: not known.",
    "nodes": "NUMA nodes that it takes in equal parts, 1 or 2. Empty: 1 unless it is too large.",
}
SHAPES = ((2, 4), (4, 8), (4, 16), (8, 32), (16, 64), (32, 128))  # cores, GiB
HOURS, EVERY_H = 48, 0.4


def template() -> Template:
    """Return a trace to start one's own from: two days of VMs, most of which stay for hours."""
    rows = [",".join(FIELDS)]
    for place in range(round(HOURS / EVERY_H)):
        arrival = place * EVERY_H
        cores, memory = SHAPES[place * 5 % len(SHAPES)]
        stays = 3.5 + place * 7 % 19
        rows.append(
            ",".join(
                (
                    f"vm-{place}",
                    f"{arrival:.1f}" if place else "",
                    f"{arrival + stays:.1f}" if place % 9 else "",
                    str(cores),
                    str(memory),
                    "web" if place % 10 == 1 else "",
                    "yes" if place % 15 == 7 else "",
                    "pm-0" if not place else "",
                    "0" if not place else "",
                    "2" if cores == 32 else "",
                )
            )
        )
    command = (
        "solve vm_allocation {file} --with best_fit --budget 10 --set start_h=24 --out plan.json"
    )
    return Template("vms.csv", "\n".join(rows) + "\n", FIELDS, command)
