"""Small valid files for every loader, made by this library or by hand, for tests to break."""

from __future__ import annotations

import dataclasses
import gzip
import json
import sqlite3
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sysopt_gym.core.instance import save_archive
from sysopt_gym.core.registry import FAMILIES, load_problem

HOSTS = "host,cpu,memory_mb,nodes,status,rack\nh0,88,2000,2,,r0\nh1,88,2000,2,up,r1\n"
VMS = (
    "vm,host,cpu,memory_mb,node,type,movable,keep_apart\n"
    "a,h0,4,40,0,t4,yes,s\nb,h0,32,320,0+1,t16,,\nc,h1,8,80,1,t8,no,s\nd,h1,8+4,90+50,1+0,,,\n"
)
HUAWEI = """vmid,cpu,memory,time,type
1,4,8,0,0
2,8,16,10,0
3,2,4,20,0
1,4,8,30,1
4,16,32,40,0
2,8,16,50,1
"""
STAYS = (
    "id,arrival_h,exit_h,cores,memory_gib,set,pinned\na,0,5,4,8,,\nb,1,,16,32,web,yes\n"
    "c,2.5,3,48,96,web,no\nd,3,9,4,8,,\n"
)
TASKS = (
    "time,type,collection_id,instance_index,resource_request.cpus,resource_request.memory\n"
    "600000000,SUBMIT,7,0,0.25,0.125\n601000000,SCHEDULE,7,0,,\n602000000,3,8,0,0.5,0.5\n"
    "700000000,EVICT,7,0,0.25,0.125\n900000000,FINISH,8,0,0.5,0.5\n"
)
NODES = "sn,cpu_milli,memory_mib,gpu,model\nn0,32000,65536,0,\nn1,64000,131072,2,T4\n"
PODS = """name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,\
creation_time,deletion_time,scheduled_time
p0,12000,16384,0,0,,LS,Running,0,100,0
p1,6000,12288,1,460,T4,LS,Running,5,90,6
p3,8000,8192,2,1000,,LS,Running,20,80,25
"""
HLO = """HloModule m, is_scheduled=true

body {
  p = (s32[], f32[64,64]{1,0}) parameter(0)
  i = s32[] get-tuple-element(p), index=0
  g = f32[64,64]{1,0} get-tuple-element(p), index=1
  d = f32[64,64]{1,0} dot(g, g), lhs_contracting_dims={1}, rhs_contracting_dims={0}
  ROOT t = (s32[], f32[64,64]{1,0}) tuple(i, d)
}

condition {
  p = (s32[], f32[64,64]{1,0}) parameter(0)
  i = s32[] get-tuple-element(p), index=0
  k = s32[] constant(3)
  ROOT l = pred[] compare(i, k), direction=LT
}

ENTRY main {
  p = f32[64,64]{1,0} parameter(0)
  a = f32[64,64]{1,0} negate(p)
  b = f32[64,64]{1,0} exponential(p)
  c = f32[64,64]{1,0} add(a, b)
  d = f32[64,64]{1,0} multiply(a, c)
  e = f32[64,64]{1,0} add(b, d)
  z = s32[] constant(0)
  t = (s32[], f32[64,64]{1,0}) tuple(z, e)
  w = (s32[], f32[64,64]{1,0}) while(t), condition=condition, body=body
  g = f32[64,64]{1,0} get-tuple-element(w), index=1
  h = f32[64,64]{1,0} add(g, a)
  i = f32[64,64]{1,0} add(h, b)
  j = f32[64,64]{1,0} add(i, c)
  ROOT k = f32[64,64]{1,0} add(j, d)
}
"""
PACKING = "id,lower,upper,size\n" + "".join(f"b{k},{k},{k + 4},{64 * k + 64}\n" for k in range(12))
PLAY = "\n\n".join(
    f"{who}:\n" + "\n".join(f"O, that this too too solid flesh would melt {n}." for n in range(30))
    for who in ("KING", "QUEEN", "HAMLET")
)


class Target(NamedTuple):
    """A valid file.

    Attributes:
        argument: what is given to the loader: a file, or a folder.
        broken: the file to break, the same or another one.
    """

    argument: Path
    broken: Path


def _one(path: Path, content: bytes | str) -> Target:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return Target(path, path)


def _template(folder: Path) -> Target:
    template = load_problem("vm_rescheduling").template()
    assert template is not None
    return _one(folder / template.name, template.text)


