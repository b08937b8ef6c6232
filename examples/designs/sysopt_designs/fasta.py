"""A file format: FASTA whose headers end in a measured score, `>name 0.37`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from sysopt_gym.core.errors import InstanceError
from sysopt_gym.datasets.sequence_design.instance import DesignTask
from sysopt_gym.datasets.sequence_design.loaders import measured_task


def load_file(path: Path, settings: Mapping[str, str]) -> DesignTask:
    """Read measured sequences.

    Args:
        path: the file.
        settings: of the family, texts by name.

    Raises:
        InstanceError: the file is malformed; the message names the line.
    """
    sequences: list[str] = []
    scores: list[float] = []
    places: list[str] = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        place = f"{path}, line {number}"
        if line.startswith(">"):
            try:
                scores.append(float(line.split()[-1]))
            except ValueError as error:
                raise InstanceError(
                    f"{place}: {line!r} ends in no score; write >name 0.37"
                ) from error
            sequences.append("")
            places.append(place)
        elif sequences:
            sequences[-1] += line.strip()
        elif line.strip():
            raise InstanceError(f"{place}: a sequence without a header; write >name 0.37 above it")
    return measured_task(path.stem, str(path), sequences, np.array(scores), places, settings)
