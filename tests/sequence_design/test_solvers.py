"""What every solver of sequence design promises, and that searches find what there is to find."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.contracts import World
from sysopt_gym.core.registry import (
    contender_entry,
    contender_names,
    load_contender,
    load_problem,
)
from sysopt_gym.core.solution import Solution
from sysopt_gym.datasets.sequence_design.instance import DesignTask, make_task, seal
from sysopt_gym.envs.sequence_design.designs import best_offline
from sysopt_gym.envs.sequence_design.dynamics import feasible
from sysopt_gym.envs.sequence_design.plan import designs_of
from sysopt_gym.envs.sequence_design.proxy import fit_proxy
from sysopt_gym.envs.sequence_design.validate import validate
from sysopt_gym.methods.sequence_design import language_model, sequences
from sysopt_gym.methods.sequence_design.autoencoder import LATENT, Autoencoder, fit
from sysopt_gym.methods.sequence_design.pool import Pool, out_of_time
from sysopt_gym.solvers.sequence_design import (
    bdi,
    cbas,
    coms,
    gflownet,
    mins,
    proxy_exhaustive,
)

Tiny = Callable[..., DesignTask]
SOLVERS = tuple(contender_names("sequence_design", "solver"))
PLAYERS = tuple(
    name for name in SOLVERS if contender_entry("sequence_design", name).form == "player"
)
NAMES = tuple(name for name in SOLVERS if name not in PLAYERS)
# The others draw nothing, or believe in something else than the proxy.
SEARCHES = tuple(
    name
    for name in NAMES
    if not name.startswith(("offline_best", "random", "bib", "bdi", "ucb", "ei"))
)
BUDGET = Budget(seconds=120.0, evaluations=1500)  # the seconds matter on a busy machine only
SEEDS = st.integers(0, 10**6)


@pytest.fixture(autouse=True, scope="module")
def short_pretraining() -> Iterator[None]:
    """Models of tiny tasks are good enough for these tests after a few steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(language_model, "STEPS", 60)
        patch.setattr(coms, "STEPS", 200)
        patch.setattr(bdi, "STEPS", 20)
        patch.setattr(cbas, "FIRST_STEPS", 100)
        patch.setattr(mins, "STEPS", 300)
        yield


def solve(name: str, task: DesignTask, seed: int = 0, budget: Budget = BUDGET) -> Solution:
    solution: Solution = load_contender("sequence_design", name).object(seal(task), budget, seed)
    return solution


@pytest.mark.parametrize("name", NAMES)
def test_every_batch_is_feasible_full_and_without_repeats(tiny_task: Tiny, name: str) -> None:
    task = tiny_task(11)
    verdict = validate(task, solve(name, task).actions, World())
    assert verdict.feasible and verdict.detail is not None
    assert verdict.detail["uniques"] == task.batch_size


@pytest.mark.parametrize("name", NAMES)
def test_solvers_need_no_more_than_a_sealed_task_and_change_nothing_in_it(
    tiny_task: Tiny, name: str
) -> None:
    task = seal(tiny_task(12))
    before = task.content_hash
    solve(name, task, budget=Budget(0.3, 200))
    assert task.sealed and task.content_hash == before


@pytest.mark.parametrize("name", SEARCHES)
def test_searches_hand_in_what_the_proxy_believes_in_beyond_the_offline_set(
    tiny_task: Tiny, name: str
) -> None:
    task = tiny_task(13)
    plan = designs_of(task, solve(name, task).actions)
    proxy = fit_proxy(task, np.random.default_rng(0), seconds=60)
    found, _ = proxy.predict(plan)
    known, _ = proxy.predict(best_offline(task, task.batch_size))
    assert np.median(found) > np.median(known)


def test_the_exhaustive_search_finds_the_proxys_best_batch(tiny_task: Tiny) -> None:
    task = tiny_task(14)
    plan = designs_of(task, solve("proxy_exhaustive", task, budget=Budget(60.0)).actions)
    proxy = fit_proxy(task, np.random.default_rng(0), seconds=30.0)
    every = np.array(list(itertools.product(range(task.letters), repeat=task.length)), np.int8)
    every = every[feasible(every, task.banned)]
    means, _ = proxy.predict(every)
    best = {row.tobytes() for row in every[np.argsort(-means)[: task.batch_size]]}
    assert {row.tobytes() for row in plan} == best


