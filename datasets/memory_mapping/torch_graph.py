"""Lay out exported PyTorch graphs: views, updates in place, loops, branches, wrapped functions."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ...core.errors import InstanceError
from .builder import Builder, Use
from .instance import ARG, CONST, OUT, SMALLEST_BYTES, TMP
from .layout import FOREVER, Layout
from .torch_cost import flops_of, is_known, operator_name
from .torch_nodes import (
    changed_state,
    held_by,
    indexed,
    is_fake,
    is_like,
    is_node,
    is_read,
    leaves_of,
    nodes_of,
    outputs_of,
    placeholders,
    traced,
    viewed,
    while_trips,
)

NOT_MADE = -1
# Their first operand counts for the part they read.
GATHERS = ("embedding", "gather", "index", "index_select", "take", "_unsafe_index")
INDEX_PUTS = ("index_put", "_unsafe_index_put", "_index_put_impl")
SCATTERS = ("scatter", "scatter_add", "scatter_reduce")
PART_SCATTERS = ("slice_scatter", "select_scatter", "diagonal_scatter", "as_strided_scatter")
INDEXED = ("index_copy", "index_add", "index_reduce", "index_fill")
UPDATES = (*INDEX_PUTS, *SCATTERS, *PART_SCATTERS, *INDEXED)
ADDING = ("scatter_add", "scatter_reduce", "index_add", "index_reduce")


class Value(NamedTuple):
    """What a node makes.

    Attributes:
        tensors: its tensors, NOT_MADE for parts of a tuple that nothing reads.
        bytes: of a view, the bytes it covers, at most its base's; -1 for all.
    """

    tensors: list[int]
    bytes: int = -1


class Reader(Layout):
    """Writes an exported graph's nodes to a builder.

    Attributes:
        trips: how often a while loop of unknown trip count runs.
        values: what the nodes at hand make.
        constants: tensors of a module's constants, by the identity of their values.
        numbers: values of the constants that hold one number, by node.
    """

    def __init__(self, name: str, builder: Builder, trips: int) -> None:
        super().__init__(name, builder)
        self.trips = trips
        self.values: dict[Any, Value] = {}
        self.constants: dict[int, int] = {}
        self.numbers: dict[Any, float] = {}

    def read(self, exported: Any) -> None:
        """Write all nodes, in order.

        Args:
            exported: a decomposed torch.export.ExportedProgram.

        Raises:
            InstanceError: a shape is dynamic.
        """
        signature = exported.graph_signature
        mutated = dict(getattr(signature, "buffers_to_mutate", {}) or {})
        mutated |= dict(getattr(signature, "user_inputs_to_mutate", {}) or {})
        targets = dict(signature.inputs_to_parameters) | dict(signature.inputs_to_buffers)
        by_target = {target: node for node, target in targets.items()}
        changed = {output: str(by_target.get(target, target)) for output, target in mutated.items()}
        constants = dict(signature.inputs_to_lifted_tensor_constants)
        arguments: dict[str, Value] = {}
        for node in exported.graph.nodes:
            if node.op == "placeholder":
                kind = CONST if node.name in constants else ARG
                arguments[node.name] = value = Value(self._fresh(node, kind))
                if node.name in changed.values():
                    self.owned |= set(value.tensors)
                given = exported.constants.get(constants.get(node.name))
                if hasattr(given, "numel") and given.numel() == 1 and not is_fake(given):
                    self.numbers[node] = float(given)
        results = self.run(exported.graph_module, list(arguments.values()))
        for value in results:
            for tensor in value.tensors:
                if tensor != NOT_MADE and self.builder.kinds[tensor] == TMP:
                    self.builder.kinds[tensor] = OUT
        by_name = {node.name: value for node, value in self.values.items()}
        for output, target in changed.items():
            new, old = by_name[output].tensors, arguments[target].tensors
            for made, storage in zip(new, old, strict=True):
                self.take_over(made, storage, f"{target}.next")

    def run(self, module: Any, inputs: Sequence[Value]) -> list[Value]:
        """Write a graph's nodes, and return what it returns.

        Args:
            module: the graph's module.
            inputs: a value for each of its placeholders.
        """
        nodes = list(module.graph.nodes)
        last = {used: at for at, node in enumerate(nodes) for used in node.all_input_nodes}
        last |= dict.fromkeys(nodes[-1].all_input_nodes, FOREVER)
        given = iter(inputs)
        results: list[Value] = []
        with self.scope(len(nodes)) as scope:
            for scope.at, node in enumerate(nodes):
                if node.op == "placeholder":
                    self.values[node] = next(given)
                elif node.op == "get_attr":
                    self._attribute(module, node)
                elif node.op == "call_function":
                    self.values[node] = self._call(module, node)
                elif node.op == "output":
                    results = [self._value(part) for part in leaves_of(node.args[0])]
                for tensor in self.values[node].tensors if node in self.values else ():
                    if tensor != NOT_MADE:
                        self.keep(tensor, last.get(node, -1))
        return results

    def _attribute(self, module: Any, node: Any) -> None:
        """Make a tensor of a constant that the module holds; graphs are no values."""
        held = held_by(module, node)
        if hasattr(held, "element_size"):
            if id(held) not in self.constants:
                size = self._bytes(node, held)
                self.constants[id(held)] = self.builder.tensor(node.name, size, CONST)
            self.values[node] = Value([self.constants[id(held)]])

    def _value(self, part: Any) -> Value:
        """Return the value of an argument; a number is a constant of no size."""
        if part in self.values if is_node(part) else False:
            return self.values[part]
        return Value([self.builder.tensor("number", 0, CONST)])

    def _fresh(self, node: Any, kind: int) -> list[int]:
        """Add tensors for a node's value and return their indices.

        Parts of a tuple that nothing reads (a pooling's indices, a normalization's statistics) are
        not made; their index is NOT_MADE.
        """
        value = node.meta.get("val")
        parts = value if isinstance(value, (list, tuple)) else [value]
        made = []
        for k, part in enumerate(parts):
            if len(parts) > 1 and not is_read(node, k):
                made.append(NOT_MADE)
                continue
            suffix = f".{k}" if isinstance(value, (list, tuple)) else ""
            made.append(self.builder.tensor(f"{node.name}{suffix}", self._bytes(node, part), kind))
        return made

    def _bytes(self, node: Any, value: Any) -> int:
        if value is None or not hasattr(value, "element_size"):
            return 0
        if "strided" not in str(value.layout) and "mkldnn" not in str(value.layout):
            raise InstanceError(
                f"{self.name}: node {node.name!r} has the layout {value.layout}, so its size is "
                "unknown; export with dense tensors"
            )
        count = 1
        for extent in value.shape:
            if not isinstance(extent, int):
                raise InstanceError(
                    f"{self.name}: node {node.name!r} has the dynamic shape {tuple(value.shape)}, "
                    "so its size is unknown; export with fixed shapes"
                )
            count *= extent
        return count * int(value.element_size())

    def _call(self, module: Any, node: Any) -> Value:
        if node.target is operator.getitem:
            return self._part(node)
        base = viewed(node)
        if base is not None and self.values.get(base, Value([])).tensors:
            # A view is another name: nothing runs, and the storage is the base's.
            inherited, value = self._size(base), node.meta.get("val")
            whole = isinstance(value, (list, tuple))
            covered = inherited if whole else min(self._bytes(node, value), inherited)
            return Value(self.values[base].tensors[:1], covered)
        name = operator_name(node)
        lay: Callable[[Any, Any], Value] | None = {
            "while_loop": self._while,
            "scan": self._scan,
            "map_impl": self._map,
            "cond": self._cond,
        }.get(name)
        if lay is not None:
            return lay(module, node)
        held = [held_by(module, part) for part in nodes_of(node.args) if part.op == "get_attr"]
        inner = next((part for part in held if hasattr(part, "graph")), None)
        if inner is not None and "flex_attention" not in name:
            return self._wrapped(node, name, inner)
        if not any(hasattr(part, "element_size") for part in leaves_of(node.meta.get("val"))):
            return Value([])  # an assertion, or a number
        if name == "copy" and is_like(node, node.args[1]):
            return self._value(node.args[1])
        if name in UPDATES:
            return Value([self._update(node, name)])
        return self._emit(node, name)

    def _part(self, node: Any) -> Value:
        """Return a part of a tuple; of a view's (split's, say) each is a view of its own."""
        whole = self.values[node.args[0]]
        if whole.bytes >= 0:
            return Value(whole.tensors, min(whole.bytes, self._bytes(node, node.meta.get("val"))))
        return Value([whole.tensors[node.args[1]]] if whole.tensors else [])

    def _size(self, node: Any) -> int:
        """Return the bytes of a node's first tensor, or of the part of it that a view covers."""
        value = self.values[node]
        return value.bytes if value.bytes >= 0 else self.builder.sizes[value.tensors[0]]

    def _uses(self, nodes: Sequence[Any]) -> list[Use]:
        return [
            Use(tensor, self.values[node].bytes)
            for node in nodes
            if node in self.values
            for tensor in self.values[node].tensors
            if tensor != NOT_MADE
        ]

    def _emit(self, node: Any, name: str) -> Value:
        args, kwargs = node.args, node.kwargs
        known = is_known(node)
        if name in ("with_effects", "out_dtype"):  # an operator among the arguments
            at = name == "with_effects"
            name, args, known = operator_name(args[at]), args[2:], True
        if "flex_attention" in name:
            self.say("of a flexible attention all pairs count, whatever its mask", node.name)
        elif not known:
            self.say("what an operator computes is unknown: one FLOP an element counted", name)
        operands = nodes_of((node.args, node.kwargs))
        if name == "copy":
            operands = nodes_of(node.args[1:])
        reads = self._uses(operands)
        made = self._fresh(node, TMP)
        if reads and name in GATHERS:
            reads[0] = Use(
                reads[0].tensor, min(self._size(operands[0]), self.builder.sizes[made[0]])
            )
        if name.startswith("_embedding_bag") and not name.endswith("backward"):
            table, rows = (part.meta["val"] for part in args[:2])
            touched = rows.numel() * table.shape[1] * table.element_size()
            reads[0] = Use(reads[0].tensor, min(self._size(operands[0]), touched))
        writes = [tensor for tensor in made if tensor != NOT_MADE]
        flops = flops_of(name, traced(args), traced(kwargs), node.meta.get("val"))
        self.builder.instr(node.name, reads, writes, flops)
        return Value(made)

    def _update(self, node: Any, name: str) -> int:
        """Emit a write of a part of a tensor; see Layout.update."""
        base, args = node.args[0], node.args
        whole = base.meta["val"]
        if name in INDEX_PUTS:
            amount = indexed(whole, args[1]) * whole.element_size()
            adds = len(args) > 3 and bool(args[3])
        elif name in SCATTERS:
            amount = args[2].meta["val"].numel() * whole.element_size()
            adds = name in ADDING or "reduce" in node.kwargs
        elif name in PART_SCATTERS:
            amount, adds = self._bytes(node, args[1].meta["val"]), False
        else:
            rows = args[2].meta["val"].numel() / max(whole.shape[args[1]], 1)
            amount, adds = math.ceil(self._bytes(node, whole) * rows), name in ADDING
        value = self.values[base]
        others = nodes_of((args[1:], node.kwargs))
        flops = flops_of(name, traced(args), traced(node.kwargs), node.meta.get("val"))
        if adds and name in INDEX_PUTS:
            flops = amount / whole.element_size()
        if value.bytes >= 0 and value.bytes < self.builder.sizes[value.tensors[0]]:
            # Of a view the part is made anew.
            made = self._fresh(node, TMP)
            self.builder.instr(node.name, self._uses([base, *others]), made, flops)
            return made[0]
        reads = self._uses(others)
        return self.update(node.name, value.tensors[0], reads, amount, flops, adds)

    def _wrapped(self, node: Any, name: str, inner: Any) -> Value:
        """Lay out a function that a higher-order operator runs."""
        count = sum(part.op == "placeholder" for part in inner.graph.nodes)
        args = node.args[1] if name == "hints_wrapper" else (node.args, node.kwargs)
        given = [part for part in leaves_of(args) if not (is_node(part) and part.op == "get_attr")]
        if len(given) < count:
            self.say("what an operator computes is unknown: one FLOP an element counted", name)
            return self._emit(node, name)
        inputs = [self._value(part) for part in given[len(given) - count :]]
        return Value([value.tensors[0] for value in self.run(inner, inputs)])

    def _cond(self, module: Any, node: Any) -> Value:
        _, yes, no, operands = node.args[:4]
        inputs = [self._value(part) for part in operands]

        def lay(inner: Any) -> Callable[[], list[Value]]:
            return lambda: self.run(inner, inputs)

        branches = [lay(held_by(module, part)) for part in (yes, no)]
        chosen: list[Value] = self.branch(node.name, branches)
        return Value([value.tensors[0] for value in chosen])

    def _while(self, module: Any, node: Any) -> Value:
        condition, body = (held_by(module, part) for part in node.args[:2])
        carried = [self._value(part) for part in node.args[2]]
        fixed = [self._value(part) for part in (node.args[3] if len(node.args) > 3 else ())]
        trips = while_trips(node, condition, body, self.numbers)
        if trips is None:
            trips = self.trips
            self.say(
                f"how often a while loop runs is unknown: {trips} assumed; give trips=N", node.name
            )
        state = [value.tensors[0] for value in carried]
        if trips == 0:
            return Value(state)
        made = [part.meta.get("val") for part in condition.graph.nodes]
        is_large = any(self._bytes(node, part) >= SMALLEST_BYTES for part in made)

        def lay(tensors: list[int]) -> list[int]:
            inputs = [*(Value([tensor]) for tensor in tensors), *fixed]
            if is_large:
                with self.scope():
                    for tensor in tensors:
                        self.keep(tensor, FOREVER)
                    self.run(condition, inputs)
            return [value.tensors[0] for value in self.run(body, inputs)]

        held = [value.tensors[0] for value in fixed]
        return Value(self.loop(node.name, trips, state, changed_state(body, len(state)), held, lay))

    def _scan(self, module: Any, node: Any) -> Value:
        inner, start, sliced = held_by(module, node.args[0]), node.args[1], node.args[2]
        fixed = node.args[3] if len(node.args) > 3 else ()
        return self._sliced_loop(node, inner, start, sliced, fixed)

    def _map(self, module: Any, node: Any) -> Value:
        inner, sliced, fixed = held_by(module, node.args[0]), node.args[1], node.args[2]
        return self._sliced_loop(node, inner, (), sliced, fixed)

    def _sliced_loop(
        self, node: Any, inner: Any, start: Any, sliced: Sequence[Any], fixed: Sequence[Any]
    ) -> Value:
        """Emit a loop over the slices of tensors; what it makes beside its state is stacked."""
        trips = int(sliced[0].meta["val"].shape[0]) if sliced else 1
        carried, others = [self._value(p) for p in start], [self._value(p) for p in fixed]
        wholes = [self._value(part) for part in sliced]
        parts = placeholders(inner)[len(carried) : len(carried) + len(wholes)]
        made = outputs_of(inner)[len(carried) :]
        results = node.meta["val"][len(carried) :]
        stacks = [
            self.builder.tensor(f"{node.name}.stack", self._bytes(node, value), TMP)
            for value in results
        ]
        state = [value.tensors[0] for value in carried]
        if trips == 0:
            for tensor in stacks:
                self.builder.kinds[tensor] = CONST  # without elements
            return Value([*state, *stacks])

        def lay(tensors: list[int]) -> list[int]:
            inputs = [Value([tensor]) for tensor in tensors]
            for whole, part in zip(wholes, parts, strict=True):
                size = self._bytes(node, part.meta.get("val"))
                inputs.append(Value([self.builder.tensor(f"{node.name}.slice", size, TMP)]))
                amount = min(size, self.builder.sizes[whole.tensors[0]])
                uses = [Use(whole.tensors[0], amount)]
                self.builder.instr(f"{node.name}.slice", uses, inputs[-1].tensors)
            returned = self.run(inner, [*inputs, *others])
            for value, part, stack in zip(returned[len(tensors) :], made, stacks, strict=True):
                amount = self._bytes(node, part.meta.get("val")) if is_node(part) else 0
                uses = [Use(value.tensors[0], min(amount, self.builder.sizes[value.tensors[0]]))]
                self.builder.instr(f"{node.name}.stack", uses, [Use(stack, amount)])
            return [value.tensors[0] for value in returned]

        held = [value.tensors[0] for value in (*others, *wholes)]
        changed = changed_state(inner, len(state))
        results = self.loop(node.name, trips, state, changed, held, lay)
        return Value([*results[: len(state)], *stacks])
