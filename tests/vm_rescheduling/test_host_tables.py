"""A table of hosts and one of VMs, in a folder or a zip, become a cluster."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from sysopt_gym.core.errors import InstanceError
from sysopt_gym.core.sources import find_instances
from sysopt_gym.datasets.vm_rescheduling.loaders import load_file
from sysopt_gym.envs.vm_rescheduling.problem import PROBLEM

HOST_TABLE = "host,cpu,memory_mb,nodes,status,rack\nh0,88,2000,2,,r0\nh1,88,2000,2,up,r1\n"
VM_TABLE = (
    "vm,host,cpu,memory_mb,node,type,movable,keep_apart\n"
    "a,h0,4,40,0,t4,yes,s\nb,h0,32,320,0+1,t16,,\nc,h1,8,80,1,t8,no,s\nd,h1,8+4,90+50,1+0,,,\n"
)


def tables(folder: Path, hosts: str = HOST_TABLE, vms: str = VM_TABLE) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "hosts.csv").write_text(hosts)
    (folder / "vms.csv").write_text(vms)
    return folder


@pytest.mark.filterwarnings("ignore::sysopt_gym.core.notes.InputNote")
@pytest.mark.parametrize("packed", [False, True])
def test_a_table_of_hosts_and_one_of_vms_are_a_cluster(tmp_path: Path, packed: bool) -> None:
    path = tables(tmp_path / "mine")
    if packed:
        with zipfile.ZipFile(tmp_path / "mine.zip", "w") as archive:
            for name in ("hosts.csv", "vms.csv"):
                archive.write(path / name, f"mine/{name}")
        path = tmp_path / "mine.zip"
    (cluster,) = find_instances(PROBLEM, str(path), {})
    assert cluster.name == "mine"
    assert cluster.free()[0].tolist() == [[24, 28], [40, 28]]
    assert cluster.vm_pinned.tolist() == [False, False, True, False]
    assert cluster.set_vms.tolist() == [0, 2]
    assert cluster.pm_rack.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("hosts", "vms", "message"),
    [
        ("host,cpu\nh0,8\n", VM_TABLE, r"hosts.csv: row 1: the column 'memory_mb' is missing"),
        (HOST_TABLE.replace("h1", "h0"), VM_TABLE, r"row 3, column 'host': 'h0' is in row 2 too"),
        (HOST_TABLE.replace(",up,", ",asleep,"), VM_TABLE, r"hosts.csv: row 3: status is 'asleep'"),
        (HOST_TABLE, VM_TABLE.replace("c,h1", "c,h7"), r"vms.csv: row 4: no host 'h7'"),
        (HOST_TABLE, VM_TABLE.replace("8,80,1", "8,80,2"), r"row 4: host 'h1' has no NUMA node 2"),
        (
            HOST_TABLE,
            VM_TABLE.replace("4,40,0", "4,40,"),
            r"row 2: its host has 2 NUMA nodes; name",
        ),
        (HOST_TABLE, VM_TABLE.replace("32,320", "33,320"), r"row 3: cpu '33' is not for 2 NUMA"),
        (HOST_TABLE, VM_TABLE.replace("8,80", "x,80"), r"row 4: cpu is 'x', expected whole"),
        (HOST_TABLE, VM_TABLE.replace("0+1", "1+1"), r"row 3: node is '1\+1'; the parts of a VM"),
    ],
)
@pytest.mark.filterwarnings("ignore::sysopt_gym.core.notes.InputNote")
def test_a_wrong_cell_of_the_tables_is_named(
    tmp_path: Path, hosts: str, vms: str, message: str
) -> None:
    with pytest.raises(InstanceError, match=message):
        load_file(tables(tmp_path / "mine", hosts, vms))
