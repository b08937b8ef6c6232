"""Documents and tables that no loader can use end in one clear error, at once and in little
memory.
"""

from __future__ import annotations

import json
import lzma
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from refusals import little_memory, refused
from sysopt_gym.agents.bounded_yaml import parse_yaml
from sysopt_gym.agents.configuration import load_config
from sysopt_gym.core.documents import parse_json
from sysopt_gym.core.errors import (
    InstanceError,
    RegistryError,
    SettingError,
    SolutionError,
    SysOptError,
)
from sysopt_gym.core.solution import SolutionFile
from sysopt_gym.core.user_code import import_file
from sysopt_gym.datasets.files import read_file
from sysopt_gym.datasets.numerals import number
from sysopt_gym.datasets.tables import read_table

pytestmark = pytest.mark.usefixtures("in_time", "imported")


# --- documents --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[" * 100_000, "cannot be read as JSON"),
        ("[" * 200 + "]" * 200, "nested more than 100 deep"),
        ('{"a": ' * 200 + "1" + "}" * 200, "nested more than 100 deep"),
        ('{"a": ' + "9" * 5000 + "}", "a number of 5000 digits"),
        ('{"a": 1, "a": 2}', "the key 'a' stands twice"),
        ('{"a": NaN}', "holds the number NaN"),
        ('{"a": 1e999}', "holds the number 1e999"),
        ('{"a": ["\\ud83d"]}', "half of a character"),
        ('{"\\uDC00": 1}', "half of a character"),
    ],
)
def test_json_that_no_program_writes_is_refused(text: str, told: str) -> None:
    with pytest.raises(InstanceError, match=f"^mine.json: .*{told}"):
        parse_json("mine.json", text)


def test_json_that_programs_write_is_read() -> None:
    deep: Any = 1
    for _ in range(99):
        deep = [deep]
    for value in ({"a": [1, 2.5, None, "\U0001f600", 10**300]}, deep, {"id": "9" * 5000}):
        assert parse_json("x", json.dumps(value)) == value


ALIASES = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + k)}: &{chr(98 + k)} [{','.join([f'*{chr(97 + k)}'] * 9)}]\n" for k in range(9)
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: " + "[" * 500 + "]" * 500, "nested more than 100 deep"),
        (ALIASES, "with aliases written out"),
        ("a: &a {<<: *a}", "in itself"),
        ("a: &a [*a]", "in itself"),
        ("a: 1\na: 2", "the key 'a' stands twice"),
        ("a: " + "9" * 5000, "a number of 5000 digits"),
        ("a: 2001-99-99", "cannot be read as YAML"),
        ("a: !!python/object/apply:os.getpid []", "could not determine a constructor"),
        ("x" * 2**20, "more than 524288"),
    ],
)
def test_yaml_that_no_one_writes_is_refused(text: str, told: str) -> None:
    with little_memory(), pytest.raises(InstanceError, match=f"^mine.yaml: (?s:.)*{told}"):
        parse_yaml("mine.yaml", text)


def test_yaml_with_aliases_is_read() -> None:
    text = "a: &a {x: 1, y: [1, 2]}\nb: {<<: *a, x: 2}\nc: [*a, *a]"
    a = {"x": 1, "y": [1, 2]}
    assert parse_yaml("x", text) == {"a": a, "b": {"x": 2, "y": [1, 2]}, "c": [a, a]}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("width", "-3"), ("width", "0"), ("imitation.budget_s", "-1"), ("ppo.iterations", "-5"),
        ("imitation.batch_size", "0"), ("imitation.learning_rate", ".nan"), ("seed", "-1"),
        ("seed", "true"), ("recipe", "os:system"), ("seeds", "0"), ("start", "~nosuchuser"),
        ("seed", "9" * 5000), ("." * 5000, "1"),
    ],
)  # fmt: skip
def test_a_configuration_that_cannot_be_trained_is_refused(key: str, value: str) -> None:
    with pytest.raises(SysOptError):
        load_config("vm_rescheduling_ppo", {"out": "x", key: value})


def test_a_damaged_configuration_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "bomb.yaml").write_text(ALIASES)
    with pytest.raises(SettingError, match=r"bomb\.yaml: "):
        load_config(tmp_path / "bomb.yaml", {})


def test_code_that_is_no_text_is_refused_by_name(tmp_path: Path) -> None:
    for content in (b"\0", b"\xff\xfe", b"(" * 10_000, b"x = " + b"9" * 5000):
        (tmp_path / "mine.py").write_bytes(content)
        with pytest.raises(RegistryError, match=r"mine\.py"):
            import_file(tmp_path / "mine.py")


# --- tables -----------------------------------------------------------------------------------


def test_a_number_of_many_digits_is_read_in_time() -> None:
    assert number("1" * 100_000 + "x") is None
    table = read_table("t.csv", f"a\n{'0' * 5000}7\n", ["a"])
    assert table.wholes("a", 0, 9).tolist() == [7]


@pytest.mark.parametrize("text", ["a," * 5_000_000, "a\n" + "x" * 200_000], ids=["wide", "long"])
def test_a_table_of_one_endless_line_is_refused(text: str) -> None:
    with pytest.raises(InstanceError, match=r"^t\.csv: "):
        read_table("t.csv", text, ["a"])


ENDLESS = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r)"


@pytest.mark.parametrize("table", ["vm", "vmType"])
def test_a_trace_without_an_end_is_refused(tmp_path: Path, table: str) -> None:
    path = tmp_path / "trace.sqlite"
    base = sqlite3.connect(path)
    columns = {
        "vm": "vmId, vmTypeId, starttime, endtime",
        "vmType": "vmTypeId, machineId, core, memory",
    }
    for name, names in columns.items():
        if name == table:
            values = ", ".join(f"n AS {one}" for one in names.split(", "))
            base.execute(f"CREATE VIEW {name} AS {ENDLESS} SELECT {values} FROM r")
        else:
            base.execute(f"CREATE TABLE {name} ({names})")
            base.execute(f"INSERT INTO {name} VALUES (1, 1, 0.5, 0.5)")
    base.commit()
    base.close()
    with little_memory():
        assert f"{path}: {table!r} is no table" in refused("vm_rescheduling", path)


def test_a_packed_file_inside_others_is_bounded(tmp_path: Path) -> None:
    data = b"a,b\n"
    for _ in range(10):
        data = lzma.compress(data, preset=0)
    (tmp_path / "onion").write_bytes(data)
    with pytest.raises(InstanceError, match="onion"):
        read_file(tmp_path / "onion").text("a table")


@pytest.mark.parametrize(
    ("actions", "told"),
    [
        ([2**63], "numbers over"),
        ([2**64], "of type object"),
        ([0.5], "of type float64"),
        ([True], "of type bool"),
        ([[1, 2], [3]], "rows of different lengths"),
    ],
)
def test_a_solution_whose_actions_are_no_whole_numbers_is_refused(
    actions: list[Any], told: str
) -> None:
    file = SolutionFile("toy", "toy/0", "0", "mine", 0, {}, actions)
    with pytest.raises(SolutionError, match=f"^mine.json: .*{told}"):
        file.action_array(Path("mine.json"))
