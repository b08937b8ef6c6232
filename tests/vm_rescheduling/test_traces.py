"""Public VM traces become clusters: what runs at a time, on which hosts, and what is refused."""

from __future__ import annotations

import gzip
import sqlite3
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sysopt_gym.core.errors import InstanceError
from sysopt_gym.core.notes import InputNote
from sysopt_gym.datasets.stays import HostType, Stays
from sysopt_gym.datasets.vm_rescheduling.loaders import load_file
from sysopt_gym.datasets.vm_rescheduling.openb import load_openb
from sysopt_gym.datasets.vm_rescheduling.replay import busiest_time, snapshot
from sysopt_gym.datasets.vm_rescheduling.traces import load_azure, load_huawei

HUAWEI = """vmid,cpu,memory,time,type
1,4,8,0,0
2,8,16,10,0
3,2,4,20,0
1,4,8,30,1
4,16,32,40,0
2,8,16,50,1
"""

NODES = """sn,cpu_milli,memory_mib,gpu,model
n0,32000,65536,0,
n1,64000,131072,2,T4
n2,96000,262144,8,G2
"""

POD_HEADER = (
    "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,"
    "creation_time,deletion_time,scheduled_time\n"
)
PODS = (
    POD_HEADER
    + """p0,12000,16384,0,0,,LS,Running,0,100,0
p1,6000,12288,1,460,T4,LS,Running,5,90,6
p2,8000,8192,1,600,T4,BE,Failed,10,50,12
p3,8000,8192,8,1000,,LS,Running,20,80,25
p4,4000,4096,1,1000,V100M16|V100M32,BE,Pending,30,60,
"""
)


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def openb_pair(folder: Path, nodes: str = NODES, pods: str = PODS) -> tuple[Path, Path]:
    return write(folder / "nodes.csv", nodes), write(folder / "pods.csv", pods)


def azure_file(path: Path, vms: list[tuple[object, ...]], types: list[tuple[object, ...]]) -> Path:
    base = sqlite3.connect(path)
    base.execute(
        "CREATE TABLE vm (vmId INTEGER, tenantId INTEGER, vmTypeId INTEGER, priority INTEGER, "
        "starttime REAL, endtime REAL)"
    )
    base.execute(
        "CREATE TABLE vmType (id INTEGER, vmTypeId INTEGER, machineId INTEGER, core REAL, "
        "memory REAL, hdd REAL, ssd REAL, nic REAL)"
    )
    base.executemany("INSERT INTO vm VALUES (?, 0, ?, 0, ?, ?)", vms)
    base.executemany("INSERT INTO vmType VALUES (0, ?, ?, ?, ?, 0, 0, 0)", types)
    base.commit()
    base.close()
    return path


AZURE_TYPES = [(7, 0, 0.25, 0.125), (7, 1, 0.5, 0.5), (8, 0, 0.5, 0.5), (9, 1, 1.0, 1.0)]
AZURE_VMS = [(1, 7, -3.5, 2.0), (2, 7, 0.25, None), (3, 8, 0.5, 1.0), (4, 9, 0.0, None)]


# --- Huawei-East-1 ---------------------------------------------------------------------------


def test_a_huawei_trace_becomes_the_cluster_at_its_busiest_time(tmp_path: Path) -> None:
    cluster = load_file(write(tmp_path / "trace.csv", HUAWEI))
    assert cluster.vm_ids == ("1", "2", "3")  # from 20 s on three VMs run
    assert cluster.cpu_per_core == 1000
    assert cluster.flavor_cpu[cluster.vm_flavor].tolist() == [4000, 8000, 2000]
    assert cluster.flavor_mem[cluster.vm_flavor].tolist() == [8192, 16384, 4096]
    assert (cluster.numa_cpu[:, 1] == 0).all()


