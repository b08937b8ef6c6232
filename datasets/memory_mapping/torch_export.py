"""Make programs of PyTorch models through torch.export.

The graph is decomposed to ATen operators and made functional, so that each node makes new tensors
or a view; its order is the schedule. Bodies of loops, branches and wrapped functions are laid out
in place (torch_graph.py). Sizes come from the traced values, views from the operators' schemas.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...core.errors import InstanceError, MissingDependencyError
from ...core.trust import trusts_files
from .builder import Builder
from .hardware import DEFAULT, Hardware, load_hardware
from .instance import Program
from .settings import DEFAULT_CAPACITY


def program_of_model(
    model: Any,
    example_inputs: Any,
    kwargs: Mapping[str, Any] | None = None,
    name: str | None = None,
    hardware: str = DEFAULT,
    capacity: str = DEFAULT_CAPACITY,
    trips: int = 1,
) -> Program:
    """Make a program of a model's forward pass.

    What the model does not tell is said in a note.

    Args:
        model: a torch.nn.Module.
        example_inputs: positional inputs of the model, in a tuple or list, or its only one; only
            shapes and types matter.
        kwargs: further inputs, by name.
        name: name of the program; None for the model's class.
        hardware: profile that gives the times.
        capacity: size of fast memory, as in `sizes.read_capacity`.
        trips: how often a while loop runs that does not count to a constant.

    Raises:
        InstanceError: torch.export refuses the model (its reason is passed on), or a shape is
            dynamic.
        SettingError: the capacity cannot be read.
        UnknownNameError: no such hardware profile.
        MissingDependencyError: torch is not installed.
    """
    torch = _torch()
    title = name or type(model).__name__
    many = isinstance(example_inputs, (tuple, list))
    inputs = tuple(example_inputs) if many else (example_inputs,)
    try:
        exported = torch.export.export(model, inputs, kwargs=dict(kwargs or {}))
    except Exception as error:  # whatever torch finds wrong with a user's model
        raise InstanceError(
            f"{title}: torch.export refuses the model: {_first_lines(error)}; change the model as "
            "it says, or trace a part of it"
        ) from error
    return program_of_export(exported, title, load_hardware(hardware), capacity, trips)


def load_pt2(
    path: Path, hardware: Hardware, capacity: str = DEFAULT_CAPACITY, trips: int = 1
) -> Program:
    """Make a program of a file that torch.export.save wrote, if the user trusts it.

    To load such a file can run code that somebody has put into it: torch unpickles parts of it
    (with weights_only=False where the safe way fails), evaluates its expressions, and calls the
    functions that its graph names. No way of reading it is free of that, so it is refused unless
    the user says `--trust`.

    Args:
        path: the file, .pt2.
        hardware: profile that gives the times.
        capacity: size of fast memory, as in `sizes.read_capacity`.
        trips: how often a while loop runs that does not count to a constant.

    Raises:
        InstanceError: the user has not said `--trust`, torch cannot load it (its reason is passed
            on), or a shape is dynamic.
        SettingError: the capacity cannot be read.
        MissingDependencyError: torch is not installed.
    """
    if not trusts_files():
        raise InstanceError(
            f"{path}: PyTorch can run code that is hidden in such a file when it is loaded; if you "
            "trust whoever made it, add --trust (or set SYSOPT_TRUST=1), else give the program as "
            "HLO text or program JSON"
        )
    torch = _torch()
    try:
        exported = torch.export.load(str(path))
    except Exception as error:  # whatever torch finds wrong with a user's file
        raise InstanceError(
            f"{path}: torch.export cannot load it: {_first_lines(error)}; save it again with "
            "torch.export.save and the torch installed here"
        ) from error
    return program_of_export(exported, path.name.split(".")[0], hardware, capacity, trips)


def program_of_export(
    exported: Any,
    name: str,
    hardware: Hardware,
    capacity: str = DEFAULT_CAPACITY,
    trips: int = 1,
) -> Program:
    """Make a program of a torch.export.ExportedProgram.

    Args:
        exported: the exported program; it is decomposed to ATen operators first.
        name: name of the program.
        hardware: profile that gives the times.
        capacity: size of fast memory, as in `sizes.read_capacity`.
        trips: how often a while loop runs that does not count to a constant.

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
    from .torch_graph import Reader

    reader = Reader(name, Builder(hardware), trips)
    reader.read(exported)
    reader.tell()
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
