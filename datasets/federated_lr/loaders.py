"""Read users' data sets into federations: idx, CIFAR-10, LEAF's JSON, CSV, plays, saved instances.

The format is recognized by the content, not by the file's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...core.instance import load_single
from ..files import NO_SETTINGS, UserFile, naming, read_file
from .images import Images, cifar_images, idx_images, is_cifar, is_idx
from .instance import Federation
from .leaf import leaf_federation
from .optdigits import is_optdigits, optdigits
from .partition import federation_of
from .settings import READING, with_settings
from .tabular import table_federation
from .text import LEAST_CHARACTERS, LENGTH, is_play, rows_of_play

FORMATS = (
    "idx images, a CIFAR-10 batch, LEAF's JSON, a table, a play, or an instance saved by this "
    "library"
)
WIDTH = 32  # hidden units of the model of a text


def load_file(path: Path, settings: Mapping[str, str] = NO_SETTINGS) -> Federation:
    """Read the federation in a user's file, plain or packed.

    Supported are: idx images (MNIST, Fashion-MNIST, EMNIST) with the labels' file beside them; a
    binary batch of CIFAR-10; LEAF's JSON (FEMNIST, Shakespeare, synthetic), users as clients;
    tables with a column of labels, and of clients if rows belong to some (see
    `tabular.table_federation`); UCI's optdigits; a play, speakers as clients; and what this library
    saved itself (.npz, or a .zip set of one instance). 15 % of the rows are held out for
    validation, 15 % for the test. Rows without clients are partitioned among 100 clients (one for
    each 10 rows, if that is less) by Dirichlet(0.5), unless the settings `clients` and `skew` say
    otherwise.

    Args:
        path: the file.
        settings: texts by the names in SETTINGS.

    Raises:
        InstanceError: the file is none of these or is malformed; names file, row and remedy.
        SettingError: a setting cannot be used.
    """
    file = read_file(path)
    if file.is_zip:
        return with_settings(load_single(Federation, path, file.data), settings)
    with naming(str(path)):
        return _read(file, settings)


def _read(file: UserFile, settings: Mapping[str, str]) -> Federation:
    place, name = str(file.path), file.stem
    if is_idx(file.data) or is_cifar(file.data):
        return with_settings(_pictured(file), settings)
    text = file.text(FORMATS)
    if not (text.lstrip().startswith("{") or is_optdigits(text) or is_play(text)):
        rest = {key: value for key, value in settings.items() if key not in READING}
        return with_settings(table_federation(place, name, text, settings), rest)
    return with_settings(_of_text(place, name, text), settings)


def _pictured(file: UserFile) -> Federation:
    if is_idx(file.data):
        return _of_images(file.stem, idx_images(file.path, file.data))
    return _of_images(file.stem, cifar_images(file.data), classes=10)


def _of_images(name: str, images: Images, **terms: Any) -> Federation:
    return federation_of(name, images.pixels, images.labels, **terms)


def _of_text(place: str, name: str, text: str) -> Federation:
    if text.lstrip().startswith("{"):
        return leaf_federation(place, name, text)
    if is_optdigits(text):
        pixels, labels = optdigits(place, text)
        return _of_images(name, Images(pixels, labels))
    return play_federation(place, name, text)


def play_federation(
    place: str,
    name: str,
    text: str,
    length: int = LENGTH,
    least: int = LEAST_CHARACTERS,
    **terms: Any,
) -> Federation:
    """Make a federation of a play: speakers are clients, and predict the next character.

    Args:
        place: the file, for error messages.
        name: name of the federation.
        text: "SPEAKER:" and lines, an empty line between speeches.
        length: characters in a row, L.
        least: characters that a speaker must say to be a client.
        **terms: arguments of partition.federation_of; the default model is a GRU of 32 units.

    Raises:
        InstanceError: no speaker says enough, or the text has more than 256 different characters.
    """
    rows = rows_of_play(place, text, length, least)
    for key, value in (("model", "gru"), ("width", WIDTH), ("classes", rows.letters)):
        terms.setdefault(key, value)
    return federation_of(name, rows.inputs, rows.labels, owner=rows.owner, **terms)
