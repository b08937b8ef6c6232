"""Read images: the idx files of MNIST and similar sets, and CIFAR-10's binary batches."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...core.errors import InstanceError
from ..files import read_file

IDX = b"\x00\x00\x08"  # first bytes of an idx file of bytes; the fourth counts its dimensions
BRIGHTEST = 255
MOST_DIMENSIONS = 4
CIFAR_SIDE, CIFAR_CLASSES = 32, 10
CIFAR_RECORD = 1 + 3 * CIFAR_SIDE**2  # a label, then red, green and blue
# Parts of the names of a pair: train-images-idx3-ubyte.gz and train-labels-idx1-ubyte.gz.
_SWAPS = (("images", "labels"), ("idx3", "idx1"))


class Images(NamedTuple):
    """Images and their labels.

    Attributes:
        pixels: float32 [N, channels, height, width] in 0..1.
        labels: int64 [N].
    """

    pixels: np.ndarray
    labels: np.ndarray


def is_idx(data: bytes) -> bool:
    """Whether a file's content is an idx file of bytes."""
    return len(data) >= 4 and data[:3] == IDX


def idx_images(path: Path, data: bytes) -> Images:
    """Read the images of an idx file and the labels of the file beside it; either may be given.

    Args:
        path: the file; the other one's name has labels-idx1 in place of images-idx3.
        data: content of the file, unpacked.

    Raises:
        InstanceError: a file is malformed, the other one is missing, or their lengths differ.
    """
    other = _companion(path)
    found = (path, _idx(path, data)), (other, _idx(other, read_file(other).data))
    (labels_at, labels), (images_at, images) = sorted(found, key=lambda pair: pair[1].ndim)
    if images.ndim != 3 or labels.ndim != 1:
        raise InstanceError(
            f"{path} and {other}: have {images.ndim} and {labels.ndim} dimensions; expected images "
            "[N, height, width] and labels [N]"
        )
    if len(images) != len(labels):
        raise InstanceError(
            f"{labels_at}: has {len(labels)} labels for the {len(images)} images of {images_at}; "
            "give the two files of one set"
        )
    return Images(_scaled(images[:, None]), labels.astype(np.int64))


def _companion(path: Path) -> Path:
    name = path.name
    here = int("images" not in name)
    for pair in _SWAPS:
        name = name.replace(pair[here], pair[1 - here])
    if name == path.name:
        raise InstanceError(
            f"{path}: an idx file needs its other half; call them NAME-images-idx3-ubyte and "
            "NAME-labels-idx1-ubyte (or .gz), in one folder"
        )
    bare = name.removesuffix(".gz")
    for candidate in (path.with_name(name), path.with_name(bare), path.with_name(bare + ".gz")):
        if candidate.is_file():
            return candidate
    what = ("labels", "images")[here]
    raise InstanceError(f"{path}: its {what} are missing; put {name} into {path.parent}")


def _idx(path: Path, data: bytes) -> np.ndarray:
    if not is_idx(data):
        raise InstanceError(f"{path}: not an idx file of bytes, which begins with 00 00 08")
    start = 4 + 4 * data[3]
    if not data[3] or len(data) < start:
        raise InstanceError(f"{path}: ends within its head of {start} bytes; download it again")
    if data[3] > MOST_DIMENSIONS:
        raise InstanceError(
            f"{path}: has {data[3]} dimensions; expected images [N, height, width] or labels [N]"
        )
    shape = tuple(int(n) for n in np.frombuffer(data[4:start], ">u4"))
    if 0 in shape:
        raise InstanceError(f"{path}: is empty ({' x '.join(map(str, shape))} values)")
    size = start + math.prod(shape)
    if len(data) != size:
        raise InstanceError(
            f"{path}: ends at byte {len(data)}, expected {size} for {' x '.join(map(str, shape))} "
            "values; download it again"
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def is_cifar(data: bytes) -> bool:
    """Whether a file's content is a batch of CIFAR-10: records of 3,073 bytes, first a label."""
    return (
        bool(data)
        and not len(data) % CIFAR_RECORD
        and max(data[::CIFAR_RECORD]) < CIFAR_CLASSES
        and b"\x00" in data
    )


def cifar_images(data: bytes) -> Images:
    """Read the images of one binary batch of CIFAR-10.

    Args:
        data: content of the file; see `is_cifar`.
    """
    records = np.frombuffer(data, np.uint8).reshape(-1, CIFAR_RECORD)
    pixels = records[:, 1:].reshape(-1, 3, CIFAR_SIDE, CIFAR_SIDE)
    return Images(_scaled(pixels), records[:, 0].astype(np.int64))


def pooled(pixels: np.ndarray) -> np.ndarray:
    """Halve height and width of images [N, C, H, W] by the mean of each 2 x 2 pixels; float32."""
    rows, channels, height, width = pixels.shape
    blocks = pixels[:, :, : height // 2 * 2, : width // 2 * 2]
    mean: np.ndarray = blocks.reshape(rows, channels, height // 2, 2, width // 2, 2).mean((3, 5))
    return mean


def _scaled(pixels: np.ndarray) -> np.ndarray:
    scaled: np.ndarray = pixels.astype(np.float32) / np.float32(BRIGHTEST)
    return scaled
