"""Traces that cannot be played are refused: the file, the row, the column and the remedy."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest
from sysopt_gym.core.errors import InstanceError, SettingError
from sysopt_gym.core.notes import InputNote
from sysopt_gym.datasets.vm_allocation.generator import generate
from sysopt_gym.datasets.vm_allocation.loaders import load_file
from sysopt_gym.datasets.vm_allocation.settings import with_settings

pytestmark = pytest.mark.filterwarnings("ignore::sysopt_gym.core.notes.InputNote")

OWN = "arrival,exit,cores,memory_mb\n"
IDS = "id,arrival,exit,cores,memory_mb\n"
FLAVORS = "arrival,exit,flavor\n"
HUAWEI = "vmid,cpu,memory,time,type\n"
GOOGLE = "time,type,collection_id,instance_index,resource_request.cpus,resource_request.memory\n"


def read(folder: Path, text: str, **settings: str) -> None:
    path = folder / "mine.csv"
    path.write_text(text)
    load_file(path, settings)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (OWN + "0,9,4,8\n10,5,4,8\n", r"row 3, column 'exit': is 5, before the arrival at 10; cor"),
        (OWN.replace("exit", "lifetime") + "1,-3,4,8\n", "row 2, column 'lifetime': .*negative"),
        (OWN.replace("exit", "lifetime") + ",3,4,8\n", "row 2.*'arrival': is empty; a lifetime"),
        (OWN + "soon,9,4,8\n", "row 2, column 'arrival': is 'soon', expected a number"),
        (OWN + "0,inf,4,8\n", "row 2, column 'exit': is inf, expected a finite number"),
        (OWN + "0,9,-4,8\n", "row 2, column 'cores': is -4, outside"),
        (OWN + "0,9,4,-8\n", "row 2, column 'memory_mb': is -8, outside"),
        (OWN + "0,9,4\n", "row 2: has 3 columns, the header has 4; the file may be cut off"),
        (OWN + "0,9,4,8,7\n", "row 2: has 5 columns.*must be quoted"),
        (OWN + '0.5,9,4,8\n"1,5",9,4,8\n', "row 2.*decimal points and commas are mixed"),
        (OWN + '"1,000","9,000",4,8\n', "row 2.*may be a decimal comma or a mark of thousands"),
        (OWN, "has a header but no rows"),
        (" \n\n", "is empty; give a table of VMs with arrival, exit"),
        ("foo,bar\n1,2\n", "row 1: 'foo,bar' is no header of a known trace; .*columns=arrival:"),
        ("arrival,exit\n1,2\n", "row 1: no column for flavor"),
        ("arrival,cores\n1,2\n", "row 1: no column for exit"),
        ("arrival,start,exit,cores\n0,0,5,4\n", "'arrival' or 'start'; choose one by the setting"),
        (
            OWN.replace("exit", "exit (weeks)") + "0,1,4,8\n",
            "'exit': the unit 'weeks' is not",
        ),
        (OWN.replace("_mb", " (KB)") + "0,1,4,8\n", "the unit 'kb' is not known"),
        (OWN + "0,9,4,8\n0,9,100,8\n", r"row 3: VM 'row-3' .* needs 50 cores .*node_cores"),
        (OWN + "0,9,4,999999\n", r"row 2: VM 'row-2' .*500000 MB on each .* 184388 MB"),
        (OWN + "0,9,0,8\n", "no VM needs CPU for any time; there is nothing to place"),
        (OWN + "5,5,4,8\n", "no VM needs CPU for any time"),
        (OWN + "NA,9,4,8\n", "no VM arrives from hour 0 on"),
        (IDS + "a,0,9,4,8\na,5,12,4,8\n", "row 3, column 'id': 'a' is there already, since row 2"),
        (IDS + "a,0,,4,8\na,5,12,4,8\n", "row 3, column 'id': .*since row 2 and never leaves"),
        (IDS + ",0,,4,8\n", "row 2, column 'id': is empty"),
        (FLAVORS + "0,5,gigantic\n", "row 2, column 'flavor': .*add columns cores and memory_mb"),
        (FLAVORS + "2026-01-01,2026-13-01,4U8G\n", "row 2, column 'exit': is '2026-13-01'"),
        (FLAVORS + "2026-01-01,17,4U8G\n", "row 2, column 'exit': .* dates and the others numbers"),
        (FLAVORS + "01/02/2026,01/03/2026,4U8G\n", "row 2, column 'arrival': .*or dates through"),
        (FLAVORS + "2026-01-01T00:00Z,2026-01-02,4U8G\n2026-01-01,,4U8G\n", "have a time zone"),
        (OWN.replace("cores", "cores,pinned") + "0,5,4,perhaps,8\n", "row 2, column 'pinned'"),
        (OWN.replace("cores", "cores,nodes") + "0,5,4,3,8\n", "row 2, column 'nodes': is 3"),
        (HUAWEI + "1,4,8,0,0\n1,4,8,5,0\n", "row 3, column 'vmid': VM '1' runs already, since row"),
        (HUAWEI + "1,4,8,0,0\n1,4,8,5,1\n1,4,8,6,1\n", "row 4, column 'vmid': .*deleted again"),
        (HUAWEI + "1,4,8,5,1\n", "no VM arrives from hour 0 on"),
        (HUAWEI + "1,4,8,0,0\n2,96,8,1,0\n", r"row 3: VM '2' \(96U8G\) needs 48 cores"),
        (HUAWEI + "1,4,8,0,2\n", "row 2, column 'type': is 2"),
        (HUAWEI.replace(",type", "") + "1,4,8,0\n", "row 1: the column 'type' is missing"),
        (GOOGLE + "5,JUMP,1,0,0.1,0.1\n", "row 2, column 'type': is 'JUMP', expected an event"),
        (GOOGLE + "5,SCHEDULE,1,0,4,0.1\n", "row 2, column 'resource_request.cpus': is 4, outside"),
        (GOOGLE + "5,SUBMIT,1,0,0.1,0.1\n", "no SCHEDULE event; there is nothing to place"),
    ],
)
def test_a_bad_trace_is_refused_with_its_row(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(InstanceError, match=re.compile(says, re.DOTALL)) as refusal:
        read(tmp_path, text)
    assert str(refusal.value).startswith(str(tmp_path / "mine.csv"))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"start_h": "3"}, "start_h=3: .* has 2 hours; give fewer"),
        ({"start_h": "-1"}, "start_h='-1'; give a number from 0"),
        ({"start_h": "1.2", "horizon_h": "0.5"}, "no VM of .* arrives .* next one does at hour 2"),
        ({"pms": "0"}, "pms='0'; give a whole number from 1"),
        ({"nodes": "3"}, "nodes='3'"),
        ({"node_cores": "many"}, "node_cores='many'; give a number"),
        ({"times": "weeks"}, "times='weeks'; give one of auto, s"),
        ({"columns": "when:arrival"}, "columns='when:arrival'; give WHAT:NAME"),
        ({"columns": "arrival:begin"}, "columns='begin': .* has the columns arrival,"),
        ({"warm_up_h": "x"}, "warm_up_h='x'"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(
    tmp_path: Path, settings: dict[str, str], says: str
) -> None:
    with pytest.raises(SettingError, match=says):
        read(tmp_path, OWN + "0,3000,4,8\n3600,,4,8\n7200,,4,8\n", **settings)


def test_what_is_no_file_of_a_trace_has_no_windows() -> None:
    with pytest.raises(
        SettingError, match=r"start_h='5': only the file .*; generated-4pm-seed1 is none"
    ):
        with_settings(generate({"pms": "4"}, 1), {"start_h": "5"})


def test_harmless_disorder_is_sorted_and_said(tmp_path: Path) -> None:
    with pytest.warns(InputNote, match="its rows are not in order of time; sorted"):
        read(tmp_path, HUAWEI + "1,4,8,9,1\n1,4,8,0,0\n2,4,8,3,0\n")
    with pytest.warns(InputNote, match="1 VM is deleted but never created; taken as there from"):
        read(tmp_path, HUAWEI + "2,4,8,3,0\n1,4,8,9,1\n")


def test_what_is_left_out_or_guessed_is_said(tmp_path: Path) -> None:
    with pytest.warns(InputNote, match="1 VM left out that need no CPU"):
        read(tmp_path, OWN + "0,9,4,8\n0,9,0,8\n")
    with pytest.warns(InputNote, match="read as MB, 2 MB a core; call it memory_gib"):
        read(tmp_path, OWN.replace("_mb", "") + "0,9,8,16\n")
    with pytest.warns(InputNote, match="read as seconds; if they are milliseconds .* times=ms"):
        read(tmp_path, OWN + "1700000000000,1700000500000,4,8\n")
    with pytest.warns(InputNote, match="contenders are told of a process that is assumed"):
        read(tmp_path, OWN + "0,9,4,8\n")


@pytest.mark.parametrize("text", [OWN + "0,9,4,8\n", OWN + "0,,4,8\n", HUAWEI + "1,4,8,0,0\n"])
def test_a_trace_of_one_vm_is_played(tmp_path: Path, text: str) -> None:
    path = tmp_path / "one.csv"
    path.write_text(text)
    assert len(load_file(path).request_flavor) == 1


def test_bad_hosts_are_named(tmp_path: Path) -> None:
    (tmp_path / "vms.csv").write_text("vm,host,arrival,exit,cores\na,h9,0,9000,4\nb,,5000,,4\n")
    for hosts, says in (
        ("h1,16,32000,2,", r"vms.csv: row 2: VM 'a' is on host 'h9', which is not among the hosts"),
        ("h1,16,32000,3,", r"hosts.csv: row 2: .* cannot be shared evenly by 3 NUMA nodes"),
        ("h1,16,32000,4,", r"hosts.csv: row 2: has 4 NUMA nodes; give 2"),
        ("h1,16,32000,2,odd", r"hosts.csv: row 2: status is 'odd', expected one of ACTIVE"),
        ("h1,16,32000,2,down", r"hosts.csv: no host is ACTIVE"),
        ("h9,1,32000,1,", r"vms.csv: row 2: VM 'a' .* needs 4 cores"),
    ):
        text = "host,cpu,memory_mb,nodes,status\n" + hosts + "\n"
        if "h9" not in hosts and "h9" in says:
            text += "h2,16,32000,2,\n"
        (tmp_path / "hosts.csv").write_text(text)
        if "which is not among" in says:
            (tmp_path / "vms.csv").write_text(
                "vm,host,arrival,exit,cores\na,h9,0,9000,4\nb,h1,5000,,4\n"
            )
        with pytest.raises(InstanceError, match=says):
            load_file(tmp_path, {"start_h": "1"})


@pytest.mark.parametrize(
    ("vm", "says"),
    [
        ("(1, 0, 0, 0, 1.0, 0.5)", "table vm, vmId 1, column 'endtime': is 0.5"),
        ("(1, 0, 5, 0, 1.0, NULL)", "column 'vmTypeId': no type 5 in vmType"),
        ("(1, 0, 0, 0, 'x', NULL)", "column 'starttime': is 'x'"),
        (None, "table vm has no rows; there are no VMs"),
    ],
)
def test_a_bad_azure_trace_names_table_row_and_column(
    tmp_path: Path, vm: str | None, says: str
) -> None:
    base = sqlite3.connect(tmp_path / "a.sqlite")
    base.execute("CREATE TABLE vm (vmId, tenantId, vmTypeId, priority, starttime, endtime)")
    base.execute("CREATE TABLE vmType (vmTypeId, machineId, core, memory)")
    base.execute("INSERT INTO vmType VALUES (0, 0, 0.5, 0.5)")
    if vm:
        base.execute(f"INSERT INTO vm VALUES {vm}")
    base.commit()
    base.close()
    with pytest.raises(InstanceError, match=says):
        load_file(tmp_path / "a.sqlite")
