"""Read users' files into clusters: snapshots (bytedance.py, host_tables.py), traces (traces.py).

The format is recognized by the content, not by the file's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ...core.errors import InstanceError
from ...core.files import files_in, kind_of, opened
from ...core.instance import load_single
from ..files import NO_SETTINGS, read_file
from ..host_lists import Reading
from .bytedance import load_bytedance
from .host_tables import is_pair, load_pair
from .instance import Cluster
from .settings import READ_BY_FILES, reading_of, with_settings
from .traces import SQLITE_MAGIC, load_azure, load_csv

__all__ = ["FORMATS", "load_bytedance", "load_file"]

FORMATS = (
    "VMR2L JSON, hosts.csv and vms.csv in a folder or zip, an Alibaba openb or Huawei-East-1 CSV, "
    "an Azure Packing sqlite file, or an instance saved by this library"
)


def load_file(path: Path, settings: Mapping[str, str] = NO_SETTINGS) -> Cluster:
    """Read the cluster in a user's file.

    Supported are: a snapshot in VMR2L's JSON schema; a table of hosts and one of VMs in a folder or
    zip; either file of an Alibaba openb pair (the other one is found beside it); a Huawei-East-1
    event trace (CSV) or an Azure Packing 2020 trace (sqlite), replayed to the time with the most
    running VMs; and what this library saved itself (.npz, or a .zip set of one instance). Any of
    them may be packed (gzip, bzip2, xz). `load_openb`, `load_huawei` and `load_azure` in traces.py
    accept another time and host type.

    Args:
        path: the file or folder.
        settings: texts by the names in SETTINGS.

    Raises:
        InstanceError: the file is none of these or is malformed; names file, record, field and
            remedy.
        SettingError: a setting cannot be used.
    """
    reading = reading_of(settings)
    cluster, applied = _read(path, reading)
    left = {key: text for key, text in settings.items() if key not in applied}
    return with_settings(cluster, left)


def _read(path: Path, reading: Reading) -> tuple[Cluster, tuple[str, ...]]:
    """Return the cluster, and the settings that it was read with."""
    if kind_of(path) == "folder" and is_pair([one.name for one in files_in(path)]):
        return load_pair(path, None, reading), READ_BY_FILES
    with opened(path) as stream:
        head = stream.read(16)
    if head == SQLITE_MAGIC:
        return load_azure(path), ()
    file = read_file(path, "split the snapshot by cluster")
    if file.data.startswith(SQLITE_MAGIC):
        return load_azure(path), ()
    if file.is_zip and is_pair(file.members()):
        return load_pair(path, file, reading), READ_BY_FILES
    if file.is_zip:
        return load_single(Cluster, path, file.data), ()
    text = file.text(FORMATS)
    if text.lstrip()[:1] in ("{", "["):
        return load_bytedance(path, text, reading), READ_BY_FILES
    if "," in text.partition("\n")[0]:
        return load_csv(path, text), ()
    raise InstanceError(f"{path}: not a known format; give {FORMATS}")
