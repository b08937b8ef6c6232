"""The family as one class, by which solvers, agents and the evaluation know it."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

import numpy as np

from ...core.problem import Defaults, Problem
from ...datasets.sequence_design.generator import PARAMETERS, generate
from ...datasets.sequence_design.instance import DesignTask, seal
from ...datasets.sequence_design.landscape_tables import DNA
from ...datasets.sequence_design.landscapes import open_oracle
from ...datasets.sequence_design.loaders import load_file
from ...datasets.sequence_design.settings import SETTINGS, with_settings
from ...datasets.sequence_design.splits import SETS
from ...datasets.sequence_design.template import template
from . import FAMILY
from .designs import best_offline
from .objective import objective_of
from .plan import export_plan
from .rules import starting_designs
from .validate import diversity, validate

MOST_LISTED = 12  # positions or motifs in a description


class SequenceDesign(Problem[DesignTask]):
    """Offline design of biological sequences (after BIB, Chen et al., ICML 2023)."""

    family = "sequence_design"
    env_id = FAMILY.env_id
    env_version = "3"
    title = "Design biological sequences from measured ones, offline (after BIB, ICML 2023)"
    instance_type = DesignTask
    sets = SETS
    generator_parameters = PARAMETERS
    settings = SETTINGS
    defaults = Defaults(
        instances=("ehrlich:small/0", "ehrlich:medium/0"),
        contenders=(
            "agent", "alphazero", "ppo", "ga", "coms", "gradient_ascent", "bib", "bdi",
            "cma_es", "proxy_exhaustive", "random", "offline_best",
        ),
        budget_s=10.0,
        always=("random", "offline_best"),
        baseline="ga",
    )  # fmt: skip
    pictures = ".evaluation.pictures.sequence_design:pictures"
    benchmark = ".benchmarks.sequence_design:measure"

    load_file = staticmethod(load_file)
    template = staticmethod(template)
    generate = staticmethod(generate)
    apply_settings = staticmethod(with_settings)
    objective = staticmethod(objective_of)
    validate = staticmethod(validate)
    export_plan = staticmethod(export_plan)
    contender_view = staticmethod(seal)
    open_oracle = staticmethod(open_oracle)

    @staticmethod
    @cache
    def warm_up_instance() -> DesignTask:
        """Make a small Ehrlich function, asked for few designs; it meets every compiled path, in
        letters that language models of DNA and of proteins both know.
        """
        task = generate(
            {"states": "4", "length": "6", "motifs": "1", "motif_length": "3", "quantization": "3",
             "rows": "256", "ceiling": "0.7"},
            1,
        )  # fmt: skip
        return dataclasses.replace(with_settings(task, {"batch": "6"}), alphabet=DNA)

    def environment_view(self, task: DesignTask) -> DesignTask:
        """Keep the oracle where there are several rounds: the environment has batches measured."""
        return task if task.rounds > 1 else seal(task)

    def describe(self, task: DesignTask) -> dict[str, Any]:
        """List facts for `data info` and the report."""
        pairs = task.letters**2
        some = np.random.default_rng(0).permutation(len(task.scores))[:200]
        return {
            "alphabet": task.alphabet,
            "letters of a sequence": task.length,
            "designs asked for": task.batch_size,
            **({"rounds, each of so many designs": task.rounds} if task.rounds > 1 else {}),
            "offline sequences": len(task.scores),
            "hidden sequences": len(task.hidden_scores),
            "worst offline score": round(task.sign * float(task.scores.min()), 6),
            "median offline score": round(task.sign * float(np.median(task.scores)), 6),
            "best offline score": round(task.sign * float(task.scores.max()), 6),
            "letters two offline sequences differ in": round(diversity(task.sequences[some]), 2),
            "banned pairs of letters": f"{int(task.banned.sum())} of {pairs}",
            **_rules(task),
            "oracle": "sealed" if task.sealed else task.handle()["landscape"],
            "scores of new designs are": "ESTIMATES" if task.estimated else "exact",
        }

    def null_plan(self, task: DesignTask) -> np.ndarray:
        """Return the best of the offline set that keeps the rules, repeated where it is too few;
        starts that are mended where it is none.
        """
        rows = best_offline(task, task.designs_asked)
        if not len(rows):
            rows = starting_designs(task)
        return np.resize(rows.astype(np.int64), task.designs_asked * task.length)


def _rules(task: DesignTask) -> dict[str, Any]:
    """List the rules that a task has, for `describe`."""
    free = 1 + np.flatnonzero((~task.barred).sum(axis=1) > 1)
    found: dict[str, Any] = {}
    if task.negated:
        found["better scores are"] = "lower"
    if task.wild_type:
        found["wild type"] = task.wild_type
    if task.barred.any():
        some = ", ".join(map(str, free[:MOST_LISTED])) + ", ..." * (len(free) > MOST_LISTED)
        found["positions that may vary"] = f"{len(free)} of {task.length}: {some}"
    if task.forbidden:
        some = ", ".join(task.forbidden[:MOST_LISTED])
        found["forbidden motifs"] = some + ", ..." * (len(task.forbidden) > MOST_LISTED)
    if task.most_changes:
        one = len(task.references) == 1
        found["letters changed at most"] = (
            f"{task.most_changes} from the {'' if one else 'nearest of '}"
            f"{'reference' if one else f'{len(task.references)} references'}"
        )
    return found


PROBLEM = SequenceDesign()
