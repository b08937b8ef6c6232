"""The named instance sets: embedded is what the generator makes, and the splits never meet."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from sysopt_gym.core.errors import InstanceError, UnknownNameError
from sysopt_gym.core.instance import load_archive
from sysopt_gym.datasets.sets import Embedded, Sets
from sysopt_gym.datasets.vm_rescheduling.generator import MEDIUM_PMS, MEDIUM_VMS
from sysopt_gym.datasets.vm_rescheduling.instance import Cluster
from sysopt_gym.datasets.vm_rescheduling.splits import (
    FRAGMENT_RANGE,
    HUGE,
    SETS,
    UTILIZATION_RANGE,
    fragment_rate,
    split_instances,
    utilization,
)

HASHES = SETS.hashes()
SIZES = {one.name: one.size for one in SETS.embedded}


@pytest.mark.parametrize("name", SIZES)
def test_an_embedded_split_holds_what_the_hashes_say(name: str) -> None:
    instances = SETS.load(name)
    assert [instance.content_hash for instance in instances] == HASHES[name]
    assert [instance.name for instance in instances] == [f"{name}/{i}" for i in range(SIZES[name])]


@pytest.mark.parametrize("name", SIZES)
def test_the_generator_still_makes_the_embedded_split(name: str) -> None:
    made = [instance.content_hash for instance in islice(split_instances(name), 3)]
    assert made == HASHES[name][:3]


def test_no_instance_is_in_two_splits() -> None:
    hashes = [value for split in HASHES.values() for value in split]
    assert len(set(hashes)) == len(hashes) == sum(SIZES.values())


def test_every_set_has_a_line_and_every_split_a_size() -> None:
    drawn = {"huge:test"}
    drawn |= {f"{name}:{use}" for name in ("rates", "mixes") for use in ("train", "val", "test")}
    assert set(SIZES) == set(HASHES) == {name for name in SETS if ":" in name} - drawn


def test_huge_clusters_are_drawn_when_they_are_asked_for() -> None:
    huge = SETS.load("huge:test")
    assert [(one.n_pms, one.mnl) for one in huge] == list(HUGE)
    for one in huge:
        assert one.n_vms == pytest.approx(0.965 * one.n_pms * MEDIUM_VMS / MEDIUM_PMS, rel=1e-3)
        assert one.free()[0].min() >= 0
    assert huge[0].content_hash.startswith("db074cd572a9e51a")


@pytest.mark.parametrize("name", [name for name in SIZES if "small" not in name])
def test_look_alikes_are_as_full_and_as_fragmented_as_the_published_set(name: str) -> None:
    for cluster in SETS.load(name):
        assert (cluster.n_pms, cluster.n_vms, cluster.mnl) == (279, 2016, 50)
        assert UTILIZATION_RANGE[0] <= utilization(cluster) <= UTILIZATION_RANGE[1]
        assert FRAGMENT_RANGE[0] <= fragment_rate(cluster) <= FRAGMENT_RANGE[1]


def test_the_mean_fragment_rate_of_look_alikes_is_near_the_published_one() -> None:
    rates = [
        fragment_rate(c) for s in ("train", "val", "test") for c in SETS.load(f"lookalike:{s}")
    ]
    assert np.mean(rates) == pytest.approx(0.565, abs=0.015)


@pytest.mark.parametrize("name", [name for name in SIZES if name.startswith("small")])
def test_small_clusters_are_a_dozen_to_forty_hosts_with_something_to_gain(name: str) -> None:
    for cluster in SETS.load(name):
        assert 12 <= cluster.n_pms <= 40
        assert 5 <= cluster.mnl <= 10
        assert fragment_rate(cluster) > 0.3


@pytest.mark.parametrize("name", [name for name in SIZES if name.startswith("constrained")])
def test_constrained_splits_have_pins_and_sets_of_both_kinds(name: str) -> None:
    for cluster in SETS.load(name):
        assert cluster.vm_pinned.any()
        assert cluster.set_by_rack.any()
        assert not cluster.set_by_rack.all()


def test_one_instance_of_a_set_can_be_asked_for() -> None:
    (second,) = SETS.load("small:test/1")
    assert second.content_hash == HASHES["small:test"][1]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("small:tset", "unknown vm_rescheduling instance set 'small:tset'; did you mean"),
        (
            "small:test/16",
            "small:test has no instance '16'; it holds small:test/0 to ",
        ),
        ("small:test/-1", "small:test has no instance '-1'"),
        ("small:test/", "small:test has no instance ''"),
    ],
)
def test_an_unknown_set_or_instance_is_refused(name: str, message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        SETS.load(name)


def test_a_public_snapshot_that_is_not_there_says_where_to_put_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYSOPT_DATA", str(tmp_path))
    with pytest.raises(InstanceError, match=r"bytedance-medium: no file .* set SYSOPT_DATA"):
        SETS.load("bytedance-medium")


def test_splits_are_made_whole_with_their_hashes(tmp_path: Path) -> None:
    two = [
        Embedded(one.name, one.about, 2, one.draw)
        for one in SETS.embedded
        if one.name == "small:test"
    ]
    Sets(Cluster, two, tmp_path).make()
    assert json.loads((tmp_path / "hashes.json").read_text()) == {
        "small:test": HASHES["small:test"][:2]
    }
    again = load_archive(Cluster, tmp_path / "small-test.zip")
    assert [cluster.content_hash for cluster in again] == HASHES["small:test"][:2]