def _pair_of_tables(folder: Path) -> Target:
    (folder / "hosts.csv").write_text(HOSTS)
    (folder / "vms.csv").write_text(VMS)
    return Target(folder, folder / "vms.csv")


def _zipped_tables(folder: Path) -> Target:
    path = folder / "pair.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("hosts.csv", HOSTS)
        archive.writestr("vms.csv", VMS)
    return Target(path, path)


def _openb(folder: Path) -> Target:
    (folder / "nodes.csv").write_text(NODES)
    return _one(folder / "pods.csv", PODS)


def _azure(folder: Path) -> Target:
    path = folder / "trace.sqlite"
    base = sqlite3.connect(path)
    base.execute("PRAGMA page_size = 512")
    base.execute("CREATE TABLE vm (vmId, vmTypeId, starttime REAL, endtime REAL)")
    base.execute("CREATE TABLE vmType (vmTypeId, machineId, core REAL, memory REAL)")
    vms = [(n, 7 + n % 2, n / 4, None if n % 3 else n / 4 + 2) for n in range(20)]
    base.executemany("INSERT INTO vm VALUES (?, ?, ?, ?)", vms)
    base.executemany("INSERT INTO vmType VALUES (?, 0, ?, ?)", [(7, 0.25, 0.125), (8, 0.5, 0.5)])
    base.commit()
    base.close()
    return Target(path, path)


def _program(folder: Path) -> Target:
    from sysopt_gym.datasets.memory_mapping.loaders import to_json

    return _one(folder / "program.json", to_json(load_problem("memory_mapping").warm_up_instance()))


def _measured(folder: Path) -> Target:
    rows = [f"{a}{b}{c}A,{n}.5" for n, (a, b, c) in enumerate(zip("ACGT" * 6, "AACCGGTT" * 3,
            "ACGTTGCAGTCATGCAACGTGTAC", strict=True))]  # fmt: skip
    return _one(folder / "measured.csv", "sequence,score\n" + "\n".join(rows) + "\n")


def _mutants(folder: Path) -> Target:
    rows = {"WT": "MKTAYIAKQR", "A4G": "MKTGYIAKQR", "K2R:Q9H": "MRTAYIAKHR", "Y5W": "MKTAWIAKQR",
            "M1V": "VKTAYIAKQR", "R10K": "MKTAYIAKQK", "T3S": "MKSAYIAKQR"}  # fmt: skip
    lines = [f"{name},{text},{at}.5" for at, (name, text) in enumerate(rows.items())]
    return _one(folder / "mutants.csv", "mutant,mutated_sequence,score\n" + "\n".join(lines) + "\n")


