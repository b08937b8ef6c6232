"""Named instance sets of memory mapping: real programs, and splits of generated and drawn ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import partial
from itertools import count, islice
from pathlib import Path

import numpy as np

from ...core.errors import InstanceError
from ..sets import Drawn, Embedded, Sets, public_file
from .generator import generate
from .instance import Program, roofline
from .loaders import load_file
from .models.recipes import ARCHITECTURES, SEEN, draw_programs

# Each split has its own range of seeds, so that no two share an instance.
FIRST_SEED = {
    "synthetic:train": 200_000, "synthetic:val": 300_000, "synthetic:test": 400_000,
    "small:train": 500_000, "small:val": 600_000, "small:test": 700_000,
}  # fmt: skip
MODELS_FIRST_SEED = {"models:train": 800_000, "models:val": 900_000, "models:test": 1_000_000}
DECISIONS = {"synthetic": (60, 1000), "small": (12, 80)}
KINDS = ("chain", "residual", "unet", "transformer", "dag")
CAPACITIES = ("1/8", "1/4", "1/2")
LEAST_IDEAL = 1.15  # all-slow time over all-fast time; below it there is little to gain

# Compiled by XLA for CPU (jax 0.10.2) from small JAX models of this project's own.
HLO_FILES = (
    "mlp_fwd", "mlp_train", "resnet18_224_fwd", "resnet18_224_train", "unet128_fwd", "gpt2s_x4_fwd",
    "lstm_T64_scan_fwd",
)  # fmt: skip
HLO_SOURCE = "this project's HLO dumps"


def real_programs() -> list[Program]:
    """Read the programs of set hlo from the HLO dumps in the data folder.

    Raises:
        InstanceError: a dump is missing.
    """
    programs = []
    for name in HLO_FILES:
        path = public_file("hlo", f"programs/hlo/{name}.hlo.txt.gz", HLO_SOURCE)
        programs.append(dataclasses.replace(load_file(path), name=f"hlo/{name}"))
    return programs


def split_instances(name: str) -> Iterator[Program]:
    """Generate the endless sequence whose first instances are an embedded split.

    Args:
        name: name of the split, a key of FIRST_SEED.
    """
    family = name.partition(":")[0]
    low, high = DECISIONS[family]
    kept = 0
    for seed in count(FIRST_SEED[name]):
        program = _draw(family, kept, seed)
        if program is not None and low <= program.n_decisions <= high:
            yield dataclasses.replace(program, name=f"{name}/{kept}")
            kept += 1


def _draw(family: str, kept: int, seed: int) -> Program | None:
    """Generate one program of a split; return None if it gains too little or is invalid.

    Args:
        family: "synthetic" or "small".
        kept: position in the split; decides kind and capacity.
        seed: seed of the program.
    """
    rng = np.random.default_rng([seed, 0x3A110C])
    kind = KINDS[kept % len(KINDS)]
    train = int(rng.integers(2))
    deep = kind in ("transformer", "residual", "unet")
    most = {"synthetic": 9 if deep else 60, "small": 2 if deep else 8}[family]
    parameters = {
        "kind": kind,
        "layers": str(int(rng.integers(1 if family == "small" else 2, most + 1))),
        "width": str(int(rng.integers(8, 65)) * 16),
        "batch": str(int(rng.integers(4, 33)) * 8),
        "train": str(train),
        "capacity": CAPACITIES[(kept // len(KINDS)) % len(CAPACITIES)],
    }
    try:
        program = generate(parameters, seed)
    except InstanceError:
        return None
    times = roofline(program)
    return program if times.all_slow_s >= LEAST_IDEAL * times.all_fast_s else None


def _embedded(name: str, size: int, about: str) -> Embedded[Program]:
    return Embedded(name, about, size, partial(split_instances, name))


def _further(name: str, split: str, first: int, size: int, about: str) -> Drawn[Program]:
    """Declare a set of `size` programs of an embedded split's sequence, from `first` on."""

    def draw() -> Iterator[Program]:
        for row, program in enumerate(islice(split_instances(split), first, first + size)):
            yield dataclasses.replace(program, name=f"{name}/{row}")

    return Drawn(name, about, draw)


def _models(name: str, size: int, architectures: tuple[str, ...], about: str) -> Drawn[Program]:
    """Declare a set of `size` imported networks; see models/recipes.py."""

    def draw() -> Iterator[Program]:
        return islice(draw_programs(name, architectures, MODELS_FIRST_SEED[name]), size)

    return Drawn(name, f"{size} {about}", draw)


SETS: Sets[Program] = Sets(
    Program,
    [
        Embedded(
            "hlo",
            "7 real programs compiled by XLA (MLP, ResNet-18, U-Net, GPT-2, LSTM), fast memory of "
            "1/4 of the peak",
            len(HLO_FILES),
            real_programs,
        ),
        _embedded(
            "synthetic:train", 48, "48 generated programs of 60 to 1,000 decisions, for training"
        ),
        _further(
            "synthetic:more", "synthetic:train", 48, 352,
            "352 programs that follow synthetic:train's, generated when asked for",
        ),
        _embedded("synthetic:val", 8, "8 generated programs for choosing between models"),
        _embedded("synthetic:test", 12, "12 generated programs for the final figures"),
        _further(
            "synthetic:unseen", "synthetic:test", 15, 15,
            "15 programs that follow synthetic:test's, generated when asked for",
        ),
        _embedded("small:train", 48, "48 generated programs of 12 to 80 decisions, for training"),
        _embedded("small:val", 8, "8 small programs for choosing between models"),
        _embedded("small:test", 12, "12 small programs for the final figures"),
        _models(
            "models:train", 128, SEEN,
            "networks drawn and imported from PyTorch and JAX, forward and as train steps",
        ),
        _models(
            "models:val", 16, SEEN, "drawn networks of the same architectures, to choose models by"
        ),
        _models(
            "models:test", 24, tuple(ARCHITECTURES),
            "drawn networks for the final figures, 8 of architectures that models:train lacks",
        ),
    ],
    Path(__file__).parent / "embedded",
)  # fmt: skip
