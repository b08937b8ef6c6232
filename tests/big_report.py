"""Rows of a large comparison, made without playing: as many families, contenders and instances as
asked for, under real names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from sysopt_gym.core.contracts import Direction, Role
from sysopt_gym.core.registry import contender_names, family_names, load_problem
from sysopt_gym.core.results import Row, Status
from sysopt_gym.evaluation.cells import Folder

SPREAD = 0.03  # most contenders are so near the best one
OBJECTIVES: dict[str, tuple[str, Direction]] = {
    "federated_lr": ("accuracy", "maximize"),
    "memory_mapping": ("speedup", "maximize"),
    "sequence_design": ("median_score", "maximize"),
    "sequence_parallelism": ("step_time_ms", "minimize"),
    "vm_allocation": ("rejected", "minimize"),
    "vm_rescheduling": ("fragment_rate", "minimize"),
}


def big_folder(path: Path, instances: int = 100, contenders: int = 15, families: int = 6) -> Folder:
    """A folder with the rows of a comparison, and what its command was."""
    names = sorted(family_names())[:families]
    rows = [row for family in names for row in rows_of(family, instances, contenders)]
    path.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row.to_json()) + "\n" for row in rows)
    (path / "rows.jsonl").write_text(text)
    folder = Folder(path)
    folder.write_run({"command": "sysopt-gym compare --out big"})
    return folder


def rows_of(family: str, instances: int, contenders: int) -> list[Row]:
    """The rows of a family: contenders from 0 to SPREAD behind the best, one of them far behind;
    some late, some infeasible, some with claims that do not stand."""
    problem, rng = load_problem(family), np.random.default_rng(len(family))
    name, direction = OBJECTIVES[family]
    first = [*problem.defaults.contenders, *problem.defaults.always, problem.defaults.baseline]
    chosen = list(dict.fromkeys([*first, *contender_names(family)]))[:contenders]
    sign, rows = (1.0 if direction == "minimize" else -1.0), []
    behind = np.append(np.linspace(0.0, SPREAD, len(chosen) - 1), 0.6)
    wall = rng.uniform(0.001, 0.9, len(chosen))
    place_of = problem.defaults.instances[0].partition("/")[0]
    for at in range(instances):
        best = rng.uniform(0.4, 0.6)
        for place, contender in enumerate(chosen):
            gap = float(behind[place] * rng.uniform(0.5, 1.5))
            status, role = _status(rng), _role(problem, contender)
            failed, value = status != "feasible", best * (1.0 + sign * gap)
            null = best * (1.0 + sign)
            found = null if failed else value
            wall_s = float(wall[place] * rng.uniform(0.8, 1.2))
            rows.append(
                Row(
                    family=family, instance=f"{place_of}/{at}",
                    instance_hash=f"{family}-{at}", contender=contender, role=role, form="planner",
                    seed=0, world_seed=at, objective=value, scored_objective=found,
                    null_objective=null, objective_name=name, direction=direction, feasible=True,
                    status=status, is_live=False, wall_s=wall_s, cpu_s=wall_s, setup_s=0.1,
                    budget_s=1.0, late=failed, env_version=problem.env_version,
                    curve=((wall_s / 4, null), (wall_s / 2, value)),
                    detail={"steps": float(rng.integers(5, 50)), "left_over": rng.uniform()},
                    note="claims a bound that is not one" if place == 3 and at % 7 == 1 else "",
                    bound=best * (1.0 - sign * 0.01) if place == 0 else None,
                    versions={"sysopt-gym": "0"}, provenance={"entry_point": f"m:{contender}"},
                )
            )  # fmt: skip
    return rows


def _status(rng: np.random.Generator) -> Status:
    return "late" if rng.uniform() < 0.01 else "feasible"


def _role(problem: object, contender: str) -> Role:
    return "agent" if contender in ("agent", "ppo", "alphazero", "potential") else "solver"
