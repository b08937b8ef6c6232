"""What is declared of an instance's fields is what is checked, stored and documented."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from sysopt_gym.core.errors import InstanceError
from sysopt_gym.core.fields import (
    BLANK,
    array,
    choice,
    declarations,
    declared,
    names,
    number,
    string,
    whole,
)
from sysopt_gym.core.instance import Instance
from sysopt_gym.datasets.federated_lr.instance import Federation
from sysopt_gym.datasets.memory_mapping.instance import Program
from sysopt_gym.datasets.sequence_design.instance import DesignTask
from sysopt_gym.datasets.vm_rescheduling.instance import Cluster


@declared
class Route(Instance):
    """Stops, the roads between them, and a van."""

    FAMILY = "route"

    road_start: np.ndarray = array("int64", "S+1", "Roads of stop s are start[s]:start[s+1].")
    road_end: np.ndarray = array("int64", "R", "Stop that a road leads to.", low=0, high="S-1")
    road_km: np.ndarray = array("float64", "R", "Length.", low=0, unit="km", stored="road_kms")
    road_tolls: np.ndarray = array("int64", "R,...", "What a road costs, by van.", exact=True)
    stops: tuple[str, ...] = names("S", "The stops.", empty="there is nowhere to go")
    seats: int = whole("Seats of the van.", low=1)
    taken: int = whole("Seats that are taken.", low=0, high="seats")
    speed: float = number("Speed of the van.", positive=True, unit="km/h")
    fuel: str = choice(("petrol", "power"), "What it runs on.")


def route(**changes: Any) -> Route:
    fields: dict[str, Any] = {
        "road_start": np.array([0, 1, 2, 2]),
        "road_end": np.array([1, 2]),
        "road_km": np.array([1.5, 2.5]),
        "road_tolls": np.zeros((2, 3), np.int64),
        "stops": ("a", "b", "c"),
        "seats": 4,
        "taken": 4,
        "speed": 50.0,
        "fuel": "power",
    }
    return Route("r", **(fields | changes))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"road_start": np.array([0, 2])}, r"road_start has shape \(2,\), expected \(4,\)"),
        ({"road_km": np.zeros(3)}, r"road_km has shape \(3,\), expected \(2,\); .* Length"),
        ({"road_km": np.zeros(2, np.int64)}, "road_km has dtype int64, expected float64"),
        ({"road_tolls": np.zeros(2, np.int32)}, "road_tolls has dtype int32, expected int64"),
        ({"road_tolls": np.zeros((3, 2), np.int64)}, r"road_tolls has shape \(3, 2\)"),
        ({"road_end": np.array([0, 3])}, r"road_end\[1\] is 3, outside 0\.\.2"),
        ({"road_km": np.array([0.0, np.nan])}, r"road_km\[1\] is nan"),
        ({"road_km": np.array([np.inf, 0.0])}, r"road_km\[0\] is inf"),
        ({"road_km": np.array([0.0, -1.0])}, r"road_km\[1\] is -1.0, outside 0\.\."),
        ({"stops": ("a", "b", "b")}, "stops: 'b' appears twice"),
        ({"stops": (), "road_start": np.array([0])}, "there is nowhere to go"),
        ({"taken": 5}, "taken is 5; give a whole number from 0 to 4"),
        ({"seats": 2.5}, "seats is 2.5; give a whole number from 1"),
        ({"speed": 0.0}, "speed is 0 km/h; give a positive finite number"),
        ({"speed": float("nan")}, "speed is nan"),
        ({"fuel": "hope"}, "fuel 'hope' is unknown; known: petrol, power"),
    ],
)
def test_what_a_declaration_rules_out_is_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(InstanceError, match=f"^r: {why}"):
        route(**changes)


def test_what_a_declaration_allows_is_taken() -> None:
    whole_numbers = route(road_end=np.array([0, 2], np.int32), road_tolls=np.zeros(2, np.int64))
    assert whole_numbers.road_end.dtype == np.int32


def test_the_docstring_lists_what_is_declared() -> None:
    text = " ".join((Route.__doc__ or "").split())
    assert "road_km: float64 [R], 0.., km. Length." in text
    assert "road_end: int64 [R], 0..S-1. Stop that a road leads to." in text
    assert "fuel: one of petrol, power. What it runs on." in text


def test_files_and_hashes_have_the_stored_name() -> None:
    plain, other = route(), dataclasses.replace(route(), road_km=np.array([1.5, 3.5]))
    again = Route.from_bytes(plain.to_bytes(), "file")
    assert again.content_hash == plain.content_hash != other.content_hash
    assert b"road_kms" in plain.to_bytes() and b"road_km." not in plain.to_bytes()


@declared
class Tour(Route):
    """A route with fields that were declared later and may be left out."""

    guide: str = string("Who leads it.", default=BLANK)
    sights: tuple[str, ...] = names("G", "What is seen.", default=BLANK)
    closed: np.ndarray = array("bool", "S,G", "Sights without entry, by stop.", default=BLANK)
    crowd: np.ndarray = array("float64", "S", "People at each stop.", default=BLANK)
    tips: int = whole("Coins.", low=0, default=BLANK)


def tour(**changes: Any) -> Tour:
    one = route()
    return Tour(
        **({spec.name: getattr(one, spec.name) for spec in dataclasses.fields(one)} | changes)
    )


GIVEN: dict[str, Any] = {
    "guide": "Ann",
    "sights": ("x", "y"),
    "crowd": np.array([0.0, 1.0, 0.0]),
    "tips": 2,
}


def test_optional_fields_left_out_are_blank_and_change_neither_hash_nor_file() -> None:
    plain = tour()
    assert (plain.guide, plain.sights, plain.tips) == ("", (), 0)
    assert plain.closed.shape == (3, 0) and plain.crowd.tolist() == [0.0, 0.0, 0.0]
    assert plain.content_hash == route().content_hash
    assert Tour.from_bytes(route().to_bytes(), "old").content_hash == plain.content_hash
    assert Route.from_bytes(plain.to_bytes(), "new").content_hash == plain.content_hash


@pytest.mark.parametrize("name", GIVEN)
def test_optional_fields_that_are_given_count_and_come_back(name: str) -> None:
    full = tour(**{name: GIVEN[name]})
    again = Tour.from_bytes(full.to_bytes(), "file")
    assert np.array_equal(getattr(again, name), GIVEN[name])
    assert again.content_hash == full.content_hash != tour().content_hash


def test_optional_arrays_are_checked_and_required_fields_stay_required() -> None:
    with pytest.raises(InstanceError, match=r"closed has shape \(3, 1\), expected \(3, 2\)"):
        tour(sights=("x", "y"), closed=np.zeros((3, 1), np.bool_))
    with pytest.raises(TypeError, match="stops"):
        Tour("r")


@pytest.mark.parametrize("family", [Cluster, Program, DesignTask, Federation])
def test_every_field_of_a_family_is_declared_and_documented(family: type[Any]) -> None:
    fields = {field.name for field in dataclasses.fields(family)} - {"name"}
    assert set(declarations(family)) == fields
    for name, declaration in declarations(family).items():
        assert declaration.doc and f"    {name}: " in family.__doc__


def test_files_of_clusters_keep_the_names_they_were_first_written_with() -> None:
    stored = {declaration.stored for declaration in declarations(Cluster).values()} - {""}
    assert stored == {
        "flavour_names", "flavour_cpu", "flavour_mem", "flavour_nodes", "vm_flavour",
    }  # fmt: skip
