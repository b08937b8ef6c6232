"""Program: one memory-mapping problem, a scheduled program and the memory it runs in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from ...core.errors import InstanceError
from ...core.instance import Instance

ARG, CONST, TMP, OUT = 0, 1, 2, 3
KIND_NAMES = ("arg", "const", "tmp", "out")
FREE, SLOW = 0, 1
PIN_NAMES = ("free", "slow")
DEAD_ENDS = ("backup", "terminate", "reserve")
SMALLEST_BYTES = 4096
MAX_BYTES = 2**46
MAX_SECONDS = 3600.0


@dataclass(frozen=True, slots=True, eq=False)
class Program(Instance):
    """I scheduled instructions over T tensors, N operands in all, and a fast memory to map them to.

    Tensors that share storage (views, updates in place, donated arguments) form one buffer, which
    is in one place at a time. An instruction's operands are its reads, then its writes.

    Attributes:
        hardware: the profile's name the times were made with, for reports.
        capacity: bytes of fast memory.
        alignment: bytes; offsets in fast memory are multiples of it.
        slow_bw: bytes/s of slow memory (HBM), reads and writes together.
        fast_read_bw, fast_write_bw: bytes/s of fast memory (CMEM).
        copy_scale: a copy between the memories takes size / (copy_scale * slow_bw) seconds of slow
            memory's time.
        dead_end: what happens where no action is left, one of DEAD_ENDS.
        tensor_names: T names.
        tensor_size: int64 [T]; bytes.
        tensor_kind: int8 [T]; ARG and CONST are in slow memory at the start; OUT must be there at
            the end; TMP is made and used within the program.
        tensor_alias: int64 [T]; the tensor whose storage this one shares, -1 for its own.
        tensor_pin: int8 [T]; FREE, or SLOW: it never enters fast memory.
        instr_names: I names, in order of execution.
        instr_flops: float64 [I]; floating-point operations of one execution, 0 where unknown.
        instr_compute_s: float64 [I]; seconds of computation of one execution, memory aside.
        instr_repeat: int64 [I]; times it is executed in its place (a loop's trips).
        op_start: int64 [I+1]; instruction i has the operands op_start[i]:op_start[i+1].
        op_tensor: int64 [N].
        op_bytes: int64 [N]; bytes of one execution's traffic, which a gather or a loop makes other
            than the size.
        op_write: bool [N]; False for reads, which come first.
    """

    FAMILY: ClassVar[str] = "memory_mapping"

    hardware: str
    capacity: int
    alignment: int
    slow_bw: float
    fast_read_bw: float
    fast_write_bw: float
    copy_scale: float
    dead_end: str
    tensor_names: tuple[str, ...]
    tensor_size: np.ndarray
    tensor_kind: np.ndarray
    tensor_alias: np.ndarray
    tensor_pin: np.ndarray
    instr_names: tuple[str, ...]
    instr_flops: np.ndarray
    instr_compute_s: np.ndarray
    instr_repeat: np.ndarray
    op_start: np.ndarray
    op_tensor: np.ndarray
    op_bytes: np.ndarray
    op_write: np.ndarray

    @property
    def n_tensors(self) -> int:
        """T."""
        return len(self.tensor_names)

    @property
    def n_instrs(self) -> int:
        """I."""
        return len(self.instr_names)

    @property
    def n_decisions(self) -> int:
        """D: accesses for which a place is to be chosen."""
        return int(accesses(self).decides.sum())

    def check(self) -> None:
        """Refuses impossible programs.

        Raises:
            InstanceError: names the field, the row and the remedy.
        """
        t, i, n = len(self.tensor_names), len(self.instr_names), len(self.op_tensor)
        shapes = {
            "tensor_size": (t,), "tensor_kind": (t,), "tensor_alias": (t,), "tensor_pin": (t,),
            "instr_flops": (i,), "instr_compute_s": (i,), "instr_repeat": (i,),
            "op_start": (i + 1,), "op_tensor": (n,), "op_bytes": (n,), "op_write": (n,),
        }  # fmt: skip
        for field, shape in shapes.items():
            values = getattr(self, field)
            if values.shape != shape:
                self._refuse(f"{field} has shape {values.shape}, expected {shape}")
            kind = {"instr_flops": "f", "instr_compute_s": "f", "op_write": "b"}.get(field, "i")
            if values.dtype.kind != kind:
                names = {"f": "float64", "b": "bool", "i": "int64"}
                self._refuse(f"{field} has dtype {values.dtype}, expected {names[kind]}")
        if i == 0:
            self._refuse("the program has no instructions; there is nothing to map")
        self._check_hardware()
        self._check_ranges(t, n)
        for field in ("tensor_names", "instr_names"):
            names = getattr(self, field)
            if len(set(names)) < len(names):
                twice = next(name for row, name in enumerate(names) if name in names[:row])
                self._refuse(f"{field}: {twice!r} appears twice; names must be unique")
        _storage(self)
        self._check_operands()
        self._check_decisions()

    def _check_hardware(self) -> None:
        if self.capacity < 1:
            self._refuse(
                f"capacity is {self.capacity} bytes; fast memory needs some (set capacity=8MiB, or "
                "a fraction of the peak such as capacity=1/4)"
            )
        if not 1 <= self.alignment <= self.capacity:
            self._refuse(
                f"alignment is {self.alignment}; give 1 to {self.capacity}, the capacity in bytes"
            )
        for field in ("slow_bw", "fast_read_bw", "fast_write_bw", "copy_scale"):
            value = getattr(self, field)
            if not (np.isfinite(value) and value > 0):
                self._refuse(f"{field} is {value}; give a positive finite number")
        if self.dead_end not in DEAD_ENDS:
            self._refuse(f"dead_end {self.dead_end!r} is unknown; known: {', '.join(DEAD_ENDS)}")

    def _check_ranges(self, t: int, n: int) -> None:
        low_high = {
            "tensor_size": (0, MAX_BYTES), "tensor_kind": (0, 3), "tensor_alias": (-1, t - 1),
            "tensor_pin": (0, 1), "instr_repeat": (1, 10**9), "op_tensor": (0, t - 1),
            "op_bytes": (0, MAX_BYTES),
        }  # fmt: skip
        for field, (low, high) in low_high.items():
            values = getattr(self, field)
            bad = np.flatnonzero((values < low) | (values > high))
            if bad.size:
                self._refuse(f"{field}[{bad[0]}] is {values[bad[0]]}, outside {low}..{high}")
        for field, most in (("instr_flops", 1e24), ("instr_compute_s", MAX_SECONDS)):
            values = getattr(self, field)
            bad = np.flatnonzero(~((values >= 0) & (values <= most)))
            if bad.size:
                self._refuse(f"{field}[{bad[0]}] is {values[bad[0]]}, outside 0..{most:g}")
        starts = self.op_start
        if starts[0] != 0 or starts[-1] != n or (np.diff(starts) < 0).any():
            self._refuse(f"op_start must rise from 0 to {n}, the number of operands")

    def _check_operands(self) -> None:
        """Reads come before writes, no tensor twice, and nothing is read before it is made."""
        root = _storage(self)
        made = np.zeros(self.n_tensors, np.bool_)
        made[root[(self.tensor_kind == ARG) | (self.tensor_kind == CONST)]] = True
        for i, name in enumerate(self.instr_names):
            ops = range(int(self.op_start[i]), int(self.op_start[i + 1]))
            seen: set[tuple[int, bool]] = set()
            for op in ops:
                tensor, write = int(self.op_tensor[op]), bool(self.op_write[op])
                who = f"instruction {i} ({name}), operand {self.tensor_names[tensor]!r}"
                if (tensor, write) in seen:
                    self._refuse(f"{who} stands twice; add up its bytes")
                seen.add((tensor, write))
                if write and self.tensor_kind[tensor] == CONST:
                    self._refuse(f"{who} is a constant; nothing may write it")
                if not write and op > ops[0] and self.op_write[op - 1]:
                    self._refuse(f"{who} is read after a write; list the reads first")
                if not write and not made[root[tensor]]:
                    self._refuse(
                        f"{who} is read before it is written; make it an argument, or schedule "
                        "the instruction that writes it first"
                    )
            for op in ops:
                if self.op_write[op]:
                    made[root[self.op_tensor[op]]] = True

    def _check_decisions(self) -> None:
        if self.n_decisions:
            return
        sizes = self.tensor_size[_storage(self)[self.op_tensor]]
        sizes = sizes[sizes >= SMALLEST_BYTES]
        if not sizes.size:
            self._refuse(
                f"no operand has {SMALLEST_BYTES} bytes or more, so nothing is to be decided; take "
                "a larger program"
            )
        if sizes.min() > self.capacity:
            self._refuse(
                f"every operand is larger than fast memory ({self.capacity} bytes; the smallest "
                f"that counts has {sizes.min()}), so nothing is to be decided; set a larger "
                "capacity"
            )
        self._refuse("every operand is pinned to slow memory, so nothing is to be decided")

    def _refuse(self, why: str) -> None:
        raise InstanceError(f"{self.name}: {why}")


class Accesses(NamedTuple):
    """The buffers, and every use of a buffer by an instruction, in order of decision.

    What an instruction reads and writes of one buffer is one access, in the place of its first
    operand.
    """

    tensor_buffer: np.ndarray  # int64 [T]; the buffer each tensor lives in
    size: np.ndarray  # int64 [B]; bytes
    at_start: np.ndarray  # bool [B]; in slow memory before the program (ARG, CONST)
    at_end: np.ndarray  # bool [B]; must be in slow memory after it (OUT)
    placeable: np.ndarray  # bool [B]; may enter fast memory
    instr: np.ndarray  # int64 [A]
    buffer: np.ndarray  # int64 [A]
    read: np.ndarray  # int64 [A]; bytes of all executions
    written: np.ndarray  # int64 [A]; bytes of all executions
    writes: np.ndarray  # bool [A]
    makes: np.ndarray  # bool [A]; the first write of a buffer that held nothing before
    decides: np.ndarray  # bool [A]; a place is to be chosen


def accesses(program: Program) -> Accesses:
    """The program's buffers and accesses.

    A buffer under SMALLEST_BYTES, larger than fast memory or pinned to slow memory is not
    placeable: it stays in slow memory, and its accesses are no decisions.
    """
    roots, buffer_of = np.unique(_storage(program), return_inverse=True)
    count = len(roots)
    at_start, at_end, pinned = (np.zeros(count, np.bool_) for _ in range(3))
    at_start[buffer_of[(program.tensor_kind == ARG) | (program.tensor_kind == CONST)]] = True
    at_end[buffer_of[program.tensor_kind == OUT]] = True
    pinned[buffer_of[program.tensor_pin == SLOW]] = True
    size = program.tensor_size[roots]
    room = program.capacity // program.alignment * program.alignment
    placeable = (size >= SMALLEST_BYTES) & (size <= room) & ~pinned
    rows: dict[tuple[int, int], list[int]] = {}
    held = at_start.copy()
    for instr in range(program.n_instrs):
        repeat = int(program.instr_repeat[instr])
        for op in range(int(program.op_start[instr]), int(program.op_start[instr + 1])):
            buffer = int(buffer_of[program.op_tensor[op]])
            row = rows.setdefault((instr, buffer), [0, 0, 0, 0])
            row[int(program.op_write[op])] += repeat * int(program.op_bytes[op])
            if program.op_write[op]:
                row[2] = 1
                if not held[buffer]:
                    held[buffer] = True
                    row[3] = 1
    keys = np.array(list(rows), np.int64).reshape(-1, 2)
    table = np.array(list(rows.values()), np.int64).reshape(-1, 4)
    return Accesses(
        tensor_buffer=buffer_of.astype(np.int64),
        size=size,
        at_start=at_start,
        at_end=at_end,
        placeable=placeable,
        instr=keys[:, 0],
        buffer=keys[:, 1],
        read=table[:, 0],
        written=table[:, 1],
        writes=table[:, 2] > 0,
        makes=table[:, 3] > 0,
        decides=placeable[keys[:, 1]],
    )


def _storage(program: Program) -> np.ndarray:
    """int64 [T]: the tensor at the end of each chain of aliases.

    Raises:
        InstanceError: the aliases go in a circle, or a tensor does not fit its storage.
    """
    alias = program.tensor_alias
    root = np.where(alias < 0, np.arange(len(alias)), alias)
    for _ in range(max(1, len(alias).bit_length())):
        root = root[root]
    circular = np.flatnonzero(alias[root] >= 0)
    if circular.size:
        raise InstanceError(
            f"{program.name}: the aliases of tensor {program.tensor_names[circular[0]]!r} go in a "
            "circle; let one tensor of the group own the storage"
        )
    large = np.flatnonzero(program.tensor_size > program.tensor_size[root])
    if large.size:
        tensor, owner = int(large[0]), int(root[large[0]])
        raise InstanceError(
            f"{program.name}: tensor {program.tensor_names[tensor]!r} has "
            f"{program.tensor_size[tensor]} bytes, more than {program.tensor_names[owner]!r} whose "
            f"storage it shares ({program.tensor_size[owner]}); correct the alias"
        )
    return root


def peak_bytes(program: Program) -> int:
    """The most bytes in use at once: of the buffers of SMALLEST_BYTES or more that are not pinned
    to slow memory, each from its first to its last access.

    Capacities given as fractions are fractions of this. It does not depend on the capacity.
    """
    a = accesses(program)
    counts = (a.size >= SMALLEST_BYTES) & ~np.isin(
        np.arange(len(a.size)), a.tensor_buffer[program.tensor_pin == SLOW]
    )
    first = np.full(len(a.size), program.n_instrs, np.int64)
    last = np.full(len(a.size), -1, np.int64)
    np.minimum.at(first, a.buffer, a.instr)
    np.maximum.at(last, a.buffer, a.instr)
    counts &= last >= 0
    change = np.zeros(program.n_instrs + 1, np.int64)
    np.add.at(change, first[counts], a.size[counts])
    np.subtract.at(change, last[counts] + 1, a.size[counts])
    return int(change.cumsum().max())


class Roofline(NamedTuple):
    """Where the all-slow time goes; seconds."""

    all_slow_s: float
    compute_bound_s: float  # of it, in instructions that wait for computation
    memory_bound_s: float  # of it, in instructions that wait for slow memory
    all_fast_s: float  # with every operand in fast memory


def roofline(program: Program) -> Roofline:
    """The program's time with all operands in slow memory, split by what bounds it."""
    count = program.n_instrs
    instr = np.repeat(np.arange(count), np.diff(program.op_start))
    moved = np.bincount(instr, program.op_bytes, count)
    written = np.bincount(instr, program.op_bytes * program.op_write, count)
    compute = program.instr_compute_s
    slow = moved / program.slow_bw
    fast = (moved - written) / program.fast_read_bw + written / program.fast_write_bw
    repeat = program.instr_repeat
    return Roofline(
        all_slow_s=float((np.maximum(compute, slow) * repeat).sum()),
        compute_bound_s=float((compute * repeat)[compute >= slow].sum()),
        memory_bound_s=float((slow * repeat)[compute < slow].sum()),
        all_fast_s=float((np.maximum(compute, fast) * repeat).sum()),
    )
