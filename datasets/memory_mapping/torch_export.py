"""Make programs of PyTorch models through torch.export.

The graph is decomposed to ATen operators and made functional, so that each node makes new tensors
or a view; its order is the schedule. Sizes come from the traced values, FLOPs from torch's own
counter, views from the operators' schemas.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ...core.errors import InstanceError, MissingDependencyError
from .builder import Builder, Use
from .hardware import DEFAULT, Hardware, load_hardware
from .instance import ARG, CONST, OUT, TMP, Program
from .settings import DEFAULT_CAPACITY

NOT_MADE = -1


def program_of_model(
    model: Any,
    example_inputs: tuple[Any, ...],
    kwargs: Mapping[str, Any] | None = None,
    name: str | None = None,
    hardware: str = DEFAULT,
    capacity: str = DEFAULT_CAPACITY,
) -> Program:
    """Make a program of a model's forward pass.

    Args:
        model: a torch.nn.Module.
        example_inputs: positional inputs of the model; only shapes and types matter.
        kwargs: further inputs, by name.
        name: name of the program; None for the model's class.
        hardware: profile that gives the times.
        capacity: size of fast memory, as in `sizes.read_capacity`.

    Raises:
        InstanceError: torch.export refuses the model (its reason is passed on), or a shape is
            dynamic.
        SettingError: the capacity cannot be read.
        UnknownNameError: no such hardware profile.
        MissingDependencyError: torch is not installed.
    """
    torch = _torch()
    title = name or type(model).__name__
    try:
        exported = torch.export.export(model, tuple(example_inputs), kwargs=dict(kwargs or {}))
    except Exception as error:  # whatever torch finds wrong with a user's model
        raise InstanceError(
            f"{title}: torch.export refuses the model: {_first_lines(error)}; change the model as "
            "it says, or trace a part of it"
        ) from error
    return program_of_export(exported, title, load_hardware(hardware), capacity)


def load_pt2(path: Path, hardware: Hardware, capacity: str = DEFAULT_CAPACITY) -> Program:
    """Make a program of a file that torch.export.save wrote.

    Args:
        path: the file, .pt2.
        hardware: profile that gives the times.
        capacity: size of fast memory, as in `sizes.read_capacity`.

    Raises:
        InstanceError: torch cannot load it (its reason is passed on), or a shape is dynamic.
        SettingError: the capacity cannot be read.
        MissingDependencyError: torch is not installed.
    """
    torch = _torch()
    try:
        exported = torch.export.load(str(path))
    except Exception as error:  # whatever torch finds wrong with a user's file
        raise InstanceError(
            f"{path}: torch.export cannot load it: {_first_lines(error)}; save it again with "
            "torch.export.save and the torch installed here"
        ) from error
    return program_of_export(exported, path.name.split(".")[0], hardware, capacity)


def program_of_export(
    exported: Any, name: str, hardware: Hardware, capacity: str = DEFAULT_CAPACITY
) -> Program:
    """Make a program of a torch.export.ExportedProgram.

    Args:
        exported: the exported program; it is decomposed to ATen operators first.
        name: name of the program.
        hardware: profile that gives the times.
        capacity: size of fast memory, as in `sizes.read_capacity`.

    Raises:
        InstanceError: the model cannot be decomposed, a shape is dynamic, or there is nothing to
            decide.
        SettingError: the capacity cannot be read.
    """
    try:
        exported = exported.run_decompositions()
    except Exception as error:  # operators without a decomposition raise exceptions of any kind
        raise InstanceError(
            f"{name}: torch.export cannot decompose the model: {_first_lines(error)}"
        ) from error
    reader = _Reader(name, Builder(hardware))
    reader.read(exported)
    return reader.builder.build(name, capacity)


def _torch() -> Any:
    try:
        import torch
        import torch.export
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "importing PyTorch models needs torch; pip install 'sysopt-gym[agents]'"
        ) from error
    return torch


def _first_lines(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:3])[:400] or type(error).__name__


class _Reader:
    """Writes a graph's nodes to a builder.

    Attributes:
        name: name of the program, for error messages.
        builder: the program under construction.
        flops_of: torch's functions that count the FLOPs of an operator.
        gathers: operators whose first operand counts only for the part they read.
        tensors: node name -> its tensors; several for a tuple.
        parts: node name -> bytes of a view, at most its base's.
    """

    def __init__(self, name: str, builder: Builder) -> None:
        from torch import ops
        from torch.utils.flop_counter import flop_registry

        aten = ops.aten
        self.name = name
        self.builder = builder
        self.flops_of: Mapping[Any, Callable[..., Any]] = flop_registry
        # Their first operand counts for the part they read.
        self.gathers = (aten.embedding, aten.gather, aten.index, aten.index_select)
        self.tensors: dict[str, list[int]] = {}
        self.parts: dict[str, int] = {}

    def read(self, exported: Any) -> None:
        """Write all nodes, in order; placeholders come first in the graph.

        Args:
            exported: a decomposed torch.export.ExportedProgram.
        """
        signature = exported.graph_signature
        mutated = dict(getattr(signature, "buffers_to_mutate", {}) or {})
        mutated |= dict(getattr(signature, "user_inputs_to_mutate", {}) or {})
        targets = dict(signature.inputs_to_parameters) | dict(signature.inputs_to_buffers)
        by_target = {target: node for node, target in targets.items()}
        constants = set(signature.inputs_to_lifted_tensor_constants)
        for node in exported.graph.nodes:
            if node.op == "placeholder":
                kind = CONST if node.name in constants else ARG
                self.tensors[node.name] = self._fresh(node, kind)
            elif node.op == "call_function":
                self._call(node)
            elif node.op == "output":
                for value in _nodes(node.args):
                    self._leaves(value.name)
        for output, target in mutated.items():
            self._in_place(output, str(by_target.get(target, target)))

    def _fresh(self, node: Any, kind: int, alias: int = -1) -> list[int]:
        """Add tensors for a node's value and return their indices.

        Parts of a tuple that nothing reads (a pooling's indices, a normalization's statistics) are
        not made; their index is NOT_MADE.
        """
        value = node.meta.get("val")
        parts = value if isinstance(value, (list, tuple)) else [value]
        made = []
        for k, part in enumerate(parts):
            if len(parts) > 1 and not _is_read(node, k):
                made.append(NOT_MADE)
                continue
            size = self._bytes(node, part)
            suffix = f".{k}" if isinstance(value, (list, tuple)) else ""
            made.append(self.builder.tensor(f"{node.name}{suffix}", size, kind, alias))
        return made

    def _bytes(self, node: Any, value: Any) -> int:
        if value is None or not hasattr(value, "element_size"):
            return 0
        count = 1
        for extent in value.shape:
            if not isinstance(extent, int):
                raise InstanceError(
                    f"{self.name}: node {node.name!r} has the dynamic shape {tuple(value.shape)}, "
                    "so its size is unknown; export with fixed shapes"
                )
            count *= extent
        return count * int(value.element_size())

    def _call(self, node: Any) -> None:
        inputs = [value for value in _nodes((node.args, node.kwargs)) if value.name in self.tensors]
        if node.target is operator.getitem:
            parts, k = self.tensors[inputs[0].name], node.args[1]
            if inputs[0].name in self.parts:  # a part of a view such as split's
                self.parts[node.name] = self._bytes(node, node.meta.get("val"))
                k = 0
            self.tensors[node.name] = [parts[k]]
            return
        base = _viewed(node)
        if base is not None and self.tensors.get(base.name):
            # A view is another name: nothing runs, and the storage is the base's.
            self.tensors[node.name] = self.tensors[base.name][:1]
            inherited = self._size(base)
            value = node.meta.get("val")
            whole = isinstance(value, (list, tuple))
            self.parts[node.name] = inherited if whole else min(self._bytes(node, value), inherited)
            return
        reads = [
            Use(tensor, self.parts.get(value.name, -1))
            for value in inputs
            for tensor in self.tensors[value.name]
            if tensor != NOT_MADE
        ]
        made = self._fresh(node, TMP)
        if reads and getattr(node.target, "overloadpacket", None) in self.gathers:
            reads[0] = Use(reads[0].tensor, min(self._size(inputs[0]), self.builder.sizes[made[0]]))
        self.tensors[node.name] = made
        writes = [tensor for tensor in made if tensor != NOT_MADE]
        self.builder.instr(node.name, reads, writes, self._flops(node))

    def _size(self, node: Any) -> int:
        """Return the bytes of a node's first tensor, or of the part of it that a view covers."""
        return self.parts.get(node.name, self.builder.sizes[self.tensors[node.name][0]])

    def _flops(self, node: Any) -> float:
        packet = getattr(node.target, "overloadpacket", None)
        values = [node.meta.get("val")]
        if packet in self.flops_of:
            args, kwargs = _values(node.args), _values(node.kwargs)
            return float(self.flops_of[packet](*args, **kwargs, out_val=values[0]))
        first = values[0][0] if isinstance(values[0], (list, tuple)) and values[0] else values[0]
        return float(first.numel()) if hasattr(first, "numel") else 0.0

    def _leaves(self, name: str) -> None:
        """Mark the tensors that a node made as outputs of the program."""
        for tensor in self.tensors.get(name, ()):
            if tensor != NOT_MADE and self.builder.kinds[tensor] == TMP:
                self.builder.kinds[tensor] = OUT

    def _in_place(self, output: str, target: str) -> None:
        """Let the new content of a mutated buffer share its storage."""
        new, old = self.tensors.get(output, []), self.tensors.get(target, [])
        for made, storage in zip(new, old, strict=False):
            fits = self.builder.sizes[made] <= self.builder.sizes[storage]
            if fits and made != storage and self.builder.aliases[made] < 0:
                self.builder.aliases[made] = storage


