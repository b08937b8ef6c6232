"""What tests ask of a program: its FLOPs, an instruction's operands, the storage of a tensor."""

from __future__ import annotations

from sysopt_gym.datasets.memory_mapping.instance import Program


def flops(program: Program) -> float:
    return float((program.instr_flops * program.instr_repeat).sum())


def operands(program: Program, instr: str) -> list[tuple[str, int, str]]:
    """Tensor, bytes and direction of the operands of an instruction that count."""
    row = program.instr_names.index(instr)
    return [
        (program.tensor_names[program.op_tensor[op]], int(program.op_bytes[op]),
         "w" if program.op_write[op] else "r")
        for op in range(int(program.op_start[row]), int(program.op_start[row + 1]))
        if program.tensor_size[program.op_tensor[op]] > 64
    ]  # fmt: skip


def storage(program: Program, tensor: str) -> str:
    row = program.tensor_names.index(tensor)
    while program.tensor_alias[row] >= 0:
        row = int(program.tensor_alias[row])
    return program.tensor_names[row]
