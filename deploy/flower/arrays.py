"""A model's arrays as Flower sends them: which of them are weights, and all weights as one vector.

Weights are what the server's rates step. All other arrays (whole numbers, and the statistics of
normalization layers) are averaged over the clients and never stepped. 16-bit weights are computed
with in float32 and rounded when they are sent; complex weights are pairs of real ones.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...core.errors import MissingDependencyError, SettingError
from ...core.lookup import check_name
from . import MISSING

try:
    from flwr.app import Array, ArrayRecord
except ImportError as missing:
    raise MissingDependencyError(MISSING) from missing

# Names of normalization layers' statistics in PyTorch and Keras, the last part of an array's name.
STATISTICS = (
    "running_mean",
    "running_var",
    "num_batches_tracked",
    "moving_mean",
    "moving_variance",
)
BFLOAT16 = "bfloat16"  # NumPy knows it as two bytes; Flower keeps its name
_LOG = logging.getLogger("flwr.sysopt_gym")  # below Flower's, so that its console shows it


@dataclass(frozen=True, slots=True)
class Part:
    """One array of a model.

    Attributes:
        name: in the record.
        shape: of the array.
        dtype: NumPy's name of its type, or "bfloat16".
        start: place of its first number in the vector of weights; None if it is no weight.
        count: real numbers in it.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    start: int | None
    count: int


