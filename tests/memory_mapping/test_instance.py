"""What a program is, and which ones are refused and why."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sysopt_gym.core.errors import InstanceError, SettingError, UnknownNameError
from sysopt_gym.datasets.memory_mapping.builder import Builder
from sysopt_gym.datasets.memory_mapping.hardware import hardware_names, load_hardware
from sysopt_gym.datasets.memory_mapping.instance import (
    ARG,
    OUT,
    SLOW,
    TMP,
    Program,
    accesses,
    peak_bytes,
    roofline,
)
from sysopt_gym.datasets.memory_mapping.loops import loop_fault, loops_of_repeats
from sysopt_gym.datasets.memory_mapping.settings import with_settings
from sysopt_gym.datasets.memory_mapping.sizes import read_capacity

KB = 1000
Make = Callable[..., Program]
New = Callable[[], Builder]


def pair(new: New) -> Program:
    builder = new()
    x = builder.tensor("x", 20 * KB, ARG)
    y = builder.tensor("y", 10 * KB, TMP)
    z = builder.tensor("z", 10 * KB, OUT)
    builder.instr("one", [x], [y], flops=1e6)
    builder.instr("two", [y], [z], compute_s=1e-5)
    return builder.build("pair", "1/2")


@given(seed=st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_a_program_survives_its_file_with_its_hash(tiny_program: Make, seed: int) -> None:
    program = tiny_program(seed)
    again = Program.from_bytes(program.to_bytes(), "file")
    assert again.content_hash == program.content_hash
    assert again.name == program.name


def test_the_peak_counts_each_buffer_from_its_first_to_its_last_use(builder: New) -> None:
    assert peak_bytes(pair(builder)) == 30 * KB  # x and y together, then y and z


def test_the_capacity_may_be_a_fraction_of_the_peak(builder: New) -> None:
    program = pair(builder)
    assert program.capacity == 15 * KB
    assert with_settings(program, {"capacity": "2/3"}).capacity == 20 * KB
    assert with_settings(program, {"capacity": "16KiB"}).capacity == 16 * 1024


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [
        ("1048576", 2**20), ("8MiB", 2**23), ("8 mib", 2**23), ("1.5KiB", 1536), ("2MB", 2 * 10**6),
        ("1/4", 25), ("0.25", 25), ("25%", 25), ("1/3", 34), ("1/1", 100), ("1", 1),
    ],
)  # fmt: skip
def test_capacities_are_read_as_people_write_them(text: str, bytes_: int) -> None:
    assert read_capacity(text, lambda: 100) == bytes_


@pytest.mark.parametrize("text", ["", "0", "0MiB", "-1", "1/0", "-1/4", "0/4", "8 bananas", "x%"])
def test_capacities_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(SettingError, match="capacity"):
        read_capacity(text, lambda: 100)


def test_a_buffer_larger_than_fast_memory_stays_in_slow_memory(builder: New) -> None:
    program = pair(builder)  # x has 20 KB, fast memory 15
    a = accesses(program)
    assert a.placeable.tolist() == [False, True, True]
    assert program.n_decisions == 3


def test_small_and_pinned_buffers_are_no_decisions(builder: New) -> None:
    builder_ = builder()
    small, pinned, free = (
        builder_.tensor("small", 4095, ARG),
        builder_.tensor("pinned", 8 * KB, ARG, pin=SLOW),
        builder_.tensor("free", 8 * KB, ARG),
    )
    builder_.instr("one", [small, pinned, free], [])
    assert builder_.build("pins", "100000").n_decisions == 1


def test_tensors_that_share_storage_are_one_buffer(builder: New) -> None:
    builder_ = builder()
    x = builder_.tensor("x", 8 * KB, ARG)
    view = builder_.tensor("view", 4 * KB, ARG, alias=x)
    again = builder_.tensor("again", 4 * KB, OUT, alias=view)
    builder_.instr("one", [x, view], [again])
    a = accesses(builder_.build("views", "100000"))
    assert a.size.tolist() == [8 * KB]
    assert a.read.tolist() == [12 * KB]
    assert a.written.tolist() == [4 * KB]
    assert a.at_start.all() and a.at_end.all() and not a.makes.any()


def test_loops_multiply_time_and_traffic(builder: New) -> None:
    builder_ = builder()
    x = builder_.tensor("x", 8 * KB, ARG)
    with builder_.loop(5):
        builder_.instr("loop", [x], [], compute_s=1e-6)
    program = builder_.build("loop", "100000")
    assert accesses(program).read.tolist() == [40 * KB]
    assert roofline(program).all_slow_s == pytest.approx(40e-6)
    assert roofline(program).all_fast_s == pytest.approx(10e-6)


def test_a_loops_body_is_what_is_built_inside_it(builder: New) -> None:
    builder_ = builder()
    x = builder_.tensor("x", 8 * KB, ARG)
    with builder_.loop(2):
        builder_.instr("a", [x], [])
        with builder_.loop(3):
            with builder_.loop(4):  # around the same instruction: one loop of 12 trips
                builder_.instr("b", [x], [])
            with builder_.loop(0):
                builder_.instr("never", [x], [])
        with builder_.loop(1):
            builder_.instr("c", [x], [])
        with builder_.loop(5):
            pass
    builder_.instr("d", [x], [])
    program = builder_.build("nested", "100000")
    assert program.instr_names == ("a", "b", "c", "d")
    assert program.loops == [(0, 2, 2), (1, 1, 12)]
    assert program.instr_repeat.tolist() == [2, 24, 2, 1]
    assert accesses(program).read.tolist() == [16 * KB, 192 * KB, 16 * KB, 8 * KB]


REPEATS = [
    ([1, 1], []),
    ([5, 5, 1, 5], [(0, 1, 5), (3, 3, 5)]),
    ([2, 6, 6, 2], [(0, 3, 2), (1, 2, 3)]),
    ([2, 3], [(0, 0, 2), (1, 1, 3)]),
    ([2, 12, 6, 5, 4], [(0, 2, 2), (1, 2, 3), (1, 1, 2), (3, 3, 5), (4, 4, 4)]),
]


@pytest.mark.parametrize(("repeats", "expected"), REPEATS)
def test_neighbors_that_are_repeated_are_a_loop(
    repeats: list[int], expected: list[tuple[int, int, int]]
) -> None:
    assert loops_of_repeats(repeats) == expected


@given(st.lists(st.sampled_from([1, 1, 2, 3, 4, 6, 12, 35]), min_size=1, max_size=12))
@settings(max_examples=200, deadline=None)
def test_loops_of_repeats_execute_everything_as_often_as_said(repeats: list[int]) -> None:
    found = loops_of_repeats(repeats)
    executions = [1] * len(repeats)
    for loop in found:
        for row in range(loop.first, loop.last + 1):
            executions[row] *= loop.trips
    assert executions == repeats
    assert loop_fault(found) == ""


def test_a_file_from_before_loops_is_still_read(tiny_program: Make) -> None:
    program = tiny_program(3)
    with np.load(io.BytesIO(program.to_bytes())) as archive:
        arrays = {name: archive[name] for name in archive.files if not name.startswith("loop_")}
    meta = json.loads(str(arrays.pop("meta"))) | {"schema": 1}
    repeat = np.ones(program.n_instrs, np.int64)
    repeat[2:4] = 3
    old = io.BytesIO()
    np.savez(old, meta=np.array(json.dumps(meta)), instr_repeat=repeat, **arrays)
    assert Program.from_bytes(old.getvalue(), "old.npz").loops == [(2, 3, 3)]


def test_other_hardware_changes_the_times_of_known_flops_only(builder: New) -> None:
    program = with_settings(pair(builder), {"hardware": "gpu-like"})
    machine = load_hardware("gpu-like")
    assert program.instr_compute_s.tolist() == [1e6 / machine.flops, 1e-5]
    assert program.slow_bw == machine.slow_bw
    assert program.capacity == 15 * KB


def test_every_hardware_profile_says_where_its_numbers_come_from() -> None:
    for name in hardware_names():
        assert "Assumed" in load_hardware(name).source
    with pytest.raises(UnknownNameError, match="tpu-like"):
        load_hardware("tpu-lik")


def loops(*bodies: tuple[int, int, int]) -> dict[str, Any]:
    rows = np.array(bodies, np.int64).T
    return dict(zip(("loop_first", "loop_last", "loop_trips"), rows, strict=True))


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"capacity": 0}, "capacity is 0 bytes; fast memory needs some"),
    ({"capacity": 4096}, "every operand is larger than fast memory"),
    ({"alignment": 10**9}, "alignment is"),
    ({"slow_bw": 0.0}, "slow_bw is 0 bytes/s; give a positive"),
    ({"fast_read_bw": float("nan")}, "fast_read_bw is nan"),
    ({"dead_end": "pray"}, "dead_end 'pray' is unknown"),
    ({"tensor_size": np.array([20000, -1, 10000])}, r"tensor_size\[1\] is -1"),
    ({"tensor_size": np.array([2e4, 1e4, 1e4])}, "tensor_size has dtype float64"),
    ({"tensor_size": np.array([1])}, r"tensor_size has shape \(1,\)"),
    ({"tensor_alias": np.array([1, 2, 0])}, "aliases of tensor 'x' go in a circle"),
    ({"tensor_alias": np.array([0, -1, -1])}, "aliases of tensor 'x' go in a circle"),
    ({"tensor_alias": np.array([1, -1, -1])}, "more than 'y' whose storage it shares"),
    ({"tensor_pin": np.ones(3, np.int8)}, "every operand is pinned"),
    ({"tensor_kind": np.array([2, 2, 3], np.int8)}, "'x' is read before it is written"),
    ({"tensor_kind": np.array([0, 1, 3], np.int8)}, "'y' is a constant; nothing may write it"),
    ({"instr_compute_s": np.array([np.inf, 0.0])}, r"instr_compute_s\[0\] is inf"),
    (loops((0, 0, 1)), r"loop_trips\[0\] is 1, .*runs once is no loop"),
    (loops((1, 0, 2)), "loop 0, instructions 1 to 0, is empty"),
    (loops((1, 1, 2), (0, 0, 2)), "loop 1, .* begins before loop 0; sort"),
    (loops((0, 1, 2), (0, 1, 2)), "loop 1, .* is all of loop 0"),
    (loops((0, 0, 2), (0, 1, 2)), "loop 1, .* and loop 0, .*, overlap; nest"),
    (loops((0, 1, 10**6), (1, 1, 10**6)), "executed 1000000000000 times in all"),
    (
        {"instr_compute_s": np.array([1.0, 1.0])} | loops((0, 1, 10**6)),
        "may take .* seconds, more than 1000000; lower",
    ),
    ({"op_start": np.array([0, 3, 2])}, "op_start must rise"),
    ({"op_write": np.array([True, False, False, True])}, "is read after a write"),
    ({"op_tensor": np.array([0, 9, 1, 2])}, r"op_tensor\[1\] is 9"),
    ({"op_tensor": np.array([1, 1, 1, 2])}, "'y' is read before it is written"),
    ({"tensor_names": ("x", "x", "z")}, "'x' appears twice"),
]


@pytest.mark.parametrize(("changes", "why"), REFUSED)
def test_impossible_programs_are_refused_with_place_and_remedy(
    builder: New, changes: dict[str, Any], why: str
) -> None:
    with pytest.raises(InstanceError, match=why):
        dataclasses.replace(pair(builder), **changes)


def test_a_program_without_decisions_is_refused(builder: New) -> None:
    builder_ = builder()
    builder_.instr("one", [builder_.tensor("x", 100, ARG)], [])
    with pytest.raises(InstanceError, match="nothing is to be decided"):
        builder_.build("none", "100000")
    with pytest.raises(InstanceError, match="no instructions"):
        builder().build("empty", "100000")


def test_a_capacity_below_the_alignment_is_refused(builder: New) -> None:
    program = dataclasses.replace(pair(builder), alignment=512)
    with pytest.raises(SettingError, match="less than the alignment"):
        with_settings(program, {"capacity": "256"})


def test_a_damaged_file_is_refused(tiny_program: Make, tmp_path: Path) -> None:
    path = tmp_path / "p.npz"
    tiny_program(1).save(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InstanceError, match=r"p\.npz: damaged"):
        Program.load(path)
