"""Benchmarks: turns, medians and spreads; exponents of growth; budgets kept."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sysopt_gym.benchmarks import (
    arrivals,
    budgets,
    packing_scale,
    program_files,
    rate_bandits,
    scale,
    sequence_rounds,
)
from sysopt_gym.benchmarks.timing import beside, take_turns
from sysopt_gym.core.contracts import World
from sysopt_gym.core.notes import InputNote
from sysopt_gym.core.registry import load_problem


def test_runs_take_turns_and_the_first_turn_warms_up() -> None:
    order: list[str] = []
    speeds = {"a": iter([9.0, 1.0, 3.0, 2.0]), "b": iter([9.0, 10.0, 10.0, 10.0])}

    def run(name: str) -> float:
        order.append(name)
        return next(speeds[name])

    a, b = take_turns([lambda: run("a"), lambda: run("b")], repeats=3)
    assert order == ["a", "b"] * 4
    assert a == (2.0, pytest.approx(0.5)) and b == (10.0, 0.0)


def test_a_throughput_stands_beside_its_reference_with_the_larger_spread() -> None:
    known = iter([1.0, 1.0, 2.0, 3.0])
    (found,) = beside({"fast": lambda: 8.0}, "steps/s", "plain", lambda: next(known))
    assert (found.name, found.per_second, found.unit) == ("fast", 8.0, "steps/s")
    assert (found.reference, found.ratio, found.spread) == ("plain", 4.0, pytest.approx(0.5))


def test_an_exponent_is_the_power_of_the_size_that_time_grows_with() -> None:
    assert scale.exponent([1, 10, 100], [3.0, 30.0, 300.0]) == pytest.approx(1.0)
    assert scale.exponent([1, 10, 100], [3.0, 300.0, 30_000.0]) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("family", "size"),
    [
        ("vm_rescheduling", 12),
        ("memory_mapping", 2),
        ("sequence_design", 256),
        ("federated_lr", 2),
        ("federated_lr:parameters", 2),
        ("vm_allocation", 4),
        ("sequence_parallelism", 16),
    ],
)
def test_every_part_of_a_small_instance_is_timed(family: str, size: int) -> None:
    found = scale.measure(family, size)
    assert found.steps > 0 and set(found.seconds) == set(scale.PARTS)
    assert all(found.seconds[part] > 0 for part in ("generate", "reset", "step", "judge"))


def test_a_contender_is_timed_and_judged_as_in_a_comparison() -> None:
    problem = load_problem("vm_rescheduling")
    instance = problem.sets.load("small:test/0")[0]
    head, _, row = budgets.table(problem, instance, 0.2, ["ha"])
    assert head.count("|") == row.count("|") and "small:test/0, 0.2 s" in head
    name, seconds, share, _, memory, objective, status = row.strip("| ").split(" | ")
    assert (name, status) == ("ha", "feasible") and 0.0 < float(objective) < 1.0
    assert float(share) == pytest.approx(float(seconds) / 0.2, abs=0.01) and float(memory) > 0.0


@pytest.mark.long
def test_each_objective_is_measured_by_the_same_arrivals_after_its_plan() -> None:
    clusters = load_problem("vm_rescheduling").sets.load("small:test")[1:3]
    _, _, *rows = arrivals.table(clusters, draws=2, share=0.8, seconds=0.2)
    assert [row.split(" | ")[0] for row in rows] == [f"| {name}" for name in arrivals.PLANNERS]
    for row in rows:
        assert all(0.0 <= float(cell.split()[0]) <= 100.0 for cell in row.split(" | ")[2:])


def test_modules_written_to_time_their_loading_have_the_instructions_asked_for() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputNote)
        for write in (program_files.train_step, program_files.fusions):
            assert program_files.of_text(write, 20)[0].n_instrs == 21
        looped = program_files.of_text(program_files.loops, 18)[0]
        assert [loop.trips for loop in looped.loops] == [4, 4]
        assert program_files.of_archive(20)[0].n_instrs == 21


def test_packings_of_many_buffers_are_rows_of_a_table() -> None:
    for make in (packing_scale.train_step, packing_scale.random_lives):
        problem = make(60)
        (row,) = packing_scale.rows(problem, [5.0])
        assert len(problem.ids) >= 40 and row.startswith(f"| {problem.name}, {len(problem.ids)} |")


def test_rounds_are_ranked_on_the_tasks_that_all_contenders_have_played(
    capsys: pytest.CaptureFixture[str],
) -> None:
    medians = {"a": (0.9, 0.5, 0.7), "b": (0.8, 0.5, 0.9), "c": (0.1, 0.2)}
    runs = [
        {"task": f"t{at}", "contender": name, "median": median, "max": 1.0, "late": False}
        for name, of in medians.items()
        for at, median in enumerate(of)
    ]
    tasks, names, scores = sequence_rounds.scores_of(runs, "median")
    assert tasks == ["t0", "t1"] and names == ["a", "b", "c"]
    assert sequence_rounds.ranks_of(scores).tolist() == [[1.0, 2.0, 3.0], [1.5, 1.5, 3.0]]
    sequence_rounds.print_tables(runs)
    printed = capsys.readouterr().out
    assert "| `a` | 1.25 [1.00, 1.50] | 2.00 [2.00, 2.00] | 0.700 | – |" in printed
    assert (
        "| `b` | 1.75 [1.50, 2.00] | 2.00 [2.00, 2.00] | 0.650 | 0.050 [0.000, 0.100] |" in printed
    )


def test_a_player_is_timed_by_its_answers_and_a_late_one_scores_as_the_null_plan(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    problem = load_problem("sequence_design")
    task = problem.apply_settings(problem.warm_up_instance(), {"rounds": "2"})
    run = sequence_rounds.play(task, "random_rounds", 0, 5.0)
    assert not run["late"] and run["uniques"] == 12 and 0 < run["taken"] < 5.0
    assert run["by_round"][-1] == run["median"]
    monkeypatch.setattr(sequence_rounds, "is_late", lambda taken, budget: taken > 0)
    late = sequence_rounds.play(task, "random_rounds", 0, 5.0)
    null = problem.validate(task, problem.null_plan(task), World())
    assert late["late"] and late["median"] == null.objective


def test_arms_are_taken_by_what_they_add_to_the_best_of_those_before() -> None:
    # The second column is next best alone, but never better than the first.
    scores = np.array([[0.9, 0.8, 0.1, 0.0], [0.9, 0.8, 0.1, 0.0], [0.3, 0.3, 0.7, 0.35]])
    assert rate_bandits.greedy(scores)[:2] == [0, 2]
