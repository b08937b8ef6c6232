"""Conservative objective models, COMs (Trabucco et al. 2021, arXiv 2107.06882).

The proxy is trained to be low where ascent on it leads, then climbed. Beside the squared error,
training lowers the proxy on adversarial designs and raises it on the data, by a weight alpha that
rises while the gap between the two exceeds tau (section 4.1; Design-Bench's values for discrete
tasks, in standardized scores).
"""

from __future__ import annotations

import numpy as np

from ...core.budget import Budget, Clock
from ...core.solution import Solution
from ...datasets.sequence_design.instance import DesignTask
from ...envs.sequence_design.proxy import (
    Ensemble,
    MotifNetworks,
    Trainer,
    cosine_decay,
    normal_scores,
)
from ...envs.sequence_design.rules import repaired
from ...methods.sequence_design.ascent import SHARPNESS, climb, climb_until_the_end
from ...methods.sequence_design.pool import TRAINING_SHARE, Pool
from ...methods.sequence_design.sequences import one_hot

MEMBERS = 3  # networks of the proxy
BATCH = 128
STEPS = 1500
RATE = 3e-3
ASCENT_STEPS = 50  # from a data design to an adversarial one
PARTICLES = 64  # adversarial designs
REFRESH = 25  # training steps between renewals of the adversarial designs
ALPHA, ALPHA_RATE, TAU = 0.1, 0.01, 2.0  # first alpha, its step size, and its threshold


def solve(instance: DesignTask, budget: Budget, seed: int) -> Solution:
    """Train a conservative proxy, then climb it (Trabucco et al. 2021, section 4.1).

    Args:
        instance: the design task; only its offline set is used.
        budget: seconds, of which training takes half at most, and evaluations; one evaluation is
            one sequence of the ascent.
        seed: draws first weights, batches, adversarial starts, and the noise on the ascent's first
            logits.

    Returns:
        The best batch met, by the proxy.
    """
    clock = budget.start()
    rng = np.random.default_rng(seed)
    proxy = conservative_proxy(instance, clock, rng)
    pool = Pool(instance, proxy, clock)
    climb_until_the_end(instance, pool, proxy, rng)
    return pool.solution()


def conservative_proxy(task: DesignTask, clock: Clock, rng: np.random.Generator) -> Ensemble:
    """Train motif networks conservatively.

    The learning rate falls with the share of steps or seconds spent, whichever is larger.

    Args:
        task: the task.
        clock: of the run; training takes at most half of the seconds left.
        rng: draws first weights, batches and adversarial designs.

    Returns:
        The mean of MEMBERS networks.
    """
    networks = MotifNetworks(MEMBERS, task.length, task.letters, total=False, rng=rng)
    targets, scale = normal_scores(task)
    trainer = Trainer(networks, task.sequences, targets, rng)
    proxy = Ensemble((networks,), np.full(MEMBERS, 1.0 / MEMBERS), scale)
    until = clock.elapsed + TRAINING_SHARE * clock.remaining
    began, alpha = clock.elapsed, np.full(MEMBERS, ALPHA, np.float32)
    adversarial = task.sequences[:1]
    for step in range(STEPS):
        spent = max(step / STEPS, (clock.elapsed - began) / max(until - began, 1e-9))
        if spent >= 1.0:
            break
        if step % REFRESH == 0:
            drawn = task.sequences[rng.integers(len(task.scores), size=PARTICLES)]
            starts = repaired(task, drawn, rng)
            logits = SHARPNESS * one_hot(task, starts)
            for tokens in climb(task, proxy, logits, ASCENT_STEPS):
                adversarial = tokens
                if clock.elapsed >= until:
                    break
        rows = trainer.draw_rows(BATCH)
        others = rng.integers(len(adversarial), size=(MEMBERS, BATCH))
        both = np.concatenate([task.sequences[rows], adversarial[others]], axis=1)
        slope = _Slope(trainer.targets[rows], alpha)
        trainer.step(both, slope, RATE * cosine_decay(spent))
        alpha = np.maximum(alpha + ALPHA_RATE * (slope.gap - TAU), 0.0).astype(np.float32)
    return proxy


class _Slope:
    """Derivatives of squared error + alpha * (mean on adversarial designs - mean on the data).

    Attributes:
        gap: float64 [MEMBERS]; the difference of the two means, written by each call.
    """

    def __init__(self, targets: np.ndarray, alpha: np.ndarray) -> None:
        self.targets, self.alpha = targets, alpha[:, None]
        self.gap = np.zeros(len(alpha))

    def __call__(self, values: np.ndarray) -> np.ndarray:
        known, believed = values[:, :BATCH], values[:, BATCH:]
        self.gap = believed.mean(axis=1) - known.mean(axis=1)
        error = (2.0 * (known - self.targets) - self.alpha) / BATCH
        held_down = np.broadcast_to(self.alpha / BATCH, believed.shape)
        return np.concatenate([error, held_down], axis=1)
