"""Learning-rate schedules for a run of known length.

Each is a function from the number of rounds T to the factors float64 [T] that multiply the initial
rate in rounds 1..T. Round r is at progress p = (r - 1) / T, so that no round is played at the end
value 0 of a decay. Schedules that torch.optim.lr_scheduler has are read off it.

Published schedules count steps in thousands; a warm-up of a percent, which would be less than one
round, is left out or one round long, as each says. Shapes and constants marked "unverified" are
from memory: the paper's body could not be read.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from ...core.errors import MissingDependencyError

Schedule = Callable[[int], np.ndarray]
SCHEDULES: dict[str, Schedule] = {}

DECAY = 0.1  # share of the rounds in which warmup-stable-decay schedules decay
LOWEST = 0.1  # last factor of decays that do not go to zero
PHI = 5.0  # shape of `uba`

Function = TypeVar("Function", bound=Schedule)


def schedule(function: Function) -> Function:
    """Register a function among the schedules under its own name."""
    SCHEDULES[function.__name__] = function
    return function


@schedule
def linear(rounds: int) -> np.ndarray:
    """Fall linearly to 0; best of ten tasks in Defazio et al. 2023 (arXiv 2310.07831)."""
    return _of_torch(rounds, "LinearLR", start_factor=1.0, end_factor=0.0, total_iters=rounds)


@schedule
def cosine(rounds: int) -> np.ndarray:
    """Fall along half a cosine to 0: one cycle of SGDR.

    Loshchilov & Hutter 2017 (arXiv 1608.03983).
    """
    return _of_torch(rounds, "CosineAnnealingLR", T_max=rounds)


@schedule
def cyclic_cosine(rounds: int) -> np.ndarray:
    """Restart SGDR's cosine with T_mult = 2: three cycles of 1/7, 2/7 and 4/7 of the rounds.

    After Loshchilov & Hutter 2017 (arXiv 1608.03983).
    """
    first = math.ceil(rounds / 7)
    return _of_torch(rounds, "CosineAnnealingWarmRestarts", T_0=first, T_mult=2)


@schedule
def step(rounds: int) -> np.ndarray:
    """Divide by 10 at half and at three quarters of the rounds.

    He et al. 2016 (arXiv 1512.03385, section 4.2).
    """
    knots = [math.ceil(rounds / 2), math.ceil(0.75 * rounds)]
    return _of_torch(rounds, "MultiStepLR", milestones=knots, gamma=0.1)


@schedule
def exponential(rounds: int) -> np.ndarray:
    """Multiply by 0.995 a round, the decay that FedHyper compares with (arXiv 2310.03156)."""
    return _of_torch(rounds, "ExponentialLR", gamma=0.995)


@schedule
def one_cycle(rounds: int) -> np.ndarray:
    """Rise from 1/25 in three tenths of the rounds, then fall to 1/250,000, both by cosine.

    Smith & Topin 2018 (arXiv 1708.07120), with torch's defaults; the peak is the initial rate.
    """
    return _of_torch(
        rounds,
        "OneCycleLR",
        max_lr=1.0,
        total_steps=rounds,
        cycle_momentum=False,
    )


@schedule
def rex(rounds: int) -> np.ndarray:
    """Fall as (1 - p) / (1 - p / 2), p the progress (REX; Chen et al. 2022, arXiv 2107.04197)."""
    p = _progress(rounds)
    return (1.0 - p) / (1.0 - p / 2.0)


@schedule
def wsd(rounds: int) -> np.ndarray:
    """Hold the rate, then decay to 0 by a cosine in the last tenth of the rounds.

    Warm-up, stable, decay (Hu et al. 2024, arXiv 2404.06395), shaped as in transformers. The
    paper's own decay is exponential. Warm-up is left out, since a first round at 0 would be lost.
    """
    decay = _tenth(rounds)
    return np.concatenate([np.ones(rounds - decay), _fall(decay)])


@schedule
def wsd_s(rounds: int) -> np.ndarray:
    """Decay before each of several horizons, then go on: WSD simplified (unverified).

    Wen et al. 2024 (arXiv 2410.05192). The horizons are a quarter, a half and the whole of the
    rounds; in the last tenth of each the *inverse* rate grows linearly, to a tenth of the rate as
    in Levanter. That the decay is a tenth of the horizon is unverified; see `wsd_s_levanter`.
    """
    return _decayed_before_horizons(rounds, whole=True)


@schedule
def wsd_s_levanter(rounds: int) -> np.ndarray:
    """Follow `wsd_s` with decays of a tenth of each cycle, from one horizon to the next.

    As Levanter does (its schedule "inv" with `cycle_length` and a decay of 0.1).
    """
    return _decayed_before_horizons(rounds, whole=False)


@schedule
def wsdc(rounds: int) -> np.ndarray:
    """Stay constant, decay, then stay at the low rate (unverified).

    PLM (arXiv 2503.12167). Unverified: shape and shares; here a tenth of the rounds falls by cosine
    to a tenth of the rate, and the last tenth stays there.
    """
    low = min(_tenth(rounds), rounds - 1)
    falling = min(low, rounds - low)
    return np.concatenate(
        [np.ones(rounds - low - falling), _fall(falling, LOWEST), np.full(low, LOWEST)]
    )


@schedule
def infinite(rounds: int) -> np.ndarray:
    """Warm up, cool down to a constant, anneal exponentially in the last rounds (unverified).

    Ibrahim et al. 2024 (arXiv 2403.08763) and Singh et al. 2025 (arXiv 2503.02844), who anneal on
    demand. Shape, warm-up of a twentieth (at least one round), the constant 0.55 and the last 15 %
    are those of public code for these papers, which differs in them from paper to paper; that the
    cosine ends at 0.6 of the rounds is unverified (public runs have it between 0.4 and 0.7).
    """
    constant = 0.55
    warm = _warmup(rounds)
    cool, flat = max(warm, round(0.6 * rounds)), max(warm, round(0.85 * rounds))
    q = np.arange(1, rounds - flat + 1) / max(1, rounds - flat)
    return np.concatenate(
        [
            _ramp(warm, 0.0),
            _fall(cool - warm, constant),
            np.full(flat - cool, constant),
            constant * (LOWEST / constant) ** q,
        ]
    )


@schedule
def rewarm_redecay(rounds: int) -> np.ndarray:
    """Decay to a tenth in the first half; warm up and decay again in the second, as for new data.

    Ibrahim et al. 2024 (arXiv 2403.08763). Decays are cosines; warm-ups are as in `infinite`.
    """
    half = math.ceil(rounds / 2)
    warm = min(_warmup(rounds), rounds - half)
    return np.concatenate(
        [_fall(half, LOWEST), _ramp(warm, LOWEST), _fall(rounds - half - warm, LOWEST)]
    )


@schedule
def slow_start_fast_decay(rounds: int) -> np.ndarray:
    """Rise slowly, then fall steeply, as in adversarial fine-tuning (unverified).

    Jeddi et al. 2020 (arXiv 2012.13628). Unverified: the knots; here linearly from a tenth to 1 at
    half of the rounds, then exponentially to 1/100.
    """
    p = _progress(rounds)
    rise = LOWEST + (1.0 - LOWEST) * 2.0 * p
    return np.where(p < 0.5, rise, 0.01 ** np.maximum(2.0 * p - 1.0, 0.0))


@schedule
def power(rounds: int) -> np.ndarray:
    """Fall as `power_law`, then decay exponentially (unverified).

    Unverified: in the last tenth of the rounds the factors fall exponentially by another factor of
    ten. The schedules of this name in Levanter and IBM's dolomite-engine have no such decay.
    """
    factors = power_law(rounds)
    decay = _tenth(rounds)
    factors[-decay:] *= LOWEST ** (np.arange(1, decay + 1) / decay)
    return factors


@schedule
def power_law(rounds: int) -> np.ndarray:
    """Fall by min(1, (n / n0)^-0.51) in round n.

    Shen et al. 2024 (arXiv 2408.13359). The paper gives an absolute rate, 4.6 n^-0.51 times the
    batch size after n tokens, which says nothing of the models here; so the power begins to act
    after a tenth of the rounds, n0. There is no warm-up.
    """
    return np.minimum(1.0, (np.arange(1, rounds + 1) / _tenth(rounds)) ** -0.51)


@schedule
def uba(rounds: int) -> np.ndarray:
    """Follow a family of one parameter through the cosine: UBA (unverified).

    The unified budget-aware schedule, Tang et al. 2025 (arXiv 2505.24452). The factor at progress p
    is 2 (1 + cos pi p) / (2 phi + (2 - phi) (1 + cos pi p)). Unverified: this formula, which is
    from memory, and PHI = 5 for SGD. With phi = 2 it is the cosine; below, it stays high and drops
    late; above, it falls early.
    """
    up = 1.0 + np.cos(np.pi * _progress(rounds))
    return 2.0 * up / (2.0 * PHI + (2.0 - PHI) * up)


def _of_torch(rounds: int, name: str, **arguments: Any) -> np.ndarray:
    """Read the rates float64 [T] off a torch scheduler of an optimizer of rate 1."""
    try:
        import torch
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "schedules are read off PyTorch's; pip install 'sysopt-gym[agents]'"
        ) from error
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = getattr(torch.optim.lr_scheduler, name)(optimizer, **arguments)
    factors = []
    for _ in range(rounds):
        factors.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return np.array(factors, np.float64)


def _progress(rounds: int) -> np.ndarray:
    return np.arange(rounds) / rounds


def _fall(count: int, low: float = 0.0) -> np.ndarray:
    """Fall along half a cosine from 1 towards `low`, which round `count` + 1 would reach."""
    return low + (1.0 - low) * 0.5 * (1.0 + np.cos(np.pi * np.arange(count) / max(1, count)))


def _ramp(count: int, low: float) -> np.ndarray:
    """Rise linearly between `low` and 1, both left out."""
    return low + (1.0 - low) * np.arange(1, count + 1) / (count + 1)


def _decayed_before_horizons(rounds: int, whole: bool) -> np.ndarray:
    """Return the factors of `wsd_s`.

    Args:
        rounds: T.
        whole: whether the decay is a tenth of the rounds since the start, not since the last
            horizon.
    """
    factors, last = np.ones(rounds), 0
    for horizon in (math.ceil(rounds / 4), math.ceil(rounds / 2), rounds):
        if horizon > last:
            decay = _tenth(horizon if whole else horizon - last)
            q = np.arange(1, decay + 1) / decay
            factors[horizon - decay : horizon] = 1.0 / (q / LOWEST + (1.0 - q))
        last = horizon
    return factors


def _tenth(rounds: int) -> int:
    return max(1, round(DECAY * rounds))


def _warmup(rounds: int) -> int:
    return max(1, round(0.05 * rounds))
