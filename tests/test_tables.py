"""Tables: any dialect of CSV, numbers as people write them, and what is refused where."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sysopt_gym.core.errors import InstanceError
from sysopt_gym.datasets.numerals import is_missing, number
from sysopt_gym.datasets.tables import Table, read_table


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


@pytest.mark.parametrize("separator", ["\t", ";", ",", "|", " ", "  "])
def test_the_separator_is_told_from_the_lines(separator: str) -> None:
    lines = [separator.join(cells) for cells in (("name", "size"), ("a", "1.5"), ("b", "2"))]
    assert table(*lines).reals("size", 0, 9).tolist() == [1.5, 2]
    assert table("# made", "", "# by us", f"name{separator}size", f"a{separator}1").columns
    marked = separator.strip(" ") or ","
    assert table("# made", f"#name{marked}size", f"a{marked}1").names("name") == ["a"]
    assert table("sep=;", "name;size", "a,b;1").names("name") == ["a,b"]
    assert table("", "name;size;note, if any", "a;1;", "b;2;x").texts(2) == ["", "x"]


def test_rs_row_numbers_and_empty_cells_at_the_end_are_no_columns_of_the_header() -> None:
    found = table('"name" "size"', '"1" "a" 3', '"2" "b" 4')
    assert found.columns == ("", "name", "size") and found.names("name") == ["a", "b"]
    assert table("name,size", "a,1,", "b,2,,").reals("size", 0, 9).tolist() == [1, 2]
    with pytest.raises(InstanceError, match=r"row 2: has 3 columns.* ',' must be quoted"):
        table("name,size", "a,0,5", "b,0,7")


def reals(*cells: str, separator: str = ";", beside: str = "") -> list[float]:
    """The numbers in a column, read from a table of two."""
    lines = [f'"{cell}"{separator}"{beside}"' for cell in cells]
    found = read_table("t.csv", "\n".join([f"x{separator}y", *lines]), ("x",))
    return found.reals("x", -np.inf, np.inf).tolist()


def test_decimal_commas_and_marks_of_thousands_are_told_from_the_whole_column() -> None:
    assert reals("0,5", "12", "-3,25e2", "1,234") == [0.5, 12, -325, 1.234]
    assert reals("1.234,5", "0,5", "1.000") == [1234.5, 0.5, 1000]
    assert reals("1,234.5", "0.5", "1,000", separator=",") == [1234.5, 0.5, 1000]
    assert reals("1,234,567", "1,000") == [1234567, 1000]
    assert reals("0,5", "7", separator=",") == [0.5, 7]
    assert reals("1,234", "2,000", separator="\t", beside="0,5") == [1.234, 2]
    assert reals("\u22120.5", "\u22120,5".replace(",", ".")) == [-0.5, -0.5]


@pytest.mark.parametrize(
    ("cells", "separator", "beside", "told"),
    [
        (("0,5", "0.5"), ";", "", "decimal points and commas are mixed"),
        (("1.234,5", "1,234.5"), ";", "", "decimal points and commas are mixed"),
        (("1,234,567", "0,5"), ";", "", "row 3.*mixed"),
        (("1,234", "12,345"), ",", "", "may be a decimal comma or a mark of thousands"),
        (("1,234", "12,345"), "\t", "", "may be a decimal comma or a mark of thousands"),
        (("1,234", "12,345"), ";", "0.5", "may be a decimal comma or a mark of thousands"),
        (("1.234", "12.345"), ";", "0,5", "in a table with decimal commas"),
        (("1_000",), ";", "", "expected a number"),
        (("١",), ";", "", "expected a number"),
        (("1 000",), ";", "", "expected a number"),
        (("-inf",), ";", "", "expected a finite number"),
    ],
)
def test_numbers_that_may_mean_two_things_are_refused(
    cells: tuple[str, ...], separator: str, beside: str, told: str
) -> None:
    with pytest.raises(InstanceError, match=told):
        reals(*cells, separator=separator, beside=beside)


def test_cells_that_hold_nothing_are_known_and_their_rows_can_be_left_out() -> None:
    found = table("name,size", "a,1", "b,#N/A", "c,?", "d,nan", "e,", "f,2")
    kept = found.present("size")
    assert kept.tolist() == [True, False, False, False, False, True]
    assert found.only(kept).names("name") == ["a", "f"]
    assert found.only(kept).rows[1][0] == 7
    assert not is_missing("0") and number("1e5") == 1e5 and number("x") is None


WORDS = st.text("ABCxyz é-_", min_size=1).map(str.strip).filter(lambda word: not is_missing(word))
NUMBERS = st.floats(-1e6, 1e6).map(lambda value: round(value, 4))


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(st.tuples(WORDS, NUMBERS, NUMBERS), min_size=1, max_size=8),
    dialect=st.fixed_dictionaries(
        {
            "delimiter": st.sampled_from("\t;,|"),
            "quoting": st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
            "lineterminator": st.sampled_from(["\n", "\r\n", "\r"]),
        }
    ),
    mark=st.sampled_from(".,"),
    told=st.booleans(),
)
def test_a_table_in_any_dialect_is_read_as_it_was_written(
    rows: list[tuple[str, float, float]], dialect: dict[str, Any], mark: str, told: bool
) -> None:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, **dialect)
    if told:
        stream.write(f"sep={dialect['delimiter']}{dialect['lineterminator']}")
    writer.writerow(["Name", "Size (GB)", "weight"])
    for name, *numbers in rows:
        writer.writerow([name, *(f"{value:.4f}".replace(".", mark) for value in numbers)])
    found = read_table("t.csv", stream.getvalue(), ("name", "size"))
    assert found.names("name") == [name for name, _, _ in rows]
    assert found.reals("size", -1e9, 1e9).tolist() == [size for _, size, _ in rows]
    assert found.reals("weight", -1e9, 1e9).tolist() == [weight for _, _, weight in rows]
