"""How clients descend: SGD, FedHyper-CL, hypergradient descent, and rules without a learning rate.

All clients at once: weights w and slopes g are [C, P]; what is one number a client is [C, 1]. A
rule begins anew in every round, as clients keep nothing in between.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

GAMMA = 10.0  # FedHyper-CL's clip: the rate stays within beta / GAMMA .. beta * GAMMA
KAPPA = 1.0  # hyper-step of the raw products, as in the papers
KAPPA_COSINE = 0.1  # hyper-step of cosines
FIRST_MOVE = 1e-3  # DoG's r_eps, relative to 1 + the norm of the weights (Ivgi et al. 2023)
# d0 of D-Adaptation and Prodigy; the packages' 1e-6 is for thousands of steps.
FIRST_DISTANCE = 1e-3
PRODIGY_BETAS = (0.9, 0.999)  # of Prodigy's Adam, as prodigyopt's defaults
PRODIGY_EPSILON = 1e-8
MIXING = 0.9  # Schedule-Free's beta (Defazio et al. 2024)
TINY = 1e-12


@dataclass(slots=True)
class Round:
    """A round of some clients under one rule.

    Attributes:
        w: weights [C, P], changed by each step.
        start: as the round began.
        beta: rates given [C, 1]. rate: in force [C, 1].
        trend: the last global update, which points downhill [C, P].
        steps: local steps of the round, K.
        k: steps done.
        notes: what a rule remembers from step to step.
    """

    w: Tensor
    start: Tensor
    beta: Tensor
    rate: Tensor
    trend: Tensor
    steps: int
    k: int = 0
    notes: dict[str, Tensor] = field(default_factory=dict)


def begin(w: Tensor, beta: Tensor, trend: Tensor, steps: int) -> Round:
    """A round from weights w [C, P], which it changes in place."""
    return Round(w, w.clone(), beta, beta.clone(), trend, steps)


def descend(rule: str, r: Round, g: Tensor, active: Tensor) -> None:
    """One local step along the slopes g [C, P]; clients that are not active, bool [C, 1], stand
    still. `rule` is one of orders.LOCAL_RULES.
    """
    move = _RULES[rule](r, g)
    r.w += torch.where(active, move, 0.0)
    r.k += 1


def query(rule: str, r: Round) -> Tensor:
    """Where the next slope is wanted [C, P]."""
    if rule == "schedule_free" and r.k:
        return torch.lerp(r.notes["z"], r.w, MIXING)
    return r.w


def _sgd(r: Round, g: Tensor) -> Tensor:
    return -r.beta * g


def _fedhyper(r: Round, g: Tensor) -> Tensor:
    """Wang et al. (ICLR 2024), Eq. 20: the rate grows where a slope agrees with the last one, and
    with the last global update (which points downhill, so -g agrees with it).
    """
    if r.k:
        agree = _dot(g, r.notes["g"]) - _dot(g, r.trend) / r.steps
        r.rate = _clip(r.rate + KAPPA * agree, r.beta)
    r.notes["g"] = g
    return -r.rate * g


def _fedhyper_cosine(r: Round, g: Tensor) -> Tensor:
    """The same without scale: a factor of 1 + kappa times cosines in place of products."""
    if r.k:
        agree = _cosine(g, r.notes["g"]) - _cosine(g, r.trend) / r.steps
        r.rate = _clip(r.rate * (1 + KAPPA_COSINE * agree), r.beta)
    r.notes["g"] = g
    return -r.rate * g


def _hypergradient(r: Round, g: Tensor) -> Tensor:
    """Baydin et al. (ICLR 2018): beta <- beta + kappa <g_k, g_{k-1}>."""
    if r.k:
        r.rate = _clip(r.rate + KAPPA * _dot(g, r.notes["g"]), r.beta)
    r.notes["g"] = g
    return -r.rate * g


def _hypergradient_multiplicative(r: Round, g: Tensor) -> Tensor:
    """The multiplicative form of Baydin et al. (from memory): beta <- beta (1 + kappa cos)."""
    if r.k:
        r.rate = _clip(r.rate * (1 + KAPPA_COSINE * _cosine(g, r.notes["g"])), r.beta)
    r.notes["g"] = g
    return -r.rate * g


def _dog(r: Round, g: Tensor) -> Tensor:
    """DoG (Ivgi, Hinder & Carmon, ICML 2023): farthest distance over the root of summed squares."""
    moved = (r.w - r.start).norm(dim=1, keepdim=True)
    first = FIRST_MOVE * (1 + r.start.norm(dim=1, keepdim=True))
    far = torch.maximum(moved, r.notes.get("far", first))
    total = r.notes.get("total", torch.zeros_like(far)) + _dot(g, g)
    r.notes |= {"far": far, "total": total}
    return -far / (total.sqrt() + TINY) * g


def _d_adaptation(r: Round, g: Tensor) -> Tensor:
    """D-Adapted SGD (Defazio & Mishchenko, ICML 2023) as the package dadaptation has it, with rate
    1, no momentum and d0 = FIRST_DISTANCE: steps of d / ||g_0||.
    """
    return _adapted(r, g, 2.0, TINY**2)


def _d_adaptation_half(r: Round, g: Tensor) -> Tensor:
    """The same without the factor of 2 in its estimate d, which then stays below the true distance
    of a convex loss.
    """
    return _adapted(r, g, 1.0, TINY)


def _adapted(r: Round, g: Tensor, factor: float, tiny: float) -> Tensor:
    d = r.notes.get("d", torch.full_like(r.beta, FIRST_DISTANCE))
    # A client whose rows are all sure has no slope at all; the first that it has counts.
    first = r.notes.get("first", torch.zeros_like(d))
    first = torch.where(first > 0, first, g.norm(dim=1, keepdim=True))
    step = d / (first + tiny)
    s = r.notes.get("s", torch.zeros_like(g)) + step * g
    ahead = r.notes.get("ahead", torch.zeros_like(d)) + step * _dot(g, r.start - r.w)
    known = factor * ahead / (s.norm(dim=1, keepdim=True) + tiny)
    r.notes |= {"d": torch.maximum(d, known), "first": first, "s": s, "ahead": ahead}
    return -step * g


def _prodigy(r: Round, g: Tensor) -> Tensor:
    """Prodigy (Mishchenko & Defazio, ICML 2024) in its Adam form, as the package prodigyopt has it,
    with its defaults but for d0 = FIRST_DISTANCE.
    """
    beta_1, beta_2 = PRODIGY_BETAS
    beta_3 = math.sqrt(beta_2)
    d = r.notes.get("d", torch.full_like(r.beta, FIRST_DISTANCE))
    nothing = torch.zeros_like(g)
    weight = d**2 / FIRST_DISTANCE
    ahead = beta_3 * r.notes.get("ahead", torch.zeros_like(d)) + weight * _dot(g, r.start - r.w)
    s = beta_3 * r.notes.get("s", nothing) + weight * g
    mean = beta_1 * r.notes.get("mean", nothing) + (1 - beta_1) * d * g
    square = beta_2 * r.notes.get("square", nothing) + (1 - beta_2) * d**2 * g**2
    d_next = torch.maximum(d, ahead / (s.abs().sum(1, keepdim=True) + TINY**2))
    r.notes |= {"d": d_next, "ahead": ahead, "s": s, "mean": mean, "square": square}
    return -d * mean / (square.sqrt() + d_next * PRODIGY_EPSILON)


def _prodigy_dual_averaging(r: Round, g: Tensor) -> Tensor:
    """Prodigy's dual-averaging form (the same paper), from memory; G is the greatest slope seen."""
    d = r.notes.get("d", torch.full_like(r.beta, FIRST_DISTANCE))
    most = torch.maximum(g.norm(dim=1, keepdim=True), r.notes.get("most", torch.zeros_like(r.beta)))
    weight = d**2
    s = r.notes.get("s", torch.zeros_like(g)) + weight * g
    ahead = r.notes.get("ahead", torch.zeros_like(d)) + weight * _dot(g, r.start - r.w)
    squares = r.notes.get("squares", torch.zeros_like(d)) + weight * _dot(g, g)
    d_next = torch.maximum(d, ahead / (s.norm(dim=1, keepdim=True) + TINY))
    r.notes |= {"d": d_next, "most": most, "s": s, "ahead": ahead, "squares": squares}
    step = 1.0 / ((d_next**2 * most**2 + squares).sqrt() + TINY)
    return r.start - step * s - r.w


def _schedule_free(r: Round, g: Tensor) -> Tensor:
    """Schedule-Free SGD (Defazio et al., NeurIPS 2024): the weights are the mean of all z."""
    z = r.notes.get("z", r.start) - r.beta * g
    r.notes["z"] = z
    return (z - r.w) / (r.k + 1)


_RULES: dict[str, Callable[[Round, Tensor], Tensor]] = {
    "sgd": _sgd,
    "fedhyper": _fedhyper,
    "fedhyper_cosine": _fedhyper_cosine,
    "hypergradient": _hypergradient,
    "hypergradient_multiplicative": _hypergradient_multiplicative,
    "dog": _dog,
    "d_adaptation_half": _d_adaptation_half,
    "prodigy_dual_averaging": _prodigy_dual_averaging,
    "schedule_free": _schedule_free,
    "d_adaptation": _d_adaptation,
    "prodigy": _prodigy,
}


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(1, keepdim=True)


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    norms: Tensor = a.norm(dim=1, keepdim=True) * b.norm(dim=1, keepdim=True)
    return _dot(a, b) / (norms + TINY)


def _clip(rate: Tensor, beta: Tensor) -> Tensor:
    return torch.minimum(torch.maximum(rate, beta / GAMMA), beta * GAMMA)