def _is_read(node: Any, part: int) -> bool:
    """Whether any node uses a part of a node's value."""
    return any(
        bool(user.users) and user.args[1] == part if user.target is operator.getitem else True
        for user in node.users
    )


def _nodes(value: Any) -> list[Any]:
    """Return the graph nodes in nested arguments, in order."""
    if isinstance(value, (list, tuple)):
        return [node for part in value for node in _nodes(part)]
    if isinstance(value, dict):
        return [node for part in value.values() for node in _nodes(part)]
    return [value] if hasattr(value, "meta") and hasattr(value, "op") else []


def _values(value: Any) -> Any:
    """Return nested arguments with traced values in place of nodes."""
    if isinstance(value, (list, tuple)):
        return type(value)(_values(part) for part in value)
    if isinstance(value, dict):
        return {key: _values(part) for key, part in value.items()}
    return value.meta.get("val") if hasattr(value, "meta") and hasattr(value, "op") else value


def _viewed(node: Any) -> Any | None:
    """Return the node that this one is a view of, by its operator's schema; None for none."""
    schema = getattr(node.target, "_schema", None)
    if schema is None or len(schema.returns) != 1 or schema.returns[0].alias_info is None:
        return None
    for argument, value in zip(schema.arguments, node.args, strict=False):
        info = argument.alias_info
        if info is not None and not info.is_write and hasattr(value, "meta"):
            return value
    return None
