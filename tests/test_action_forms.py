"""Distributions over continuous and joint actions, and training in the forms that have them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ray.rllib.core.distribution.torch.torch_distribution import TorchCategorical
from sysopt_gym.agents.algorithms import build_algorithm, trained_policy
from sysopt_gym.agents.batches import stack
from sysopt_gym.agents.checkpoints import Card, save_policy
from sysopt_gym.agents.distributions import (
    SquashedGaussian,
    TwoStage,
    action_inputs,
    distribution_of,
    drawn,
    likeliest,
)
from sysopt_gym.agents.federated_lr.distribution import OrderDistribution
from sysopt_gym.agents.federated_lr.network import LogRatePolicy, OrderPolicy
from sysopt_gym.agents.federated_lr.players import Ppo
from sysopt_gym.agents.recipe import load_recipe, recipe_for
from sysopt_gym.agents.vm_rescheduling.network import RelationalPolicy
from sysopt_gym.core import play
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.contracts import Contender, World
from sysopt_gym.core.errors import SettingError
from sysopt_gym.core.registry import load_problem
from sysopt_gym.datasets.vm_rescheduling.generator import generate
from sysopt_gym.datasets.vm_rescheduling.instance import Cluster
from sysopt_gym.envs.federated_lr.env import FederatedLREnv
from sysopt_gym.envs.federated_lr.orders import SIZES
from sysopt_gym.envs.sequence_design.env import SequenceDesignEnv
from sysopt_gym.envs.vm_rescheduling.env import VMReschedulingEnv
from sysopt_gym.evaluation.judge import judge

SEEDS = st.integers(0, 10**6)
LOC_AND_SCALE = st.tuples(st.floats(-2.0, 2.0), st.floats(-2.5, 0.5))


def constrained(seed: int) -> Cluster:
    """A cluster of four hosts with sets kept apart by host and rack, and pinned VMs."""
    parameters = {"pms": "4", "exits": ".3", "sets": "2", "rack_sets": "1", "pinned": ".1"}
    cluster = generate(parameters, seed)
    return load_problem("vm_rescheduling").apply_settings(cluster, {"mnl": "6"})


def joint_inputs(
    env: VMReschedulingEnv, network: RelationalPolicy, observation: Any, vm: int
) -> TwoStage:
    """The distribution of joint actions, given that the VM was chosen."""
    obs = stack([observation])
    inputs = action_inputs(
        network, env.action_space, network.encode(obs), obs, lambda _: torch.tensor([vm])
    )
    distribution: Any = distribution_of(network, env.action_space).from_logits(inputs)
    return distribution


@given(LOC_AND_SCALE, LOC_AND_SCALE)
@settings(max_examples=25)
def test_squashed_variables_have_the_entropy_and_divergence_of_their_density(
    one: tuple[float, float], other: tuple[float, float]
) -> None:
    p, q = (
        SquashedGaussian.from_logits(torch.tensor([x], dtype=torch.float64)) for x in (one, other)
    )
    at = torch.linspace(-12.0, 12.0, 20_001, dtype=torch.float64).unsqueeze(1)
    action, slope = torch.tanh(at), (1 / torch.cosh(at) ** 2).squeeze(1)

    def mean(of: torch.Tensor) -> float:
        return float(torch.trapezoid(p._squashed_logp(at).exp() * slope * of, at.squeeze(1)))

    log_p, log_q = p._squashed_logp(at), q._squashed_logp(at)
    assert mean(torch.ones(len(at))) == pytest.approx(1.0, abs=1e-4)
    assert float(p.entropy()) == pytest.approx(mean(-log_p), abs=2e-3)
    assert float(p.kl(q)) == pytest.approx(mean(log_p - log_q), rel=1e-2, abs=1e-3)
    inside = action.abs().squeeze(1) < 0.999
    assert torch.allclose(p.logp(action)[inside], log_p[inside], atol=1e-3)
    assert float(p.to_deterministic().sample()) == pytest.approx(np.tanh(one[0]))


@given(SEEDS)
@settings(max_examples=10)
def test_joint_actions_have_the_probabilities_of_all_pairs_enumerated(seed: int) -> None:
    env = VMReschedulingEnv(constrained(seed), form="joint")
    observation, _ = env.reset(seed=0)
    torch.manual_seed(seed)
    network = RelationalPolicy(8)
    log_p, log_q, entropies, divergences = [], [], [], []
    other = RelationalPolicy(8)
    with torch.inference_mode():
        for vm in np.flatnonzero(observation["action_mask"]):
            legal = np.flatnonzero(env.destination_mask(int(vm)))
            places = legal if vm < env.cluster.n_vms else np.zeros(1, np.int64)
            pairs = torch.tensor([[int(vm), int(place)] for place in places])
            p = joint_inputs(env, network, observation, int(vm))
            q = joint_inputs(env, other, observation, int(vm))
            log_p.append(p.logp(pairs))
            log_q.append(q.logp(pairs))
            chance = float(log_p[-1].exp().sum())
            entropies.append(chance * float(p.entropy()))
            divergences.append(chance * float(p.kl(q)))
    all_p, all_q = torch.cat(log_p), torch.cat(log_q)
    assert float(all_p.exp().sum()) == pytest.approx(1.0, abs=1e-5)
    assert sum(entropies) == pytest.approx(float(-(all_p.exp() * all_p).sum()), rel=1e-4)
    apart = float((all_p.exp() * (all_p - all_q)).sum())
    assert sum(divergences) == pytest.approx(apart, rel=1e-3, abs=1e-5)


@given(SEEDS)
@settings(max_examples=10)
def test_joint_actions_drawn_from_any_network_are_legal_to_the_end(seed: int) -> None:
    env = VMReschedulingEnv(constrained(seed), form="joint", allow_stop=bool(seed % 2))
    observation, _ = env.reset(seed=0)
    torch.manual_seed(seed)
    network = RelationalPolicy(8)
    distribution: Any = distribution_of(network, env.action_space)
    ended = False
    with torch.inference_mode():
        while not ended:
            obs = stack([observation])
            encoded = network.encode(obs)
            for choose in (likeliest, drawn):
                inputs = action_inputs(network, env.action_space, encoded, obs, choose)
                found = distribution.from_logits(inputs)
                action = (found if choose is drawn else found.to_deterministic()).sample()[0]
                assert np.isfinite(float(found.logp(action.unsqueeze(0))))
                assert float(found.logp(action.unsqueeze(0))) > -1e6
            for vm in range(env.cluster.n_vms):  # exact for every VM, not for the drawn one alone
                bits = np.unpackbits(observation["destinations"][vm], bitorder="little")
                mask = env.destination_mask(vm) * observation["action_mask"][vm]
                assert np.array_equal(bits[: len(mask)], mask)
            observation, _, ended, _, _ = env.step(action.numpy())  # raises if it is illegal


def test_one_network_gives_joint_actions_the_probabilities_of_two_plies() -> None:
    cluster = constrained(3)
    plies, joint = VMReschedulingEnv(cluster), VMReschedulingEnv(cluster, form="joint")
    torch.manual_seed(0)
    network = RelationalPolicy(8)
    seen, _ = plies.reset(seed=0)
    together, _ = joint.reset(seed=0)
    vm = int(np.flatnonzero(seen["action_mask"])[0])
    with torch.inference_mode():
        first = stack([seen])
        log_first = network.logits(network.encode(first), first).log_softmax(1)
        second = stack([plies.step(vm)[0]])
        log_second = network.logits(network.encode(second), second).log_softmax(1)
        for place in np.flatnonzero(second["action_mask"][0].numpy()):
            pair = torch.tensor([[vm, int(place)]])
            found = joint_inputs(joint, network, together, vm).logp(pair)
            expected = log_first[0, vm] + log_second[0, place]
            assert float(found) == pytest.approx(float(expected), abs=1e-5)


def test_probabilities_of_all_orders_sum_to_one() -> None:
    logits = torch.zeros(1, OrderPolicy.OUTPUTS)
    logits[0, :2], logits[0, 2:4] = torch.tensor([0.3, -0.4]), -4.5
    chances = []
    for column in (0, 1):  # whose rates are summed over, with the rest as likely as it is
        middle = OrderDistribution.from_logits(logits).to_deterministic().sample()[0]
        codes = middle[column] + torch.arange(-150_000, 150_000)
        orders = middle.repeat(len(codes), 1)
        orders[:, column] = codes
        found = OrderDistribution.from_logits(logits.repeat(len(codes), 1)).logp(orders).exp().sum()
        chances.append(float(found))
    single = OrderDistribution.from_logits(logits)
    # Both sums hold the other rate's and the rules' chances once, so that the product over the
    # chance of the order itself is one of all rates; of 6 * 11 * 3 equally likely rules.
    alone = float(single.logp(middle.unsqueeze(0)).exp())
    assert chances[0] * chances[1] / alone * (6 * 11 * 3) == pytest.approx(1.0, rel=1e-2)


@given(SEEDS)
@settings(max_examples=10)
def test_orders_drawn_from_any_network_are_orders(seed: int) -> None:
    torch.manual_seed(seed)
    found = OrderDistribution.from_logits(3 * torch.randn(64, OrderPolicy.OUTPUTS))
    space = gym.spaces.MultiDiscrete(np.array(SIZES))
    for order in torch.cat([found.sample(), found.to_deterministic().sample()]).numpy():
        assert order in space


def test_each_form_finds_its_network_and_others_are_refused_by_what_serves() -> None:
    assert distribution_of(RelationalPolicy(8), gym.spaces.Discrete(3)) is TorchCategorical
    env = FederatedLREnv("small:test/0", form="continuous")
    assert recipe_for("federated_lr", "", env.action_space).network is LogRatePolicy
    grid = ".agents.federated_lr.recipe:RECIPE"
    with pytest.raises(SettingError, match=r"Discrete; or take recipe .*:CONTINUOUS"):
        recipe_for("federated_lr", grid, env.action_space)
    with pytest.raises(SettingError, match="actions are Discrete"):
        recipe_for("sequence_design", "", SequenceDesignEnv(form="batch").action_space)


PPO = {
    "env_runners": {"num_env_runners": 0, "num_envs_per_env_runner": 2},
    "training": {"train_batch_size_per_learner": 64, "minibatch_size": 32, "num_epochs": 1},
}
SAC = {
    "env_runners": {"num_envs_per_env_runner": 2},
    "training": {
        "train_batch_size_per_learner": 16,
        "num_steps_sampled_before_learning_starts": 16,
    },
    "reporting": {"min_sample_timesteps_per_iteration": 32},
}


def trained(
    stage: str, family: str, environment: Mapping[str, Any], parts: Mapping[str, Mapping[str, Any]]
) -> tuple[Mapping[str, Any], Any]:
    """Train two iterations: the last one's figures of learning, and the network."""
    network = {"family": family, "width": 8}
    algorithm = build_algorithm(stage, load_problem(family), environment, network, 0, parts)
    try:
        algorithm.train()
        figures = algorithm.train()["learners"]["default_policy"]
        return figures, trained_policy(stage, algorithm)
    finally:
        algorithm.stop()


