"""JAX functions become programs, equation by equation; without jax the remedy is told."""

from __future__ import annotations

import sys
from typing import Any

import jax
import numpy as np
import pytest
from sysopt_gym.core.errors import InstanceError, MissingDependencyError
from sysopt_gym.datasets.memory_mapping.instance import OUT, Program
from sysopt_gym.datasets.memory_mapping.jax_trace import program_of_function

X, W = np.zeros((64, 128), np.float32), np.zeros((128, 32), np.float32)


def traced(function: Any, *inputs: Any) -> Program:
    return program_of_function(function, *inputs, name="f", capacity="1MiB")


def test_a_function_becomes_its_equations_with_their_flops() -> None:
    program = traced(lambda x, w: jax.jit(jax.nn.relu)(x @ w).reshape(-1), X, W)
    assert program.instr_flops[0] == 2 * 64 * 128 * 32
    assert program.tensor_size[program.tensor_kind == OUT].tolist() == [64 * 32 * 4]


def test_a_scans_body_counts_with_its_length() -> None:
    def recurrence(x: Any, w: Any) -> Any:
        def body(carry: Any, row: Any) -> Any:
            carry = carry + row @ w
            return carry, carry

        return jax.lax.scan(body, x[0] @ w, x)

    program = traced(recurrence, np.zeros((16, 64, 128), np.float32), W)
    total = (program.instr_flops * program.instr_repeat).sum()
    assert total == pytest.approx(17 * 2 * 64 * 128 * 32 + 16 * 64 * 32)
    assert (program.tensor_alias >= 0).any()


def test_a_function_that_jax_refuses_is_refused_with_its_reason() -> None:
    with pytest.raises(InstanceError, match="jax cannot trace the function"):
        traced(lambda x: x if x.sum() > 0 else -x, X)


def test_without_jax_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jax", None)
    with pytest.raises(MissingDependencyError, match="needs jax; pip install"):
        traced(lambda x: x, X)
