"""Bad contents of files, archives and settings: each ends in one clear error, soon and in little
memory, whichever family reads it."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sysopt_gym.core.errors import InstanceError, SysOptError
from sysopt_gym.core.registry import FAMILIES, load_problem
from sysopt_gym.core.sources import apply_settings, find_instances

MOST_TEXT = 6000  # characters of a message, which may repeat one value of the user's
SOON_S = 15.0  # of CPU time; the slowest takes 5 s on a quiet core
HLO = "HloModule m, is_scheduled=true\n\n"
F = "f32[1024]{0}"


@pytest.fixture(autouse=True)
def soon() -> Iterator[None]:
    start = time.process_time()
    yield
    assert time.process_time() - start < SOON_S


def refusal(family: str, path: Path, content: str | bytes) -> str:
    """Writes a file that must be refused, and returns the message without the file's name."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InstanceError) as found:
        find_instances(load_problem(family), str(path), {})
    assert path.name in str(found.value)
    assert len(str(found.value)) < MOST_TEXT
    return str(found.value)


def entry(*lines: str) -> str:
    return HLO + "ENTRY e {\n" + "".join(f"  {line}\n" for line in lines) + "}\n"


def doubled_calls(levels: int) -> str:
    text = HLO
    for k in range(levels):
        made = f"call(p), to_apply=c{k - 1}" if k else "negate(p)"
        again = f"call(a), to_apply=c{k - 1}" if k else "negate(a)"
        text += f"c{k} {{\n  p = {F} parameter(0)\n  a = {F} {made}\n  ROOT b = {F} {again}\n}}\n\n"
    return (
        text
        + entry(f"p = {F} parameter(0)", f"ROOT r = {F} call(p), to_apply=c{levels - 1}")[
            len(HLO) :
        ]
    )


def doubled_fusions(levels: int) -> str:
    text = doubled_calls(levels)
    for k in range(levels):
        text = text.replace(f"call(p), to_apply=c{k}", f"fusion(p), kind=kLoop, calls=c{k}")
        text = text.replace(f"call(a), to_apply=c{k}", f"fusion(a), kind=kLoop, calls=c{k}")
    return text


def doubled_tuples(levels: int) -> str:
    lines = [f"p = {F} parameter(0)", "t0 = tuple(p, p)"]
    lines += [f"t{k} = tuple(t{k - 1}, t{k - 1})" for k in range(1, levels)]
    return entry(*lines, f"ROOT r = tuple(t{levels - 1})")


