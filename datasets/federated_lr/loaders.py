"""Reads users' data sets into federations: idx and CIFAR-10 images, LEAF's JSON, tables of numbers,
plays, and this library's own files.

The format is told from the content, never from the file's name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...core.errors import InstanceError
from ...core.files import read_bytes
from ...core.instance import load_single
from .images import Images, cifar_images, idx_images, is_cifar, is_idx, unpacked
from .instance import Federation
from .leaf import leaf_federation
from .partition import federation_of
from .tables import is_optdigits, optdigits, table_federation
from .text import LEAST_CHARACTERS, LENGTH, is_play, rows_of_play

ZIP = b"PK\x03\x04"
WIDTH = 32  # of a text's model


def load_file(path: Path) -> Federation:
    """The federation in a user's file, plain or gzipped.

    Read are: idx images (MNIST, Fashion-MNIST, EMNIST), the labels' file beside them; a binary
    batch of CIFAR-10; LEAF's JSON (FEMNIST, Shakespeare), users as clients; CSV with a column
    `label`, and `client` if rows lie with clients; UCI's optdigits; a play, speakers as clients;
    and what this library saved itself (.npz, or a .zip set of one instance). 15 % of the rows are
    held out for validation, 15 % for the test. Rows without clients are partitioned among 100 (one
    for each 10 rows, if that is less) by Dirichlet(0.5); the settings `clients` and `skew` say
    otherwise.

    Raises:
        InstanceError: the file is none of these or is malformed; names file, row and remedy.
    """
    data = read_bytes(path)
    if data.startswith(ZIP):
        return load_single(Federation, path, data)
    data = unpacked(path, data)
    name = path.name.split(".")[0]
    try:
        if is_idx(data):
            return _of_images(name, idx_images(path, data))
        if is_cifar(data):
            return _of_images(name, cifar_images(data), classes=10)
        return _of_text(path, name, text_of(path, data))
    except InstanceError as error:
        if not str(error).startswith(f"{name}: "):
            raise
        raise InstanceError(f"{path}: {error}") from error


def _of_images(name: str, images: Images, **terms: Any) -> Federation:
    return federation_of(name, images.pixels, images.labels, **terms)


def text_of(path: Path, data: bytes) -> str:
    """The text of a file.

    Raises:
        InstanceError: it is no UTF-8.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InstanceError(
            f"{path}: neither text nor a known binary format (byte {error.start}: {error.reason}); "
            "give idx images, a CIFAR-10 batch, LEAF's JSON, CSV, a play, or this library's .npz"
        ) from error


def _of_text(path: Path, name: str, text: str) -> Federation:
    place = str(path)
    if text.lstrip().startswith("{"):
        return leaf_federation(place, name, text)
    if is_optdigits(text):
        pixels, labels = optdigits(place, text)
        return _of_images(name, Images(pixels, labels))
    if is_play(text):
        return play_federation(place, name, text)
    return table_federation(place, name, text)


def play_federation(
    place: str,
    name: str,
    text: str,
    length: int = LENGTH,
    least: int = LEAST_CHARACTERS,
    **terms: Any,
) -> Federation:
    """The federation of a play: its speakers continue their texts, character by character.

    Args:
        place: for errors.
        name: of the federation.
        text: "SPEAKER:" and lines, an empty line between speeches.
        length: characters of a row.
        least: characters that a speaker must say to be a client.
        terms: see partition.federation_of; a GRU of 32 units where nothing else is asked for.

    Raises:
        InstanceError: nobody says as much.
    """
    rows = rows_of_play(place, text, length, least)
    for key, value in (("model", "gru"), ("width", WIDTH), ("classes", rows.letters)):
        terms.setdefault(key, value)
    return federation_of(name, rows.inputs, rows.labels, owner=rows.owner, **terms)
