"""The public snapshots have their published size, rates and free cores."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sysopt_gym.datasets.vm_rescheduling.generator import generate
from sysopt_gym.datasets.vm_rescheduling.instance import Cluster
from sysopt_gym.datasets.vm_rescheduling.loaders import load_file
from sysopt_gym.envs.vm_rescheduling.problem import PROBLEM


@pytest.fixture
def public(data_file: Callable[[str], Path]) -> Callable[[str], Cluster]:
    return lambda name: load_file(data_file(f"vm/{name}.json"))


@pytest.mark.parametrize(
    ("name", "size", "rate"),
    [
        ("bytedance-medium", (279, 2089), 0.9770),
        ("bytedance-large", (1176, 4546), 0.6003),
    ],
)
def test_the_public_snapshots_have_their_published_size_and_fragment_rate(
    public: Callable[[str], Cluster], name: str, size: tuple[int, int], rate: float
) -> None:
    cluster = public(name)
    assert (cluster.n_pms, cluster.n_vms) == size
    assert PROBLEM.describe(cluster)["fragment rate"] == rate


def test_the_free_cores_in_the_public_snapshots_equal_those_recomputed(
    data_file: Callable[[str], Path],
) -> None:
    path = data_file("vm/bytedance-medium.json")
    cluster = load_file(path)
    stated = np.zeros((cluster.n_pms, 2), np.int64)
    row = {name: at for at, name in enumerate(cluster.pm_ids)}
    for member in json.loads(path.read_text())["cluster_list"]:
        for entry in member["host_info"]:
            for node in entry["numa"]:
                stated[row[str(entry["node_id"])], node["node"]] = node["free_cpu"]
    assert np.array_equal(cluster.free()[0], stated)


def test_the_best_known_rates_are_offered_for_the_public_medium_snapshot_alone(
    public: Callable[[str], Cluster],
) -> None:
    cluster = public("bytedance-medium")
    for mnl, rate in ((10, 0.8508), (25, 0.7245), (50, 0.5753), (100, 0.2884)):
        known = PROBLEM.best_known(PROBLEM.apply_settings(cluster, {"mnl": str(mnl)}))
        assert known is not None
        assert known[0] == rate
    assert PROBLEM.best_known(PROBLEM.apply_settings(cluster, {"objective": "mixed"})) is None
    assert PROBLEM.best_known(generate({}, 1)) is None
