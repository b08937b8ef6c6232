"""Learning on sequence design: the one place that names its network and recipe. Uses torch.

The network answers `encode`, `logits` and `value`, as every family's does; see rl_module.py. No
policy of this family is shipped yet: `sysopt-gym train sequence_design_ppo` makes one.
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
from ..datasets.sequence_design.instance import MOST_LETTERS, DesignTask
from ..envs.sequence_design.env import SequenceDesignEnv
from ..envs.sequence_design.observation import PROGRESS, VALUES
from .recipe import Recipe

MASKED = -1e9
WAVES = 8  # sines and cosines of a position

Observation = dict[str, Tensor]


class Encoded(NamedTuple):
    """The sequence so far, float32 [B, d]."""

    context: Tensor


class SequencePolicy(nn.Module):
    """Policy and value over observations of sysopt/SequenceDesign-v0, form construct (see its
    docstring for shapes).

    Letters with their positions attend to each other; the next letter is scored from the last ones
    and the whole. Of any length, and of any alphabet up to MOST_LETTERS.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.letter = nn.Embedding(MOST_LETTERS + 1, width)
        self.place = nn.Linear(2 * WAVES, width)
        self.among = nn.MultiheadAttention(width, 2, batch_first=True)
        self.whole = nn.Linear(2 * width + len(PROGRESS) + len(VALUES), width)
        self.hidden = nn.Linear(width, width)
        self.scores = nn.Linear(width, MOST_LETTERS)
        self.worth = nn.Linear(width, 1)

    def encode(self, obs: Observation) -> Encoded:
        """What is known of the sequence."""
        tokens = obs["tokens"].long()
        letters = obs["action_mask"].shape[1]
        length = tokens.shape[1]
        known = tokens < letters
        turns = torch.arange(length, device=tokens.device).float().unsqueeze(1)
        waves = turns / 2.0 ** torch.arange(WAVES, device=tokens.device)
        place = self.place(torch.cat([waves.sin(), waves.cos()], dim=1))
        embedded = torch.relu(self.letter(tokens.clamp(max=MOST_LETTERS)) + place)
        now = known.sum(1, keepdim=True).clamp(max=length - 1)
        asks = place[now]  # [B, 1, d]; from the place of the next letter
        # What is not there yet is not looked at; an empty sequence looks at its first pad.
        absent = ~known
        absent[:, 0] = False
        seen, _ = self.among(asks, embedded, embedded, absent, need_weights=False)
        before = (now - 1).clamp(min=0).unsqueeze(2).expand(-1, -1, embedded.shape[2])
        last = embedded.gather(1, before)
        parts = [seen.squeeze(1), last.squeeze(1), obs["progress"].float(), obs["values"].float()]
        whole = torch.relu(self.whole(torch.cat(parts, dim=1)))
        return Encoded(torch.relu(self.hidden(whole)))

    def logits(self, encoded: Encoded, obs: Observation) -> Tensor:
        """Masked scores of the letters [B, V]."""
        mask = obs["action_mask"]
        scores = self.scores(encoded.context)[:, : mask.shape[1]]
        return torch.where(mask > 0, scores, torch.full_like(scores, MASKED))

    def value(self, encoded: Encoded) -> Tensor:
        """Expected return [B]."""
        worth: Tensor = self.worth(encoded.context)
        return worth.squeeze(-1)


class Sample(NamedTuple):
    """An observation and the letter to imitate."""

    observation: dict[str, np.ndarray]
    action: int


def lessons(
    network: nn.Module,
    instances: Sequence[DesignTask],
    solver: Solver | None,
    budget: Budget,
    own_play: bool,
    rng: np.random.Generator,
) -> list[Sample]:
    """Every letter of a solver's batches; see Recipe. States of own play are not used."""
    if solver is None:
        raise SettingError("imitation.contender: name the contender whose designs are imitated")
    samples = []
    for task in instances:
        env = SequenceDesignEnv(task)
        plan = solver(env.instances[0], budget, int(rng.integers(1 << 30))).actions
        observation, _ = env.reset()
        for action in plan.tolist():
            samples.append(Sample(dict(observation), int(action)))
            observation, *_ = env.step(action)
    return samples


def imitate(
    network: SequencePolicy,
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


def score(network: SequencePolicy, instances: Sequence[DesignTask]) -> dict[str, float]:
    """Mean of 1 less what the proxy expects of a sampled batch, repeats padded; the proxy's, for
    the oracle is the judge's alone.
    """
    short = []
    for task in instances:
        env = SequenceDesignEnv(task)
        rng = torch.Generator().manual_seed(0)
        observation, info = env.reset(seed=0)
        ended = False
        while not ended:
            with torch.inference_mode():
                obs = _stack([observation])
                chances = network.logits(network.encode(obs), obs).softmax(1)
                action = int(torch.multinomial(chances, 1, generator=rng))
            observation, _, ended, _, info = env.step(action)
        short.append(1.0 - info["objective"])
    return {"shortfall": float(np.mean(short))}


def _stack(observations: Sequence[dict[str, Any]]) -> Observation:
    keys = observations[0]
    return {key: torch.as_tensor(np.stack([o[key] for o in observations])) for key in keys}


RECIPE = Recipe(
    network=SequencePolicy,
    module=".agents.rl_module:SequenceModule",
    lessons=lessons,
    imitate=imitate,
    score=score,
    chosen_by="shortfall",
)