LOOP = (
    HLO + f"b {{\n  p = ({F}) parameter(0)\n  g = {F} get-tuple-element(p), index=0\n"
    f"  n = {F} negate(g)\n  ROOT t = ({F}) tuple(n)\n}}\n\n"
    f"c {{\n  p = ({F}) parameter(0)\n  ROOT k = pred[] constant(true)\n}}\n\n"
    f"ENTRY e {{\n  p = {F} parameter(0)\n  t = ({F}) tuple(p)\n"
    f"  w = ({F}) while(t), condition=c, body=b, "
    'backend_config={"known_trip_count":{"n":"TRIPS"}}\n'
    f"  ROOT g = {F} get-tuple-element(w), index=0\n}}\n"
)
RECURSIVE = (
    HLO + f"c0 {{\n  p = {F} parameter(0)\n  ROOT b = {F} call(p), to_apply=c0\n}}\n\n"
    f"ENTRY e {{\n  p = {F} parameter(0)\n  ROOT r = {F} call(p), to_apply=c0\n}}\n"
)
TEXTS_OF_HLO = {
    "calls that double": (doubled_calls(40), "too large to be laid out"),
    "fusions that double": (doubled_fusions(40), "too large to be laid out"),
    "tuples that double": (doubled_tuples(60), "too large to be laid out"),
    "a computation in itself": (RECURSIVE, "contains itself"),
    "calls 2,000 deep": (doubled_calls(2000), "too large|too deep"),
    "tuples 5,000 deep": (
        entry("ROOT p = " + "(" * 5000 + "f32[4]" + ")" * 5000 + " parameter(0)"),
        "line 4: tuples are nested more than 50 deep",
    ),
    "200,000 beginnings of comments": (
        entry("ROOT p = f32[4] " + "/*" * 200_000 + " parameter(0)"), "line 4",
    ),
    "200,000 comments never closed": (entry("ROOT p = f32[4] /" + " /*-" * 200_000), "line 4"),
    "200,000 strings never closed": (entry('ROOT p = f32[4] "' + '\\"' * 200_000), "line 4"),
    "a head of 40,000 arrows": (
        HLO + "ENTRY e (" + "( -> " * 40_000 + "\n  ROOT p = f32[4] parameter(0)\n}\n", "no ENTRY",
    ),
    "a statement of 50,000 lines": (entry("ROOT p = (" + "\n(" * 50_000), "line"),
    "a head of 50,000 lines": ("HloModule m," + "\n," * 50_000, "not scheduled"),
    "sizes beyond 64 bits": (
        entry("p = f32[99999999999,99999999999] parameter(0)", "ROOT q = f32[4] negate(p)"),
        "line 4: .*more than",
    ),
    "a size of 5,000 digits": (
        entry(f"p = f32[{'9' * 5000}] parameter(0)", "ROOT q = f32[4] negate(p)"), "line 4",
    ),
    "10,000 dimensions": (
        entry(f"p = f32[{','.join(['9'] * 10_000)}] parameter(0)", "ROOT q = f32[4] negate(p)"),
        "line 4: .*no shape",
    ),
    "a parameter of 5,000 digits": (
        entry(f"ROOT p = {F} parameter({'9' * 5000})"), "",
    ),
    "1e20 trips": (LOOP.replace("TRIPS", "9" * 20), r"loop_trips\[0\].*lower"),
    "trips of 5,000 digits": (LOOP.replace("TRIPS", "9" * 5000), r"loop_trips\[0\].*lower"),
}  # fmt: skip


@pytest.mark.parametrize("kind", TEXTS_OF_HLO)
def test_text_of_hlo_that_cannot_be_laid_out_is_refused(kind: str, tmp_path: Path) -> None:
    text, says = TEXTS_OF_HLO[kind]
    message = refusal("memory_mapping", tmp_path / "m.hlo.txt", text)
    assert re.search(says, message), message


def program(**changes: Any) -> dict[str, Any]:
    """A document of a program of three tensors and two instructions, with fields changed."""
    document: dict[str, Any] = {
        "format": "sysopt-gym program 1", "name": "two",
        "hw": {"cap": "64KiB", "align": 64, "bw_slow": 1e9, "bw_fast_r": 4e9, "bw_fast_w": 4e9},
        "tensors": [{"name": n, "size": 20000, "kind": k}
                    for n, k in (("x", "arg"), ("y", "tmp"), ("z", "out"))],
        "instrs": [
            {"name": "one", "ops": [{"tensor": "x", "rw": "r"}, {"tensor": "y", "rw": "w"}]},
            {"name": "two", "ops": [{"tensor": "y", "rw": "r"}, {"tensor": "z", "rw": "w"}]},
        ],
    }  # fmt: skip
    for path, value in changes.items():
        at: Any = document
        *steps, last = (int(step) if step.isdecimal() else step for step in path.split("__"))
        for step in steps:
            at = at[step]
        at[last] = value
    return document


