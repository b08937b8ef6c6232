"""BIB: bidirectional learning for offline biological sequence design.

After Chen et al. 2023 (arXiv 2301.02931). A linear head on frozen language-model features has
closed forms both ways. Forward, ridge regression on the offline set should predict the target score
for a candidate (equation 4); backward, ridge regression on the candidate alone, labeled with the
target score, should predict the offline set (equation 5). Candidates descend both losses through
straight-through letters. Adaptive-gamma mixes the two, and Adaptive-eta sets the step size, by an
auxiliary proxy's gradient (sections 4.2 and 4.3).

Differences from the released code: the language model is a small one of the task's own, unless the
environment variable SYSOPT_LANGUAGE_MODEL names a pretrained one; the auxiliary proxy is an
ensemble of another class (networks on letters) whose members are all used; and final designs that
repeat each other are replaced by the last distinct sequences before them.
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
from ...methods.sequence_design.language_model import (
    LanguageModel,
    offline_features,
    pretrain,
    rows_at_a_time,
)
from ...methods.sequence_design.pool import affordable_rows, hand_in, out_of_time
from ...methods.sequence_design.pretrained import PretrainedModel, chosen_model
from ...methods.sequence_design.sequences import decode, one_hot

MODEL_SHARE, FEATURES_SHARE, PROXY_SHARE = 0.35, 0.15, 0.25  # largest shares of the seconds
STEPS_DNA, STEPS_PROTEIN = 100, 25
GAMMA_RATE = 0.1  # step size of Adaptive-gamma


@dataclass(frozen=True, slots=True)
class Variant:
    """BIB, or one of its ablations.

    Attributes:
        gamma: first weight of the forward loss, from 0 to 1; the backward loss has the rest.
        adaptive_gamma: whether each candidate's gamma follows the auxiliary proxy (section 4.2).
        adaptive_eta: whether each candidate's step size does (section 4.3).
    """

    gamma: float = 0.5
    adaptive_gamma: bool = True
    adaptive_eta: bool = True


@dataclass(frozen=True, slots=True)
class Closed:
    """The closed forms over offline features Phi [N, d] and standardized scores y [N].

    Attributes:
        weights: float64 [d]; solution of the forward ridge regression.
        second: float64 [d, d]; Phi' Phi / N.
        cross: float64 [d]; Phi' y / N.
        power: mean of y squared.
    """

    weights: Tensor
    second: Tensor
    cross: Tensor
    power: float

    def predict(self, features: Tensor) -> Tensor:
        """Predict standardized scores by the forward regression: features [B, d] to [B]."""
        return features @ self.weights

    def forward_loss(self, features: Tensor) -> Tensor:
        """Compute equation 4's loss, [B], of candidates with features [B, d]."""
        return (self.predict(features) - TARGET) ** 2

    def backward_loss(self, features: Tensor) -> Tensor:
        """Compute equation 5's loss of candidates with features [B, d].

        Returns:
            Mean squared error over the offline set of the regression on each candidate alone, [B].
        """
        scale = TARGET / ((1.0 + RIDGE) * (features**2).sum(dim=1))
        spread = ((features @ self.second) * features).sum(dim=1)
        return scale**2 * spread - 2.0 * scale * (features @ self.cross) + self.power


def closed_forms(features: Tensor, scores: np.ndarray) -> Closed:
    """Solve the forward ridge regression and gather what the backward loss needs.

    Args:
        features: float64 [N, d]; of the offline rows.
        scores: float64 [N]; their scores, not yet standardized.
    """
    y = torch.as_tensor((scores - scores.mean()) / scores.std())
    gram = features.T @ features
    ridge = RIDGE * gram.trace() / len(features)
    weights = torch.linalg.solve(gram + ridge * torch.eye(len(gram)).double(), features.T @ y)
    count = len(features)
    return Closed(weights, gram / count, features.T @ y / count, float((y**2).mean()))


def solve(instance: DesignTask, budget: Budget, seed: int) -> Solution:
    """Run BIB (Chen et al. 2023) from the start pool for its fixed number of steps.

    There are 100 steps for alphabets of up to 4 letters and 25 for others, less if the budget ends.

    Args:
        instance: the design task; only its offline set is used.
        budget: seconds, of which the language model, its features and the auxiliary proxy take
            three quarters at most, and evaluations; one evaluation is one step of one candidate.
        seed: draws the training of language model and proxy, the order in which offline features
            are read, and the noise on the first logits.

    Returns:
        The last distinct sequences of the candidates, those that the forward regression predicts
        best first.

    Raises:
        MissingDependencyError, SettingError: the model that SYSOPT_LANGUAGE_MODEL names cannot be
            used.
    """
    return _solve(instance, budget, seed, Variant())


def solve_forward(instance: DesignTask, budget: Budget, seed: int) -> Solution:
    """Run BIB with the forward loss alone (gamma = 1), an ablation.

    Args:
        instance: as for `solve`.
        budget: as for `solve`.
        seed: as for `solve`.
    """
    return _solve(instance, budget, seed, Variant(gamma=1.0, adaptive_gamma=False))


