"""Statistics on cases small enough to compute by hand, and what must hold for all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from result_rows import make_row
from sysopt_gym.core.results import Row
from sysopt_gym.evaluation.statistics import (
    anytime,
    estimate,
    iqm,
    mean,
    objective_at,
    paired_difference,
    standings,
    time_grid,
    win_tie_loss,
)
from sysopt_gym.evaluation.table import Scored, gap, score

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40)


def row(contender: str, instance: str, objective: float, **more: Any) -> Row:
    return make_row(contender, instance, objective, world_seed=more.pop("world_seed", 1), **more)


def scored(*rows: Row) -> list[Scored]:
    found, notes = score(rows)
    assert notes == []
    return found


def test_the_iqm_drops_a_quarter_at_each_end() -> None:
    assert iqm([0.0, 1.0, 3.0, 100.0]) == 2.0
    assert iqm([0, 0, 1, 2, 3, 4, 9, 9]) == 2.5


def test_the_iqm_of_fewer_than_four_is_their_mean() -> None:
    assert iqm([1.0, 2.0, 9.0]) == 4.0


@given(VALUES)
def test_the_iqm_lies_within_the_values(values: list[float]) -> None:
    assert min(values) - 1e-6 <= iqm(values) <= max(values) + 1e-6


@given(VALUES, st.randoms(use_true_random=False))
def test_the_iqm_does_not_depend_on_the_order(values: list[float], random: Any) -> None:
    shuffled = list(values)
    random.shuffle(shuffled)
    assert iqm(shuffled) == pytest.approx(iqm(values), abs=1e-6)


@given(VALUES, st.floats(-1e3, 1e3))
def test_the_iqm_moves_with_the_values(values: list[float], shift: float) -> None:
    assert iqm([v + shift for v in values]) == pytest.approx(iqm(values) + shift, abs=1e-6)


def test_one_instance_has_no_interval() -> None:
    assert not estimate([3.0]).has_interval


def test_equal_values_have_an_interval_of_width_zero() -> None:
    found = estimate([2.0, 2.0, 2.0])
    assert (found.value, found.low, found.high) == (2.0, 2.0, 2.0)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.floats(-100, 100), min_size=2, max_size=12))
def test_the_interval_holds_the_iqm_and_lies_within_the_values(values: list[float]) -> None:
    found = estimate(values)
    assert found.low is not None and found.high is not None
    assert min(values) - 1e-6 <= found.low <= found.high <= max(values) + 1e-6


def test_a_mean_trims_nothing_and_has_its_interval() -> None:
    found = mean([0.0, 1.0, 3.0, 100.0])
    assert found.value == 26.0
    assert found.low is not None and found.high is not None
    assert 0.0 <= found.low < 26.0 < found.high <= 100.0


def test_the_bootstrap_repeats() -> None:
    assert estimate([1.0, 2.0, 4.0, 8.0]) == estimate([1.0, 2.0, 4.0, 8.0])


def test_wins_are_what_is_less_when_minimizing_and_what_is_more_when_maximizing() -> None:
    assert win_tie_loss([1, 2, 3], [2, 2, 2], 1.0) == (1, 1, 1)
    assert win_tie_loss([1, 1, 3], [2, 2, 2], -1.0) == (1, 0, 2)


def test_differences_within_the_tolerance_are_ties() -> None:
    assert win_tie_loss([0.5], [0.5 + 5e-10], 1.0) == (0, 1, 0)


@given(st.lists(st.tuples(st.floats(-10, 10), st.floats(-10, 10)), max_size=30))
def test_wins_ties_and_losses_sum_to_the_instances(pairs: list[tuple[float, float]]) -> None:
    ours, theirs = [a for a, _ in pairs], [b for _, b in pairs]
    wins, ties, losses = win_tie_loss(ours, theirs, 1.0)
    assert wins + ties + losses == len(pairs)
    assert win_tie_loss(theirs, ours, 1.0) == (losses, ties, wins)


def test_gaps_are_above_zero_where_worse_in_either_direction() -> None:
    assert gap(0.3, 0.2, 1.0) == pytest.approx(0.5)
    assert gap(8.0, 10.0, -1.0) == pytest.approx(0.2)
    assert gap(0.3, 0.0, 1.0) == pytest.approx(0.3)


def test_gaps_are_to_the_best_of_all_rows_and_of_what_is_known() -> None:
    rows = scored(
        row("a", "x", 0.4), row("b", "x", 0.3, bound=0.2), row("a", "y", 0.5, best_known=0.25)
    )
    assert [r.gap_to_best for r in rows] == pytest.approx([1 / 3, 0.0, 1.0])
    assert rows[0].gap_to_bound == pytest.approx(1.0)
    assert rows[2].gap_to_bound is None


def test_an_infeasible_row_never_sets_the_best() -> None:
    rows = scored(row("a", "x", 0.4), row("b", "x", 0.1, feasible=False, scored_objective=1.0))
    assert rows[0].gap_to_best == 0.0
    assert rows[1].gap_to_best == pytest.approx(1.5)


def test_a_bound_that_a_plan_beats_is_left_out_and_told() -> None:
    rows = [row("a", "x", 0.3, bound=0.35), row("b", "x", 0.3, bound=0.2)]
    rows, notes = score(rows)
    assert len(notes) == 1 and notes[0].startswith("a on x: claims")
    assert rows[0].proven_bound == 0.2


def test_a_rounded_value_from_elsewhere_neither_beats_a_proof_nor_refutes_it() -> None:
    rows = scored(row("a", "x", 0.57532, bound=0.57532, best_known=0.5753))
    assert rows[0].gap_to_best == rows[0].gap_to_bound == 0.0


def test_bounds_prove_nothing_where_the_world_is_live() -> None:
    rows = scored(row("a", "x", 0.3, bound=0.2, is_live=True))
    assert rows[0].gap_to_bound is None


def test_in_a_moving_world_runs_compare_within_their_world_only() -> None:
    rows = scored(row("a", "x", 0.3, is_live=True), row("a", "x", 0.1, is_live=True, world_seed=2))
    assert [r.gap_to_best for r in rows] == [0.0, 0.0]


def test_where_the_world_draws_the_problem_a_gap_is_to_the_best_of_the_same_world() -> None:
    rows = [row("a", "x", 0.3, is_random=True), row("b", "x", 0.1, is_random=True, world_seed=2)]
    rows.append(row("a", "x", 0.2, is_random=True, world_seed=2))
    assert [r.gap_to_best for r in scored(*rows)] == pytest.approx([0.0, 0.0, 1.0])


def test_where_it_draws_nothing_runs_of_all_seeds_have_one_best() -> None:
    rows = scored(row("a", "x", 0.3), row("a", "x", 0.1, world_seed=2))
    assert [r.gap_to_best for r in rows] == pytest.approx([2.0, 0.0])


def test_standings_pair_with_the_baseline_instance_by_instance() -> None:
    rows = [row("base", i, v) for i, v in (("x", 0.4), ("y", 0.5), ("z", 0.2))]
    rows += [row("new", i, v) for i, v in (("x", 0.2), ("y", 0.5), ("z", 0.3))]
    line = next(line for line in standings(scored(*rows), "base") if line.contender == "new")
    assert (line.wins, line.ties, line.losses) == (1, 1, 1)
    assert line.advantage.value == pytest.approx((0.5 + 0.0 - 0.5) / 3)
    assert line.objective.value == pytest.approx(1.0 / 3)


def test_ranks_are_averaged_over_instances_and_shared_by_equals() -> None:
    rows = [row("a", "x", 0.1), row("b", "x", 0.2), row("c", "x", 0.2), row("d", "x", 0.4)]
    rows += [row("a", "y", 9.0), row("b", "y", 8.0)]
    ranks = {line.contender: line.rank for line in standings(scored(*rows), "a")}
    assert {name: rank.value for name, rank in ranks.items()} == {
        "a": 1.5, "b": 1.75, "c": 2.5, "d": 4.0
    }  # fmt: skip
    assert (ranks["a"].low, ranks["a"].high) == (1.0, 2.0) and not ranks["c"].has_interval


def test_where_more_is_better_the_most_ranks_first() -> None:
    rows = scored(
        *(row(name, "x", value, direction="maximize") for name, value in (("a", 1), ("b", 2)))
    )
    assert {line.contender: line.rank.value for line in standings(rows, "a")} == {"a": 2, "b": 1}


def test_seeds_are_averaged_within_their_instance_first() -> None:
    rows = scored(row("a", "x", 0.2), row("a", "x", 0.4, seed=1), row("a", "y", 0.9))
    (line,) = standings(rows, "a")
    assert line.objective.value == pytest.approx(0.6) and line.runs == 3


def test_the_best_contender_comes_first_and_the_faster_one_among_equals() -> None:
    rows = scored(row("bad", "x", 0.9), row("slow", "x", 0.2, wall_s=0.9), row("fast", "x", 0.2))
    assert [line.contender for line in standings(rows, "bad")] == ["fast", "slow", "bad"]


def test_failures_are_counted_by_status() -> None:
    rows = scored(
        row("a", "x", 0.2, status="late"), row("a", "y", 0.2, status="crashed", wall_s=None)
    )
    (line,) = standings(rows, "a")
    assert line.failures == {"late": 1, "crashed": 1} and line.wall_s == 0.5


def test_a_failed_run_without_an_empty_plan_ranks_with_the_worst() -> None:
    rows = [row("a", "x", 0.2), row("b", "x", 0.7), row("c", "x", np.nan)]
    assert scored(*rows)[2].scored_objective == 0.7


def test_the_paired_difference_is_above_zero_for_the_better_one() -> None:
    rows = scored(row("a", "x", 0.2), row("b", "x", 0.5), row("a", "y", 0.1), row("b", "y", 0.4))
    lead = paired_difference(rows, "a", "b")
    assert lead is not None and lead.value == pytest.approx(0.3)
    assert paired_difference(rows, "a", "absent") is None


def test_a_curve_does_nothing_until_its_first_plan_and_holds_each_until_the_next() -> None:
    one = row("a", "x", 0.2, curve=((1.0, 0.6), (2.0, 0.2)))
    at = np.array([0.5, 1.0, 1.5, 2.0, 9.0])
    assert objective_at(one, at).tolist() == [1.0, 0.6, 0.6, 0.2, 0.2]


def test_the_anytime_curve_is_the_mean_gap_over_runs() -> None:
    rows = [row("a", "x", 0.5, curve=[(1.0, 0.5)]), row("a", "y", 0.25, curve=[(2.0, 0.25)])]
    found = anytime(scored(*rows), np.array([0.5, 1.5, 2.5]))
    assert found == pytest.approx([(1.0 + 3.0) / 2, (0.0 + 3.0) / 2, 0.0])


def test_the_time_grid_reaches_from_the_first_plan_to_the_longest_run() -> None:
    grid = time_grid([row("a", "x", 0.2, curve=[(0.01, 0.5)], wall_s=3.0)])
    assert grid[0] < 0.01 and grid[-1] == pytest.approx(3.0)
