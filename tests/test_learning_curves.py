"""The page of learning curves is what the runs kept beside it say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sysopt_gym.agents.checkpoints import SHIPPED, read_card
from sysopt_gym.benchmarks import learning_curves
from sysopt_gym.benchmarks.learning_curves import CURVES, PAGE, folders, page, take
from sysopt_gym.evaluation.training_curves import read_training


def test_the_page_is_what_the_histories_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()
    assert all((CURVES / f"{folder.name}.svg").exists() for folder in folders())


@pytest.mark.parametrize("folder", folders(), ids=lambda folder: folder.name)
def test_a_run_is_of_a_shipped_policy_and_ended(folder: Path) -> None:
    (run,) = read_training(folder).runs
    done = {record.stage: record.done for record in run.records}
    assert {stage: done.get(stage) for stage in run.lengths} == run.lengths
    card = read_card(SHIPPED / folder.name)
    assert (card.family, card.recipe) == (run.config["family"], run.config["recipe"])


def test_a_run_taken_over_is_on_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = folders()[0]
    monkeypatch.setattr(learning_curves, "CURVES", tmp_path / "curves")
    assert f"\n## {kept.name}\n" not in page()
    take(kept)
    assert [folder.name for folder in folders()] == [kept.name]
    command = json.loads((kept / "policy" / "policy.json").read_text())["command"]
    assert f"\n    {command}\n" in page()
