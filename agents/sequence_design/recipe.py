"""How the policy of sequence design is trained: the one place that names its network, its lessons
and its score. Uses torch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ...datasets.sequence_design.instance import DesignTask
from ...envs.sequence_design.env import SequenceDesignEnv
from ..batches import stack
from ..recipe import Recipe
from .imitation import imitate, lessons
from .network import SequencePolicy


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
                obs = stack([observation])
                chances = network.logits(network.encode(obs), obs).softmax(1)
                action = int(torch.multinomial(chances, 1, generator=rng))
            observation, _, ended, _, info = env.step(action)
        short.append(1.0 - info["objective"])
    return {"shortfall": float(np.mean(short))}


RECIPE = Recipe(
    network=SequencePolicy,
    lessons=lessons,
    imitate=imitate,
    score=score,
    chosen_by="shortfall",
)
