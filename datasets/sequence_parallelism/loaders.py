"""Read users' files into batches: lengths one a line, JSON lines, a tokenizer's output, JSON.

The format is recognized by the content, not by the file's name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import InstanceError, SettingError
from ...core.instance import load_single
from ...core.notes import note
from ..files import NO_SETTINGS, read_file
from ..records import Record, parse_json
from ..setting_texts import cut
from .generator import padded
from .instance import MIB_PER_GIB, MOST_DEGREES, MOST_DEVICES, MOST_TOKENS, TrainingBatch
from .settings import CLUSTER, blank_batch, fitting, read_reading, with_settings

JSON_FORMAT = "sysopt-gym batch 1"
FORMATS = (
    "lengths in tokens one a line, JSON lines with length or input_ids, a tokenizer's output in "
    "JSON, batch JSON, or an instance saved by this library"
)
ADVICE = "give a part of it; a training step takes some hundred lengths"


def load_file(path: Path, settings: Mapping[str, str] = NO_SETTINGS) -> TrainingBatch:
    """Read the batch in a user's file.

    Supported are: one length a line (as FlexSP's data sets); JSON lines, each an object with
    `length`, or with `input_ids`, which are counted; a Hugging Face tokenizer's output in JSON
    (`input_ids`, a list of lists, or `length`); this library's JSON (docs/sequence_parallelism.md);
    and what it saved itself (.npz, or a .zip set of one instance). Any may be packed (gzip, ...).

    Args:
        path: the file.
        settings: texts by the names in SETTINGS; those in READING say which of the lengths make the
            batch.

    Raises:
        InstanceError: the file is none of these or is malformed; names file, place and remedy.
        SettingError: a setting cannot be used.
    """
    file = read_file(path, ADVICE)
    if file.is_zip:
        return with_settings(load_single(TrainingBatch, path, file.data), settings)
    text = file.text(FORMATS)
    start = text.lstrip()[:1]
    base = blank_batch(file.stem)
    if start == "{" and not _is_lines(text):
        document = parse_json(str(path), text)
        lengths, base = _of_document(document, base)
    elif start == "{":
        lengths = _of_lines(str(path), text)
    elif start == "[":
        lengths = _of_list(parse_json(str(path), text))
    else:
        lengths = _of_numbers(str(path), text)
    cluster = {key: value for key, value in settings.items() if key in CLUSTER}
    return _batch(path, with_settings(base, cluster), lengths, settings)


def _batch(
    path: Path, base: TrainingBatch, lengths: list[int], settings: Mapping[str, str]
) -> TrainingBatch:
    """Put the steps that the settings ask for into a batch."""
    reading = read_reading(settings)
    if not lengths:
        raise InstanceError(f"{path}: holds no lengths; give one at least")
    whole = np.array(lengths, np.int64)
    begin, count = reading.first * reading.batch, reading.steps * reading.batch
    if begin >= len(whole):
        raise SettingError(
            f"{path}: first={reading.first}, but its {len(whole):,} sequences make "
            f"{-(-len(whole) // reading.batch)} steps of {reading.batch}; give a smaller number"
        )
    chosen = whole[begin : begin + count]
    if len(chosen) < len(whole):
        note(
            f"{path}: read are sequences {begin:,} to {begin + len(chosen) - 1:,} of "
            f"{len(whole):,}; set batch=, first= and steps= for others"
        )
    step = np.arange(len(chosen)) // reading.batch
    kept, steps = fitting(base, padded(chosen, reading.pad), step, base.context)
    left = len(chosen) - len(kept)
    if left:
        note(
            f"{path}: left out are {left} of {len(chosen)} sequences, which the context of "
            f"{base.context:,} tokens is too short for; set context= for another"
        )
    return dataclasses.replace(base, lengths=kept, step=steps)


def _is_lines(text: str) -> bool:
    """Whether a text that begins with an object is JSON lines: its first line is a whole object,
    and of a sequence.
    """
    first = text.strip().partition("\n")[0].strip()
    rest = text.strip().partition("\n")[2]
    if not first.endswith("}"):
        return False
    try:
        record = parse_json("", first).value
    except InstanceError:
        return False
    ids = record.get("input_ids")
    return bool(rest) or isinstance(record.get("length"), int) or _is_sequence(ids)


def _is_sequence(ids: Any) -> bool:
    """Whether a value is one sequence's tokens, not a list of sequences."""
    return isinstance(ids, list) and not (ids and isinstance(ids[0], list))


def _of_numbers(place: str, text: str) -> list[int]:
    """Read one whole number a line; a first line that is no number is a header."""
    lengths: list[int] = []
    for number, line in enumerate(text.splitlines(), 1):
        cell = line.strip().strip('"')
        if not cell or (number == 1 and cell.isidentifier()):
            continue
        plain = cell.isascii() and cell.isdecimal() and len(cell) <= len(str(MOST_TOKENS))
        if not plain or not 1 <= int(cell) <= MOST_TOKENS:
            raise InstanceError(
                f"{place}, line {number}: {cut(cell)}; give one length a line, a whole number of "
                f"tokens from 1 to {MOST_TOKENS}, or {FORMATS}"
            )
        lengths.append(int(cell))
    return lengths


def _of_lines(place: str, text: str) -> list[int]:
    """Read JSON lines."""
    rows = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    return [
        _length(Record(f"{place}, line {number}", "the object", parse_json(
            f"{place}, line {number}", line).value))
        for number, line in rows
    ]  # fmt: skip


def _of_list(document: Record) -> list[int]:
    """Read a list of lengths, of objects as in JSON lines, or of token lists."""
    return [_length(record) for record in document.items()]


def _length(record: Record) -> int:
    """Return the length of one sequence: a number, an object with length or input_ids, tokens."""
    if record.has("length"):
        return record.get("length").whole(1, MOST_TOKENS)
    if isinstance(record.value, dict):
        if not record.has("input_ids"):
            record.refuse("the fields 'length' and 'input_ids' are missing; add one of them")
        record = record.get("input_ids")
    if isinstance(record.value, list):
        if not record.value or not _is_sequence(record.value):
            record.refuse("is no list of tokens; give the tokens of one sequence, one at least")
        return len(record.value)
    return record.whole(1, MOST_TOKENS)


def _of_document(document: Record, base: TrainingBatch) -> tuple[list[int], TrainingBatch]:
    """Read this library's JSON, or a tokenizer's output."""
    if document.has("format"):
        said = document.get("format").text()
        if said != JSON_FORMAT:
            document.get("format").refuse(f"is {said!r}, expected {JSON_FORMAT!r}")
        document.need("lengths")
        lengths = [one.whole(1, MOST_TOKENS) for one in document.get("lengths").items()]
        return lengths, _cluster(document, base)
    for key in ("length", "input_ids", "lengths"):
        if document.has(key):
            return [_length(record) for record in document.get(key).items()], base
    document.refuse(f"has none of the fields 'length', 'input_ids', 'lengths'; give {FORMATS}")


def _cluster(document: Record, base: TrainingBatch) -> TrainingBatch:
    """Return the blank batch with the document's devices, degrees and model."""
    changes: dict[str, Any] = {}
    if document.has("name"):
        changes["name"] = document.get("name").text()
    if document.has("context"):
        changes["context"] = document.get("context").whole(1, MOST_TOKENS)
    if document.has("degrees"):
        degrees = [one.whole(1, MOST_DEVICES) for one in document.get("degrees").items()]
        if len(degrees) > MOST_DEGREES or degrees != sorted(set(degrees)) or not degrees:
            document.get("degrees").refuse(
                f"must rise, {MOST_DEGREES} of them at most, one at least"
            )
        changes["degrees"] = np.array(degrees, np.int64)
    degrees_now = changes.get("degrees", base.degrees)
    if document.has("devices"):
        changes |= _devices(document.get("devices"), degrees_now)
    elif document.has("degrees"):
        document.get("degrees").refuse("needs devices with their bandwidth; add them")
    if document.has("model"):
        model = document.get("model").need(
            "parameters", "token_memory_mib", "quadratic_ms", "linear_ms", "traffic_mib", "fixed_ms"
        )
        changes |= {
            "model": model.get("name").text() if model.has("name") else "custom",
            "parameters": model.get("parameters").real(1e-6, 1e6),
            "token_memory": model.get("token_memory_mib").real(1e-9, 1e6),
            "quadratic": model.get("quadratic_ms").real(0, 1e3),
            "linear": model.get("linear_ms").real(0, 1e6),
            "traffic": model.get("traffic_mib").real(0, 1e6),
            "fixed_ms": model.get("fixed_ms").real(0, 1e9),
        }
    return dataclasses.replace(base, **changes)


def _devices(record: Record, degrees: np.ndarray) -> dict[str, Any]:
    """Return the fields of the classes of devices."""
    classes = record.items("class", "count", "memory_gib", "bandwidth")
    names = [one.get("class").text() for one in classes]
    if not classes or len(set(names)) < len(names):
        record.refuse("must hold classes of unlike names, one at least")
    rows = []
    for one in classes:
        given = [value.real(1e-6, 1e9) for value in one.get("bandwidth").items()]
        if len(given) != len(degrees):
            one.get("bandwidth").refuse(
                f"has {len(given)} values for {len(degrees)} degrees; give one for each of degrees"
            )
        rows.append(given)
    return {
        "class_names": tuple(names),
        "class_devices": np.array([one.get("count").whole(1, MOST_DEVICES) for one in classes]),
        "class_memory": np.array(
            [one.get("memory_gib").real(0.01, 1e6) * MIB_PER_GIB for one in classes]
        ),
        "class_speed": np.array(
            [one.get("speed").real(1e-3, 1e3) if one.has("speed") else 1.0 for one in classes]
        ),
        "bandwidth": np.array(rows, np.float64),
    }
