"""Generate federations: LEAF's synthetic data, learning curves in closed form, Markov texts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ...core.contracts import Setting
from ...core.errors import SettingError
from ..setting_texts import choice, real, whole
from .instance import CURVE, Federation, make_federation
from .partition import by_majority, federation_of
from .settings import OF_CURVES, SETTINGS, with_settings

KINDS = ("synthetic", CURVE)
LEAST_ROWS = 10  # fewest rows of a synthetic client, before some are held out
MOST_TIMES = 20  # most rows in multiples of the median, against a log-normal's tail
FALL = 1.2  # feature j has the variance j**-FALL
MOST_NUMBERS = 50_000_000  # most clients * (rows + classes) * features

_TERMS = (
    "rounds", "participants", "local_steps", "batch", "alpha", "beta", "model", "width", "drift",
    "label_drift", "stragglers", "noise",
)  # fmt: skip
_DATA = {
    "clients": Setting("50", "how many (1 to 10000)"),
    "features": Setting("60", "numbers of a row (1 to 10000)"),
    "classes": Setting("10", "labels (2 to 1000)"),
    "a": Setting("1", "how much the clients' true models differ (0 to 10)"),
    "b": Setting("1", "how much the clients' inputs differ (0 to 10)"),
    "rows": Setting("60", "of the median client, before some are held out (10 to 100000)"),
}
PARAMETERS: Mapping[str, Setting] = {
    "kind": Setting("synthetic", f"{' or '.join(KINDS)}, a learning curve without data"),
    **_DATA,
    **{key: SETTINGS[key] for key in _TERMS},
}
_WHOLE = {
    "clients": (1, 10_000), "features": (1, 10_000), "classes": (2, 1000), "rows": (10, 100_000)
}  # fmt: skip


class Rows(NamedTuple):
    """Rows of data and the clients that hold them.

    Attributes:
        inputs: float32 [N, F], or uint8 [N, L] of text.
        labels: int64 [N], or [N, L] of text.
        owner: int64 [N]; client of each row.
    """

    inputs: np.ndarray
    labels: np.ndarray
    owner: np.ndarray


def generate(values: Mapping[str, str], seed: int) -> Federation:
    """Generate a federation.

    Kind `synthetic` is LEAF's synthetic(a, b) (Caldas et al. 2018), with a share of each client's
    rows held out; kind `curve` is a learning curve in closed form (see `curve`).

    Args:
        values: texts by the names in PARAMETERS; those left out have their defaults, of a curve
            they are drawn.
        seed: the same seed and values give the same federation.

    Raises:
        SettingError: a parameter cannot be read, is out of range, or does not belong to the kind.
        InstanceError: the terms are impossible.
    """
    texts = {key: setting.default for key, setting in PARAMETERS.items()} | dict(values)
    kind = choice(texts, "kind", KINDS)
    terms = {key: values[key] for key in _TERMS if key in values}
    if kind == CURVE:
        odd = [key for key in values if key not in (*OF_CURVES, "kind")]
        if odd:
            raise SettingError(
                f"{odd[0]}={values[odd[0]]!r}: a learning curve has no data and no clients; leave "
                f"{odd[0]} out, or set kind=synthetic"
            )
        rng = np.random.default_rng([seed, 0xC4])
        return with_settings(curve(f"curve-seed{seed}", rng), terms)
    clients, features, classes, rows = (
        whole(texts, key, most, least) for key, (least, most) in _WHOLE.items()
    )
    if clients * (rows + classes) * features > MOST_NUMBERS:
        raise SettingError(
            f"clients={clients}, rows={rows}, features={features} and classes={classes} make "
            f"{clients * (rows + classes) * features:.2g} numbers, more than {MOST_NUMBERS:,}; set "
            "fewer rows or clients"
        )
    a, b = (real(texts, key, (0.0, 10.0)) for key in ("a", "b"))
    drawn = synthetic(clients, features, classes, a, b, rows, np.random.default_rng([seed, 0x5E]))
    made = federation_of(
        f"synthetic-{a:g}-{b:g}-seed{seed}",
        drawn.inputs,
        drawn.labels,
        owner=drawn.owner,
        classes=classes,
        seed=seed,
    )
    return with_settings(made, terms)


def synthetic(
    clients: int,
    features: int,
    classes: int,
    a: float,
    b: float,
    rows: int,
    rng: np.random.Generator,
) -> Rows:
    """Draw rows of LEAF's synthetic data; clients are numbered by their most frequent label.

    Client k has a true model W_k, c_k ~ N(u_k, 1) with u_k ~ N(0, a), and inputs x ~ N(v_k,
    diag(j**-1.2)) with v_k ~ N(B_k, 1), B_k ~ N(0, b); the label is the likeliest class of
    softmax(W_k x + c_k). a and b are standard deviations, as in the published generators. Sizes are
    log-normal, sigma 1 (Caldas et al. 2018).

    Args:
        clients: number of clients.
        features: numbers in a row, F.
        classes: number of possible labels, not all of which need occur.
        a: how much the clients' true models differ.
        b: how much the clients' inputs differ.
        rows: rows of the median client.
        rng: random generator for everything drawn.
    """
    counts = (rows * rng.lognormal(0.0, 1.0, clients)).astype(np.int64)
    counts = np.clip(counts, LEAST_ROWS, MOST_TIMES * rows)
    centers, shifts = rng.normal(0.0, a, clients), rng.normal(0.0, b, clients)
    spread = np.arange(1, features + 1) ** (-FALL / 2)
    inputs, labels = [], []
    for count, center, shift in zip(counts, centers, shifts, strict=True):
        weights = rng.normal(center, 1.0, (features, classes))
        bias = rng.normal(center, 1.0, classes)
        middle = rng.normal(shift, 1.0, features)
        x = middle + spread * rng.standard_normal((count, features))
        inputs.append(x.astype(np.float32))
        labels.append((x @ weights + bias).argmax(axis=1))
    joined = np.concatenate(labels).astype(np.int64)
    owner = by_majority(np.repeat(np.arange(clients), counts), joined)
    return Rows(np.concatenate(inputs), joined, owner)


def curve(name: str, rng: np.random.Generator) -> Federation:
    """Draw a learning curve after the annealing law (Tissue et al. 2024): no data, one client.

    Drawn are how long training takes, the rate above which it diverges and what annealing gains;
    the law's scale and annealing follow from these. Initial rates are drawn from a hundredth of
    that highest rate up to beyond it.

    Args:
        name: name of the federation.
        rng: random generator for everything drawn.
    """
    rounds = int(rng.integers(20, 61))
    most = round_off(log_uniform(rng, 0.05, 1.0))
    floor = round_off(rng.uniform(0.05, 0.6))
    exponent = round_off(rng.uniform(0.2, 0.7))
    memory = round_off(rng.uniform(0.8, 0.98))
    # At half the highest rate all along, the loss ends this much above its floor.
    excess = rng.uniform(0.3, 1.5)
    scale = round_off(excess * (0.5 * most * rounds) ** exponent)
    # If the rate drops from most to 0, S2 is most / (1 - memory): the gain is below excess.
    annealing = round_off(rng.uniform(0.05, 0.3) * excess * (1 - memory) / most)
    alpha = round_off(log_uniform(rng, 0.3, 3.0))
    beta = round_off(most * log_uniform(rng, 0.01, 1.5) / alpha)
    return make_federation(
        name,
        model=CURVE,
        participants=1,
        rounds=rounds,
        alpha=alpha,
        beta=beta,
        law=np.array([floor, scale, exponent, annealing, memory, most]),
    )


def chains(clients: int, letters: int, length: int, rows: int, rng: np.random.Generator) -> Rows:
    """Draw texts of Markov chains, one chain per client.

    A letter follows a mixture of letter frequencies common to all clients (0.4), of common
    transitions (0.45) and of the client's own transitions (0.15), so that training meets the
    plateau of a language's letter frequencies before it learns which letter follows which.

    Args:
        clients: number of clients.
        letters: number of letters in the alphabet.
        length: letters of a sequence, L.
        rows: sequences of each client.
        rng: random generator for everything drawn.

    Returns:
        Sequences uint8 [clients * rows, L] and the next letter at each position, int64, same shape.
    """
    common = rng.dirichlet(np.full(letters, 0.3))
    follows = rng.dirichlet(np.full(letters, 0.15), letters)
    texts, owner = [], np.repeat(np.arange(clients), rows)
    for _ in range(clients):
        own = rng.dirichlet(np.full(letters, 0.3), letters)
        ends = np.cumsum(0.4 * common + 0.45 * follows + 0.15 * own, axis=1)
        state = rng.integers(0, letters, rows)
        text = [state]
        for _ in range(length):
            state = (rng.random(rows)[:, None] > ends[state]).sum(axis=1).clip(0, letters - 1)
            text.append(state)
        texts.append(np.stack(text, axis=1))
    joined = np.concatenate(texts)
    return Rows(joined[:, :-1].astype(np.uint8), joined[:, 1:].astype(np.int64), owner)


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a number that is uniform on the logarithmic scale.

    Args:
        rng: random generator.
        low: least number.
        high: largest number.
    """
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def round_off(value: float) -> float:
    """Round to four significant digits, on which the exponentials of all machines agree."""
    return float(f"{value:.4g}")


def rename(federation: Federation, name: str) -> Federation:
    """Return the federation under another name.

    Args:
        federation: any federation.
        name: its new name.
    """
    return dataclasses.replace(federation, name=name)
