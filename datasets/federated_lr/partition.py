"""Divide rows into training, validation and test, and among clients."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core.errors import InstanceError
from .instance import Federation, make_federation

HELD = 0.15  # default share of rows held out for validation, and again for the test
CLIENTS = 100  # default, if there are ROWS_A_CLIENT rows for each
ROWS_A_CLIENT = 10
PARTICIPANTS = 10
MOST_SHARES = 10_000_000  # clients x classes
MOST_LOOKS = 20_000_000_000  # clients x rows: every client without a row is given one of another's
SKEW = 0.5  # Dirichlet(0.5), as in FedHyper's experiments


def federation_of(
    name: str,
    inputs: np.ndarray,
    labels: np.ndarray,
    *,
    owner: np.ndarray | None = None,
    clients: int | None = None,
    skew: float | None = SKEW,
    validation: float = HELD,
    test: float = HELD,
    seed: int = 0,
    **terms: Any,
) -> Federation:
    """Make a federation of rows, and partition them among clients unless they belong to some.

    Args:
        name: name of the federation.
        inputs: all rows, [N, ...]; see Federation.
        labels: labels of all rows, int64 [N], or [N, L] of text.
        owner: int64 [N], client of each row; the same share of each client's rows is then held out.
            None: the same share of each class is held out, and the other rows are partitioned.
        clients: number of clients to partition among; None for 100, or one per 10 rows if that is
            less.
        skew: see `partition`.
        validation: rows held out for the server; a share of all if below 1, else a number.
        test: rows held out for the judge, likewise.
        seed: seed of the split and the partition.
        **terms: further fields of Federation. By default `classes` follows from the largest label,
            and `participants` is 10, or the number of clients if that is less.

    Raises:
        InstanceError: too few rows, fewer rows than clients, or an impossible federation.
    """
    if not len(labels) or len(labels) != len(inputs):
        raise InstanceError(
            f"{name}: holds {len(inputs)} rows and {len(labels)} labels; give as many of each, at "
            "least one"
        )
    rng = np.random.default_rng([seed, 0xFED])
    strata = (
        owner if owner is not None else labels if labels.ndim == 1 else np.zeros_like(labels[:, 0])
    )
    train, val, held = split(name, strata, validation, test, rng)
    if owner is None:
        if clients is None:
            clients = max(1, min(CLIENTS, len(train) // ROWS_A_CLIENT))
        lying = partition(name, labels[train], clients, skew, rng)
    else:
        lying = owner[train]
    terms.setdefault("classes", int(labels.max()) + 1)
    terms.setdefault("participants", min(PARTICIPANTS, int(lying.max()) + 1))
    return make_federation(
        name,
        inputs=inputs[train],
        labels=labels[train],
        owner=lying,
        val_inputs=inputs[val],
        val_labels=labels[val],
        test_inputs=inputs[held],
        test_labels=labels[held],
        **terms,
    )


def split(
    name: str, strata: np.ndarray, validation: float, test: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Divide rows into training, validation and test; every stratum gives the same share.

    Args:
        name: name of the federation, for error messages.
        strata: int64 [N], stratum of each row, from 0; at least one row of each is trained on.
        validation: a share of all rows if below 1 (at least one row), else a number of rows.
        test: likewise.
        rng: draws which rows are held out.

    Returns:
        Rows for training, validation and test, int64 each, in ascending order.

    Raises:
        InstanceError: too few rows.
    """
    rows = len(strata)
    first, second = (max(1, round(rows * n)) if n < 1 else int(n) for n in (validation, test))
    order = rng.permutation(rows)
    drawn = strata[order]
    counts = np.bincount(drawn)
    by_stratum = np.argsort(drawn, kind="stable")
    starts = np.cumsum(counts) - counts
    rank = np.empty(rows, np.int64)
    rank[by_stratum] = np.arange(rows) - starts[drawn[by_stratum]]
    # Rows are taken by their relative rank in their stratum, so that all strata give alike.
    keys = (rank + 0.5) / counts[drawn]
    keys[rank == counts[drawn] - 1] = 1
    needed = first + second + np.count_nonzero(counts)
    if rows < needed:
        raise InstanceError(
            f"{name}: holds {rows} rows; {first} for validation, {second} for the test and one of "
            f"each class or client to train on make {needed}; give more rows"
        )
    taken = order[np.argsort(keys, kind="stable")]
    val, held, train = np.split(taken, [first, first + second])
    return np.sort(train), np.sort(val), np.sort(held)