PROGRAMS = {
    "aliases in a circle": (program(tensors__1__alias="z", tensors__2__alias="y"), "in a circle"),
    "an alias of itself": (program(tensors__1__alias="y"), "in a circle"),
    "bytes that overflow": (
        program(instrs__1__repeat=10**9, instrs__1__ops__0__bytes=10**13), "move 1e.22 bytes",
    ),
    "a bandwidth of 1e-9": (program(hw__bw_slow=1e-9), "may take .* seconds"),
    "days of computing, again and again": (
        program(instrs__0__compute_s=1e6, instrs__0__repeat=10**9), r"instrs\[0\].compute_s",
    ),
    "an hour of computing, again and again": (
        program(instrs__0__compute_s=3600, instrs__0__repeat=10**9), "may take .* seconds",
    ),
    "a size beyond 64 bits": (program(tensors__0__size=10**30), r"tensors\[0\].size"),
    "a size of 5,000 digits": (
        json.dumps(program(tensors__0__size=0)).replace(
            '"size": 0', f'"size": {"9" * 5000}'
        ), "",
    ),
    "trips that multiply": (
        program(loops=[{"first": 0, "last": 1, "trips": 10**9} for _ in range(50)]), "executed",
    ),
    "numbers of executions that are of no loops": (
        {**program(), "instrs": [
            {**program()["instrs"][0], "name": f"{k}", "repeat": prime}
            for k, prime in enumerate(k for k in range(2, 600) if all(k % d for d in range(2, k)))
        ]}, "state the loops",
    ),
    "many tensors of the largest size": (
        {**program(), "tensors": [*program()["tensors"], *(
            {"name": f"t{k}", "size": 2**46, "kind": "tmp"} for k in range(20_000))]},
        "bytes together",
    ),
    "a capacity beyond 64 bits": (program(hw__cap="9" * 30), "capacity"),
    "a capacity with an exponent": (program(hw__cap="1e999999999%"), "capacity"),
}  # fmt: skip


@pytest.mark.parametrize("kind", PROGRAMS)
def test_an_impossible_program_is_refused(kind: str, tmp_path: Path) -> None:
    document, says = PROGRAMS[kind]
    text = document if isinstance(document, str) else json.dumps(document)
    path = tmp_path / "p.json"
    path.write_text(text)
    with pytest.raises(SysOptError, match=says) as found:
        find_instances(load_problem("memory_mapping"), str(path), {})
    assert len(str(found.value)) < MOST_TEXT


def test_ten_thousand_loops_are_read_soon(tmp_path: Path) -> None:
    instrs = [{**program()["instrs"][0], "name": f"i{k}"} for k in range(10_000)]
    loops = [{"first": k, "last": f"i{k}", "trips": 2} for k in range(10_000)]
    (tmp_path / "p.json").write_text(json.dumps({**program(), "instrs": instrs, "loops": loops}))
    (read,) = find_instances(load_problem("memory_mapping"), str(tmp_path / "p.json"), {})
    assert len(read.loops) == 10_000


PACKINGS = {
    "sizes that overflow": ("p.csv", "".join(f"b{k},0,9,{2**60}\n" for k in range(40)), "together"),
    "a size of 5,000 digits": ("p.csv", f"b,0,9,{'9' * 5000}\n", "row 2, column 'size'"),
    "a capacity of 200 digits": (f"x.{'9' * 200}.csv", "b,0,9,5\n", "its name gives a capacity"),
}


@pytest.mark.parametrize("kind", PACKINGS)
def test_an_impossible_packing_problem_is_refused(kind: str, tmp_path: Path) -> None:
    from sysopt_gym.datasets.memory_mapping.packing import load_packing

    name, rows, says = PACKINGS[kind]
    (tmp_path / name).write_text("id,lower,upper,size\n" + rows)
    with pytest.raises(InstanceError, match=says):
        load_packing(tmp_path / name)


def snapshot(hosts: list[dict[str, Any]], vms: list[dict[str, Any]]) -> str:
    return json.dumps({"cluster_list": [{"host_info": hosts, "vm_instance": vms}]})


def host(nodes: int, **fields: Any) -> dict[str, Any]:
    numa = [{"node": k, "total_cpu": 64, "memory_total_mb": 1000} for k in range(nodes)]
    return {"node_id": "h", "rack_id": "r", "numa": numa} | fields


def vm(nodes: int, **fields: Any) -> dict[str, Any]:
    numa = [{"node": k, "cpu": 1, "mem_mb": 1} for k in range(nodes)]
    return {"instance_id": "v", "host_id": "h", "numa": numa} | fields


