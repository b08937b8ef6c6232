"""Files: how large a user's may be, how they are unpacked and read, and what is refused where."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import numpy as np
import pytest
from sysopt_gym.core.errors import InstanceError, OutputError, SettingError
from sysopt_gym.core.files import MEGABYTE, read_bytes, size_limit, write_bytes
from sysopt_gym.datasets import files
from sysopt_gym.datasets.files import Table, naming, read_file, read_table
from sysopt_gym.datasets.records import parse_json


def sparse(path: Path, size: int) -> Path:
    """A file of `size` bytes that takes no room on the disk."""
    with path.open("wb") as stream:
        stream.truncate(size)
    return path


@pytest.mark.parametrize(("text", "megabytes"), [("", 64), ("1.5", 1.5), ("200", 200)])
def test_the_size_limit_is_a_number_of_megabytes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, megabytes: float
) -> None:
    monkeypatch.setenv("SYSOPT_MAX_FILE_MB", text)
    assert size_limit() == megabytes * MEGABYTE
    assert len(read_bytes(sparse(tmp_path / "fits", MEGABYTE))) == MEGABYTE
    with pytest.raises(InstanceError, match=rf"201 MB, over the limit of {megabytes:g} MB; split"):
        read_bytes(sparse(tmp_path / "large", 201 * MEGABYTE), "split it")


@pytest.mark.parametrize("text", ["64MB", "0", "-1", "nan", "inf", "much"])
def test_a_size_limit_that_is_no_positive_number_is_refused_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    monkeypatch.setenv("SYSOPT_MAX_FILE_MB", text)
    with pytest.raises(SettingError, match=f"SYSOPT_MAX_FILE_MB='{text}'; .* such as 128"):
        read_bytes(sparse(tmp_path / "file", 1))


def test_advice_about_a_large_file_is_the_callers(tmp_path: Path) -> None:
    with pytest.raises(InstanceError, match="over the limit of 64 MB; set SYSOPT_MAX_FILE_MB if"):
        read_bytes(sparse(tmp_path / "large", 65 * MEGABYTE))


def test_a_file_is_written_whole_into_a_new_folder_or_not_at_all(tmp_path: Path) -> None:
    write_bytes(tmp_path / "new" / "file", b"all of it")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file"]
    with pytest.raises(OutputError, match="choose another place"):
        write_bytes(tmp_path / "new" / "file" / "below", b"")
    assert (tmp_path / "new" / "file").read_bytes() == b"all of it"


def test_a_gzip_is_read_as_what_is_in_it_and_never_past_the_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "trace.csv.gz"
    path.write_bytes(gzip.compress(b"\xef\xbb\xbfa,b"))
    file = read_file(path)
    assert (file.stem, file.text(), file.is_zip) == ("trace", "a,b", False)
    monkeypatch.setattr(files, "MOST_UNPACKED", 4)
    with pytest.raises(InstanceError, match=r"trace.csv.gz: holds more than"):
        read_file(path)


def test_a_member_of_a_zip_is_unpacked_never_past_the_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "table.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("table.csv", "a,b")
    file = read_file(path)
    assert file.is_zip and file.members() == ["table.csv"]
    assert file.member("table.csv").text() == "a,b"
    monkeypatch.setattr(files, "MOST_UNPACKED", 2)
    with pytest.raises(InstanceError, match="holds more than"):
        file.member("table.csv")


def test_bytes_that_are_no_text_are_refused_with_what_can_be_given(tmp_path: Path) -> None:
    (tmp_path / "odd").write_bytes(b"ab\xff")
    with pytest.raises(InstanceError, match=r"odd: .*byte 2 is not UTF-8 text.; give a play"):
        read_file(tmp_path / "odd").text("a play")


def test_a_refusal_is_given_the_name_of_its_file_once() -> None:
    for why in ("no rows", "a.csv: no rows"):
        with pytest.raises(InstanceError, match=r"^a.csv: no rows$"), naming("a.csv"):
            raise InstanceError(why)


def table(*lines: str) -> Table:
    return read_table("t.csv", "\n".join(lines), ("name", "size"))


def test_a_table_is_read_by_the_names_in_its_header() -> None:
    found = table("Size (GB),NAME,note", "", '1e3 ,"a","x, y"', "9007199254740993,b,", " ,,")
    assert found.columns == ("size", "name", "note")
    assert found.names("name") == ["a", "b"]
    assert found.wholes("size", 0, 2**60).tolist() == [1000, 2**53 + 1]
    assert found.texts(2) == ["x, y", ""]
    assert [line for line, _ in found.rows] == [3, 4]


def test_tabs_in_the_header_separate_cells() -> None:
    assert table("name\tsize", "a,b\t2").names("name") == ["a,b"]


def test_columns_that_units_alone_tell_apart_keep_their_whole_names() -> None:
    found = read_table("t.csv", "x(1),x(2)\n3,4", ("x(2)",))
    assert found.reals("x(2)", -np.inf, np.inf).tolist() == [4.0]


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (("a,b", "1,2"), "row 1: the columns 'name', 'size' are missing; .*it has 'a,b'"),
        (("name,b", "1,2"), "row 1: the column 'size' is missing"),
        (("name,size",), "has a header but no rows"),
        (("name,size", "a,1", "b"), "row 3: has 1 columns, the header has 2"),
        (("name,size", ",1"), "row 2, column 'name': is empty"),
        (("name,size", "a,1", "", "a,1"), "row 4, column 'name': 'a' is in row 2 too"),
        (("name,size", "a,x"), "row 2, column 'size': is 'x', expected a number"),
        (("name,size", "a,inf"), "row 2, column 'size': is inf, expected a finite number"),
        (("name,size", "a,-1"), r"row 2, column 'size': is -1, outside 0\.\.9"),
        (("name,size", "a,1.5"), "row 2, column 'size': is 1.5, expected a whole number"),
        (("name,size", "a," + "x" * 200_000), "row 2: not CSV"),
    ],
)
def test_a_bad_table_is_refused_by_file_row_and_column(lines: tuple[str, ...], why: str) -> None:
    with pytest.raises(InstanceError, match=rf"^t\.csv: {why}"):
        found = table(*lines)
        found.unique("name")
        found.wholes("size", 0, 9)


def test_every_missing_field_of_an_object_is_named_at_once() -> None:
    document = parse_json("p.json", '{"hosts": [{"id": 1}, {"cpu": 2, "id": 3}]}')
    with pytest.raises(InstanceError, match=r"p.json: hosts\[0\]: the fields 'cpu', 'mem' are m"):
        document.get("hosts").items("id", "cpu", "mem")
    with pytest.raises(InstanceError, match=r"hosts\[1\]: the field 'mem' is missing; add it"):
        document.get("hosts").items()[1].need("id", "cpu", "mem")
    with pytest.raises(InstanceError, match="is a list, expected an object with the fields 'a', "):
        document.get("hosts").need("a", "b")


def test_json_without_numbers_is_refused_where_it_breaks_off() -> None:
    with pytest.raises(InstanceError, match=r"p.json: not valid JSON at line 2, .*seems cut off"):
        parse_json("p.json", '{"a":\n')
    with pytest.raises(InstanceError, match="holds the number Infinity"):
        parse_json("p.json", '{"a": Infinity}')
    assert parse_json("p.json", '{"a": Infinity}', finite=False).value == {"a": float("inf")}
