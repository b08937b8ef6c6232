"""Seeds, sweeps and trackers: several runs as one training."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from sysopt_gym.agents import history, sweep, trackers
from sysopt_gym.agents.checkpoints import read_card
from sysopt_gym.agents.configuration import SweepConfig, TrainingConfig, load_config
from sysopt_gym.agents.history import Record
from sysopt_gym.agents.training import train
from sysopt_gym.core.errors import (
    CheckpointError,
    MissingDependencyError,
    OutputError,
    SettingError,
    SysOptError,
    UnknownNameError,
)
from sysopt_gym.evaluation.training_report import write_training_report

TINY = {
    "width": "8",
    "validation": "[small:val/0]",
    "imitation.contender": "greedy",
    "imitation.budget_s": "0.05",
    "imitation.instances": "[small:train/0]",
    "imitation.epochs": "2",
    "ppo.iterations": "0",
}
CONFIG = "vm_rescheduling_ppo"


def test_seeds_are_runs_of_their_own_and_the_best_is_exported(tmp_path: Path) -> None:
    overrides = TINY | {"seeds": "2", "seed": "5", "out": str(tmp_path)}
    with pytest.raises(CheckpointError, match="no run to resume"):
        train(CONFIG, overrides, resume=True)
    policy = train(CONFIG, overrides, resume=False)
    runs = [tmp_path / "seed-5", tmp_path / "seed-6"]
    assert [len(history.load(run)) for run in runs] == [3, 3]
    scores = [read_card(run / "policy").expected["small:val/0"]["sample"] for run in runs]
    assert policy == tmp_path / "policy"
    assert read_card(policy) == read_card(runs[scores.index(min(scores))] / "policy")
    with pytest.raises(OutputError, match="holds training already"):
        train(CONFIG, overrides, resume=False)
    lines = write_training_report(tmp_path, solvers=False)
    assert lines[0].startswith("2 seeds finished") and any("Over the seeds" in x for x in lines)
    # Resumed with more passes, both go on; a seed that had not begun is begun.
    (tmp_path / "seed-6").rename(tmp_path / "elsewhere")
    train(CONFIG, overrides | {"imitation.epochs": "3"}, resume=True)
    assert [len(history.load(run)) for run in runs] == [4, 4]


@pytest.mark.long
def test_a_sweep_exports_the_trial_that_validates_best(tmp_path: Path) -> None:
    overrides = TINY | {
        "out": str(tmp_path),
        "sweep.space": "{imitation.learning_rate: {grid_search: [0.0, 0.01]}}",
        "sweep.scheduler": "asha",
    }
    policy = train(CONFIG, overrides, resume=False)
    trials = sorted((tmp_path / "trials").iterdir())
    cards = [read_card(trial / "policy") for trial in trials]
    rates = [card.config["imitation"]["learning_rate"] for card in cards]
    assert sorted(rates) == [0.0, 0.01]
    scores = [card.expected["small:val/0"]["sample"] for card in cards]
    assert read_card(policy) == cards[scores.index(min(scores))]
    lines = write_training_report(tmp_path, solvers=False)
    assert "2 trials" in lines[0]
    page = (tmp_path / "report.md").read_text()
    assert "imitation.learning_rate" in page and "trial-00001" in page
    # A sweep that has ended has nothing left to do.
    assert train(CONFIG, overrides, resume=True) == policy


@pytest.mark.parametrize(
    ("space", "scheduler", "named"),
    [
        ({"widths": {"choice": [8]}}, "none", "widths"),
        ({"width": {"choices": [8]}}, "none", "choice"),
        ({"width": {"choice": ["wide"]}}, "none", r"sweep\.space\.width.*whole number"),
        ({"width": {"choice": 8}}, "none", r"sweep\.space\.width\.choice"),
        ({"ppo.algorithm.training.lr": {"loguniform": [0, 1]}}, "none", r"training\.lr.*above 0"),
        ({"width": {"choice": [8, 16]}}, "pbt", r"sweep\.space\.width: pbt"),
        ({"seed": {"choice": [0, 1]}}, "ashe", "did you mean 'asha'"),
    ],
)
def test_a_sweep_that_cannot_be_run_is_refused_by_its_key(
    space: dict[str, Any], scheduler: str, named: str
) -> None:
    config = load_config(CONFIG, TINY)
    with pytest.raises(SysOptError, match=named):
        sweep.check_sweep(replace(config, sweep=SweepConfig(space=space, scheduler=scheduler)))


def test_bounds_may_be_written_as_yaml_reads_them() -> None:
    space = {"ppo.algorithm.training.lr": {"loguniform": ["1e-5", 1.0e-3]}}  # 1e-5 is text
    config = replace(load_config(CONFIG, TINY), sweep=SweepConfig(space=space, scheduler="pbt"))
    drawn = sweep.check_sweep(config)["ppo.algorithm.training.lr"].sample()
    assert 1e-5 <= drawn <= 1e-3


def test_a_metric_of_a_set_that_is_not_validated_is_refused(tmp_path: Path) -> None:
    section = SweepConfig(space={"seed": {"choice": [0]}}, metric="small:test/greedy")
    with pytest.raises(SettingError, match=r"sweep\.metric.*small:val/0"):
        sweep.run_sweep(replace(load_config(CONFIG, TINY), sweep=section), resume=False)


def test_trackers_are_told_of_every_record(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[dict[str, float]] = []

    @contextmanager
    def fake(config: TrainingConfig) -> Iterator[Any]:
        yield told.append

    monkeypatch.setattr("importlib.util.find_spec", lambda name: ModuleType(name))
    monkeypatch.setitem(trackers.TRACKERS, "mlflow", fake)
    config = load_config(CONFIG, TINY | {"trackers": "[mlflow]"})
    with trackers.tracked(config) as tell:
        tell(Record("ppo", 3, 90, 1.0, 0.5, validation={"small:val": {"greedy": 0.25}}))
    assert told == [
        {
            "validation/small:val/greedy": 0.25,
            "ppo/episode_return_mean": 0.5,
            "ppo/done": 3,
            "env_steps": 90,
        }
    ]


def test_a_tracker_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UnknownNameError, match="tracker"), trackers.tracked(_tracking("neptune")):
        pass
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"wandb.*sysopt-gym\[trackers\]"):
        trackers.tracked(_tracking("wandb")).__enter__()


def _tracking(name: str) -> TrainingConfig:
    return load_config(CONFIG, TINY | {"trackers": json.dumps([name])})
