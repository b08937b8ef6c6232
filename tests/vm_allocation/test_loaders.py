"""Traces of VMs become data centers: who is there, who comes and goes, on which hosts."""

from __future__ import annotations

import bz2
import dataclasses
import gzip
import sqlite3
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from sysopt_gym.core.contracts import World
from sysopt_gym.core.errors import InstanceError, SettingError
from sysopt_gym.core.notes import InputNote
from sysopt_gym.datasets.vm_allocation.arrivals import requests_of
from sysopt_gym.datasets.vm_allocation.instance import DataCenter
from sysopt_gym.datasets.vm_allocation.loaders import load_file
from sysopt_gym.datasets.vm_allocation.splits import OPENB_DAYS, SETS
from sysopt_gym.envs.vm_allocation.problem import PROBLEM, without_trace
from sysopt_gym.envs.vm_allocation.validate import validate

pytestmark = pytest.mark.filterwarnings("ignore::sysopt_gym.core.notes.InputNote")

OWN = """id,arrival_h,exit_h,cores,memory_gib
a,0,5,4,8
b,1,,16,32
c,2.5,3,48,96
d,3,9,4,8
"""
HOSTS = "host,cpu,memory_mb,nodes,status\nh1,16,32000,2,\nh2,16,32000,2,up\nh3,16,32000,2,down\n"
HUAWEI = """vmid,cpu,memory,time,type
1,4,8,0,0
2,64,128,10,0
3,2,4,20,0
2,64,128,50,1
4,16,32,50,0
1,4,8,60,1
"""
NODES = "sn,cpu_milli,memory_mib,gpu,model\n" + "".join(
    f"n{i},{cores}000,{4 * cores * 1024},0,\n" for i, cores in enumerate([32] * 5 + [96] * 2 + [8])
)
PODS = (
    "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,"
    "creation_time,deletion_time,scheduled_time\n"
    "p0,12000,16384,0,0,,LS,Running,0,90000,0\n"
    "p1,6500,12288,1,460,T4,LS,Running,5,8000,6\n"
    "p2,64000,8192,1,600,T4,BE,Failed,5000,90000,5000\n"
    "p3,4000,4096,1,1000,,BE,Pending,30,60,\n"
)
SIZES = "resource_request.cpus,resource_request.memory"
GOOGLE_2019 = f"""time,type,collection_id,instance_index,{SIZES}
600000000,SUBMIT,7,0,0.25,0.125
601000000,SCHEDULE,7,0,,
602000000,SCHEDULE,8,0,0.5,0.5
700000000,EVICT,7,0,0.25,0.125
800000000,3,7,0,0.25,0.125
900000000,FINISH,8,0,0.5,0.5
900000000,KILL,9,0,0.5,0.5
"""
GOOGLE_2011 = """0,2,3418309,0,4155527081,1,u,3,9,0.125,0.07446,0.0004244,0
0,2,3418309,1,329150663,1,u,3,9,0.125,0.07446,0.0004244,0
5000000,,3418309,0,4155527081,4,u,3,9,0.125,0.07446,0.0004244,0
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def read(folder: Path, text: str, settings: Mapping[str, str] | None = None) -> DataCenter:
    return load_file(write(folder / "mine.csv", text), settings or {})


def azure_file(path: Path) -> Path:
    """Two VM types on machine 0, one on machine 1; VM 1 is there before the trace."""
    base = sqlite3.connect(path)
    base.execute(
        "CREATE TABLE vm (vmId INTEGER, tenantId INTEGER, vmTypeId INTEGER, priority INTEGER, "
        "starttime REAL, endtime REAL)"
    )
    base.execute(
        "CREATE TABLE vmType (id INTEGER, vmTypeId INTEGER, machineId INTEGER, core REAL, "
        "memory REAL, hdd REAL, ssd REAL, nic REAL)"
    )
    vms = [(1, 7, 0, -3.5, 2.0), (2, 7, 1, 0.25, None), (3, 8, 0, 0.5, 1.0), (4, 9, 0, 0.0, None)]
    types = [(7, 0, 0.25, 0.125), (7, 1, 0.5, 0.5), (8, 0, 0.5, 0.5), (9, 1, 1.0, 1.0)]
    base.executemany("INSERT INTO vm VALUES (?, 0, ?, ?, ?, ?)", vms)
    base.executemany("INSERT INTO vmType VALUES (0, ?, ?, ?, ?, 0, 0, 0)", types)
    base.commit()
    base.close()
    return path


def sizes(center: DataCenter) -> list[tuple[float, int, int]]:
    """Cores and MB on each node, and nodes, of each request."""
    k = center.request_flavor
    cores = center.flavor_cpu[k] / center.cpu_per_core
    return list(zip(cores, center.flavor_mem[k], center.flavor_nodes[k], strict=True))


def play_first_fit(center: DataCenter) -> tuple[float, bool]:
    """Place each request in the first place with room; return the validator's verdict."""
    env = gymnasium.make("sysopt/VMAllocation-v0", instances=center)
    observation, _ = env.reset(seed=0)
    actions, done = [], False
    while not done:
        actions.append(int(observation["action_mask"].argmax()))
        observation, _, done, _, info = env.step(actions[-1])
    verdict = validate(center, np.array(actions), World(0, 0.0))
    assert verdict.objective == pytest.approx(info["objective"])
    return verdict.objective, verdict.feasible


