"""The family as one class, by which solvers, agents and the evaluation know it."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from ...core.problem import Defaults, Problem
from ...datasets.memory_mapping.generator import PARAMETERS, generate
from ...datasets.memory_mapping.instance import Program, accesses, peak_bytes, roofline
from ...datasets.memory_mapping.loaders import load_file
from ...datasets.memory_mapping.settings import SETTINGS, with_settings
from ...datasets.memory_mapping.splits import SETS
from ...datasets.memory_mapping.template import template
from . import FAMILY
from .dynamics import DROP
from .objective import objective_of
from .plan import export_plan
from .validate import validate

MIB = 2**20


class MemoryMapping(Problem[Program]):
    """Memory mapping of a program's tensors (after mallocGame, 2023)."""

    family = "memory_mapping"
    env_id = FAMILY.env_id
    env_version = "4"
    title = "Map a program's tensors to fast memory so that it runs sooner (mallocGame, 2023)"
    instance_type = Program
    sets = SETS
    generator_parameters = PARAMETERS
    settings = SETTINGS
    defaults = Defaults(
        instances=("hlo/4", "hlo/2", "synthetic:test/3"),
        contenders=(
            "agent", "alphazero", "ppo", "portfolio", "milp", "local_search", "beam",
            "threshold", "xla_msa", "greedy", "random", "all_slow",
        ),
        budget_s=2.0,
        always=("random", "greedy"),
        baseline="xla_msa",
    )  # fmt: skip
    pictures = ".evaluation.pictures.memory_mapping:pictures"
    benchmark = ".benchmarks.memory_mapping:measure"

    load_file = staticmethod(load_file)
    template = staticmethod(template)
    generate = staticmethod(generate)
    apply_settings = staticmethod(with_settings)
    objective = staticmethod(objective_of)
    validate = staticmethod(validate)
    export_plan = staticmethod(export_plan)

    @staticmethod
    @cache
    def warm_up_instance() -> Program:
        """Make a small train step with updates in place and dead ends; it meets every compiled
        path.
        """
        return generate({"kind": "chain", "layers": "3", "train": "1", "capacity": "0.35"}, 1)

    def describe(self, program: Program) -> dict[str, Any]:
        """List facts for `data info` and the report."""
        a, times = accesses(program), roofline(program)
        peak = peak_bytes(program)
        large = (a.size > program.capacity) & ~a.placeable
        return {
            "instructions": program.n_instrs,
            "tensors": program.n_tensors,
            "buffers": len(a.size),
            "decisions": int(a.decides.sum()),
            "buffers larger than fast memory": int(large.sum()),
            "GFLOP": round(float((program.instr_flops * program.instr_repeat).sum()) / 1e9, 3),
            "peak (MiB)": round(peak / MIB, 3),
            "fast memory (MiB)": round(program.capacity / MIB, 3),
            "fast memory / peak": f"{program.capacity / max(peak, 1):.1%}",
            "hardware": program.hardware,
            "all-slow time (us)": round(times.all_slow_s * 1e6, 3),
            "waits for slow memory": f"{times.memory_bound_s / max(times.all_slow_s, 1e-300):.1%}",
            "waits for computation": f"{times.compute_bound_s / max(times.all_slow_s, 1e-300):.1%}",
            "speed-up if all were fast": round(times.all_slow_s / max(times.all_fast_s, 1e-300), 3),
            "dead_end": program.dead_end,
        }

    def null_plan(self, program: Program) -> np.ndarray:
        """Leave everything in slow memory."""
        return np.full(program.n_decisions, DROP, np.int64)


PROBLEM = MemoryMapping()
