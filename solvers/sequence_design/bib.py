"""BIB: bidirectional learning for offline biological sequence design (Chen et al. 2023, arXiv
2301.02931).

A linear head on frozen language-model features has closed forms both ways. Forward, ridge
regression on the offline set should give a candidate the score aimed at (equation 4); backward,
ridge regression on the candidate alone, labeled with that score, should predict the offline set
(equation 5). Candidates descend both losses through straight-through letters. Adaptive-gamma mixes
the two, and Adaptive-eta sets the step, by an auxiliary proxy's gradient (sections 4.2 and 4.3).

Other than in the released code: the language model is a small one of the task's own, unless the
environment variable SYSOPT_LANGUAGE_MODEL names a pretrained one; the auxiliary proxy is an
ensemble of another class (networks on letters) whose members are all used; and finals that repeat
each other are replaced by the last different sequences met.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...core.budget import Budget, Clock
from ...core.solution import Solution
from ...datasets.sequence_design.instance import DesignTask
from ...envs.sequence_design.proxy import Ensemble, fit_proxy
from ...methods.sequence_design.adam import RATE, Adam, adaptive_rates
from ...methods.sequence_design.ascent import gradient
from ...methods.sequence_design.bidirectional import (
    RIDGE,
    TARGET,
    best_first,
    finals_first,
    start_logits,
    straight_through,
)
from ...methods.sequence_design.language_model import LanguageModel, offline_features, pretrain
from ...methods.sequence_design.pool import hand_in, out_of_time
from ...methods.sequence_design.pretrained import PretrainedModel, chosen_model
from ...methods.sequence_design.sequences import decode, one_hot

MODEL_SHARE, FEATURES_SHARE, PROXY_SHARE = 0.35, 0.15, 0.25  # of the seconds, at most
STEPS_DNA, STEPS_PROTEIN = 100, 25
GAMMA_RATE = 0.1


@dataclass(frozen=True, slots=True)
class Variant:
    """BIB, or one of its ablations.

    Attributes:
        gamma: weight of the forward loss, of 1 for both, at first.
        adaptive_gamma: whether each candidate's weight follows the auxiliary proxy.
        adaptive_eta: whether each candidate's step size does.
    """

    gamma: float = 0.5
    adaptive_gamma: bool = True
    adaptive_eta: bool = True


@dataclass(frozen=True, slots=True)
class Closed:
    """Closed forms over the offline features Phi [N, d] and standardized scores y.

    Attributes:
        weights: float64 [d]; of forward ridge regression.
        second: float64 [d, d]; Phi' Phi / N.
        cross: float64 [d]; Phi' y / N.
        power: mean of y squared.
    """

    weights: Tensor
    second: Tensor
    cross: Tensor
    power: float

    def predict(self, features: Tensor) -> Tensor:
        """Forward predictions for features [B, d], [B]."""
        return features @ self.weights

    def forward_loss(self, features: Tensor) -> Tensor:
        """Squared distance of predictions for features [B, d] from TARGET, [B]."""
        return (self.predict(features) - TARGET) ** 2

    def backward_loss(self, features: Tensor) -> Tensor:
        """Mean squared error of the offline set by each candidate's own regression, [B]."""
        scale = TARGET / ((1.0 + RIDGE) * (features**2).sum(dim=1))
        spread = ((features @ self.second) * features).sum(dim=1)
        return scale**2 * spread - 2.0 * scale * (features @ self.cross) + self.power


def closed_forms(features: Tensor, scores: np.ndarray) -> Closed:
    """The closed forms of features [N, d] and raw scores [N]."""
    y = torch.as_tensor((scores - scores.mean()) / scores.std())
    gram = features.T @ features
    ridge = RIDGE * gram.trace() / len(features)
    weights = torch.linalg.solve(gram + ridge * torch.eye(len(gram)).double(), features.T @ y)
    count = len(features)
    return Closed(weights, gram / count, features.T @ y / count, float((y**2).mean()))


