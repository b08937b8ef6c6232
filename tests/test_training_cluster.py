"""Training on a Ray cluster outlives the loss of a runner's process and of a node."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
from ray.cluster_utils import Cluster
from sysopt_gym.agents import history, training
from sysopt_gym.agents.algorithms import build_algorithm, quiet_ray
from sysopt_gym.agents.configuration import load_config
from sysopt_gym.agents.history import Record
from sysopt_gym.agents.training import train, train_run
from sysopt_gym.core.errors import SettingError, TrainingError
from sysopt_gym.core.registry import load_problem

NODES = 2  # beside the head, each with a core for a runner
SETTINGS = {
    "width": "8",
    "validation": "[small:val/0]",
    "imitation.epochs": "0",
    "ppo.instances": "[small:train/0]",
    "ppo.iterations": "6",
    "ppo.checkpoint_every": "2",
    "ppo.algorithm.env_runners.num_envs_per_env_runner": "1",
    "ppo.algorithm.env_runners.num_env_runners": str(NODES),
    "ppo.algorithm.training.train_batch_size_per_learner": "32",
    "ppo.algorithm.training.minibatch_size": "16",
    "ppo.algorithm.training.num_epochs": "1",
}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A head without cores to spare for runners, and NODES nodes of one core."""
    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "300")  # on a busy machine
    ray.shutdown()
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    for _ in range(NODES):
        made.add_node(num_cpus=1)
    yield made
    ray.shutdown()
    made.shutdown()


def runner_processes() -> list[int]:
    """Process ids of the environment runners of the cluster that this process has started."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it has ended meanwhile
            if process.cmdline()[:1] and process.cmdline()[0].startswith("ray::Runner"):
                found.append(process.pid)
    return found


def wait_for(what: Any) -> None:
    """Wait until something holds; a test that waits for ever has failed."""
    for _ in range(1800):
        if what():
            return
        time.sleep(0.1)
    raise AssertionError("it never came to hold")


@pytest.mark.cluster
@pytest.mark.slow
def test_a_killed_runner_comes_back_and_a_killed_node_is_done_without(
    cluster: Cluster, tmp_path: Path
) -> None:
    killed: list[int] = []

    def harm(record: Record) -> None:
        if record.done == 1:
            killed.append(runner_processes()[0])
            os.kill(killed[0], signal.SIGKILL)
        if record.done == 2:  # with the runner that is left
            wait_for(lambda: len(runner_processes()) == NODES)
            assert killed[0] not in runner_processes()
        if record.done == 3:
            cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)

    quiet_ray(cluster.address)
    config = load_config("vm_rescheduling_ppo", SETTINGS | {"out": str(tmp_path / "run")})
    train_run(config, resume=False, observe=harm)
    assert len(killed) == 1
    told = history.load(tmp_path / "run")
    assert [record.done for record in told] == [0, 1, 2, 3, 4, 5, 6]
    steps = [record.env_steps for record in told]
    assert all(after - before >= 32 for before, after in itertools.pairwise(steps))

    # Another machine has the run's folder alone, and no cluster.
    ray.shutdown()
    moved = (tmp_path / "run").rename(tmp_path / "elsewhere")
    more = {"ppo.iterations": "7", "ppo.algorithm.env_runners.num_env_runners": "0"}
    train(moved, more, resume=True)
    assert [record.done for record in history.load(moved)] == [0, 1, 2, 3, 4, 5, 6, 7]


@pytest.mark.cluster
@pytest.mark.slow
def test_without_any_runner_training_ends_with_what_to_do(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "PATIENCE_S", 5.0)

    def harm(record: Record) -> None:
        if not record.done:  # the start
            return
        for node in list(cluster.worker_nodes):
            cluster.remove_node(node, allow_graceful=False)

    quiet_ray(cluster.address)
    config = load_config("vm_rescheduling_ppo", SETTINGS | {"out": str(tmp_path / "run")})
    with pytest.raises(TrainingError, match=r"no environment runner has answered.*--resume"):
        train_run(config, resume=False, observe=harm)
    assert [record.done for record in history.load(tmp_path / "run")] == [0, 1]


@pytest.mark.cluster
@pytest.mark.slow
def test_an_error_of_the_environment_ends_training_with_remote_runners() -> None:
    def fail(**others: Any) -> None:
        raise ZeroDivisionError("planted")

    parts = {
        "env_runners": {"num_env_runners": 1, "num_envs_per_env_runner": 1},
        "training": {"train_batch_size_per_learner": 32, "minibatch_size": 16},
        "callbacks": {"on_episode_step": fail},
    }
    problem, network = load_problem("vm_rescheduling"), {"family": "vm_rescheduling", "width": 8}
    algorithm = build_algorithm("ppo", problem, {"instances": "small:train/0"}, network, 0, parts)
    try:
        with pytest.raises(TrainingError, match="runner 1 ended in ZeroDivisionError: planted"):
            algorithm.train()
    finally:
        algorithm.stop()


def test_an_address_where_no_cluster_answers_is_refused(tmp_path: Path) -> None:
    ray.shutdown()
    with pytest.raises(SettingError, match=r"--ray 127\.0\.0\.1:1: no Ray cluster answers"):
        train("vm_rescheduling_ppo", {"out": str(tmp_path / "run")}, False, "127.0.0.1:1")
