"""What the agent sees is what is so: rows never stale, nodes never mixed up, observations never
changed afterwards.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sysopt_gym.datasets.vm_rescheduling.instance import Cluster
from sysopt_gym.datasets.vm_rescheduling.splits import SETS
from sysopt_gym.envs.vm_rescheduling.env import VMReschedulingEnv
from sysopt_gym.envs.vm_rescheduling.observation import PM_FEATURES, VM_FEATURES

SEEDS = st.integers(0, 10**6)
Make = Callable[..., Cluster]


def moved(env: VMReschedulingEnv, moves: int) -> None:
    for _ in range(2 * moves):
        if env.step(env.action_space.sample())[2]:
            break


@given(seed=SEEDS)
@settings(max_examples=30, deadline=None)
def test_rows_after_moves_equal_rows_of_the_cluster_made_anew(
    tiny_cluster: Make, seed: int
) -> None:
    cluster = tiny_cluster(seed, mnl=6)
    env = VMReschedulingEnv(cluster)
    observation, _ = env.reset(seed=seed)
    if observation["action_mask"][: cluster.n_vms].any():
        env.action_space.seed(seed)
        env.reset(seed=seed)
        moved(env, 4)
    state = env.state
    anew = VMReschedulingEnv(tiny_cluster(seed, mnl=6, vm_pm=state.vm_pm, vm_numa=state.vm_numa))
    fresh, _ = anew.reset(seed=0)
    for key in ("pms", "vms", "vm_pm", "pm_mask", "vm_mask"):
        assert np.array_equal(env._observation()[key], fresh[key]), key


def test_features_say_what_their_names_say() -> None:
    cluster = SETS.load("lookalike:test/0")[0]
    env = VMReschedulingEnv(cluster)
    env.reset(seed=0)
    moved(env, 10)
    observation, state = env._observation(), env.state
    pms = dict(zip(PM_FEATURES, observation["pms"].T, strict=True))
    vms = dict(zip(VM_FEATURES, observation["vms"].T, strict=True))
    free = state.free_cpu
    for node in (0, 1):
        assert np.allclose(pms[f"free_cpu_{node}"] * 88, free[:, node])
        assert np.allclose(pms[f"residue_{node}"] * 16, free[:, node] % 16)
        share = (free[:, node] % 16) / np.maximum(free[:, node], 1)
        assert np.allclose(pms[f"fragment_of_free_{node}"], share)
        assert np.allclose(pms[f"free_mem_{node}"] * 368_776, state.free_mem[:, node], atol=0.1)
        both = cluster.flavor_nodes[cluster.vm_flavor] == 2
        here = both | (state.vm_numa == node)
        assert np.allclose(vms[f"cpu_{node}"] * 88, here * cluster.flavor_cpu[cluster.vm_flavor])


def test_what_was_returned_never_changes() -> None:
    env = VMReschedulingEnv("small:test")
    observation, _ = env.reset(seed=0)
    kept = {key: value.copy() for key, value in observation.items()}
    moved(env, 3)
    env.reset(seed=1)
    for key, value in observation.items():
        assert np.array_equal(value, kept[key]), key


def test_vms_that_left_are_masked_and_arrivals_only_take_room() -> None:
    cluster = SETS.load("lookalike:test/0")[0]
    env = VMReschedulingEnv(cluster, settings={"mode": "live"})
    live = env.instances[0]
    still, _ = env.reset(seed=7, options={"instance": live, "elapsed_s": 0.0})
    later, _ = env.reset(seed=7, options={"instance": live, "elapsed_s": 60.0})
    left = (still["vm_mask"] == 1) & (later["vm_mask"] == 0)
    assert left.any()
    assert not later["action_mask"][: cluster.n_vms][left].any()
    assert not np.array_equal(still["pms"], later["pms"])
    assert later["vms"].shape == still["vms"].shape
