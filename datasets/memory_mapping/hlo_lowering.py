"""Lay HLO computations out as one list of instructions over tensors."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ...core.notes import note
from .builder import Builder, Use
from .effort import LAID_OUT, PART
from .hlo_cost import KNOWN, flops_of
from .hlo_library import is_known
from .hlo_loops import lower_loop
from .hlo_module import Computation, HloInstr, Module, Shape
from .hlo_time import NO_WORK, Times, branches, called_by
from .hlo_traffic import InPlace, in_place, traffic_of
from .hlo_trips import trip_count
from .hlo_values import DEVICE, HOST, Origin, Uses, Value, forwards, leaves, part_of, parts
from .instance import ARG, AWAY, CONST, FREE, MAX_BYTES, OUT, SMALLEST_BYTES, TMP

_OF_HOST = re.compile(r'async_execution_thread="host"|_xla_compute_type="host"')


@dataclass(slots=True)
class Scope:
    """A computation that is being laid out.

    Attributes:
        computation: the computation.
        uses: when its values are used.
        values: values by the name of their instruction, so far.
        at: position of the instruction at hand.
        holders: where each tensor is: names of instructions, and paths into their results.
    """

    computation: Computation
    uses: Uses
    values: dict[str, Value] = field(default_factory=dict)
    at: int = 0
    holders: dict[int, list[Origin]] = field(default_factory=dict)

    def hold(self, instr: HloInstr, value: Value) -> None:
        """Set an instruction's value.

        Args:
            instr: the instruction.
            value: its result.
        """
        self.values[instr.name] = value
        if instr.opcode not in ("tuple", "get-tuple-element"):
            for path, tensor in parts(value):
                self.holders.setdefault(tensor, []).append((instr.name, path))

    def used_later(self, tensor: int) -> bool:
        """Whether a tensor's contents are used after the instruction at hand.

        Args:
            tensor: the tensor.
        """
        holders = self.holders.get(tensor, ())
        return any(self.uses.after(self.at, name, path) for name, path in holders)

    def operands(self, instr: HloInstr) -> list[Value]:
        """Return the values of an instruction's operands.

        Args:
            instr: the instruction.

        Raises:
            InstanceError: one is not made before it.
        """
        for operand in instr.operands:
            if operand not in self.values:
                instr.refuse(f"operand {operand!r} is not made before it; the text is no schedule")
        return [self.values[operand] for operand in instr.operands]


class Lowering:
    """Lays computations out as one list of instructions.

    Attributes:
        module: the HLO module.
        builder: the program under construction.
        kept: tensors that are used after the computation at hand: it may not overwrite them.
        on_host: whether the host runs the computation at hand.
        empty: tensors that have storage but no contents yet.
        around: names of the computations at hand, the outermost first.
        said: what the text does not tell, with the places.
        times: how long computations take, to choose between branches.
    """

    def __init__(self, module: Module, builder: Builder, unknown_trips: int) -> None:
        self.module = module
        self.builder = builder
        self.kept: set[int] = set()
        self.on_host = False
        self.empty: set[int] = set()
        self.around: list[str] = []
        self.said: dict[str, dict[str, None]] = {}
        self.times = Times(module, builder.hardware, unknown_trips)

    def say(self, instr: HloInstr, what: str) -> None:
        """Collect what the user should know about the text.

        Args:
            instr: instruction that it is about.
            what: the same words for the same kind of thing.
        """
        at = f"{instr.place.removeprefix(self.module.place + ': ')}, %{instr.name}"
        self.said.setdefault(what, {})[at] = None

    def tell(self) -> None:
        """Give one note for each kind of thing said."""
        for what, places in self.said.items():
            more = f" and {len(places) - 3} more" if len(places) > 3 else ""
            note(f"{self.module.place}: {what} ({'; '.join([*places][:3])}{more})")

    def fresh(self, instr: HloInstr, name: str, shape: Shape, kind: int) -> Value:
        """Add new tensors of a shape.

        Args:
            instr: instruction that makes them.
            name: name of the tensor; parts of a tuple append their index.
            shape: an array's shape, or a tuple's.
            kind: ARG, CONST, TMP or OUT.

        Returns:
            The tensor's index; for a tuple a list with a value for each part.
        """
        if shape.item in ("token", "opaque"):
            return []
        if not shape.item:
            return [
                self.fresh(instr, f"{name}.{k}", part, kind) for k, part in enumerate(shape.parts)
            ]
        if shape.space not in (*DEVICE, HOST) and shape.bytes >= SMALLEST_BYTES:
            self.say(instr, f"memory space {shape.space} is unknown and counts as the device's")
        self.module.effort.spend(LAID_OUT // 10)
        if shape.bytes > MAX_BYTES:
            instr.refuse(f"its result has {shape.bytes} bytes, more than {MAX_BYTES}")
        pin = AWAY if shape.space == HOST else FREE
        return self.builder.tensor(name, shape.bytes, kind, pin=pin)

    def like(self, name: str, tensor: int) -> int:
        """Add a tensor of another's size and memory, and return its index.

        Args:
            name: its name.
            tensor: the other.
        """
        return self.builder.tensor(
            name, self.builder.sizes[tensor], TMP, pin=self.builder.pins[tensor]
        )

    def alias(self, tensor: int, storage: int) -> bool:
        """Let a tensor that the program makes share another's storage, if that is possible.

        Args:
            tensor: the tensor.
            storage: the tensor whose storage it takes.

        Returns:
            Whether they share storage now.
        """
        builder = self.builder
        own, base = self.builder.root(tensor), self.builder.root(storage)
        made = builder.kinds[own] in (TMP, OUT)
        if own == base:
            return True
        if not made or builder.kinds[base] == CONST or builder.pins[own] != builder.pins[base]:
            return False
        if builder.sizes[own] > builder.sizes[base]:
            return False
        builder.aliases[own] = base
        return True

    def run(self, computation: Computation, arguments: list[Value]) -> Value:
        """Emit a computation's instructions and return the value of its root.

        Args:
            computation: the computation.
            arguments: a value for each parameter.
        """
        if computation.name in self.around:
            computation.instrs[0].refuse(f"computation {computation.name!r} contains itself")
        self.around.append(computation.name)
        scope = Scope(computation, Uses(computation))
        for at, instr in enumerate(computation.instrs):
            self.module.effort.spend(LAID_OUT)
            scope.at = at
            if instr.opcode == "parameter":
                number = instr.parameter
                if number >= len(arguments):
                    instr.refuse(f"parameter {number} of {len(arguments)} operands")
                scope.hold(instr, arguments[number])
            else:
                scope.hold(instr, self._lower(scope, instr))
        if computation.root not in scope.values:
            computation.instrs[-1].refuse("the root of its computation is not made")
        self.around.pop()
        return scope.values[computation.root]

    def _lower(self, scope: Scope, instr: HloInstr) -> Value:
        operands = scope.operands(instr)
        opcode = instr.opcode
        if opcode == "constant":
            return self.fresh(instr, instr.name, instr.shape, CONST)
        if opcode == "tuple":
            for _ in leaves(operands):  # tuples of the same tuples have many
                self.module.effort.spend(PART)
            return operands
        if opcode == "get-tuple-element":
            part = part_of(operands[0], (instr.number("index", -1),)) if operands else None
            if part is None or "index=" not in instr.attributes:
                instr.refuse("its index points to no part of its operand")
            return part
        if forwards(scope.computation, instr):
            return operands[0]
        if opcode == "after-all":
            return []
        if opcode in NO_WORK:
            return self.fresh(instr, instr.name, instr.shape, CONST)
        if opcode in ("recv-done", "send-done"):
            received = operands[0] if operands and isinstance(operands[0], list) else []
            return [received[0], []] if opcode == "recv-done" and received else []
        if instr.target == "AllocateBuffer":
            made = self.fresh(instr, instr.name, instr.shape, TMP)
            self.empty |= set(leaves(made))
            return made
        if opcode == "while":
            if len(operands) != 1:
                instr.refuse(f"a loop has one state, this one {len(operands)}")
            return lower_loop(self, scope, instr, operands[0])
        if opcode == "call":
            return self._inside(scope, instr, self.module[called_by(instr)], operands)
        if opcode == "conditional":
            return self._branch(scope, instr, operands)
        return self._emit(scope, instr, operands)

    def _inside(
        self, scope: Scope, instr: HloInstr, computation: Computation, arguments: list[Value]
    ) -> Value:
        """Emit a computation that an instruction calls; what is used later is not overwritten."""
        before = self.kept
        self.kept = before | {
            self.builder.root(tensor)
            for operand in instr.operands
            for tensor in leaves(scope.values[operand])
            if scope.used_later(tensor)
        }
        outside, self.on_host = self.on_host, self.on_host or _is_of_host(instr)
        result = self.run(computation, arguments)
        self.kept, self.on_host = before, outside
        return result

    def _branch(self, scope: Scope, instr: HloInstr, operands: list[Value]) -> Value:
        """Emit the branch of a conditional that takes longest."""
        names = branches(instr)
        if not names or len(operands) != len(names) + 1:
            instr.refuse(f"{len(operands)} operands for {len(names)} branches and what chooses")
        times = [self.times.of(name) for name in names]
        chosen = times.index(max(times))
        self.say(instr, "of a conditional's branches only the one that takes longest counts")
        return self._inside(scope, instr, self.module[names[chosen]], [operands[chosen + 1]])

    def trips(self, computation: Computation, instr: HloInstr) -> int:
        """Return how often a loop runs; if the text does not tell, say so.

        Args:
            computation: the computation that the loop is in.
            instr: the while instruction.
        """
        trips = trip_count(self.module, computation, instr)
        if trips is not None:
            return trips
        assumed = self.times.unknown_trips
        self.say(
            instr,
            f"how often a loop runs is unknown: {assumed} assumed; set trips=N, or write "
            'backend_config={"known_trip_count":{"n":"N"}} after the loop',
        )
        return assumed

    def _emit(self, scope: Scope, instr: HloInstr, operands: list[Value]) -> Value:
        """Emit one instruction; of operands only the part that is read or written counts."""
        module, computation, builder = self.module, scope.computation, self.builder
        if instr.opcode == "send":
            builder.instr(instr.name, list(leaves(operands[0])), [])
            return [operands[0], [], []]
        if instr.opcode == "recv":
            received = self.fresh(instr, instr.name, instr.shape.parts[0], TMP)
            builder.instr(instr.name, [], list(leaves(received)))
            return [received, [], []]
        result = self.fresh(instr, instr.name, instr.shape, TMP)
        shared: list[InPlace] = []
        taken: set[int] = set()
        for pair in in_place(module, computation, instr):
            new = part_of(result, pair.output)
            old = part_of(operands[pair.operand], pair.path) if pair.operand < len(operands) else 0
            if not isinstance(new, int) or not isinstance(old, int):
                continue
            root = self.builder.root(old)
            if not scope.used_later(old) and root not in self.kept | taken and self.alias(new, old):
                shared.append(pair)
                taken.add(root)
        traffic = traffic_of(module, computation, instr, shared)
        for _ in leaves(operands):
            module.effort.spend(PART)
        reads = [
            Use(tensor, amount)
            for value, amount in zip(operands, traffic.reads, strict=True)
            for tensor in leaves(value)
        ]
        writes: list[Use] = []
        for path, amount in traffic.writes.items():
            new = part_of(result, path)
            if isinstance(new, int) and path in traffic.scratch:
                self.empty.add(new)
            elif isinstance(new, int):
                writes.append(Use(new, amount))
        reads = [use for use in reads if self._has_contents(use)]
        self.empty -= {self.builder.root(use.tensor) for use in writes}
        if instr.opcode not in KNOWN:
            self.say(instr, f"{instr.opcode!r} is unknown and counts as no FLOPs")
        if instr.opcode == "custom-call" and not is_known(instr):
            self.say(instr, f"what {instr.target!r} computes is unknown and counts as no FLOPs")
        host = self.on_host or _is_of_host(instr)
        if host:
            self.say(instr, "the host computes this, which takes no time of the device")
        flops = 0.0 if host else flops_of(module, computation, instr)
        builder.instr(instr.name, reads, writes, flops)
        return result

    def _has_contents(self, use: Use) -> bool:
        """Whether a read is of a tensor with contents; what is read without any is an argument."""
        root = self.builder.root(use.tensor)
        if root not in self.empty:
            return True
        if use.bytes != 0:
            self.builder.kinds[root] = ARG
            self.empty.discard(root)
        return use.bytes != 0


def _is_of_host(instr: HloInstr) -> bool:
    """Whether the host computes an instruction, not the device."""
    return bool(_OF_HOST.search(instr.attributes))
