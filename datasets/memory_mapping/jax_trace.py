"""Make programs of JAX functions from their jaxprs.

A jaxpr is traced, not compiled: its equations, with calls laid out in place, are the schedule,
without fusion. To get what XLA makes of a function, import its scheduled HLO text instead (hlo.py).
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import Any

from ...core.errors import InstanceError, MissingDependencyError
from .builder import Builder, Use
from .hardware import DEFAULT, load_hardware
from .instance import ARG, CONST, OUT, SMALLEST_BYTES, TMP, Program
from .jax_cost import UNKNOWN, flops_of, while_trips
from .layout import FOREVER, Layout
from .settings import DEFAULT_CAPACITY

CALLS = ("jit", "pjit", "closed_call", "core_call", "remat", "remat2", "checkpoint", "shard_map",
         "custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr",
         "custom_vmap_call")  # fmt: skip
SAME = ("reshape", "squeeze", "expand_dims", "bitcast_convert_type", "optimization_barrier",
        "sharding_constraint", "layout_constraint", "name", "pvary", "pcast", "device_put",
        "random_wrap", "random_unwrap", "copy_p")  # fmt: skip
SLICES = ("slice", "dynamic_slice", "gather")


def program_of_function(
    function: Callable[..., Any],
    *inputs: Any,
    name: str | None = None,
    hardware: str = DEFAULT,
    capacity: str = DEFAULT_CAPACITY,
    trips: int = 1,
) -> Program:
    """Make a program of a JAX function.

    A scan runs as often as its length; of a conditional's branches the one that takes longest
    counts. Arguments that jax.jit is told are donated may be overwritten. What a jaxpr does not
    tell is said in a note.

    Args:
        function: a function that jax.make_jaxpr accepts.
        *inputs: its arguments, arrays or jax.ShapeDtypeStruct; only shapes and types matter.
        name: name of the program; None for the function's.
        hardware: profile that gives the times.
        capacity: size of fast memory, as in `sizes.read_capacity`.
        trips: how often a while loop runs that does not count up or down to a constant.

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
    tracer = _Tracer(title, Builder(load_hardware(hardware)), trips)
    arguments = [
        tracer.fresh(f"arg{k}", var.aval, ARG) for k, var in enumerate(closed.jaxpr.invars)
    ]
    donated = _donated(closed.jaxpr, arguments)
    tracer.owned |= set(donated)
    results = tracer.run(closed, arguments)
    for tensor in results:
        if tracer.builder.kinds[tensor] == TMP:
            tracer.builder.kinds[tensor] = OUT
    free = [argument for argument in donated if argument not in map(tracer.builder.root, results)]
    for tensor in results:  # XLA, too, matches results and donated arguments of one size in order
        sizes = tracer.builder.sizes
        match = next((argument for argument in free if sizes[argument] == sizes[tensor]), None)
        if match is not None and tracer.builder.root(tensor) not in arguments:
            tracer.take_over(tensor, match)
            free.remove(match)
    tracer.tell()
    return tracer.builder.build(title, capacity)


def _donated(jaxpr: Any, arguments: list[int]) -> list[int]:
    """Return the arguments that the function's own jax.jit may overwrite."""
    if len(jaxpr.eqns) != 1 or not any(jaxpr.eqns[0].params.get("donated_invars", ())):
        return []
    equation, tensors = jaxpr.eqns[0], dict(zip(jaxpr.invars, arguments, strict=True))
    given = zip(equation.invars, equation.params["donated_invars"], strict=True)
    return [tensors[atom] for atom, gone in given if gone and not hasattr(atom, "val")]


