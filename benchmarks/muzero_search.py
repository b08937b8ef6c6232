"""Measure the speed of MuZero's search beside mctx (JAX), same network and shapes in one run.

The network has one hidden layer of 64, whose units are also the latent state. Both searches run
without noise and with mctx's normalization of values, and must agree on the improved policies
before they are timed. Wall-clock seconds; one thread for ours, as in self-play, and for mctx as
many as JAX uses.
"""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..agents.muzero.forest import SearchSettings
from ..agents.muzero.networks import Root, Step
from ..agents.muzero.planning import Planner
from ..core.contracts import Throughput
from .timing import Run, one_thread, take_turns

BATCH, SIMULATIONS, WIDTH = 32, 50, 64
# Measured on another machine's two quiet cores; the reference if mctx is not installed.
ELSEWHERE = {64: 100_000.0, 512: 36_000.0}
REPEATS, SECONDS = 7, 0.5
DISCOUNT = 0.997
AGREE = 1e-3


def measure() -> list[Throughput]:
    """Measure simulations per second at 64 and 512 actions."""
    with one_thread():
        return [_measure(n_actions) for n_actions in ELSEWHERE]


def _measure(n_actions: int) -> Throughput:
    weights = _weights(n_actions)
    ours, policy = _ours(weights)
    name = f"search, batch {BATCH}, {SIMULATIONS} simulations, {n_actions} actions"
    try:
        theirs, expected = _mctx(weights)
    except ImportError:
        (speed,) = take_turns([_timed(ours)], REPEATS)
        reference = "mctx as measured elsewhere on two quiet cores (it is not installed here)"
        other = ELSEWHERE[n_actions]
    else:
        worst = float(np.abs(policy - expected).max())
        if worst > AGREE:
            raise AssertionError(f"{name}: the policies differ from mctx's by {worst:.2g}")
        speed, (other, _) = take_turns([_timed(ours), _timed(theirs)], REPEATS)
        reference = f"mctx {importlib.metadata.version('mctx')}, same network, in this run"
    return Throughput(name, speed.per_second, "simulations/s", reference, other, speed.spread)


def _timed(search: Callable[[], Any]) -> Run:
    """Return a run that measures a search's simulations per second over SECONDS."""

    def run() -> float:
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < SECONDS:
            search()
            count += 1
        return count * BATCH * SIMULATIONS / (time.perf_counter() - began)

    return run


def _weights(n_actions: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        values: np.ndarray = rng.normal(size=shape) / np.sqrt(shape[0])
        return values.astype(np.float32)

    return {
        "root": normal(BATCH, WIDTH) * np.float32(np.sqrt(BATCH)),
        "hidden": normal(WIDTH, WIDTH),
        "action": normal(n_actions, WIDTH) * np.float32(np.sqrt(n_actions)),
        "policy": normal(WIDTH, n_actions),
        "reward": normal(WIDTH, 1),
        "value": normal(WIDTH, 1),
    }


class _Torch:
    """The network as a planning.Model."""

    def __init__(self, weights: dict[str, np.ndarray]) -> None:
        w = {key: torch.from_numpy(value) for key, value in weights.items()}
        self.hidden, self.action, self.policy = w["hidden"], w["action"], w["policy"]
        self.numbers = torch.cat([w["reward"], w["value"]], dim=1)

    def initial(self, observation: Tensor) -> Root:
        latent = (observation @ self.hidden).relu()
        return Root(latent, latent @ self.policy, latent @ self.numbers[:, 1])

    def recurrent(self, latent: Tensor, action: Tensor) -> Step:
        latent = torch.addmm(self.action.index_select(0, action), latent, self.hidden).relu_()
        numbers = latent @ self.numbers
        return Step(latent, numbers[:, 0], latent @ self.policy, numbers[:, 1])


def _ours(weights: dict[str, np.ndarray]) -> tuple[Callable[[], Any], np.ndarray]:
    planner = Planner(SearchSettings(SIMULATIONS, 16, DISCOUNT, scope="node"))
    model, root = _Torch(weights), torch.from_numpy(weights["root"])

    def run() -> Any:
        return planner.plan(model, root, None)

    return run, run().policy


def _mctx(weights: dict[str, np.ndarray]) -> tuple[Callable[[], Any], np.ndarray]:
    """Return mctx's search and its improved policies.

    Raises:
        ImportError: mctx is not installed.
    """
    import jax
    import jax.numpy as jnp
    import mctx

    w = {key: jnp.asarray(value) for key, value in weights.items()}

    def recurrent(w: Any, key: Any, action: Any, latent: Any) -> Any:
        latent = jax.nn.relu(latent @ w["hidden"] + w["action"][action])
        out = mctx.RecurrentFnOutput(
            reward=(latent @ w["reward"])[:, 0],
            discount=jnp.full(BATCH, DISCOUNT),
            prior_logits=latent @ w["policy"],
            value=(latent @ w["value"])[:, 0],
        )
        return out, latent

    @jax.jit
    def search(w: Any) -> Any:
        latent = jax.nn.relu(w["root"] @ w["hidden"])
        root = mctx.RootFnOutput(
            prior_logits=latent @ w["policy"], value=(latent @ w["value"])[:, 0], embedding=latent
        )
        found = mctx.gumbel_muzero_policy(
            w, jax.random.PRNGKey(0), root, recurrent, num_simulations=SIMULATIONS,
            max_num_considered_actions=16, gumbel_scale=0.0,
        )  # fmt: skip
        return found.action, found.action_weights

    def run() -> Any:
        return jax.block_until_ready(search(w))

    return run, np.asarray(run()[1])
