"""A run of training is never lost: killed, damaged or asked for other settings, it goes on as it
was or says why not.
"""

from __future__ import annotations

import itertools
import json
import pickle
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from sysopt_gym.agents.checkpoints import SHIPPED, load_policy, save_policy
from sysopt_gym.agents.configuration import load_config
from sysopt_gym.agents.continuation import seed_generators
from sysopt_gym.agents.recipe import load_recipe
from sysopt_gym.agents.resuming import resumed_config
from sysopt_gym.agents.runs import Run
from sysopt_gym.agents.training import train
from sysopt_gym.core.errors import CheckpointError, OutputError, SettingError, SysOptError
from sysopt_gym.core.instance import save_archive
from sysopt_gym.core.notes import told_to
from sysopt_gym.envs.vm_rescheduling.problem import PROBLEM

TINY = {
    "width": "8",
    "normalize_and_project": "true",
    "validation": "[small:val/0]",
    "imitation.contender": "ha",
    "imitation.instances": "[small:train/0]",
    "imitation.epochs": "1",
    "ppo.instances": "[small:train/0, small:train/1]",
    "ppo.iterations": "4",
    "ppo.checkpoint_every": "2",
    "ppo.algorithm.env_runners.num_envs_per_env_runner": "2",
    "ppo.algorithm.training.train_batch_size_per_learner": "32",
    "ppo.algorithm.training.minibatch_size": "16",
    "ppo.algorithm.training.num_epochs": "1",
    "ppo.algorithm.training.lr": "[[0, 0.01], [400, 0.0]]",
    "ppo.algorithm.training.use_kl_loss": "true",
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one pass of imitation and four iterations of PPO, without a stop."""
    out = tmp_path_factory.mktemp("runs") / "run"
    train("vm_rescheduling_ppo", TINY | {"out": str(out)}, resume=False)
    return out


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of that run, to be damaged."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def checkpoints(run: Path) -> list[Path]:
    return sorted((run / "checkpoints").iterdir())


def records(run: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    for record in found:  # all but the clock's
        del record["seconds"], record["timers"]
    return found


class WithoutInstances(pickle.Unpickler):
    """Reads a checkpoint's continuation, with the names of the instances in their places."""

    def persistent_load(self, pid: str) -> str:
        return pid


def outcome(run: Path) -> dict[str, Any]:
    """All that a run's end consists of, as tensors and values by their paths."""
    last = checkpoints(run)[-1]
    parts = {
        "network": torch.load(last / "network.pt"),
        "generators": torch.load(last / "generators.pt", weights_only=False),
        "state": json.loads((last / "state.json").read_text()),
        "history": records(run),
    }
    learner = last / "algorithm" / "learner_group" / "learner" / "state.pkl"
    if learner.exists():
        parts["optimizer"] = pickle.loads(learner.read_bytes())["optimizer"]
        with (last / "continuation.pkl").open("rb") as file:
            parts["learner"] = WithoutInstances(file).load()["learner"]
    return dict(flat(parts))


def flat(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of a nested state with their paths, arrays as lists."""
    if isinstance(tree, (dict, list, tuple)):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from flat(value, f"{prefix}/{key}")
    else:
        yield prefix, tree.tolist() if hasattr(tree, "tolist") else tree


def back_by_one(run: Path) -> Path:
    """Take a run back to its last but one checkpoint."""
    shutil.rmtree(checkpoints(run)[-1])
    return run


def test_two_iterations_and_two_more_are_four(finished: Path, run: Path) -> None:
    train(back_by_one(run), {}, resume=True)
    whole = outcome(finished)
    assert outcome(run) == whole
    assert len({record["done"] for record in records(run) if record["stage"] == "ppo"}) == 4
    seed_generators(0)
    first = load_recipe("vm_rescheduling").network(8).state_dict()
    learned = {name: torch.tensor(whole[f"/network/network/{name}"]) for name in first}
    assert not torch.equal(learned["pool.weight"], first["pool.weight"])
    for name, one in learned.items():
        if one.dim() > 1:  # as at the run's beginning: before imitation, PPO and the stop
            assert float(one.norm() / first[name].norm()) == pytest.approx(1.0, abs=1e-6)
    kl = whole["/learner/curr_kl_coeffs_per_module/default_policy"]
    assert kl < 0.2  # the coefficient has moved from where it began
    assert (
        len({record["losses"].get("default_optimizer_learning_rate") for record in records(run)})
        > 3
    )


@pytest.mark.parametrize(
    ("config", "overrides"),
    [
        pytest.param(
            "vm_rescheduling_ppo",
            TINY
            | {
                "algorithm": "dqn",
                "imitation.epochs": "0",
                "dqn.algorithm.training": "{train_batch_size_per_learner: 16,"
                " num_steps_sampled_before_learning_starts: 32, target_network_update_freq: 24}",
                "dqn.algorithm.reporting": "{min_sample_timesteps_per_iteration: 40}",
            },
            marks=pytest.mark.long,
        ),
        (
            "memory_mapping_alphazero",
            {
                "width": "8",
                "start": "",
                "optimizer": "lamb",
                "validation": "[small:val/0]",
                "imitation.epochs": "0",
                "alphazero.instances": "[small:train/0]",
                "alphazero.iterations": "4",
                "alphazero.checkpoint_every": "2",
                "alphazero.algorithm.env_runners": "{num_envs_per_env_runner: 2,"
                " rollout_fragment_length: 8}",
                "alphazero.algorithm.training": "{simulations: 2, learning_starts: 16, updates: 2,"
                " train_batch_size_per_learner: 8}",
            },
        ),
    ],
    ids=["dqn", "alphazero"],
)
def test_algorithms_with_a_buffer_go_on_with_it(
    config: str, overrides: dict[str, str], tmp_path: Path
) -> None:
    train(config, overrides | {"out": str(tmp_path / "run")}, resume=False)
    again = Path(shutil.copytree(tmp_path / "run", tmp_path / "again"))
    train(back_by_one(again), {}, resume=True)
    assert outcome(again) == outcome(tmp_path / "run")


def test_a_run_that_has_ended_ends_again_without_a_step(run: Path) -> None:
    before = outcome(run)
    train("vm_rescheduling_ppo", TINY | {"out": str(run)}, resume=True)
    assert outcome(run) == before


def test_any_file_of_a_run_may_be_damaged(run: Path, tmp_path: Path) -> None:
    """The run is opened from the checkpoint before, or as if nothing had happened."""
    last, earlier = checkpoints(run)[-1], checkpoints(run)[0]
    files = [path for path in run.rglob("*") if path.is_file() and "events" not in path.name]
    files = [path for path in files if earlier not in path.parents]
    for path, harm in zip(files, itertools.cycle(HARMS), strict=False):
        copy = Path(shutil.copytree(run, tmp_path / "copy"))
        damage(copy / path.relative_to(run), harm)
        told: list[str] = []
        with told_to(told.append):
            opened = Run.open(resumed_config(copy, {}), resume=True)
        fell_back = last in path.parents
        assert opened.state.done == (2 if fell_back else 4), path
        assert fell_back == any(path.name in line for line in told if "goes back" in line), path
        assert len(records(copy)) == 1 + opened.state.step
        card = load_policy(copy / "policy", PROBLEM)[1]
        assert card == load_policy(opened.restored / "policy", PROBLEM)[1]
        shutil.rmtree(copy)


HARMS = ("missing", "empty", "cut", "garbage")


def damage(path: Path, harm: str) -> None:
    content = path.read_bytes()
    if harm == "missing":
        path.unlink()
    else:
        path.write_bytes(
            {"empty": b"", "cut": content[: len(content) // 2], "garbage": b"\x00{[garbage"}[harm]
        )


def test_without_a_good_checkpoint_the_bad_files_are_named(run: Path) -> None:
    for place, name in zip(checkpoints(run), ("network.pt", "manifest.json"), strict=True):
        damage(place / name, "cut")
    with pytest.raises(CheckpointError, match=r"manifest\.json is damaged.*network\.pt is damaged"):
        train(run, {}, resume=True)


def test_what_was_left_half_written_is_cleared_away(run: Path) -> None:
    (run / "checkpoints" / "000009.partial").mkdir()
    (run / "checkpoints" / "000009.partial" / "network.pt").write_bytes(b"half")
    (run / "state.json.partial").write_bytes(b"half")
    Run.open(resumed_config(run, {}), resume=True)
    assert not list(run.rglob("*.partial"))


def test_a_resumed_run_keeps_its_settings(run: Path) -> None:
    def refused(match: str, config: str | Path = run, **overrides: str) -> None:
        with pytest.raises(SysOptError, match=match):
            resumed_config(config, {key.replace("__", "."): v for key, v in overrides.items()})

    refused(r"width is 8, not 16", width="16")
    refused(r"seed is 0, not 1", seed="1")
    refused(r"optimizer is 'adam', not 'lamb'", optimizer="lamb")
    refused(r"ppo\.algorithm\.training\.lr", ppo__algorithm__training__lr="0.1")
    refused("is a run of vm_rescheduling", "memory_mapping_ppo", out=str(run))
    refused("no run to resume", "vm_rescheduling_ppo", out=str(run / "nowhere"))
    refused("did you mean", ppo__iteration="3")
    with pytest.raises(OutputError, match="--resume"):
        train("vm_rescheduling_ppo", TINY | {"out": str(run)}, resume=False)


def test_a_resumed_run_says_what_changes_and_what_does_not(run: Path) -> None:
    told: list[str] = []
    with told_to(told.append):
        config = resumed_config("vm_rescheduling_ppo", {"out": str(run), "ppo.iterations": "6"})
    assert config.stages["ppo"] == 6 and config.width == 8
    assert any("goes on with ppo.iterations 6, which was 4" in line for line in told)
    assert any(re.search(r"keeps .*width 8", line) for line in told)
    with told_to(told.append):
        told.clear()
        resumed_config("vm_rescheduling_ppo", TINY | {"out": str(run)})
    assert told == []


def test_a_run_on_files_remembers_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_archive(list(PROBLEM.sets.load("small:test"))[:3], tmp_path / "three.zip")
    own = {
        "out": "run", "ppo.instances": "[three.zip, small:train/0]", "validation": "[three.zip]",
        "imitation.epochs": "0", "ppo.iterations": "0",
    }  # fmt: skip
    train("vm_rescheduling_ppo", TINY | own, resume=False)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    opened = Run.open(resumed_config(tmp_path / "run", {}), resume=True)
    file = str(tmp_path / "three.zip")
    played = opened.played("ppo")
    assert {name: len(some) for name, some in played.items()} == {
        file: 3, "small:train/0": 1,
    }  # fmt: skip
    assert list(opened.validation) == [file]
    (tmp_path / "three.zip").unlink()
    moved = (tmp_path / "run").rename(tmp_path / "elsewhere" / "run")
    again = Run.open(resumed_config(Path("run"), {}), resume=True)
    for found, wanted in ((again.validation, opened.validation), (again.played("ppo"), played)):
        assert {name: hashes(some) for name, some in found.items()} == {
            name: hashes(some) for name, some in wanted.items()
        }
    shutil.rmtree(moved / "instances")
    with pytest.raises(CheckpointError, match=r"three\.zip: instances of the run"):
        train(moved, {}, resume=True)


def hashes(instances: list[Any]) -> list[str]:
    return [one.content_hash for one in instances]


def test_a_start_is_checked_validated_and_exported(tmp_path: Path) -> None:
    still = TINY | {"imitation.epochs": "0", "ppo.iterations": "0", "out": str(tmp_path / "run")}
    for start, match in (
        ("memory_mapping_ppo", "a policy for memory_mapping"),
        ("vm_rescheduling_prices", r"recipe '\.agents\.vm_rescheduling\.prices:RECIPE'"),
        ("vm_rescheduling_ppo", "width 32, but this run has width 8"),
        ("nowhere", "neither a folder nor a shipped policy"),
    ):
        with pytest.raises(SysOptError, match=match):
            train("vm_rescheduling_ppo", still | {"start": start}, resume=False)
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
    del still["width"]
    train("vm_rescheduling_ppo", still | {"start": "vm_rescheduling_ppo"}, resume=False)
    weights, card = load_policy(tmp_path / "run" / "policy", PROBLEM)
    shipped, _ = load_policy(SHIPPED / "vm_rescheduling_ppo", PROBLEM)
    assert all(torch.equal(weights[key], shipped[key]) for key in shipped)
    assert card.stage.startswith("start") and set(card.expected) == {"small:val/0"}
    # A narrower policy brings its width.
    config = load_config("vm_rescheduling_ppo", {"start": str(narrow(tmp_path / "narrow"))})
    assert config.width == 8


def narrow(folder: Path) -> Path:
    """A policy of width 8."""
    from dataclasses import replace

    from sysopt_gym.agents.vm_rescheduling.network import RelationalPolicy

    _, card = load_policy(SHIPPED / "vm_rescheduling_ppo", PROBLEM)
    save_policy(folder, RelationalPolicy(8).state_dict(), replace(card, width=8))
    return folder


def test_an_algorithm_takes_over_what_the_file_trains_on() -> None:
    by_dqn = load_config("vm_rescheduling_ppo", {"algorithm": "dqn", "dqn.checkpoint_every": "7"})
    file = load_config("vm_rescheduling_ppo", {})
    dqn, ppo = by_dqn.reinforcement["dqn"], file.reinforcement["ppo"]
    assert (dqn.instances, dqn.iterations) == (ppo.instances, ppo.iterations)
    assert dqn.checkpoint_every == 7
    assert set(dqn.algorithm) <= {"env_runners", "learners", "fault_tolerance"}
    on = [stage for stage, length in by_dqn.stages.items() if length and stage != "imitation"]
    assert on == ["dqn"]
    with pytest.raises(SettingError, match=r"give ppo\.iterations"):
        load_config("vm_rescheduling_prices", {"algorithm": "ppo"})


@pytest.mark.slow
def test_killed_at_any_moment_a_run_ends_as_if_nothing_had_happened(
    finished: Path, tmp_path: Path
) -> None:
    rng = random.Random(14)
    out = tmp_path / "run"
    code = (
        "import sys, json; from sysopt_gym.agents.training import train; "
        "train('vm_rescheduling_ppo', json.loads(sys.argv[1]), sys.argv[2] == 'resume')"
    )
    settings = TINY | {"out": str(out)}

    def passes() -> int:
        history = out / "history.jsonl"
        return history.read_bytes().count(b"\n") if history.exists() else 0

    for reached in (0, 2, 4):
        how = "resume" if (out / "checkpoints").exists() else "start"
        process = subprocess.Popen([sys.executable, "-c", code, json.dumps(settings), how])
        while process.poll() is None and (not (out / "checkpoints").exists() or passes() < reached):
            time.sleep(0.005)
        time.sleep(rng.uniform(0.0, 0.3))
        process.kill()  # SIGKILL
        process.wait()
    train("vm_rescheduling_ppo", settings, resume=True)
    assert outcome(out) == outcome(finished)
