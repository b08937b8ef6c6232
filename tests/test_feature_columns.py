"""Features are columns by name: where a feature stands is said once, and networks follow it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sysopt_gym.agents.memory_mapping.network import DecisionPolicy
from sysopt_gym.agents.vm_rescheduling import compiled, network
from sysopt_gym.datasets.memory_mapping.splits import SETS
from sysopt_gym.envs.federated_lr.observation import FEATURES
from sysopt_gym.envs.memory_mapping.env import MallocGameEnv
from sysopt_gym.envs.memory_mapping.observation import (
    DECISION_FEATURES,
    GLOBAL_FEATURES,
    Decision,
)
from sysopt_gym.envs.vm_rescheduling.observation import PM_FEATURES, VM_FEATURES

TRAINED_ON = {
    "vm_rescheduling, PMs": (
        PM_FEATURES,
        "free_cpu_0 free_cpu_1 free_mem_0 free_mem_1 fragment_of_free_0 fragment_of_free_1 "
        "residue_0 residue_1 mem_residue_0 mem_residue_1 accepts releases active drain two_nodes",
    ),
    "vm_rescheduling, VMs": (
        VM_FEATURES,
        "cpu_0 cpu_1 mem_0 mem_1 residue_0 residue_1 movable apart_by_host apart_by_rack",
    ),
    "memory_mapping, decisions": (
        DECISION_FEATURES,
        "present size log_size writes makes at_start at_end slow_share saving_share compute_share "
        "log_time next_use reused future_benefit copy_share same_instruction same_buffer in_fast "
        "held slow_valid dirty forced density crowd crowd_next fits left left_fits",
    ),
    "memory_mapping, globals": (
        GLOBAL_FEATURES,
        "progress saved time_left free largest_gap rewinds log_decisions log_capacity",
    ),
    "federated_lr": (
        FEATURES,
        "known has_update progress left loss loss_change over_best accuracy train_loss alpha beta "
        "promise gain straightness dispersion cosine",
    ),
}


@pytest.mark.parametrize("what", TRAINED_ON)
def test_shipped_policies_find_the_features_that_they_were_trained_on(what: str) -> None:
    features, trained_on = TRAINED_ON[what]
    assert " ".join(features) == trained_on, "train the shipped policies anew, then change this"


def angles_of(residue: float) -> list[float]:
    turns = 2 * np.pi * residue * np.arange(1, network.HARMONICS + 1)
    return [*np.cos(turns), *np.sin(turns)]


@pytest.mark.parametrize("node", [0, 1])
def test_a_nodes_inputs_are_the_features_of_their_names(node: int) -> None:
    row = np.random.default_rng(node).random(len(PM_FEATURES)).astype(np.float32)
    pm = dict(zip(PM_FEATURES, row.tolist(), strict=True))
    own = [f"{name}_{node}" for name in ("free_cpu", "free_mem", "fragment_of_free", "mem_residue")]
    other = [f"{name}_{1 - node}" for name in ("free_cpu", "free_mem")]
    columns = [*own, "accepts", "releases", "active", "drain", "two_nodes", *other]
    expected = [pm[name] for name in columns]
    expected += angles_of(pm[f"residue_{node}"]) + angles_of(pm[f"residue_{1 - node}"])
    found = network._node_features(torch.from_numpy(row)[None, None])[0, node]
    assert found.numpy() == pytest.approx(expected, abs=1e-5)
    written = np.zeros(network.N_NODE, np.float32)
    compiled.node_features(row, node, written)
    assert written == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("nodes", [(0,), (1,), (0, 1)])
def test_a_vms_inputs_are_the_features_of_their_names(nodes: tuple[int, ...]) -> None:
    row = np.random.default_rng(len(nodes)).random(len(VM_FEATURES)).astype(np.float32)
    vm = dict(zip(VM_FEATURES, row.tolist(), strict=True))
    for node in {0, 1} - set(nodes):
        for name in ("cpu", "mem", "residue"):
            vm[f"{name}_{node}"] = 0.0
    row[:] = [vm[name] for name in VM_FEATURES]
    used = [max(vm[f"{name}_0"], vm[f"{name}_1"]) for name in ("cpu", "mem", "residue")]
    flags = [vm[name] for name in ("movable", "apart_by_host", "apart_by_rack")]
    expected = [*used[:2], float(len(nodes) == 2), *flags, *angles_of(used[2])]
    found = network.vm_features(torch.from_numpy(row)[None, None])[0, 0]
    assert found.numpy() == pytest.approx(expected, abs=1e-5)
    written = np.zeros(network.N_VM, np.float32)
    compiled.own_features(row, written)
    assert written == pytest.approx(expected, abs=1e-5)


def test_a_decision_that_is_not_present_is_not_attended_to() -> None:
    observation, _ = MallocGameEnv(SETS.load("small:test")[0]).reset(seed=0)
    seen = {key: torch.from_numpy(value)[None] for key, value in observation.items()}
    torch.manual_seed(0)
    policy = DecisionPolicy()
    seen["decisions"][0, 5:, Decision.PRESENT] = 0.0
    others = [column for column in Decision if column != Decision.PRESENT]
    before = policy.encode(seen).context.detach()
    seen["decisions"][0, 5:, others] = 0.7
    assert torch.equal(policy.encode(seen).context, before)
    seen["decisions"][0, 5:, Decision.PRESENT] = 1.0
    assert not torch.equal(policy.encode(seen).context, before)
