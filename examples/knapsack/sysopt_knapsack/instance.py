"""Items: one knapsack problem; how one is generated, and read from a user's file."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from sysopt_gym.core.contracts import Setting
from sysopt_gym.core.errors import InstanceError, SettingError
from sysopt_gym.core.fields import array, declared, whole
from sysopt_gym.core.instance import Instance, load_archive
from sysopt_gym.datasets.sets import Drawn, Sets

SETTINGS = {"capacity": Setting("half the items' weight", "the most that may be picked, kg")}
PARAMETERS = {"items": Setting("20", "number of items")}


@declared
class Items(Instance):
    """N items, of which some are to be picked."""

    FAMILY: ClassVar[str] = "knapsack"

    value: np.ndarray = array("int64", "N", "Worth of each item.", low=1, unit="coins")
    weight: np.ndarray = array("int64", "N", "Weight of each item.", low=1, unit="kg")
    capacity: int = whole("The most that may be picked.", low=0, unit="kg")


def generate(parameters: Mapping[str, str], seed: int) -> Items:
    """Draw items whose values follow their weights, with noise.

    Args:
        parameters: texts by the names in PARAMETERS.
        seed: the same seed gives the same items.

    Raises:
        SettingError: a parameter is no whole number above 0.
    """
    text = parameters.get("items", PARAMETERS["items"].default)
    if not text.isdecimal() or int(text) == 0:
        raise SettingError(f"items={text}: give a whole number above 0")
    rng = np.random.default_rng(seed)
    weight = rng.integers(5, 50, int(text))
    value = weight + rng.integers(1, 25, int(text))
    return Items(f"knapsack/{seed}", value, weight, int(weight.sum()) // 2)


def with_settings(items: Items, values: Mapping[str, str]) -> Items:
    """Return the items with another capacity.

    Args:
        items: stay as they are.
        values: texts by the names in SETTINGS.

    Raises:
        SettingError: the capacity is no whole number.
    """
    text = values.get("capacity", str(items.capacity))
    if not text.isdecimal():
        raise SettingError(f"capacity={text}: give a whole number of kg")
    return replace(items, capacity=int(text))


def load_file(path: Path, settings: Mapping[str, str]) -> Items:
    """Read items from a CSV file with the columns value and weight, or from an instance file.

    Args:
        path: the file.
        settings: texts by the names in SETTINGS.

    Raises:
        InstanceError: the file is malformed; the message names the line.
    """
    if path.suffix in (".npz", ".zip"):
        (items,) = load_archive(Items, path)
        return with_settings(items, settings)
    with path.open(newline="") as file:
        table = csv.DictReader(file)
        try:
            rows = [(int(row["value"]), int(row["weight"])) for row in table]
        except (KeyError, TypeError, ValueError, csv.Error, UnicodeDecodeError) as error:
            raise InstanceError(
                f"{path}, line {table.line_num}: {error}; expected the columns value and weight, "
                "whole numbers"
            ) from error
    if not rows:
        raise InstanceError(f"{path}: holds no items; give one line for each")
    value, weight = np.array(rows, np.int64).T
    return with_settings(Items(path.stem, value, weight, int(weight.sum()) // 2), settings)


def _draw(first_seed: int, count: int) -> Iterator[Items]:
    return (generate({}, seed) for seed in range(first_seed, first_seed + count))


SETS = Sets(
    Items,
    [
        Drawn("knapsack:train", "32 problems of 20 items, for training", lambda: _draw(0, 32)),
        Drawn(
            "knapsack:test",
            "32 problems of 20 items, for the final figures",
            lambda: _draw(100, 32),
        ),
    ],
)
