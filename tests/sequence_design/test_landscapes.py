"""Landscapes: Ehrlich functions by brute force, tables against their published figures, RNA, the
estimate.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sysopt_gym.core.errors import (
    InstanceError,
    MissingDependencyError,
    SettingError,
    UnknownNameError,
)
from sysopt_gym.datasets.sequence_design import landscape_tables, rna, splits
from sysopt_gym.datasets.sequence_design.ehrlich import Ehrlich, draw_ehrlich, from_handle
from sysopt_gym.datasets.sequence_design.generator import explore, generate
from sysopt_gym.datasets.sequence_design.instance import DesignTask, encode, make_task, seal
from sysopt_gym.datasets.sequence_design.landscapes import open_oracle
from sysopt_gym.datasets.sequence_design.measured import fit_estimate

SEEDS = st.integers(0, 10**6)

SIX6 = f"{landscape_tables.TF_FOLDER}/SIX6_REF_R1_8mers.txt.gz"


def plain_score(function: Ehrlich, sequence: tuple[int, ...]) -> float:
    """The definition, letter by letter."""
    if any(function.banned[a, b] for a, b in itertools.pairwise(sequence)):
        return -np.inf
    score, q = 1.0, function.quantization
    for motif, offsets in zip(function.motifs.tolist(), function.offsets.tolist(), strict=True):
        held = [
            sum(sequence[at + o] == m for m, o in zip(motif, offsets, strict=True))
            for at in range(len(sequence) - offsets[-1])
        ]
        h = int(max(held) * q / len(motif)) / q
        score *= h * (1 + function.epistasis * h * (h - 1))
    return score


@given(seed=SEEDS, quantization=st.integers(1, 3), epistasis=st.sampled_from([0.0, 0.5]))
@settings(max_examples=10, deadline=None)
def test_an_ehrlich_function_scores_as_defined_and_is_best_at_its_optimum(
    seed: int, quantization: int, epistasis: float
) -> None:
    rng = np.random.default_rng(seed)
    function = draw_ehrlich(4, 6, 2, 3, quantization, epistasis, rng)
    every = np.array(list(itertools.product(range(4), repeat=6)), np.int8)
    scores = function.score(every)
    some = rng.integers(len(every), size=100)
    assert scores[some] == pytest.approx([plain_score(function, tuple(every[i])) for i in some])
    assert scores.max() == 1.0
    assert function.score(function.optimum(6)[None])[0] == 1.0


@given(seed=SEEDS)
@settings(max_examples=10, deadline=None)
def test_samples_of_an_ehrlich_function_are_feasible_and_its_handle_is_all_of_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    function = draw_ehrlich(8, 12, 2, 4, 4, 0.3, rng)
    tokens = function.sample(200, 12, rng)
    assert np.isfinite(function.score(tokens)).all()
    again = from_handle(json.loads(json.dumps(function.handle())), function.banned)
    noise = rng.integers(0, 8, (200, 12)).astype(np.int8)
    assert (again.score(noise) == function.score(noise)).all()


def test_motifs_longer_than_the_sequence_are_refused() -> None:
    with pytest.raises(SettingError, match="set length=12"):
        draw_ehrlich(4, 10, 3, 4, 4, 0.0, np.random.default_rng(0))


@given(seed=SEEDS)
@settings(max_examples=5, deadline=None)
def test_explored_sets_are_different_feasible_and_below_the_ceiling(seed: int) -> None:
    rng = np.random.default_rng(seed)
    function = draw_ehrlich(6, 10, 2, 3, 3, 0.0, rng)
    first = function.sample(600, 10, rng)
    rows, scores = explore(function.score, first, 200, 0.5, function.banned, rng)
    assert rows.shape == (200, 10) and len(np.unique(rows, axis=0)) == 200
    assert (scores == function.score(rows)).all()
    assert scores.min() >= 0.0 and scores.max() <= 0.5


def test_explored_sets_that_do_not_exist_are_refused() -> None:
    rng = np.random.default_rng(0)
    function = draw_ehrlich(3, 3, 1, 2, 2, 0.0, rng)
    with pytest.raises(SettingError, match="set fewer rows or a higher ceiling"):
        explore(function.score, function.sample(50, 3, rng), 200, 0.5, function.banned, rng)


def test_the_embedded_sets_are_what_their_seeds_give() -> None:
    hashes = splits.SETS.hashes()
    for name, golden in hashes.items():
        assert [task.content_hash for task in splits.SETS.load(name)] == golden
    for name in ("ehrlich:small", "ehrlich:large"):
        drawn = splits.ehrlich_tasks(name)
        assert [task.content_hash for task in drawn] == hashes[name]


@pytest.mark.parametrize("name", list(splits.SIZES))
def test_embedded_ehrlich_tasks_leave_room_above_their_offline_sets(name: str) -> None:
    for task in splits.SETS.load(name):
        oracle = open_oracle(task)
        assert (oracle.score(task.sequences[:50]) == task.scores[:50]).all()
        assert task.scores.max() <= 0.3
        function = from_handle(task.handle(), task.banned)
        assert oracle.score(function.optimum(task.length)[None])[0] == 1.0


def test_one_instance_of_a_set_can_be_named() -> None:
    (task,) = splits.SETS.load("ehrlich:small/2")
    assert task.name == "ehrlich:small/2"
    with pytest.raises(UnknownNameError, match="holds ehrlich:small/0 to"):
        splits.SETS.load("ehrlich:small/9")


@pytest.mark.parametrize(
    "parameters", [{"states": "2"}, {"ceiling": "x"}, {"quantization": "5"}, {"rows": "1e3"}]
)
def test_generator_parameters_out_of_range_are_refused(parameters: dict[str, str]) -> None:
    with pytest.raises(SettingError, match=next(iter(parameters))):
        generate(parameters, 0)


def test_design_benchs_split_of_six6_is_reproduced(data_file: Callable[[str], Path]) -> None:
    """Trabucco et al. 2022: 32,898 rows, the best of them 0.439296."""
    data_file(SIX6)
    table = landscape_tables.tf_binding("SIX6")
    assert table.sequences.shape == (65_792, 8)
    assert (table.scores.min(), table.scores.max()) == (0.0, 1.0)
    (task,) = splits.SETS.load("tfbind8-SIX6")
    assert len(task.scores) == 32_898
    assert task.scores.max() == pytest.approx(0.439296, abs=5e-7)
    (hard,) = splits.SETS.load("tfbind8r-SIX6")
    assert len(hard.scores) == 5000
    assert round(hard.scores.max(), 3) == 0.242
    best = np.array([["ACGT".index(letter) for letter in "AGGTATCA"]], np.int8)
    assert open_oracle(task).score(best)[0] == 1.0


def test_every_factor_of_the_data_folder_is_a_set(data_file: Callable[[str], Path]) -> None:
    data_file(SIX6)
    assert "SIX6" in landscape_tables.factors()
    for factor in landscape_tables.factors():
        assert f"tfbind8-{factor}" in splits.SETS and f"tfbind8r-{factor}" in splits.SETS


def test_gb1_is_the_published_table_and_says_what_was_not_measured(
    data_file: Callable[[str], Path],
) -> None:
    """Wu et al. 2016: 149,361 variants, wild type VDGV, best FWAA."""
    data_file(landscape_tables.GB1_FILE)
    table = landscape_tables.gb1()
    assert len(table.scores) == 149_361
    (task,) = splits.SETS.load("gb1")
    oracle = open_oracle(task)
    letters = {letter: token for token, letter in enumerate(task.alphabet)}
    asked = np.array([[letters[x] for x in text] for text in ("VDGV", "FWAA")], np.int8)
    wild, best = oracle.score(asked)
    assert wild == 1.0 and best == oracle.high
    every = np.array(list(itertools.product(range(20), repeat=2)), np.int8)
    every = np.concatenate([every, np.zeros_like(every)], axis=1)
    assert 0 < np.isnan(oracle.score(every)).sum() < 400


def test_a_missing_data_folder_is_told_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SYSOPT_DATA", str(tmp_path))
    for cached in (landscape_tables.tf_binding, landscape_tables.gb1):
        cached.cache_clear()
    for name in ("tfbind8-SIX6", "gb1", "avgfp"):
        with pytest.raises(InstanceError, match="SYSOPT_DATA"):
            splits.SETS.load(name)
    with pytest.raises(UnknownNameError, match="tfbind8-SIX6"):
        splits.SETS.load("tfbind8-SIX9")


def rna_tokens(*texts: str) -> np.ndarray:
    return encode(rna.ALPHABET, texts, texts)


@pytest.mark.parametrize("name", list(splits._RNA))
def test_rna_tasks_are_scored_by_their_oracles(name: str) -> None:
    (task,) = splits.SETS.load(name)
    assert len(task.scores) == splits._RNA[name].rows
    assert open_oracle(task).score(task.sequences[:20]) == pytest.approx(task.scores[:20])
    assert task.scores.max() <= splits._RNA[name].ceiling


@pytest.mark.parametrize("name", ["rna-a", pytest.param("rna-pair", marks=pytest.mark.long)])
def test_embedded_rna_tasks_are_what_their_seeds_give(name: str) -> None:
    (task,) = splits.SETS.load(name)
    first = task.batch_size
    drawn = splits.draw_rna_task(name, first)
    assert (drawn.sequences == task.sequences[:first]).all() and drawn.oracle == task.oracle
    assert drawn.scores == pytest.approx(task.scores[:first])


def test_an_rna_binds_its_target_better_the_more_it_complements_it() -> None:
    complement = rna.TARGETS[0].translate(rna._COMPLEMENT)[::-1]
    assert rna.binding(rna_tokens(complement), [0]) == 1.0
    strong = rna_tokens(*(complement[at : at + 14] for at in range(86)))
    assert rna.binding(strong, [0]).max() > 0.9
    one, other = (rna.binding(strong, [target]) for target in (0, 1))
    assert rna.binding(strong, [0, 1]) == pytest.approx((one + other) / 2)


def test_without_the_conserved_region_an_rna_scores_nothing() -> None:
    (task,) = splits.SETS.load("rna-conserved")
    region, whole = rna.CONSERVED, task.sequences[np.argmax(task.scores)]
    kept = slice(region.start, region.start + len(region.pattern))
    assert task.text(whole[kept]) == region.pattern
    broken = np.tile(whole, (3, 1))
    broken[0, kept.start] = (whole[kept.start] + 1) % 4
    broken[1] = np.roll(whole, 1)
    broken[2, kept.stop] = (whole[kept.stop] + 1) % 4  # beside the region
    scores = open_oracle(task).score(broken)
    assert scores[:2].tolist() == [0.0, 0.0] and scores[2] > 0.1
    dead = (task.sequences[:, kept] != whole[kept]).any(axis=1)
    assert (task.scores[dead] == 0).all() and (task.scores[~dead] > 0).all()
    assert 0.3 < dead.mean() < 0.7


def test_without_viennarna_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "RNA", None)
    with pytest.raises(MissingDependencyError, match="pip install 'sysopt-gym\\[rna\\]'"):
        rna.binding(rna_tokens("ACGU" * 3), [2])


@given(seed=SEEDS)
@settings(max_examples=5, deadline=None)
def test_the_estimate_returns_what_was_measured_and_learns_additive_landscapes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(6, 4))
    rows = np.unique(rng.integers(0, 4, (500, 6)).astype(np.int8), axis=0)
    scores = weights[np.arange(6), rows].sum(axis=1)
    estimate = fit_estimate(rows[:-50], scores[:-50])
    assert (estimate.score(rows[:20]) == scores[:20]).all()
    assert np.corrcoef(estimate.score(rows[-50:]), scores[-50:])[0, 1] > 0.8
    assert estimate.correlation > 0.8
    assert (
        estimate.score(rows[-5:]) == fit_estimate(rows[:-50], scores[:-50]).score(rows[-5:])
    ).all()


def test_an_oracle_opens_by_its_handle_alone(tiny_task: Callable[..., DesignTask]) -> None:
    task = tiny_task(0)
    with pytest.raises(InstanceError, match="sealed"):
        open_oracle(seal(task))
    for handle, told in (
        ({"landscape": "moon"}, "unknown landscape"),
        ({"landscape": "rna"}, "lacks"),
    ):
        odd = make_task(
            "odd",
            task.alphabet,
            task.sequences,
            task.scores,
            handle,
            banned=task.banned,
            batch_size=5,
        )
        with pytest.raises((InstanceError, UnknownNameError), match=told):
            open_oracle(odd)
