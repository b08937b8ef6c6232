"""The zoo: the page is what cards and scores say, and scores are of the shipped weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from result_rows import make_row
from sysopt_gym.agents.checkpoints import SHIPPED, policy_hash
from sysopt_gym.benchmarks import zoo as scoring
from sysopt_gym.benchmarks.zoo import PAGE, SCORINGS
from sysopt_gym.cli import app
from sysopt_gym.evaluation import zoo
from sysopt_gym.evaluation.table import score
from typer.testing import CliRunner

POLICIES = [folder.name for folder in sorted(SHIPPED.iterdir())]


def test_the_page_is_what_cards_and_scores_say() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == zoo.page()
    assert all(f"`{name}`" in page for name in POLICIES)


def test_scores_are_of_the_weights_that_are_shipped() -> None:
    for one in zoo.policies():
        for found in one["scores"]:
            assert found["hash"] == policy_hash(SHIPPED / one["policy"]), one["policy"]


def test_every_shipped_policy_is_played_on_sets_that_it_has_not_seen() -> None:
    played = {
        name.partition(".")[0]: one.sets for one in SCORINGS for name in one.policies if "." in name
    }
    assert set(played) == set(POLICIES)
    for one in zoo.policies():
        if one["family"] == "sequence_design":  # of one task, whose oracle training never asks
            continue
        seen = {**one["training_sets"], **one["validation_sets"]}
        assert not set(played[one["policy"]]) & set(seen)
        assert all(name.endswith(":test") for name in played[one["policy"]])


def test_the_command_lists_every_policy_as_text_and_as_json() -> None:
    said = CliRunner().invoke(app, ["zoo"])
    assert said.exit_code == 0 and all(name in said.stdout for name in POLICIES)
    told = CliRunner().invoke(app, ["zoo", "federated_lr", "--json"])
    found = json.loads(told.stdout)["policies"]
    assert {one["policy"] for one in found} == {n for n in POLICIES if n.startswith("federated")}
    assert all(one["command"].startswith("sysopt-gym train") for one in found)


def test_a_score_is_paired_over_instances_or_over_the_seeds_of_one() -> None:
    def rows(places: int, seeds: int) -> list[object]:
        made = [
            make_row(name, f"i{at}", base + at + 0.1 * seed * (name == "p.agent"), seed=seed)
            for name, base in (("p.agent", 1.0), ("columns", 2.0), ("greedy", 9.0))
            for at in range(places)
            for seed in range(seeds)
        ]
        return score(made)[0]

    for places, seeds, over, record in ((3, 1, "instances", [3, 0, 0]), (1, 4, "seeds", [4, 0, 0])):
        scored = rows(places, seeds)
        lines = scoring.standings(scored, "greedy")  # type: ignore[attr-defined]
        best = next(line for line in lines if line.contender == "columns")
        found = scoring._score("s", scored, "p.agent", best, lines)  # type: ignore[arg-type]
        assert (found["policy"], found["player"], found["over"]) == ("p", "agent", over)
        assert found["won_tied_lost"] == record and found["better_by"][0] > 0.5


@pytest.mark.parametrize(
    ("change", "why"),
    [({}, ""), ({"late": True}, ""), ({"cpu_s": 0.1}, "11% of a core")],
)
def test_a_set_where_contenders_were_starved_is_left_out_and_late_runs_are_counted(
    tmp_path: Path, change: dict[str, Any], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = scoring.Scoring("vm_rescheduling", ("small:test",), ("a.agent",), ("greedy",), 1.0)
    places = scoring.load_problem(one.family).sets.load("small:test")[:2]
    monkeypatch.setattr(scoring, "find_instances", lambda *_: places)
    shared = {"wall_s": 0.9, "cpu_s": 0.85}
    made = [
        make_row("a.agent", place.name, instance_hash=place.content_hash, role="agent", wall_s=0.1)
        for place in places
    ] + [
        make_row("greedy", place.name, instance_hash=place.content_hash, **(shared | change))
        for place in places
    ]
    folder = scoring.Folder(tmp_path)
    monkeypatch.setattr(folder, "rows", lambda: dict(enumerate(made)))
    table = scoring.table_of(one, folder)
    assert len(table["scores"]) == (not why)
    assert why in table["left_out"].get("small:test", "")
    assert table["late"] == ({"small:test": {"greedy": 2}} if "late" in change else {})
