"""Lay traced graphs out as one list of instructions: storage, updates in place, loops, branches.

What the importers of JAX and PyTorch share. Tracers know no storage, so an update in place is one
where nothing else needs the old contents, as compilers decide it; else the contents are copied.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ...core.notes import note
from .builder import Builder, Use
from .effort import LAID_OUT, MOST_STEPS, Effort
from .instance import ARG, CONST, OUT, SMALLEST_BYTES, TMP

FOREVER = 1 << 62


@dataclasses.dataclass(slots=True)
class Scope:
    """A graph that is being laid out.

    Attributes:
        until: position of the last node that uses each storage, by its first tensor.
        at: position of the node at hand.
    """

    until: dict[int, int] = dataclasses.field(default_factory=dict)
    at: int = -1


class Layout:
    """A program being laid out.

    Attributes:
        name: name of the program, for messages.
        builder: the program under construction.
        owned: arguments that the program may overwrite (donated, or updated by the model).
        scopes: the graphs at hand, the outermost first.
        said: what is to be told to the user, with the places.
        effort: steps spent on it.
    """

    def __init__(self, name: str, builder: Builder) -> None:
        self.name = name
        self.builder = builder
        self.owned: set[int] = set()
        self.scopes: list[Scope] = []
        self.said: dict[str, dict[str, None]] = {}
        self.effort = Effort(name, 10 * MOST_STEPS)

    def say(self, what: str, place: str) -> None:
        """Remember something to tell the user.

        Args:
            what: what was decided, and the remedy.
            place: the node it is about.
        """
        self.said.setdefault(what, {})[place] = None

    def tell(self) -> None:
        """Give one note for each kind of thing said."""
        for what, places in self.said.items():
            more = f" and {len(places) - 3} more" if len(places) > 3 else ""
            note(f"{self.name}: {what} ({', '.join([*places][:3])}{more})")

    @contextmanager
    def scope(self, nodes: int = 0) -> Iterator[Scope]:
        """Lay out a graph in the block.

        Args:
            nodes: how many it has.

        Raises:
            InstanceError: with what it calls, the program is too large.
        """
        self.effort.spend(LAID_OUT * (1 + nodes))
        self.scopes.append(Scope())
        yield self.scopes[-1]
        self.scopes.pop()

    def keep(self, tensor: int, until: int) -> None:
        """Say that the graph at hand uses a tensor up to a node.

        Args:
            tensor: the tensor.
            until: the node's position, or FOREVER.
        """
        held, root = self.scopes[-1].until, self.builder.root(tensor)
        held[root] = max(held.get(root, -1), until)

    def is_spare(self, tensor: int) -> bool:
        """Whether the node at hand may overwrite a tensor.

        Args:
            tensor: the tensor.
        """
        root = self.builder.root(tensor)
        kind = self.builder.kinds[root]
        if kind == CONST or (kind == ARG and root not in self.owned):
            return False
        return all(scope.until.get(root, -1) <= scope.at for scope in self.scopes)

    def alias(self, tensor: int, storage: int) -> bool:
        """Let a tensor that the program makes share another's storage, if that is possible.

        Args:
            tensor: the tensor.
            storage: the tensor whose storage it takes.

        Returns:
            Whether it has that storage now.
        """
        builder, own, base = self.builder, self.builder.root(tensor), self.builder.root(storage)
        if own == base:
            return True
        if builder.kinds[own] not in (TMP, OUT) or builder.sizes[own] > builder.sizes[base]:
            return False
        builder.aliases[own] = base
        for scope in self.scopes:
            if own in scope.until:
                scope.until[base] = max(scope.until.get(base, -1), scope.until.pop(own))
        return True

    def update(
        self,
        name: str,
        old: int,
        reads: Sequence[Use | int],
        amount: int,
        flops: float = 0.0,
        adds: bool = False,
    ) -> int:
        """Emit an update of a part of a tensor: in place, or of a copy if the old is needed.

        Args:
            name: name of the instruction.
            old: the tensor before.
            reads: other operands.
            amount: bytes of the part.
            flops: floating-point operations.
            adds: whether the part is read before it is written.

        Returns:
            The tensor after.
        """
        builder = self.builder
        amount = min(amount, builder.sizes[old])
        made = builder.tensor(name, builder.sizes[old], TMP)
        if self.is_spare(old) and self.alias(made, old):
            before = [Use(old, amount)] if adds else []
            builder.instr(name, [*before, *reads], [Use(made, amount)], flops)
        else:
            builder.instr(name, [old, *reads], [made], flops)
        return made

    def loop(
        self,
        name: str,
        trips: int,
        carried: Sequence[int],
        changed: Sequence[bool],
        fixed: Sequence[int],
        body: Callable[[list[int]], list[int]],
    ) -> list[int]:
        """Emit a loop; each part of its state keeps its buffer from trip to trip.

        State that is needed otherwise is copied before the loop; what a trip makes is copied into
        the buffer of the state if the old is still read after it is made.

        Args:
            name: name of the loop.
            trips: how often it runs, 1 or more.
            carried: the state's tensors before the loop.
            changed: whether the body changes them.
            fixed: tensors that every trip reads.
            body: emits the body, given the state, and returns the new state and what else it makes.

        Returns:
            What the last trip makes.
        """
        builder, state = self.builder, list(carried)
        roots = [self.builder.root(tensor) for tensor in (*carried, *fixed)]
        for k, tensor in enumerate(carried):
            if changed[k] and self._counts(tensor):
                shared = roots.count(self.builder.root(tensor)) > 1
                if shared or not self.is_spare(tensor):
                    state[k] = self._copy(f"{name}.state", tensor)
        with builder.loop(trips), self.scope():
            for tensor in (*fixed, *(state[k] for k in range(len(state)) if not changed[k])):
                self.keep(tensor, FOREVER)
            first_new, first_op = len(builder.names), len(builder.ops)
            results = body(state)
            self._part_from_state(name, state, changed, results)
            written, read = self._used_since(first_op)
            for k, old in enumerate(state):
                new, base = self.builder.root(results[k]), self.builder.root(old)
                if not changed[k] or new == base or not self._counts(old):
                    continue
                late = read.get(base, -1) > written.get(new, FOREVER)
                made_here = new >= first_new and results[: len(state)].count(results[k]) == 1
                if late or not made_here or not self.alias(new, old):
                    results[k] = self._copy(f"{name}.next", results[k], old)
        return results

    def _part_from_state(
        self, name: str, state: list[int], changed: Sequence[bool], results: list[int]
    ) -> None:
        """Copy new state that lies in the buffer of another part of the state (a swap, say)."""
        bases = {self.builder.root(old): k for k, old in enumerate(state) if changed[k]}
        for k, old in enumerate(state):
            if (
                changed[k]
                and bases.get(self.builder.root(results[k]), k) != k
                and self._counts(old)
            ):
                results[k] = self._copy(f"{name}.held", results[k])

    def _counts(self, tensor: int) -> bool:
        return self.builder.sizes[self.builder.root(tensor)] >= SMALLEST_BYTES

    def _copy(self, name: str, tensor: int, storage: int | None = None) -> int:
        """Emit a copy of a tensor to new storage, or to another tensor's; return its result."""
        copied = self.builder.tensor(name, self.builder.sizes[tensor], TMP)
        if storage is not None:
            self.alias(copied, storage)
        self.builder.instr(name, [tensor], [copied])
        return copied

    def _used_since(self, first_op: int) -> tuple[dict[int, int], dict[int, int]]:
        """Return the instructions that first write and that last read each storage."""
        builder = self.builder
        written: dict[int, int] = {}
        read: dict[int, int] = {}
        instr = len(builder.op_start) - 1
        for op in range(len(builder.ops) - 1, first_op - 1, -1):
            while builder.op_start[instr] > op:
                instr -= 1
            tensor, _, writes = builder.ops[op]
            if writes:
                written[self.builder.root(tensor)] = instr
            else:
                read.setdefault(self.builder.root(tensor), instr)
        return written, read

    def take_over(self, result: int, argument: int, copied: str = "") -> None:
        """Let a result of the program take an argument's storage, if that is read no more by then.

        Args:
            result: the tensor.
            argument: the argument.
            copied: name of the copy to make if it is; none if empty.
        """
        written, read = self._used_since(0)
        made, base = self.builder.root(result), self.builder.root(argument)
        if made == base:
            return
        free = made in written and read.get(base, -1) <= written[made] and base not in written
        if not (free and self.alias(made, base)) and copied:
            self._copy(copied, result, base)

    def branch(self, name: str, branches: Sequence[Callable[[], Any]]) -> Any:
        """Emit the branch that takes longest with all operands in slow memory.

        Args:
            name: name of the conditional.
            branches: emit a branch each, and return what it makes.

        Returns:
            What the branch makes.
        """
        self.say("of a conditional's branches only the one that takes longest counts", name)
        before, longest, chosen, result = self._state(), -1.0, None, None
        for branch in branches:
            first = len(self.builder.instrs)
            made = branch()
            seconds = self._seconds_since(first)
            if seconds > longest:
                longest, chosen, result = seconds, self._state(), made
            self._restore(before)
        if chosen is not None:
            self._restore(chosen)
        return result

    def _state(self) -> dict[str, list[Any]]:
        """Return copies of the builder's lists."""
        columns = {f.name: getattr(self.builder, f.name) for f in dataclasses.fields(self.builder)}
        return {name: list(rows) for name, rows in columns.items() if isinstance(rows, list)}

    def _restore(self, state: dict[str, list[Any]]) -> None:
        for name, rows in state.items():
            getattr(self.builder, name)[:] = rows

    def _seconds_since(self, first: int) -> float:
        """Return the time of the instructions from one on, with all operands in slow memory."""
        builder, total = self.builder, 0.0
        for instr in range(first, len(builder.instrs)):
            ops = builder.ops[builder.op_start[instr] : builder.op_start[instr + 1]]
            moved = sum(amount for _, amount, _ in ops)
            trips = math.prod(
                loop.trips for loop in builder.loops if first <= loop.first <= instr <= loop.last
            )
            seconds = max(builder.compute_s[instr], moved / builder.hardware.slow_bw)
            total += seconds * trips
        return total


def counted_trips(first: int, limit: int, step: int, compare: str) -> int | None:
    """Return how often a loop runs that counts in equal steps; None if it never ends.

    Args:
        first: what it counts from.
        limit: what it compares with.
        step: what each trip adds.
        compare: "lt", "le", "gt" or "ge": the loop goes on while the count compares so.
    """
    if compare in ("gt", "ge"):
        first, limit, step = -first, -limit, -step
    room = limit - first + (compare in ("le", "ge"))
    if room <= 0:
        return 0
    return -(-room // step) if step > 0 else None
