"""Read users' files into data centers; the format is recognized by the content."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ...core.errors import InstanceError
from ...core.instance import load_single
from ..files import NO_SETTINGS, read_file
from .instance import DataCenter
from .settings import with_settings

FORMATS = "an instance saved by this library (.npz, or a .zip set of one instance)"


def load_file(path: Path, settings: Mapping[str, str] = NO_SETTINGS) -> DataCenter:
    """Read the data center in a user's file.

    Args:
        path: the file.
        settings: texts by the names in SETTINGS.

    Raises:
        InstanceError: the file is of no known format or is malformed.
        SettingError: a setting cannot be used.
    """
    file = read_file(path, "give a part of the trace")
    if not file.is_zip:
        raise InstanceError(f"{path}: not a known format; give {FORMATS}")
    return with_settings(load_single(DataCenter, path, file.data), settings)
