"""The network that proposes limits: what it reads, what it draws, and what it learns from."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from sysopt_gym.agents.checkpoints import load_network
from sysopt_gym.agents.recipe import ImitationPass
from sysopt_gym.agents.sequence_parallelism.limits import (
    KEPT,
    best_time,
    imitate,
    lessons,
    log_chances,
    score,
)
from sysopt_gym.agents.sequence_parallelism.limits_network import (
    LimitsNetwork,
    Proposer,
    read_step,
    take_weights,
)
from sysopt_gym.agents.sequence_parallelism.players import LIMITS
from sysopt_gym.datasets.sequence_parallelism.generator import generate
from sysopt_gym.datasets.sequence_parallelism.splits import SETS
from sysopt_gym.envs.sequence_parallelism.problem import PROBLEM
from sysopt_gym.methods.sequence_parallelism.bounds import simple_bound
from sysopt_gym.methods.sequence_parallelism.grouping import steps_of
from sysopt_gym.methods.sequence_parallelism.limits import HALVINGS, MORE, narrowing
from sysopt_gym.methods.sequence_parallelism.opening import open_groups

UNLIKE = (
    {"sequences": "40", "devices": "16", "context": "32K", "shape": "crawl"},
    {"sequences": "9", "devices": "8+4", "speed": "1+2.5", "context": "16K", "degrees": "any"},
    {"sequences": "1", "devices": "4", "context": "8K", "degrees": "4"},
)


@pytest.fixture(scope="module")
def network() -> LimitsNetwork:
    torch.manual_seed(0)
    made = LimitsNetwork(16)
    with torch.no_grad():
        for one in made.parameters():
            one.add_(0.1 * torch.randn(one.shape))
    return made


def test_one_step_alone_is_proposed_for_as_among_others(network: LimitsNetwork) -> None:
    steps = [read_step(steps_of(generate(one, 0))[0]) for one in UNLIKE]
    with torch.inference_mode():
        together = network(steps)
    weights = take_weights(network)
    for row, step in enumerate(steps):
        alone = Proposer(weights, step)
        kinds = len(step.kinds)
        assert alone.extra == pytest.approx(together.extra[row].numpy(), abs=1e-5)
        assert alone.bias == pytest.approx(together.bias[row, :kinds].numpy(), abs=1e-5)
        assert alone.spread == pytest.approx(together.spread[row].numpy(), abs=1e-5)
        for extra in range(MORE + 1):
            many = step.least + extra
            expected = together.limits[row, extra, :many].numpy()
            assert alone.limits(extra) == pytest.approx(expected, abs=1e-5)
        assert np.exp(alone.extra).sum() == pytest.approx(1.0)


def test_what_is_read_does_not_depend_on_the_unit_of_time() -> None:
    batch = generate(UNLIKE[0], 1)
    work = steps_of(batch)[0]
    slower = work._replace(times=7.0 * work.times, constant=7.0 * work.constant)
    step, other = read_step(work), read_step(slower)
    assert step.whole == pytest.approx(other.whole, abs=1e-6)
    assert step.kinds == pytest.approx(other.kinds, abs=1e-6)
    assert np.isfinite(step.whole).all() and np.isfinite(step.kinds).all()


def test_narrowing_ends_at_limits_that_are_kept_and_hardly_slack() -> None:
    work = steps_of(PROBLEM.sets.load("small:test/0")[0])[0]
    tries, found = narrowing(work, simple_bound(work), np.array([2.0, 1.0])), []
    limits = next(tries)
    for _ in range(2 * HALVINGS):
        time = float(open_groups(work, limits, np.ones(len(work.degree))).slowest.sum())
        found.append((time, limits.sum()))
        assert limits[0] == pytest.approx(2 * limits[1])
        limits = tries.send(time)
    kept = [asked for time, asked in found if time <= asked + 1e-6]
    assert min(time for time, _ in found) <= min(kept) + 1e-6


def test_lessons_are_the_best_of_a_search_and_learning_makes_them_likelier() -> None:
    torch.manual_seed(0)
    network, rng = LimitsNetwork(16), np.random.default_rng(0)
    instances = [generate(one, 0) for one in UNLIKE[:2]]

    def nobody(_: object) -> np.ndarray:
        raise AssertionError("nobody is imitated")

    samples = lessons(ImitationPass(0, network, instances, nobody, rng))
    assert len(samples) == len(instances)
    weights = take_weights(network)
    for lesson in samples:
        work = lesson.step.work
        means, ones = Proposer(weights, lesson.step).draw(0.0, rng)[1:]
        found = [
            best_time(
                lesson.step, lesson.limits[row, : lesson.step.least + extra], lesson.bias[row]
            )
            for row, extra in enumerate(lesson.extra)
        ]
        assert min(found) <= best_time(lesson.step, means, ones) + 1e-6
        assert lesson.bias.shape == (KEPT, len(work.degree))
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)

    def chance() -> float:
        with torch.inference_mode():
            steps = [lesson.step for lesson in samples]
            return float(log_chances(network(steps), samples).mean())

    before = chance()
    assert imitate(network, samples, optimizer, 2, rng)["spread"] > 0
    assert chance() > before


def test_the_shipped_network_scores_what_its_card_says() -> None:
    network = load_network(LIMITS, PROBLEM, LimitsNetwork)
    card = json.loads((LIMITS / "policy.json").read_text())["expected"]
    for name in ("wiki-192k:val", "small:val"):
        assert score(network, SETS.load(name)) == pytest.approx(card[name], rel=1e-3)
