"""Synthetic clusters: what they hold, and that a seed always makes the same one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sysopt_gym.core.errors import SettingError
from sysopt_gym.datasets.hosts import MEDIUM_FLAVORS
from sysopt_gym.datasets.vm_rescheduling.generator import PARAMETERS, generate
from sysopt_gym.datasets.vm_rescheduling.splits import SETS, fragment_rate, utilization

GOLDEN = [
    ("", 1, "2a0dd00763a6659a"),
    ("pms=12", 1, "5b253d941c6c83e8"),
    ("pms=30 sets=8 rack_sets=2 pinned=0.05", 7, "373d9318f8e76414"),
    ("pms=60 exits=0.1", 42, "1888c0c71557466e"),
    ("pms=40 rate=0.9", 5, "9091c3be84dea16d"),
    ("pms=40 mix=1 arrivals=0.5 rate=0.8", 5, "f774392bb96b3f79"),
]


@pytest.mark.parametrize(("text", "seed", "expected"), GOLDEN)
def test_a_seed_always_makes_the_same_cluster(text: str, seed: int, expected: str) -> None:
    parameters = dict(pair.split("=") for pair in text.split()) if text else {}
    assert generate(parameters, seed).content_hash == expected


def test_look_alikes_resemble_the_published_set() -> None:
    clusters = [generate({}, seed) for seed in range(20)]
    for cluster in clusters:
        assert (cluster.n_pms, cluster.n_vms) == (279, 2016)
        assert 0.89 < utilization(cluster) < 0.93
    assert np.mean([fragment_rate(c) for c in clusters]) == pytest.approx(0.58, abs=0.03)


def test_the_mix_of_vms_is_the_public_snapshots() -> None:
    assert sum(count for *_, count in MEDIUM_FLAVORS) == 2089
    cluster = generate({"exits": "0"}, 1)
    counts = np.bincount(cluster.vm_flavor, minlength=len(MEDIUM_FLAVORS))
    assert counts.tolist() == [count for *_, count in MEDIUM_FLAVORS]


@given(
    pms=st.integers(2, 40),
    exits=st.floats(0, 0.5),
    sets=st.integers(0, 6),
    pinned=st.floats(0, 1),
    seed=st.integers(0, 1000),
)
@settings(max_examples=25, deadline=None)
def test_any_size_makes_a_possible_cluster_whose_sets_already_keep_apart(
    pms: int, exits: float, sets: int, pinned: float, seed: int
) -> None:
    cluster = generate(
        {
            "pms": str(pms),
            "exits": str(exits),
            "sets": str(sets),
            "rack_sets": str(sets // 2),
            "pinned": str(pinned),
        },
        seed,
    )
    assert cluster.n_pms == pms
    for group, by_rack in enumerate(cluster.set_by_rack):
        members = cluster.set_vms[cluster.set_start[group] : cluster.set_start[group + 1]]
        hosts = cluster.vm_pm[members]
        places = cluster.pm_rack[hosts] if by_rack else hosts
        assert len(set(places.tolist())) == len(members)
    assert len(set(cluster.set_vms.tolist())) == len(cluster.set_vms)


def test_more_exits_make_an_emptier_cluster() -> None:
    full, half = (utilization(generate({"exits": exits}, 3)) for exits in ("0.0", "0.5"))
    assert half < 0.6 < full


def test_arrivals_fill_a_cluster_and_those_without_room_are_turned_away() -> None:
    asked = ("0", "0.2", "10")
    clusters = [generate({"pms": "60", "exits": "0", "arrivals": one}, 3) for one in asked]
    used = [utilization(cluster) for cluster in clusters]
    assert used == sorted(used)
    assert used[0] < 0.96 < 0.99 < used[-1]
    assert min(cluster.free()[0].min() for cluster in clusters) >= 0
    # Of 4,500 that ask for room, few get it.
    assert clusters[-1].n_vms < 1.2 * clusters[0].n_vms


def test_another_mix_has_other_shares_of_flavors_and_as_many_cores() -> None:
    clusters = [generate({"pms": "140", "exits": "0", "mix": mix}, 2) for mix in ("0", "1")]
    shares = [np.bincount(c.vm_flavor, minlength=11) / c.n_vms for c in clusters]
    assert abs(shares[0] - shares[1]).max() > 0.1
    assert utilization(clusters[0]) == pytest.approx(utilization(clusters[1]), abs=0.02)


@pytest.mark.parametrize(
    ("name", "text"),
    [("pms", "1"), ("pms", "many"), ("exits", "1.5"), ("pinned", "-1"), ("sets", "-2")],
)
def test_impossible_parameters_are_refused(name: str, text: str) -> None:
    assert name in PARAMETERS
    with pytest.raises(SettingError, match="generate vm_rescheduling"):
        generate({name: text}, 1)


def test_an_exit_fraction_that_is_no_number_is_refused() -> None:
    with pytest.raises(SettingError, match="generate vm_rescheduling"):
        generate({"exits": "nan"}, 1)


@pytest.mark.parametrize("rate", [0.7, 0.9, 1.0])
def test_a_cluster_begins_at_the_fragment_rate_asked_for(rate: float) -> None:
    """Migrations reach it from below; VMs, hosts and free cores stay what they were."""
    placed, scattered = (generate({"rate": str(asked)}, 3) for asked in (0.0, rate))
    assert fragment_rate(placed) < 0.7
    assert rate <= fragment_rate(scattered) < rate + 0.01
    assert (scattered.free()[0] >= 0).all() and (scattered.free()[1] >= 0).all()
    assert scattered.free()[0].sum() == placed.free()[0].sum()
    assert (scattered.vm_flavor == placed.vm_flavor).all()


def test_sets_of_all_rates_begin_evenly_between_a_half_and_one() -> None:
    found = [fragment_rate(cluster) for cluster in SETS.load("rates:test")]
    asked = 0.5 + 0.5 * (np.arange(8) + 0.5) / 8
    assert (np.array(found) >= asked).all() and found[-1] < 1.0
