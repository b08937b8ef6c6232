"""A small valid program in JSON with every field explained: two layers of a perceptron."""

from __future__ import annotations

import json
from typing import Any

from ...core.problem import Template
from .hardware import DEFAULT
from .loaders import JSON_FORMAT

FIELDS = {
    "format": "needed. The format's name and version.",
    "name": "The program's name. Default: the file's.",
    "dead_end": "Where no action is legal: backup, terminate or reserve. Default: backup.",
    "hw.profile": f"Hardware that gives what hw does not say. Default: {DEFAULT}.",
    "hw.cap": "Fast memory: bytes, 64KiB, or a fraction of the program's peak. Default: 1/4.",
    "hw.align": "Offsets in fast memory are multiples of it, in bytes. Default: the profile's.",
    "hw.bw_slow": "Bandwidth of slow memory, bytes/s. Default: the profile's.",
    "hw.bw_fast_r": "Bandwidth of reads of fast memory, bytes/s. Default: the profile's.",
    "hw.bw_fast_w": "Bandwidth of writes to fast memory, bytes/s. Default: the profile's.",
    "hw.copy_scale": "Speed of copies, in parts of bw_slow. Default: the profile's.",
    "hw.peak_flops": "Operations/s that instructions reach. Default: the profile's.",
    "tensors[].name": "needed. The tensor's name, unique.",
    "tensors[].size": "needed. Bytes. Buffers below 4 KiB stay in slow memory.",
    "tensors[].kind": "needed. arg or const (there at the start), out (there at the end), tmp.",
    "tensors[].alias": "The tensor whose storage it shares. Default: storage of its own.",
    "tensors[].pin": "free, slow (never in fast memory), host (in the host's). Default: free.",
    "instrs[].name": "needed. The instruction's name; they stand in order of execution.",
    "instrs[].compute_s": "Seconds of computation. Default: flops / peak_flops.",
    "instrs[].flops": "Operations. Default: 0.",
    "instrs[].ops[].tensor": "needed. A tensor that the instruction reads or writes.",
    "instrs[].ops[].rw": "needed. r or w.",
    "instrs[].ops[].bytes": "Bytes read or written. Default: the tensor's size.",
    "loops[].first": "needed. First instruction of a loop's body, its name or index from 0.",
    "loops[].last": "needed. Last instruction of the body.",
    "loops[].trips": "needed. Times that the body runs.",
}


def template() -> Template:
    """Return a program to start one's own from.

    Its key "explained" (which readers pass over) says what each field is.
    """
    document = {"explained": FIELDS, **_program()}
    command = "solve memory_mapping {file} --with greedy --budget 1 --out plan.json"
    return Template("program.json", json.dumps(document, indent=1) + "\n", FIELDS, command)


def _program() -> dict[str, Any]:
    """Return two layers on a batch of 32 rows, and an update of the second layer's weights."""
    tensors: list[dict[str, Any]] = [
        {"name": "x", "size": 131072, "kind": "arg"},
        {"name": "w1", "size": 262144, "kind": "const"},
        {"name": "hidden", "size": 32768, "kind": "tmp"},
        {"name": "active", "size": 32768, "kind": "tmp", "alias": "hidden"},
        {"name": "w2", "size": 65536, "kind": "const", "pin": "free"},
        {"name": "y", "size": 32768, "kind": "out"},
    ]
    instrs: list[dict[str, Any]] = [
        _instr("layer_1", {"x": "r", "w1": "r", "hidden": "w"}, flops=16.8e6),
        _instr("relu", {"hidden": "r", "active": "w"}, compute_s=1e-8),
        _instr("layer_2", {"active": "r", "w2": "r", "y": "w"}, flops=4.2e6),
    ]
    instrs[2]["ops"][1]["bytes"] = 65536
    return {
        "format": JSON_FORMAT,
        "name": "two_layers",
        "dead_end": "backup",
        "hw": {
            "profile": DEFAULT,
            "cap": "256KiB",
            "align": 512,
            "bw_slow": 614e9,
            "bw_fast_r": 2456e9,
            "bw_fast_w": 2456e9,
            "copy_scale": 1.0,
            "peak_flops": 82.8e12,
        },
        "tensors": tensors,
        "instrs": instrs,
        "loops": [{"first": "layer_1", "last": "layer_2", "trips": 4}],
    }


def _instr(name: str, ops: dict[str, str], **cost: float) -> dict[str, Any]:
    return {"name": name, **cost, "ops": [{"tensor": t, "rw": rw} for t, rw in ops.items()]}
