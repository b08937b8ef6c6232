"""The converters in examples/: listings of Kubernetes and OpenStack become cluster files."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from sysopt_gym.datasets.vm_rescheduling.instance import Cluster
from sysopt_gym.datasets.vm_rescheduling.loaders import load_file
from sysopt_gym.datasets.vm_rescheduling.template import template
from sysopt_gym.envs.vm_rescheduling.problem import PROBLEM

CONVERTERS = Path(__file__).parents[2] / "examples" / "converters"
HOSTNAME = "kubernetes.io/hostname"


def module(name: str) -> ModuleType:
    sys.path.insert(0, str(CONVERTERS))
    try:
        spec = importlib.util.spec_from_file_location(name, CONVERTERS / f"{name}.py")
        assert spec is not None and spec.loader is not None
        made = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(made)
        return made
    finally:
        sys.path.remove(str(CONVERTERS))


PAGE = (CONVERTERS.parents[1] / "docs" / "cluster_files.md").read_text()
kubernetes, openstack = module("kubernetes_cluster"), module("openstack_cluster")


def test_the_page_explains_every_field_and_its_example_loads(tmp_path: Path) -> None:
    for name, meaning in template().fields.items():
        assert f"| `{name}` | {meaning} |" in PAGE
    (example,) = re.findall(r"```json\n(.*?)```", PAGE, re.S)
    assert loaded(tmp_path, json.loads(example)).n_vms == 3


def node(name: str, cpu: str = "8", memory: str = "32Gi", **more: Any) -> dict[str, Any]:
    status = {"allocatable": {"cpu": cpu, "memory": memory}, "conditions": more.pop("ready", [])}
    labels = {"topology.kubernetes.io/zone": more.pop("zone", "a")}
    return {"kind": "Node", "metadata": {"name": name, "labels": labels}, "spec": more,
            "status": status}  # fmt: skip


def pod(name: str, on: str | None, *asked: dict[str, str], **more: Any) -> dict[str, Any]:
    owners = more.pop("owners", [{"kind": "ReplicaSet", "name": "web", "uid": "u1"}])
    about = {"name": name, "namespace": "shop", "ownerReferences": owners, **more.pop("about", {})}
    containers = [{"name": "c", "resources": {"requests": one} if one else {}} for one in asked]
    status = {"phase": more.pop("phase", "Running" if on else "Pending")}
    spec = {"containers": containers, **({"nodeName": on} if on else {}), **more}
    return {"kind": "Pod", "metadata": about, "spec": spec, "status": status}


def listed(folder: Path, name: str, objects: Any) -> Path:
    path = folder / name
    path.write_text(json.dumps(objects))
    return path


def of_kubernetes(folder: Path, nodes: list[Any], pods: list[Any]) -> dict[str, Any]:
    return kubernetes.convert(
        listed(folder, "nodes.json", {"kind": "List", "items": nodes}),
        listed(folder, "pods.json", {"kind": "List", "items": pods}),
    )


def loaded(folder: Path, document: dict[str, Any]) -> Cluster:
    return load_file(listed(folder, "cluster.json", document))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("500m", 0.5), ("2", 2), (4, 4), ("1.5", 1.5), (".5", 0.5), ("1e3m", None), ("1e9", 10**9),
        ("1E3", 1000), ("2E", 2 * 10**18), ("1Gi", 2**30), ("128974848", 128974848),
        ("129M", 129 * 10**6), ("123Mi", 123 * 2**20), ("1k", 1000), ("100u", 1e-4), ("1GB", None),
        ("", None), ("nan", None), ("-1", -1),
    ],
)  # fmt: skip
def test_quantities_are_read_as_kubernetes_writes_them(text: Any, value: float | None) -> None:
    if value is None:
        with pytest.raises(kubernetes.ListingError, match=r"^here: is .* expected a quantity"):
            kubernetes.quantity(text, "here")
    else:
        assert float(kubernetes.quantity(text, "here")) == pytest.approx(value, rel=1e-15)


def test_pods_become_vms_of_millicores_and_mebibytes(tmp_path: Path) -> None:
    apart = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": HOSTNAME}]}}  # fmt: skip
    web = {"about": {"labels": {"app": "web"}}, "affinity": apart}
    small = {"cpu": "500m", "memory": "1Gi"}
    begins = [
        {"name": "sidecar", "restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}},
        {"name": "copies", "resources": {"requests": {"cpu": "2"}}},
    ]
    nodes = [
        node("n1"),
        node("n2", cpu="7910m", memory="128974848", zone="b"),
        node("n3", unschedulable=True),
        node("n4", taints=[{"key": "control-plane", "effect": "NoSchedule"}]),
        node("n5", ready=[{"type": "Ready", "status": "Unknown"}]),
        node("n6", taints=[{"key": "soft", "effect": "PreferNoSchedule"}]),
    ]
    pods = [
        pod("web-1", "n1", small, small, **web),
        pod("web-2", "n2", {"cpu": "1", "memory": "1e6"}, **web),
        pod("logs", "n1", small, owners=[{"kind": "DaemonSet", "name": "logs"}]),
        pod("static", "n4", small, owners=[{"kind": "Node", "name": "n4"}]),
        pod("alone", "n3", small, owners=[]),
        pod("begins", "n1", small, initContainers=begins),
        pod("chooses", "n1", small, nodeSelector={"disk": "ssd"}),
        pod("waits", None, small),
        pod("asks-nothing", "n1", {}),
        pod("done", "n1", small, phase="Succeeded"),
        pod("limited", "n6", {}, overhead={"cpu": "250m"}),
        pod("whole", "n6", small, resources={"requests": {"cpu": "3", "memory": "3Gi"}}),
    ]
    document = of_kubernetes(tmp_path, nodes, pods)
    cluster = loaded(tmp_path, document)
    sizes = {vm["instance_id"]: vm["numa"][0] for vm in document["cluster_list"][0]["vm_instance"]}
    assert {name: (part["cpu"], part["mem_mb"]) for name, part in sizes.items()} == {
        "shop/web-1": (1000, 2048), "shop/web-2": (1000, 1), "shop/logs": (500, 1024),
        "shop/static": (500, 1024), "shop/alone": (500, 1024), "shop/begins": (2100, 1024),
        "shop/chooses": (500, 1024), "shop/limited": (250, 0), "shop/whole": (3000, 3072),
    }  # fmt: skip
    assert cluster.cpu_per_core == 1000
    assert cluster.numa_cpu[:2, 0].tolist() == [8000, 7910]
    assert cluster.numa_mem[:2, 0].tolist() == [32768, 123]
    assert cluster.pm_status.tolist() == [0, 0, 1, 1, 2, 0]
    assert cluster.pm_rack.tolist() == [0, 1, 0, 0, 0, 0]
    pinned = {name for name, pin in zip(cluster.vm_ids, cluster.vm_pinned, strict=True) if pin}
    assert pinned == {"shop/logs", "shop/static", "shop/alone", "shop/chooses"}
    assert cluster.set_vms.tolist() == [0, 1] and not cluster.set_by_rack.any()
    assert PROBLEM.describe(cluster)["free cores"] == pytest.approx(
        3.9 + 6.91 + 4.75
    )  # of ACTIVE hosts


@pytest.mark.parametrize(
    ("nodes", "pods", "message"),
    [
        ([node("n1")], [pod("p", "n9", {"cpu": "1"})],
         r"pods.json: items\[0\] \(p\).spec.nodeName: is 'n9', which is not in .*nodes.json"),
        ([node("n1", cpu="eight")], [pod("p", "n1", {"cpu": "1"})],
         r"nodes.json: items\[0\] \(n1\).status.allocatable.cpu: is 'eight', expected a quantity"),
        ([node("n1")], [pod("p", "n1", {"cpu": "1 core"})],
         r"pods.json: items\[0\] \(p\).spec.containers\[0\].resources.requests.cpu: is '1 core'"),
        ([], [pod("p", "n1", {"cpu": "1"})], r"nodes.json: lists no Node; write it by `kubectl"),
        ([pod("p", "n1")], [], r"nodes.json: items\[0\]: is no Node; write the file by `kubectl"),
        ([{"kind": "Node", "metadata": {"name": "n"}}], [], r"\(n\).status.allocatable: has no"),
        ([node("n1")], [pod("p", None, {"cpu": "1"})], r"pods.json: no pod runs on a node"),
    ],
)  # fmt: skip
def test_a_wrong_listing_is_refused_with_place_and_remedy(
    nodes: list[Any], pods: list[Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(kubernetes.ListingError, match=message):
        of_kubernetes(tmp_path, nodes, pods)


def hypervisor(name: str, cpu: int = 16, memory: int = 65536, state: str = "up") -> dict[str, Any]:
    return {"ID": name, "Hypervisor Hostname": name, "Hypervisor Type": "QEMU", "Host IP": "",
            "State": state, "vCPUs Used": 0, "vCPUs": cpu, "Memory MB Used": 0,
            "Memory MB": memory}  # fmt: skip


def server(name: str, host: str | None, **more: Any) -> dict[str, Any]:
    return {"ID": name, "Name": name, "Status": "ACTIVE", "Task State": None, "Power State": 1,
            "Networks": {}, "Flavor": "m1.large", "Host": host, **more}  # fmt: skip


FLAVORS = [
    {"ID": "4", "Name": "m1.large", "RAM": 8192, "Disk": 80, "Ephemeral": 0, "VCPUs": 4,
     "Is Public": True, "Properties": {}},
    {"ID": "5", "Name": "numa", "RAM": 16384, "Disk": 80, "Ephemeral": 0, "VCPUs": 8,
     "Is Public": True, "Properties": {"hw:numa_nodes": "2"}},
]  # fmt: skip


def of_openstack(
    folder: Path, hypervisors: Any, servers: Any, flavors: Any = FLAVORS, **more: Any
) -> dict[str, Any]:
    return openstack.convert(
        listed(folder, "hypervisors.json", hypervisors),
        listed(folder, "servers.json", servers),
        listed(folder, "flavors.json", flavors),
        **{name: listed(folder, f"{name}.json", one) if name in ("services", "groups") else one
           for name, one in more.items()},
    )  # fmt: skip


def test_servers_become_vms_by_their_flavors(tmp_path: Path) -> None:
    hosts = [
        hypervisor("cmp1.lan"),
        hypervisor("cmp2.lan"),
        hypervisor("cmp3.lan", state="down"),
        hypervisor("ironic", cpu=0),
    ]
    servers = [
        server("a", "cmp1.lan"),
        server("b", "cmp2"),  # by the name of its service
        server("c", "cmp1.lan", Flavor="numa", Status="SHUTOFF"),
        server("d", "cmp3.lan", Status="ERROR"),
        server("e", "cmp1.lan", **{"Task State": "migrating"}),
        server("f", None, Status="SHELVED_OFFLOADED"),
        server("g", "cmp1.lan", **{"Flavor Name": "m1.large", "Task State": "None"}),
    ]
    document = of_openstack(
        tmp_path, hosts, servers, ratios=(1.5, 1.0),
        services=[{"Binary": "nova-compute", "Host": "cmp2", "Status": "disabled", "State": "up"}],
        groups=[{"ID": "x", "Policy": "anti-affinity", "Members": "a, b, gone"},
                {"ID": "y", "Policies": "affinity", "Members": ["c", "e"]}],
    )  # fmt: skip
    cluster = loaded(tmp_path, document)
    assert cluster.vm_ids == ("a", "b", "c", "d", "e", "g")
    assert cluster.pm_ids == ("cmp1.lan", "cmp2.lan", "cmp3.lan")
    assert cluster.pm_status.tolist() == [0, 1, 2]
    assert cluster.numa_cpu[:, 0].tolist() == [24, 24, 24]
    assert cluster.vm_pm.tolist() == [0, 1, 0, 2, 0, 0]
    assert cluster.vm_pinned.tolist() == [False, False, False, True, True, False]
    assert cluster.flavor_cpu[cluster.vm_flavor].tolist() == [4, 4, 8, 4, 4, 4]
    assert cluster.set_vms.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("hypervisors", "servers", "flavors", "message"),
    [
        ([hypervisor("h")], [server("a", "other")], FLAVORS,
         r"servers.json: row 0, 'Host': is 'other', which is not in .*hypervisors.json"),
        ([hypervisor("h")], [server("a", "h", Flavor="gone")], FLAVORS,
         r"row 0, flavor: is 'gone', which is not in .*flavors.json; if it was deleted, add a row"),
        ([{"ID": 1, "Hypervisor Hostname": "h", "State": "up"}], [server("a", "h")], FLAVORS,
         r"row 0: has no column 'vCPUs' or 'VCPUs'; list them by `openstack --os-compute-api"),
        ([hypervisor("h", cpu=2)], [server("a", "h")], FLAVORS,
         r"servers on 'h' have 4 vCPUs, and it has 2; give .* --cpu-ratio"),
        ([hypervisor("h")], [server("a", None)], FLAVORS, r"no server has a host; an admin"),
        ({"hypervisors": []}, [], FLAVORS, r"hypervisors.json: is no list of rows; write it by"),
        ([hypervisor("h")], [server("a", "h")], [{**FLAVORS[0], "RAM": "8 GB"}],
         r"flavors.json: row 0, 'RAM': is '8 GB', expected a whole number"),
    ],
)  # fmt: skip
def test_wrong_rows_are_refused_with_place_and_remedy(
    hypervisors: Any, servers: Any, flavors: Any, message: str, tmp_path: Path
) -> None:
    with pytest.raises(openstack.ListingError, match=message):
        of_openstack(tmp_path, hypervisors, servers, flavors)


def test_the_scripts_write_a_file_that_loads_and_refuse_what_is_no_listing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pods = [pod("p", "n1", {"cpu": "1"}), pod("q", "n1", {"cpu": "1"}, owners=[])]
    of_kubernetes(tmp_path, [node("n1")], pods)
    words = [str(tmp_path / name) for name in ("nodes.json", "pods.json")]
    out = tmp_path / "cluster.json"
    monkeypatch.setattr("sys.argv", ["kubernetes_cluster.py", *words, "--out", str(out)])
    kubernetes.main()
    told = capsys.readouterr()
    assert "1 hosts, 2 VMs" in told.out and "pinned pods of no controller: 1" in told.err
    assert load_file(out).n_vms == 2
    (tmp_path / "nodes.json").write_text("NAME STATUS")
    with pytest.raises(SystemExit, match="2"):
        kubernetes.main()
    assert "nodes.json: is no JSON" in capsys.readouterr().err