SNAPSHOTS = {
    "a VM of 32 parts on 64 nodes": (snapshot([host(64)], [vm(32)]), "more than 2000 places"),
    "a host of 10,000 nodes": (snapshot([host(10_000)], [vm(1)]), "10000 NUMA nodes"),
    "a VM of 10,000 parts": (snapshot([host(2)], [vm(10_000)]), "10000 NUMA nodes"),
    "negative CPU": (
        snapshot([host(1)], [vm(1, numa=[{"node": 0, "cpu": -5, "mem_mb": 1}])]), "cpu: is -5",
    ),
    "CPU beyond 64 bits": (
        snapshot([host(1)], [vm(1, numa=[{"node": 0, "cpu": 10**30, "mem_mb": 1}])]), "cpu: is 1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", SNAPSHOTS)
def test_an_impossible_snapshot_is_refused(kind: str, tmp_path: Path) -> None:
    text, says = SNAPSHOTS[kind]
    assert says in refusal("vm_rescheduling", tmp_path / "s.json", text)


@pytest.mark.parametrize(
    ("hosts", "vms"),
    [
        (f"h,8,8,{'9' * 5000}", "v,h,1,1"),
        (f"h,{'9' * 5000},8,1", "v,h,1,1"),
        ("h,8,8,1", f"v,h,{'9' * 5000},1"),
        ("h,8,8,1", f"v,h,{'1+' * 10_000}1,1"),
    ],
)
def test_tables_of_hosts_with_endless_numbers_are_refused(
    hosts: str, vms: str, tmp_path: Path
) -> None:
    (tmp_path / "hosts.csv").write_text(f"host,cpu,memory_mb,nodes\n{hosts}\n")
    (tmp_path / "vms.csv").write_text(f"vm,host,cpu,memory_mb\n{vms}\n")
    with pytest.raises(InstanceError, match="row 2"):
        find_instances(load_problem("vm_rescheduling"), str(tmp_path), {})


def test_a_trace_that_is_no_text_is_refused(tmp_path: Path) -> None:
    nodes = "sn,cpu_milli,memory_mib,gpu,model\nn0,96000,393216,0,\n"
    pods = (
        "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,creation_time,deletion_time,"
        "scheduled_time\np0,1000,1000,0,0,,0,9,1\n"
    )
    (tmp_path / "nodes.csv").write_text(nodes)
    assert "UTF-8" in refusal(
        "vm_rescheduling", tmp_path / "pods.csv", pods.replace("p0", "p\xff").encode("latin-1")
    )


def archived(family: str, **changes: Any) -> bytes:
    """A saved instance of a family, with fields replaced whatever they were."""
    data = load_problem(family).warm_up_instance().to_bytes()
    with np.load(io.BytesIO(data)) as archive:
        arrays = {name: archive[name] for name in archive.files}
    meta = json.loads(str(arrays["meta"]))
    for name, value in changes.items():
        if isinstance(value, np.ndarray):
            arrays[name] = value
        else:
            meta["fields"][name] = value
    arrays["meta"] = np.array(json.dumps(meta))
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


ARCHIVES: list[tuple[str, dict[str, Any], str]] = [
    ("vm_rescheduling", {"mnl": "5"}, "mnl is str"),
    ("vm_rescheduling", {"mnl": 10**30}, "mnl is int"),
    ("vm_rescheduling", {"goal_rate": "much"}, "goal_rate is str"),
    ("vm_rescheduling", {"cpu_per_core": 0}, "cpu_per_core is 0"),
    ("vm_rescheduling", {"cpu_per_core": 10**12}, "cpu_per_core is 1000000000000"),
    ("vm_rescheduling", {"weights": np.array([1e308, 1e308, 1e308])}, "only their ratios"),
    ("vm_rescheduling", {"weights": np.array([5e-324, 0, 0])}, "only their ratios"),
    ("vm_rescheduling", {"churn_per_min": 1e12}, "finite rate from 0 to 10000"),
    ("vm_rescheduling", {"pm_ids": 5}, "pm_ids is int"),
    ("vm_rescheduling", {"pm_ids": [1, 2]}, "pm_ids is tuple"),
    ("vm_rescheduling", {"objective": ["drain"]}, "objective is tuple"),
    ("memory_mapping", {"slow_bw": 1e-300}, "may take"),
    ("memory_mapping", {"capacity": 2**62}, "capacity is"),
    ("memory_mapping", {"tensor_names": {"a": 1}}, "tensor_names is dict"),
    ("memory_mapping", {"name": "\ud800"}, "half of a character"),
    ("memory_mapping", {"hardware": None}, "hardware is NoneType"),
    ("sequence_design", {"oracle": '{"landscape": "ehrlich"}'}, "motifs and offsets"),
    ("sequence_design", {"oracle": "[" * 100_000}, "no handle"),
    ("sequence_design", {"oracle": '{"landscape": "tf_binding", "factor": "../x"}'}, "factor must"),
    ("sequence_design", {"oracle": '{"landscape": "rna", "targets": []}'}, "targets must"),
    ("sequence_design", {"alphabet": 5}, "alphabet is int"),
    ("sequence_design", {"batch_size": 10**9}, "1000000 at most"),
    ("federated_lr", {"rounds": 1e12}, "rounds is"),
    ("federated_lr", {"rounds": 10**12}, "rounds is 1000000000000"),
    ("federated_lr", {"alpha": None}, "alpha is NoneType"),
    ("federated_lr", {"beta": float("nan")}, "holds the number NaN"),
    ("federated_lr", {"classes": True}, "classes is bool"),
]


@pytest.mark.parametrize(
    ("family", "changes", "says"), ARCHIVES, ids=lambda one: str(one)[:50] if one else ""
)
def test_a_saved_instance_with_an_impossible_value_is_refused(
    family: str, changes: dict[str, Any], says: str, tmp_path: Path
) -> None:
    (tmp_path / "i.npz").write_bytes(archived(family, **changes))
    with pytest.raises(InstanceError, match=says):
        find_instances(load_problem(family), str(tmp_path / "i.npz"), {})


@pytest.mark.parametrize("letters", [50, 10**6])
def test_arrays_of_too_many_letters_are_refused(letters: int, tmp_path: Path) -> None:
    np.save(tmp_path / "odd-y-0.npy", np.arange(10.0))
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((10, 2, letters), np.bool_) if letters > 100 else
            np.full((10, 2), 1e30))  # fmt: skip
    assert "letters" in refusal("sequence_design", tmp_path / "odd-x-0.npy", buffer.getvalue())


