"""Streams: what their batches are, and what waiting for plans costs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from sysopt_gym.core.contracts import World
from sysopt_gym.core.errors import SettingError, SolutionError
from sysopt_gym.datasets.sequence_parallelism.generator import ORDERS, generate
from sysopt_gym.datasets.sequence_parallelism.instance import TrainingBatch
from sysopt_gym.envs.sequence_parallelism.problem import PROBLEM
from sysopt_gym.methods.sequence_parallelism.stream import train_on

STREAM = {"sequences": "8", "devices": "8", "context": "32K", "steps": "4"}


def tokens(batch: TrainingBatch) -> np.ndarray:
    return np.bincount(batch.step, batch.lengths)


def test_orders_change_when_sequences_come_and_not_which() -> None:
    given = {"sequences": "512", "steps": "8"}
    mixed, shards, drift = (generate(given | {"order": order}, 0) for order in ORDERS)
    assert sorted(mixed.lengths) == sorted(shards.lengths) == sorted(drift.lengths)
    assert tokens(shards).std() > 2 * tokens(mixed).std()
    assert np.corrcoef(tokens(drift), np.arange(8))[0, 1] > 0.8
    with pytest.raises(SettingError, match="order='falling'; give one of mixed, shards, drift"):
        generate({"order": "falling"}, 0)


def test_steps_planned_apart_take_what_the_stream_takes() -> None:
    batch = generate(STREAM, 0)
    done = train_on(batch, 1.0, lambda one, seconds: PROBLEM.null_plan(one))
    whole = PROBLEM.validate(batch, PROBLEM.null_plan(batch), World())
    assert done.step_ms.sum() == pytest.approx(whole.objective)


def test_training_waits_for_the_first_plan_and_for_what_is_late() -> None:
    batch, now, given = generate(STREAM, 0), [0.0], []

    def plan(one: TrainingBatch, seconds: float) -> np.ndarray:
        given.append(seconds)
        now[0] += 1e3 if len(given) == 3 else 0.5
        return PROBLEM.null_plan(one)

    done = train_on(batch, 1e4, plan, lambda: now[0])
    # A plan may take as long as the step before it.
    assert given == [1e4, *(done.step_ms[:-1] / 1e3)]
    late = 1e6 - done.step_ms[1]
    assert done.waiting_ms.tolist() == pytest.approx([500.0, 0.0, late, 0.0])
    assert done.total_ms == pytest.approx(done.step_ms.sum() + 500.0 + late)


def test_a_plan_that_is_not_whole_names_its_step() -> None:
    batch = dataclasses.replace(generate(STREAM, 0), name="corpus")
    with pytest.raises(SolutionError, match="corpus/step 0"):
        train_on(batch, 1.0, lambda one, seconds: np.zeros(0, np.int64))
