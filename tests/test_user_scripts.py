"""The examples of other libraries: each runs, is short, and closes the loop with an objective."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
# A length at which each ends within seconds; none is expected to have learned much by then.
LENGTHS = {
    "continuous_rates_sb3.py": ["--steps", "64"],
    "maskable_ppo_sb3.py": ["--steps", "128"],
    "offline_bc.py": ["--steps", "1", "--programs", "2", "--algorithm", "marwil"],
    "ppo_cleanrl.py": ["--steps", "1"],
    "rllib_tune.py": ["--steps", "1", "--trials", "1"],
    "torchrl_ppo.py": ["--steps", "64"],
}
# Two start ray and its data library; of what trains with PyTorch alone the shortest stay.
LONG = (
    "continuous_rates_sb3.py", "maskable_ppo_sb3.py", "offline_bc.py", "rllib_tune.py",
    "torchrl_ppo.py",
)  # fmt: skip
# A busy machine takes its time to start ray, which is to join no other test's cluster.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1", "RAY_raylet_start_wait_time_s": "300", "RAY_ADDRESS": "local",
}  # fmt: skip


def lines_of_code(path: Path) -> int:
    """Lines of statements, docstrings left out."""
    text = path.read_text()
    lines: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        is_doc = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if isinstance(node, ast.stmt) and not is_doc:
            ends = node.body[0].lineno if hasattr(node, "body") else node.end_lineno + 1
            lines |= set(range(node.lineno, max(ends, node.lineno + 1)))
    return sum(bool(line.strip()) for n, line in enumerate(text.splitlines(), 1) if n in lines)


def test_every_script_is_run_and_short() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(LENGTHS)
    for name in LENGTHS:
        assert lines_of_code(EXAMPLES / name) < 60, name


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [pytest.param(one, marks=[pytest.mark.long] * (one in LONG)) for one in LENGTHS],
)
def test_a_script_trains_and_prints_the_objective_beside_a_solvers(
    name: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *LENGTHS[name]], cwd=tmp_path,
        capture_output=True, text=True, env=os.environ | ENVIRONMENT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    told = done.stdout[-600:]
    trained = [float(number) for number in re.findall(r"trained (\d+\.\d+)", told)]
    solver = [float(number) for number in re.findall(r"(?:greedy|rates\)):? (\d+\.\d+)", told)]
    assert len(solver) == 1 and solver[0] > 0, told
    # A loss is positive, and no plan is slower than all-slow by half.
    assert (trained and all(number > 0.5 for number in trained)) or "loss" in told, told
