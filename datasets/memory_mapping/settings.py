"""Settings a user may put on a program, and how they are read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from ...core.contracts import Setting
from ...core.errors import SettingError
from ..setting_texts import whole
from .hardware import DEFAULT, Hardware, hardware_names, load_hardware
from .instance import DEAD_ENDS, Program, peak_bytes
from .sizes import read_capacity

DEFAULT_CAPACITY = "1/4"  # fraction of the program's peak
DEFAULT_TRIPS = "1"
MAX_TRIPS = 10**9

SETTINGS: Mapping[str, Setting] = {
    "capacity": Setting(
        DEFAULT_CAPACITY, "fast memory: bytes, 8MiB, or a fraction of the program's peak"
    ),
    "trips": Setting(
        DEFAULT_TRIPS, "how often a file's loop runs where the file does not tell; used in reading"
    ),
    "hardware": Setting(DEFAULT, f"profile for the times: {', '.join(hardware_names())}"),
    "dead_end": Setting(DEAD_ENDS[0], f"where no action is legal: {', '.join(DEAD_ENDS)}"),
}


def on_hardware(program: Program, hardware: Hardware) -> Program:
    """Return a program timed for other hardware; the capacity stays.

    An instruction with known FLOPs takes flops / hardware.flops seconds to compute; one without
    keeps its time.

    Args:
        program: any program.
        hardware: profile to take rates and alignment from.
    """
    known = program.instr_flops > 0
    return dataclasses.replace(
        program,
        hardware=hardware.name,
        alignment=min(hardware.alignment, program.capacity),
        slow_bw=hardware.slow_bw,
        fast_read_bw=hardware.fast_read_bw,
        fast_write_bw=hardware.fast_write_bw,
        copy_scale=hardware.copy_scale,
        instr_compute_s=np.where(
            known, program.instr_flops / hardware.flops, program.instr_compute_s
        ),
    )


def read_trips(values: Mapping[str, str]) -> int:
    """Return how often a loop of unknown trip count is to run.

    Args:
        values: texts by the names in SETTINGS.

    Raises:
        SettingError: not a whole number from 0 to MAX_TRIPS.
    """
    return whole({"trips": DEFAULT_TRIPS, **values}, "trips", MAX_TRIPS)


def with_settings(program: Program, values: Mapping[str, str]) -> Program:
    """Return a program with settings replaced: hardware, then capacity, then dead ends.

    The trips of a program's loops are settled when it is read.

    Args:
        program: any program.
        values: texts by the names in SETTINGS, as given by `--set`.

    Raises:
        SettingError: a value cannot be read.
        UnknownNameError: no such hardware profile.
        InstanceError: a value is impossible.
    """
    read_trips(values)
    if "hardware" in values:
        program = on_hardware(program, load_hardware(values["hardware"]))
    if "capacity" in values:
        capacity = read_capacity(values["capacity"], lambda: peak_bytes(program))
        if capacity < program.alignment:
            raise SettingError(
                f"setting capacity={values['capacity']!r} is {capacity} bytes, less than the "
                f"alignment of {program.alignment}; give a larger capacity"
            )
        program = dataclasses.replace(program, capacity=capacity)
    if "dead_end" in values:
        program = dataclasses.replace(program, dead_end=values["dead_end"])
    return program
