"""Users' snapshots in VMR2L's JSON schema: read whole, or refused by the place that is wrong."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sysopt_gym.core.errors import InstanceError, SettingError
from sysopt_gym.core.instance import save_archive
from sysopt_gym.datasets.vm_rescheduling.generator import generate
from sysopt_gym.datasets.vm_rescheduling.loaders import load_bytedance, load_file
from sysopt_gym.datasets.vm_rescheduling.template import SCHEMA, template
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
        (f"{VM}[0].numa[0].cpu", -4, "is -4, outside 0.."),
        (f"{VM}[0].numa[0].cpu", 4.5, "is 4.5, expected a whole number"),
        (f"{VM}[0].numa[0].mem_mb", "much", "is a text, expected a whole number"),
        (f"{VM}[0].numa", [{"node": 2, "cpu": 1, "mem_mb": 1}], "host 'h0' has no NUMA node 2"),
        (f"{VM}[1].instance_id", "a", "'a' is the id of cluster_list[0].vm_instance[0] too"),
        (f"{VM}[1].allow_migration", "maybe", "is 'maybe', expected true or false"),
        (f"{VM}[1].allow_migration", 2, "is 2, expected true or false"),
        (f"{VM}[1].numa", [], "has 0 NUMA nodes; a VM uses at least 1"),
        (f"{VM}[0].instance_id", None, "is null, expected a name"),
        (f"{HOST}[1].node_id", "h0", "'h0' is the id of cluster_list[0].host_info[0] too"),
        (f"{HOST}[1].status", "SLEEPING", "is 'SLEEPING', expected one of ACTIVE, DISABLED"),
        (f"{HOST}[1].numa[0].total_cpu", -1, "is -1, outside 1.."),
        (f"{HOST}[1].numa[1].node", 0, "node 0 stands twice"),
        (f"{HOST}[1].numa", [], "has 0 NUMA nodes; give a host at least one"),
        (f"{HOST}[1].numa", [{"node": n} for n in (0, 1, 2)], "which 3 NUMA nodes cannot share"),
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
    if value != "REMOVED" and not isinstance(value, (dict, list)):
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


@pytest.mark.filterwarnings("ignore::sysopt_gym.core.notes.InputNote")
def test_only_what_nothing_can_take_the_place_of_is_needed(tmp_path: Path) -> None:
    small = {
        "cluster_list": [
            {
                "host_info": [
                    {"node_id": "h0", "node_cpu": 16, "node_mem_mb": 4000},
                    {
                        "node_id": "h1",
                        "node_mem_mb": 4000,
                        "numa": [{"total_cpu": 8}, {"total_cpu": 8}],
                    },
                ],
                "vm_instance": [
                    {"instance_id": "a", "host_id": "h0", "numa": [{"cpu": 4, "mem_mb": 100}]},
                    {"instance_id": "b", "host_id": "h1", "instance_type": "t"},
                ],
                "other_requirement": {"deployment_set": [{"data": ["a", "b"]}]},
            }
        ],
        "vm_type_list": [{"vm_type": "t", "request_cpu": 8, "request_mem_mb": 200, "numa": 2}],
    }
    cluster = load(small, tmp_path / "small.json")
    assert cluster.pm_status.tolist() == [0, 0]
    assert cluster.numa_mem.tolist() == [[4000, 0], [2000, 2000]]
    assert cluster.free()[0].tolist() == [[12, 0], [4, 4]]
    assert cluster.vm_pinned.tolist() == [False, False]
    assert cluster.set_by_rack.tolist() == [False]


def test_all_missing_fields_are_named_at_once(tmp_path: Path) -> None:
    whole = document()
    del whole["cluster_list"][0]["host_info"][0]["node_id"]
    del whole["cluster_list"][0]["host_info"][1]["rack_id"]  # a set is by rack
    for key in ("instance_id", "host_id", "numa"):
        del whole["cluster_list"][0]["vm_instance"][1][key]
    del whole["cluster_list"][0]["vm_instance"][2]["numa"][0]["mem_mb"]
    with pytest.raises(InstanceError) as refusal:
        load(whole, tmp_path / "mine.json")
    for text in (
        f"{HOST}[0]: the field 'node_id' is missing",
        f"{HOST}[1]: the field 'rack_id' is missing",
        f"{VM}[1]: the fields 'instance_id', 'host_id', 'numa' are missing",
        f"{VM}[2].numa[0]: the field 'mem_mb' is missing",
        "data template vm_rescheduling",
    ):
        assert text in str(refusal.value)


@pytest.mark.parametrize(
    ("word", "names", "status"),
    [
        ("MAINTENANCE", "", 1),
        ("in maintenance", "", 1),
        ("up", "", 0),
        ("Offline", "", 2),
        ("SLEEPING", "SLEEPING:DISABLED", 1),
        ("sleeping", "GONE:OUTAGE,SLEEPING:active", 0),
        ("MAINTENANCE", "maintenance:OUTAGE", 2),
    ],
)
@pytest.mark.filterwarnings("ignore::sysopt_gym.core.notes.InputNote")
def test_other_names_of_statuses_are_known_or_told(
    tmp_path: Path, word: str, names: str, status: int
) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(edited(f"{HOST}[1].status", word)))
    cluster = load_file(file, {"status_names": names})
    assert cluster.pm_status[1] == status


def test_hosts_may_be_sold_by_more_than_they_have(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(edited(f"{VM}[0].numa[0].cpu", 44)))
    cluster = load_file(file, {"overcommit": "1.5"})
    assert cluster.numa_cpu[0].tolist() == [66, 66]
    assert cluster.numa_mem[0].tolist() == [1000, 1000]
    assert cluster.overcommit.tolist() == [1.5, 1.0]
    again = PROBLEM.apply_settings(cluster, {"overcommit": "1.5"})  # as validate does
    assert again.content_hash == cluster.content_hash
    with pytest.raises(SettingError, match=r"sold by the factors 1\.5,1 already"):
        PROBLEM.apply_settings(cluster, {"overcommit": "2"})
    more = PROBLEM.apply_settings(generate({"pms": "4"}, 1), {"overcommit": "1.25,2"})
    assert more.numa_cpu.max() == 55
    for text in ("x", "0", "1,2,3", "nan"):
        with pytest.raises(SettingError, match="give factors from"):
            load_file(file, {"overcommit": text})


def test_a_host_may_say_what_it_is_sold_by(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    whole = edited(f"{HOST}[0].cpu_allocation_ratio", 2.0)
    whole["cluster_list"][0]["host_info"][0]["ram_allocation_ratio"] = 1.5
    cluster = load(whole, file)
    assert cluster.numa_cpu.tolist() == [[88, 88], [44, 44], [44, 0]]
    assert cluster.numa_mem.tolist() == [[1500, 1500], [1000, 1000], [1000, 0]]
    assert load_file(file, {"overcommit": "1"}).numa_cpu[0, 0] == 44


@pytest.mark.parametrize("nodes", [1, 2, 4, 8])
def test_hosts_have_any_number_of_numa_nodes(tmp_path: Path, nodes: int) -> None:
    whole = document()
    member = whole["cluster_list"][0]
    member["host_info"] = [host(name, nodes=nodes) for name in ("h0", "h1")]
    last = nodes - 1
    member["vm_instance"] = [vm("a", "h0", 4, (last,)), vm("b", "h1", 3, tuple(range(nodes)))]
    del member["other_requirement"]
    cluster = load(whole, tmp_path / "mine.json")
    free = cluster.free()[0][:, :nodes]
    assert free.tolist() == [[44] * last + [40], [41] * nodes]
    assert (cluster.pm_nodes == nodes).all()


def test_parts_of_a_vm_may_differ_and_stand_in_any_order(tmp_path: Path) -> None:
    whole = edited(f"{VM}[1].numa[1].cpu", 8)
    whole["cluster_list"][0]["vm_instance"].append(vm("e", "h1", 16, (1, 0)))
    whole["cluster_list"][0]["vm_instance"][4]["numa"][1]["cpu"] = 8
    cluster = load(whole, tmp_path / "mine.json")
    # b has 16 cores on node 0 and 8 on node 1; of its mirror image e both parts have 160 MB.
    assert cluster.free()[0].tolist() == [[24, 36], [36, 20], [40, 0]]
    assert PROBLEM.describe(cluster)["VMs on several NUMA nodes"] == 2


def test_a_flavor_may_need_no_core(tmp_path: Path) -> None:
    cluster = load(edited(f"{VM}[0].numa[0].cpu", 0), tmp_path / "mine.json")
    assert cluster.free()[0][0].tolist() == [28, 28]


def test_the_template_is_valid_and_explains_every_field_that_it_has(tmp_path: Path) -> None:
    found = template()
    written = json.loads(found.text)
    schema = json.loads(SCHEMA.read_text())
    jsonschema.validate(written, schema)
    assert load(found.text, tmp_path / found.name).n_vms == 5
    explained = written.pop("explained")
    paths = {
        ".".join(str(step) for step in place if not isinstance(step, int)).replace("[]", "")
        for place in places(written)
    }
    assert paths <= {path.replace("[]", "") for path in explained}


def test_the_schema_holds_for_the_snapshots_that_are_read() -> None:
    schema = json.loads(SCHEMA.read_text())
    jsonschema.validate(document(), schema)
    lacking = edited(f"{VM}[0].numa[0].cpu", "REMOVED")
    with pytest.raises(jsonschema.ValidationError, match="'cpu' is a required property"):
        jsonschema.validate(lacking, schema)


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
