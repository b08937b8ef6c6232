"""Faults of vm_rescheduling, in the dynamics, the objective, the game loop, the churn and the
validator.
"""

from __future__ import annotations

from mutants.mutant import Mutant
from mutants.vm_rescheduling_rooms import ADMISSION

DYNAMICS = "envs/vm_rescheduling/dynamics.py"
OBJECTIVE = "envs/vm_rescheduling/objective.py"
EPISODE = "envs/vm_rescheduling/episode.py"
ENV = "envs/vm_rescheduling/env.py"
CHURN = "datasets/vm_rescheduling/churn.py"
VALIDATE = "envs/vm_rescheduling/validate.py"

TESTS = tuple(
    f"tests/vm_rescheduling/test_{name}.py"
    for name in ("validate", "objective", "dynamics", "churn", "env", "numa")
)
MUTANTS = (
    *ADMISSION,
    # --- What a move may do -------------------------------------------------------------------
    Mutant(
        DYNAMICS,
        "            if host == pm or (\n"
        "                static.set_by_rack[group] and static.pm_rack[host] == static.pm_rack[pm]\n"
        "            ):\n",
        "            if host == pm:\n",
        "rack sets ignored",
    ),
    Mutant(
        DYNAMICS,
        "            if host == pm or (\n                static.set_by_rack[group] and",
        "            if (\n                static.set_by_rack[group] and",
        "sets by host ignored",
    ),
    Mutant(
        DYNAMICS,
        "static.set_by_rack[group] and static.pm_rack",
        "not static.set_by_rack[group] and static.pm_rack",
        "sets by host and by rack exchanged",
    ),
    Mutant(
        DYNAMICS,
        "range(static.vm_set_start[vm], static.vm_set_start[vm + 1])",
        "range(static.vm_set_start[vm], min(static.vm_set_start[vm] + 1, "
        "static.vm_set_start[vm + 1]))",
        "only the first of a VM's sets counts",
    ),
    Mutant(
        DYNAMICS,
        "            if other == vm:\n                continue\n",
        "",
        "a VM is in the way of itself",
    ),
    Mutant(
        DYNAMICS,
        "enough &= (state.free_cpu[pm, node] >= static.place_cpu[row, node])",
        "enough &= (state.free_cpu[pm, node] > static.place_cpu[row, node])",
        "exact fits of CPU refused",
    ),
    Mutant(
        DYNAMICS,
        "state.free_mem[pm, node] >= static.place_mem[row, node]",
        "state.free_mem[pm, node] > static.place_mem[row, node]",
        "exact fits of memory refused",
    ),
    Mutant(
        DYNAMICS,
        "            state.free_mem[pm, node] >= static.place_mem[row, node]\n",
        "            True\n",
        "memory ignored",
    ),
    Mutant(
        DYNAMICS,
        "state.free_cpu[pm, node] >= static.place_cpu[row, node]",
        "state.free_cpu[pm, node] + 1 >= static.place_cpu[row, node]",
        "one CPU too many let in",
    ),
    Mutant(
        DYNAMICS,
        "        enough &= (state.free_cpu",
        "        enough = (state.free_cpu",
        "only the last node needs room",
    ),
    Mutant(
        DYNAMICS,
        "    if place >= static.places[flavor] or static.place_nodes[row] > static.pm_nodes[pm]:",
        "    if place >= static.places[flavor]:",
        "hosts of one node take VMs as if they had two",
    ),
    Mutant(
        DYNAMICS,
        "    if place >= static.places[flavor] or static.place_nodes",
        "    if place > static.places[flavor] or static.place_nodes",
        "a place beyond the last of a flavor",
    ),
    Mutant(
        DYNAMICS,
        "    return bool(not static.vm_pinned[vm] and lets_out)",
        "    return bool(lets_out)",
        "pinned VMs may move",
    ),
    Mutant(
        DYNAMICS,
        "    return (status != OUTAGE) & (moves < cap)",
        "    return (status == ACTIVE) & (moves < cap)",
        "no VM may leave a disabled host",
    ),
    Mutant(
        DYNAMICS,
        "    return (status != OUTAGE) & (moves < cap)",
        "    return (status == status) & (moves < cap)",
        "VMs may leave a host in outage",
    ),
    Mutant(
        DYNAMICS,
        "    return (status == ACTIVE) & (moves < cap)",
        "    return (status != OUTAGE) & (moves < cap)",
        "VMs may enter a disabled host",
    ),
    Mutant(
        DYNAMICS,
        "    return (status == ACTIVE) & (moves < cap)",
        "    return (status == ACTIVE) & (moves <= cap)",
        "a destination takes part in one move more",
    ),
    Mutant(
        DYNAMICS,
        "    return (status != OUTAGE) & (moves < cap)",
        "    return (status != OUTAGE) & (moves <= cap)",
        "a source takes part in one move more",
    ),
    Mutant(
        DYNAMICS,
        "    state.pm_moves[source] += 1\n",
        "",
        "the move cap ignores sources",
    ),
    Mutant(
        DYNAMICS,
        "        state.pm_moves[pm] += 1\n",
        "        pass\n",
        "the move cap ignores destinations",
    ),
    Mutant(
        DYNAMICS,
        "    if pm != source:\n        state.pm_moves[pm] += 1\n",
        "    state.pm_moves[pm] += 1\n",
        "a change of node counts twice for the move cap",
    ),
    Mutant(
        DYNAMICS,
        "        pm_move_cap=cluster.pm_move_cap or cluster.mnl,",
        "        pm_move_cap=cluster.mnl,",
        "the move cap is ignored",
    ),
    Mutant(
        DYNAMICS,
        "        state.totals[MOVES] < static.mnl\n",
        "        state.totals[MOVES] <= static.mnl\n",
        "one move beyond the limit is legal",
        halves=False,  # the environment ends the episode before it asks; searches do ask
        tests=("tests/vm_rescheduling/test_dynamics.py",),
    ),
    Mutant(
        DYNAMICS,
        "    if source == pm and state.vm_numa[vm] == place:",
        "    if source == pm:",
        "no VM may change the node on its host",
    ),
    Mutant(
        DYNAMICS,
        "    if source == pm and state.vm_numa[vm] == place:\n        return False\n",
        "",
        "staying is a move",
    ),
    # --- What a move changes ------------------------------------------------------------------
    Mutant(
        DYNAMICS,
        "                state.free_cpu[source, node] += static.place_cpu[left, node]\n",
        "",
        "the source's CPU stays occupied",
    ),
    Mutant(
        DYNAMICS,
        "                state.free_mem[source, node] += static.place_mem[left, node]\n",
        "                state.free_mem[source, node] += static.place_mem[taken, node]\n",
        "the source's memory is freed on the wrong node",
    ),
    Mutant(
        DYNAMICS,
        "        if step % 2 == 0 or pm != source:\n",
        "        if step == 2 or pm != source:\n",
        "stale totals after a change of node",
    ),
    Mutant(
        DYNAMICS,
        "        if step % 2 == 0 or pm != source:\n",
        "        if step % 2 == 0 or (step > 1 and pm != source):\n",
        "stale totals of the destination",
    ),
    Mutant(
        DYNAMICS,
        "    state.vm_numa[vm] = place\n",
        "    state.vm_numa[vm] = 0\n",
        "a VM's node is forgotten",
    ),
    Mutant(
        DYNAMICS,
        "    state.totals[ON_DRAIN] += int(static.pm_drain[pm]) - int(static.pm_drain[source])\n",
        "    state.totals[ON_DRAIN] -= int(static.pm_drain[source])\n",
        "VMs that enter drained hosts are not counted",
    ),
    Mutant(
        DYNAMICS,
        "    if static.pm_status[pm] != ACTIVE:\n        return\n",
        "",
        "disabled hosts count in the fragment rate",
    ),
    Mutant(
        DYNAMICS,
        "    nodes = static.pm_nodes[pm]\n",
        "    nodes = static.place_cpu.shape[1]\n",
        "hosts of one node have large slots as if of two",
    ),
    Mutant(
        DYNAMICS,
        "        slots = min(slots, cpu // (large // nodes))",
        "        slots = min(slots, cpu // large)",
        "large slots need 64 cores on each node",
    ),
    Mutant(
        DYNAMICS,
        "            state.totals[ON_DRAIN] += 1\n",
        "            state.totals[ON_DRAIN] = 1\n",
        "VMs on drained hosts are counted as one",
    ),
    # --- Objectives ---------------------------------------------------------------------------
    Mutant(
        OBJECTIVE,
        "fragment_rate(totals) <= static.goal_rate)",
        "fragment_rate(totals) < static.goal_rate)",
        "the goal must be passed, not reached",
    ),
    Mutant(
        OBJECTIVE,
        "    if rate <= static.goal_rate:",
        "    if rate < static.goal_rate:",
        "a goal that is just reached scores as missed",
    ),
    Mutant(
        OBJECTIVE,
        "totals[FREE] / static.unit - 1e-9)",
        "totals[FREE] / static.unit)",
        "slots still missing are rounded up of rounding errors",
    ),
    Mutant(
        OBJECTIVE,
        "np.ceil((rate",
        "np.floor((rate",
        "slots still missing are rounded down",
    ),
    Mutant(
        OBJECTIVE,
        "    return float(static.mnl + missing)",
        "    return float(totals[MOVES] + missing)",
        "a missed goal costs the moves made, not the limit",
    ),
    Mutant(
        OBJECTIVE,
        "        return float(w[0] * rate + w[1] * rate_64 + w[2] * rate_mem)",
        "        return float(w[0] * rate + w[2] * rate_64 + w[1] * rate_mem)",
        "two weights exchanged",
    ),
    Mutant(
        DYNAMICS,
        "        weights=cluster.weights / cluster.weights.sum(),",
        "        weights=cluster.weights,",
        "weights are not scaled to a sum of 1",
    ),
    Mutant(
        OBJECTIVE,
        "if totals[MEM_FREE] > 0 else 0.0",
        "if totals[FREE] > 0 else 0.0",
        "the memory rate is guarded by free CPU",
    ),
    Mutant(
        OBJECTIVE,
        "        return float(totals[ON_DRAIN] + rate)",
        "        return float(totals[ON_DRAIN])",
        "the drain objective without the fragment rate",
    ),
    # --- The game loop ------------------------------------------------------------------------
    Mutant(
        EPISODE,
        "        or state.totals[MOVES] >= static.mnl\n",
        "        or state.totals[MOVES] > static.mnl\n",
        "the episode ends one move late",
    ),
    Mutant(
        EPISODE,
        "        or goal_reached(static, state.totals)\n",
        "",
        "the episode goes on past the goal",
    ),
    Mutant(
        EPISODE,
        "        elif not (in_range and ints[LIVE]):",
        "        elif not ints[LIVE]:",
        "in a live world destinations outside the hosts are skipped",
    ),
    Mutant(
        EPISODE,
        "            if static.set_vms[j] != vm:\n",
        "            if static.set_vms[j] != vm and static.set_by_rack[group]:\n",
        "masks ignore sets by host",
    ),
    Mutant(
        EPISODE,
        "    if state.pm_moves[source] >= cap or state.pm_moves[target] >= cap:",
        "    if state.pm_moves[source] > cap or state.pm_moves[target] > cap:",
        "masks do not see that a host reached its cap",
    ),
    # --- Live worlds --------------------------------------------------------------------------
    Mutant(
        CHURN,
        "            _occupy(places, free_cpu, free_mem, flavor[vm], (host[vm], node[vm]), -1)\n",
        "",
        "churn ignores the room of departures",
    ),
    Mutant(
        CHURN,
        "            vm = present.pop(int(draw * len(present)))",
        "            vm = present.pop(int(draw * min(len(present), cluster.n_vms)))",
        "arrivals never leave",
    ),
    Mutant(
        CHURN,
        "np.random.default_rng([seed, 0x11FE])",
        "np.random.default_rng([0, 0x11FE])",
        "the world's seed is ignored",
    ),
    Mutant(
        CHURN,
        "    rate = cluster.churn_per_min / 60.0",
        "    rate = cluster.churn_per_min",
        "churn a second in place of a minute",
    ),
    Mutant(
        CHURN,
        "        if time > elapsed_s:\n            break\n        if arrives:",
        "        if time > elapsed_s and not arrives:\n            break\n        if arrives:",
        "arrivals go on until the next exit",
    ),
    Mutant(
        CHURN,
        "rng.random() < 0.5, rng.random()",
        "rng.random() >= 0.5, rng.random()",
        "arrivals and exits exchanged",
    ),
    Mutant(
        CHURN,
        "        elif len(present) > 1:",
        "        elif len(present) > 2:",
        "the last two VMs stay",
    ),
    Mutant(
        CHURN,
        "np.iinfo(np.int64).max).argmin()",
        "-1).argmax()",
        "arrivals are placed by worst fit",
    ),
    Mutant(
        CHURN,
        " & (cluster.pm_status == ACTIVE)[:, None]",
        "",
        "arrivals are placed on disabled hosts",
    ),
    Mutant(
        CHURN,
        "            kind = cluster.vm_flavor[int(draw * cluster.n_vms)]",
        "            kind = flavor[int(draw * len(flavor))]",
        "arrivals are drawn among arrivals as well",
    ),
    Mutant(
        ENV,
        "        vm_pinned=cluster.vm_pinned | (where < 0),",
        "        vm_pinned=cluster.vm_pinned,",
        "VMs that left may be moved",
    ),
    Mutant(
        ENV,
        "        set_start=after.set_start,\n        set_vms=before[after.set_vms],\n",
        "",
        "VMs that left still keep their sets apart",
    ),
    Mutant(
        ENV,
        "free_mem=real.free_mem, totals=real.totals",
        "free_mem=real.free_mem",
        "totals of the world before the churn",
    ),
    # --- The validator ------------------------------------------------------------------------
    Mutant(
        VALIDATE,
        '        if cluster.vm_pinned[vm]:\n            why.append("the VM is pinned")\n',
        "",
        "the validator lets pinned VMs move",
    ),
    Mutant(
        VALIDATE,
        "            if self.cpu[place] < cpu:",
        "            if self.cpu[place] <= cpu:",
        "the validator refuses exact fits",
    ),
    Mutant(
        VALIDATE,
        "            if self.mem[place] < mem:",
        "            if self.mem[place] + 1024 < mem:",
        "the validator lets memory be short of a gigabyte",
    ),
    Mutant(
        VALIDATE,
        "                if there == pm or (by_rack and cluster.pm_rack[there] == "
        "cluster.pm_rack[pm]):",
        "                if there == pm:",
        "the validator ignores racks",
    ),
    Mutant(
        VALIDATE,
        "            if 0 < cluster.pm_move_cap <= self.taken_part.get(end, 0):",
        "            if 0 < cluster.pm_move_cap < self.taken_part.get(end, 0):",
        "the validator allows one move more a host",
    ),
    Mutant(
        VALIDATE,
        "            if book.moves >= cluster.mnl:",
        "            if book.moves > cluster.mnl:",
        "the validator allows one move more a plan",
    ),
    Mutant(
        VALIDATE,
        "        if cluster.pm_status[source] == OUTAGE:",
        "        if cluster.pm_status[source] != ACTIVE:",
        "the validator lets none leave a disabled host",
    ),
    Mutant(
        VALIDATE,
        "            elif at and not live and book.stuck():",
        "            elif False:",
        "the validator takes a stop after the end",
    ),
    Mutant(
        VALIDATE,
        "            elif len(self.host) > 1:\n                self._take_out(",
        "            elif len(self.host) > 1 and u < 0.9:\n                self._take_out(",
        "some exits do not happen in the validator's churn",
    ),
    Mutant(
        VALIDATE,
        "        return sum(host in to_empty for host in book.host.values()) + rate",
        "        return sum(host in to_empty for vm, host in book.host.items() "
        "if vm < cluster.n_vms) + rate",
        "the validator does not count arrivals on drained hosts",
    ),
    Mutant(
        VALIDATE,
        "    missing = (book.fragments - cluster.goal_rate * book.free) / book.slot",
        "    missing = (book.fragments - cluster.goal_rate * book.free) / 16",
        "the validator forgets the unit of CPU",
    ),
    Mutant(
        VALIDATE,
        "        elif live:\n            skipped += 1\n",
        "        elif live:\n            skipped += len(broken)\n",
        "skipped moves are counted by constraint",
        halves=False,
        tests=("tests/vm_rescheduling/test_validate.py",),
    ),
    Mutant(
        VALIDATE,
        "        return sum(len(set(places)) < len(places) for places in homes.values())",
        "        return sum(len(places) - len(set(places)) for places in homes.values())",
        "broken deployment sets are counted by VM",
        halves=False,
        tests=("tests/vm_rescheduling/test_validate.py",),
    ),
)
