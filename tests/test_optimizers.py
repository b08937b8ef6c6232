"""LAMB's steps, norms that are held, and the learners that take them."""

from __future__ import annotations

import copy
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from sysopt_gym.agents.algorithms import ALGORITHMS
from sysopt_gym.agents.configuration import load_config
from sysopt_gym.agents.optimizers import (
    ADAM,
    LAMB,
    NORMS,
    OPTIMIZERS,
    Lamb,
    hold_norms,
    make_optimizer,
    optimize,
)
from sysopt_gym.benchmarks.optimizers import lead, to_try
from sysopt_gym.core.errors import SettingError, UnknownNameError
from torch import Tensor, nn


def stepped(optimizer: torch.optim.Optimizer, gradients: list[Tensor]) -> None:
    """Take a step along given gradients of the first group."""
    for tensor, gradient in zip(optimizer.param_groups[0]["params"], gradients, strict=True):
        tensor.grad = gradient.clone()
    optimizer.step()


def test_lamb_steps_by_the_papers_formulas() -> None:
    rng = np.random.default_rng(0)
    shapes, rate, eps = [(3, 4), (4,)], 0.1, 1e-6
    by_hand = [rng.normal(size=shape) for shape in shapes]
    learned = [nn.Parameter(torch.tensor(one)) for one in by_hand]
    optimizer = Lamb(learned, rate)
    m, v = [0.0, 0.0], [0.0, 0.0]
    for t in range(1, 4):
        gradients = [rng.normal(size=shape) for shape in shapes]
        stepped(optimizer, list(map(torch.tensor, gradients)))
        for k, g in enumerate(gradients):
            m[k] = 0.9 * m[k] + 0.1 * g
            v[k] = 0.999 * v[k] + 0.001 * g**2
            r = (m[k] / (1 - 0.9**t)) / (np.sqrt(v[k] / (1 - 0.999**t)) + eps)
            ratio = np.linalg.norm(by_hand[k]) / np.linalg.norm(r)
            by_hand[k] = by_hand[k] - rate * ratio * r
            assert np.allclose(learned[k].detach().numpy(), by_hand[k], atol=1e-12)


def test_lambs_steps_are_in_proportion_to_the_weights_and_no_larger_without_a_norm() -> None:
    torch.manual_seed(0)
    weight, gradient = torch.randn(5, 6), 1e3 * torch.randn(5, 6)
    moved = []
    for scale in (1.0, 100.0):
        tensor = nn.Parameter(scale * weight)
        before = tensor.detach().clone()
        optimizer = Lamb([tensor], 0.01)
        for _ in range(3):  # the gradient of a layer whose scale does not count
            stepped(optimizer, [gradient / scale])
        moved.append((tensor.detach() - before) / scale)
    assert torch.allclose(moved[0], moved[1], rtol=1e-3, atol=1e-6)
    nothing, still = nn.Parameter(torch.zeros(3)), nn.Parameter(torch.ones(3))
    optimizer = Lamb([nothing, still], 0.01)
    stepped(optimizer, [torch.tensor([2.0, -2.0, 0.5]), torch.zeros(3)])
    assert torch.allclose(nothing, torch.tensor([-0.01, 0.01, -0.01]), rtol=1e-4)  # Adam's
    assert torch.equal(still, torch.ones(3))
    alone = nn.Parameter(torch.ones(2, 2))
    Lamb([alone]).step()
    assert torch.equal(alone, torch.ones(2, 2))  # it has no gradient


def norms_of(network: nn.Module) -> list[float]:
    return [float(one.detach().norm()) for one in network.parameters() if one.dim() > 1]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weight_matrices_keep_their_norms_and_go_on_with_them(name: str) -> None:
    """From a state in the form in which RLlib saves it, too."""
    from ray.rllib.utils.numpy import convert_to_numpy
    from ray.rllib.utils.torch_utils import convert_to_torch_tensor

    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3), nn.Linear(3, 3))
    nn.init.zeros_(network[3].weight)  # a head that begins at 0 is free to grow
    first, bias = norms_of(network), network[0].bias.detach().clone()

    def learn(net: nn.Module, by: torch.optim.Optimizer, seed: int, steps: int) -> None:
        draws = torch.Generator().manual_seed(seed)
        for _ in range(steps):
            by.zero_grad()
            net(torch.randn(4, 6, generator=draws)).square().sum().backward()
            by.step()

    optimizer = make_optimizer(name, network.parameters(), 0.05)
    hold_norms(optimizer)
    learn(network, optimizer, 0, 20)
    assert norms_of(network)[:2] == pytest.approx(first[:2], rel=1e-6)
    assert not torch.equal(network[0].bias, bias)
    saved = convert_to_numpy(optimizer.state_dict())
    again = copy.deepcopy(network)
    with torch.no_grad():  # whatever the weights are when the state is loaded
        again[0].weight.mul_(1.01)
    other = make_optimizer(name, again.parameters(), 0.05)
    hold_norms(other)
    other.load_state_dict(saved | {"state": convert_to_torch_tensor(saved["state"])})
    assert other.param_groups[0][NORMS] == optimizer.param_groups[0][NORMS]
    with torch.no_grad():
        again[0].weight.copy_(network[0].weight)
    learn(network, optimizer, 1, 5)
    learn(again, other, 1, 5)
    assert all(map(torch.equal, network.parameters(), again.parameters()))


