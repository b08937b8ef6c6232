"""The search: it is the paper's, it is exact where the model is known, and it keeps to the mask."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_search import Forester, PlainSearch, Tree
from sysopt_gym.agents.muzero.forest import Forest, SearchSettings, make_forest
from sysopt_gym.agents.muzero.search import Found, search
from sysopt_gym.agents.muzero.sequential_halving import visit_plan
from sysopt_gym.core.errors import IllegalActionError, SettingError


def look(
    trees: list[Tree],
    how: SearchSettings,
    gumbel: np.ndarray | None = None,
    legal: np.ndarray | None = None,
) -> tuple[Found, Forest]:
    shape = (len(trees), trees[0].n_actions)
    forester = Forester(trees, how.simulations)
    forest = make_forest(*shape, how)
    found = search(
        *forester.roots(),
        np.ones(shape, np.bool_) if legal is None else legal,
        forester.expand,
        how,
        np.zeros(shape) if gumbel is None else gumbel,
        forest,
    )
    return found, forest


@given(
    seed=st.integers(0, 2**20),
    n_actions=st.integers(1, 5),
    depth=st.integers(1, 4),
    simulations=st.integers(1, 40),
    considered=st.integers(1, 6),
    discount=st.sampled_from([1.0, 0.9]),
    scope=st.sampled_from(["tree", "node"]),
)
@settings(max_examples=60, deadline=None)
def test_the_compiled_search_is_the_one_the_paper_writes_down(
    seed: int,
    n_actions: int,
    depth: int,
    simulations: int,
    considered: int,
    discount: float,
    scope: str,
) -> None:
    how = SearchSettings(simulations, considered, discount, scope=scope)
    rng = np.random.default_rng(seed)
    trees = [Tree(n_actions, depth, seed + b) for b in range(3)]
    gumbel = rng.gumbel(size=(3, n_actions))
    legal = rng.random((3, n_actions)) < 0.7
    legal[np.arange(3), rng.integers(n_actions, size=3)] = True
    found, _ = look(trees, how, gumbel, legal)
    for b, tree in enumerate(trees):
        plain = PlainSearch(tree, how, gumbel[b], legal[b])
        assert found.visits[b].tolist() == plain.root.visits().tolist()
        assert found.action[b] == plain.action
        assert found.value[b] == pytest.approx(plain.root.value)
        assert np.allclose(found.policy[b], plain.policy, atol=1e-5)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_with_a_known_model_the_best_first_action_is_found(depth: int) -> None:
    """Against brute force over all plans, values and prior saying nothing."""
    trees = [Tree(3, depth, seed, informed=False) for seed in range(12)]
    found, _ = look(trees, SearchSettings(600, 3, 1.0, c_scale=0.05))
    best = [int(np.argmax(tree.returns((), 1.0))) for tree in trees]
    assert found.action.tolist() == best


def test_of_one_step_the_values_are_exact() -> None:
    tree = Tree(6, 1, 3, informed=False)
    found, forest = look([tree], SearchSettings(6, 6, 1.0))
    assert found.visits[0].tolist() == [1] * 6
    rewards = tree.returns((), 1.0)
    assert found.action[0] == int(np.argmax(rewards))
    assert found.value[0] == pytest.approx(sum(rewards) / 7)
    order = forest.nodes["action"][0, 1:]
    assert np.allclose(forest.nodes["reward"][0, 1:], np.array(rewards)[order])


def test_illegal_actions_are_neither_visited_nor_in_the_policy() -> None:
    trees = [Tree(8, 3, seed) for seed in range(4)]
    legal = np.random.default_rng(0).random((4, 8)) < 0.4
    legal[:, 5] = True
    found, _ = look(trees, SearchSettings(20, 16), legal=legal)
    assert not found.visits[~legal].any()
    assert not found.policy[~legal].any()
    assert legal[np.arange(4), found.action].all()
    assert np.allclose(found.policy.sum(axis=1), 1.0)


def test_a_root_without_legal_actions_is_refused() -> None:
    legal = np.array([[True, True], [False, False]])
    with pytest.raises(IllegalActionError, match="root 1"):
        look([Tree(2, 2, 0)] * 2, SearchSettings(4), legal=legal)


def test_settings_that_make_no_sense_are_refused() -> None:
    for wrong in ({"simulations": 0}, {"considered": 0}, {"discount": 1.5}, {"scope": "forest"}):
        with pytest.raises(SettingError, match="search"):
            SearchSettings(**wrong)


def test_roots_of_a_batch_do_not_disturb_each_other() -> None:
    trees = [Tree(4, 3, seed) for seed in range(6)]
    together, _ = look(trees, SearchSettings(30))
    for b, tree in enumerate(trees):
        alone, _ = look([tree], SearchSettings(30))
        assert np.array_equal(alone.visits[0], together.visits[b])
        assert np.array_equal(alone.policy[0], together.policy[b])


def test_a_used_forest_serves_the_next_search() -> None:
    how = SearchSettings(15, 4)
    forest = make_forest(2, 3, how)
    outcomes = []
    for seeds in ((0, 1), (5, 6), (0, 1)):
        forester = Forester([Tree(3, 3, seed) for seed in seeds], 15)
        legal = np.ones((2, 3), np.bool_)
        outcomes.append(
            search(*forester.roots(), legal, forester.expand, how, np.zeros((2, 3)), forest)
        )
    for first, last in zip(outcomes[0], outcomes[2], strict=True):
        assert np.array_equal(first, last)


def test_the_improved_policy_is_no_worse_than_the_prior() -> None:
    """Equation 5 of the paper: in expectation under exact values of one step."""
    for seed in range(20):
        tree = Tree(5, 1, seed)
        found, forester = look([tree], SearchSettings(5, 5, 1.0)), Forester([tree], 0)
        prior = np.exp(forester.roots()[0][0])
        returns = np.array(tree.returns((), 1.0))
        assert found[0].policy[0] @ returns >= prior / prior.sum() @ returns


def test_sequential_halving_shares_the_simulations_among_the_rounds() -> None:
    plan = visit_plan(4, 16)
    # Two rounds of eight: four actions twice, then two actions four times.
    assert plan[:, 4].tolist() == [0] * 4 + [1] * 4 + [2, 2, 3, 3, 4, 4, 5, 5]
    assert plan[:, 1].tolist() == list(range(16))
    assert visit_plan(16, 5)[:, 16].tolist() == [0] * 5


# Trees as they were when the search agreed with the oracle: parent, action, visits and value of
# every node in the order of making, noise and prior as of seed 7. A change of these is a change of
# the algorithm.
GOLDEN: dict[str, list[tuple[int, int, int, float]]] = {
    "tree": [
        (-1, 0, 13, 1.596684),
        (0, 2, 5, 1.406643),
        (0, 3, 5, 1.006861),
        (0, 1, 2, 0.516425),
        (1, 2, 2, 0.766981),
        (2, 2, 1, 0.624725),
        (3, 1, 1, 0.013623),
        (4, 3, 1, 0.000000),
        (2, 0, 2, 0.610205),
        (1, 0, 1, 0.653236),
        (8, 2, 1, 0.000000),
        (1, 1, 1, 0.872168),
        (2, 1, 1, 0.851786),
    ],
    "node": [
        (-1, 0, 13, 1.611693),
        (0, 2, 5, 1.456954),
        (0, 3, 5, 0.999909),
        (0, 1, 2, 0.516425),
        (1, 2, 4, 0.790740),
        (2, 2, 1, 0.624725),
        (3, 1, 1, 0.013623),
        (4, 3, 3, 0.000000),
        (2, 0, 3, 0.684537),
        (8, 2, 1, 0.000000),
        (8, 0, 1, 0.000000),
    ],
}


@pytest.mark.parametrize("scope", ["tree", "node"])
def test_the_golden_trees_grow_again(scope: str) -> None:
    gumbel = np.random.default_rng(7).gumbel(size=(1, 4))
    how = SearchSettings(12, 3, 0.9, scope=scope)
    _, forest = look([Tree(4, 3, 7)], how, gumbel)
    made = forest.nodes[0][forest.nodes[0]["visits"] > 0]
    golden = GOLDEN[scope]
    for name, wanted in zip(
        ("parent", "action", "visits"), zip(*golden, strict=True), strict=False
    ):
        assert tuple(made[name][1:]) == wanted[1:]
    assert np.allclose(made["value"], [row[3] for row in golden], atol=1e-6)
