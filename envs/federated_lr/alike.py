"""Which federations can be played side by side in one computation."""

from __future__ import annotations

from collections.abc import Hashable

from ...core.errors import InstanceError
from ...datasets.federated_lr.instance import CURVE, Federation

ALIKE = ("model", "width", "classes", "participants", "local_steps", "batch_size")


def kind_of(federation: Federation) -> Hashable:
    """Return what federations of one computation have in common.

    Args:
        federation: any one.
    """
    if federation.model == CURVE:
        return (CURVE,)
    return (*(getattr(federation, name) for name in ALIKE), federation.inputs.shape[1:])


def check_alike(first: Federation, other: Federation) -> None:
    """Refuse a federation that cannot be played beside another one in one computation.

    Args:
        first: a federation of the computation.
        other: the federation that would join it.

    Raises:
        InstanceError: `other` differs from `first` in ALIKE or in the shape of its inputs.
    """
    if kind_of(first) != kind_of(other):
        raise InstanceError(
            f"{other.name} differs from {first.name} in {', '.join(ALIKE)} or the shape of its "
            "inputs; federations of one computation must be alike there, so play it apart"
        )
