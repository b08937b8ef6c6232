"""Arrays without reference counts, for hot compiled loops.

Each time compiled code takes an array out of a tuple it counts a reference, atomically, some 5 ns;
the dynamics take a dozen a move. A function that only reads and writes arrays its caller holds may
do without: random legal moves then come at 2 million a second instead of 0.3.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


@intrinsic
def borrow(_context: Any, value: Any) -> Any:
    """Return the array, or the tuple of arrays, scalars and tuples, with reference counting off.

    For use inside compiled functions. The caller must hold the arrays as long as the result is
    used: never return it or store it away.
    """

    def codegen(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return stripped(context, builder, value, arguments[0])

    def stripped(context: Any, builder: Any, kind: Any, given: Any) -> Any:
        if isinstance(kind, types.Array):
            return uncounted(context, builder, kind, given)
        for row, part in enumerate(kind.types if isinstance(kind, types.BaseTuple) else ()):
            inner = builder.extract_value(given, row)
            given = builder.insert_value(given, stripped(context, builder, part, inner), row)
        return given

    def uncounted(context: Any, builder: Any, kind: Any, given: Any) -> Any:
        array = context.make_array(kind)(context, builder, given)
        array.meminfo = cgutils.get_null_value(array.meminfo.type)
        array.parent = cgutils.get_null_value(array.parent.type)
        return array._getvalue()

    return value(value), codegen
