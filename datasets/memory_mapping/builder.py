"""Builds programs tensor by tensor and instruction by instruction."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from .hardware import Hardware
from .instance import DEAD_ENDS, FREE, Program
from .settings import DEFAULT_CAPACITY, with_settings


class Use(NamedTuple):
    """A tensor as an operand, and the bytes of traffic where they are not its size."""

    tensor: int
    bytes: int = -1


@dataclass(slots=True)
class Builder:
    """A program under construction; rows as in Program."""

    hardware: Hardware
    names: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    kinds: list[int] = field(default_factory=list)
    aliases: list[int] = field(default_factory=list)
    pins: list[int] = field(default_factory=list)
    instrs: list[str] = field(default_factory=list)
    flops: list[float] = field(default_factory=list)
    compute_s: list[float] = field(default_factory=list)
    repeats: list[int] = field(default_factory=list)
    op_start: list[int] = field(default_factory=lambda: [0])
    ops: list[tuple[int, int, bool]] = field(default_factory=list)

    def tensor(self, name: str, size: int, kind: int, alias: int = -1, pin: int = FREE) -> int:
        """Adds a tensor; returns its index."""
        self.names.append(name)
        self.sizes.append(size)
        self.kinds.append(kind)
        self.aliases.append(alias)
        self.pins.append(pin)
        return len(self.names) - 1

    def instr(
        self,
        name: str,
        reads: Iterable[Use | int],
        writes: Iterable[Use | int],
        flops: float = 0.0,
        compute_s: float | None = None,
        repeat: int = 1,
    ) -> None:
        """Adds an instruction; a tensor that stands twice in `reads` is read as often.

        Without `compute_s` it takes flops / hardware.flops seconds to compute.
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
        self.repeats.append(repeat)

    def build(
        self, name: str, capacity: str = DEFAULT_CAPACITY, dead_end: str = DEAD_ENDS[0]
    ) -> Program:
        """The program, with a capacity as in `sizes.read_capacity`.

        Raises:
            SettingError: the capacity cannot be read.
            InstanceError: the program is impossible.
        """
        ops = np.array(self.ops, np.int64).reshape(-1, 3)
        program = Program(
            name=name,
            hardware=self.hardware.name,
            # Room for everything until the peak is known.
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
            instr_repeat=np.array(self.repeats, np.int64),
            op_start=np.array(self.op_start, np.int64),
            op_tensor=ops[:, 0].copy(),
            op_bytes=ops[:, 1].copy(),
            op_write=ops[:, 2] > 0,
        )
        return with_settings(program, {"capacity": capacity})


def _unique(names: list[str]) -> tuple[str, ...]:
    """The names, those met before with a number added (a computation called twice, say)."""
    taken: set[str] = set()
    result = []
    for name in names:
        own, number = name, 1
        while own in taken:
            number += 1
            own = f"{name}#{number}"
        taken.add(own)
        result.append(own)
    return tuple(result)
