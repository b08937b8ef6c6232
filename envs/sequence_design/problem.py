"""The family's Problem: what the solvers, the agents and the evaluation know it by."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

import numpy as np

from ...core.contracts import Problem
from ...datasets.sequence_design.generator import PARAMETERS, generate
from ...datasets.sequence_design.instance import DesignTask, seal
from ...datasets.sequence_design.loaders import load_file
from ...datasets.sequence_design.settings import SETTINGS, with_settings
from ...datasets.sequence_design.splits import SETS, load_set
from ...datasets.sequence_design.tables import DNA
from .dynamics import best_offline
from .objective import objective_of
from .plan import export_plan
from .validate import diversity, validate


def describe(task: DesignTask) -> dict[str, Any]:
    """Facts for `data info` and the report."""
    pairs = task.letters**2
    some = np.random.default_rng(0).permutation(len(task.scores))[:200]
    return {
        "alphabet": task.alphabet,
        "letters of a sequence": task.length,
        "designs asked for": task.batch_size,
        "offline sequences": len(task.scores),
        "hidden sequences": len(task.hidden_scores),
        "worst offline score": round(float(task.scores.min()), 6),
        "median offline score": round(float(np.median(task.scores)), 6),
        "best offline score": round(float(task.scores.max()), 6),
        "letters two offline sequences differ in": round(diversity(task.sequences[some]), 2),
        "banned pairs of letters": f"{int(task.banned.sum())} of {pairs}",
        "oracle": "sealed" if task.sealed else task.handle()["landscape"],
        "scores of new designs are": "ESTIMATES" if task.estimated else "exact",
    }


@cache
def warm_up_instance() -> DesignTask:
    """A small Ehrlich function, asked for few designs, so that every compiled path is met once; in
    letters that language models of DNA and of proteins both know.
    """
    task = generate(
        {"states": "4", "length": "6", "motifs": "1", "motif_length": "3", "quantization": "3",
         "rows": "256", "ceiling": "0.7"},
        1,
    )  # fmt: skip
    return dataclasses.replace(with_settings(task, {"batch": "6"}), alphabet=DNA)


def nothing(task: DesignTask) -> np.ndarray:
    """The best of the offline set, again and again where it holds too few."""
    rows = best_offline(task, task.batch_size)
    return np.resize(rows.astype(np.int64), task.batch_size * task.length)


PROBLEM = Problem(
    family="sequence_design",
    env_id="sysopt/SequenceDesign-v0",
    env_version="2",
    title="Design biological sequences from measured ones, offline (after BIB, ICML 2023)",
    instance_type=DesignTask,
    instance_sets=SETS,
    load_set=load_set,
    load_file=load_file,
    generate=generate,
    generator_parameters=PARAMETERS,
    settings=SETTINGS,
    apply_settings=with_settings,
    objective=objective_of,
    validate=validate,
    warm_up_instance=warm_up_instance,
    describe=describe,
    export_plan=export_plan,
    default_instances=("ehrlich:small/0", "ehrlich:medium/0"),
    default_contenders=(
        "agent",
        "muzero",
        "ppo",
        "ga",
        "coms",
        "gradient_ascent",
        "bib",
        "bdi",
        "cma_es",
        "proxy_exhaustive",
        "random",
        "offline_best",
    ),
    default_budget_s=10.0,
    always=("random", "offline_best"),
    baseline="ga",
    pictures=".envs.sequence_design.pictures:pictures",
    benchmarks={"sequence_design": ".benchmarks.sequence_design:measure"},
    shown=seal,
    nothing=nothing,
)
