"""Faults of sequence_parallelism in costs, memory, devices, order and time; see mutant.py."""

from __future__ import annotations

from mutants.mutant import Mutant

FOLDER = "envs/sequence_parallelism"
DYNAMICS, GROUPS, ENV, VALIDATE = (
    f"{FOLDER}/{name}.py" for name in ("dynamics", "groups", "env", "validate")
)
OBSERVATION, PLAN = f"{FOLDER}/observation.py", f"{FOLDER}/plan.py"
INSTANCE = "datasets/sequence_parallelism/instance.py"

TESTS = tuple(f"tests/sequence_parallelism/test_{name}.py" for name in ("env", "instance"))

MUTANTS = (
    # --- The cost table -----------------------------------------------------------------------
    Mutant(
        GROUPS,
        "shared = degree * batch.class_speed[device_class]",
        "shared = degree",
        "the devices' speed does not count",
    ),
    Mutant(
        GROUPS,
        "moved = batch.traffic / (degree * batch.bandwidth[device_class, row])",
        "moved = batch.traffic / batch.bandwidth[device_class, row]",
        "all-to-all is not shared by the devices",
    ),
    Mutant(
        GROUPS,
        "np.where(degree > 1, moved, 0.0)",
        "moved",
        "a group of one device communicates",
    ),
    Mutant(
        GROUPS,
        "quadratic=batch.quadratic / shared",
        "quadratic=batch.quadratic / degree",
        "attention is as fast on every class",
    ),
    Mutant(
        GROUPS,
        "np.full(len(degree), batch.fixed_ms)",
        "batch.fixed_ms / degree",
        "the constant is shared by the devices",
    ),
    Mutant(
        GROUPS,
        "capacity=degree * device_tokens(batch)[device_class]",
        "capacity=degree * device_tokens(batch).max()",
        "every class has the memory of the best",
    ),
    Mutant(
        GROUPS,
        "fits = batch.degrees[None, :] <= batch.class_devices[:, None]",
        "fits = batch.degrees[None, :] <= batch.class_devices.sum()",
        "a group takes more devices than its class has",
    ),
    Mutant(
        GROUPS,
        "np.lexsort((-batch.lengths, batch.step))",
        "np.lexsort((batch.lengths, batch.step))",
        "the shortest comes first",
    ),
    Mutant(
        GROUPS,
        "np.lexsort((-batch.lengths, batch.step))",
        "np.argsort(-batch.lengths, kind='stable')",
        "steps are mixed",
    ),
    Mutant(
        GROUPS,
        "np.bincount(batch.step).max()",
        "np.bincount(batch.step).sum()",
        "numbers below the sequences of all steps name groups",
    ),
    # --- Memory -------------------------------------------------------------------------------
    Mutant(
        INSTANCE,
        "return float(states / batch.class_devices.sum())",
        "return float(states / batch.class_devices.max())",
        "model states are spread over one class",
    ),
    Mutant(
        INSTANCE,
        "left = batch.class_memory - state_memory(batch)",
        "left = batch.class_memory",
        "model states take no memory",
    ),
    Mutant(
        INSTANCE,
        "np.floor(left / batch.token_memory)",
        "np.ceil(left / batch.token_memory)",
        "a part of a token fits",
    ),
    Mutant(
        DYNAMICS,
        "if state.groups[group, TOKENS] + length > table.sizes[CAPACITY, kind]:",
        "if length > table.sizes[CAPACITY, kind]:",
        "a group's tokens do not add up",
    ),
    Mutant(
        DYNAMICS,
        "if state.groups[group, TOKENS] + length > table.sizes[CAPACITY, kind]:",
        "if state.groups[group, TOKENS] + length >= table.sizes[CAPACITY, kind]:",
        "a group may not be filled",
        halves=False,
    ),
    Mutant(
        DYNAMICS,
        "if micro > opened or micro >= limit or length > table.sizes[CAPACITY, kind]:",
        "if micro > opened or micro >= limit:",
        "a new group holds any sequence",
    ),
    Mutant(
        DYNAMICS,
        "    state.groups[group, TOKENS] += length\n",
        "    state.groups[group, TOKENS] = length\n",
        "a group forgets what it holds",
    ),
    # --- Devices and micro-batches ------------------------------------------------------------
    Mutant(
        DYNAMICS,
        "if table.sizes[DEGREE, kind] > state.free[micro, device_class]:",
        "if table.sizes[DEGREE, kind] > state.free[micro].sum():",
        "devices of another class serve",
    ),
    Mutant(
        DYNAMICS,
        "state.free[micro, device_class] -= table.sizes[DEGREE, kind]",
        "state.free[micro, device_class] -= 1",
        "a group takes one device",
    ),
    Mutant(
        DYNAMICS,
        "if micro > opened or",
        "if micro > opened + 1 or",
        "a micro-batch is left out",
        equivalent="one that was not opened has no devices, so that no group can be opened there",
    ),
    Mutant(
        DYNAMICS,
        "            state.free[micro] = table.devices\n",
        "            state.free[micro] = table.devices[0]\n",
        "every class has the devices of the first",
    ),
    Mutant(
        DYNAMICS,
        "        if group >= state.counts[GROUPS]:\n            return ILLEGAL\n",
        "        if group > state.counts[GROUPS]:\n            return ILLEGAL\n",
        "the group after the last is joined",
    ),
    Mutant(
        DYNAMICS,
        "micro, kind = divmod(action - limit, kinds)",
        "kind, micro = divmod(action - limit, limit)",
        "actions count micro-batches first",
    ),
    Mutant(
        ENV,
        "            self._state = make_state(start.limit, len(start.table.devices))\n"
        "        return",
        "        return",
        "the next step goes on with this one's groups",
    ),
    # --- Time ---------------------------------------------------------------------------------
    Mutant(
        DYNAMICS,
        "table.costs[QUADRATIC, kind] * length * length + table.costs[LINEAR, kind] * length",
        "table.costs[QUADRATIC, kind] * length + table.costs[LINEAR, kind] * length",
        "attention is linear",
    ),
    Mutant(
        DYNAMICS,
        "state.times[group] = table.costs[CONSTANT, kind] + added_time(table, kind, length)",
        "state.times[group] = added_time(table, kind, length)",
        "a group has no constant",
    ),
    Mutant(
        DYNAMICS,
        "state.times[group] += added_time(table, kind, length)",
        "state.times[group] += table.costs[CONSTANT, kind] + added_time(table, kind, length)",
        "a sequence that joins brings the constant again",
    ),
    Mutant(
        DYNAMICS,
        "longer = max(0.0, state.times[group] - state.longest[micro])",
        "longer = state.times[group] - state.longest[micro]",
        "a micro-batch takes as long as its last group",
    ),
    Mutant(
        DYNAMICS,
        "            state.longest[micro] = 0.0\n",
        "            state.longest[micro] = state.longest[micro - 1]\n",
        "a new micro-batch runs beside the one before",
    ),
    Mutant(
        ENV,
        "self._step, self._place = self._step + 1, 0\n"
        "            self._before, self._now = self._before + self._now, 0.0",
        "self._step, self._place = self._step + 1, 0\n"
        "            self._before, self._now = self._now, 0.0",
        "only the last two steps count",
    ),
    Mutant(
        ENV,
        "return -longer / start.bound, self._over",
        "return longer / start.bound, self._over",
        "longer steps are rewarded",
        halves=False,
    ),
    # --- Masks, observations, exports ---------------------------------------------------------
    Mutant(
        DYNAMICS,
        "mask[group] = length <= room",
        "mask[group] = length < room",
        "what just fits is masked out",
        halves=False,
        tests=("tests/sequence_parallelism/test_env.py",),
    ),
    Mutant(
        DYNAMICS,
        "for micro in range(min(opened + 1, limit)):",
        "for micro in range(opened):",
        "no new micro-batch is offered",
        halves=False,
    ),
    Mutant(
        OBSERVATION,
        "action = limit + micro * kinds + kind",
        "action = limit + micro + kind",
        "the short list names other groups",
        halves=False,
    ),
    Mutant(
        PLAN,
        "batch.class_names[kinds.device_class[row[KIND]]]",
        "batch.class_names[0]",
        "every sequence runs on the first class",
        halves=False,
    ),
    # --- The validator ------------------------------------------------------------------------
    Mutant(
        VALIDATE,
        "if degree <= devices\n",
        "if degree < devices\n",
        "no group takes all devices",
    ),
    Mutant(
        VALIDATE,
        "limit = max(steps.count(step) for step in set(steps))",
        "limit = len(steps)",
        "numbers below all sequences name groups",
    ),
    Mutant(
        VALIDATE,
        "key=lambda row: (steps[row], -lengths[row])",
        "key=lambda row: (steps[row], lengths[row])",
        "the shortest comes first",
    ),
    Mutant(
        VALIDATE,
        "first, opened, present = len(groups), 0, steps[row]",
        "first, opened, present = 0, 0, steps[row]",
        "groups of an earlier step are joined",
    ),
    Mutant(
        VALIDATE,
        "if first + action >= len(groups):",
        "if action >= len(groups):",
        "groups of other steps count as open",
    ),
    Mutant(
        VALIDATE,
        "if action < 0 or micro_batch > opened or micro_batch >= limit:",
        "if action < 0 or micro_batch >= limit:",
        "micro-batches may be left out",
    ),
    Mutant(
        VALIDATE,
        "        if tokens > room:\n",
        "        if tokens > room * 2:\n",
        "groups hold twice the tokens",
    ),
    Mutant(
        VALIDATE,
        "room = group.degree * math.floor(left / batch.token_memory)",
        "room = math.floor(left / batch.token_memory)",
        "a group has the memory of one device",
    ),
    Mutant(
        VALIDATE,
        "used[key] = used.get(key, 0) + group.degree",
        "used[key] = used.get(key, 0) + 1",
        "a group takes one device",
    ),
    Mutant(
        VALIDATE,
        "key = group.step, group.micro_batch, group.device_class",
        "key = group.step, group.micro_batch, 0",
        "classes share their devices",
    ),
    Mutant(
        VALIDATE,
        "speed = group.degree * float(batch.class_speed[group.device_class])",
        "speed = group.degree",
        "the devices' speed does not count",
    ),
    Mutant(
        VALIDATE,
        "        if group.degree > 1:\n",
        "        if group.degree > 0:\n",
        "a group of one device communicates",
    ),
    Mutant(
        VALIDATE,
        "time = compute + moved + batch.fixed_ms",
        "time = compute + moved",
        "a group has no constant",
    ),
    Mutant(
        VALIDATE,
        "longest[key] = max(longest.get(key, 0.0), time)",
        "longest[key] = longest.get(key, 0.0) + time",
        "groups of a micro-batch run one after the other",
    ),
    Mutant(
        VALIDATE,
        "        key = group.step, group.micro_batch\n",
        "        key = group.step, 0\n",
        "micro-batches run beside each other",
    ),
    Mutant(
        VALIDATE,
        "if len(plan) != len(lengths):",
        "if len(plan) < len(lengths):",
        "a plan may be too long",
    ),
)