@pytest.mark.parametrize("score", ["1e300", "1e-320", "nan", "9" * 5000])
def test_scores_that_cannot_be_reckoned_with_are_refused(score: str, tmp_path: Path) -> None:
    rows = "".join(f"AAA{a}{b},{0 if a == 'A' else score}\n" for a in "ACGT" for b in "ACGT")
    refusal("sequence_design", tmp_path / "s.csv", "sequence,score\n" + rows)


def test_images_without_rows_and_of_many_dimensions_are_refused(tmp_path: Path) -> None:
    labels = tmp_path / "m-labels-idx1-ubyte"
    labels.write_bytes(b"\0\0\x08\x01" + (0).to_bytes(4, "big"))
    huge = b"\xff" * 4
    images = tmp_path / "m-images-idx3-ubyte"
    assert "empty" in refusal("federated_lr", images, b"\0\0\x08\x03" + bytes(4) + huge + huge)
    assert "200 dim" in refusal("federated_lr", images, b"\0\0\x08\xc8" + bytes(800))


ODD = ("", "0", "-1", "nan", "inf", "-inf", "1e308", "1" + "0" * 30, "9" * 5000, "\udcff", "\0",
       "1e999999999", "1e999999999%", "[", "٣")  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_an_odd_value_of_a_setting_is_refused_or_gives_an_instance(family: str) -> None:
    problem = load_problem(family)
    instance = problem.warm_up_instance()
    for key in problem.settings:
        for value in ODD:
            try:
                made = apply_settings(problem, instance, {key: value})
            except SysOptError as error:
                assert len(str(error)) < MOST_TEXT, (key, value[:20])
            else:
                made.to_bytes(), problem.describe(made)


# Parameters of generators with which an instance would be too large, or never be found.
HUGE = (
    ("vm_rescheduling", {"pms": "1000000000"}), ("vm_rescheduling", {"sets": "1000000000"}),
    ("vm_rescheduling", {"pms": "10000", "sets": "10000"}),
    ("memory_mapping", {"layers": "1000000000"}), ("memory_mapping", {"width": "9" * 5000}),
    ("sequence_design", {"rows": "1000000000"}), ("sequence_design", {"length": "9" * 5000}),
    ("federated_lr", {"clients": "10000", "features": "10000"}),
    ("sequence_parallelism", {"sequences": "65536", "steps": "1000"}),
    ("federated_lr", {"rounds": "10000", "participants": "50", "local_steps": "10000",
                      "batch": "100000"}),
    ("federated_lr", {"model": "mlp", "width": "10000", "features": "10000", "clients": "2",
                      "rows": "10", "classes": "1000"}),
)  # fmt: skip


