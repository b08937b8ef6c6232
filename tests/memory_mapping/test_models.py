"""The reference models are programs of the sizes they are said to have."""

from __future__ import annotations

from typing import Any

import pytest
from sysopt_gym.datasets.memory_mapping.instance import roofline

# Instructions, operations in 10^9, decisions at 4 MiB. Operator by operator they follow from the
# architectures; GPT-2's are the published ones, ResNet-18's those without the taps on padding.
FACTS = {
    "mlp": (12, 3.2, 30),
    "unet": (38, 4.5, 95),
    "unet_train": (184, 13.4, 368),
    "resnet18": (68, 3.4, 159),
    "gpt2_x4": (96, 71.8, 180),
    "moe": (156, 18.5, 306),
    "alphatensor": (217, 24.8, 542),
    "lstm": (1538, 8.6, 4291),
}
QUICK, LONG = ("mlp", "unet"), ("lstm", "alphatensor", "moe", "unet_train")


def _marked(name: str) -> Any:
    """A parameter of a test, with the marks of its length."""
    if name in QUICK:
        return name
    return pytest.param(name, marks=pytest.mark.long if name in LONG else pytest.mark.slow)


@pytest.mark.parametrize("name", map(_marked, FACTS))
def test_a_model_is_imported_at_its_size(name: str) -> None:
    from sysopt_gym.benchmarks.models import import_model

    program = import_model(name, "4MiB")
    gflop = float(program.instr_flops.sum()) / 1e9
    assert (program.n_instrs, round(gflop, 1), program.n_decisions) == FACTS[name]
    times = roofline(program)
    assert times.all_fast_s < times.all_slow_s