def test_a_huawei_trace_can_be_stopped_at_any_time(tmp_path: Path) -> None:
    path = write(tmp_path / "trace.csv", HUAWEI)
    assert load_huawei(path, time=45).vm_ids == ("2", "3", "4")
    assert load_huawei(path, time=50).vm_ids == ("3", "4")
    with pytest.raises(InstanceError, match=r"no VM runs at time -1.*choose a time between"):
        load_huawei(path, time=-1)


def test_units_in_brackets_are_read_over(tmp_path: Path) -> None:
    text = HUAWEI.replace("memory,time", "memory(GB),time(s)")
    assert load_file(write(tmp_path / "trace.csv", text)).n_vms == 3


def test_hosts_are_of_the_type_and_number_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "trace.csv", HUAWEI)
    small = HostType("server", 8, 16)
    cluster = load_huawei(path, time=20, host=small)
    assert cluster.n_pms == 2
    assert cluster.numa_cpu[:, 0].tolist() == [8000, 8000]
    # With one host the 8-core VM finds no room beside the 4-core one, and is left out.
    assert load_huawei(path, time=20, host=small, hosts=1).vm_ids == ("1", "3")
    with pytest.raises(InstanceError, match=r"VM '4' needs 16 cores.*choose a larger host type"):
        load_huawei(path, time=40, host=small)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("3,2,4,20,0", "3,-2,4,20,0", r"row 4, column 'cpu': is -2"),
        ("3,2,4,20,0", "3,2,NaN,20,0", r"row 4, column 'memory': is NaN"),
        ("3,2,4,20,0", "3,2,4,soon,0", r"row 4, column 'time': is 'soon', expected a number"),
        ("3,2,4,20,0", "3,2,4,20,2", r"row 4, column 'type': is 2, outside 0\.\.1"),
        ("3,2,4,20,0", ",2,4,20,0", r"row 4, column 'vmid': is empty"),
        ("3,2,4,20,0", "3,2,4", r"row 4: has 3 columns, the header has 5; the file may be cut off"),
        ("3,2,4,20,0", "1,2,4,20,0", r"row 4, column 'vmid': VM '1' runs already, since row 2"),
        ("2,8,16,50,1", "1,8,16,50,1", r"row 7, column 'vmid': VM '1' is deleted again"),
    ],
)
def test_a_bad_huawei_row_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = write(tmp_path / "trace.csv", HUAWEI.replace(old, new))
    with pytest.raises(InstanceError, match=message) as refusal:
        load_file(path)
    assert str(refusal.value).startswith(str(path))


def huawei_rows(*rows: tuple[str, int, int]) -> str:
    """A trace of 4-core VMs: name, time, and 0 (created) or 1 (deleted) of each row."""
    return "vmid,cpu,memory,time,type\n" + "".join(f"{vm},4,8,{t},{kind}\n" for vm, t, kind in rows)


def test_a_vm_deleted_but_never_created_ran_from_the_start(tmp_path: Path) -> None:
    path = write(
        tmp_path / "window.csv", huawei_rows(("old", 5, 1), ("a", 5, 0), ("b", 6, 0), ("x", 9, 1))
    )
    for time, there in ((None, {"x", "a", "b"}), (4, {"old", "x"}), (9, {"a", "b"})):
        with pytest.warns(InputNote, match=r"window.csv: 2 VMs are deleted but never created"):
            assert set(load_huawei(path, time).vm_ids) == there