def test_the_projection_changes_nothing_where_a_norm_follows_the_layer() -> None:
    torch.manual_seed(0)
    layer, seen = nn.Linear(6, 8, bias=False), torch.randn(16, 6)
    normed = nn.Sequential(layer, nn.LayerNorm(8, eps=0.0), nn.ReLU())
    optimizer = torch.optim.SGD(layer.parameters(), 0.5)
    hold_norms(optimizer)
    gradient = torch.randn(8, 6)
    with torch.no_grad():
        stepped_only = nn.functional.layer_norm(
            seen @ (layer.weight - 0.5 * gradient).T, (8,), eps=0.0
        ).relu()
    stepped(optimizer, [gradient])
    assert torch.allclose(normed(seen), stepped_only, atol=1e-5)


def learner_of(stage: str, optimizer: str = LAMB, **chosen: Any) -> Any:
    """A learner as an algorithm has it, without Ray."""
    space = "continuous" if stage == "sac" else "grid"
    recipe = ".agents.federated_lr.recipe:CONTINUOUS" if stage == "sac" else ""
    described = {"family": "federated_lr", "recipe": recipe, "width": 8}
    config = ALGORITHMS[stage].make_config(described)
    if chosen:
        config.learners(**chosen)
    optimize(config, optimizer, project=True)
    with gym.make("sysopt_gym:sysopt/FederatedLR-v0", instances="small:test/0", form=space) as env:
        return config.build_learner(env=env)


@pytest.mark.parametrize("stage", ALGORITHMS)
def test_every_algorithms_learner_takes_them(stage: str) -> None:
    learner = learner_of(stage)
    for name, optimizer in learner._named_optimizers.items():
        if name.endswith("alpha"):  # SAC's temperature is no weight
            assert (
                isinstance(optimizer, torch.optim.Adam) and NORMS not in optimizer.param_groups[0]
            )
            continue
        assert isinstance(optimizer, Lamb)
        (group,) = optimizer.param_groups
        assert group["lr"] > 0
        for tensor, norm in zip(group["params"], group[NORMS], strict=True):
            held = tensor.dim() > 1 and tensor.requires_grad
            assert norm == pytest.approx(float(tensor.detach().norm()) if held else 0.0, rel=1e-6)


class Descent(TorchLearner):
    """A user's learner with an optimizer of its own."""

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        parameters = self.get_parameters(self.module[module_id])
        optimizer = torch.optim.SGD(parameters, 0.1)
        self.register_optimizer(module_id=module_id, optimizer=optimizer, params=parameters)

    def compute_loss_for_module(self, **others: Any) -> Any:
        raise AssertionError("nothing is learned here")


def test_lamb_does_not_take_the_place_of_a_users_optimizer() -> None:
    with pytest.raises(SettingError, match=r"^optimizer: lamb takes the place of Adam.*SGD"):
        learner_of("ppo", learner_class=Descent)
    kept = learner_of("ppo", ADAM, learner_class=Descent)
    (optimizer,) = kept._named_optimizers.values()
    assert isinstance(optimizer, torch.optim.SGD) and NORMS in optimizer.param_groups[0]


def test_keys_of_a_configuration_are_checked() -> None:
    with pytest.raises(UnknownNameError, match=r"optimizer.*adamw.*did you mean 'adam'"):
        load_config("federated_lr_ppo", {"optimizer": "adamw"})
    with pytest.raises(SettingError, match="normalize_and_project: 1 is not true or false"):
        load_config("federated_lr_ppo", {"normalize_and_project": "1"})
    config = load_config("federated_lr_ppo", {"optimizer": LAMB, "normalize_and_project": "true"})
    assert config.optimizer == LAMB and config.normalize_and_project


def test_the_benchmark_brackets_the_best_rate_and_pairs_its_scores() -> None:
    found: dict[float, float] = {}
    for rate in to_try((0.001, 0.003), found):
        found[rate] = abs(np.log(rate / 0.0003))
    assert list(found) == [0.001, 0.003, 0.00033, 0.00011]
    adam = np.random.default_rng(0).uniform(1.0, 2.0, (2, 8))
    assert lead(adam, adam) == (0.0, 0.0, 0.0)
    assert lead(1.1 * adam, adam)[0] == pytest.approx(10.0)
    mean, low, high = lead(adam[::-1], adam)
    assert mean == pytest.approx(0.0) and low < mean < high
