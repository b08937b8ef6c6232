"""The report's pictures of sequence parallelism and the numbers they show."""

from __future__ import annotations

import numpy as np
import pytest
from result_rows import make_row
from sysopt_gym.core.contracts import World
from sysopt_gym.core.results import Row
from sysopt_gym.datasets.sequence_parallelism.generator import generate
from sysopt_gym.datasets.sequence_parallelism.instance import TrainingBatch
from sysopt_gym.envs.sequence_parallelism.env import SequenceParallelismEnv
from sysopt_gym.envs.sequence_parallelism.plan import carried_out
from sysopt_gym.envs.sequence_parallelism.problem import PROBLEM
from sysopt_gym.evaluation.pictures.sequence_parallelism import _bars, pictures

COLORS = {"first": "#0072b2", "last": "#d55e00"}
TWO = {
    "sequences": "9", "devices": "4+4", "memory": "30+50", "speed": "1+2", "context": "16K",
    "shape": "crawl", "steps": "2",
}  # fmt: skip


def run(batch: TrainingBatch, contender: str) -> Row:
    """A judged run of a policy that takes the first legal action, or the last one."""
    env = SequenceParallelismEnv(batch)
    env.reset()
    plan, ended = [], False
    while not ended:
        plan.append(int(np.flatnonzero(env.action_masks())[0 if contender == "first" else -1]))
        _, ended = env.advance(plan[-1])
    verdict = PROBLEM.validate(batch, np.array(plan), World())
    return make_row(
        contender, batch.name, verdict.objective, instance_hash=batch.content_hash, actions=plan
    )


def test_the_best_and_the_worst_plan_and_everyone_s_memory_are_drawn() -> None:
    batch = generate(TWO, 0)
    rows = [run(batch, name) for name in COLORS]
    found = pictures(rows, {batch.content_hash: batch}, COLORS)
    assert len(found) == 3 and all(one.png.startswith(b"\x89PNG") for one in found)
    assert {one.instances for one in found} == {(batch.content_hash,)}
    best = min(rows, key=lambda row: row.objective)
    assert f"under {best.contender}'s plan, {best.objective:.0f} ms" in found[0].title
    assert "the devices are busy" in found[0].result
    assert all(name in found[2].result for name in COLORS)
    assert pictures([], {}, {}) == []


@pytest.mark.parametrize("seed", range(3))
def test_bars_are_the_groups_and_do_not_overlap(seed: int) -> None:
    batch = generate(TWO, seed)
    row = run(batch, "first")
    done = carried_out(batch, np.array(row.actions))
    bars = _bars(batch, done.table, done.states[0])
    micro = np.searchsorted(bars.ends, bars.begin, side="right")
    for one in range(len(bars.ends)):
        inside = np.flatnonzero(micro == one)
        taken = np.zeros(8, np.int64)
        for group in inside.tolist():
            taken[bars.low[group] : bars.low[group] + bars.degree[group]] += 1
        assert taken.max() == 1 and taken.sum() == bars.degree[inside].sum()
        assert (bars.begin + bars.time)[inside].max() == pytest.approx(bars.ends[one])
    # Every group of a class of little memory keeps to it.
    memory = np.where(bars.low < 4, 30.0, 50.0)
    assert (bars.gib <= memory).all() and (bars.gib > 0).all()
    total = sum(_bars(batch, done.table, state).ends[-1] for state in done.states)
    assert total == pytest.approx(row.objective)
