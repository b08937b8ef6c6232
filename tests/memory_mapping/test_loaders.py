"""Program JSON, packing problems and PyTorch models, and how bad ones are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sysopt_gym.core.errors import InstanceError, UnknownNameError
from sysopt_gym.core.instance import save_archive
from sysopt_gym.core.notes import InputNote
from sysopt_gym.datasets.memory_mapping.instance import OUT, Program, accesses
from sysopt_gym.datasets.memory_mapping.loaders import load_file, load_json, to_json
from sysopt_gym.datasets.memory_mapping.packing import FREE, Gap, load_packing, packing_faults

Make = Callable[..., Program]


def document() -> dict[str, Any]:
    return {
        "format": "sysopt-gym program 1",
        "name": "two",
        "hw": {"cap": "64KiB", "align": 64, "bw_slow": 1e9, "bw_fast_r": 4e9, "bw_fast_w": 4e9},
        "tensors": [
            {"name": "x", "size": 20000, "kind": "arg"},
            {"name": "y", "size": 20000, "kind": "tmp"},
            {"name": "z", "size": 20000, "kind": "out", "alias": "y", "pin": "free"},
        ],
        "instrs": [
            {"name": "one", "compute_s": 1e-6, "ops": [
                {"tensor": "x", "rw": "r"}, {"tensor": "y", "rw": "w", "bytes": 10000}]},
            {"name": "two", "flops": 1e6, "repeat": 2, "ops": [
                {"tensor": "y", "rw": "r"}, {"tensor": "z", "rw": "w"}]},
        ],
    }  # fmt: skip


def read(value: Any, **arguments: Any) -> Program:
    return load_json("p.json", "p", json.dumps(value), **arguments)


def test_a_json_program_says_what_it_is() -> None:
    p = read(document())
    assert (p.name, p.capacity, p.alignment, p.slow_bw) == ("two", 65536, 64, 1e9)
    assert p.op_bytes.tolist() == [20000, 10000, 20000, 20000]
    assert p.tensor_alias.tolist() == [-1, -1, 1]
    assert p.instr_repeat.tolist() == [1, 2]


STATED = [
    ([{"first": "one", "last": "two", "trips": 3}], [(0, 1, 3)]),
    ([{"first": 1, "last": "two", "trips": 2}, {"first": 0, "last": 1, "trips": 3}],
     [(0, 1, 3), (1, 1, 2)]),
    ([{"first": 0, "last": 1, "trips": 3}, {"first": 0, "last": 1, "trips": 2}], [(0, 1, 6)]),
    ([{"first": 0, "last": 1, "trips": 1}], []),
    ([], []),
]  # fmt: skip


@pytest.mark.parametrize(("stated", "loops"), STATED)
def test_json_states_loops_by_name_or_index(
    stated: list[dict[str, Any]], loops: list[tuple[int, int, int]]
) -> None:
    whole = document()
    del whole["instrs"][1]["repeat"]
    assert read(whole | {"loops": stated}).loops == loops


def test_a_loop_of_no_trips_leaves_nothing_of_its_body() -> None:
    whole = document()
    whole["instrs"].insert(1, {"name": "never", "ops": [{"tensor": "x", "rw": "r"}]})
    whole["instrs"][2]["repeat"] = 4
    p = read(whole | {"loops": [
        {"first": "never", "last": "never", "trips": 0},
        {"first": "never", "last": "two", "trips": 4},
    ]})  # fmt: skip
    assert p.instr_names == ("one", "two")
    assert p.loops == [(1, 1, 4)]


def test_the_capacity_asked_for_goes_before_the_files() -> None:
    assert read(document(), capacity="32KiB").capacity == 32768


@given(seed=st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_a_program_survives_json_with_its_decisions(tiny_program: Make, seed: int) -> None:
    program = tiny_program(seed)
    again = load_json("p", "p", to_json(program))
    for field in ("tensor_size", "tensor_kind", "tensor_alias", "tensor_pin", "op_tensor",
                  "op_bytes", "op_write", "instr_compute_s", "loop_first", "loop_last",
                  "loop_trips"):  # fmt: skip
        assert np.array_equal(getattr(again, field), getattr(program, field))
    assert (again.capacity, again.slow_bw) == (program.capacity, program.slow_bw)


def test_the_example_of_the_familys_page_is_a_program() -> None:
    page = (Path(__file__).parents[2] / "docs" / "memory_mapping.md").read_text()
    example = page.partition("```json\n")[2].partition("```")[0]
    assert load_json("docs", "docs", example).n_decisions == 3


def changed(path: str, value: Any) -> dict[str, Any]:
    whole = document()
    at: Any = whole
    *steps, last = path.split(".")
    for step in steps:
        at = at[int(step)] if step.isdigit() else at[step]
    if value == "REMOVED":
        del at[last]
    else:
        at[int(last) if last.isdigit() else last] = value
    return whole


REFUSED = [
    ("format", "something", "format: is 'something'"),
    ("tensors", "REMOVED", "the field 'tensors' is missing"),
    ("tensors.0.size", "big", r"tensors\[0\].size: is a text, expected a whole number"),
    ("tensors.0.size", -1, r"tensors\[0\].size: is -1, outside"),
    ("tensors.1.name", "x", r"tensors\[1\].name: 'x' stands twice"),
    ("tensors.1.kind", "temp", r"tensors\[1\].kind: is 'temp', expected one of arg, const"),
    ("tensors.2.alias", "w", r"tensors\[2\].alias: no tensor 'w'"),
    ("tensors.1.alias", "z", "aliases of tensor 'y' go in a circle"),
    ("instrs.0.ops.0.tensor", "q", r"instrs\[0\].ops\[0\].tensor: no tensor 'q'"),
    ("instrs.0.ops.0.rw", "rw", r"ops\[0\].rw: is 'rw', expected one of r, w"),
    ("instrs.0.compute_s", -1, r"instrs\[0\].compute_s: is -1, outside"),
    ("instrs.1.repeat", 0, r"instrs\[1\].repeat: is 0, outside"),
    ("loops", [{"first": 0, "last": 1}], "the field 'trips' is missing"),
    ("loops", [{"first": 0, "last": "three", "trips": 2}], r"loops\[0\].last: no instruction has"),
    ("loops", [{"first": 0, "last": 2, "trips": 2}], r"loops\[0\].last: is 2, outside 0..1"),
    ("loops", [{"first": 1, "last": 0, "trips": 2}], "loops: loop 0, .* is empty"),
    ("loops", [{"first": 1, "last": 1, "trips": 3}], r"instrs\[1\].repeat: is 2, but .* make 3"),
    ("instrs", [], "no instructions"),
    ("hw.cap", 0, "cannot be used"),
    ("hw.cap", 4096, "larger than fast memory"),
    ("hw.bw_slow", 0, "hw.bw_slow: is 0, outside"),
    ("dead_end", "maybe", "dead_end: is 'maybe'"),
]


@pytest.mark.parametrize(("path", "value", "why"), REFUSED)
def test_bad_json_is_refused_with_its_place(path: str, value: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read(changed(path, value))


def test_json_that_is_none_is_refused_by_line() -> None:
    with pytest.raises(InstanceError, match="line 1, column"):
        load_json("p.json", "p", '{"format": ')
    with pytest.raises(InstanceError, match="NaN, which is no quantity"):
        load_json("p.json", "p", '{"format": NaN}')


def test_what_the_library_saved_is_read_back(tiny_program: Make, tmp_path: Path) -> None:
    program = tiny_program(4)
    program.save(tmp_path / "p.npz")
    assert load_file(tmp_path / "p.npz").content_hash == program.content_hash
    save_archive([program], tmp_path / "one.zip")
    assert load_file(tmp_path / "one.zip").content_hash == program.content_hash
    save_archive([program, program], tmp_path / "two.zip")
    with pytest.raises(InstanceError, match="a set of 2 instances"):
        load_file(tmp_path / "two.zip")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not a known format"),
        (b"\xff\xfe\x00", "neither text nor a known binary format"),
        (b"hello", "not a known format"),
        (b"PK\x03\x04broken", "damaged"),
        (b"id,lower,upper,size\n0,0,1,5\n", "a packing problem"),
        (b"size,begin,end,gaps,buffer\n8,0,1,,a\n", "a packing problem"),
    ],
)
def test_files_of_no_known_kind_are_refused(tmp_path: Path, data: bytes, why: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(InstanceError, match=why):
        load_file(path)


def test_unknown_hardware_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text(json.dumps({**document(), "hw": {"profile": "abacus"}}))
    with pytest.raises(UnknownNameError, match="hardware profile 'abacus'"):
        load_file(path)


def write_csv(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "A.100.csv"
    path.write_text(text)
    return path


def test_a_packing_problem_is_read_with_its_capacity(tmp_path: Path) -> None:
    packing = load_packing(
        write_csv(tmp_path, "id,lower,upper,size\na,0,5,60\nb,5,9,70\nc,0,9,20\n")
    )
    assert packing.capacity == 100
    assert packing.peak_load == 90
    assert packing_faults(packing, np.array([0, 0, 70]), 100) == []
    assert packing_faults(packing, np.array([0, 0, 60]), 100) == ["c and b overlap"]
    assert "beyond" in packing_faults(packing, np.array([0, 40, 70]), 100)[0]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("id,lower,size\na,0,1\n", "column 'upper' is missing"),
        ("id,lower,upper,size\na,0,5\n", "row 2: has 3 columns"),
        ("id,lower,upper,size\na,0,5,x\n", "row 2, column 'size': is 'x'"),
        ("id,lower,upper,size\na,5,5,1\n", "row 2, column 'lower': lower must be less than upper"),
        ("id,lower,upper,size\na,0,5,1\na,0,5,1\n", "row 3, column 'id': 'a' is in row 2 too"),
        ("id,lower,upper,size\n", "no rows"),
        ("", "is empty; the first line must name the columns"),
    ],
)
def test_bad_packing_problems_are_refused_by_row(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(InstanceError, match=why):
        load_packing(write_csv(tmp_path, text))


@pytest.mark.parametrize(
    ("header", "late"),
    [
        ("buffer,start,size,upper", 0),
        ("buffer_id,begin,size,upper", 0),
        ("ID,Lower,Size (bytes),end", 1),
    ],
)
def test_columns_of_a_packing_problem_have_minimallocs_names(
    tmp_path: Path, header: str, late: int
) -> None:
    rows = f"a,-2,60,{5 - late}\nb,5,70,{9 - late}\n"
    packing = load_packing(write_csv(tmp_path, f"{header}\n{rows}"))
    assert packing.lower.tolist() == [-2, 5]
    assert packing.upper.tolist() == [5, 9]  # `end` is the last time alive
    assert packing.peak_load == 70


def test_gaps_alignments_and_offsets_are_read(tmp_path: Path) -> None:
    text = (
        "id,begin,end,size,alignment,gaps,offset\n"
        "a,0,19,64,8,3-6 10-12@16:32 18-40,\nb,0,4,10,,,24\nc,2,2,4,4,,\n"
    )
    packing = load_packing(write_csv(tmp_path, text))
    # The ends of gaps are inclusive where those of lives are; gaps end with the life.
    assert packing.gaps == (Gap(0, 3, 7), Gap(0, 10, 13, 16, 32), Gap(0, 18, 20))
    assert packing.alignment.tolist() == [8, 1, 4]
    assert packing.offset.tolist() == [FREE, 24, FREE]
    pieces = [*zip(*(column.tolist() for column in packing.pieces), strict=True)]
    assert [piece[1:] for piece in pieces if piece[0] == 0] == [
        (0, 3, 0, 64), (7, 10, 0, 64), (10, 13, 16, 32), (13, 18, 0, 64)
    ]  # fmt: skip
    assert packing.peak_load == 78


def test_columns_of_a_packing_problem_that_are_not_used_are_said(tmp_path: Path) -> None:
    with pytest.warns(InputNote, match="the columns 'hint', 'color' are not used"):
        load_packing(write_csv(tmp_path, "id,lower,upper,size,hint,color\na,0,5,6,0,red\n"))


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("9,3,1,,", "column 'begin': begin must be at most end"),
        ("0,9,8,3..5,", "column 'gaps': has '3..5'; a gap is FIRST-END"),
        ("0,9,8,5-3,", "column 'gaps': '5-3' ends before it begins"),
        ("0,9,8,1-5 5-6,", "column 'gaps': two gaps have the times from 5 in common"),
        ("0,9,8,1-5@4:9,", "column 'gaps': '1-5@4:9' keeps bytes outside 0:8"),
        ("0,9,8,,12", "column 'offset': is 12, not a multiple of the alignment 8"),
        ("0,9,8,,-8", "column 'offset': is -8"),
    ],
)
def test_bad_gaps_and_offsets_are_refused_by_row(tmp_path: Path, row: str, why: str) -> None:
    text = f"id,begin,end,size,gaps,offset,alignment\na,{row},8\n"
    with pytest.raises(InstanceError, match=f"row 2, {why}"):
        load_packing(write_csv(tmp_path, text))


def test_two_columns_of_one_meaning_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InstanceError, match="'upper' and 'end' both say 'upper'; drop one"):
        load_packing(write_csv(tmp_path, "id,lower,upper,end,size\na,0,5,6,7\n"))


def make_model() -> Any:
    import torch

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up = torch.nn.Linear(64, 256)
            self.down = torch.nn.Linear(256, 64)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            left, right = torch.relu(self.up(x)).view(32, 2, 128).split(1, 1)
            return self.down(torch.cat([right, left], 1).reshape(32, 256))

    return Model()


def test_a_model_becomes_a_program_whose_views_cost_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from sysopt_gym.datasets.memory_mapping.torch_export import program_of_model

    model, inputs = make_model(), (torch.zeros(32, 64),)
    p = program_of_model(model, inputs, capacity="1MiB")
    assert p.instr_flops.max() == 2 * 32 * 64 * 256
    assert not any("view" in name or "split" in name for name in p.instr_names)
    relu = p.tensor_names.index("relu")
    cat = p.instr_names.index("cat")
    a = accesses(p)
    read = (a.instr == cat) & (a.buffer == a.tensor_buffer[relu])
    assert a.read[read].tolist() == [32 * 256 * 4]  # both halves of one buffer
    assert (p.tensor_kind == OUT).sum() == 1
    torch.export.save(torch.export.export(model, inputs), tmp_path / "m.pt2")
    monkeypatch.setenv("SYSOPT_TRUST", "1")
    assert load_file(tmp_path / "m.pt2", {"capacity": "1MiB"}).instr_names == p.instr_names


def test_an_operator_makes_what_is_read_of_it_and_a_gather_reads_what_it_gathers() -> None:
    import torch
    from sysopt_gym.datasets.memory_mapping.torch_export import program_of_model

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rows = torch.nn.Embedding(1000, 64)

        def forward(self, at: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            largest = torch.nn.functional.max_pool1d(self.rows(at), 2)
            return largest, self.rows.weight.sort(0)[1]

    p = program_of_model(Model(), (torch.zeros(8, 16, dtype=torch.long),), capacity="1MiB")
    gather = p.instr_names.index("embedding")
    table = int(p.tensor_size.argmax())
    reads = slice(int(p.op_start[gather]), int(p.op_start[gather + 1]))
    assert p.op_bytes[reads][p.op_tensor[reads] == 0].tolist() == [8 * 16 * 64 * 4]
    assert p.tensor_size[0] == 1000 * 64 * 4 < p.tensor_size[table]
    made = [name for name in p.tensor_names if name.startswith(("max_pool", "sort"))]
    assert made == ["max_pool2d_with_indices.0", "sort.1"]
    assert [p.tensor_kind[p.tensor_names.index(name)] for name in made] == [OUT, OUT]


def test_a_model_that_torch_refuses_is_refused_with_torchs_reason() -> None:
    import torch
    from sysopt_gym.datasets.memory_mapping.torch_export import program_of_export, program_of_model

    class Branches(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(InstanceError, match=r"refuses the model.*data-dependent"):
        program_of_model(Branches(), (torch.zeros(64, 64),))
    rows = torch.export.Dim("rows")
    shapes = ({0: rows},)
    layer = torch.nn.Linear(64, 64)
    dynamic = torch.export.export(layer, (torch.zeros(8, 64),), dynamic_shapes=shapes)
    from sysopt_gym.datasets.memory_mapping.hardware import load_hardware

    with pytest.raises(InstanceError, match="dynamic shape"):
        program_of_export(dynamic, "rows", load_hardware("tpu-like"))


def test_a_file_that_torch_cannot_load_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import zipfile

    path = tmp_path / "m.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/nothing", "here")
        archive.writestr("nor", "there")
    with pytest.raises(InstanceError, match="an archive of no known format"):
        load_file(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("m/archive_format", "pt2")
    monkeypatch.setenv("SYSOPT_TRUST", "1")
    with pytest.raises(InstanceError, match="cannot load it"):
        load_file(path)
