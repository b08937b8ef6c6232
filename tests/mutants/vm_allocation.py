"""Faults of vm_allocation in rooms, arrivals, exits, migrations, score; see mutant.py."""

from __future__ import annotations

from mutants.mutant import Mutant

FOLDER = "envs/vm_allocation"
DYNAMICS, OBJECTIVE, PACKED = (
    f"{FOLDER}/dynamics.py",
    f"{FOLDER}/objective.py",
    f"{FOLDER}/packed.py",
)
VALIDATE, ROOMS, ARRIVALS = (
    f"{FOLDER}/validate.py",
    "envs/rooms.py",
    "datasets/vm_allocation/arrivals.py",
)

TESTS = tuple(f"tests/vm_allocation/test_{name}.py" for name in ("env", "instance", "loaders"))

MUTANTS = (
    # --- Room on a host -----------------------------------------------------------------------
    Mutant(
        ROOMS,
        "(free_cpu[pm, node] >= cpu)",
        "(free_cpu[pm, node] > cpu)",
        "a VM that fills a node does not fit",
    ),
    Mutant(
        ROOMS,
        "(free_mem[pm, node] >= mem)",
        "(free_mem[pm, node] >= 0)",
        "memory does not count",
    ),
    Mutant(
        ROOMS,
        "second = (nodes == 2) & fits",
        "second = fits",
        "a host of one node has two",
        equivalent="every flavor needs some CPU, and a node that is not there has none",
    ),
    Mutant(
        ROOMS,
        "return first & (second | (spread != 2)), second & (spread != 2)",
        "return first, second & (spread != 2)",
        "a VM on both nodes needs room on the first alone",
    ),
    Mutant(
        ROOMS,
        "return first & (second | (spread != 2)), second & (spread != 2)",
        "return first & (second | (spread != 2)), second",
        "a VM on both nodes may be addressed by the second",
    ),
    # --- Placing and leaving ------------------------------------------------------------------
    Mutant(
        DYNAMICS,
        "    for at in range(first, last):\n        state.free_cpu[pm, at] -= cpu\n",
        "    for at in range(first, last):\n        state.free_cpu[pm, at] -= abs(cpu)\n",
        "cores of a VM that left stay taken",
    ),
    Mutant(
        DYNAMICS,
        "        state.free_mem[pm, at] -= mem\n",
        "        state.free_mem[pm, at] -= abs(mem)\n",
        "memory of a VM that left stays taken",
    ),
    Mutant(
        DYNAMICS,
        "first, last = (0, 2) if nodes == 2 else (node, node + 1)",
        "first, last = (node, node + 1)",
        "a VM on both nodes takes one",
    ),
    Mutant(
        DYNAMICS,
        "first, last = (0, 2) if nodes == 2 else (node, node + 1)",
        "first, last = (0, 2) if nodes == 2 else (0, 1)",
        "every VM is on the first node",
    ),
    Mutant(
        DYNAMICS,
        "        n[SLOTS_FREED] -= 1\n        row = state.freed[n[SLOTS_FREED]]\n",
        "        n[SLOTS_FREED] -= 1\n        row = state.freed[0]\n",
        "the row freed first is given again",
    ),
    Mutant(
        DYNAMICS,
        "    state.slots[row] = NO_ONE\n",
        "",
        "a VM that left can be migrated",
    ),
    Mutant(
        DYNAMICS,
        "        if state.place[request] >= 0:\n            _leave(static, state, request)\n",
        "        if state.place[request] > 0:\n            _leave(static, state, request)\n",
        "VMs in place 0 never leave",
    ),
    # --- Deployment sets ----------------------------------------------------------------------
    Mutant(
        DYNAMICS,
        "state.place[other] >= 0 and state.place[other] // 2 == pm:\n            return False",
        "state.place[other] >= 0 and state.place[other] == 2 * pm:\n            return False",
        "a set minds the first node alone",
    ),
    Mutant(
        DYNAMICS,
        "    if group < 0:\n        return True\n",
        "    if group <= 0:\n        return True\n",
        "the first set is none",
    ),
    Mutant(
        DYNAMICS,
        "                mask[host] = mask[host + 1] = 0\n",
        "                mask[host] = 0\n",
        "the mask bars one node of a member's host",
        halves=False,
        tests=("tests/vm_allocation/test_env.py",),
    ),
    Mutant(
        DYNAMICS,
        "        if (first or second) and meets_set(static, state, request, pm):",
        "        if first or second:",
        "a request waits where its set bars every host with room",
    ),
    # --- Time ---------------------------------------------------------------------------------
    Mutant(
        DYNAMICS,
        "        if time >= static.horizon_s:",
        "        if time > static.horizon_s:",
        "what happens at the horizon counts",
    ),
    Mutant(
        DYNAMICS,
        "chance <= time and chance < static.horizon_s",
        "chance < time and chance < static.horizon_s",
        "an event at a chance to migrate comes first",
    ),
    Mutant(
        DYNAMICS,
        "chance <= time and chance < static.horizon_s",
        "chance <= time and chance <= static.horizon_s",
        "there is a chance to migrate at the horizon",
    ),
    Mutant(
        DYNAMICS,
        "            n[NEXT_CHANCE_S] += static.period_s\n",
        "            n[NEXT_CHANCE_S] += static.period_s + 1\n",
        "chances to migrate come later and later",
    ),
    Mutant(
        DYNAMICS,
        "    numbers[NEXT_CHANCE_S] = center.period_min * 60\n",
        "    numbers[NEXT_CHANCE_S] = 0\n",
        "the first chance to migrate is at once",
        equivalent="no VM is there yet",
    ),
    Mutant(
        DYNAMICS,
        "np.concatenate([[0], np.cumsum(sizes)])",
        "np.concatenate([[0], np.cumsum(sizes)[:-1], [0]])",
        "the last set has no members",
    ),
    # --- Migrations ---------------------------------------------------------------------------
    Mutant(
        DYNAMICS,
        "request == NO_ONE or static.pinned[request]:",
        "request == NO_ONE:",
        "the mask lets a pinned VM be chosen",
        tests=("tests/vm_allocation/test_env.py",),
    ),
    Mutant(
        DYNAMICS,
        "if static.pinned[request] or write_places",
        "if write_places",
        "a pinned VM can be migrated",
    ),
    Mutant(
        DYNAMICS,
        "            n[MOVES_LEFT] = 0\n",
        "            n[MOVES_LEFT] -= 1\n",
        "after a stop there are moves left",
        equivalent="the next chance to migrate begins with all its moves",
    ),
    Mutant(
        DYNAMICS,
        "n[CLOCK_S], n[MOVES_LEFT] = chance, static.period_moves",
        "n[CLOCK_S], n[MOVES_LEFT] = chance, n[MOVES_LEFT] + static.period_moves",
        "moves that were not made are kept for later",
    ),
    Mutant(
        DYNAMICS,
        "    n[MOVES_LEFT] -= 1\n    if n[CLOCK_S]",
        "    if n[CLOCK_S]",
        "there is no end of moves",
    ),
    Mutant(
        DYNAMICS,
        "    n[MOVES] += 1\n    n[MOVES_LEFT] -= 1\n",
        "    n[MOVES_LEFT] -= 1\n",
        "moves are not counted",
        halves=False,
        tests=("tests/vm_allocation/test_env.py",),
    ),
    Mutant(
        DYNAMICS,
        "    if n[CLOCK_S] >= static.warm_up_s:\n",
        "    if n[CLOCK_S] >= 0:\n",
        "migrations in the warm-up cost",
    ),
    Mutant(
        DYNAMICS,
        "static.move_cost_s * static.flavor_cpu[k] * static.flavor_nodes[k]",
        "static.move_cost_s * static.flavor_cpu[k]",
        "a VM on both nodes costs half to migrate",
    ),
    Mutant(
        DYNAMICS,
        "or action == state.place[request]:",
        ":",
        "a VM may be migrated to where it is",
    ),
    Mutant(
        DYNAMICS,
        "        count -= mask[own]\n        mask[own] = 0\n",
        "        count -= mask[own]\n",
        "the mask has the place where a VM is",
        halves=False,
        tests=("tests/vm_allocation/test_env.py",),
    ),
    Mutant(
        DYNAMICS,
        "movable = open_places[k] > int(second if place % 2 else first)",
        "movable = open_places[k] > 0",
        "a VM that can go nowhere but where it is can be chosen",
    ),
    Mutant(
        DYNAMICS,
        "        if action < 0 or action > n_slots or state.slots[action] == NO_ONE:",
        "        if action > n_slots or state.slots[action] == NO_ONE:",
        "rows are counted from the end",
    ),
    Mutant(
        DYNAMICS,
        "            if _any_movable(static, state):\n                n[PHASE] = CHOOSE",
        "            if True:\n                n[PHASE] = CHOOSE",
        "a chance comes where no VM can be migrated",
    ),
    # --- What counts --------------------------------------------------------------------------
    Mutant(
        DYNAMICS,
        "    if request < static.starts or arrives < static.warm_up_s:",
        "    if arrives < static.warm_up_s:",
        "VMs that are there at the start count",
    ),
    Mutant(
        DYNAMICS,
        "    if request < static.starts or arrives < static.warm_up_s:",
        "    if request < static.starts or arrives <= static.warm_up_s:",
        "what arrives as the warm-up ends does not count",
    ),
    Mutant(
        DYNAMICS,
        "    seconds = min(static.exit_s[request], static.horizon_s) - arrives\n",
        "    seconds = static.exit_s[request] - arrives\n",
        "hours after the horizon count",
    ),
    Mutant(
        DYNAMICS,
        "    return int(static.flavor_cpu[k] * static.flavor_nodes[k] * seconds)",
        "    return int(static.flavor_cpu[k] * seconds)",
        "a VM on both nodes counts half",
    ),
    Mutant(
        DYNAMICS,
        "                n[REJECTED] += counted(static, request)\n",
        "                n[REJECTED] += static.flavor_cpu[static.flavor[request]]\n",
        "a rejected request costs its cores, whatever its hours",
    ),
    Mutant(
        OBJECTIVE,
        "100.0 * numbers[REJECTED] / asked",
        "100.0 * numbers[REJECTED] / (asked + 1)",
        "the share is of one core-second more",
    ),
    Mutant(
        DYNAMICS,
        "n[N_REJECTED] += int(request >= static.starts)",
        "n[N_REJECTED] += 1",
        "VMs of the start count among rejected requests",
        halves=False,
        tests=("tests/vm_allocation/test_env.py",),
    ),
    Mutant(
        PACKED,
        "    n[CHARGED] = n[REJECTED]\n",
        "    n[CHARGED] = 0\n",
        "each step is charged what all before it lost",
        halves=False,
        tests=("tests/vm_allocation/test_env.py",),
    ),
    # --- VMs whose place is given ---------------------------------------------------------------
    Mutant(
        DYNAMICS,
        "            if static.given[request] >= 0 and has_room(",
        "            if static.given[request] > 0 and has_room(",
        "a VM of the first place is placed by the policy",
    ),
    Mutant(
        DYNAMICS,
        "                _enter(static, state, request, static.given[request])\n",
        "                _enter(static, state, request, static.given[request] // 2 * 2)\n",
        "a given VM is on the first node",
    ),
    # --- The validator's own ------------------------------------------------------------------
    Mutant(
        VALIDATE,
        "            & (self.free_cpu >= self.center.flavor_cpu[k])",
        "            & (self.free_cpu > self.center.flavor_cpu[k])",
        "the validator: a VM that fills a node does not fit",
    ),
    Mutant(
        VALIDATE,
        "            if other != request and other in self.where:\n",
        "            if other in self.where:\n",
        "the validator: a VM bars itself from its host's other node",
    ),
    Mutant(
        VALIDATE,
        "fits.all(axis=1)",
        "fits.any(axis=1)",
        "the validator: a VM on both nodes fits on one",
    ),
    Mutant(
        VALIDATE,
        "        if request < t.starts or arrives < self.warm_up or arrives >= horizon:",
        "        if request < t.starts or arrives >= horizon:",
        "the validator: the warm-up counts",
    ),
    Mutant(
        VALIDATE,
        "        seconds = min(int(t.exit_s[request]), horizon) - arrives\n",
        "        seconds = int(t.exit_s[request]) - arrives\n",
        "the validator: hours after the horizon count",
    ),
    Mutant(
        VALIDATE,
        "            if budget and chance <= now and chance < horizon:",
        "            if budget and chance < now and chance < horizon:",
        "the validator: an event at a chance to migrate comes first",
    ),
    Mutant(
        VALIDATE,
        "        row = self.free_rows.pop() if",
        "        row = self.free_rows.pop(0) if",
        "the validator: the row freed first is given again",
    ),
    Mutant(
        VALIDATE,
        "            if not any(map(self._movable, self.where)):\n                return True\n",
        "",
        "the validator: a chance comes where no VM can be migrated",
    ),
    Mutant(
        VALIDATE,
        "            if self.figures.now >= self.warm_up:",
        "            if self.figures.now > self.warm_up:",
        "the validator: migrations as the warm-up ends are free",
    ),
    Mutant(
        VALIDATE,
        "100.0 * (asked - self.served + self.migrated) / asked",
        "100.0 * (asked - self.served) / asked",
        "the validator: migrations cost nothing in the score",
        halves=False,
        tests=("tests/vm_allocation/test_env.py",),
    ),
    Mutant(
        VALIDATE,
        "        self.served += worth\n",
        "        self.served += max(worth, 1)\n",
        "the validator: what does not count is served",
        halves=False,
        tests=("tests/vm_allocation/test_env.py",),
    ),
    Mutant(
        VALIDATE,
        "        if left and not (left == 1 and self.step == 0 and self.plan[0] == 0):",
        "        if left > 1:",
        "the validator: an action after the end is allowed",
    ),
    Mutant(
        VALIDATE,
        "            fragments += free % self.slot\n",
        "            fragments += free // self.slot\n",
        "the validator: fragments are whole slots",
        halves=False,
        tests=("tests/vm_allocation/test_env.py",),
    ),
    Mutant(
        VALIDATE,
        "        now = int(is_empty), fragments,",
        "        now = int(not is_empty), fragments,",
        "the validator: empty hosts are those in use",
        halves=False,
        tests=("tests/vm_allocation/test_env.py",),
    ),
    Mutant(
        VALIDATE,
        "        seconds = max(0, now - max(self.now, warm_up))\n",
        "        seconds = now - self.now\n",
        "the validator: figures are means over the warm-up, too",
        halves=False,
        tests=("tests/vm_allocation/test_env.py",),
    ),
    # --- Requests of a world ------------------------------------------------------------------
    Mutant(
        ARRIVALS,
        "np.random.default_rng([seed, center.stream, 0xA110])",
        "np.random.default_rng([center.stream, 0xA110])",
        "every seed is the same world",
        halves=False,
        tests=("tests/vm_allocation/test_instance.py",),
    ),
    Mutant(
        ARRIVALS,
        "    is_arrival = np.repeat([1, 0], count)\n",
        "    is_arrival = np.repeat([0, 1], count)\n",
        "at equal times arrivals come before exits",
        halves=False,
        tests=("tests/vm_allocation/test_instance.py",),
    ),
    Mutant(
        ARRIVALS,
        "    weight = center.flavor_share[:, None] * center.law_share * center.law_mean_h\n",
        "    weight = center.flavor_share[:, None] * center.law_share\n",
        "the start is not stationary",
        halves=False,
        tests=("tests/vm_allocation/test_instance.py",),
    ),
)