# --- a user's own table ----------------------------------------------------------------------


def test_an_own_table_is_played_whole(tmp_path: Path) -> None:
    center = read(tmp_path, OWN)
    assert center.horizon_h == 9  # to its last event
    assert center.trace_starts == 0
    assert center.numa_cpu.tolist() == [[44, 44]]
    assert sizes(center) == [(4, 8192, 1), (16, 32768, 1), (24, 49152, 2), (4, 8192, 1)]
    hour = 3600
    assert center.event_s.tolist() == [0, hour, 9000, 3 * hour, 3 * hour, 5 * hour, 9 * hour]
    # At 3 h the exit comes before the arrival; `b` never leaves.
    assert center.event_request.tolist() == [0, 1, 2, 2, 3, 0, 3]
    assert play_first_fit(center) == (0.0, True)


def test_a_window_begins_with_the_vms_that_are_there(tmp_path: Path) -> None:
    center = read(tmp_path, OWN, {"start_h": "2", "horizon_h": "1.5"})
    assert center.trace_starts == 2
    assert center.event_s.tolist() == [0, 0, 1800, 3600, 3600, 3 * 3600, 7 * 3600]
    # Exits after the horizon are known to the world, which tells their class; `b` has none.
    assert requests_of(center, 0).exit_s.tolist()[1] > 7 * 3600
    assert center.start_vms == 2
    assert (center.request_place == -1).all()
    with pytest.raises(SettingError, match=r"start_h=9: .* has 9 hours; give fewer"):
        read(tmp_path, OWN, {"start_h": "9"})


@pytest.mark.parametrize(
    ("header", "first"),
    [
        ("arrival,exit,flavor", "0,7200,4U8G"),
        ("arrival (min),exit (min),flavor", "10,130,4U8G"),
        ("created_at,deleted_at,type", "2026-01-01T23:00:00,2026-01-02 01:00,xlarge"),
        ("start_ms;end_ms;type", "0;7200000;xlarge"),
        ("arrival,exit,flavor", '"1,5","7201,5",xlarge'),
        ("begin_days\tlifetime_h\tsize", "0.5\t2\t4c8192m"),
    ],
)
def test_times_and_sizes_are_read_as_people_write_them(
    tmp_path: Path, header: str, first: str
) -> None:
    center = read(tmp_path, f"{header}\n{first}\n")
    assert center.event_s.tolist() == [0, 7200]
    assert sizes(center) == [(4, 8192, 1)]


def test_settings_name_columns_and_times(tmp_path: Path) -> None:
    text = "from,to,what\n1,3,4U8G\n"
    columns = {"columns": "arrival:from,exit:to,flavor:what"}
    center = read(tmp_path, text, columns | {"times": "h"})
    assert center.event_s.tolist() == [0, 7200]
    assert read(tmp_path, text, columns | {"times": "min"}).event_s.tolist() == [0, 120]


def test_sets_pins_and_bom_and_crlf_are_read(tmp_path: Path) -> None:
    text = (
        '\ufeffarrival,exit,cores,memory_mb,set,pinned\r\n0,9,2,4096,"web, eu",yes\r\n'
        '0,9,2,4096,,\r\n1,9,2,4096,"web, eu",no\r\n'
    )
    center = read(tmp_path, text)
    assert center.request_set.tolist() == [0, -1, 0]
    assert center.request_pinned.tolist() == [True, False, False]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_packed_traces_are_read(tmp_path: Path, pack: object) -> None:
    plain = read(tmp_path, OWN)
    path = tmp_path / "mine.csv.gz"
    path.write_bytes(pack(OWN.encode()))  # type: ignore[operator]
    assert load_file(path).content_hash == plain.content_hash
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as archive:
        archive.writestr("mine.csv", OWN)
    assert load_file(tmp_path / "mine.zip").content_hash == plain.content_hash


