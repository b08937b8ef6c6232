"""Federations side by side in one computation: which can be, and by which dynamics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...core.errors import InstanceError
from ...datasets.federated_lr.instance import CURVE, Federation

ALIKE = ("model", "width", "classes", "participants", "local_steps", "batch_size")


def check_alike(first: Federation, other: Federation) -> None:
    """Refuses a federation that cannot be played beside the first in one computation.

    Raises:
        InstanceError: it differs in ALIKE or the shape of its inputs.
    """
    same = all(getattr(first, name) == getattr(other, name) for name in ALIKE)
    if first.model == other.model == CURVE:
        return
    if not same or first.inputs.shape[1:] != other.inputs.shape[1:]:
        raise InstanceError(
            f"{other.name} differs from {first.name} in {', '.join(ALIKE)} or the shape of its "
            "inputs; lanes of one computation must be alike there, so play it apart"
        )


def make_lanes(federations: Sequence[Federation], device: str = "cpu") -> Any:
    """Dynamics of federations that are alike: dynamics.Lanes, or curve.Curves of surrogates."""
    if federations[0].model == CURVE:
        from .curve import Curves

        return Curves(federations)
    from .dynamics import Lanes

    return Lanes(federations, device)
