"""From a user's own snapshots to a trained policy and a decision: the four commands of
docs/training.md.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import sysopt_gym
from sysopt_gym.agents.checkpoints import SHIPPED, policy_hash, read_card
from sysopt_gym.cli import app
from sysopt_gym.core.instance import load_archive
from sysopt_gym.core.notes import told_to
from sysopt_gym.datasets.vm_rescheduling.instance import Cluster
from sysopt_gym.evaluation.after_training import request_after
from sysopt_gym.words import expand_lists
from typer.testing import CliRunner

SMALL_RUN = (
    "ppo.iterations=2", "ppo.checkpoint_every=1",
    "ppo.algorithm.env_runners.num_envs_per_env_runner=2",
    "ppo.algorithm.training.train_batch_size_per_learner=64",
    "ppo.algorithm.training.minibatch_size=32", "ppo.algorithm.training.num_epochs=1",
)  # fmt: skip


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_list_that_may_be_empty_ends_before_settings() -> None:
    typed = ["train", "x", "--then-compare", "a.zip", "b.zip", "seed=1"]
    assert expand_lists(typed) == [
        "train", "x", "--then-compare", "a.zip", "--then-compare", "b.zip", "seed=1",
    ]  # fmt: skip
    for rest in ([], ["seed=1"], ["--resume"]):
        assert expand_lists(["--then-compare", *rest]) == ["--then-compare", "default", *rest]


def commands() -> list[list[str]]:
    """Return the words of the four commands, without the program's name."""
    text = (Path(sysopt_gym.__file__).parent / "docs" / "training.md").read_text()
    (block,) = (part for part in text.split("```") if "--contenders mine=" in part)
    return [shlex.split(line, comments=True)[1:] for line in block.strip().splitlines()]


@pytest.mark.long
def test_own_snapshots_train_a_policy_that_plays_in_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    train_on, play_on, training, comparing = commands()
    for words in (train_on, play_on):
        words[words.index("pms=24")] = "pms=6"
        run(*words)
    run(*training, *SMALL_RUN)
    comparing[comparing.index("--budget") + 1] = "0.1"
    said = run(*comparing)
    run("report", "runs/x", "--no-solvers")

    eight, four = (load_archive(Cluster, Path(name)) for name in ("eight.zip", "four.zip"))
    card = read_card(Path("runs/x/policy"))
    started_on = read_card(SHIPPED / "vm_rescheduling_ppo").trained_on
    assert set(card.trained_on) == {*(one.content_hash for one in eight), *started_on}
    records = [json.loads(line) for line in Path("runs/x/history.jsonl").read_text().splitlines()]
    assert [record["done"] for record in records] == [1, 2]
    assert all(record["validation"][str(tmp_path / "eight.zip")] for record in records)
    page = Path("results/x/report.html").read_text()
    for name in ("mine", "agent", "columns", "ppo"):
        assert name in said and name in page
    assert policy_hash(Path("runs/x/policy")) in page
    learning = Path("runs/x/report.html").read_text()
    assert "svg" in learning or "data:image/png" in learning

    request = request_after(Path("runs/x"), ["four.zip"])
    assert request.contenders[0] == "x=runs/x/policy" and request.instances == ["four.zip"]
    told: list[str] = []
    with told_to(told.append):
        request_after(Path("runs/x"), ["eight.zip"])
    assert any("trained on all of it" in line for line in told)
    assert not set(started_on) & {one.content_hash for one in four}
