"""Faults of vm_rescheduling in the room of hosts for what arrives (objective admission)."""

from __future__ import annotations

from mutants.mutant import Mutant

DYNAMICS, ROOMS, VALIDATE = (
    f"envs/vm_rescheduling/{name}.py" for name in ("dynamics", "rooms", "validate")
)

ADMISSION = (
    Mutant(
        DYNAMICS,
        "            node = 2 * pair\n",
        "            node = 0\n",
        "room: every pair of nodes has that of the first",
    ),
    Mutant(
        DYNAMICS,
        "a * (most + 1)",
        "a * most",
        "room: the table is read with the wrong width",
    ),
    Mutant(
        ROOMS,
        "        empty=int(points[start + size - 1][active].sum()),",
        "        empty=int(points[start + size - 1].sum()),",
        "room: that of disabled hosts counts as lost",
    ),
    Mutant(
        ROOMS,
        "    cores = cluster.numa_cpu // cluster.cpu_per_core\n",
        "    cores = cluster.numa_cpu + 0\n",
        "room: units of CPU are taken for cores",
    ),
    Mutant(
        ROOMS,
        "float(max(first, second, 1))",
        "float(max(first, 1))",
        "room: the first node is taken for the larger one",
    ),
    Mutant(
        VALIDATE,
        "            size = max(*cores, 1)\n",
        "            size = max(*free, 1)\n",
        "room: the validator scales by free cores",
    ),
    Mutant(
        VALIDATE,
        "            full += room_of(0, 0, size)\n",
        "            pass\n",
        "room: the validator takes a full host to have none",
    ),
)
