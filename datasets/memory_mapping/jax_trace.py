"""Make programs of JAX functions from their jaxprs.

A jaxpr is traced, not compiled: its equations, with calls inlined, are the schedule, without
fusion. To get what XLA makes of a function, import its scheduled HLO text instead (hlo.py).
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import Any

from ...core.errors import InstanceError, MissingDependencyError
from .builder import Builder, Use
from .hardware import DEFAULT, load_hardware
from .instance import ARG, CONST, OUT, TMP, Program
from .settings import DEFAULT_CAPACITY

CALLS = ("jit", "pjit", "closed_call", "core_call", "remat", "checkpoint", "custom_jvp_call",
         "custom_vjp_call", "custom_vjp_call_jaxpr")  # fmt: skip
SAME = ("reshape", "squeeze", "expand_dims", "stop_gradient", "copy_p", "sharding_constraint")
MOVES = ("broadcast_in_dim", "transpose", "concatenate", "slice", "dynamic_slice", "gather", "pad",
         "rev", "iota", "copy", "convert_element_type", "dynamic_update_slice")  # fmt: skip
SLICES = ("slice", "dynamic_slice", "gather")


def program_of_function(
    function: Callable[..., Any],
    *inputs: Any,
    name: str | None = None,
    hardware: str = DEFAULT,
    capacity: str = DEFAULT_CAPACITY,
) -> Program:
    """Make a program of a JAX function.

    The body of a scan counts as often as its length, that of a while loop once; of a conditional,
    the first branch is taken.

    Args:
        function: a function that jax.make_jaxpr accepts.
        *inputs: its arguments, arrays or jax.ShapeDtypeStruct; only shapes and types matter.
        name: name of the program; None for the function's.
        hardware: profile that gives the times.
        capacity: size of fast memory, as in `sizes.read_capacity`.

    Raises:
        InstanceError: jax cannot trace the function (its reason is passed on), a shape is dynamic,
            or there is nothing to decide.
        SettingError: the capacity cannot be read.
        UnknownNameError: no such hardware profile.
        MissingDependencyError: jax is not installed.
    """
    try:
        jax = importlib.import_module("jax")
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "importing JAX functions needs jax; pip install 'sysopt-gym[jax]'"
        ) from error
    title = name or str(getattr(function, "__name__", "function"))
    try:
        closed = jax.make_jaxpr(function)(*inputs)
    except Exception as error:  # whatever jax finds wrong with a user's function
        reason = " ".join(str(error).split())[:400]
        raise InstanceError(f"{title}: jax cannot trace the function: {reason}") from error
    tracer = _Tracer(title, Builder(load_hardware(hardware)))
    arguments = [
        tracer.fresh(f"arg{k}", var.aval, ARG) for k, var in enumerate(closed.jaxpr.invars)
    ]
    results = tracer.run(closed.jaxpr, _constants(tracer, closed), arguments)
    for tensor in results:
        if tracer.builder.kinds[tensor] == TMP:
            tracer.builder.kinds[tensor] = OUT
    return tracer.builder.build(title, capacity)


def _constants(tracer: _Tracer, closed: Any) -> list[int]:
    return [tracer.fresh("const", var.aval, CONST) for var in closed.jaxpr.constvars]


class _Tracer:
    """Converts a jaxpr's equations to one flat list of instructions.

    Attributes:
        name: name of the program, for error messages.
        builder: the program under construction.
    """

    def __init__(self, name: str, builder: Builder) -> None:
        self.name = name
        self.builder = builder

    def fresh(self, name: str, aval: Any, kind: int) -> int:
        """Add a tensor of an abstract value's size and return its index.

        Args:
            name: name of the tensor.
            aval: jax's abstract value; gives shape and dtype.
            kind: ARG, CONST, TMP or OUT.

        Raises:
            InstanceError: the shape is dynamic.
        """
        return self.builder.tensor(name, self._bytes(aval), kind)

    def _bytes(self, aval: Any) -> int:
        shape = getattr(aval, "shape", ())
        if not all(isinstance(extent, int) for extent in shape):
            raise InstanceError(f"{self.name}: the shape {shape} is dynamic; trace fixed shapes")
        return int(math.prod(shape)) * int(getattr(getattr(aval, "dtype", None), "itemsize", 0))

    def run(self, jaxpr: Any, constants: list[int], inputs: list[int]) -> list[int]:
        """Emit a jaxpr's equations and return the tensors of its outputs.

        Args:
            jaxpr: the jaxpr.
            constants: a tensor for each of its constants.
            inputs: a tensor for each of its inputs.
        """
        names = [*jaxpr.constvars, *jaxpr.invars]
        values: dict[Any, int] = dict(zip(names, [*constants, *inputs], strict=True))

        def read(atom: Any) -> int:
            if hasattr(atom, "val"):  # a literal
                return self.fresh("literal", atom.aval, CONST)
            return values[atom]

        for equation in jaxpr.eqns:
            results = self._equation(equation, [read(atom) for atom in equation.invars])
            values.update(zip(equation.outvars, results, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def _equation(self, equation: Any, inputs: list[int]) -> list[int]:
        primitive, parameters = str(equation.primitive), equation.params
        if primitive in SAME:
            return inputs[:1]
        inner = parameters.get("jaxpr") or parameters.get("call_jaxpr")
        inner = parameters.get("fun_jaxpr", inner)
        if primitive in CALLS and inner is not None:
            return self._inline(inner, inputs)
        if primitive == "scan":
            return self._scan(equation, inputs)
        if primitive == "while":
            return self._while(equation, inputs)
        if primitive == "cond":
            return self._inline(parameters["branches"][0], inputs[1:])
        return self._emit(equation, primitive, inputs)

    def _inline(self, inner: Any, inputs: list[int]) -> list[int]:
        jaxpr = getattr(inner, "jaxpr", inner)
        constants = _constants(self, inner) if hasattr(inner, "jaxpr") else []
        return self.run(jaxpr, constants, inputs)

    def _scan(self, equation: Any, inputs: list[int]) -> list[int]:
        """Emit a scan's body; carried values keep their buffers, inputs and outputs are sliced."""
        parameters = equation.params
        fixed, carried = parameters["num_consts"], parameters["num_carry"]
        body, trips = parameters["jaxpr"], max(1, int(parameters["length"]))
        with self.builder.loop(trips):
            sliced = []
            for tensor, var in zip(
                inputs[fixed + carried :], body.jaxpr.invars[fixed + carried :], strict=True
            ):
                part = self.fresh("slice", var.aval, TMP)
                self.builder.instr("slice", [Use(tensor, self.builder.sizes[part])], [part])
                sliced.append(part)
            results = self._inline(body, [*inputs[: fixed + carried], *sliced])
            for new, old in zip(results, inputs[fixed:], strict=False):
                self._in_place(new, old)
            stacked = []
            for part, var in zip(results[carried:], equation.outvars[carried:], strict=True):
                whole = self.fresh("stack", var.aval, TMP)
                self.builder.instr("stack", [part], [Use(whole, self.builder.sizes[part])])
                stacked.append(whole)
        return [*results[:carried], *stacked]

    def _while(self, equation: Any, inputs: list[int]) -> list[int]:
        parameters = equation.params
        skip, fixed = parameters["cond_nconsts"], parameters["body_nconsts"]
        results = self._inline(parameters["body_jaxpr"], inputs[skip:])
        for new, old in zip(results, inputs[skip + fixed :], strict=True):
            self._in_place(new, old)
        return results

    def _in_place(self, new: int, old: int) -> None:
        """Let a loop's new state share the storage of the old one, if the program made both."""
        builder = self.builder
        free = builder.aliases[new] < 0 and builder.kinds[new] == builder.kinds[old] == TMP
        if free and new > old and builder.sizes[new] <= builder.sizes[old]:
            builder.aliases[new] = old

    def _emit(self, equation: Any, primitive: str, inputs: list[int]) -> list[int]:
        outputs = [self.fresh(primitive, var.aval, TMP) for var in equation.outvars]
        reads = [Use(tensor) for tensor in inputs]
        if primitive in SLICES and reads:
            reads[0] = Use(inputs[0], min(self.builder.sizes[inputs[0]], self._out(equation)))
        self.builder.instr(primitive, reads, outputs, _flops(equation, primitive))
        return outputs

    def _out(self, equation: Any) -> int:
        return sum(self._bytes(var.aval) for var in equation.outvars)


def _flops(equation: Any, primitive: str) -> float:
    """Return an equation's FLOPs: two per multiply-add, one per element of other work."""
    if primitive in MOVES:
        return 0.0
    elements = float(math.prod(getattr(equation.outvars[0].aval, "shape", ())))
    shapes = [getattr(var.aval, "shape", ()) for var in equation.invars]
    if primitive == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        return 2.0 * elements * float(math.prod(shapes[0][axis] for axis in contracted))
    if primitive == "conv_general_dilated":
        features = equation.params["dimension_numbers"].rhs_spec[0]
        return 2.0 * elements * float(math.prod(shapes[1]) / max(1, shapes[1][features]))
    if primitive.startswith(("reduce", "arg", "cum", "sort")):
        return float(math.prod(shapes[0]))
    return elements