def solve(instance: DesignTask, budget: Budget, seed: int) -> Solution:
    """Optimizes a candidate from each of the best measured sequences, and hands in the finals, best
    by the forward regression first; one evaluation is one step of one candidate.
    """
    return _solve(instance, budget, seed, Variant())


def solve_forward(instance: DesignTask, budget: Budget, seed: int) -> Solution:
    """With the forward loss alone."""
    return _solve(instance, budget, seed, Variant(gamma=1.0, adaptive_gamma=False))


def solve_backward(instance: DesignTask, budget: Budget, seed: int) -> Solution:
    """With the backward loss alone."""
    return _solve(instance, budget, seed, Variant(gamma=0.0, adaptive_gamma=False))


def solve_fixed_gamma(instance: DesignTask, budget: Budget, seed: int) -> Solution:
    """With both losses weighted alike throughout: no Adaptive-gamma."""
    return _solve(instance, budget, seed, Variant(adaptive_gamma=False))


def solve_fixed_eta(instance: DesignTask, budget: Budget, seed: int) -> Solution:
    """With one step size throughout: no Adaptive-eta."""
    return _solve(instance, budget, seed, Variant(adaptive_eta=False))


def _solve(task: DesignTask, budget: Budget, seed: int, variant: Variant) -> Solution:
    clock = budget.start()
    rng = np.random.default_rng(seed)
    model = chosen_model(task) or pretrain(task, rng, MODEL_SHARE * budget.seconds)
    features, rows = offline_features(model, task, rng, FEATURES_SHARE * budget.seconds)
    closed = closed_forms(features, task.scores[rows])
    auxiliary = fit_proxy(task, rng, PROXY_SHARE * budget.seconds)
    finals = descend(task, model, closed, auxiliary, variant, clock, rng)[: task.batch_size]
    with torch.inference_mode():
        believed = closed.predict(model.features(torch.as_tensor(one_hot(task, finals))).double())
    return hand_in(task, best_first(finals, believed), clock)


def descend(
    task: DesignTask,
    model: LanguageModel | PretrainedModel,
    closed: Closed,
    auxiliary: Ensemble,
    variant: Variant,
    clock: Clock,
    rng: np.random.Generator,
) -> np.ndarray:
    """Different designs int8 [n, L], the finals first."""
    logits = start_logits(task, rng)
    gamma, gamma_adam = np.full((len(logits), 1, 1), variant.gamma), Adam()
    adam, tokens = Adam(), decode(task, logits)
    met = [tokens]
    for step in range(STEPS_DNA if task.letters <= 4 else STEPS_PROTEIN):
        if out_of_time(clock):
            break
        forward, backward = _gradients(task, model, closed, logits)
        upward = gradient(task, auxiliary, tokens, logits)
        if variant.adaptive_gamma:
            s = RATE * (upward * (forward - backward)).sum(axis=(1, 2), keepdims=True)
            gamma = np.clip(gamma - GAMMA_RATE * gamma_adam.direction(s), 0.0, 1.0)
        downward = -adam.direction(gamma * forward + (1.0 - gamma) * backward)
        adapts = variant.adaptive_eta and step > 0
        rate = adaptive_rates(upward, downward) if adapts else RATE
        logits = logits + rate * downward
        clock.evaluations += len(logits)
        tokens = decode(task, logits)
        met.append(tokens)
    return finals_first(met)


def _gradients(
    task: DesignTask, model: LanguageModel | PretrainedModel, closed: Closed, logits: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Of the forward and the backward loss by the logits, each [n, L, V]."""
    leaf = torch.tensor(logits, dtype=torch.float32, requires_grad=True)
    features = model.features(straight_through(task, leaf)).double()
    both = []
    for loss in (closed.forward_loss(features), closed.backward_loss(features)):
        (slope,) = torch.autograd.grad(loss.sum(), leaf, retain_graph=True)
        both.append(slope.double().numpy())
    return both[0], both[1]