def solve_backward(instance: DesignTask, budget: Budget, seed: int) -> Solution:
    """Run BIB with the backward loss alone (gamma = 0), an ablation.

    Args:
        instance: as for `solve`.
        budget: as for `solve`.
        seed: as for `solve`.
    """
    return _solve(instance, budget, seed, Variant(gamma=0.0, adaptive_gamma=False))


def solve_fixed_gamma(instance: DesignTask, budget: Budget, seed: int) -> Solution:
    """Run BIB with gamma = 0.5 throughout, without Adaptive-gamma (section 4.2), an ablation.

    Args:
        instance: as for `solve`.
        budget: as for `solve`.
        seed: as for `solve`.
    """
    return _solve(instance, budget, seed, Variant(adaptive_gamma=False))


def solve_fixed_eta(instance: DesignTask, budget: Budget, seed: int) -> Solution:
    """Run BIB with one step size throughout, without Adaptive-eta (section 4.3), an ablation.

    Args:
        instance: as for `solve`.
        budget: as for `solve`.
        seed: as for `solve`.
    """
    return _solve(instance, budget, seed, Variant(adaptive_eta=False))


def _solve(task: DesignTask, budget: Budget, seed: int, variant: Variant) -> Solution:
    clock = budget.start()
    rng = np.random.default_rng(seed)
    model = chosen_model(task) or pretrain(task, rng, MODEL_SHARE * budget.seconds)
    features, rows = offline_features(model, task, rng, FEATURES_SHARE * budget.seconds)
    closed = closed_forms(features, task.scores[rows])
    auxiliary = fit_proxy(task, rng, PROXY_SHARE * budget.seconds)
    finals = descend(task, model, closed, auxiliary, variant, clock, rng)[: task.batch_size]
    return hand_in(task, _ranked(task, model, closed, finals, clock), clock)


@torch.inference_mode()
def _ranked(
    task: DesignTask,
    model: LanguageModel | PretrainedModel,
    closed: Closed,
    finals: np.ndarray,
    clock: Clock,
) -> np.ndarray:
    """Sort designs int8 [n, L] by the forward regression; of long ones, those that the time does
    not do for stay behind the others.
    """
    parts: list[Tensor] = []
    done, most = 0, rows_at_a_time(task, len(finals))
    while done < len(finals) and (not parts or clock.remaining > 0.0):
        letters = one_hot(task, finals[done : done + most])
        parts.append(closed.predict(model.features(torch.as_tensor(letters)).double()))
        done += len(letters)
    return np.concatenate([best_first(finals[:done], torch.cat(parts)), finals[done:]])


def descend(
    task: DesignTask,
    model: LanguageModel | PretrainedModel,
    closed: Closed,
    auxiliary: Ensemble,
    variant: Variant,
    clock: Clock,
    rng: np.random.Generator,
) -> np.ndarray:
    """Descend the mixed loss by straight-through letters from the start pool.

    Args:
        task: the task.
        model: gives features of relaxed letters.
        closed: the closed forms over the model's offline features.
        auxiliary: proxy whose gradient adapts gamma and the step sizes.
        variant: which of the two adapt, and the first gamma.
        clock: counts an evaluation for each step of a candidate, and ends the descent.
        rng: draws the noise on the first logits.

    Returns:
        The distinct sequences of all steps, int8 [m, L], those of the last step first.
    """

    def derivatives(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        forward, backward = _gradients(task, model, closed, logits)
        return forward, backward, gradient(task, auxiliary, decode(task, logits), logits)

    logits = start_logits(task, rng)
    logits = logits[: affordable_rows(logits, derivatives, clock)]
    gamma, gamma_adam = np.full((len(logits), 1, 1), variant.gamma), Adam()
    adam, visited = Adam(), [decode(task, logits)]
    for step in range(STEPS_DNA if task.letters <= 4 else STEPS_PROTEIN):
        if out_of_time(clock):
            break
        forward, backward, upward = derivatives(logits)
        if variant.adaptive_gamma:
            s = RATE * (upward * (forward - backward)).sum(axis=(1, 2), keepdims=True)
            gamma = np.clip(gamma - GAMMA_RATE * gamma_adam.direction(s), 0.0, 1.0)
        downward = -adam.direction(gamma * forward + (1.0 - gamma) * backward)
        adapts = variant.adaptive_eta and step > 0
        rate = adaptive_rates(upward, downward) if adapts else RATE
        logits = logits + rate * downward
        clock.evaluations += len(logits)
        visited.append(decode(task, logits))
    return finals_first(visited)


def _gradients(
    task: DesignTask, model: LanguageModel | PretrainedModel, closed: Closed, logits: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Differentiate the forward and the backward loss by the logits, float64 [n, L, V] each."""
    leaf = torch.tensor(logits, dtype=torch.float32, requires_grad=True)
    features = model.features(straight_through(task, leaf)).double()
    both = []
    for loss in (closed.forward_loss(features), closed.backward_loss(features)):
        (slope,) = torch.autograd.grad(loss.sum(), leaf, retain_graph=True)
        both.append(slope.double().numpy())
    return both[0], both[1]