@pytest.mark.parametrize(("family", "parameters"), HUGE, ids=lambda one: str(one)[:50])
def test_a_generator_refuses_what_is_too_large_before_it_begins(
    family: str, parameters: dict[str, str]
) -> None:
    with pytest.raises(SysOptError) as found:
        load_problem(family).generate(parameters, 1)
    assert len(str(found.value)) < MOST_TEXT


@pytest.mark.parametrize("family", FAMILIES)
def test_an_odd_parameter_of_a_generator_is_refused(family: str) -> None:
    problem = load_problem(family)
    for key in problem.generator_parameters:
        for value in ("", "nan", "inf", "-1", "9" * 5000, "\udcff"):
            try:
                problem.generate({key: value}, 1)
            except SysOptError as error:
                assert len(str(error)) < MOST_TEXT, (key, value[:20])


def test_a_snapshot_of_six_thousand_kinds_of_large_vms_is_refused() -> None:
    cluster = load_problem("vm_rescheduling").warm_up_instance()
    parts = np.arange(1, 7) * np.ones((6000, 1), np.int64)
    with pytest.raises(InstanceError, match="cells"):
        dataclasses.replace(
            cluster, flavor_names=tuple(map(str, range(6000))), flavor_nodes=np.full(6000, 6),
            flavor_cpu=np.full(6000, 6), flavor_mem=np.full(6000, 6), part_cpu=parts,
            part_mem=parts, numa_cpu=np.full((cluster.n_pms, 6), 64),
            numa_mem=np.full((cluster.n_pms, 6), 10**6), vm_flavor=np.zeros(cluster.n_vms, int),
            vm_numa=np.zeros(cluster.n_vms, int),
        )  # fmt: skip


def exported(tmp_path: Path, evil: bytes) -> Path:
    """A model as torch.export saves it, with other inputs pickled into it."""
    torch = pytest.importorskip("torch")
    saved, path = tmp_path / "good.pt2", tmp_path / "evil.pt2"
    torch.export.save(torch.export.export(torch.nn.Linear(64, 64), (torch.zeros(64, 64),)), saved)
    with zipfile.ZipFile(saved) as good, zipfile.ZipFile(path, "w") as bad:
        for name in good.namelist():
            replaced = "sample_inputs" in name and name.endswith(".pt")
            bad.writestr(name, evil if replaced else good.read(name))
    return path


class _Touch:
    """An object that makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], Any], tuple[str]]:
        return _touch, (str(self.path),)


def _touch(path: str) -> None:
    Path(path).touch()


def test_no_code_of_an_exported_model_runs_unless_the_user_trusts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    hit, pickled = tmp_path / "hit", io.BytesIO()
    torch.save((_Touch(hit),), pickled)
    path, problem = exported(tmp_path, pickled.getvalue()), load_problem("memory_mapping")
    monkeypatch.delenv("SYSOPT_TRUST", raising=False)
    with pytest.raises(InstanceError, match=r"evil.pt2: .*can run code.*--trust"):
        find_instances(problem, str(path), {})
    assert not hit.exists()
    monkeypatch.setenv("SYSOPT_TRUST", "1")
    (read,) = find_instances(problem, str(tmp_path / "good.pt2"), {"capacity": "64KiB"})
    assert read.n_instrs >= 1


def test_trust_is_said_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sysopt_gym.cli import app
    from typer.testing import CliRunner

    path = exported(tmp_path, b"").with_name("good.pt2")
    monkeypatch.setenv("SYSOPT_TRUST", "")  # what the command sets is undone after the test
    words = ["data", "info", "memory_mapping", str(path)]
    refused: Any = CliRunner().invoke(app, words)
    assert refused.exit_code == 2 and "--trust" in refused.stderr
    assert CliRunner().invoke(app, [*words, "--trust", "--set", "capacity=64KiB"]).exit_code == 0