def test_ppo_trains_joint_actions() -> None:
    environment = {"instances": "constrained-small:test/0", "form": "joint"}
    figures, network = trained("ppo", "vm_rescheduling", environment, PPO)
    assert isinstance(network, RelationalPolicy)
    assert abs(float(figures["mean_kl_loss"])) < 1
    assert float(figures["entropy"]) > 1  # of two parts, and of hundreds of pairs


@pytest.mark.parametrize(
    ("stage", "form", "parts"), [("ppo", "orders", PPO), ("sac", "continuous", SAC)]
)
def test_policies_of_every_form_of_rates_are_judged(
    stage: str, form: str, parts: Mapping[str, Mapping[str, Any]], tmp_path: Path
) -> None:
    environment = {"instances": "small:test/0", "form": form}
    figures, network = trained(stage, "federated_lr", environment, parts)
    losses = [float(value) for key, value in figures.items() if key.endswith("loss")]
    assert losses and np.isfinite(losses).all()
    problem = load_problem("federated_lr")
    recipe = load_recipe("federated_lr").forms[form]
    card = Card(
        "federated_lr", problem.env_version, 8, stage, {}, {}, "", recipe=recipe,
        network=type(network).__name__, form=form,
    )  # fmt: skip
    save_policy(tmp_path, network.state_dict(), card)
    instance = problem.sets.load("small:test/0")[0]
    player = Contender("federated_lr", "mine", "agent", "player", partial(Ppo, policy=tmp_path))
    task = play.Task(problem.contender_view(instance), Budget(30.0), 0, 0)
    plan = play.run(player, problem, task).actions
    verdict = judge(problem, instance, plan, World(0, 0.0))
    assert verdict.feasible and verdict.agree
    score = load_recipe("federated_lr", recipe).score(network, [task.instance])
    assert score["final_error"] == pytest.approx(1.0 - validation_accuracy(task.instance, plan))


def validation_accuracy(federation: Any, plan: np.ndarray) -> float:
    """The accuracy that a plan reaches on validation rows in the world of seed 0."""
    env = FederatedLREnv(federation, form="orders")
    env.reset(seed=0)
    for order in plan:
        *_, info = env.step(order)
    return float(info["validation_accuracy"])


@pytest.mark.parametrize(
    ("stage", "family", "form", "serving"),
    [
        ("sac", "federated_lr", "grid", "ppo, appo, impala, dqn, alphazero, muzero"),
        ("sac", "vm_rescheduling", "joint", "ppo, appo, impala"),
        ("dqn", "federated_lr", "continuous", "ppo, appo, impala, sac"),
    ],
)
def test_algorithms_that_cannot_choose_a_form_s_actions_are_refused(
    stage: str, family: str, form: str, serving: str
) -> None:
    environment = {"instances": "small:test", "form": form}
    with pytest.raises(SettingError, match=serving):
        trained(stage, family, environment, {})
