"""Files: how large a user's may be, how they are unpacked and read, and what is refused where."""

from __future__ import annotations

import bz2
import gzip
import lzma
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from sysopt_gym.core.errors import InstanceError, OutputError, SettingError
from sysopt_gym.core.files import MEGABYTE, read_bytes, size_limit, write_bytes
from sysopt_gym.datasets.files import naming, read_file
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
    path.write_bytes(gzip.compress(bytes(10**5)))
    monkeypatch.setenv("SYSOPT_MAX_FILE_MB", "0.01")
    with pytest.raises(InstanceError, match=r"trace.csv.gz: holds more than"):
        read_file(path)


def zipped(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, "a,b")
    return path


def test_a_zip_of_one_file_is_read_as_that_file_and_never_past_the_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    litter = ("__MACOSX/._table.csv", ".DS_Store", "folder/")
    path = zipped(tmp_path / "table.csv.zip", *litter, "folder/table.csv")
    file = read_file(path)
    assert (file.stem, file.text(), file.is_zip) == ("table", "a,b", False)
    packed = tmp_path / "twice.zip.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert read_file(packed).text() == "a,b"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("table.csv", bytes(10**5))
    monkeypatch.setenv("SYSOPT_MAX_FILE_MB", "0.01")
    with pytest.raises(InstanceError, match="holds more than"):
        read_file(path)


def test_a_member_of_a_zip_of_several_is_unpacked_by_its_name(tmp_path: Path) -> None:
    file = read_file(zipped(tmp_path / "pair.zip", "one.csv", "two.csv"))
    assert file.is_zip and file.members() == ["one.csv", "two.csv"]
    assert file.member("two.csv").text() == "a,b"


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1"])
def test_texts_are_read_in_any_packing_encoding_and_line_ends(
    tmp_path: Path, pack: Callable[[bytes], bytes], encoding: str
) -> None:
    told = "temp,note\r\n30 °C,warm\rcold,20 °C\n"
    path = tmp_path / "table.csv"
    path.write_bytes(pack(told.encode(encoding)))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert read_file(path).text() == "temp,note\n30 °C,warm\ncold,20 °C\n"
    assert [("Windows-1252" in str(one.message)) for one in said] == [True] * (
        encoding == "latin-1"
    )


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook .* save it as CSV"),
        (b"PAR1\x15", "a Parquet file; .* save it as CSV"),
        (b"(\xb5/\xfd", "compressed by zstd; unpack it"),
        (b"x" * 257 + b"ustar", "a tar archive; unpack it"),
        (b"\x1f\x8b", "damaged gzip"),
        (b"BZh9", "damaged bzip2"),
        (b"PK\x03\x04oops", "damaged"),
        (b"a,b\n1\x00,2\n\xff", "neither text"),
    ],
)
def test_files_of_other_programs_are_refused_by_name(
    tmp_path: Path, content: bytes, told: str
) -> None:
    (tmp_path / "odd").write_bytes(content)
    with pytest.raises(InstanceError, match=rf"odd: {told}"):
        read_file(tmp_path / "odd").text("a table")


def test_a_workbook_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = zipped(tmp_path / "book.xlsx", "[Content_Types].xml", "xl/workbook.xml")
    with pytest.raises(InstanceError, match="an Excel workbook; save the sheet as CSV"):
        read_file(path)


def test_bytes_that_are_no_text_are_refused_with_what_can_be_given(tmp_path: Path) -> None:
    (tmp_path / "odd").write_bytes(b"ab\xff")
    with pytest.raises(InstanceError, match=r"odd: .*byte 2 is not UTF-8 text.; give a play"):
        read_file(tmp_path / "odd").text("a play")


def test_a_refusal_is_given_the_name_of_its_file_once() -> None:
    for why in ("no rows", "a.csv: no rows"):
        with pytest.raises(InstanceError, match=r"^a.csv: no rows$"), naming("a.csv"):
            raise InstanceError(why)


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
