"""Program: one memory-mapping problem, a scheduled program and the memory it runs in."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import numpy as np

from ...core.fields import array, choice, declared, names, number, string, whole
from ...core.instance import Instance
from .loops import MAX_REPEAT, Loop, Visit, loop_fault, loops_of_repeats, visits

ARG, CONST, TMP, OUT = 0, 1, 2, 3
KIND_NAMES = ("arg", "const", "tmp", "out")
FREE, SLOW, AWAY = 0, 1, 2
PIN_NAMES = ("free", "slow", "host")
DEAD_ENDS = ("backup", "terminate", "reserve")
SMALLEST_BYTES = 4096
MAX_BYTES = 2**46
MAX_TOTAL_BYTES = 2**60  # of all tensors together, or of the fast memory
MAX_SECONDS = 3600.0
MAX_TOTAL_S = 10**6  # seconds of the whole program; picoseconds are counted in 64 bits


@declared
class Program(Instance):
    """I scheduled instructions over T tensors, N operands in all, and a fast memory to map them to.

    Tensors that share storage (views, updates in place, donated arguments) form one buffer, which
    is in one place at a time. An instruction's operands are its reads, then its writes.
    """

    FAMILY: ClassVar[str] = "memory_mapping"
    SCHEMA: ClassVar[int] = 2
    OLDER_SCHEMAS: ClassVar[tuple[int, ...]] = (1,)

    hardware: str = string("Name of the profile that the times were made with, for reports.")
    capacity: int = whole(
        "Size of fast memory.", low=1, high=MAX_TOTAL_BYTES, unit="bytes",
        remedy="fast memory needs some bytes (set capacity=8MiB, or a fraction of the peak such as "
        "capacity=1/4), 2**60 at most",
    )  # fmt: skip
    alignment: int = whole(
        "Offsets in fast memory are multiples of it.",
        low=1, high="capacity", unit="bytes", remedy="give at least 1, at most the capacity",
    )  # fmt: skip
    slow_bw: float = number(
        "Bandwidth of slow memory (HBM), reads and writes together.", positive=True, unit="bytes/s"
    )
    fast_read_bw: float = number(
        "Read bandwidth of fast memory (CMEM).", positive=True, unit="bytes/s"
    )
    fast_write_bw: float = number("Write bandwidth of fast memory.", positive=True, unit="bytes/s")
    copy_scale: float = number(
        "A copy between the memories takes size / (copy_scale * slow_bw) seconds of slow memory's "
        "time.",
        positive=True,
    )
    dead_end: str = choice(DEAD_ENDS, "What happens where no action is left.")
    tensor_names: tuple[str, ...] = names("T", "The tensors.")
    tensor_size: np.ndarray = array(
        "int64", "T", "Size of each tensor.", low=0, high=MAX_BYTES, unit="bytes"
    )
    tensor_kind: np.ndarray = array(
        "int8", "T",
        "ARG and CONST are in slow memory at the start; OUT must be there at the end; TMP is made "
        "and used within the program.",
        low=0, high=len(KIND_NAMES) - 1,
    )  # fmt: skip
    tensor_alias: np.ndarray = array(
        "int64", "T", "The tensor whose storage this one shares, -1 for its own.",
        low=-1, high="T-1",
    )  # fmt: skip
    tensor_pin: np.ndarray = array(
        "int8", "T",
        "FREE; SLOW: it never enters fast memory; AWAY: it is in the host's memory, and accesses "
        "cost slow memory no traffic.",
        low=0, high=len(PIN_NAMES) - 1,
    )  # fmt: skip
    instr_names: tuple[str, ...] = names(
        "I", "The instructions, in order of execution.",
        empty="the program has no instructions; there is nothing to map",
    )  # fmt: skip
    instr_flops: np.ndarray = array(
        "float64", "I", "Floating-point operations of one execution, 0 where unknown.",
        low=0.0, high=1e24,
    )  # fmt: skip
    instr_compute_s: np.ndarray = array(
        "float64", "I", "Computation of one execution, memory aside.",
        low=0.0, high=MAX_SECONDS, unit="s",
    )  # fmt: skip
    loop_first: np.ndarray = array(
        "int64", "L",
        "First instruction of each loop's body. Loops are nested or apart; outer ones come first.",
        low=0, high="I-1",
    )  # fmt: skip
    loop_last: np.ndarray = array(
        "int64", "L", "Last instruction of each loop's body.", low=0, high="I-1"
    )
    loop_trips: np.ndarray = array(
        "int64", "L", "Times each loop's body is executed, each time it is entered.",
        low=2, high=MAX_REPEAT,
        remedy="a body that runs once is no loop; lower what is larger, or give a part of the loop",
    )  # fmt: skip
    op_start: np.ndarray = array(
        "int64", "I+1", "Instruction i has the operands op_start[i]:op_start[i+1]."
    )
    op_tensor: np.ndarray = array("int64", "N", "Tensor of each operand.", low=0, high="T-1")
    op_bytes: np.ndarray = array(
        "int64", "N",
        "Traffic of one execution, which a gather or a loop makes other than the size.",
        low=0, high=MAX_BYTES, unit="bytes",
    )  # fmt: skip
    op_write: np.ndarray = array("bool", "N", "False for reads, which come first.")

    @property
    def n_tensors(self) -> int:
        """Number of tensors, T."""
        return len(self.tensor_names)

    @property
    def n_instrs(self) -> int:
        """Number of instructions, I."""
        return len(self.instr_names)

    @property
    def n_decisions(self) -> int:
        """Number of accesses for which a place must be chosen, D."""
        return int(accesses(self).decides.sum())

    @property
    def loops(self) -> list[Loop]:
        """The loops, outer ones before inner ones."""
        columns = (self.loop_first.tolist(), self.loop_last.tolist(), self.loop_trips.tolist())
        return [Loop(*row) for row in zip(*columns, strict=True)]

    @property
    def instr_repeat(self) -> np.ndarray:
        """Executions of each instruction: the product of the trips of the loops around it."""
        repeat = np.ones(self.n_instrs, np.int64)
        for loop in self.loops:
            repeat[loop.first : loop.last + 1] *= loop.trips
        return repeat

    @classmethod
    def upgraded(cls, schema: int, values: dict[str, Any]) -> dict[str, Any]:
        """See the base class; schema 1 had executions of each instruction in place of loops."""
        loops = loops_of_repeats(values.pop("instr_repeat").tolist())
        bodies = np.array(loops, np.int64).reshape(-1, 3).T
        return values | dict(zip(("loop_first", "loop_last", "loop_trips"), bodies, strict=True))

    def check(self) -> None:
        """Refuse impossible operands, loops or aliases, and programs with nothing to decide.

        Raises:
            InstanceError: names the field, the row and the remedy.
        """
        starts, n = self.op_start, len(self.op_tensor)
        if starts[0] != 0 or starts[-1] != n or (np.diff(starts) < 0).any():
            self.refuse(f"op_start must rise from 0 to {n}, the number of operands")
        self._check_sizes()
        self._check_loops()
        self._check_operands()
        self._check_decisions()

    def _check_sizes(self) -> None:
        """Check that bytes can be added up in 64 bits."""
        total = float(self.tensor_size.sum(dtype=np.float64))
        if total > MAX_TOTAL_BYTES:
            self.refuse(
                f"its tensors have {total:.3g} bytes together, more than {MAX_TOTAL_BYTES}; "
                "correct their sizes"
            )

    def _check_loops(self) -> None:
        """Check that loops are nested or apart, and that bytes and picoseconds can be counted."""
        if fault := loop_fault(self.loops):
            self.refuse(fault)
        instr = np.repeat(np.arange(self.n_instrs), np.diff(self.op_start))
        moved = np.bincount(instr, self.op_bytes, self.n_instrs)
        traffic = float((self.instr_repeat * moved).sum())
        if traffic > MAX_TOTAL_BYTES:
            self.refuse(
                f"its operands move {traffic:.3g} bytes in all executions, more than "
                f"{MAX_TOTAL_BYTES}; lower their bytes or the trips of its loops"
            )
        slowest = min(self.slow_bw, self.fast_read_bw, self.fast_write_bw)
        with np.errstate(over="ignore", invalid="ignore"):
            per_run = self.instr_compute_s + moved / slowest
        seconds = float((self.instr_repeat * per_run).sum())
        if not seconds <= MAX_TOTAL_S:
            self.refuse(
                f"the program may take {seconds:.3g} seconds, more than {MAX_TOTAL_S}; lower the "
                "trips of its loops, or give a part of it"
            )

    def _check_operands(self) -> None:
        """Check that reads precede writes, no operand repeats and nothing is read before made."""
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
                    self.refuse(f"{who} stands twice; add up its bytes")
                seen.add((tensor, write))
                if write and self.tensor_kind[tensor] == CONST:
                    self.refuse(f"{who} is a constant; nothing may write it")
                if not write and op > ops[0] and self.op_write[op - 1]:
                    self.refuse(f"{who} is read after a write; list the reads first")
                if not write and not made[root[tensor]]:
                    self.refuse(
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
            self.refuse(
                f"no operand has {SMALLEST_BYTES} bytes or more, so nothing is to be decided; take "
                "a larger program"
            )
        if sizes.min() > self.capacity:
            self.refuse(
                f"every operand is larger than fast memory ({self.capacity} bytes; the smallest "
                f"that counts has {sizes.min()}), so nothing is to be decided; set a larger "
                "capacity"
            )
        self.refuse("every operand is pinned to slow memory, so nothing is to be decided")


class Accesses(NamedTuple):
    """Buffers, and each instruction's accesses to buffers, in the order of decisions.

    What an instruction reads and writes of one buffer is one access, at the position of its first
    operand. There are T tensors, B buffers and A accesses.

    Attributes:
        tensor_buffer: int64 [T]; buffer that each tensor is stored in.
        size: int64 [B]; bytes.
        at_start: bool [B]; whether it is in slow memory before the program (ARG, CONST).
        at_end: bool [B]; whether it must be in slow memory after the program (OUT).
        placeable: bool [B]; whether it may enter fast memory.
        instr: int64 [A]; instruction of each access.
        buffer: int64 [A]; buffer of each access.
        read: int64 [A]; bytes read in all executions.
        written: int64 [A]; bytes written in all executions.
        writes: bool [A]; whether the access writes.
        replaces: bool [A]; whether the access writes the whole buffer without reading it.
        makes: bool [A]; whether it is the first write of a buffer without content before.
        decides: bool [A]; whether a place must be chosen.
    """

    tensor_buffer: np.ndarray
    size: np.ndarray
    at_start: np.ndarray
    at_end: np.ndarray
    placeable: np.ndarray
    instr: np.ndarray
    buffer: np.ndarray
    read: np.ndarray
    written: np.ndarray
    writes: np.ndarray
    replaces: np.ndarray
    makes: np.ndarray
    decides: np.ndarray


def accesses(program: Program) -> Accesses:
    """Return a program's buffers and accesses.

    A buffer under SMALLEST_BYTES, larger than fast memory or pinned is not placeable: it stays
    where it is, and its accesses are not decisions. Accesses to one in the host's memory have no
    traffic.
    """
    roots, buffer_of = np.unique(_storage(program), return_inverse=True)
    count = len(roots)
    at_start, at_end, pinned = (np.zeros(count, np.bool_) for _ in range(3))
    at_start[buffer_of[(program.tensor_kind == ARG) | (program.tensor_kind == CONST)]] = True
    at_end[buffer_of[program.tensor_kind == OUT]] = True
    pinned[buffer_of[program.tensor_pin != FREE]] = True
    size = program.tensor_size[roots]
    room = program.capacity // program.alignment * program.alignment
    placeable = (size >= SMALLEST_BYTES) & (size <= room) & ~pinned
    instr = np.repeat(np.arange(program.n_instrs), np.diff(program.op_start))
    keys, first, access = np.unique(
        instr * count + buffer_of[program.op_tensor], return_index=True, return_inverse=True
    )
    order = np.argsort(first)  # accesses by their first operands
    keys, access = keys[order], np.argsort(order)[access]
    buffer = keys % count
    wrote = program.op_write
    traffic = program.instr_repeat[instr] * program.op_bytes
    traffic[np.isin(buffer, buffer_of[program.tensor_pin == AWAY])[access]] = 0
    read, written = np.zeros((2, len(keys)), np.int64)
    np.add.at(read, access[~wrote], traffic[~wrote])
    np.add.at(written, access[wrote], traffic[wrote])
    writes, replaces, makes = np.zeros((3, len(keys)), np.bool_)
    writes[access[wrote]] = True
    replaces[access[wrote & (program.op_bytes >= size[buffer[access]])]] = True
    replaces[access[~wrote]] = False  # what is read is needed, whatever is written
    written_buffers, earliest = np.unique(buffer[writes], return_index=True)
    makes[np.flatnonzero(writes)[earliest[~at_start[written_buffers]]]] = True
    return Accesses(
        tensor_buffer=buffer_of.astype(np.int64),
        size=size,
        at_start=at_start,
        at_end=at_end,
        placeable=placeable,
        instr=keys // count,
        buffer=buffer,
        read=read,
        written=written,
        writes=writes,
        replaces=replaces,
        makes=makes,
        decides=placeable[buffer],
    )


def _storage(program: Program) -> np.ndarray:
    """Return the tensor whose storage each tensor has (the end of its chain of aliases), int64 [T].

    Raises:
        InstanceError: the aliases are cyclic, or a tensor is larger than its storage.
    """
    alias = program.tensor_alias
    root = np.where(alias < 0, np.arange(len(alias)), alias)
    for _ in range(max(1, len(alias).bit_length())):
        root = root[root]
    circular = np.flatnonzero(alias[root] >= 0)
    if circular.size:
        program.refuse(
            f"the aliases of tensor {program.tensor_names[circular[0]]!r} go in a "
            "circle; let one tensor of the group own the storage"
        )
    large = np.flatnonzero(program.tensor_size > program.tensor_size[root])
    if large.size:
        tensor, owner = int(large[0]), int(root[large[0]])
        program.refuse(
            f"tensor {program.tensor_names[tensor]!r} has "
            f"{program.tensor_size[tensor]} bytes, more than {program.tensor_names[owner]!r} whose "
            f"storage it shares ({program.tensor_size[owner]}); correct the alias"
        )
    return root


def peak_bytes(program: Program) -> int:
    """Return the largest number of bytes in use at once; capacities may be fractions of it.

    Counted are buffers of SMALLEST_BYTES or more that are not pinned to slow memory, each from its
    first to its last access, and throughout a loop that carries it from trip to trip or finds it
    anew in every trip. The result does not depend on the capacity.
    """
    a = accesses(program)
    counts = (a.size >= SMALLEST_BYTES) & ~np.isin(
        np.arange(len(a.size)), a.tensor_buffer[program.tensor_pin != FREE]
    )
    first = np.full(len(a.size), program.n_instrs, np.int64)
    last = np.full(len(a.size), -1, np.int64)
    np.minimum.at(first, a.buffer, a.instr)
    np.maximum.at(last, a.buffer, a.instr)
    for (loop, buffer), visit in visits_of(program, a).items():
        if visit.carried:
            first[buffer] = min(first[buffer], program.loop_first[loop])
            last[buffer] = max(last[buffer], program.loop_last[loop])
    counts &= last >= 0
    change = np.zeros(program.n_instrs + 1, np.int64)
    np.add.at(change, first[counts], a.size[counts])
    np.subtract.at(change, last[counts] + 1, a.size[counts])
    return int(change.cumsum().max())


def visits_of(program: Program, a: Accesses) -> dict[tuple[int, int], Visit]:
    """Return what each loop does to each buffer that its body uses, by (loop, buffer).

    Args:
        program: the program.
        a: its accesses.
    """
    columns = (a.instr.tolist(), a.buffer.tolist(), a.writes.tolist(), a.replaces.tolist())
    return visits(program.loops, *columns)


class Roofline(NamedTuple):
    """A program's time with all operands in slow memory, and what bounds it.

    Attributes:
        all_slow_s: seconds with all operands in slow memory.
        compute_bound_s: part of it in instructions bound by computation, seconds.
        memory_bound_s: part of it in instructions bound by slow memory, seconds.
        all_fast_s: seconds with all operands in fast memory.
    """

    all_slow_s: float
    compute_bound_s: float
    memory_bound_s: float
    all_fast_s: float


def roofline(program: Program) -> Roofline:
    """Return a program's time with all operands in slow memory, split by what bounds it."""
    count = program.n_instrs
    instr = np.repeat(np.arange(count), np.diff(program.op_start))
    root = _storage(program)
    here = ~np.isin(root[program.op_tensor], root[program.tensor_pin == AWAY])
    moved = np.bincount(instr, program.op_bytes * here, count)
    written = np.bincount(instr, program.op_bytes * (program.op_write & here), count)
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
