"""How long HLO computations take with all operands in slow memory, to choose between branches."""

from __future__ import annotations

from dataclasses import dataclass, field

from .hardware import Hardware
from .hlo_cost import flops_of
from .hlo_module import Computation, HloInstr, Module
from .hlo_traffic import in_place, traffic_of
from .hlo_trips import trip_count
from .hlo_values import Uses, forwards

NO_WORK = ("partition-id", "replica-id", "get-dimension-size")
FREE = (
    "parameter", "constant", "tuple", "get-tuple-element", "after-all", "send-done", "recv-done",
    *NO_WORK,
)  # fmt: skip


@dataclass(slots=True)
class Times:
    """Times of a module's computations.

    Attributes:
        module: the module.
        hardware: profile that gives the times.
        unknown_trips: how often a loop runs if the text does not tell.
        known: seconds of the computations looked at so far, by name.
    """

    module: Module
    hardware: Hardware
    unknown_trips: int
    known: dict[str, float] = field(default_factory=dict)

    def of(self, name: str) -> float:
        """Return how long a computation takes, in seconds.

        Args:
            name: name of the computation.
        """
        if name not in self.known:
            self.known[name] = 0.0  # what a computation that contains itself adds to its own time
            computation = self.module[name]
            uses = Uses(computation)
            self.known[name] = sum(self._of(uses, at) for at in range(len(computation.instrs)))
        return self.known[name]

    def _of(self, uses: Uses, at: int) -> float:
        """Return how long the instruction at a position of a computation takes."""
        computation, instr = uses.computation, uses.computation.instrs[at]
        if instr.opcode == "while":
            trips = trip_count(self.module, computation, instr)
            inside = self.of(instr.computation("body")) + self.of(instr.computation("condition"))
            return inside * (self.unknown_trips if trips is None else trips)
        if instr.opcode == "call":
            return self.of(called_by(instr))
        if instr.opcode == "conditional":
            return max(map(self.of, branches(instr)), default=0.0)
        if is_free(computation, instr):
            return 0.0
        for operand in instr.operands:
            if operand not in computation.by_name:
                instr.refuse(f"operand {operand!r} is not made in its computation")
        shared = [
            pair
            for pair in in_place(self.module, computation, instr)
            if pair.operand < len(instr.operands)
            and not uses.after(at, instr.operands[pair.operand], pair.path)
        ]
        traffic = traffic_of(self.module, computation, instr, shared)
        shapes = [computation.by_name[operand].shape for operand in instr.operands]
        written = [n for path, n in traffic.writes.items() if path not in traffic.scratch]
        moved = sum(written) + sum(
            shape.bytes if amount < 0 else amount
            for shape, amount in zip(shapes, traffic.reads, strict=True)
        )
        flops = flops_of(self.module, computation, instr)
        return max(flops / self.hardware.flops, moved / self.hardware.slow_bw)


def is_free(computation: Computation, instr: HloInstr) -> bool:
    """Whether an instruction does nothing when the program runs.

    Args:
        computation: the computation that the instruction is in.
        instr: the instruction.
    """
    return instr.opcode in FREE or instr.target == "AllocateBuffer" or forwards(computation, instr)


def called_by(instr: HloInstr) -> str:
    """Return the computation that a call runs.

    Args:
        instr: a call, or an asynchronous computation.
    """
    return instr.computation("to_apply") or instr.computation("calls")


def branches(instr: HloInstr) -> tuple[str, ...]:
    """Return a conditional's branches, in the order of its operands.

    Args:
        instr: the conditional.
    """
    names = instr.computations("branch_computations")
    keys = ("true_computation", "false_computation")
    return names or tuple(n for n in map(instr.computation, keys) if n)