class _Tracer(Layout):
    """Converts a jaxpr's equations to one list of instructions.

    Attributes:
        trips: how often a while loop of unknown trip count runs.
        constants: tensors of constants, by the identity of their values.
    """

    def __init__(self, name: str, builder: Builder, trips: int) -> None:
        super().__init__(name, builder)
        self.trips = trips
        self.constants: dict[int, int] = {}

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
        shape, dtype = getattr(aval, "shape", ()), getattr(aval, "dtype", None)
        if not all(isinstance(extent, int) for extent in shape):
            raise InstanceError(f"{self.name}: the shape {shape} is dynamic; trace fixed shapes")
        # Accelerators pack what is narrower than a byte.
        bits = {"int4": 4, "uint4": 4, "int2": 2, "uint2": 2, "float4_e2m1fn": 4}
        width = bits.get(str(dtype), 8 * int(getattr(dtype, "itemsize", 0)))
        return -(-int(math.prod(shape)) * width // 8)

    def run(self, closed: Any, inputs: list[int]) -> list[int]:
        """Emit a jaxpr's equations and return the tensors of its outputs.

        Args:
            closed: a jaxpr, closed or, without constants, open.
            inputs: a tensor for each of its inputs.
        """
        jaxpr = getattr(closed, "jaxpr", closed)
        values: dict[Any, int] = dict(zip(jaxpr.invars, inputs, strict=True))
        for var, value in zip(jaxpr.constvars, getattr(closed, "consts", ()), strict=True):
            if id(value) not in self.constants:
                self.constants[id(value)] = self.fresh("const", var.aval, CONST)
            values[var] = self.constants[id(value)]
        last = {
            atom: at
            for at, equation in enumerate(jaxpr.eqns)
            for atom in equation.invars
            if not hasattr(atom, "val")
        }
        last |= {atom: FOREVER for atom in jaxpr.outvars if not hasattr(atom, "val")}

        def read(atom: Any) -> int:
            if hasattr(atom, "val"):  # a literal
                return self.fresh("literal", atom.aval, CONST)
            return values[atom]

        with self.scope(len(jaxpr.eqns)) as scope:
            for var, tensor in values.items():
                self.keep(tensor, last.get(var, -1))
            for scope.at, equation in enumerate(jaxpr.eqns):
                results = self._equation(equation, [read(atom) for atom in equation.invars])
                for var, tensor in zip(equation.outvars, results, strict=True):
                    values[var] = tensor
                    self.keep(tensor, last.get(var, -1))
            return [read(atom) for atom in jaxpr.outvars]

    def _equation(self, equation: Any, inputs: list[int]) -> list[int]:
        primitive, parameters = str(equation.primitive), equation.params
        if primitive in SAME:
            return inputs[: len(equation.outvars)]
        if primitive in CALLS:
            keys = ("jaxpr", "call_jaxpr", "fun_jaxpr", "call")
            inner = next((parameters[key] for key in keys if key in parameters), None)
            if primitive == "shard_map":
                self.say("of a shard_map the part of one device counts", primitive)
            if inner is not None:
                return self.run(inner, inputs)
        if primitive == "scan":
            return self._scan(equation, inputs)
        if primitive == "while":
            return self._while(equation, inputs)
        if primitive == "cond":
            branches = [
                lambda inner=inner: self.run(inner, inputs[1:]) for inner in parameters["branches"]
            ]
            chosen: list[int] = self.branch(primitive, branches)
            return chosen
        if primitive == "dynamic_update_slice" or primitive.startswith("scatter"):
            return [self._update(equation, primitive, inputs)]
        return self._emit(equation, primitive, inputs)

    def _scan(self, equation: Any, inputs: list[int]) -> list[int]:
        """Emit a scan's body; carried values keep their buffers, inputs and outputs are sliced."""
        parameters = equation.params
        fixed, carries = parameters["num_consts"], parameters["num_carry"]
        closed, trips = parameters["jaxpr"], int(parameters["length"])
        carried, sliced = inputs[fixed : fixed + carries], inputs[fixed + carries :]
        inner = closed.jaxpr
        stacks = [self.fresh("stack", var.aval, TMP) for var in equation.outvars[carries:]]
        if trips == 0:
            for tensor in stacks:
                self.builder.kinds[tensor] = CONST  # without elements
            return [*carried, *stacks]

        def body(state: list[int]) -> list[int]:
            parts = []
            for tensor, var in zip(sliced, inner.invars[fixed + carries :], strict=True):
                parts.append(self.fresh("slice", var.aval, TMP))
                amount = min(self.builder.sizes[parts[-1]], self.builder.sizes[tensor])
                self.builder.instr("slice", [Use(tensor, amount)], [parts[-1]])
            results = self.run(closed, [*inputs[:fixed], *state, *parts])
            for part, var, whole in zip(
                results[carries:], inner.outvars[carries:], stacks, strict=True
            ):
                amount = self._bytes(var.aval)
                self.builder.instr("stack", [Use(part, amount)], [Use(whole, amount)])
            return results

        changed = [
            old is not new
            for old, new in zip(
                inner.invars[fixed : fixed + carries], inner.outvars[:carries], strict=True
            )
        ]
        results = self.loop("scan", trips, carried, changed, [*inputs[:fixed], *sliced], body)
        return [*results[:carries], *stacks]

    def _while(self, equation: Any, inputs: list[int]) -> list[int]:
        parameters = equation.params
        skip, fixed = parameters["cond_nconsts"], parameters["body_nconsts"]
        condition, inner = parameters["cond_jaxpr"], parameters["body_jaxpr"].jaxpr
        start = inputs[skip + fixed :]
        trips = while_trips(equation)
        if trips is None:
            trips = self.trips
            self.say(
                f"how often a while loop runs is unknown: {trips} assumed; give trips=N", "while"
            )
        if trips == 0:
            return start
        avals = [var.aval for eqn in condition.jaxpr.eqns for var in (*eqn.invars, *eqn.outvars)]
        is_large = any(self._bytes(aval) >= SMALLEST_BYTES for aval in avals)

        def body(state: list[int]) -> list[int]:
            if is_large:
                with self.scope():
                    for tensor in state:
                        self.keep(tensor, FOREVER)
                    self.run(condition, [*inputs[:skip], *state])
            return self.run(parameters["body_jaxpr"], [*inputs[skip : skip + fixed], *state])

        pairs = zip(inner.invars[fixed:], inner.outvars, strict=True)
        changed = [old is not new for old, new in pairs]
        return self.loop("while", trips, start, changed, inputs[: skip + fixed], body)

    def _use(self, tensor: int, atom: Any) -> Use:
        """Return a tensor as an operand of the size that the equation sees."""
        return Use(tensor, min(self._bytes(atom.aval), self.builder.sizes[tensor]))

    def _update(self, equation: Any, primitive: str, inputs: list[int]) -> int:
        at = 1 if primitive == "dynamic_update_slice" else 2
        others = zip(inputs[1:], equation.invars[1:], strict=True)
        return self.update(
            primitive,
            inputs[0],
            [self._use(tensor, atom) for tensor, atom in others],
            self._bytes(equation.invars[at].aval),
            flops_of(equation, primitive),
            adds=primitive not in ("dynamic_update_slice", "scatter"),
        )

    def _emit(self, equation: Any, primitive: str, inputs: list[int]) -> list[int]:
        outputs = [self.fresh(primitive, var.aval, TMP) for var in equation.outvars]
        reads = [
            self._use(tensor, atom) for tensor, atom in zip(inputs, equation.invars, strict=True)
        ]
        if primitive in SLICES:
            made = self._bytes(equation.outvars[0].aval)
            reads[0] = Use(inputs[0], min(reads[0].bytes, made))
        if primitive in UNKNOWN:
            self.say("what a primitive computes is unknown and counts as no FLOPs", primitive)
        self.builder.instr(primitive, reads, outputs, flops_of(equation, primitive))
        return outputs
