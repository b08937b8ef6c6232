"""Tables of labeled rows as people keep them: which column is what, and what is left out."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sysopt_gym.core.errors import InstanceError, SettingError
from sysopt_gym.core.notes import told_to
from sysopt_gym.datasets.federated_lr.generator import generate
from sysopt_gym.datasets.federated_lr.instance import Federation
from sysopt_gym.datasets.federated_lr.loaders import load_file

ROWS = 60
AGES = np.arange(ROWS) * 1.25
PAYS = (np.arange(ROWS) * 7) % ROWS


def table(**columns: Any) -> str:
    """A CSV of columns; each is a list of cells, or a function of the row."""
    lists = [[cell(n) for n in range(ROWS)] if callable(cell) else list(cell) for cell in
             columns.values()]  # fmt: skip
    lines = [",".join(map(str, cells)) for cells in zip(*lists, strict=True)]
    return "\n".join([",".join(columns), *lines])


def load(folder: Path, text: str | bytes, **given: str) -> tuple[Federation, str]:
    path = folder / "own.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    said: list[str] = []
    with told_to(said.append):
        made = load_file(path, given)
    return made, " | ".join(said)


PLAIN = {"age": AGES, "pay": PAYS, "label": lambda n: n % 2, "client": lambda n: n % 4}


def renamed(**names: str) -> str:
    return table(**{names.get(name, name): cells for name, cells in PLAIN.items()})


@pytest.mark.parametrize(
    "name",
    ["client_id", "Client ID", "clientId", "CLIENT", "user", "user_id", "Site", "hospital",
     "device-id", "Institution", "participant", "client Nr.", "userUUID"],
)  # fmt: skip
def test_a_column_of_clients_is_known_in_any_spelling_and_said(tmp_path: Path, name: str) -> None:
    plain, said = load(tmp_path, table(**PLAIN))
    assert said == "" and plain.clients == 4 and plain.inputs.shape[1] == 2
    made, said = load(tmp_path, renamed(client=name))
    assert made.content_hash == plain.content_hash
    assert (f"clients are read from the column '{name.lower()}'" in said) == (name != "CLIENT")
    halves = table(**PLAIN | {"client": [f"{n % 4}{'.0' * (n % 3)}"[:3] for n in range(ROWS)]})
    assert load(tmp_path, halves)[0].content_hash == plain.content_hash


def test_which_columns_hold_clients_and_labels_can_be_set(tmp_path: Path) -> None:
    text = renamed(client="group", label="grade")
    with pytest.raises(InstanceError, match=r"like labels .* 'grade', 'group'; name the one"):
        load(tmp_path, text)
    made, said = load(tmp_path, text, label_column="Grade", client_column="4")
    assert made.content_hash == load(tmp_path, table(**PLAIN))[0].content_hash
    assert "labels are read from the column 'grade'" in said
    none, _ = load(tmp_path, table(**PLAIN), client_column="none")
    assert none.inputs.shape[1] == 3 and none.clients == 4  # one for each ten of 42 rows
    with pytest.raises(SettingError, match=r"client_column='x': .* has the columns age, pay"):
        load(tmp_path, text, label_column="grade", client_column="x")
    generate({"clients": "3"}, 0).save(tmp_path / "made.npz")
    with pytest.raises(SettingError, match="label_column='y': says how a table is read"):
        load_file(tmp_path / "made.npz", {"label_column": "y"})


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"site": lambda n: n % 2, "device": lambda n: n % 3}, "clients may be in 'site' or 'devi"),
        ({"label": lambda n: n % 2, "client": range(ROWS)}, "every row has a client of its own"),
        ({"label": lambda n: 1}, "all labels .* are '1'; there is nothing to learn from"),
        ({"label": lambda n: n / 7}, "60 different numbers in 60 rows, .*quantities, but classes"),
        ({"label": lambda n: 20 + n % 40}, "40 different numbers in 60 rows"),
        ({"label": lambda n: f"t{n}"}, "60 different texts in 60 rows"),
        ({"town": lambda n: f"t{n}"}, "column 'town': is 't0', one of 60 different texts"),
        ({"": lambda n: n % 5}, "column 4 has no name"),
        ({"pay": lambda n: "?" if n % 3 else 1}, r"40 of 60 rows lack a value, .*'pay' .40.; fill"),
        ({"pay": lambda n: "x" if n == 9 else n}, "row 11, column 'pay': is 'x', expected a numb"),
    ],
)
def test_tables_that_cannot_be_told_are_refused_with_the_remedy(
    tmp_path: Path, columns: dict[str, Any], told: str
) -> None:
    base = {"age": AGES, "pay": PAYS, "label": lambda n: n % 2}
    with pytest.raises(InstanceError, match=told):
        load(tmp_path, table(**base | columns))


def test_two_columns_that_name_the_same_clients_are_one(tmp_path: Path) -> None:
    named = {"client_name": lambda n: f"bank {n % 4}"}
    columns = {"client_id" if name == "client" else name: cells for name, cells in PLAIN.items()}
    made, said = load(tmp_path, table(**columns, **named))
    assert made.content_hash == load(tmp_path, table(**PLAIN))[0].content_hash
    assert "'client_name' only numbers or names rows or clients" in said
    with pytest.raises(InstanceError, match="clients may be in 'client_id' or 'client_name'"):
        load(tmp_path, table(**columns, client_name=lambda n: f"bank {n % 3}"))
    made, said = load(tmp_path, table(**PLAIN, client_age=AGES))
    assert made.inputs.shape[1] == 3 and "'client_age' is a feature" in said


def test_two_columns_of_classes_are_refused_and_a_rival_of_label_is_said(tmp_path: Path) -> None:
    both = {"y": lambda n: n % 2, "target": lambda n: n % 3, "age": AGES}
    with pytest.raises(InstanceError, match="labels may be in 'y' or 'target'; choose one by"):
        load(tmp_path, table(**both))
    made, said = load(tmp_path, table(**both, label=lambda n: n % 2))
    assert made.inputs.shape[1] == 3 and "'label'; 'y', 'target' is a feature" in said


@pytest.mark.parametrize("name", ["", "Unnamed: 0", "id", "Row", "index"])
def test_row_numbers_are_no_feature_and_said(tmp_path: Path, name: str) -> None:
    plain, _ = load(tmp_path, table(**PLAIN))
    for numbers in (range(ROWS), range(1, ROWS + 1), np.random.default_rng(0).permutation(ROWS)):
        made, said = load(tmp_path, table(**{name: numbers, **PLAIN}))
        assert made.content_hash == plain.content_hash and "only numbers or names rows" in said
    lettered = [f"p{n}" for n in range(ROWS)]
    assert load(tmp_path, table(patient_id=lettered, **PLAIN))[0].inputs.shape[1] == 2
    assert load(tmp_path, table(center=AGES / 7, **PLAIN))[0].inputs.shape[1] == 3


def test_labels_are_one_class_however_the_number_is_written(tmp_path: Path) -> None:
    plain, _ = load(tmp_path, table(**PLAIN))
    mixed = table(**PLAIN | {"label": lambda n: ("0", "1.0", "0.0", "1")[n % 4]})
    assert load(tmp_path, mixed)[0].content_hash == plain.content_hash
    truth = table(**PLAIN | {"label": lambda n: ("False", "TRUE", "FALSE", "true")[n % 4]})
    assert load(tmp_path, truth)[0].content_hash == plain.content_hash
    assert load(tmp_path, table(**PLAIN | {"label": lambda n: 1 + n % 30}))[0].classes == 30
    words = table(**PLAIN | {"label": lambda n: ("none", "severe")[n % 2]})
    assert load(tmp_path, words)[0].content_hash == plain.content_hash
    made, said = load(tmp_path, table(**PLAIN | {"label": lambda n: ("no", "No", "yes")[n % 3]}))
    assert made.classes == 3 and "differ only in capitals" in said


def test_texts_become_a_feature_each_and_one_client_is_said(tmp_path: Path) -> None:
    text = table(**PLAIN | {"sex": lambda n: "MFX"[n % 3], "client": lambda n: "all"})
    made, said = load(tmp_path, text)
    assert made.inputs.shape[1] == 5 and "each of 'F', 'M', 'X' is a feature of its own" in said
    assert (np.count_nonzero(made.inputs[:, 2:] > 0, axis=1) == 1).all()
    assert made.clients == 1 and "all rows belong to one client, all" in said


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_table_in_any_form_is_the_same_federation(tmp_path: Path, data: st.DataObject) -> None:
    def one_of(*choices: Any) -> Any:
        return data.draw(st.sampled_from(choices))

    plain, _ = load(tmp_path, table(**PLAIN))
    mark, separator = one_of(".", ","), one_of(",", ";", "\t", "|")
    names = {
        "age": "Age",
        "pay": "Pay (EUR)",
        "label": one_of("label", "Label ", "target", "y", "CLASS"),
        "client": one_of("client", "Client ID", "clientId", "user", "hospital"),
    }
    rows = [
        {"age": f"{age:.2f}".replace(".", mark), "pay": f"{pay:.1f}".replace(".", mark),
         "label": one_of(f"{n % 2}", f"{n % 2}{mark}0") if n < 5 else f"{n % 2}",
         "client": f"{n % 4}"}
        for n, (age, pay) in enumerate(zip(AGES, PAYS, strict=True))
    ]  # fmt: skip
    for _ in range(one_of(0, 2)):  # rows that lack something
        lacking = rows[0] | {one_of("age", "label", "client"): one_of("?", "", "NA", "#N/A")}
        rows.insert(data.draw(st.integers(0, len(rows))), lacking)
    # The order of features is theirs in the table.
    order = one_of(("age", "pay", "label", "client"), ("client", "age", "label", "pay"))
    numbered = one_of(None, "", "Unnamed: 0")
    stream = io.StringIO(newline="")
    writer = csv.writer(
        stream,
        delimiter=separator,
        quoting=one_of(csv.QUOTE_MINIMAL, csv.QUOTE_ALL),
        lineterminator=one_of("\n", "\r\n", "\r"),
    )
    head = [] if numbered is None else [numbered]
    writer.writerow([*head, *(names[name] for name in order)])
    for n, row in enumerate(rows):
        writer.writerow([*([n] if head else []), *(row[name] for name in order)])
    content = stream.getvalue().encode(one_of("utf-8", "utf-8-sig", "utf-16"))
    made, _ = load(tmp_path, one_of(bytes, gzip.compress)(content))
    assert made.content_hash == plain.content_hash
