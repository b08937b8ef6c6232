"""Shares rows out: for training, validation and test, and among clients."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core.errors import InstanceError
from .instance import Federation, make_federation

HELD = 0.15  # of the rows, for validation and again for the test, where nothing else is asked for
CLIENTS = 100  # where nothing else is asked for, and there are ROWS_A_CLIENT rows for each
ROWS_A_CLIENT = 10
PARTICIPANTS = 10
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
    """A federation of rows that lie in one heap, or with clients already.

    Args:
        name: of the federation.
        inputs: all rows; see Federation.
        labels: of all rows.
        owner: int64 [N], the client of each row, whose share is then held out of each client's
            rows; None to hold out of each class alike, and to partition what is left.
        clients: how many to partition among; None for 100, or one for each 10 rows if that is less.
        skew: see `partition`.
        validation: rows held out for the server; below 1 a share of all, else how many.
        test: rows held out for the judge, likewise.
        seed: of the split and the partition.
        terms: fields of Federation that differ from the defaults. Classes are as many as the
            highest label asks for, participants 10 or all of fewer clients, where not given.

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
    """Rows for training, validation and test, in their order; each stratum gives alike.

    Args:
        name: for errors.
        strata: int64 [N], from 0; one row of each is sure to be trained on.
        validation: below 1 a share of all rows (at least one row), else how many.
        test: likewise.
        rng: draws which.

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
    # The first so many per cent of each stratum are held out: rows are taken by relative rank.
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
    """The client of each row, int64 [N]; none is empty, and clients of like labels lie together.

    Args:
        name: for errors.
        labels: int64 [N], or [N, L], which have no skew.
        clients: how many.
        skew: None for rows dealt out evenly (IID); else of each class the clients get shares drawn
            from Dirichlet(skew), as in FedHyper (Wang et al. 2024): the smaller, the less alike.
        rng: draws the partition.

    Raises:
        InstanceError: fewer rows than clients, or a skew of text.
    """
    if not 1 <= clients <= len(labels):
        raise InstanceError(
            f"{name}: {len(labels)} rows to train on cannot be shared among {clients} clients, each"
            f" with at least one; set clients to a number from 1 to {len(labels)}"
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
    """Each empty client gets a row of the one that has most; in place."""
    counts = np.bincount(owner, minlength=clients)
    for empty in np.flatnonzero(counts == 0):
        giver = int(counts.argmax())
        owner[rng.choice(np.flatnonzero(owner == giver))] = empty
        counts[giver] -= 1
        counts[empty] = 1


def by_majority(owner: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Clients numbered anew, by the label most of their rows have: drift, which goes by number,
    then changes what is learned from.

    Args:
        owner: int64 [N]; none empty.
        labels: int64 [N].
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
    """The client of each row, int64 [N]: groups (speakers, writers), in order of appearance."""
    _, first, code = np.unique(groups, return_index=True, return_inverse=True)
    place = np.argsort(np.argsort(first, kind="stable"), kind="stable").astype(np.int64)
    owner: np.ndarray = place[code.ravel()]
    return owner