def _arrays(folder: Path) -> Target:
    np.save(folder / "tf-y-0.npy", np.arange(32.0)[:, None])
    np.save(folder / "tf-x-0.npy", np.arange(96).reshape(32, 3) // 3 % [2, 3, 4])
    return Target(folder / "tf-x-0.npy", folder / "tf-x-0.npy")


def _idx(values: np.ndarray) -> bytes:
    sizes = b"".join(int(n).to_bytes(4, "big") for n in values.shape)
    return bytes([0, 0, 8, values.ndim]) + sizes + values.tobytes()


def _images(folder: Path) -> Target:
    pixels = (np.arange(60 * 30) * 7 % 256).astype(np.uint8).reshape(60, 6, 5)
    labels = _idx((np.arange(60) % 3).astype(np.uint8))
    (folder / "toy-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels, mtime=0))
    return _one(folder / "toy-images-idx3-ubyte", _idx(pixels))


def _cifar(folder: Path) -> Target:
    rows = np.arange(30 * 3073) * 11 % 256
    rows[::3073] = np.arange(30) % 10
    return _one(folder / "batch.bin", rows.astype(np.uint8).tobytes())


def _leaf(folder: Path) -> Target:
    users = {
        f"user {u}": {"x": [[r, u] for r in range(9)], "y": [r % 3 for r in range(9)]}
        for u in range(4)
    }
    document = {"users": list(users), "num_samples": [9] * 4, "user_data": users}
    return _one(folder / "all_data.json", json.dumps(document, indent=1))


def _rows(folder: Path) -> Target:
    lines = [f"{n % 5},{n},{n * 7 % 13}.5,{n % 3}" for n in range(60)]
    return _one(folder / "rows.csv", "client,age,height,label\n" + "\n".join(lines) + "\n")


def _optdigits(folder: Path) -> Target:
    lines = [",".join(str((n * 5 + k) % 17) for k in range(64)) + f",{n % 10}" for n in range(40)]
    return _one(folder / "optdigits.tra", "\n".join(lines))


def _saved(family: str) -> Callable[[Path], Target]:
    def make(folder: Path) -> Target:
        path = folder / "saved.npz"
        load_problem(family).warm_up_instance().save(path)
        return Target(path, path)

    return make


def _set(folder: Path) -> Target:
    path = folder / "set.zip"
    one: Any = load_problem("vm_rescheduling").warm_up_instance()
    save_archive([one, dataclasses.replace(one, name="other")], path)
    return Target(path, path)


def _solution(folder: Path) -> Target:
    document = {
        "family": "f", "instance": "i", "instance_hash": "0123456789abcdef", "contender": "c",
        "seed": 0, "settings": {"a": "1"}, "actions": [[1, 2], [3, 4]], "status": "feasible",
        "bound": 0.5, "wall_s": 0.25, "extra": {"objective": 1.0},
    }  # fmt: skip
    return _one(folder / "solution.json", json.dumps(document, indent=1))


def _result(folder: Path) -> Target:
    from result_rows import make_row

    text = json.dumps(make_row("c").to_json()) + "\n"
    return Target(folder, _one(folder / "rows.jsonl", text).broken)


def _configuration(folder: Path) -> Target:
    return _one(folder / "train.yaml", """family: vm_rescheduling
out: runs/try
validation: &sets [small:val]
trackers: []
imitation: {contender: vns, instances: *sets, epochs: 2, learning_rate: 0.002}
ppo:
  instances: ["small:train"]
  settings: {mnl: 5}
  iterations: 3
  algorithm:
    training: {lr: 1.0e-4, grad_clip: .inf}
sweep:
  space:
    width: {choice: [16, 32]}
""")  # fmt: skip


def _card(folder: Path) -> Target:
    from sysopt_gym.agents.checkpoints import SHIPPED

    source = SHIPPED / "vm_rescheduling_prices"
    for file in source.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return Target(folder, folder / "policy.json")


LENGTHS = "412\n97\n15000\n1024\n88\n"
LINES = "\n".join(json.dumps(one) for one in (
    {"id": "a", "length": 412}, {"id": "b", "length": 15000}, {"id": "c", "input_ids": [5, 6, 7]},
)) + "\n"  # fmt: skip


def _batch(folder: Path) -> Target:
    found = load_problem("sequence_parallelism").template()
    assert found is not None
    return _one(folder / found.name, found.text)


# How a file is read -> how a valid one is made. A family's name before the slash: by its loader.
VALID: dict[str, Callable[[Path], Target]] = {
    "vm_rescheduling/snapshot": _template,
    "vm_rescheduling/tables": _pair_of_tables,
    "vm_rescheduling/zipped tables": _zipped_tables,
    "vm_rescheduling/huawei": lambda folder: _one(folder / "trace.csv", HUAWEI),
    "vm_rescheduling/openb": _openb,
    "vm_rescheduling/azure": _azure,
    "vm_rescheduling/set": _set,
    "vm_allocation/own": lambda folder: _one(folder / "mine.csv", STAYS),
    "vm_allocation/google": lambda folder: _one(folder / "events.csv", TASKS),
    "sequence_parallelism/lengths": lambda folder: _one(folder / "lengths.txt", LENGTHS),
    "sequence_parallelism/lines": lambda folder: _one(folder / "lines.jsonl", LINES),
    "sequence_parallelism/batch": _batch,
    "memory_mapping/hlo": lambda folder: _one(folder / "module.hlo.txt", HLO),
    "memory_mapping/program": _program,
    "sequence_design/measured": _measured,
    "sequence_design/mutants": _mutants,
    "sequence_design/arrays": _arrays,
    "federated_lr/images": _images,
    "federated_lr/cifar": _cifar,
    "federated_lr/leaf": _leaf,
    "federated_lr/rows": _rows,
    "federated_lr/optdigits": _optdigits,
    "federated_lr/play": lambda folder: _one(folder / "play.txt", PLAY),
    **{f"{family}/saved": _saved(family) for family in FAMILIES},
    "packing": lambda folder: _one(folder / "packing.csv", PACKING),
    "solution": _solution,
    "result": _result,
    "configuration": _configuration,
    "policy card": _card,
}
