"""Named tuples of arrays in one flat array, so that a call into compiled code costs one argument.

To hand compiled code an array costs a third of a microsecond. An environment's step would hand over
thirty; instead it hands over one, and compiled code takes it apart again at no cost.

The annotations of a named tuple say what its fields are: `int`, `float`, `np.ndarray` for an array
int64 [n], `Floats` for float64 [n], and `Matrix` for int64 [n, m]. Nothing else has to be written
down to have a field packed. The packed array begins with the caller's own header; then come, for
each field, its place and its shape; then the fields' values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any, NamedTuple, get_type_hints

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

Floats = Annotated[np.ndarray, "float64"]
Matrix = Annotated[np.ndarray, 2]
WORDS = 3  # of a field's entry: where it starts, rows, columns


class _Field(NamedTuple):
    place: int  # of its entry
    dtype: Any
    rank: int  # 0 for a number


class Layout:
    """How the fields of some named tuples lie in one array int64 [n].

    A packed array is all there is to an episode's arrays: copy it (or pickle it) and call `view`
    on the copy to have the tuples again. Views of the array it was copied from stay with that.
    """

    def __init__(self, *kinds: type, header: int = 0) -> None:
        """Lay out named tuples one after the other.

        Args:
            kinds: the classes of the named tuples, with annotated fields.
            header: entries that the caller keeps at the beginning.
        """
        self.header = header
        self.kinds: dict[type, list[_Field]] = {}
        place = header
        for kind in kinds:
            self.kinds[kind] = []
            for hint in get_type_hints(kind, include_extras=True).values():
                marks = getattr(hint, "__metadata__", ())
                rank = 0 if hint in (int, float) else 2 if 2 in marks else 1
                dtype = np.float64 if hint is float or "float64" in marks else np.int64
                self.kinds[kind].append(_Field(place, dtype, rank))
                place += WORDS
        self._start = place

    def pack(self, *tuples: Any) -> np.ndarray:
        """Return the packed array int64 [n] with a copy of all fields, and a header of zeros.

        Args:
            tuples: one of each class, in the order of the layout.
        """
        parts, at = [np.zeros(self._start, np.int64)], self._start
        for fields, values in zip(self.kinds.values(), tuples, strict=True):
            for field, value in zip(fields, values, strict=True):
                array = np.ascontiguousarray(value, field.dtype)
                rows, columns = (*array.shape, 1, 1)[:2]
                parts[0][field.place : field.place + WORDS] = at, rows, columns
                parts.append(array.ravel().view(np.int64))
                at += array.size
        return np.concatenate(parts)

    def view(self, packed: np.ndarray, kind: type) -> Any:
        """Return a named tuple of views into a packed array; numbers are copies.

        Args:
            packed: what `pack` returned, or a copy of it.
            kind: the class of the named tuple.
        """
        return kind(*self._views(packed, self.kinds[kind]))

    def _views(self, packed: np.ndarray, fields: list[_Field]) -> Iterator[Any]:
        for place, dtype, rank in fields:
            start, rows, columns = packed[place : place + WORDS].tolist()
            flat = packed[start : start + rows * columns].view(dtype)
            yield flat[0].item() if rank == 0 else flat if rank == 1 else flat.reshape(rows, -1)

    def reader(self, kind: type) -> Callable[[np.ndarray], Any]:
        """Return `view` of one class for compiled code, without reference counts (see borrowed.py).

        The caller of the compiled code must hold the packed array as long as the views are used.
        """
        fields = self.kinds[kind]

        @intrinsic
        def read(_context: Any, packed: Any) -> Any:
            scalars = {np.int64: types.int64, np.float64: types.float64}
            kinds = [
                types.Array(scalars[f.dtype], f.rank, "C") if f.rank else scalars[f.dtype]
                for f in fields
            ]
            result = types.BaseTuple.from_types(kinds, kind)

            def codegen(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
                data = context.make_array(packed)(context, builder, arguments[0]).data
                values = [
                    _load(context, builder, data, field, of)
                    for field, of in zip(fields, kinds, strict=True)
                ]
                return context.make_tuple(builder, result, values)

            return result(packed), codegen

        return read  # type: ignore[no-any-return]


def widened(rows: np.ndarray, width: int) -> np.ndarray:
    """Return rows of at least so many columns for packed arrays of unlike lengths.

    Args:
        rows: [B, n, ...], a lane a row.
        width: columns wanted.

    Returns:
        The rows themselves where they are wide enough, else a copy with zeros behind.
    """
    if rows.shape[1] >= width:
        return rows
    wider = np.zeros((len(rows), width, *rows.shape[2:]), rows.dtype)
    wider[:, : rows.shape[1]] = rows
    return wider


def _load(context: Any, builder: Any, data: Any, field: _Field, kind: Any) -> Any:
    """Emit the code that takes a field out of the packed array at `data`."""

    def word(index: int) -> Any:
        return builder.load(builder.gep(data, [context.get_constant(types.intp, index)]))

    start = builder.gep(data, [word(field.place)])
    if not field.rank:
        return builder.load(builder.bitcast(start, context.get_value_type(kind).as_pointer()))
    array = context.make_array(kind)(context, builder)
    shape = [word(field.place + 1 + axis) for axis in range(field.rank)]
    itemsize = context.get_constant(types.intp, 8)
    strides = [itemsize] if field.rank == 1 else [builder.mul(shape[1], itemsize), itemsize]
    populate_array(
        array,
        data=builder.bitcast(start, array.data.type),
        shape=shape,
        strides=strides,
        itemsize=itemsize,
        meminfo=cgutils.get_null_value(array.meminfo.type),
    )
    return array._getvalue()
