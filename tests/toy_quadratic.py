"""A federation small enough to check by hand: clients with quadratic losses of their own, played by
plain SGD and averaging.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from sysopt_gym.core.budget import Budget
from sysopt_gym.datasets.federated_lr.instance import ALPHA_RANGE, BETA_RANGE, Terms
from sysopt_gym.envs.federated_lr.orders import CHECKPOINT, KEEP, RETURN, rate_of

CURVATURE = np.array([1.0, 0.3, 0.1])
START = np.array([2.0, -1.0, 3.0])


def terms(rounds: int = 50, alpha: float = 1.0, beta: float = 0.05) -> Terms:
    return Terms(rounds, 20, 4, 3, 8, alpha, beta)


def info(step: int = 0, **values: float) -> dict[str, Any]:
    """What a server sees where nothing has happened, but for the values given."""
    quiet = {
        "rounds": 50,
        "alpha": 1.0,
        "beta": 0.05,
        "validation_loss": 1.0,
        "validation_accuracy": 0.5,
        "initial_loss": 1.0,
        "train_loss": 1.0,
        "update_norm": 0.0,
        "mean_square_norm": 0.0,
        "inner_product": 0.0,
        "cosine": 0.0,
        "gradient_norm": 0.0,
        "objective": 0.5,
        "feasible": True,
        "diverged": False,
    }
    return quiet | {"step": step} | values


@dataclass
class Game:
    """orders int64 [T + 1, 5], alphas and betas [T + 1] as played, losses [T + 1] as seen, and the
    loss after the last update.
    """

    orders: np.ndarray
    alphas: np.ndarray
    betas: np.ndarray
    losses: np.ndarray
    final: float


def play(policy: Any, given: Terms, seed: int = 0) -> Game:
    """Plays a whole episode; rules other than average and sgd are not carried out."""
    rng = np.random.default_rng(seed)
    centers = rng.normal(0.0, 0.2, (given.clients, len(START)))
    model, update, before = START.copy(), np.zeros(len(START)), np.zeros(len(START))
    norms, square, gradient = 0.0, 0.0, 0.0
    kept: Any = None
    orders, losses = [], []
    policy.reset(given, Budget(1.0), seed)
    for step in range(given.rounds + 1):
        losses.append(loss_of(model))
        inner = float(update @ before)
        lengths = float(np.linalg.norm(update) * np.linalg.norm(before))
        seen = info(
            step,
            validation_loss=losses[-1],
            initial_loss=losses[0],
            update_norm=norms,
            mean_square_norm=square,
            inner_product=inner,
            cosine=inner / lengths if lengths else 0.0,
            gradient_norm=gradient,
        )
        order = policy.act(None, seen)
        orders.append(order)
        if order[CHECKPOINT] == KEEP:
            kept = copy.deepcopy((model, update))
        elif order[CHECKPOINT] == RETURN:
            model, update = copy.deepcopy(kept)
        model = model + rate_of(order[0], ALPHA_RANGE) * update
        chosen = centers[rng.choice(given.clients, given.participants, replace=False)]
        local = np.tile(model, (len(chosen), 1))
        gradient = float(np.linalg.norm(CURVATURE * (local - chosen), axis=1).mean())
        for _ in range(given.local_steps):
            local -= rate_of(order[1], BETA_RANGE) * CURVATURE * (local - chosen)
        before, update = update, (local - model).mean(axis=0)
        norms = float(np.linalg.norm(update))
        square = float((np.linalg.norm(local - model, axis=1) ** 2).mean())
    plan = np.stack(orders)
    return Game(
        plan,
        np.array([rate_of(code, ALPHA_RANGE) for code in plan[:, 0]]),
        np.array([rate_of(code, BETA_RANGE) for code in plan[:, 1]]),
        np.array(losses),
        loss_of(model),
    )


def loss_of(model: np.ndarray) -> float:
    return float((CURVATURE * model**2).sum() / 2)
