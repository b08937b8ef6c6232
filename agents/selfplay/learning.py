"""PPO's learner and module for segments of compiled self-play."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.evaluation.postprocessing import Postprocessing
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from torch import Tensor

from ...core.errors import TrainingError
from ..rl_module import PolicyModule
from .groups import group_size, less_the_group
from .segment import Segment, self_play_of

MOMENTS = "moments"
LEAST_DEVIATION = 1e-4  # that advantages are divided by, as RLlib's


class SegmentModule(PolicyModule):
    """PolicyModule that learns from what self-play recorded, not from padded observations."""

    def setup(self) -> None:
        """Build the family's network, and find its self-play."""
        super().setup()
        self.self_play = self_play_of(self.model_config)

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        assert self.self_play is not None  # else setup.py would have chosen another module
        logits, values = self.self_play.judge(self.network, batch[MOMENTS])
        return {Columns.ACTION_DIST_INPUTS: logits, Columns.EMBEDDINGS: values}

    def compute_values(self, batch: dict[str, Any], embeddings: Any = None) -> Tensor:
        """Return the expected returns, float32 [T].

        Args:
            batch: a minibatch.
            embeddings: them, by `_forward_train`.
        """
        values: Tensor = embeddings
        return values


class SegmentLearner(PPOTorchLearner):  # type: ignore[misc]
    """RLlib's learner of PPO over minibatches of segments.

    Advantages come from the values that self-play noted, so nothing is computed twice, and a family
    makes its minibatches itself: they need not be padded, nor hold an observation for each step.
    """

    def build(self) -> None:
        """Build the learner."""
        super().build()
        self._told: list[tuple[str, float, int]] = []

    def _create_iterator_if_necessary(
        self, *, training_data: Any, num_epochs: int = 1, minibatch_size: int | None = None,
        **others: Any,
    ) -> Iterator[MultiAgentBatch]:  # fmt: skip
        """Make the minibatches of all passes; see RLlib's learner."""
        segments: list[Segment[Any]] = training_data.episodes
        self_play = self.module[DEFAULT_MODULE_ID].unwrapped().self_play
        env_steps = sum(map(len, segments))
        segments = [segment for segment in segments if len(segment.actions)]
        if not segments:
            raise TrainingError("no instance that was played offers any choice; give others")
        columns = self._columns(segments)
        moments = [segment.moments for segment in segments]
        count = len(columns[Columns.ACTIONS])
        # Weights change in the middle of an update, so its number is part of the seed.
        rng = np.random.default_rng([self.config.seed or 0, self._weights_seq_no])
        for _ in range(num_epochs):
            for batch in self_play.minibatches(moments, minibatch_size or count, rng):
                known = type(batch.moments)(*(part.to(self.device) for part in batch.moments))
                rows = torch.from_numpy(batch.rows)
                learned = {name: column[rows].to(self.device) for name, column in columns.items()}
                learned |= {Columns.ACTION_DIST_INPUTS: self_play.recorded(known), MOMENTS: known}
                # As many steps as come to each moment, for RLlib's counts.
                share = max(1, round(env_steps * len(rows) / count))
                yield MultiAgentBatch({DEFAULT_MODULE_ID: SampleBatch(learned)}, share)

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        """Take Adam as RLlib's learner does, with all parameters in one call."""
        module = self._module[module_id]
        parameters = self.get_parameters(module)
        optimizer = torch.optim.Adam(parameters, fused=True)
        self.register_optimizer(
            module_id=module_id, optimizer=optimizer, params=parameters,
            lr_or_lr_schedule=config.lr,
        )  # fmt: skip

    def take_advantages(self, shares: Any) -> list[tuple[str, float, int]]:
        """Hand over what curricula learn from, see curriculum/rllib.py: for each segment of the
        last batch its id, the sum of |advantage| over its moments, and how many these are.

        Args:
            shares: None; all of a batch is learned from.
        """
        told, self._told = self._told, []
        return told

    def _columns(self, segments: list[Segment[Any]]) -> dict[str, Tensor]:
        """Return what each of the T moments is learned from, [T] each."""
        gamma, lambda_ = self.config.gamma, self.config.lambda_
        advantages = np.concatenate([one.advantages(gamma, lambda_) for one in segments])
        values = np.concatenate([one.values[:-1] for one in segments])
        targets = advantages + values
        if group_size(self.config) > 1:
            advantages = less_the_group(segments, advantages)
        advantages = (advantages - advantages.mean()) / max(LEAST_DEVIATION, advantages.std())
        ends = np.cumsum([len(one.actions) for one in segments])[:-1]
        self._told = [
            (one.id_, float(np.abs(part).sum()), len(part))
            for one, part in zip(segments, np.split(advantages, ends), strict=True)
        ]
        return {
            Columns.ACTIONS: torch.from_numpy(np.concatenate([one.actions for one in segments])),
            Columns.ACTION_LOGP: torch.from_numpy(
                np.concatenate([one.log_probabilities for one in segments])
            ),
            Postprocessing.ADVANTAGES: torch.from_numpy(advantages.astype(np.float32)),
            Postprocessing.VALUE_TARGETS: torch.from_numpy(targets.astype(np.float32)),
        }
