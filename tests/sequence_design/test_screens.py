"""Screens of many long sequences: what is done once, in how much memory, and within the budget."""

from __future__ import annotations

import dataclasses
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sysopt_gym.agents.sequence_design.network import SequencePolicy
from sysopt_gym.agents.sequence_design.playing import sample
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.contracts import World
from sysopt_gym.core.errors import InstanceError
from sysopt_gym.core.instance import Instance
from sysopt_gym.datasets.sequence_design import equality, measured
from sysopt_gym.datasets.sequence_design.distances import differences, nearest
from sysopt_gym.datasets.sequence_design.equality import RowIndex, first_banned, first_of_each
from sysopt_gym.datasets.sequence_design.instance import DesignTask, make_task, seal
from sysopt_gym.datasets.sequence_design.loaders import load_file
from sysopt_gym.envs.sequence_design import designs
from sysopt_gym.envs.sequence_design.env import SequenceDesignEnv
from sysopt_gym.envs.sequence_design.problem import PROBLEM
from sysopt_gym.envs.sequence_design.proxy import fit, fit_proxy
from sysopt_gym.envs.sequence_design.validate import validate
from sysopt_gym.methods.sequence_design.pool import Pool, affordable_rows, has_time_to_learn
from sysopt_gym.solvers.sequence_design import gflownet

FEW_LETTERS = arrays.arrays(
    np.int8, st.tuples(st.integers(1, 30), st.integers(1, 3)), elements=st.integers(0, 2)
)


def screen(rows: int, length: int) -> DesignTask:
    """A screen of so many measured mutants of one protein, with an oracle that estimates."""
    rng = np.random.default_rng(0)
    sequences = np.tile(rng.integers(0, 20, length).astype(np.int8), (rows, 1))
    places = rng.integers(0, length, (rows, 8))
    sequences[np.arange(rows)[:, None], places] = rng.integers(0, 20, (rows, 8))
    scores = sequences.astype(np.float64) @ rng.normal(size=length)
    return make_task(
        "screen", "ACDEFGHIKLMNPQRSTVWY", sequences, scores, {"landscape": "measured"}, batch_size=4
    )


@given(FEW_LETTERS)
def test_equal_sequences_are_found(rows: np.ndarray) -> None:
    plain = [next(i for i in range(len(rows)) if (rows[i] == row).all()) for row in rows]
    assert first_of_each(rows).tolist() == plain
    assert RowIndex.of(rows).find(rows).tolist() == plain
    assert RowIndex.of(rows[:-1]).find(rows)[-1] == (plain[-1] if plain[-1] < len(rows) - 1 else -1)


@given(FEW_LETTERS)
def test_equal_sequences_are_found_though_all_have_one_hash(rows: np.ndarray) -> None:
    hashes = np.zeros(len(rows), np.uint64)
    found = equality._first_of_each(rows, hashes, np.arange(len(rows)))
    assert found.tolist() == first_of_each(rows).tolist()


@given(FEW_LETTERS, arrays.arrays(np.bool_, (3, 3)))
def test_the_first_banned_pair_is_found(rows: np.ndarray, banned: np.ndarray) -> None:
    pairs = np.argwhere(banned[rows[:, :-1], rows[:, 1:]])
    assert first_banned(rows, banned) == (tuple(pairs[0].tolist()) if len(pairs) else (-1, -1))


@pytest.mark.parametrize("length", [1, 127, 128, 129, 256, 500])
def test_sequences_of_any_length_have_their_distances(length: int) -> None:
    rng = np.random.default_rng(length)
    some, others = (rng.integers(0, 20, (n, length)).astype(np.int8) for n in (5, 40))
    others[0] = (some[0] + 1) % 20  # differs everywhere
    apart = (some[:, None] != others[None]).sum(axis=2)
    assert np.array_equal(nearest(some, others), apart.min(axis=1))
    assert np.array_equal(differences(some, others), apart)


def test_sealing_and_resets_neither_check_nor_hash_nor_sort_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task, calls = screen(300, 20), []

    def count(name: str, real: Callable[[DesignTask], object]) -> Callable[[DesignTask], object]:
        return lambda one: (calls.append(name), real(one))[1]

    monkeypatch.setattr(DesignTask, "check", count("check", DesignTask.check))
    monkeypatch.setattr(Instance, "_hashed", count("hash", Instance._hashed))
    monkeypatch.setattr(designs, "_ranked_rows", count("sort", designs._ranked_rows))
    assert seal(task) is seal(task) and seal(task).sealed
    env = SequenceDesignEnv(task, designs=2)
    for _ in range(3):
        env.reset(options={"instance": task})
    for _ in range(3):
        assert SequenceDesignEnv(task, designs=2).instances[0] is seal(task)
        PROBLEM.null_plan(seal(task))
    assert calls == ["hash", "sort"] or calls == ["sort", "hash"]
    assert task.content_hash == dataclasses.replace(task).content_hash
    assert calls.count("check") == 1
    assert calls.count("hash") == 3  # whole, sealed, and copied