def test_best_first_search_finds_it_too_where_enumeration_is_out_of_reach(
    tiny_task: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = tiny_task(14)
    all_of_it = designs_of(task, solve("proxy_exhaustive", task, budget=Budget(60.0)).actions)
    monkeypatch.setattr(proxy_exhaustive, "MOST_SEQUENCES", 1)
    searched = designs_of(task, solve("proxy_exhaustive", task, budget=Budget(5.0)).actions)
    same = {row.tobytes() for row in all_of_it} & {row.tobytes() for row in searched}
    assert len(same) >= 4


@given(seed=SEEDS)
@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_random_designs_and_decoded_logits_are_feasible(tiny_task: Tiny, seed: int) -> None:
    task, rng = tiny_task(seed % 5), np.random.default_rng(seed)
    drawn = sequences.random_designs(task, 50, rng)
    assert feasible(drawn, task.banned).all() and drawn.max() < task.letters
    logits = rng.normal(size=(20, task.length, task.letters))
    assert feasible(sequences.decode(task, logits), task.banned).all()
    hot = sequences.one_hot(task, drawn)
    assert (sequences.decode(task, hot) == drawn).all()


@given(seed=SEEDS, rate=st.sampled_from([0.0, 0.3, 1.0]))
@settings(max_examples=10, deadline=None)
def test_mutants_differ_where_they_mutate(seed: int, rate: float) -> None:
    rng = np.random.default_rng(seed)
    parents = rng.integers(0, 4, (400, 5)).astype(np.int8)
    children = sequences.mutants(parents, 4, rate, rng)
    assert (children >= 0).all() and (children < 4).all()
    assert (children != parents).mean() == pytest.approx(rate, abs=0.05)


def test_a_pool_hands_in_what_its_proxy_believes_in_most_first(tiny_task: Tiny) -> None:
    task, rng = seal(tiny_task(15)), np.random.default_rng(0)
    pool = Pool(task, fit_proxy(task, rng), Budget(60.0).start())
    for _ in range(3):
        pool.add(sequences.random_designs(task, 50, rng))
    means, _ = pool.proxy.predict(designs_of(task, pool.solution().actions))
    assert (np.diff(means) <= 0).all() and means[0] > means[-1]


def test_without_budget_for_a_search_the_best_known_is_handed_in(tiny_task: Tiny) -> None:
    task = tiny_task(15)
    proxy = fit_proxy(seal(task), np.random.default_rng(0))
    clock = Budget(1e-6).start()
    pool = Pool(seal(task), proxy, clock)
    assert out_of_time(clock)
    held = {row.tobytes() for row in task.sequences}
    assert all(row.tobytes() in held for row in designs_of(task, pool.solution().actions))


def test_the_registered_names_are_those_that_scripts_use() -> None:
    problem: Any = load_problem("sequence_design")
    assert {"offline_best", "random", "proxy_exhaustive", "ga"} <= set(NAMES)
    assert set(problem.defaults.contenders) <= set(contender_names("sequence_design"))
    assert set(problem.defaults.always) <= set(NAMES)


def test_a_gflownets_samples_are_feasible_and_as_likely_as_it_says(tiny_task: Tiny) -> None:
    task = seal(tiny_task(3))
    torch.manual_seed(0)
    policy = gflownet.Policy(task)
    every = np.array(list(itertools.product(range(task.letters), repeat=task.length)), np.int64)
    every = every[feasible(every.astype(np.int8), task.banned)]
    with torch.inference_mode():
        chances = np.concatenate(
            [
                policy.log_probabilities(torch.as_tensor(part)).exp()
                for part in np.array_split(every, 20)
            ]
        )
    assert chances.sum() == pytest.approx(1.0, abs=1e-3)
    drawn = policy.sample(500, np.random.default_rng(0), Budget(60.0).start())
    assert feasible(drawn, task.banned).all()
    likely = {row.astype(np.int8).tobytes() for row in every[np.argsort(-chances)[:3000]]}
    share = np.mean([row.tobytes() in likely for row in drawn])
    assert share == pytest.approx(np.sort(chances)[-3000:].sum(), abs=0.1)


def test_the_autoencoders_likelihood_is_a_distribution_over_sequences(tiny_task: Tiny) -> None:
    torch.manual_seed(0)
    model = Autoencoder(3, 4)
    every = torch.as_tensor(np.array(list(itertools.product(range(4), repeat=3))))
    with torch.inference_mode():
        latent = torch.randn(1, LATENT).expand(len(every), -1)
        assert float(model.log_likelihood(every, latent).exp().sum()) == pytest.approx(1.0, 1e-5)
        assert (model.loss(every, torch.zeros(len(every), 0)) > 0).all()


def test_model_inversion_learns_which_sequences_have_a_score(tiny_task: Tiny) -> None:
    rng = np.random.default_rng(0)
    rows = np.unique(rng.integers(0, 4, (2000, 8)), axis=0).astype(np.int8)
    share = (rows == 2).mean(axis=1)  # the score: how much of a sequence is the third letter
    task = make_task("thirds", "ACGT", rows, share, {"landscape": "measured"})
    torch.manual_seed(0)
    inverse = Autoencoder(8, 4, conditions=1)
    clock = Budget(60.0).start()
    scores = (share - share.min()) / np.ptp(share)
    fit(inverse, rows, scores[:, None], np.ones(len(rows)), 600, rng, clock, 60.0)
    low, high, higher = (
        (mins.sample(task, inverse, score, rng) == 2).mean() for score in (0.1, 0.7, 1.2)
    )
    assert low < 0.3 < high < higher


def test_model_inversion_draws_high_scores_more_often_than_there_are() -> None:
    from sysopt_gym.solvers.sequence_design import mins

    scores = np.concatenate([np.linspace(0.0, 0.5, 900), np.linspace(0.5, 1.0, 100)])
    weights = mins.score_weights(scores)
    assert weights[scores > 0.5].sum() / weights.sum() > 0.3
    few = np.append(np.full(100_000, 0.5), 1.0)
    assert mins.score_weights(few)[-1] <= mins.MOST_WEIGHT


def test_approx_infer_asks_for_the_highest_score_the_proxy_agrees_with(
    tiny_task: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sysopt_gym.methods.sequence_design.autoencoder import Autoencoder
    from sysopt_gym.solvers.sequence_design import mins

    class Obliging:
        """A pool whose proxy agrees with every score up to 1.3."""

        clock = Budget(60.0).start()

        def add(self, asked: np.ndarray) -> np.ndarray:
            return np.minimum(asked, 1.3)

    monkeypatch.setattr(mins, "sample", lambda task, inverse, score, rng: np.full(9, score))
    rng = np.random.default_rng(0)
    found = mins.approx_infer(tiny_task(0), Autoencoder(6, 6, conditions=1), Obliging(), rng)
    assert found == pytest.approx(1.3)
