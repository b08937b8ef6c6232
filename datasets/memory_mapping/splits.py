"""Named instance sets: the embedded splits of synthetic programs and the embedded real programs,
with how they were made.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import count, islice
from pathlib import Path

import numpy as np

from ...core.errors import InstanceError
from ...core.files import write_bytes
from ...core.instance import load_archive, save_archive
from ..sets import data_folder, members
from .generator import generate
from .instance import Program, roofline
from .loaders import load_file

EMBEDDED = Path(__file__).parent / "embedded"

SETS: Mapping[str, str] = {
    "hlo": "7 real programs compiled by XLA (MLP, ResNet-18, U-Net, GPT-2, LSTM), fast memory of "
    "1/4 of the peak",
    "synthetic:train": "48 generated programs of 60 to 1,000 decisions, for training",
    "synthetic:more": "352 programs that follow synthetic:train's, generated when asked for",
    "synthetic:val": "8 generated programs for choosing between models",
    "synthetic:test": "12 generated programs for the final figures",
    "synthetic:unseen": "15 programs that follow synthetic:test's, generated when asked for",
    "small:train": "48 generated programs of 12 to 80 decisions, for training",
    "small:val": "8 small programs for choosing between models",
    "small:test": "12 small programs for the final figures",
}

# Sets that go on behind an embedded one: which, from which of its sequence on, how many.
FURTHER = {
    "synthetic:more": ("synthetic:train", 48, 352),
    "synthetic:unseen": ("synthetic:test", 15, 15),
}
# Every split draws from seeds of its own; the splits never meet.
FIRST_SEED = {
    name: 100_000 * (1 + row) for row, name in enumerate(n for n in SETS if n not in FURTHER)
}
SIZES = {
    "synthetic:train": 48, "synthetic:val": 8, "synthetic:test": 12,
    "small:train": 48, "small:val": 8, "small:test": 12,
}  # fmt: skip
DECISIONS = {"synthetic": (60, 1000), "small": (12, 80)}
KINDS = ("chain", "residual", "unet", "transformer", "dag")
CAPACITIES = ("1/8", "1/4", "1/2")
LEAST_IDEAL = 1.15  # all-slow time over all-fast time below which there is little to play for

# Compiled by XLA for CPU (jax 0.10.2) from small JAX models of this project's own.
HLO_FILES = (
    "mlp_fwd", "mlp_train", "resnet18_224_fwd", "resnet18_224_train", "unet128_fwd", "gpt2s_x4_fwd",
    "lstm_T64_scan_fwd",
)  # fmt: skip


def load_set(name: str) -> list[Program]:
    """The instances of a set; "SET/3" is a list of its instance 3 alone.

    Raises:
        UnknownNameError: no such set, or no such instance in it.
    """
    return members(name, SETS, "memory_mapping instance set", _embedded)


@cache
def _embedded(name: str) -> tuple[Program, ...]:
    if name in FURTHER:
        sequence, first, size = FURTHER[name]
        programs = islice(split_instances(sequence), first, first + size)
        return tuple(
            dataclasses.replace(program, name=f"{name}/{k}") for k, program in enumerate(programs)
        )
    return tuple(load_archive(Program, EMBEDDED / archive_name(name)))


def archive_name(name: str) -> str:
    """File name of an embedded set."""
    return name.replace(":", "-") + ".zip"


def make_splits(folder: Path = EMBEDDED) -> None:
    """Makes every embedded set again, and hashes.json with the content hash of each instance.

    Raises:
        InstanceError: a dump is not in the data folder.
        OutputError: the folder cannot be written.
    """
    made = {"hlo": real_programs()}
    for name, size in SIZES.items():
        draws = split_instances(name)
        made[name] = [next(draws) for _ in range(size)]
    hashes = {}
    for name, instances in made.items():
        save_archive(instances, folder / archive_name(name))
        hashes[name] = [instance.content_hash for instance in instances]
    write_bytes(folder / "hashes.json", (json.dumps(hashes, indent=1) + "\n").encode())


def real_programs() -> list[Program]:
    """The programs of set hlo, imported from the dumps in the data folder.

    Raises:
        InstanceError: a dump is missing.
    """
    programs = []
    for name in HLO_FILES:
        path = data_folder() / "programs" / "hlo" / f"{name}.hlo.txt.gz"
        if not path.is_file():
            raise InstanceError(
                f"hlo: no file {path}; set SYSOPT_DATA to the folder that holds "
                f"programs/hlo/{path.name}"
            )
        programs.append(dataclasses.replace(load_file(path), name=f"hlo/{name}"))
    return programs


def split_instances(name: str) -> Iterator[Program]:
    """The endless sequence whose first `SIZES[name]` instances are the embedded split."""
    family = name.partition(":")[0]
    low, high = DECISIONS[family]
    kept = 0
    for seed in count(FIRST_SEED[name]):
        program = _draw(family, kept, seed)
        if program is not None and low <= program.n_decisions <= high:
            yield dataclasses.replace(program, name=f"{name}/{kept}")
            kept += 1


def _draw(family: str, kept: int, seed: int) -> Program | None:
    """A program of the kind and the part of the peak whose turn it is; None where nothing fits."""
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
