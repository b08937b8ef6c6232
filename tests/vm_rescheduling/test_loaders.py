"""Users' snapshots in VMR2L's JSON schema: read whole, or refused by the place that is wrong."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sysopt_gym.core.errors import InstanceError
from sysopt_gym.core.instance import save_archive
from sysopt_gym.datasets.vm_rescheduling.generator import generate
from sysopt_gym.datasets.vm_rescheduling.instance import Cluster
from sysopt_gym.datasets.vm_rescheduling.loaders import load_bytedance, load_file
from sysopt_gym.envs.vm_rescheduling.problem import PROBLEM


def host(name: str, rack: str = "r0", nodes: int = 2, status: str = "ACTIVE") -> dict[str, Any]:
    return {
        "node_id": name,
        "status": status,
        "node_cpu": 44 * nodes,
        "node_mem_mb": 1000 * nodes,
        "numa": [
            {
                "node": node,
                "total_cpu": 44,
                "free_cpu": 0,
                "memory_huge_total_mb": 1000,
                "memory_huge_free_mb": 0,
            }
            for node in range(nodes)
        ],
        "rack_id": rack,
    }


def vm(name: str, on: str, cpu: int, nodes: tuple[int, ...] = (0,), **more: Any) -> dict[str, Any]:
    return {
        "instance_id": name,
        "instance_type": f"t{cpu}",
        "host_id": on,
        "numa": [{"node": node, "cpu": cpu, "mem_mb": 10 * cpu} for node in nodes],
        "allow_migration": True,
    } | more


def document() -> dict[str, Any]:
    return {
        "cluster_list": [
            {
                "cluster_name": "one",
                "host_info": [host("h0"), host("h1", "r1"), host("h2", "r1", 1, "DISABLED")],
                "vm_type_info": [],
                "vm_instance": [
                    vm("a", "h0", 4),
                    vm("b", "h0", 16, (0, 1)),
                    vm("c", "h1", 8, (1,), allow_migration=False),
                    vm("d", "h2", 4),
                ],
                "other_requirement": {
                    "deployment_set": [
                        {"granularity": "host", "data": ["a", "c"]},
                        {"granularity": "rack", "data": ["d", "a"]},
                    ]
                },
            }
        ],
        "vm_type_list": [],
        "general_requirement": {"optimization_objective": 1, "maximum_migration": 7},
    }


def load(content: Any, path: Path) -> Any:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return load_file(path)


def edited(path: str, value: Any) -> dict[str, Any]:
    """The document with one field set ("" removes it); `path` as errors name it."""
    whole = document()
    steps: list[Any] = []
    for part in path.replace("]", "").split("."):
        name, *rows = part.split("[")
        steps += [name, *(int(row) for row in rows)]
    at: Any = whole
    for step in steps[:-1]:
        at = at[step]
    if value == "REMOVED":
        del at[steps[-1]]
    else:
        at[steps[-1]] = value
    return whole


def test_a_snapshot_is_read_whole(tmp_path: Path) -> None:
    cluster = load(document(), tmp_path / "mine.json")
    assert cluster.name == "mine"
    assert cluster.pm_ids == ("h0", "h1", "h2")
    assert cluster.pm_status.tolist() == [0, 0, 1]
    assert cluster.pm_rack.tolist() == [0, 1, 1]
    assert cluster.numa_cpu.tolist() == [[44, 44], [44, 44], [44, 0]]
    assert cluster.vm_pm.tolist() == [0, 0, 1, 2]
    assert cluster.vm_numa.tolist() == [0, 0, 1, 0]
    assert cluster.flavor_nodes[cluster.vm_flavor].tolist() == [1, 2, 1, 1]
    assert cluster.vm_pinned.tolist() == [False, False, True, False]
    assert cluster.set_start.tolist() == [0, 2, 4]
    assert cluster.set_vms.tolist() == [0, 2, 3, 0]
    assert cluster.set_by_rack.tolist() == [False, True]
    assert cluster.mnl == 7


def test_free_room_comes_from_the_vms_not_from_the_file(tmp_path: Path) -> None:
    cluster = load(document(), tmp_path / "mine.json")
    assert cluster.free()[0].tolist() == [[24, 28], [44, 36], [40, 0]]


def test_several_clusters_become_one_and_share_racks_by_name(tmp_path: Path) -> None:
    whole = document()
    second = copy.deepcopy(whole["cluster_list"][0])
    second["host_info"] = [host("x0", "r1")]
    second["vm_instance"] = [vm("y", "x0", 2)]
    del second["other_requirement"]
    whole["cluster_list"].append(second)
    cluster = load(whole, tmp_path / "mine.json")
    assert cluster.pm_rack.tolist() == [0, 1, 1, 1]
    assert cluster.vm_ids == ("a", "b", "c", "d", "y")


HOST, VM = "cluster_list[0].host_info", "cluster_list[0].vm_instance"
SETS = "cluster_list[0].other_requirement.deployment_set"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (f"{VM}[2].host_id", "h9", "no host 'h9' in any host_info; add the host or remove the VM"),
        (f"{VM}[0].numa[0].cpu", -4, "is -4, outside 1.."),
        (f"{VM}[0].numa[0].cpu", 4.5, "is 4.5, expected a whole number"),
        (f"{VM}[0].numa[0].mem_mb", "much", "is a text, expected a whole number"),
        (f"{VM}[0].numa[0].node", 2, "is 2, outside 0..1"),
        (f"{VM}[1].instance_id", "a", "'a' is the id of cluster_list[0].vm_instance[0] too"),
        (f"{VM}[1].allow_migration", "maybe", "is 'maybe', expected true or false"),
        (f"{VM}[1].allow_migration", 2, "is 2, expected true or false"),
        (f"{VM}[1].allow_migration", "REMOVED", "the field 'allow_migration' is missing"),
        (f"{VM}[1].numa", [], "has 0 NUMA nodes; a VM uses 1 or 2"),
        (f"{VM}[0].instance_type", None, "is null, expected a name"),
        (f"{HOST}[1].node_id", "h0", "'h0' is the id of cluster_list[0].host_info[0] too"),
        (f"{HOST}[1].status", "SLEEPING", "is 'SLEEPING', expected one of ACTIVE, DISABLED"),
        (f"{HOST}[1].numa[0].total_cpu", -1, "is -1, outside 1.."),
        (f"{HOST}[1].numa[1].node", 0, "node 0 stands twice"),
        (f"{HOST}[1].numa", [{}, {}, {}], "has 3 NUMA nodes; 1 or 2 are supported"),
        (f"{HOST}[1].rack_id", "", "is empty; give a name"),
        (f"{HOST}[1]", 5, "is a number, expected an object with the field"),
        (f"{SETS}[0].granularity", "zone", "is 'zone', expected one of host, rack"),
        (f"{SETS}[0].data[1]", "q", "no VM 'q' in any vm_instance; correct the deployment set"),
        (f"{SETS}[0].data[1]", "a", "'a' stands twice in this deployment set"),
        ("general_requirement.maximum_migration", 0, "is 0, outside 1.."),
        ("cluster_list", {}, "is an object, expected a list"),
        ("cluster_list", "REMOVED", "the field 'cluster_list' is missing"),
    ],
)
def test_a_wrong_field_is_named_by_file_and_place(
    tmp_path: Path, path: str, value: Any, message: str
) -> None:
    file = tmp_path / "mine.json"
    with pytest.raises(InstanceError) as refusal:
        load(edited(path, value), file)
    text = str(refusal.value)
    assert text.startswith(f"{file}: ")
    assert message in text
    if value not in ("REMOVED", [{}, {}, {}]) and not isinstance(value, dict):
        assert path in text


@pytest.mark.parametrize(
    ("value", "pinned"),
    [(0, True), (1, False), (1.0, False), ("false", True), ("True", False), (" NO ", True)],
)
def test_a_flag_may_be_written_as_a_number_or_a_word(
    tmp_path: Path, value: object, pinned: bool
) -> None:
    cluster = load(edited(f"{VM}[0].allow_migration", value), tmp_path / "mine.json")
    assert cluster.vm_pinned[0] == pinned


def test_an_over_committed_host_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    with pytest.raises(InstanceError, match=r"mine.json: .*host 'h0' is over-committed: .* 16"):
        load(edited(f"{VM}[0].numa[0].cpu", 44), file)


@pytest.mark.parametrize("field", ["host_info", "vm_instance"])
def test_an_empty_cluster_is_refused(tmp_path: Path, field: str) -> None:
    whole = edited(f"cluster_list[0].{field}", [])
    with pytest.raises(InstanceError, match="there is nothing to reschedule"):
        load(whole, tmp_path / "mine.json")


def test_a_vm_on_a_node_its_host_lacks_is_refused(tmp_path: Path) -> None:
    whole = edited(f"{VM}[3].numa[0].node", 1)
    with pytest.raises(InstanceError, match="host 'h2' has no NUMA node 1"):
        load(whole, tmp_path / "mine.json")


def test_halves_of_a_vm_must_be_equal(tmp_path: Path) -> None:
    whole = edited(f"{VM}[1].numa[1].cpu", 8)
    with pytest.raises(InstanceError, match=r"the halves differ \(16 cores and 160 MB against 8"):
        load(whole, tmp_path / "mine.json")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_a_number_that_is_no_quantity_is_refused(tmp_path: Path, number: str) -> None:
    text = json.dumps(document()).replace('"total_cpu": 44', f'"total_cpu": {number}', 1)
    with pytest.raises(InstanceError, match=f"holds the number {number}"):
        load(text, tmp_path / "mine.json")


def test_a_truncated_file_names_where_it_ends(tmp_path: Path) -> None:
    text = json.dumps(document(), indent=1)
    with pytest.raises(
        InstanceError, match=r"mine.json: not valid JSON at line \d+, column \d+: .*copy or export"
    ):
        load(text[: len(text) // 2], tmp_path / "mine.json")


@given(st.integers(1, 5000))
@settings(max_examples=50, deadline=None)
def test_a_file_cut_anywhere_is_refused(length: int) -> None:
    text = json.dumps(document())
    with pytest.raises(InstanceError):
        load_bytedance(Path("mine.json"), text[: min(length, len(text) - 1)])


def test_a_file_of_a_hundred_megabytes_is_refused_unread(tmp_path: Path) -> None:
    file = tmp_path / "huge.json"
    with file.open("wb") as stream:
        stream.write(b'{"cluster_list": [')
        stream.truncate(100 * 2**20)
    with pytest.raises(InstanceError, match=r"huge.json: 100 MB, over the limit of 64 MB; split"):
        load_file(file)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a known format"),
        (b"hello", "not a known format"),
        (b"\x89PNG\r\n\x1a\n\xff\xfe", "byte 0 is not UTF-8 text"),
        (b"PK\x03\x04broken", "damaged"),
        (b"[1, 2]", "the document: is a list, expected an object"),
        (b"SQLite format 3\0 and no more", "damaged sqlite file"),
        (b'{"a": ' * 100_000, "JSON"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    file = tmp_path / "odd"
    file.write_bytes(data)
    with pytest.raises(InstanceError, match=message) as refusal:
        load_file(file)
    assert str(refusal.value).startswith(str(file))


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(InstanceError, match="cannot be read"):
            load_file(path)


def test_a_set_of_several_instances_is_not_one_instance(tmp_path: Path) -> None:
    clusters = [generate({"pms": "4"}, seed) for seed in (1, 2)]
    save_archive(clusters, tmp_path / "two.zip")
    with pytest.raises(InstanceError, match="a set of 2 instances where one instance is expected"):
        load_file(tmp_path / "two.zip")
    save_archive(clusters[:1], tmp_path / "one.zip")
    assert load_file(tmp_path / "one.zip").content_hash == clusters[0].content_hash


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.text(max_size=4),
    st.sampled_from(["a", "h0", "r1", "host", "ACTIVE", "OUTAGE", 0, 1, 2, 44]),
    st.lists(st.integers(-1, 3), max_size=3),
    st.dictionaries(st.sampled_from(["node", "cpu", "data"]), st.integers(), max_size=2),
)


def places(at: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    keys = at if isinstance(at, dict) else range(len(at)) if isinstance(at, list) else ()
    return [found for key in keys for found in ((*path, key), *places(at[key], (*path, key)))]


@given(st.sampled_from(places(document())), VALUES, st.sampled_from(["set", "remove", "double"]))
@settings(max_examples=400, deadline=None)
def test_any_change_of_a_field_loads_or_is_refused(
    place: tuple[Any, ...], value: Any, how: str
) -> None:
    whole = document()
    at: Any = whole
    for step in place[:-1]:
        at = at[step]
    if how == "set":
        at[place[-1]] = value
    elif how == "remove":
        del at[place[-1]]
    elif isinstance(at, list):
        at.append(copy.deepcopy(at[place[-1]]))
    try:
        cluster = load_bytedance(Path("mine.json"), json.dumps(whole))
    except InstanceError as error:
        assert str(error).startswith("mine.json: ")
    else:
        assert cluster.free()[0].min() >= 0


# --- The public snapshots ----------------------------------------------------------------------


@pytest.fixture
def public(data_file: Callable[[str], Path]) -> Callable[[str], Cluster]:
    return lambda name: load_file(data_file(f"vm/{name}.json"))


@pytest.mark.parametrize(
    ("name", "size", "rate"),
    [
        ("bytedance-medium", (279, 2089), 0.9770),
        ("bytedance-large", (1176, 4546), 0.6003),
    ],
)
def test_the_public_snapshots_have_their_published_size_and_fragment_rate(
    public: Callable[[str], Cluster], name: str, size: tuple[int, int], rate: float
) -> None:
    cluster = public(name)
    assert (cluster.n_pms, cluster.n_vms) == size
    assert PROBLEM.describe(cluster)["fragment rate"] == rate


def test_the_free_cores_in_the_public_snapshots_equal_those_recomputed(
    data_file: Callable[[str], Path],
) -> None:
    path = data_file("vm/bytedance-medium.json")
    cluster = load_file(path)
    stated = np.zeros((cluster.n_pms, 2), np.int64)
    row = {name: at for at, name in enumerate(cluster.pm_ids)}
    for member in json.loads(path.read_text())["cluster_list"]:
        for entry in member["host_info"]:
            for node in entry["numa"]:
                stated[row[str(entry["node_id"])], node["node"]] = node["free_cpu"]
    assert np.array_equal(cluster.free()[0], stated)


def test_the_best_known_rates_are_offered_for_the_public_medium_snapshot_alone(
    public: Callable[[str], Cluster],
) -> None:
    cluster = public("bytedance-medium")
    for mnl, rate in ((10, 0.8508), (25, 0.7245), (50, 0.5753), (100, 0.2884)):
        known = PROBLEM.best_known(PROBLEM.apply_settings(cluster, {"mnl": str(mnl)}))
        assert known is not None
        assert known[0] == rate
    assert PROBLEM.best_known(PROBLEM.apply_settings(cluster, {"objective": "mixed"})) is None
    assert PROBLEM.best_known(generate({}, 1)) is None