@pytest.mark.parametrize(
    ("rows", "at_ten", "short"),
    [
        ([("1", 0, 0), ("1", 10, 0), ("1", 10, 1)], {"1"}, 0),  # leaves, and comes back
        ([("1", 0, 0), ("1", 10, 1), ("1", 10, 0)], {"1"}, 0),
        ([("1", 0, 0), ("2", 10, 0), ("2", 10, 1)], {"1"}, 1),  # comes and goes: never there
        ([("1", 0, 0), ("1", 10, 1), ("1", 10, 0), ("1", 10, 1), ("2", 10, 0)], {"2"}, 1),
        ([("2", 0, 0), ("1", 10, 1), ("1", 10, 0)], {"1", "2"}, 0),  # was there before the window
    ],
)
def test_of_the_events_at_one_time_exits_come_first(
    tmp_path: Path, rows: list[tuple[str, int, int]], at_ten: set[str], short: int
) -> None:
    path = write(tmp_path / "trace.csv", huawei_rows(*rows))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert set(load_huawei(path, time=10).vm_ids) == at_ten
    said = [str(one.message) for one in told if "came and went at one time" in str(one.message)]
    assert said == [f"{path}: 1 VM left out that came and went at one time"] * short


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_window_of_a_trace_has_the_vms_that_the_whole_trace_has(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Cut off the beginning: what is deleted later is known to have run before."""
    lives = data.draw(
        st.lists(st.tuples(st.integers(0, 8), st.integers(1, 8)), min_size=1, max_size=8)
    )
    events = sorted(
        [(start, 0, name) for name, (start, _) in enumerate(lives)]
        + [(start + length, 1, name) for name, (start, length) in enumerate(lives)],
        key=lambda event: event[0],
    )
    first = data.draw(st.integers(0, min(8, events[-1][0])))
    time = data.draw(st.integers(first, 16))
    alive = {str(n) for n, (start, length) in enumerate(lives) if start <= time < start + length}
    path = tmp_path_factory.mktemp("cut", numbered=True) / "cut.csv"
    write(path, huawei_rows(*((str(n), t, kind) for t, kind, n in events if t >= first)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputNote)
        if alive:
            assert set(load_huawei(path, time=time).vm_ids) == alive
        else:
            with pytest.raises(InstanceError, match=r"no VM runs"):
                load_huawei(path, time=time)


def test_a_trace_with_a_header_only_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InstanceError, match="has a header but no rows"):
        load_file(write(tmp_path / "trace.csv", HUAWEI.partition("\n")[0] + "\n"))


# --- Alibaba openb ---------------------------------------------------------------------------


@pytest.mark.parametrize("given_file", ["nodes.csv", "pods.csv"])
def test_either_file_of_an_openb_pair_finds_the_other(tmp_path: Path, given_file: str) -> None:
    openb_pair(tmp_path)
    cluster = load_file(tmp_path / given_file)
    assert cluster.pm_ids == ("n0", "n1", "n2")
    assert cluster.vm_ids == ("p0", "p1", "p2", "p3")  # p4 asks for a GPU model nobody has


def test_pods_with_gpus_are_pinned_to_nodes_that_have_them(tmp_path: Path) -> None:
    cluster = load_openb(*openb_pair(tmp_path))
    host = {vm: cluster.pm_ids[pm] for vm, pm in zip(cluster.vm_ids, cluster.vm_pm, strict=True)}
    assert host == {"p0": "n0", "p1": "n1", "p2": "n1", "p3": "n2"}
    assert cluster.vm_pinned.tolist() == [False, True, True, True]


def test_gpu_shares_fill_a_gpu_before_the_next_and_never_over(tmp_path: Path) -> None:
    rows = "".join(f"q{i},100,100,1,600,T4,LS,Running,{i},99,{i}\n" for i in range(4))
    cluster = load_openb(*openb_pair(tmp_path, pods=POD_HEADER + rows))
    assert cluster.vm_ids == ("q0", "q1")  # two T4s, one pod of 600/1000 on each


def test_at_a_time_pods_run_from_scheduling_to_deletion(tmp_path: Path) -> None:
    nodes, pods = openb_pair(tmp_path)
    assert load_openb(nodes, pods, time=12).vm_ids == ("p0", "p1", "p2")
    assert load_openb(nodes, pods, time=50).vm_ids == ("p0", "p1", "p3")
    with pytest.raises(InstanceError, match=r"no pod runs .* at time 1000; choose another time"):
        load_openb(nodes, pods, time=1000)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("nodes", "n1,64000", "n0,64000", r"row 3, column 'sn': 'n0' is in row 2 too"),
        ("nodes", "n1,64000", "n1,-64000", r"row 3, column 'cpu_milli': is -64000"),
        ("nodes", "memory_mib", "memory", r"row 1: the column 'memory_mib' is missing"),
        ("pods", "p2,8000", "p2,80.5", r"row 4, column 'cpu_milli': is 80.5, expected a whole"),
        ("pods", "p1,6000", "p0,6000", r"row 3, column 'name': 'p0' is in row 2 too"),
        ("pods", ",10,50,12", ",10,11,12", r"row 4, column 'deletion_time': is 11, before"),
    ],
)
def test_a_bad_openb_cell_is_named(
    tmp_path: Path, file: str, old: str, new: str, message: str
) -> None:
    texts = {"nodes": NODES, "pods": PODS}
    texts[file] = texts[file].replace(old, new)
    with pytest.raises(InstanceError, match=message):
        load_openb(*openb_pair(tmp_path, **texts))


def test_half_an_openb_pair_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "nodes.csv", NODES)
    with pytest.raises(InstanceError, match="0 files beside it can be the pod list"):
        load_file(path)


def test_a_csv_of_no_known_trace_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InstanceError, match="row 1: the columns a, b are of no known trace"):
        load_file(write(tmp_path / "x.csv", "a,b\n1,2\n"))


def test_the_public_openb_trace_loads_whole(data_file: Callable[[str], Path]) -> None:
    data_file("vm/openb_node_list_all_node.csv")
    cluster = load_file(data_file("vm/openb_pod_list_default.csv"))
    assert (cluster.n_pms, cluster.n_vms) == (1523, 7677)
    assert int(cluster.vm_pinned.sum()) == 6589
    assert cluster.free()[0].min() >= 0


# --- Azure Packing 2020 ----------------------------------------------------------------------


def test_an_azure_trace_becomes_a_cluster_of_one_machine_type(tmp_path: Path) -> None:
    cluster = load_file(azure_file(tmp_path / "trace.sqlite", AZURE_VMS, AZURE_TYPES))
    # Three of four requests can run on machine 0, at day 0.5 all of them do.
    assert cluster.vm_ids == ("1", "2", "3")
    assert cluster.flavor_cpu[cluster.vm_flavor].tolist() == [16000, 16000, 32000]
    assert cluster.n_pms == 1


def test_an_azure_machine_and_its_size_can_be_chosen(tmp_path: Path) -> None:
    path = azure_file(tmp_path / "trace.sqlite", AZURE_VMS, AZURE_TYPES)
    cluster = load_azure(path, host=HostType("m", 40, 100), machine=1)
    assert cluster.vm_ids == ("1", "2", "4")
    assert cluster.flavor_cpu[cluster.vm_flavor].tolist() == [20000, 20000, 40000]
    assert cluster.n_pms == 2
    assert load_azure(path, time=3.0).vm_ids == ("2",)
    with pytest.raises(InstanceError, match="no machine 5; there are 0, 1"):
        load_azure(path, machine=5)


@pytest.mark.parametrize(
    ("vms", "types", "message"),
    [
        ([(1, 6, 0.0, 1.0)], AZURE_TYPES, r"vmId 1, column 'vmTypeId': no type 6 in vmType"),
        ([(1, 7, 2.0, 1.0)], AZURE_TYPES, r"table vm, vmId 1, column 'endtime': is 1.0"),
        ([(1, 7, None, 1.0)], AZURE_TYPES, r"table vm, vmId 1, column 'starttime': is None"),
        (AZURE_VMS, [(7, 0, 1.5, 0.1), *AZURE_TYPES[2:]], r"vmTypeId 7, column 'core': is 1.5"),
        (AZURE_VMS[:1], [(7, 0, 0.5, -0.1)], r"vmTypeId 7, column 'memory': is -0.1"),
        ([], AZURE_TYPES, "table vm has no rows"),
    ],
)
def test_a_bad_azure_row_is_named(
    tmp_path: Path,
    vms: list[tuple[object, ...]],
    types: list[tuple[object, ...]],
    message: str,
) -> None:
    path = tmp_path / "trace.sqlite"
    azure_file(path, vms, types)
    with pytest.raises(InstanceError, match=message) as refusal:
        load_file(path)
    assert str(refusal.value).startswith(str(path))


def test_a_damaged_or_foreign_sqlite_file_is_refused(tmp_path: Path) -> None:
    whole = azure_file(tmp_path / "trace.sqlite", AZURE_VMS, AZURE_TYPES).read_bytes()
    cut = tmp_path / "cut.sqlite"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InstanceError, match=r"damaged sqlite file|no table"):
        load_file(cut)
    foreign = tmp_path / "foreign.sqlite"
    base = sqlite3.connect(foreign)
    base.execute("CREATE TABLE other (a)")
    base.close()
    with pytest.raises(InstanceError, match="no table 'vm'"):
        load_file(foreign)


# --- Replay ----------------------------------------------------------------------------------


@st.composite
def stays(draw: st.DrawFn) -> Stays:
    count = draw(st.integers(1, 25))
    start = np.array(draw(st.lists(st.integers(0, 12), min_size=count, max_size=count)), float)
    length = np.array(draw(st.lists(st.integers(0, 9), min_size=count, max_size=count)), float)
    cpu = draw(st.lists(st.integers(1, 8), min_size=count, max_size=count))
    mem = draw(st.lists(st.integers(0, 8), min_size=count, max_size=count))
    return Stays(
        [f"v{i}" for i in range(count)],
        start,
        start + length,
        np.array(cpu, np.int64) * 1000,
        np.array(mem, np.int64) * 1024,
        ["x"] * count,
    )


@given(stays())
@settings(max_examples=60, deadline=None)
def test_the_busiest_time_is_found_by_counting_at_every_time(trace: Stays) -> None:
    def running(time: float) -> int:
        return int(((trace.start <= time) & (time < trace.end)).sum())

    most = max(running(time) for time in range(25))
    assert running(busiest_time(trace.start, trace.end)) == most


@pytest.mark.filterwarnings("ignore::sysopt_gym.core.notes.InputNote")
@given(stays(), st.integers(0, 21))
@settings(max_examples=60, deadline=None)
def test_with_hosts_enough_everything_that_runs_at_the_time_is_in_the_snapshot(
    trace: Stays, time: int
) -> None:
    running = {f"v{i}" for i in np.flatnonzero((trace.start <= time) & (time < trace.end))}
    host = HostType("h", 10, 10)
    if not running:
        with pytest.raises(InstanceError, match="no VM runs at time"):
            snapshot("trace", trace, host, time, None)
        return
    assert set(snapshot("trace", trace, host, time, None).vm_ids) == running


@given(st.integers(1, 130), st.sampled_from([4, 6, 7, 17]), st.sampled_from([48, 64, 96, 100]))
@settings(max_examples=40, deadline=None)
def test_machines_that_an_azure_trace_fills_are_full_here(
    tmp_path_factory: pytest.TempPathFactory, parts: int, decimals: int, cores: int
) -> None:
    if decimals == 4:  # more parts than 70 are not told apart by four decimals
        parts = min(parts, 70)
    share = round(1 / parts, decimals)
    path = azure_file(
        tmp_path_factory.mktemp("parts", numbered=True) / "trace.sqlite",
        [(vm, 1, 0.0, None) for vm in range(parts)],
        [(1, 0, share, share)],
    )
    cluster = load_azure(path, host=HostType("machine", cores, 4 * cores))
    assert cluster.n_pms == 1
    assert cluster.n_vms == parts
    assert cluster.free()[0].sum() <= parts * 0.6 * 10.0**-decimals * cores * cluster.cpu_per_core
    assert 0 <= cluster.free()[1].sum() < parts + 1  # memory is in whole MB, rounded down


def test_azure_fractions_of_several_machines_have_one_unit(tmp_path: Path) -> None:
    types = [(1, 0, 1 / 96, 0.01), (2, 0, 1 / 7, 0.01), (3, 0, 0.3125, 0.01)]
    vms = [(vm, 1 + vm % 3, 0.0, None) for vm in range(6)]
    cluster = load_azure(azure_file(tmp_path / "trace.sqlite", vms, types))
    cores = cluster.flavor_cpu / cluster.cpu_per_core
    assert sorted(cores) == pytest.approx([64 / 96, 64 / 7, 20.0], rel=1e-12)


def test_azure_fractions_without_a_common_unit_are_rounded_down(tmp_path: Path) -> None:
    shares = np.random.default_rng(0).random(40)
    vms = [(vm, vm, 0.0, None) for vm in range(40)]
    types = [(vm, 0, share, share) for vm, share in enumerate(shares.tolist())]
    cluster = load_azure(azure_file(tmp_path / "trace.sqlite", vms, types))
    lost = 64 * shares - cluster.flavor_cpu[cluster.vm_flavor] / cluster.cpu_per_core
    assert lost.min() >= -1e-9
    assert lost.max() < 1e-4


# --- Packed files -----------------------------------------------------------------------------


def test_every_format_is_read_from_a_gzip_file(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    files = [
        write(plain / "huawei.csv", HUAWEI),
        azure_file(plain / "azure.sqlite", AZURE_VMS, AZURE_TYPES),
    ]
    for file in files:
        packed = tmp_path / f"{file.name}.gz"
        packed.write_bytes(gzip.compress(file.read_bytes()))
        assert load_file(packed).content_hash == load_file(file).content_hash


@pytest.mark.parametrize("given_file", ["nodes.csv.gz", "pods.csv"])
def test_one_file_of_an_openb_pair_may_be_packed(tmp_path: Path, given_file: str) -> None:
    nodes, _ = openb_pair(tmp_path)
    (tmp_path / "nodes.csv.gz").write_bytes(gzip.compress(nodes.read_bytes()))
    nodes.unlink()
    assert load_file(tmp_path / given_file).vm_ids == ("p0", "p1", "p2", "p3")


# --- Whatever is wrong, it is refused as such ---------------------------------------------------

CELLS = st.one_of(
    st.sampled_from(["", "0", "-1", "nan", "inf", "1e400", "x", '"', "\x00", "1,1", "2\n", "p0"]),
    st.integers(-(10**20), 10**20).map(str),
    st.text(max_size=5),
)


@given(st.sampled_from(["huawei", "nodes", "pods"]), st.integers(0, 200), CELLS)
@settings(max_examples=250, deadline=None)
def test_any_change_of_a_cell_loads_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, which: str, at: int, cell: str
) -> None:
    texts = {"huawei": HUAWEI, "nodes": NODES, "pods": PODS}
    lines = [line.split(",") for line in texts[which].splitlines()]
    row, column = divmod(at % (len(lines) * len(lines[0])), len(lines[0]))
    lines[row][column] = cell
    texts[which] = "\n".join(",".join(line) for line in lines)
    folder = tmp_path_factory.mktemp("fuzz", numbered=True)
    for name, text in texts.items():
        (folder / f"{name}.csv").write_bytes(text.encode())
    try:
        cluster = load_file(folder / f"{which}.csv")
    except InstanceError as error:
        assert str(error).startswith(str(folder))
    else:
        assert cluster.free()[0].min() >= 0


@given(st.integers(100, 12_000), st.binary(min_size=1, max_size=4))
@example(3826, b"\x80")  # the name of a table is no text any more
@settings(max_examples=80, deadline=None)
def test_any_damage_of_a_sqlite_file_loads_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, at: int, damage: bytes
) -> None:
    folder = tmp_path_factory.mktemp("fuzz", numbered=True)
    path = azure_file(folder / "trace.sqlite", AZURE_VMS, AZURE_TYPES)
    data = bytearray(path.read_bytes())
    at %= len(data)
    data[at : at + len(damage)] = damage
    path.write_bytes(bytes(data))
    try:
        load_file(path)
    except InstanceError as error:
        assert str(error).startswith(str(path))