PLACED = """vm,host,node,arrival_h,exit_h,cores,memory_mb
a,h1,1,0,10,4,8000
b,h1,,0,30,8,8000
c,h2,,1,,12,8000
d,,,0,9,8,8000
e,h2,,3,9,8,8000
"""


def test_vms_of_the_start_keep_their_hosts(tmp_path: Path) -> None:
    write(tmp_path / "vms.csv", PLACED)
    write(tmp_path / "hosts.csv", HOSTS)
    center = load_file(tmp_path, {"start_h": "2"})
    assert center.pm_ids == ("h1", "h2")  # h3 is down
    assert center.trace_starts == 4
    # Those with a place come first; `b` has room on node 0 only, `c` is on both nodes. What comes
    # later is placed by the policy.
    assert center.request_place.tolist() == [1, 0, 2, -1, -1]
    assert play_first_fit(center)[1]
    alone = load_file(tmp_path / "vms.csv", {"start_h": "2"})  # the hosts are beside it
    assert alone.content_hash == center.content_hash
    with zipfile.ZipFile(tmp_path / "both.zip", "w") as archive:
        archive.write(tmp_path / "vms.csv", "vms.csv")
        archive.write(tmp_path / "hosts.csv", "hosts.csv")
    assert load_file(tmp_path / "both.zip", {"start_h": "2"}).content_hash == center.content_hash


def test_a_start_that_overcommits_a_host_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "hosts.csv", HOSTS)
    write(tmp_path / "vms.csv", PLACED.replace("b,h1,,0", "b,h1,1,0"))
    with pytest.raises(InstanceError, match=r"vms.csv: row 3: VM 'b' needs 8 cores .* 'h1' node 1"):
        load_file(tmp_path, {"start_h": "2"})
    assert load_file(tmp_path).trace_starts == 0  # from the beginning on, all are requests


def test_a_start_may_be_what_a_replay_by_best_fit_leaves(tmp_path: Path) -> None:
    hosts = {"pms": "2", "node_cores": "16", "node_mem_gib": "64", "nodes": "2"}
    rows = "a,0,9,12,\nb,1,,14,s\nc,2,9,2,\nd,2,3,2,\ne,3,,2,s\nf,3,9,32,\ng,5,,4,\n"
    text = "id,arrival_h,exit_h,cores,set\n" + rows
    center = read(tmp_path, text, hosts | {"start_h": "4", "start": "best_fit"})
    # `c` is beside `b`, `e` apart from `b`, which is of its set; `f` finds no room and is gone.
    assert [cores for cores, *_ in sizes(center)] == [12, 14, 2, 2, 4]
    assert center.request_place.tolist() == [0, 1, 1, 2, -1]
    assert center.trace_starts == center.start_vms == 4
    assert play_first_fit(center)[1]


def test_hosts_are_those_of_the_settings(tmp_path: Path) -> None:
    hosts = {"pms": "3", "node_cores": "64", "node_mem_gib": "128", "nodes": "1"}
    center = read(tmp_path, OWN, hosts)
    assert center.numa_cpu.tolist() == [[64, 0]] * 3
    assert center.numa_mem.tolist() == [[128 * 1024, 0]] * 3
    spread = read(tmp_path, OWN, {"both_nodes_above": "15"})
    assert [nodes for *_, nodes in sizes(spread)] == [1, 2, 2, 1]


def test_without_a_number_the_hosts_are_as_many_as_the_load_before_asks_for(tmp_path: Path) -> None:
    rows = "".join(f"{h},{h + 2},22,40000\n" for h in range(48))
    text = "arrival_h,exit_h,cores,memory_mb\n" + rows + "".join(["48,60,22,40000\n"] * 40)
    hosts = {"start_h": "48", "node_cores": "23", "nodes": "1"}
    with pytest.warns(InputNote, match=r"in the 12 hours before the window; say otherwise by pms"):
        center = read(tmp_path, text, hosts)
    assert center.n_pms == 2  # two VMs of 22 cores over .95 x 23
    assert read(tmp_path, text, hosts | {"load": "0.5"}).n_pms == 4


