"""The family as one class, by which solvers, agents and the evaluation know it."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from ...core.problem import Defaults, Problem
from ...datasets.sequence_parallelism.generator import PARAMETERS, generate
from ...datasets.sequence_parallelism.instance import (
    TrainingBatch,
    device_tokens,
    largest_group,
    state_memory,
)
from ...datasets.sequence_parallelism.loaders import load_file
from ...datasets.sequence_parallelism.settings import SETTINGS, with_settings
from ...datasets.sequence_parallelism.splits import SETS
from ...datasets.sequence_parallelism.template import template
from . import FAMILY
from .groups import groups_limit, kinds_of, order_of
from .objective import objective_of, work_bound
from .plan import export_plan
from .validate import validate


class SequenceParallelism(Problem[TrainingBatch]):
    """Groups of devices for the sequences of a training step (after FlexSP, ASPLOS 2025)."""

    family = "sequence_parallelism"
    env_id = FAMILY.env_id
    env_version = "1"
    title = "Group devices so that a training step on unlike sequences ends sooner (FlexSP, 2025)"
    instance_type = TrainingBatch
    sets = SETS
    generator_parameters = PARAMETERS
    settings = SETTINGS
    defaults = Defaults(
        instances=("wiki-192k:test/0", "crawl-192k:test/1", "small:test/0"),
        contenders=(
            "agent", "ppo", "milp", "local_search", "flexsp", "greedy", "best_fit", "first_fit",
            "single_degree", "ulysses", "random",
        ),
        budget_s=1.0,
        always=("random", "greedy"),
        baseline="single_degree",
    )  # fmt: skip
    pictures = ".evaluation.pictures.sequence_parallelism:pictures"

    load_file = staticmethod(load_file)
    template = staticmethod(template)
    generate = staticmethod(generate)
    apply_settings = staticmethod(with_settings)
    objective = staticmethod(objective_of)
    validate = staticmethod(validate)
    export_plan = staticmethod(export_plan)

    @staticmethod
    @cache
    def warm_up_instance() -> TrainingBatch:
        """Make a dozen sequences on eight devices; they meet every compiled path."""
        return generate({"sequences": "12", "devices": "8", "context": "32K", "shape": "crawl"}, 0)

    def describe(self, batch: TrainingBatch) -> dict[str, Any]:
        """List facts for `data info` and the report."""
        classes = zip(batch.class_names, batch.class_devices.tolist(), strict=True)
        held = int((device_tokens(batch) * batch.class_devices).sum())
        return {
            "sequences": len(batch.lengths),
            "training steps": batch.n_steps,
            "tokens": int(batch.lengths.sum()),
            "median length": int(np.median(batch.lengths)),
            "longest": int(batch.lengths.max()),
            "context": batch.context,
            "devices": ", ".join(f"{count} {name}" for name, count in classes),
            "degrees": ", ".join(str(degree) for degree in np.unique(kinds_of(batch).degree)),
            "model": batch.model,
            "model states (MiB a device)": round(state_memory(batch)),
            "tokens that all devices hold": held,
            "tokens that the largest group holds": largest_group(batch),
            "least time (ms)": round(work_bound(batch, kinds_of(batch)), 1),
        }

    def null_plan(self, batch: TrainingBatch) -> np.ndarray:
        """Run each sequence alone, on as many devices as a group may have."""
        kinds, limit = kinds_of(batch), groups_limit(batch)
        ordered = order_of(batch)
        steps = batch.step[ordered]
        place = np.arange(len(steps)) - np.searchsorted(steps, steps)
        largest = int(kinds.capacity.argmax())
        plan: np.ndarray = limit + place * len(kinds.degree) + largest
        return plan


PROBLEM = SequenceParallelism()
