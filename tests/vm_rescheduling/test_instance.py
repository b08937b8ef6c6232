"""A cluster refuses what cannot be, survives its file form, and takes settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sysopt_gym.core.errors import InstanceError, SettingError
from sysopt_gym.datasets.vm_rescheduling.instance import Cluster
from sysopt_gym.datasets.vm_rescheduling.settings import READ_BY_FILES, SETTINGS, with_settings
from sysopt_gym.envs.vm_rescheduling.problem import PROBLEM

Make = Callable[..., Cluster]


@given(st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_a_cluster_survives_its_file_form(tiny_cluster: Make, seed: int) -> None:
    cluster = tiny_cluster(seed)
    again = Cluster.from_bytes(cluster.to_bytes(), "memory")
    assert again.content_hash == cluster.content_hash
    assert again.name == cluster.name


def test_the_hash_sees_every_field_but_the_name(tiny_cluster: Make) -> None:
    cluster = tiny_cluster(3)
    assert dataclasses.replace(cluster, name="other").content_hash == cluster.content_hash
    changed = with_settings(cluster, {"mnl": "7"})
    assert changed.content_hash != cluster.content_hash


def test_a_cluster_cannot_be_changed(tiny_cluster: Make) -> None:
    with pytest.raises(ValueError, match="read-only"):
        tiny_cluster(3).vm_pm[0] = 1


def broken(cluster: Cluster, field: str, at: Any, value: Any) -> np.ndarray:
    array = getattr(cluster, field).copy()
    array[at] = value
    return array


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("vm_pm", 99, r"vm_pm\[0\] is 99, outside 0\.\."),
        ("vm_pm", -1, r"vm_pm\[0\] is -1"),
        ("flavor_cpu", -2, r"flavor_cpu\[0\] is -2"),
        ("flavor_mem", -1, r"flavor_mem\[0\] is -1"),
        ("numa_cpu", -44, r"numa_cpu\[0, 0\] is -44"),
        ("pm_status", 3, r"pm_status\[0\] is 3"),
        ("numa_mem", 1, r"host 'pm0' is over-committed: .* more memory than it has"),
    ],
)
def test_impossible_values_are_named(
    tiny_cluster: Make, field: str, value: int, message: str
) -> None:
    cluster = tiny_cluster(5)
    at = (0, 0) if field.startswith("numa") else 0
    with pytest.raises(InstanceError, match=message) as refusal:
        dataclasses.replace(cluster, **{field: broken(cluster, field, at, value)})
    assert str(refusal.value).startswith(cluster.name)


def test_an_over_committed_host_is_named(tiny_cluster: Make) -> None:
    cluster = tiny_cluster(5)
    crowded = np.zeros_like(cluster.vm_pm)
    with pytest.raises(InstanceError, match=r"host 'pm0' is over-committed: .* more CPU than"):
        dataclasses.replace(cluster, vm_pm=crowded, numa_mem=cluster.numa_mem * 1000)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mnl": 0}, "mnl is 0; a plan needs at least one move"),
        ({"pm_move_cap": -1}, "pm_move_cap is -1"),
        ({"objective": "beauty"}, "objective 'beauty' is unknown; known: fragment_rate"),
        ({"mode": "dead"}, "mode 'dead' is unknown"),
        ({"objective": "drain"}, "objective drain needs hosts to drain"),
        ({"goal_rate": float("nan")}, "goal_rate is nan"),
        ({"weights": np.array([1.0, np.nan, 0.0])}, "weights .* must be finite"),
        ({"weights": np.zeros(3)}, "weights .* not all 0"),
        ({"churn_per_min": float("inf")}, "churn_per_min is inf"),
        ({"numa_cpu": np.full((3, 2), np.nan)}, "numa_cpu has (dtype float64|shape)"),
        ({"vm_pinned": np.zeros(1, np.bool_)}, r"vm_pinned has shape \(1,\), expected"),
        ({"drain_pms": np.array([77])}, r"drain_pms\[0\] is 77"),
    ],
)
def test_impossible_tasks_are_refused(
    tiny_cluster: Make, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InstanceError, match=message):
        tiny_cluster(5, **changes)


def test_ids_must_be_unique(tiny_cluster: Make) -> None:
    cluster = tiny_cluster(5)
    with pytest.raises(InstanceError, match="vm_ids: 'vm0' appears twice"):
        dataclasses.replace(cluster, vm_ids=("vm0", *cluster.vm_ids[:-1]))


def test_a_cluster_without_hosts_or_vms_is_refused(tiny_cluster: Make) -> None:
    cluster = tiny_cluster(5)
    nobody = {
        field: getattr(cluster, field)[:0]
        for field in ("vm_ids", "vm_flavor", "vm_pm", "vm_numa", "vm_pinned")
    }
    none = np.zeros(0, np.int64)
    nobody |= {"set_start": np.zeros(1, np.int64), "set_vms": none, "set_by_rack": none > 0}
    with pytest.raises(InstanceError, match="has no VMs; there is nothing to reschedule"):
        dataclasses.replace(cluster, **nobody)
    nowhere = {
        field: getattr(cluster, field)[:0]
        for field in ("pm_ids", "pm_status", "pm_rack", "numa_cpu", "numa_mem")
    }
    with pytest.raises(InstanceError, match="has no hosts; there is nothing to reschedule"):
        dataclasses.replace(cluster, **nowhere)


def test_deployment_sets_must_partition_their_members(tiny_cluster: Make) -> None:
    cluster = tiny_cluster(5)
    changes = {
        "set_start": np.array([0, 9]),
        "set_vms": np.array([0, 1]),
        "set_by_rack": np.array([True]),
    }
    with pytest.raises(InstanceError, match=r"set_start \[0, 9\] must rise from 0 to 2"):
        dataclasses.replace(cluster, **changes)


# --- Settings --------------------------------------------------------------------------------

EXAMPLES: dict[str, tuple[str, str, Any]] = {
    "mnl": ("7", "mnl", 7),
    "objective": ("mixed", "objective", "mixed"),
    "mode": ("live", "mode", "live"),
    "goal_rate": ("0.25", "goal_rate", 0.25),
    "drain": ("pm1,pm0", "drain_pms", [1, 0]),
    "weights": ("1,2,3", "weights", [1.0, 2.0, 3.0]),
    "pm_move_cap": ("2", "pm_move_cap", 2),
    "churn_per_min": ("12.5", "churn_per_min", 12.5),
}


def test_every_setting_has_an_example() -> None:
    assert set(EXAMPLES) == set(SETTINGS) - set(READ_BY_FILES)


@pytest.mark.parametrize("name", list(EXAMPLES))
def test_a_setting_applies(tiny_cluster: Make, name: str) -> None:
    text, field, expected = EXAMPLES[name]
    value = getattr(PROBLEM.apply_settings(tiny_cluster(5), {name: text}), field)
    assert (value.tolist() if isinstance(value, np.ndarray) else value) == expected


@pytest.mark.parametrize("name", list(EXAMPLES))
def test_a_settings_default_is_what_a_cluster_has(tiny_cluster: Make, name: str) -> None:
    cluster = tiny_cluster(5)
    again = PROBLEM.apply_settings(cluster, {name: SETTINGS[name].default})
    assert again.content_hash == cluster.content_hash


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("mnl", "many", "setting mnl='many' cannot be read"),
        ("weights", "1,x,2", "setting weights='1,x,2' cannot be read"),
        ("drain", "nobody", "has no host 'nobody'; hosts are called like 'pm0'"),
    ],
)
def test_a_setting_that_cannot_be_read_is_refused(
    tiny_cluster: Make, name: str, text: str, message: str
) -> None:
    with pytest.raises(SettingError, match=message):
        PROBLEM.apply_settings(tiny_cluster(5), {name: text})


def test_describe_tells_the_facts_of_a_cluster(tiny_cluster: Make) -> None:
    cluster = tiny_cluster(5, pm_status=np.zeros(len(tiny_cluster(5).pm_ids), np.int8))
    facts = PROBLEM.describe(cluster)
    free = cluster.free()[0]
    assert facts["PMs"] == cluster.n_pms
    assert facts["free cores"] == free.sum()
    assert facts["fragment rate"] == round(float((free % 16).sum() / free.sum()), 4)


def test_a_saved_cluster_loads_from_its_file_or_a_set_of_one(
    tiny_cluster: Make, tmp_path: Path
) -> None:
    cluster = tiny_cluster(5)
    cluster.save(tmp_path / "mine.npz")
    assert PROBLEM.load_file(tmp_path / "mine.npz", {}).content_hash == cluster.content_hash
