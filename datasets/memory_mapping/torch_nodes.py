"""Look at the nodes of exported graphs; nodes are known by what they have, not by their class."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from typing import Any

from .layout import counted_trips
from .torch_cost import operator_name


def is_fake(tensor: Any) -> bool:
    """Tell whether a tensor has a shape but no contents.

    Args:
        tensor: a torch.Tensor.
    """
    return hasattr(tensor, "fake_mode") or tensor.is_meta


def held_by(module: Any, node: Any) -> Any:
    """Return what a get_attr node names.

    Args:
        module: module of the node's graph.
        node: the node.
    """
    held = module
    for step in str(node.target).split("."):
        held = getattr(held, step)
    return held


def placeholders(module: Any) -> list[Any]:
    """Return the inputs of a graph, in order.

    Args:
        module: the graph's module.
    """
    return [node for node in module.graph.nodes if node.op == "placeholder"]


def outputs_of(module: Any) -> list[Any]:
    """Return what a graph returns, nodes or constants, in order.

    Args:
        module: the graph's module.
    """
    return leaves_of([*module.graph.nodes][-1].args[0])


def changed_state(body: Any, count: int) -> list[bool]:
    """Tell which parts of a loop's state its body changes.

    Args:
        body: module of the body.
        count: parts of the state.
    """
    pairs = zip(placeholders(body)[:count], outputs_of(body)[:count], strict=True)
    return [old is not new for old, new in pairs]


def is_read(node: Any, part: int) -> bool:
    """Tell whether any node uses a part of a node's value.

    Args:
        node: the node.
        part: index of the part.
    """
    return any(
        bool(user.users) and user.args[1] == part if user.target is operator.getitem else True
        for user in node.users
    )


def is_like(node: Any, other: Any) -> bool:
    """Tell whether two nodes make tensors of one shape and type.

    Args:
        node: a node that makes a tensor.
        other: another node, or a number.
    """
    one, two = node.meta.get("val"), other.meta.get("val") if is_node(other) else None
    return two is not None and one.shape == two.shape and one.dtype == two.dtype


def indexed(whole: Any, indices: Sequence[Any]) -> int:
    """Return how many elements of a tensor indices name; a mask may name all.

    Args:
        whole: the tensor.
        indices: an index for each of its first dimensions, None for all of it.
    """
    values = [index.meta["val"] for index in indices if index is not None]
    if any(str(value.dtype) in ("torch.bool", "torch.uint8") for value in values):
        return int(whole.numel())
    rank = max((value.dim() for value in values), default=0)
    aligned = [[1] * (rank - value.dim()) + list(value.shape) for value in values]
    named = math.prod(max(extents) for extents in zip(*aligned, strict=True)) if aligned else 1
    rest = [
        int(extent)
        for k, extent in enumerate(whole.shape)
        if k >= len(indices) or indices[k] is None
    ]
    return named * math.prod(rest)


def is_node(value: Any) -> bool:
    """Tell whether an argument is a node.

    Args:
        value: the argument.
    """
    return hasattr(value, "meta") and hasattr(value, "op")


def leaves_of(value: Any) -> list[Any]:
    """Return the leaves of nested arguments, in order.

    Args:
        value: the arguments.
    """
    if isinstance(value, (list, tuple)):
        return [part for inner in value for part in leaves_of(inner)]
    if isinstance(value, Mapping):
        return [part for inner in value.values() for part in leaves_of(inner)]
    return [value]


def nodes_of(value: Any) -> list[Any]:
    """Return the nodes in nested arguments, in order.

    Args:
        value: the arguments.
    """
    return [part for part in leaves_of(value) if is_node(part)]


def traced(value: Any) -> Any:
    """Return nested arguments with traced values in place of nodes.

    Args:
        value: the arguments.
    """
    if isinstance(value, (list, tuple)):
        return [traced(part) for part in value]
    if isinstance(value, Mapping):
        return {key: traced(part) for key, part in value.items()}
    return value.meta.get("val") if is_node(value) else value


def viewed(node: Any) -> Any | None:
    """Return the node that this one is a view of, by its operator's schema; None for none.

    Args:
        node: a call_function node.
    """
    schema = getattr(node.target, "_schema", None)
    if schema is None or len(schema.returns) != 1 or schema.returns[0].alias_info is None:
        return None
    for argument, value in zip(schema.arguments, node.args, strict=False):
        info = argument.alias_info
        if info is not None and not info.is_write and is_node(value):
            return value
    return None


def while_trips(node: Any, condition: Any, body: Any, numbers: Mapping[Any, float]) -> int | None:
    """Return how often a loop runs that counts in equal steps to a constant; else None.

    Args:
        node: the loop.
        condition: module of its condition.
        body: module of its body.
        numbers: values of the constants that hold one number, by node.
    """
    tests = [part for part in condition.graph.nodes if part.op == "call_function"]
    compare = operator_name(tests[0]) if len(tests) == 1 else ""
    if compare not in ("lt", "le", "gt", "ge") or is_node(tests[0].args[1]):
        return None
    at = placeholders(condition).index(tests[0].args[0])
    if at >= len(node.args[2]):
        return None
    counter, step = placeholders(body)[at], outputs_of(body)[at]
    if not is_node(step) or step.op != "call_function":
        return None
    name = operator_name(step)
    if name not in ("add", "sub") or step.args[0] is not counter or is_node(step.args[1]):
        return None
    start = node.args[2][at]
    while is_node(start) and start.op == "call_function" and len(start.all_input_nodes) == 1:
        start = start.all_input_nodes[0]  # a copy of a constant
    if is_node(start) and start.op == "call_function" and operator_name(start) == "full":
        first = start.args[1]
    else:
        first = numbers.get(start) if is_node(start) else start
    by = step.args[1] if name == "add" else -step.args[1]
    limit = tests[0].args[1]
    if any(number is None or number != int(number) for number in (first, limit, by)):
        return None
    return counted_trips(int(first), int(limit), int(by), compare)
