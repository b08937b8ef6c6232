"""What happens to a cluster while somebody plans."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sysopt_gym.datasets.vm_rescheduling.churn import churned
from sysopt_gym.datasets.vm_rescheduling.generator import generate
from sysopt_gym.datasets.vm_rescheduling.instance import ACTIVE, Cluster

SEEDS = st.integers(0, 10**6)
SECONDS = st.floats(0, 30)
Make = Callable[..., Cluster]


@given(SEEDS, SEEDS, SECONDS)
@settings(max_examples=60, deadline=None)
def test_capacity_is_never_exceeded_and_nothing_arrives_on_a_closed_host(
    tiny_cluster: Make, seed: int, world: int, seconds: float
) -> None:
    cluster = tiny_cluster(seed)
    after, _ = churned(cluster, world, seconds)
    for free in after.free():
        assert free.min() >= 0
    arrived = [name.startswith("arrival-") for name in after.vm_ids]
    assert (after.pm_status[after.vm_pm[arrived]] == ACTIVE).all()
    assert not after.vm_pinned[arrived].any()


@given(SEEDS, SEEDS, SECONDS)
@settings(max_examples=60, deadline=None)
def test_the_index_map_follows_every_vm(
    tiny_cluster: Make, seed: int, world: int, seconds: float
) -> None:
    cluster = tiny_cluster(seed)
    after, where = churned(cluster, world, seconds)
    for old, new in enumerate(where.tolist()):
        if new < 0:
            assert cluster.vm_ids[old] not in after.vm_ids
            continue
        assert after.vm_ids[new] == cluster.vm_ids[old]
        for field in ("vm_flavor", "vm_pm", "vm_numa", "vm_pinned"):
            assert getattr(after, field)[new] == getattr(cluster, field)[old]


@given(SEEDS, SEEDS, SECONDS, SECONDS)
@settings(max_examples=60, deadline=None)
def test_a_longer_time_extends_the_same_events(
    tiny_cluster: Make, seed: int, world: int, first: float, second: float
) -> None:
    cluster = tiny_cluster(seed)
    early, where_early = churned(cluster, world, min(first, second))
    late, where_late = churned(cluster, world, max(first, second))
    assert not ((where_early < 0) & (where_late >= 0)).any()  # who left stays away
    place = dict(zip(early.vm_ids, zip(early.vm_pm, early.vm_numa, strict=True), strict=True))
    for name, now in zip(late.vm_ids, zip(late.vm_pm, late.vm_numa, strict=True), strict=True):
        assert place.get(name, now) == now  # nobody moves by itself, and names keep their VMs


@given(SEEDS, SEEDS, SECONDS)
@settings(max_examples=60, deadline=None)
def test_deployment_sets_keep_exactly_their_members_that_stay(
    tiny_cluster: Make, seed: int, world: int, seconds: float
) -> None:
    cluster = tiny_cluster(seed)
    after, where = churned(cluster, world, seconds)
    for group in range(len(cluster.set_by_rack)):
        before = cluster.set_vms[cluster.set_start[group] : cluster.set_start[group + 1]]
        now = after.set_vms[after.set_start[group] : after.set_start[group + 1]]
        assert now.tolist() == [where[vm] for vm in before if where[vm] >= 0]


def test_the_same_seed_makes_the_same_world_and_another_seed_another(tiny_cluster: Make) -> None:
    cluster = generate({"pms": "20"}, 3)
    same = {churned(cluster, 5, 20.0)[0].content_hash for _ in range(2)}
    assert len(same) == 1
    assert churned(cluster, 6, 20.0)[0].content_hash not in same


def test_no_time_or_no_churn_changes_nothing(tiny_cluster: Make) -> None:
    for changes, seconds in (({}, 0.0), ({"churn_per_min": 0.0}, 100.0)):
        cluster = tiny_cluster(9, **changes)
        after, where = churned(cluster, 1, seconds)
        assert after.content_hash == cluster.content_hash
        assert where.tolist() == list(range(cluster.n_vms))


def test_events_come_at_the_stated_rate_half_of_them_exits() -> None:
    cluster = generate({"pms": "100"}, 3)
    exits = [int((churned(cluster, seed, 60.0)[1] < 0).sum()) for seed in range(20)]
    # 175 events a minute, half exits; a few exits are of arrivals, which the map does not hold.
    assert 70 < np.mean(exits) < 95
