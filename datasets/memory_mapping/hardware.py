"""Hardware profiles: bandwidths and peak FLOP/s of the machines a program is timed for.

The numbers and their sources are in configs/hardware.toml.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ...core.lookup import check_name

TABLE = Path(__file__).parents[2] / "configs" / "hardware.toml"
DEFAULT = "tpu-like"


@dataclass(frozen=True, slots=True)
class Hardware:
    """One machine.

    Attributes:
        name: its name in `--set hardware=`.
        slow_bw: bandwidth of slow memory, bytes/s, reads and writes together.
        fast_read_bw: read bandwidth of fast memory, bytes/s.
        fast_write_bw: write bandwidth of fast memory, bytes/s.
        flops: floating-point operations per second that an instruction reaches.
        copy_scale: speed of copies between the memories, as a fraction of slow_bw.
        alignment: offsets in fast memory are multiples of this, bytes.
        source: where the numbers come from, and which are assumptions.
    """

    name: str
    slow_bw: float
    fast_read_bw: float
    fast_write_bw: float
    flops: float
    copy_scale: float
    alignment: int
    source: str


def hardware_names() -> list[str]:
    """Return the names of the profiles."""
    return list(_table())


def load_hardware(name: str) -> Hardware:
    """Return a hardware profile.

    Args:
        name: name of the profile.

    Raises:
        UnknownNameError: no such profile.
    """
    return _table()[check_name(name, _table(), "hardware profile")]


@cache
def _table() -> dict[str, Hardware]:
    document = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    return {name: Hardware(name=name, **values) for name, values in document.items()}