def test_a_large_screen_is_checked_and_hashed_in_little_more_than_its_own_memory() -> None:
    task = screen(100_000, 100)
    tracemalloc.start()
    try:
        again = dataclasses.replace(task, name="again")
        _ = again.content_hash, seal(again).content_hash, PROBLEM.null_plan(seal(again))
        SequenceDesignEnv(again, designs=2)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # 10 MB of letters are looked at; a few numbers a row are kept.
    assert peak < 80 * len(task.scores)


def test_a_screen_survives_its_file(tmp_path: Path) -> None:
    task = screen(5000, 500)
    task.save(tmp_path / "screen.npz")
    assert load_file(tmp_path / "screen.npz").content_hash == task.content_hash


def test_a_file_that_is_too_large_says_how_to_have_it_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = "\n".join(f"{'ACDE'[row % 4]}{'ACDE'[row // 4 % 4]},{row % 16}" for row in range(999))
    (tmp_path / "screen.csv").write_text(f"sequence,score\n{rows}\n")
    monkeypatch.setenv("SYSOPT_MAX_FILE_MB", "0.001")
    with pytest.raises(InstanceError, match=r"columns .* \(gzip\), or set SYSOPT_MAX_FILE_MB"):
        load_file(tmp_path / "screen.csv")
    monkeypatch.setenv("SYSOPT_MAX_FILE_MB", "1")
    assert load_file(tmp_path / "screen.csv").length == 2


def test_an_oracle_fitted_to_a_part_scores_every_row_as_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(measured, "MOST_FITTED", 300)
    monkeypatch.setattr(measured, "FEW_FITTED", 100)
    task = screen(400, 20)
    found = measured.fit_estimate(task.sequences, task.scores)
    assert len(found.landmarks) == 90
    assert np.array_equal(found.score(task.sequences), task.scores)


def test_kinds_are_weighed_by_a_bounded_number_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    task, predicted = screen(1000, 12), []
    real = fit._predict_left_out

    def counted(networks: fit.Members, rows: np.ndarray, fold: np.ndarray) -> np.ndarray:
        predicted.append(len(rows))
        return real(networks, rows, fold)

    monkeypatch.setattr(fit, "_predict_left_out", counted)
    fit_proxy(task, np.random.default_rng(0), most_steps=5)
    assert set(predicted) == {np.count_nonzero(_folds(task) < fit.MEMBERS)}
    monkeypatch.setattr(fit, "MOST_HELD", 50)
    predicted.clear()
    fit_proxy(task, np.random.default_rng(0), most_steps=5)
    assert set(predicted) == {50}


def _folds(task: DesignTask) -> np.ndarray:
    return np.random.default_rng(0).integers(fit.FOLDS, size=len(task.scores))


class Slow:
    """A clock that goes by what is computed, and a proxy whose predictions take a second each."""

    def __init__(self, seconds: float) -> None:
        self.budget, self.evaluations, self.elapsed = Budget(seconds), 0, 0.0
        self.predicted = 0

    @property
    def remaining(self) -> float:
        return max(0.0, self.budget.seconds - self.elapsed)

    @property
    def expired(self) -> bool:
        return self.remaining <= 0.0

    def predict(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.elapsed += len(tokens)
        self.predicted += len(tokens)
        return tokens.sum(axis=1).astype(np.float64), np.zeros(len(tokens))


def test_a_pool_stops_predicting_when_its_time_is_over() -> None:
    task, slow = screen(300, 20), Slow(200.0)
    pool = Pool(task, slow, slow)  # type: ignore[arg-type]
    values = pool.add(task.sequences)
    assert slow.elapsed <= 1.05 * 200.0
    assert np.isfinite(values).sum() == slow.predicted - len(designs.best_offline(task, 16))
    assert np.isneginf(values).any()


@pytest.mark.parametrize(("each", "expected"), [(0.001, 100), (1.0, 30), (10.0, 3), (1e5, 1)])
def test_a_step_takes_as_many_rows_as_a_share_of_the_budget_does_for(
    each: float, expected: int
) -> None:
    clock = Slow(1000.0)

    def compute(rows: np.ndarray) -> None:
        clock.elapsed += each * len(rows)

    found = affordable_rows(np.zeros((100, 2)), compute, clock)  # type: ignore[arg-type]
    assert found == expected


def test_many_measurements_that_break_a_rule_pad_last_on_both_sides(
    changed: Callable[..., dict[str, object]],
) -> None:
    task = DesignTask(**changed(batch_size=3, forbidden=("GT", "CC")))  # type: ignore[arg-type]
    assert validate(task, PROBLEM.null_plan(task)[:2], World(0)).feasible
    assert designs.padding(task, 4).tolist() == [[3, 0], [0, 1], [2, 3], [1, 1]]


def test_a_step_of_learning_begins_only_if_it_ends_in_time() -> None:
    clock = Slow(10.0)
    assert has_time_to_learn(clock, 1.0)  # type: ignore[arg-type]
    assert not has_time_to_learn(clock, 5.0)  # type: ignore[arg-type]


def test_policies_stop_sampling_where_their_time_ends() -> None:
    task = seal(screen(300, 40))
    over = Budget(1e-9).start()
    assert len(gflownet.Policy(task).sample(4, np.random.default_rng(0), over)) == 0
    tokens, log_chances = sample(
        SequencePolicy(), task, 4, np.random.default_rng(0), lambda: over.expired
    )
    assert tokens.shape == log_chances.shape == (0, task.length)
