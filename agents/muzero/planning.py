"""Search with a network: in its own latent states, or in copies of the environment."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ..network import MASKED
from .forest import NONE, Forest, SearchSettings, make_forest
from .networks import Observation, Root, Step, mask_of
from .search import Expand, Found, Leaves, search


class Model(Protocol):
    """A network whose values and rewards are numbers, float32 [B]; see networks.Scalars."""

    def initial(self, observation: Observation) -> Root:
        """Predict from B observations."""
        ...

    def recurrent(self, latent: Tensor, action: Tensor) -> Step:
        """Take actions in latent states and predict from the next ones.

        Args:
            latent: float32 [B, ...]; latent states.
            action: int64 [B].
        """
        ...


class Planner:
    """Runs searches with the same settings, and keeps the memory that they need."""

    def __init__(self, settings: SearchSettings) -> None:
        self.settings = settings
        self._forest: Forest | None = None
        self._latents: Tensor | None = None

    @torch.inference_mode()
    def plan(
        self,
        model: Model,
        observation: Observation,
        gumbel: np.random.Generator | None,
        simulators: Sequence[Any] | None = None,
    ) -> Found:
        """Search from a batch of observations.

        Args:
            model: the network.
            observation: tensors [B, ...] on the network's device; may have an "action_mask", [B,
                A].
            gumbel: source of the exploration noise; None for play without.
            simulators: B environments in the states observed, to be searched in instead of the
                network's dynamics (as AlphaZero does); None for a row whose result is ignored. They
                are copied by their method `fork` where they have one, else deeply. All that a
                search plays is in copies of one fork, whose future is its own (FamilyEnv.fork).

        Returns:
            Actions, improved policies and values of the B roots.
        """
        root = model.initial(observation)
        legal = mask_of(observation)
        logits = root.logits
        if legal is None:
            legal = torch.ones_like(logits, dtype=torch.bool)
        # An episode's last observation has no legal action; the action chosen there is ignored.
        legal = legal | ~legal.any(dim=1, keepdim=True)
        shape = (logits.shape[0], logits.shape[1])
        forest = self._forest_for(shape)
        if simulators is None:
            expand = self._in_latents(model, root, forest)
        else:
            expand = _in_simulators(model, observation, simulators, forest)
        return search(
            logits.float().cpu().numpy(),
            root.value.cpu().numpy(),
            legal.cpu().numpy(),
            expand,
            self.settings,
            np.zeros(shape) if gumbel is None else gumbel.gumbel(size=shape),
            forest,
        )

    def _forest_for(self, shape: tuple[int, int]) -> Forest:
        """Return trees for a batch and a number of actions: the last search's if they fit."""
        if self._forest is None or self._forest.priors.shape[1:] != shape:
            self._forest = make_forest(*shape, self.settings)
            self._latents = None
        return self._forest

    def _in_latents(self, model: Model, root: Root, forest: Forest) -> Expand:
        """Return the expansion by the network's dynamics; every node keeps a latent state."""
        latents = self._latents
        nodes = self.settings.simulations + 1
        if latents is None or latents.shape[1:] != root.latent.shape:
            latents = root.latent.new_empty((nodes, *root.latent.shape))
            self._latents = latents
        latents[0] = root.latent
        device, batch = root.latent.device, root.latent.shape[0]
        rows = torch.arange(batch)
        flat = latents.flatten(0, 1)
        parents, actions = torch.from_numpy(forest.parent), torch.from_numpy(forest.action)
        never = np.zeros(batch, np.bool_)

        def expand(made: int, _: np.ndarray, __: np.ndarray) -> Leaves:
            latent = flat.index_select(0, torch.add(rows, parents, alpha=batch).to(device))
            step = model.recurrent(latent, actions.to(device))
            latents[made] = step.latent
            prior = step.logits.softmax(-1)
            return Leaves(
                step.reward.cpu().numpy(), step.value.cpu().numpy(), prior.cpu().numpy(), never
            )

        return expand


def _in_simulators(
    model: Model, observation: Observation, simulators: Sequence[Any], forest: Forest
) -> Expand:
    """Return the expansion by copies of the environments; every node keeps one."""
    batch, n_actions = forest.priors.shape[1:]
    copies: list[dict[int, Any]] = [
        {0: None if simulator is None else _fork(simulator)} for simulator in simulators
    ]

    def expand(made: int, parents: np.ndarray, actions: np.ndarray) -> Leaves:
        leaves = Leaves(
            np.zeros(batch), np.zeros(batch), np.zeros((batch, n_actions), np.float32),
            np.ones(batch, np.bool_),
        )  # fmt: skip
        rows, seen = [], []
        for b in range(batch):
            if parents[b] == NONE or simulators[b] is None:
                continue
            env = _fork(copies[b][int(parents[b])])
            after, reward, terminated, truncated, _ = env.step(int(actions[b]))
            leaves.reward[b] = reward
            leaves.ended[b] = terminated or truncated
            if not leaves.ended[b]:
                copies[b][made] = env
                rows.append(b)
                seen.append(after)
        if rows:
            stacked = batched(seen, observation)
            root = model.initial(stacked)
            legal = mask_of(stacked)
            logits = root.logits if legal is None else root.logits.masked_fill(~legal, MASKED)
            leaves.value[rows] = root.value.cpu().numpy()
            leaves.prior[rows] = logits.softmax(-1).cpu().numpy()
        return leaves

    return expand


def _fork(env: Any) -> Any:
    return env.fork() if hasattr(env, "fork") else copy.deepcopy(env)


def batched(seen: Sequence[Any], like: Observation) -> Observation:
    """Stack single observations into a batch.

    Args:
        seen: B observations, arrays or dicts of arrays.
        like: a batch of such observations; the result has its dtypes and device.

    Returns:
        Tensors [B, ...].
    """
    if isinstance(like, dict):
        return {key: batched([one[key] for one in seen], part) for key, part in like.items()}
    stacked = torch.from_numpy(np.stack([np.asarray(one) for one in seen]))
    return stacked.to(device=like.device, dtype=like.dtype)