# --- what contenders are told ----------------------------------------------------------------


def test_the_process_is_fitted_to_what_lies_before_the_window(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrive = np.sort(rng.uniform(0, 200, 2000))
    lives = rng.exponential(np.where(rng.random(2000) < 0.8, 0.5, 10.0))
    flavors = rng.choice(["2U4G", "8U16G"], 2000, p=[0.75, 0.25])
    rows = "".join(
        f"{a:.5f},{a + life:.5f},{kind},{'yes' if i % 4 == 0 else ''}\n"
        for i, (a, life, kind) in enumerate(zip(arrive, lives, flavors, strict=True))
    )
    center = read(tmp_path, "arrival_h,exit_h,flavor,pinned\n" + rows, {"start_h": "180"})
    assert center.arrivals_per_h == pytest.approx(10, rel=0.05)
    assert center.flavor_names == ("2U4G", "8U16G")
    assert center.flavor_share[0] == pytest.approx(0.75, abs=0.03)
    assert float(center.flavor_share @ center.mean_life_h) == pytest.approx(2.4, rel=0.15)
    assert center.pinned_share == pytest.approx(0.25, abs=0.02)
    assert center.hour_factor.mean() == pytest.approx(1.0)
    assert np.abs(center.hour_factor - 1).max() < 0.35


def test_vms_that_never_leave_are_censored_and_not_taken_to_leave_at_the_window(
    tmp_path: Path,
) -> None:
    rows = "".join(f"{i / 10},{i / 10 + 1 if i % 2 else ''},2U4G\n" for i in range(1001))
    center = read(tmp_path, "arrival_h,exit_h,flavor\n" + rows, {"start_h": "100"})
    # Half of the VMs live for an hour; the other half is longer than the hundred hours seen.
    assert center.law_mean_h[-1] > 500
    assert center.law_share[0, -1] == pytest.approx(0.5, abs=0.05)


def test_nothing_of_the_future_is_in_what_contenders_see(tmp_path: Path) -> None:
    """Whatever happens after the window's start, contenders see the same data center."""
    past = "".join(f"{h / 4},{h / 4 + 3},{4 + 4 * (h % 2)},8192,\n" for h in range(160))
    stays = "39,{end},4,8192,\n"
    settings = {"start_h": "40", "horizon_h": "20"}
    header = "arrival_h,exit_h,cores,memory_mb,set\n"
    seen = set()
    for end, later in (
        ("41", "40.5,50,16,8192,\n44,50,12,8192,\n"),
        ("", "40.5,41,12,8192,a\n41,59,12,8192,a\n55,,16,8192,b\n"),
        ("400", "".join(f"{40 + h / 9},{300 + h},{12 + 4 * (h % 2)},8192,\n" for h in range(100))),
    ):
        center = read(tmp_path, header + past + stays.format(end=end) + later, settings)
        assert center.trace_starts == 12
        seen.add(without_trace(center).content_hash)
    assert len(seen) == 1
    changed = read(tmp_path, header + past.replace("30.0,33.0,4", "30.0,33.0,8") + later, settings)
    assert without_trace(changed).content_hash not in seen


# --- public traces ---------------------------------------------------------------------------


def test_huawei_is_played_on_its_own_servers_in_the_order_of_its_rows(tmp_path: Path) -> None:
    center = read(tmp_path, HUAWEI)
    assert center.n_pms == 100
    assert center.numa_cpu[0].tolist() == [40, 40]
    assert center.numa_mem[0].tolist() == [90 * 1024] * 2
    assert sizes(center)[1] == (32, 64 * 1024, 2)  # too large for a node
    assert center.event_s.tolist() == [0, 10, 20, 50, 50, 60]
    assert center.event_request.tolist() == [0, 1, 2, 1, 3, 0]
    swapped = HUAWEI.replace("2,64,128,50,1\n4,16,32,50,0\n", "4,16,32,50,0\n2,64,128,50,1\n")
    assert read(tmp_path, swapped).event_request.tolist() == [0, 1, 2, 3, 1, 0]
    # On one server the order decides: VM 4 fits once VM 2 has left.
    one = {"pms": "1", "node_cores": "36"}
    assert play_first_fit(read(tmp_path, HUAWEI, one))[0] == 0
    assert play_first_fit(read(tmp_path, swapped, one))[0] > 0


def test_a_cut_huawei_trace_starts_with_the_vms_that_are_only_deleted(tmp_path: Path) -> None:
    text = "vmid,cpu,memory,time,type\n8,2,4,100,0\n7,4,8,110,1\n"
    center = read(tmp_path, text)
    assert center.trace_starts == 1
    assert center.event_s.tolist() == [0, 0, 10]
    assert sizes(center) == [(4, 8192, 1), (2, 4096, 1)]


def test_azure_starts_with_negative_times_and_fractions_fill_a_machine(tmp_path: Path) -> None:
    path = azure_file(tmp_path / "packing.sqlite")
    center = load_file(path, {"pms": "2"})
    assert center.trace_starts == 1
    assert center.horizon_h == 13  # its last arrival is at half a day
    assert center.event_s.tolist() == [0, 21_600, 43_200, 86_400, 2 * 86_400]
    assert center.numa_cpu.sum(axis=1).tolist() == [4 * center.flavor_cpu.min()] * 2
    assert (center.flavor_nodes == 1).all()
    packed = tmp_path / "packed.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert (
        load_file(packed, {"pms": "2"}).content_hash
        == dataclasses.replace(center, name="packed").content_hash
    )
    # Evictable VMs, of priority 1, may be left out.
    assert len(load_file(path, {"priority": "0"}).request_flavor) == 2


