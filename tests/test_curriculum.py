"""Curricula: what each prefers, that probabilities stay probabilities, that none forgets anything
when a run goes on.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sysopt_gym.agents.curriculum import CURRICULA
from sysopt_gym.agents.curriculum.base import Curriculum, Outcome, Shares, TrainingSet
from sysopt_gym.agents.curriculum.d3s import rollouts_kept, steps_kept
from sysopt_gym.agents.curriculum.features import features_of
from sysopt_gym.agents.curriculum.pudf import fit
from sysopt_gym.agents.curriculum.successes import Plays
from sysopt_gym.agents.curriculum.table import load_curriculum, make_curriculum
from sysopt_gym.benchmarks.curriculum import Curve, table
from sysopt_gym.core.errors import SettingError, UnknownNameError
from tiny_clusters import make_cluster

CLUSTERS = [make_cluster(seed) for seed in range(6)]
SETS = np.array([0, 0, 1, 1, 1, 2])
# Papers in which every instance keeps a chance, whatever has been played.
NEVER_FORGOTTEN = ("uniform", "plr", "dump", "balanced", "d3s", "alp_gmm")
methods = pytest.mark.parametrize("name", list(CURRICULA))


def make(name: str, count: int = 6, **options: Any) -> Any:
    training = TrainingSet(CLUSTERS[:count], SETS[:count], iterations=11, seed=3)
    return make_curriculum({"name": name} | options, training)


def play(row: int, merit: float, advantage: float = math.nan) -> Outcome:
    return Outcome(row, gain=merit, objective=math.nan, steps=4, advantage=advantage)


def chosen(curriculum: Curriculum, rng: np.random.Generator, episodes: int) -> np.ndarray:
    """Draw the instances of an iteration, int64 [episodes]."""
    weights = curriculum.weights()
    return rng.choice(len(weights), episodes, p=weights)


episodes = st.builds(
    Outcome,
    row=st.integers(0, 5),
    gain=st.floats(-1e6, 1e6),
    objective=st.one_of(st.just(math.nan), st.floats(-1e6, 1e6)),
    steps=st.integers(1, 100),
    advantage=st.one_of(st.just(math.nan), st.floats(0, 50)),
)


@methods
@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(episodes, max_size=30), max_size=6))
def test_weights_are_probabilities_whatever_was_played(
    name: str, iterations: Sequence[Sequence[Outcome]]
) -> None:
    # So short a window that mixtures are fitted in between.
    curriculum = make(name, **({"window": 12} if name == "alp_gmm" else {}))
    for outcomes in [[], *iterations]:
        curriculum.learn(outcomes)
        weights = curriculum.weights()
        assert weights.shape == (6,) and weights.min() >= 0
        assert weights.sum() == pytest.approx(1.0)
        if name in NEVER_FORGOTTEN:
            assert weights.min() > 0
        shares = curriculum.shares()
        assert shares is None or 0 <= min(shares.rollouts, shares.steps) <= 1


@methods
@pytest.mark.parametrize("stop", [1, 5, 9])
def test_a_curriculum_goes_on_with_the_same_choices_after_a_kill(name: str, stop: int) -> None:
    def played(interrupted: bool) -> list[list[float]]:
        curriculum, rng, weights = make(name), np.random.default_rng(1), []
        for iteration in range(12):
            if interrupted and iteration == stop:
                state = curriculum.state()
                curriculum = make(name)
                curriculum.restore(state)
            rows = chosen(curriculum, rng, 30)
            curriculum.learn(
                [play(row, row * iteration + rng.random(), rng.random()) for row in rows.tolist()]
            )
            weights.append(curriculum.weights().tolist())
        return weights

    whole = played(False)
    assert played(True) == whole
    if name not in ("uniform", "d3s"):
        assert any(weights != whole[0] for weights in whole)  # it did choose


@pytest.mark.parametrize("name", [n for n in CURRICULA if load_curriculum(n).uses_advantages])
def test_merits_do_not_reach_a_curriculum_of_advantages(name: str) -> None:
    low, high = make(name), make(name)
    for iteration in range(5):
        low.learn([play(row, -1.0, row + iteration) for row in range(6)])
        high.learn([play(row, 1e3 * row, row + iteration) for row in range(6)])
    assert low.weights().tolist() == high.weights().tolist()


def test_level_replay_prefers_where_the_value_was_off_and_comes_back_to_the_others() -> None:
    curriculum = make("plr", staleness=0.0)
    curriculum.learn([play(row, 0.0, advantage) for row, advantage in enumerate([1, 9, 3])])
    weights = curriculum.weights()
    assert weights[3:].tolist() == [1 / 6] * 3  # unseen ones: each its share of all
    assert weights[1] > weights[2] > weights[0] > 0
    # By ranks: 1, 2 and 3 to the power -1 / .3, in half of the draws.
    expected = 0.5 * np.array([3, 1, 2.0]) ** (-1 / 0.3)
    assert weights[:3] == pytest.approx(expected / (2 * expected.sum()))
    stale = make("plr", staleness=1.0)
    stale.learn([play(row, 0.0, 1.0) for row in range(6)] + [play(5, 0.0, 50.0)] * 4)
    assert stale.weights().argmax() == 0 and stale.weights()[5] == 0
    # Staleness alone plays every instance again and again.
    rng, seen = np.random.default_rng(0), []
    for _ in range(40):
        (row,) = chosen(stale, rng, 1)
        stale.learn([play(row, 0.0, 1.0)])
        seen.append(row)
    assert min(np.bincount(seen, minlength=6)) >= 3


def test_the_bandit_over_sets_leaves_the_set_on_which_nothing_is_learned() -> None:
    curriculum = make("dump")
    assert curriculum.weights()[[0, 2, 5]] == pytest.approx([1 / 6, 1 / 9, 1 / 3])
    for _ in range(100):
        curriculum.learn([play(0, 0.0, 0.0), play(2, 0.0, 0.8), play(5, 0.0, 0.8)])
    weights = curriculum.weights()
    assert np.bincount(SETS, weights)[0] < 0.01
    assert weights[2] == weights[3] == weights[4]  # alike within a set
    # A set that was hardly played is tried again, though nothing was learned on it.
    rare = make("dump")
    rare.learn([play(0, 0.0, 0.0)] + [play(2, 0.0, 0.8)] * 500 + [play(5, 0.0, 0.8)] * 500)
    assert np.bincount(SETS, rare.weights()).argmax() == 0
    with pytest.raises(SettingError, match="several under instances"):
        make("dump", count=2)


def test_filtering_keeps_what_sometimes_succeeds() -> None:
    curriculum = make("balanced", count=3, floor=0.06)
    best = [play(row, 1.0) for row in range(3)]
    curriculum.learn([play(row, 0.0) for row in range(3)] * 4 + best)
    assert curriculum.weights() == pytest.approx([1 / 3] * 3)  # too rare so far, all of them
    for _ in range(8):  # always, now and then, never
        curriculum.learn([play(0, 1.0), play(1, 1.0), play(1, 0.0), play(2, 0.0)])
    assert curriculum.weights() == pytest.approx([0.02, 0.96, 0.02])
    for _ in range(8):  # the floor notices that the last one has become possible
        curriculum.learn([play(1, 1.0), play(2, 1.0), play(2, 0.1)])
    assert curriculum.weights() == pytest.approx([0.02, 0.02, 0.96])


def test_a_success_comes_most_of_the_way_to_the_best_so_far() -> None:
    plays = Plays(2, memory=8)
    plays.add([play(0, merit) for merit in (0.0, 0.0, 0.0, 0.0, 10.0, 8.0, 7.9)], 0)
    assert plays.succeeded()[0, -3:].tolist() == [1, 1, 0]
    plays.add([play(0, 20.0)], 1)  # what was a success is judged again
    assert plays.succeeded()[0, -4:].tolist() == [0, 0, 0, 1]
    assert np.isnan(plays.rates()[1]) and np.isnan(plays.succeeded()[1]).all()
    plays.add([play(1, 5.0)] * 6, 1)  # nothing to be gained
    assert plays.rates()[1] == 1.0


def test_the_cycle_grows_to_all_instances_and_shrinks_and_takes_easy_ones_first() -> None:
    curriculum = make("cyclical", warm_up=1)
    sizes, smallest = [], np.zeros(6)
    for iteration in range(400):
        curriculum.learn([play(row, -100.0 * row) for row in range(6)])
        weights = curriculum.weights()
        assert set(weights[weights > 0]) == {1 / (weights > 0).sum()}
        sizes.append(int((weights > 0).sum()))
        smallest += (weights > 0) * (iteration % 4 == 0)
    assert sizes[:9] == [1, 3, 6, 3, 1, 3, 6, 3, 1]
    assert smallest[0] == smallest.max() > 2 * smallest[5] > 0  # each is in the set at times


def test_no_instance_is_left_out_before_it_was_played() -> None:
    for name in ("cyclical", "pudf"):
        curriculum = make(name)
        curriculum.learn([play(0, 1.0)] * 50)
        weights = curriculum.weights()
        assert weights.min() > 0 and weights[1:].min() > weights[0]


def test_abilities_and_difficulties_are_told_apart() -> None:
    rng = np.random.default_rng(5)
    abilities, difficulties = np.linspace(-1.5, 1.5, 12), rng.permutation(np.linspace(-2, 2, 20))
    students, items = (part.ravel() for part in np.mgrid[:12, :20])
    chance = 1 / (1 + np.exp(difficulties[items] - abilities[students]))
    found = fit(
        np.tile(students, 20),
        np.tile(items, 20),
        rng.random(20 * len(items)) < np.tile(chance, 20),
        21,
    )
    assert found[0] == pytest.approx(abilities, abs=0.35)
    assert found[1][:20] == pytest.approx(difficulties, abs=0.5)
    assert found[1][20] == 0.0  # nobody answered it
    # The values are the most likely ones: the posterior's slope is 0.
    answers = np.array([0, 0, 1]), np.array([0, 1, 1]), np.array([1.0, 0.0, 1.0])
    theta, b = fit(*answers, 2)
    right = 1 / (1 + np.exp(b[answers[1]] - theta[answers[0]]))
    for values, of, way in ((theta, answers[0], 1), (b, answers[1], -1)):
        slope = way * np.bincount(of, answers[2] - right) - values
        assert slope == pytest.approx(np.zeros(2), abs=1e-6)


def test_hard_instances_come_when_the_policy_is_able_or_has_waited() -> None:
    curriculum = make("pudf", count=3)
    curriculum.learn([play(row, merit) for row in range(3) for merit in (0.0, 0.0, 0.0, 0.0, 1.0)])
    easy = [play(0, 1.0), play(1, 1.0)] * 20
    curriculum.learn([*easy, *[play(2, 0.0)] * 20])
    assert curriculum.weights().tolist() == [0.5, 0.5, 0.0]
    waited = 0
    while not curriculum.weights()[2]:  # nothing changes any more but the time
        curriculum.learn(easy)
        waited += 1
    assert 1 <= waited <= 40
    for _ in range(40):  # what stays out of reach is all the same played in the end
        curriculum.learn([*easy, play(2, 0.0)])
    assert curriculum.weights().min() > 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-10, 10), min_size=1, max_size=8), st.data())
def test_the_rollouts_kept_have_the_greatest_variance(
    advantages: list[float], data: st.DataObject
) -> None:
    count = data.draw(st.integers(1, len(advantages)))
    kept = rollouts_kept(np.array(advantages), count)
    assert kept.sum() == count
    best = max(np.var(some) for some in itertools.combinations(advantages, count))
    assert np.var(np.array(advantages)[kept]) == pytest.approx(best)


def test_downsampling_keeps_uncertain_steps_of_telling_rollouts_and_more_with_time() -> None:
    advantages = np.array([0.1, 0.1, 3.0, 1.0, -2.0, -2.0, 0.0])
    entropies = np.array([9.0, 9.0, 0.1, 1.0, 1.0, 0.01, 9.0])
    rollouts = np.array([0, 0, 1, 1, 2, 2, 3])
    kept = steps_kept(advantages, entropies, rollouts, Shares(rollouts=0.5, steps=0.5))
    assert np.flatnonzero(kept).tolist() == [3, 4]  # of rollouts 1 and 2
    assert steps_kept(advantages, entropies, rollouts, Shares(1.0, 1.0)).all()
    assert steps_kept(advantages, entropies, rollouts, Shares(0.0, 0.0)).sum() == 1
    curriculum = make("d3s", first_rollouts=0.2, last_rollouts=0.7)
    shares = []
    for _ in range(12):
        shares.append(curriculum.shares())
        curriculum.learn([])
    assert [one.rollouts for one in shares] == pytest.approx([*np.linspace(0.2, 0.7, 11), 0.7])


def test_learning_progress_is_looked_for_among_alike_instances() -> None:
    large = [make_cluster(1, mnl=mnl) for mnl in (500, 510, 520)]
    small = [make_cluster(1, mnl=mnl) for mnl in (5, 6, 7)]
    training = TrainingSet([*small, *large], np.zeros(6, np.int64), iterations=9, seed=0)
    assert np.ptp(features_of(training.instances)[:, 0]) == 1.0
    curriculum = make_curriculum({"name": "alp_gmm", "window": 40}, training)
    for iteration in range(30):  # returns change on two of the large ones, however they change
        merits = [0, 0, 0, iteration % 2, -iteration, 0]
        curriculum.learn([play(row, merit) for row, merit in enumerate(merits) if row != 5])
    weights = curriculum.weights()
    assert weights[:3].max() < 0.06 and weights[3:].min() > 0.15  # their neighbor is tried, too


def test_unknown_curricula_and_what_is_none_are_refused() -> None:
    with pytest.raises(UnknownNameError, match=f"known: {', '.join(CURRICULA)}"):
        load_curriculum("random")
    with pytest.raises(SettingError, match=r"base\.Curriculum"):
        load_curriculum("sysopt_gym.agents.curriculum.base:Outcome")
    own = load_curriculum("sysopt_gym.agents.curriculum.plr:PrioritizedLevelReplay")
    assert own is load_curriculum("plr")


def test_curricula_are_compared_by_the_steps_to_what_uniform_reaches() -> None:
    steps = np.array([0.0, 100.0, 200.0, 300.0, 400.0])
    slow = Curve(steps, np.array([0.5, 0.45, 0.4, 0.3, 0.2]))
    assert slow.steps_to(0.35) == pytest.approx(250.0)  # between two validations
    assert slow.steps_to(0.6) == 0.0 and slow.steps_to(0.1) == 400.0
    assert slow.score_at(350.0) == pytest.approx(0.25)
    fast = Curve(steps, np.array([0.5, 0.4, 0.3, 0.2, 0.1]))
    never = Curve(steps, np.full(5, 0.5))
    head, _, _, base, *rows = table(
        {"uniform": [slow] * 3, "fast": [fast] * 3, "never": [never] * 3}
    )
    assert head.startswith("target 0.3000, 3 seeds, 400 steps")
    assert [cell.strip() for cell in base.split("|")[2:4]] == ["3 of 3", "300 +- 0"]
    assert "| 3 of 3 | 200 +- 0 | 0.67 (0.67 to 0.67) | 0.1000 +- 0.0000 | -0.1000" in rows[0]
    assert "| 0 of 3 | 400 +- 0 | 1.33 (1.33 to 1.33) |" in rows[1]