def partition(
    name: str, labels: np.ndarray, clients: int, skew: float | None, rng: np.random.Generator
) -> np.ndarray:
    """Partition rows among clients; none is empty, and clients with similar labels are neighbors.

    Args:
        name: name of the federation, for error messages.
        labels: int64 [N], or [N, L] of text, which cannot be skewed.
        clients: number of clients.
        skew: None to deal rows out evenly (IID); else the clients' shares of each class are drawn
            from Dirichlet(skew), as in FedHyper (Wang et al. 2024): the smaller, the less alike
            they are.
        rng: draws the partition.

    Returns:
        Client of each row, int64 [N].

    Raises:
        InstanceError: fewer rows than clients, too many clients, or a skew for text.
    """
    if not 1 <= clients <= len(labels):
        raise InstanceError(
            f"{name}: {len(labels)} rows to train on cannot be shared among {clients} clients, each"
            f" with at least one; set clients to a number from 1 to {len(labels)}"
        )
    kinds = int(labels.max()) + 1 if labels.ndim == 1 else 1
    if clients * kinds > MOST_SHARES or clients * len(labels) > MOST_LOOKS:
        raise InstanceError(
            f"{name}: {len(labels)} rows of {kinds} classes shared among {clients} clients would "
            "take minutes; set fewer clients"
        )
    if skew is None:
        return rng.permutation(np.arange(len(labels)) % clients)
    if labels.ndim > 1:
        raise InstanceError(f"{name}: rows of text have no class to be skewed by; set skew=iid")
    owner = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        shares = rng.dirichlet(np.full(clients, skew))
        ends = (np.cumsum(shares)[:-1] * len(rows)).astype(np.int64)
        for client, part in enumerate(np.split(rows, ends)):
            owner[part] = client
    _fill(owner, clients, rng)
    return by_majority(owner, labels)


def _fill(owner: np.ndarray, clients: int, rng: np.random.Generator) -> None:
    """Give each empty client a row of the client that has most, in place."""
    counts = np.bincount(owner, minlength=clients)
    rows_of: dict[int, np.ndarray] = {}  # of clients that have given
    for empty in np.flatnonzero(counts == 0):
        giver = int(counts.argmax())
        if giver not in rows_of:
            rows_of[giver] = np.flatnonzero(owner == giver)
        row = rng.choice(rows_of[giver])
        owner[row] = empty
        rows_of[giver] = rows_of[giver][rows_of[giver] != row]
        counts[giver] -= 1
        counts[empty] = 1


def by_majority(owner: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Renumber clients by their most frequent label.

    Drift, which goes by client number, then changes which labels are learned from.

    Args:
        owner: int64 [N]; client of each row, none empty.
        labels: int64 [N].

    Returns:
        int64 [N]; new client of each row.
    """
    classes = int(labels.max()) + 1
    clients = int(owner.max()) + 1
    table = np.bincount(owner * classes + labels, minlength=clients * classes)
    order = np.argsort(table.reshape(clients, classes).argmax(axis=1), kind="stable")
    number = np.empty(clients, np.int64)
    number[order] = np.arange(clients)
    renumbered: np.ndarray = number[owner]
    return renumbered


def natural(groups: np.ndarray) -> np.ndarray:
    """Number groups (speakers, writers) in order of appearance.

    Args:
        groups: [N]; name of each row's group.

    Returns:
        int64 [N]; client of each row.
    """
    _, first, code = np.unique(groups, return_index=True, return_inverse=True)
    place = np.argsort(np.argsort(first, kind="stable"), kind="stable").astype(np.int64)
    owner: np.ndarray = place[code.ravel()]
    return owner
