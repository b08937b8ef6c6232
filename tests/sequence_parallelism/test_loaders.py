"""Users' files: what is read of them, and what is refused, with line and remedy."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from sysopt_gym.core.errors import InstanceError, SettingError
from sysopt_gym.core.notes import InputNote
from sysopt_gym.datasets.sequence_parallelism.loaders import load_file
from sysopt_gym.datasets.sequence_parallelism.template import template

LENGTHS = [300, 128, 5000, 77]
PADDED = [384, 128, 5120, 128]


def read(folder: Path, text: str, **settings: str) -> list[int]:
    path = folder / "mine.txt"
    path.write_text(text)
    found: list[int] = load_file(path, settings).lengths.tolist()
    return found


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(map(str, LENGTHS)),
        "length\n" + "\n".join(map(str, LENGTHS)) + "\n\n",
        "\r\n".join(map(str, LENGTHS)),
        "\n".join(json.dumps({"id": i, "length": n}) for i, n in enumerate(LENGTHS)),
        "\n".join(json.dumps({"input_ids": [1] * n}) for n in LENGTHS),
        json.dumps({"input_ids": [[7] * n for n in LENGTHS], "attention_mask": []}),
        json.dumps({"length": LENGTHS, "input_ids": [[1]] * 4}),
        json.dumps(LENGTHS),
        json.dumps([{"length": n} for n in LENGTHS], indent=1),
        json.dumps({"lengths": LENGTHS}),
    ],
)
def test_lengths_are_read_in_every_form(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) == PADDED
    assert read(tmp_path, text, pad="1") == LENGTHS


def test_one_line_of_json_is_one_sequence(tmp_path: Path) -> None:
    assert read(tmp_path, '{"input_ids": [1, 2, 3]}', pad="1") == [3]
    assert read(tmp_path, '{"length": 9}', pad="1") == [9]


def test_a_part_of_the_file_becomes_steps_and_the_user_is_told(tmp_path: Path) -> None:
    path = tmp_path / "many.txt"
    path.write_text("\n".join(map(str, range(1, 101))))
    with pytest.warns(InputNote, match="read are sequences 20 to 39 of 100"):
        batch = load_file(path, {"batch": "10", "first": "2", "steps": "2", "pad": "1"})
    assert batch.lengths.tolist() == list(range(21, 41))
    assert batch.step.tolist() == [0] * 10 + [1] * 10
    with pytest.raises(SettingError, match="100 sequences make 10 steps of 10; give a smaller"):
        load_file(path, {"batch": "10", "first": "10"})
    with pytest.warns(
        InputNote, match="left out are 28 of 100 sequences, which the context of 200"
    ):
        batch = load_file(path, {"pad": "1", "context": "200"})
    assert batch.lengths.max() == 72


def test_the_template_is_read_as_it_says(tmp_path: Path) -> None:
    document = json.loads(template().text)
    path = tmp_path / "batch.json"
    path.write_text(template().text)
    batch = load_file(path)
    assert batch.name == "sixteen" and batch.context == 32768
    assert batch.degrees.tolist() == [1, 2, 4, 8] and batch.class_devices.tolist() == [8]
    assert batch.linear == document["model"]["linear_ms"]
    saved = tmp_path / "batch.npz"
    batch.save(saved)
    assert load_file(saved).content_hash == batch.content_hash
    assert load_file(saved, {"memory": "40"}).class_memory.tolist() == [40 * 1024]
    document["devices"].append(document["devices"][0] | {"class": "H100", "speed": 2.5})
    path.write_text(json.dumps(document))
    assert load_file(path).class_speed.tolist() == [1.0, 2.5]


def altered(**changes: object) -> str:
    return json.dumps({k: v for k, v in (json.loads(template().text) | changes).items() if v != ""})


DEVICE = {"class": "A", "count": 8, "memory_gib": 30, "bandwidth": [1, 1, 1, 1]}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no lengths"),
        ("12\n-3\n", "line 2: '-3'; give one length a line"),
        ("12\n0\n", "line 2: '0'"),
        ("12\n1.5\n", "line 2: '1.5'"),
        ("12\n99999999999999\n", "line 2: '99999999999999'"),
        ("12,13\n", "line 1: '12,13'"),
        ('{"length": 5}\n{"size": 5}\n', "line 2: the object: the fields 'length' and 'input_ids'"),
        ('{"length": 5}\n{"length": "x"}\n', "line 2: the object.length: is a text"),
        ('{"length": 5}\n{"length": 5\n', "line 2: not valid JSON"),
        ('{"length": 5}\n{"input_ids": []}\n', "line 2.*is no list of tokens"),
        ('{"tokens": [1]}', "has none of the fields 'length', 'input_ids', 'lengths'"),
        ('[1, "a"]', r"the document\[1\]: is a text"),
        ("[true]", "is true or false"),
        (altered(format="other 1"), "expected 'sysopt-gym batch 1'"),
        (altered(lengths=""), "the field 'lengths' is missing"),
        (altered(lengths=[0]), r"lengths\[0\]: is 0, outside"),
        (altered(degrees=[2, 2]), "degrees: must rise"),
        (altered(devices=""), "degrees: needs devices with their bandwidth"),
        (altered(devices=[DEVICE, DEVICE]), "devices: must hold classes of unlike names"),
        (altered(devices=[DEVICE | {"bandwidth": [1]}]), "has 1 values for 4 degrees"),
        (altered(devices=[DEVICE | {"count": 1.5}]), "count: is 1.5, expected a whole number"),
        (altered(model={"name": "x"}), "model: the fields 'parameters'.* are missing"),
        (altered(devices=[DEVICE | {"memory_gib": 5}]), "no token fits"),
    ],
)
def test_broken_files_are_refused_with_the_place_and_the_remedy(
    tmp_path: Path, text: str, says: str
) -> None:
    with pytest.raises(InstanceError, match=says) as caught:
        read(tmp_path, text)
    assert "mine" in str(caught.value) or "sixteen" in str(caught.value)


def test_many_lengths_are_read_quickly(tmp_path: Path) -> None:
    path = tmp_path / "million.txt"
    path.write_text("\n".join(map(str, np.arange(1, 200_001))))
    with pytest.warns(InputNote, match=re.escape("of 200,000")):
        assert len(load_file(path).lengths) == 512
