"""Build programs tensor by tensor and instruction by instruction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ...core.errors import InstanceError
from .hardware import Hardware
from .instance import DEAD_ENDS, FREE, MAX_BYTES, MAX_TOTAL_BYTES, Program
from .loops import MAX_REPEAT, Loop
from .settings import DEFAULT_CAPACITY, with_settings


class Use(NamedTuple):
    """A tensor as an operand of an instruction.

    Attributes:
        tensor: index of the tensor.
        bytes: traffic of one execution; -1 for the tensor's size.
    """

    tensor: int
    bytes: int = -1


@dataclass(slots=True)
class Builder:
    """A program under construction; its fields become those of Program.

    Attributes:
        hardware: profile that gives the times.
        names, sizes, kinds, aliases, pins: of T tensors so far: name, bytes, kind, storage, pin.
        instrs, flops, compute_s: of I instructions so far: name, FLOPs, seconds.
        loops: the loops that are closed.
        op_start: I+1 offsets into `ops`.
        ops: of N operands so far: tensor, bytes, whether it is written.
    """

    hardware: Hardware
    names: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    kinds: list[int] = field(default_factory=list)
    aliases: list[int] = field(default_factory=list)
    pins: list[int] = field(default_factory=list)
    instrs: list[str] = field(default_factory=list)
    flops: list[float] = field(default_factory=list)
    compute_s: list[float] = field(default_factory=list)
    loops: list[Loop] = field(default_factory=list)
    op_start: list[int] = field(default_factory=lambda: [0])
    ops: list[tuple[int, int, bool]] = field(default_factory=list)

    def tensor(self, name: str, size: int, kind: int, alias: int = -1, pin: int = FREE) -> int:
        """Add a tensor and return its index.

        Args:
            name: name of the tensor; `build` makes names unique.
            size: bytes.
            kind: ARG, CONST, TMP or OUT.
            alias: tensor whose storage this one shares; -1 for its own.
            pin: FREE, SLOW to keep it out of fast memory, or AWAY in the host's memory.
        """
        self.names.append(name)
        self.sizes.append(size)
        self.kinds.append(kind)
        self.aliases.append(alias)
        self.pins.append(pin)
        return len(self.names) - 1

    def root(self, tensor: int) -> int:
        """Return the tensor whose storage a tensor has.

        Args:
            tensor: the tensor.
        """
        while self.aliases[tensor] >= 0:
            tensor = self.aliases[tensor]
        return tensor

    def instr(
        self,
        name: str,
        reads: Iterable[Use | int],
        writes: Iterable[Use | int],
        flops: float = 0.0,
        compute_s: float | None = None,
    ) -> None:
        """Add an instruction; a tensor that appears twice in `reads` has twice the traffic.

        Args:
            name: name of the instruction; `build` makes names unique.
            reads: operands that are read, as tensors or as uses with their bytes.
            writes: operands that are written, likewise.
            flops: floating-point operations of one execution; 0 if unknown.
            compute_s: seconds of computation of one execution; None for flops / hardware.flops.
        """
        for uses, write in ((reads, False), (writes, True)):
            totals: dict[int, int] = {}
            for use in uses:
                tensor, amount = use if isinstance(use, Use) else (use, -1)
                amount = self.sizes[tensor] if amount < 0 else amount
                totals[tensor] = totals.get(tensor, 0) + amount
            self.ops += [(tensor, amount, write) for tensor, amount in totals.items()]
        self.op_start.append(len(self.ops))
        self.instrs.append(name)
        self.flops.append(flops)
        self.compute_s.append(flops / self.hardware.flops if compute_s is None else compute_s)

    @contextmanager
    def loop(self, trips: int) -> Iterator[None]:
        """Make the instructions that are added in the block the body of a loop.

        Blocks may be nested. A body that runs once is no loop, and one that never runs leaves no
        instruction; loops around the same instructions are one of all their trips.

        Args:
            trips: times that the body runs each time it is reached, 0 or more.
        """
        first = len(self.instrs)
        yield
        if trips == 0:
            del self.instrs[first:], self.flops[first:], self.compute_s[first:]
            del self.ops[self.op_start[first] :], self.op_start[first + 1 :]
            while self.loops and self.loops[-1].first >= first:
                self.loops.pop()
        self._close_loop(first, len(self.instrs) - 1, trips)

    def _close_loop(self, first: int, last: int, trips: int) -> None:
        if last < first or trips == 1:
            return
        if self.loops and self.loops[-1][:2] == (first, last):
            trips *= self.loops.pop().trips
        # What is too large is refused by Program, and must fit its array.
        self.loops.append(Loop(first, last, min(trips, MAX_REPEAT + 1)))

    def build(
        self, name: str, capacity: str = DEFAULT_CAPACITY, dead_end: str = DEAD_ENDS[0]
    ) -> Program:
        """Return the finished program.

        Args:
            name: name of the program.
            capacity: size of fast memory, as in `sizes.read_capacity`.
            dead_end: one of DEAD_ENDS.

        Raises:
            SettingError: the capacity cannot be read.
            InstanceError: the program is impossible.
        """
        if (total := sum(self.sizes)) > MAX_TOTAL_BYTES:
            raise InstanceError(
                f"{name}: its tensors have {total} bytes together, more than {MAX_TOTAL_BYTES}; "
                "correct their sizes"
            )
        # What is too large is refused by Program, and must fit its array.
        operands = [(tensor, min(amount, MAX_BYTES + 1), w) for tensor, amount, w in self.ops]
        ops = np.array(operands, np.int64).reshape(-1, 3)
        loops = sorted(self.loops, key=lambda loop: (loop.first, -loop.last))
        bodies = np.array(loops, np.int64).reshape(-1, 3)
        program = Program(
            name=name,
            hardware=self.hardware.name,
            # Large enough for all tensors; replaced below, when the peak can be computed.
            capacity=sum(self.sizes) + self.hardware.alignment,
            alignment=self.hardware.alignment,
            slow_bw=self.hardware.slow_bw,
            fast_read_bw=self.hardware.fast_read_bw,
            fast_write_bw=self.hardware.fast_write_bw,
            copy_scale=self.hardware.copy_scale,
            dead_end=dead_end,
            tensor_names=_unique(self.names),
            tensor_size=np.array(self.sizes, np.int64),
            tensor_kind=np.array(self.kinds, np.int8),
            tensor_alias=np.array(self.aliases, np.int64),
            tensor_pin=np.array(self.pins, np.int8),
            instr_names=_unique(self.instrs),
            instr_flops=np.array(self.flops, np.float64),
            instr_compute_s=np.array(self.compute_s, np.float64),
            loop_first=bodies[:, 0].copy(),
            loop_last=bodies[:, 1].copy(),
            loop_trips=bodies[:, 2].copy(),
            op_start=np.array(self.op_start, np.int64),
            op_tensor=ops[:, 0].copy(),
            op_bytes=ops[:, 1].copy(),
            op_write=ops[:, 2] > 0,
        )
        return with_settings(program, {"capacity": capacity})


def _unique(names: list[str]) -> tuple[str, ...]:
    """Make names unique by a number (the names of a computation that is called twice, say)."""
    taken: set[str] = set()
    last: dict[str, int] = {}  # number of the last one of each name
    result = []
    for name in names:
        own = name
        while own in taken:
            last[name] = last.get(name, 1) + 1
            own = f"{name}#{last[name]}"
        taken.add(own)
        result.append(own)
    return tuple(result)
