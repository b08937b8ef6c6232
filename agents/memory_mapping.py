"""Learning on memory mapping: the one place that names its network and recipe. Uses torch.

The network answers `encode`, `logits` and `value`, as every family's does; see rl_module.py. No
policy of this family is shipped yet: `sysopt-gym train memory_mapping_ppo` makes one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..core.budget import Budget
from ..core.contracts import Solver
from ..core.errors import SettingError
from ..datasets.memory_mapping.instance import Program
from ..envs.memory_mapping.env import MallocGameEnv
from ..envs.memory_mapping.observation import DECISION_FEATURES, GLOBAL_FEATURES
from .recipe import Recipe

MASKED = -1e9
SUPPLY, ACTIONS = 24, 3
PATCH = 4  # of the occupancy picture, in bins and instructions

Observation = dict[str, Tensor]


class Encoded(NamedTuple):
    """The situation, float32 [B, d]."""

    context: Tensor


class DecisionPolicy(nn.Module):
    """Policy and value over observations of sysopt/MallocGame-v0 (see its docstring for shapes).

    The decision at hand attends to those ahead; the occupancy picture is read in patches.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.decision = nn.Linear(len(DECISION_FEATURES), width)
        self.ahead = nn.MultiheadAttention(width, 2, batch_first=True)
        self.picture = nn.Sequential(nn.Conv2d(1, 8, PATCH, PATCH), nn.ReLU(), nn.Flatten())
        self.rest = nn.LazyLinear(width)
        self.hidden = nn.Linear(2 * width, width)
        self.scores = nn.Linear(width, ACTIONS)
        self.worth = nn.Linear(width, 1)
        with torch.no_grad():
            self.rest(
                torch.zeros(1, 8 * (32 // PATCH) ** 2 + SUPPLY + len(GLOBAL_FEATURES) + width)
            )

    def encode(self, obs: Observation) -> Encoded:
        """What is known of the situation."""
        tokens = torch.relu(self.decision(obs["decisions"].float()))
        now, _ = self.ahead(tokens[:, :1], tokens, tokens, need_weights=False)
        seen = self.picture(obs["occupancy"].float().unsqueeze(1))
        parts = [seen, obs["supply"].float(), obs["globals"].float(), tokens.mean(1)]
        rest = torch.relu(self.rest(torch.cat(parts, dim=1)))
        own = torch.cat([tokens[:, 0] + now[:, 0], rest], dim=1)
        return Encoded(torch.relu(self.hidden(own)))

    def logits(self, encoded: Encoded, obs: Observation) -> Tensor:
        """Masked scores of Copy, NoCopy and Drop [B, 3]."""
        scores = self.scores(encoded.context)
        return torch.where(obs["action_mask"] > 0, scores, torch.full_like(scores, MASKED))

    def value(self, encoded: Encoded) -> Tensor:
        """Expected return [B]."""
        worth: Tensor = self.worth(encoded.context)
        return worth.squeeze(-1)


class Sample(NamedTuple):
    """An observation and the action to imitate."""

    observation: dict[str, np.ndarray]
    action: int


def lessons(
    network: nn.Module,
    instances: Sequence[Program],
    solver: Solver | None,
    budget: Budget,
    own_play: bool,
    rng: np.random.Generator,
) -> list[Sample]:
    """Every decision of a solver's plans; see Recipe. States of own play are not used."""
    if solver is None:
        raise SettingError("imitation.contender: name the contender whose plans are imitated")
    env = MallocGameEnv(instances)
    samples = []
    for program in instances:
        plan = solver(program, budget, int(rng.integers(1 << 30))).actions
        observation, _ = env.reset(options={"instance": program})
        for action in plan.tolist():
            samples.append(Sample(dict(observation), int(action)))
            observation, _, ended, _, _ = env.step(action)
            if ended:
                break
    return samples


def imitate(
    network: DecisionPolicy,
    samples: Sequence[Sample],
    optimizer: torch.optim.Optimizer,
    batch_size: int,
    rng: np.random.Generator,
    progress: Callable[[float], None],
) -> float:
    """One pass of cross-entropy over samples; returns its mean. See Recipe."""
    order = rng.permutation(len(samples))
    total = 0.0
    for first in range(0, len(order), batch_size):
        batch = [samples[i] for i in order[first : first + batch_size]]
        obs = _stack([sample.observation for sample in batch])
        scores = network.logits(network.encode(obs), obs)
        loss = nn.functional.cross_entropy(scores, torch.tensor([s.action for s in batch]))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        total += float(loss.detach()) * len(batch)
        progress((first + len(batch)) / len(order))
    return total / max(1, len(samples))


def score(network: DecisionPolicy, instances: Sequence[Program]) -> dict[str, float]:
    """Mean time of the likeliest actions' plans, as a part of the all-slow time."""
    env = MallocGameEnv(instances)
    times = []
    for program in instances:
        observation, info = env.reset(options={"instance": program})
        ended = False
        while not ended:
            with torch.inference_mode():
                obs = _stack([observation])
                action = int(network.logits(network.encode(obs), obs).argmax())
            observation, _, ended, _, info = env.step(action)
        times.append(1.0 / info["objective"])
    return {"time": float(np.mean(times))}


def _stack(observations: Sequence[dict[str, Any]]) -> Observation:
    keys = observations[0]
    return {key: torch.as_tensor(np.stack([o[key] for o in observations])) for key in keys}


RECIPE = Recipe(
    network=DecisionPolicy,
    module=".agents.rl_module:DecisionModule",
    lessons=lessons,
    imitate=imitate,
    score=score,
    chosen_by="time",
)
