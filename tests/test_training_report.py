"""The report of training: what its curves, levels and sentences are made of."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from sysopt_gym.agents import history
from sysopt_gym.agents.history import Record
from sysopt_gym.agents.run_folder import HISTORY
from sysopt_gym.cli import app
from sysopt_gym.core.errors import CheckpointError, OutputError
from sysopt_gym.core.registry import load_problem
from sysopt_gym.evaluation.cells import Folder
from sysopt_gym.evaluation.training_curves import (
    best,
    curves,
    is_training,
    read_training,
    spread,
    where_time_went,
)
from sysopt_gym.evaluation.training_levels import SOLVERS, play_solvers, solver_levels
from sysopt_gym.evaluation.training_report import page_facts, write_training_report
from typer.testing import CliRunner

FIGURES = (0.5, 0.4, 0.45, 0.3)


def make_run(folder: Path, raised: float = 0.0, until: int = 4, slow: float = 1.0) -> Path:
    """Write a run of two passes of imitation and two iterations of PPO, as training leaves it."""
    config = {
        "family": "vm_rescheduling",
        "recipe": "",
        "out": str(folder),
        "seed": int(10 * raised),
        "validation": ["small:val/0"],
        "imitation": {"epochs": 2},
        "ppo": {"iterations": 2, "instances": ["small:train/0"]},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    stages = ("imitation", 1), ("imitation", 2), ("ppo", 1), ("ppo", 2)
    for place, (stage, done) in enumerate(stages[:until]):
        playing = stage == "ppo"
        record = Record(
            stage,
            done,
            100 * done if playing else 0,
            slow * (1.0 + place),
            return_mean=0.1 * done if playing else None,
            objective={"all": 0.6 - raised} if playing else {},
            losses={"policy_loss": 1.0 / (1 + place)} if playing else {"loss": 2.0 - place},
            timers={"sampling": 2.0, "runners: environment": 0.5, "runners: network": 1.0}
            if playing
            else {},
            validation={"small:val/0": {"sample": FIGURES[place] + raised, "greedy": 0.4}},
        )
        history.append(folder, record)
    return folder


def test_a_history_is_read_as_it_was_written_but_for_a_torn_last_line(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    whole = history.load(run)
    assert [record.done for record in whole] == [1, 2, 1, 2]
    with (run / HISTORY).open("ab") as file:
        file.write(b'{"stage": "ppo", "do')
    assert history.load(run) == whole
    assert history.load(tmp_path / "nowhere") == []
    (run / HISTORY).write_text("{}\n")
    with pytest.raises(CheckpointError, match=r"history\.jsonl, line 1: damaged"):
        history.load(run)


def test_steps_of_a_stage_count_on_from_those_of_earlier_stages() -> None:
    before = [Record("ppo", 1, 500, 1.0)]
    result = {
        "env_runners": {
            "num_env_steps_sampled_lifetime": 30.0,
            "episode_return_mean": float("nan"),
            "objective": 0.25,
            "objective_by_set": {"small:train": np.float32(0.25)},
        },
        "learners": {"default_policy": {"policy_loss": 1.5, "num_module_steps_trained": 9}},
        "timers": {"env_runner_sampling_timer": 2.0, "training_iteration": 3.0},
    }
    record = history.of_iteration("alphazero", 1, result, before, 4.0)
    assert record.env_steps == 530 and record.return_mean is None
    assert record.objective == {"small:train": 0.25, "all": 0.25}
    assert record.losses == {"policy_loss": 1.5}
    assert record.timers == {"sampling": 2.0}
    again = history.of_iteration("alphazero", 2, result, [*before, record], 4.0)
    assert again.env_steps == 530


def test_a_curve_lies_over_steps_and_over_seconds(tmp_path: Path) -> None:
    training = read_training(make_run(tmp_path / "run"))
    assert training.kind == "run" and training.axes == ("steps", "seconds")

    def picked(record: Record) -> float | None:
        return record.validation["small:val/0"]["sample"]

    (over_steps,) = curves(training.runs, "sample", picked, "steps")
    assert over_steps.x.tolist() == [0, 100, 200]  # imitation takes no steps: its last pass is at 0
    assert over_steps.y.tolist() == [0.4, 0.45, 0.3]
    (over_seconds,) = curves(training.runs, "sample", picked, "seconds")
    assert over_seconds.x.tolist() == [1, 3, 6, 10]
    assert over_seconds.y.tolist() == list(FIGURES)
    assert curves(training.runs, "nothing", lambda record: None, "steps") == []


def test_two_seeds_are_a_mean_with_a_band_where_both_have_been(tmp_path: Path) -> None:
    make_run(tmp_path / "seed-0")
    make_run(tmp_path / "seed-1", raised=0.2, until=3, slow=2.0)
    training = read_training(tmp_path)
    assert training.kind == "seeds" and [run.name for run in training.runs] == ["seed-0", "seed-1"]
    (curve,) = curves(training.runs, "", lambda r: r.validation["small:val/0"]["sample"], "steps")
    assert curve.x.tolist() == [0, 100]
    assert curve.low == pytest.approx([0.4, 0.45]) and curve.high == pytest.approx([0.6, 0.65])
    assert curve.y == pytest.approx([0.5, 0.55])
    (timed,) = curves(training.runs, "", lambda r: r.validation["small:val/0"]["sample"], "seconds")
    assert timed.x.tolist() == [2, 3, 6, 10]  # from the later start to the earlier end
    assert timed.high[0] == pytest.approx(0.7) and timed.low[0] == pytest.approx(0.45)
    facts = page_facts(training)
    assert any("Over the seeds: sample mean 0.45, from 0.3 to 0.6" in s for s in facts["sentences"])
    assert [line["cells"][0] for line in facts["table"]["lines"]] == ["seed-0", "seed-1"]
    assert all("bands" in plot["caption"] for plot in facts["plots"])


def test_the_spread_over_seeds_has_the_interval_of_students_t() -> None:
    found = spread([1.0, None, 3.0, 2.0])
    assert found is not None and found.interval is not None
    assert (found.count, found.mean, found.low, found.high) == (3, 2.0, 1.0, 3.0)
    assert found.interval[1] - found.mean == pytest.approx(4.302653 / np.sqrt(3))
    assert spread([None]) is None
    single = spread([1.0])
    assert single is not None and single.interval is None


def test_sampling_is_divided_by_what_the_runners_did(tmp_path: Path) -> None:
    (run,) = read_training(make_run(tmp_path / "run")).runs
    spent = where_time_went(run)
    assert spent["imitation"] == {"rest": 3.0}
    assert spent["ppo"] == pytest.approx(
        {
            "sampling": 1.0,
            "sampling: environment": 1.0,
            "sampling: network": 2.0,
            "rest": 3.0,
        }
    )
    assert sum(spent["ppo"].values()) == pytest.approx(7.0)


def test_the_report_of_a_killed_run_says_where_it_stands_and_how_to_go_on(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", until=3)
    with (run / HISTORY).open("ab") as file:
        file.write(b'{"stage": "ppo", "done": 2')
    first, second, third, _ = write_training_report(run, solvers=False)
    assert "imitation 2 of 2, ppo 1 of 2" in first and "train --resume" in first
    assert "imitation pass 2: sample 0.4 on small:val/0" in second
    assert "Solvers are not drawn yet" in third
    page = (run / "report.html").read_text()
    for heading in ("Validation on small:val/0", "Return", "Parts of the loss", "Where the time"):
        assert heading in page
    assert page.count("environment steps") >= 3 and page.count("seconds of training") >= 3
    assert "ppo 1 of 2" in (run / "report.md").read_text()
    assert best(read_training(run).runs[0], "small:val/0", "sample") == (1, 0.4)


def test_folders_of_training_and_of_comparisons_are_told_apart(tmp_path: Path) -> None:
    assert is_training(make_run(tmp_path / "run"))
    make_run(tmp_path / "sweep" / "trials" / "a")
    assert is_training(tmp_path / "sweep") and read_training(tmp_path / "sweep").kind == "sweep"
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "rows.jsonl").touch()
    assert not is_training(tmp_path / "results")
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "config.yaml").write_text("family: vm_rescheduling\n")
    with pytest.raises(OutputError, match=r"no history\.jsonl"):
        read_training(tmp_path / "begun")


def test_solvers_play_once_and_are_levels_in_the_figure_of_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = load_problem("vm_rescheduling")
    defaults = type(problem.defaults)(
        instances=(), contenders=("agent", "ha"), budget_s=0.2, always=(), baseline="ha"
    )
    monkeypatch.setattr(type(problem), "defaults", defaults)
    training = read_training(make_run(tmp_path / "run"))
    assert solver_levels(training) == {}
    play_solvers(training, quiet=True)
    rows = list(Folder(training.folder / SOLVERS).rows().values())
    assert [row.contender for row in rows] == ["ha"]  # an agent is no solver
    assert solver_levels(training) == {"ha": pytest.approx(rows[0].objective)}
    monkeypatch.setattr(
        "sysopt_gym.evaluation.process.Worker.play", lambda *_: pytest.fail("played again")
    )
    play_solvers(training, quiet=True)
    sentences = page_facts(training)["sentences"]
    assert any("0.2 s a plan, same instances" in sentence for sentence in sentences)
    kept = json.loads((training.folder / SOLVERS / "levels.json").read_text())
    assert list(kept.values()) == [pytest.approx(rows[0].objective)]


def test_rows_of_training_cannot_be_replayed(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    told = CliRunner().invoke(app, ["report", str(run), "--replay"])
    assert told.exit_code != 0 and "--replay is for the rows of a comparison" in told.output
    assert not (run / "report.html").exists()