def test_openb_pods_run_on_some_of_the_nodes(tmp_path: Path) -> None:
    write(tmp_path / "nodes.csv", NODES)
    pods = write(tmp_path / "pods.csv", PODS)
    with pytest.warns(InputNote, match="1 pods left out that were never scheduled"):
        center = load_file(pods)
    assert load_file(tmp_path / "nodes.csv").content_hash == center.content_hash
    assert center.pm_ids == ("n5",)  # the large pod needs a node of 96 cores, which is enough
    assert sizes(center) == [(12, 16384, 1), (6.5, 12288, 1), (64, 8192, 1)]
    assert center.request_pinned.tolist() == [False, True, True]  # GPUs
    assert center.event_s.tolist() == [0, 6, 5000, 8000, 90_000, 90_000]
    assert load_file(pods, {"pms": "3"}).pm_ids == ("n0", "n1", "n5")


def test_google_tasks_are_there_while_they_are_scheduled(tmp_path: Path) -> None:
    center = read(tmp_path, GOOGLE_2019)
    assert center.event_s.tolist() == [0, 1, 99, 199, 299]
    assert center.event_request.tolist() == [0, 1, 0, 2, 1]  # evicted, and scheduled again
    assert sizes(center)[0] == (16, 32 * 1024, 1)  # a quarter of a machine of 64 cores, 256 GiB
    old = read(tmp_path, GOOGLE_2011)
    assert old.event_s.tolist() == [0, 0, 5]
    assert old.event_request.tolist() == [0, 1, 0]
    one_cell = GOOGLE_2019.replace(
        "resource_request.cpus,resource_request.memory", "resource_request"
    )
    for cpu, mem in (("0.25", "0.125"), ("0.5", "0.5")):
        one_cell = one_cell.replace(f"{cpu},{mem}", f"\"{{'cpus': {cpu}, 'memory': {mem}}}\"")
    one_cell = one_cell.replace("7,0,,", "7,0,None")
    assert read(tmp_path, one_cell).content_hash == center.content_hash


# --- the set openb ---------------------------------------------------------------------------


@pytest.mark.slow
def test_the_windows_of_openb_are_played(data_file: Callable[[str], Path]) -> None:
    pods = data_file("vm/openb_pod_list_default.csv")
    windows = SETS.load("openb")
    assert [one.name for one in windows] == [f"openb/{row}" for row in range(len(OPENB_DAYS))]
    for center in windows:
        facts = PROBLEM.describe(center)
        assert 5 <= facts["PMs"] <= 6
        assert facts["of them there at the start"] >= 30
        assert facts["requests of the trace"] >= 400
        rejected, is_feasible = play_first_fit(center)
        assert is_feasible
        assert 0 <= rejected <= 100
    whole = load_file(pods)
    assert len(whole.request_flavor) == 7255  # of 8,152 pods; the others were never scheduled
    assert whole.horizon_h == pytest.approx(149.3 * 24, abs=24)
