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
    """Return the array, or the named tuple of arrays and scalars, with reference counting off.

    For use inside compiled functions. The caller must hold the arrays as long as the result is
    used: never return it or store it away.
    """

    def codegen(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        (given,) = arguments
        if isinstance(value, types.Array):
            return uncounted(context, builder, value, given)
        for row, kind in enumerate(value.types):
            if isinstance(kind, types.Array):
                array = uncounted(context, builder, kind, builder.extract_value(given, row))
                given = builder.insert_value(given, array, row)
        return given

    def uncounted(context: Any, builder: Any, kind: Any, given: Any) -> Any:
        array = context.make_array(kind)(context, builder, given)
        array.meminfo = cgutils.get_null_value(array.meminfo.type)
        array.parent = cgutils.get_null_value(array.parent.type)
        return array._getvalue()

    return value(value), codegen