@dataclass(frozen=True, slots=True)
class Layout:
    """How a model's weights lie in one vector.

    Attributes:
        parts: all arrays, in the record's order.
        size: real numbers in all weights, P.
        dtype: of the vector: float64 if a weight is, else float32.
    """

    parts: tuple[Part, ...]
    size: int
    dtype: np.dtype

    @property
    def exact(self) -> bool:
        """Whether the vector holds the weights as they are sent, to the last bit."""
        kinds = {part.dtype for part in self.parts if part.start is not None}
        return kinds == {self.dtype.str}

    def split(self, arrays: Mapping[str, Array]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return the weights, one vector [P], and the other arrays by name.

        Args:
            arrays: of this layout's names and shapes.
        """
        vector, others = np.empty(self.size, self.dtype), {}
        for part in self.parts:
            values = read(part.name, arrays[part.name])
            if part.start is None:
                others[part.name] = values
            else:
                vector[part.start : part.start + part.count] = _reals(values)
        return vector, others

    def weights(self, vector: np.ndarray) -> dict[str, Array]:
        """Return a vector [P] as Flower's arrays, each in its own type."""
        return {
            part.name: written(vector[part.start : part.start + part.count], part)
            for part in self.parts
            if part.start is not None
        }

    def record(self, vector: np.ndarray, others: Mapping[str, np.ndarray]) -> ArrayRecord:
        """Return the whole model.

        Args:
            vector: the weights, [P].
            others: the other arrays by name.
        """
        made = self.weights(vector)
        for part in self.parts:
            if part.start is None:
                made[part.name] = written(others[part.name], part)
        return ArrayRecord({part.name: made[part.name] for part in self.parts})

    def difference(self, arrays: Mapping[str, Array]) -> str:
        """Say how the names and shapes of arrays differ from the model's; empty if they do not."""
        expected = {part.name: part.shape for part in self.parts}
        lacking = [name for name in expected if name not in arrays]
        unknown = [name for name in arrays if name not in expected]
        odd = [
            f"{name!r} of shape {tuple(arrays[name].shape)}, expected {shape}"
            for name, shape in expected.items()
            if name in arrays and tuple(arrays[name].shape) != shape
        ]
        told = [
            f"{what} {_some(names)}"
            for what, names in (("without", lacking), ("with the unknown", unknown), ("with", odd))
            if names
        ]
        return " and ".join(told)


def layout_of(arrays: Mapping[str, Array], buffers: Collection[str | int]) -> Layout:
    """Tell a model's weights from its other arrays.

    Args:
        arrays: the first model.
        buffers: further arrays that are no weights, by name or by their place from 0.

    Raises:
        UnknownNameError: a buffer is no array of the model.
        SettingError: an array is of no usable type or holds NaN, or there are no weights.
    """
    values = {name: read(name, array) for name, array in arrays.items()}
    named = {_name_of(buffer, list(arrays)) for buffer in buffers}
    steady = named | _statistics_of(values)
    parts, at = [], 0
    for name, array in values.items():
        if np.isnan(array).any():
            raise SettingError(f"array {name!r} of the first model holds NaN; give numbers")
        # An infinite constant, such as an attention mask, cannot be moved.
        weight = array.dtype.kind in "fc" and name not in steady and bool(np.isfinite(array).all())
        count = array.size * (2 if array.dtype.kind == "c" else 1)
        dtype = BFLOAT16 if arrays[name].dtype == BFLOAT16 else array.dtype.str
        parts.append(Part(name, array.shape, dtype, at if weight else None, count))
        at += count if weight else 0
    if not at:
        raise SettingError(
            f"none of the model's arrays {_some(list(values))} is a weight: they are of whole "
            "numbers or statistics; send the layers' weights too"
        )
    others = [part.name for part in parts if part.start is None]
    _LOG.info("weights: %d arrays of %d numbers", len(parts) - len(others), at)
    if others:
        _LOG.info("averaged and never stepped: %s", _some(others, 12))
    wide = any(
        np.finfo(values[part.name].dtype).bits > 32 for part in parts if part.start is not None
    )
    return Layout(tuple(parts), at, np.dtype(np.float64 if wide else np.float32))


def _name_of(buffer: str | int, names: list[str]) -> str:
    """Return the name of an array that is given by its name or its place.

    Raises:
        UnknownNameError: there is no such array.
        SettingError: there is no such place.
    """
    if isinstance(buffer, str):
        layer, _, last = buffer.rpartition(".")
        if last in STATISTICS and any(name.startswith(f"{layer}.") for name in names):
            return buffer  # of a layer of the model, though perhaps not sent
        return check_name(buffer, names, "array of the model (buffers=)")
    if not 0 <= buffer < len(names):
        raise SettingError(
            f"buffers names array {buffer}; the model has arrays 0 to {len(names) - 1}"
        )
    return names[buffer]


def _statistics_of(values: Mapping[str, np.ndarray]) -> set[str]:
    """Return the names of the arrays that are statistics of normalization layers.

    A plain list of arrays has no names; there, the two arrays before a single whole number are
    taken for a running mean and variance where they look like it, as in PyTorch's order.
    """
    names = list(values)
    if names != [str(place) for place in range(len(names))]:
        return {name for name in names if name.rsplit(".", 1)[-1] in STATISTICS}
    found: set[str] = set()
    rows = list(values.values())
    for place in range(2, len(rows)):
        mean, variance, counter = rows[place - 2 : place + 1]
        single = counter.ndim == 0 and counter.dtype.kind in "iu"
        if single and _alike([mean, variance]) and (variance >= 0).all():
            found |= {names[place - 2], names[place - 1]}
    if not found and any(_alike(rows[at : at + 4]) for at in range(len(rows) - 3)):
        _LOG.warning(
            "the model's arrays have no names, so that a normalization layer's running mean and "
            "variance cannot be told from weights; if it has any, name them by their places "
            "(buffers=[2, 3]) or send the state dict"
        )
    return found


def _alike(rows: Sequence[np.ndarray]) -> bool:
    """Whether arrays are rows of real numbers of one length."""
    return len({a.shape for a in rows}) == 1 and all(
        a.ndim == 1 and a.dtype.kind == "f" for a in rows
    )


def read(name: str, array: Array) -> np.ndarray:
    """Return one of Flower's arrays as NumPy's; bfloat16 as float32.

    Args:
        name: for the message.
        array: the array.

    Raises:
        SettingError: it is of no type that can be averaged.
    """
    try:
        values = array.numpy()
    except (TypeError, ValueError) as error:
        raise SettingError(f"array {name!r} cannot be read: {error}") from error
    if array.dtype == BFLOAT16 and values.dtype.itemsize == 2:
        bits = values.reshape(-1).view(np.uint16).astype(np.uint32) << 16
        return bits.view(np.float32).reshape(values.shape)
    if values.dtype.kind not in "fciub":
        raise SettingError(
            f"array {name!r} is of type {array.dtype}, which cannot be averaged; send float16, "
            "bfloat16, float32, float64, complex, whole numbers or bool"
        )
    return values


def written(values: np.ndarray, part: Part) -> Array:
    """Return numbers as an array of Flower's, in the type and shape of a part.

    Args:
        values: real numbers of a weight, flat; or another array's values.
        part: of the model.
    """
    if part.dtype == BFLOAT16:
        bits = np.ascontiguousarray(values, np.float32).reshape(-1).view(np.uint32)
        halves = (bits + (0x7FFF + ((bits >> 16) & 1))) >> 16  # to the nearest, ties to even
        halves = np.where(np.isnan(bits.view(np.float32)), 0x7FC0, halves)
        array = Array(halves.astype(np.uint16).view("V2").reshape(part.shape))
        array.dtype = BFLOAT16
        return array
    dtype = np.dtype(part.dtype)
    if dtype.kind == "c" and part.start is not None:
        values = values.astype(np.empty(0, dtype).real.dtype).view(dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        shaped = values.reshape(part.shape).astype(dtype, copy=False)
    return Array(
        np.asarray(shaped, order="C")
    )  # ascontiguousarray would give a single number a side


class MeanOfOthers:
    """Weighted mean of the arrays that are no weights, to which clients' are added one by one."""

    def __init__(self, before: Mapping[str, np.ndarray]) -> None:
        """Begin.

        Args:
            before: the arrays as they were sent, by name.
        """
        self._before, self._total = before, 0.0
        self._moved: dict[str, np.ndarray] = {
            name: np.zeros(array.shape, _wide(array)) for name, array in before.items()
        }

    def add(self, returned: Mapping[str, np.ndarray], weight: float) -> None:
        """Add a client's arrays by name, of a weight above 0 in the mean."""
        self._total += weight
        with np.errstate(invalid="ignore", over="ignore"):
            for name, before in self._before.items():
                after, wide = returned[name], self._moved[name].dtype
                moved = np.subtract(after, before, dtype=wide)
                self._moved[name] += weight * np.where(after == before, 0, moved)

    def mean(self) -> dict[str, np.ndarray]:
        """Return the mean of every array in its own type; whole numbers are rounded."""
        return {name: self._mean(name, before) for name, before in self._before.items()}

    def _mean(self, name: str, before: np.ndarray) -> np.ndarray:
        moved = self._moved[name] / self._total
        if before.dtype.kind == "b":
            return np.asarray(before + moved >= 0.5)
        if before.dtype.kind in "iu":
            limits = np.iinfo(before.dtype)
            whole = np.clip(np.rint(before + moved), limits.min, limits.max)
            # What did not move is kept to the last digit, which float64 may not hold.
            return np.asarray(np.where(moved == 0, before, whole.astype(before.dtype)))
        return np.asarray(before + moved).astype(before.dtype)


def _wide(array: np.ndarray) -> type:
    return np.complex128 if array.dtype.kind == "c" else np.float64


def _reals(values: np.ndarray) -> np.ndarray:
    flat = values.reshape(-1)
    return np.ascontiguousarray(flat).view(flat.real.dtype) if flat.dtype.kind == "c" else flat


def _some(names: Sequence[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
