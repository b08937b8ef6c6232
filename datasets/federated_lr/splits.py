"""Named instance sets of federated_lr: grids of initial rates, and sets to train agents on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..files import read_file
from ..sets import Drawn, Public, Sets
from .digits import digits
from .generator import chains, curve, generate, log_uniform, rename, round_off
from .images import idx_images, pooled
from .instance import Federation
from .loaders import play_federation
from .optdigits import optdigits
from .partition import federation_of
from .settings import with_settings

# The published grid of initial rates (Wang et al. 2024, robustness): a row per beta.
BETAS = (0.001, 0.005, 0.01, 0.05, 0.1)
ALPHAS = (0.5, 0.75, 1.0, 1.5, 2.0)

_UCI = "UCI, optical recognition of handwritten digits"
_MNIST = "MNIST's test images and labels"
_TEXT = "tinyshakespeare, github.com/karpathy/char-rnn"

TEXT_EVERY = 8  # the last of every eight federations in the mixed sets is text
TRAIN_DIGITS = 1200  # rows of the digits for training sets; those for validation have the rest
SIZES = {
    "mixed:train": 240, "mixed:val": 16, "curves:train": 200, "curves:val": 16, "mixed:test": 32,
    "drifting:train": 240, "drifting:val": 16, "drifting:test": 32, "drifting-wide:test": 128,
}  # fmt: skip
# Each set has its own range of seeds.
MORE = "drifting-wide:train"  # see more_drifting
FIRST_SEED = {name: 100_000 * (1 + row) for row, name in enumerate(SIZES)} | {MORE: 1_000_000}


def _grid(name: str, load: Callable[..., Federation], *paths: Path) -> list[Federation]:
    """Return a federation with each pair of initial rates, row by row; all share its arrays."""
    federation = load(*paths)
    return [
        dataclasses.replace(federation, name=f"{name}/b{beta:g}-a{alpha:g}", alpha=alpha, beta=beta)
        for beta in BETAS
        for alpha in ALPHAS
    ]


def _digits_grid() -> Federation:
    return federation_of("digits-grid", *digits(), clients=100)


def _synthetic_grid() -> Federation:
    return generate({}, 1)


def _optdigits_grid(*paths: Path) -> Federation:
    parts = [optdigits(str(path), read_file(path).text()) for path in paths]
    images, labels = (np.concatenate(part) for part in zip(*parts, strict=True))
    return federation_of("optdigits-grid", images, labels, clients=100)


def _mnist_grid(path: Path, _labels: Path) -> Federation:
    images = idx_images(path, read_file(path).data)
    return federation_of(
        "mnist10k-grid", pooled(images.pixels), images.labels, clients=100,
        validation=1000, test=1000, local_steps=10, batch_size=32,
    )  # fmt: skip


def _shakespeare_grid(path: Path) -> Federation:
    return play_federation(
        str(path), "shakespeare-grid", read_file(path).text(),
        validation=200, test=200, participants=6, local_steps=5, batch_size=8, rounds=30,
    )  # fmt: skip


def _small(name: str, row: int) -> Federation:
    beta = ("0.001", "0.01", "0.1")[row % 3]
    values = {"clients": "12", "features": "16", "classes": "5", "rows": "40", "rounds": "20",
              "participants": "4", "batch": "8", "beta": beta}  # fmt: skip
    if row >= 3:
        values |= {"model": "mlp", "width": "8"}
    return rename(generate(values, 900_000 + row), f"{name}/{row}")


def _curve(name: str, row: int) -> Federation:
    rng = np.random.default_rng([FIRST_SEED[name] + row, 0xC5])
    return curve(f"{name}/{row}", rng)


class _Digits(NamedTuple):
    """Digits to draw from: images float32 [N, 1, 8, 8], labels int64 [N], and rows that count."""

    images: np.ndarray
    labels: np.ndarray
    pool: np.ndarray


def _mixed(name: str, row: int, of: _Digits | None = None) -> Federation:
    """Draw a federation of text (every eighth), digits (even rows) or synthetic data (odd rows).

    Args:
        name: name of the set.
        row: number of the federation.
        of: digits to draw from; None for the set's part of scikit-learn's.
    """
    seed = FIRST_SEED[name] + row
    rng = np.random.default_rng([seed, 0x313])
    if row % TEXT_EVERY == TEXT_EVERY - 1:
        return _some_text(f"{name}/{row}", seed, rng)
    if row % 2 == 0:
        made = _some_digits(name, seed, rng, of or _part_of_digits(name))
    else:
        made = _some_synthetic(seed, rng)
    made = _scaled(made, round_off(log_uniform(rng, 0.3, 3.0)))
    return rename(with_settings(made, _terms(made.clients, rng)), f"{name}/{row}")


def _drifting(name: str, row: int, of: _Digits | None = None) -> Federation:
    """Draw a mixed federation whose clients come and go and whose labels change their meaning.

    What counts is the accuracy of all rounds: the model is in use all along.
    """
    rng = np.random.default_rng([FIRST_SEED[name] + row, 0xD1F])
    terms = {
        "drift": str(round_off(rng.uniform(1, 5))),
        "label_drift": str(rng.integers(1, 5)),
        "objective": "area_under_curve",
    }
    return with_settings(_mixed(name, row, of), terms)


def more_drifting(count: int) -> list[Federation]:
    """Draw federations as drifting:train has them, for policies that learn from many; none is in a
    set.

    Args:
        count: how many.
    """
    return [_drifting(MORE, row) for row in range(count)]


def _part_of_digits(name: str) -> _Digits:
    """Return the part of scikit-learn's digits that a set for training or validation may use."""
    images, labels = digits()
    order = np.random.default_rng(0xD161).permutation(len(labels))
    pool = order[:TRAIN_DIGITS] if name.endswith(":train") else order[TRAIN_DIGITS:]
    return _Digits(images, labels, pool)


def _some_text(name: str, seed: int, rng: np.random.Generator) -> Federation:
    """Draw texts of Markov chains for a small GRU, with few steps because a GRU is slow."""
    clients, letters = int(rng.integers(8, 31)), int(rng.integers(8, 25))
    drawn = chains(clients, letters, int(rng.integers(5, 9)), 40, rng)
    terms = _terms(clients, rng)
    made = federation_of(
        name, drawn.inputs, drawn.labels, owner=drawn.owner, classes=letters, seed=seed,
        model="gru", width=int(rng.integers(6, 17)), local_steps=int(rng.integers(1, 4)),
        participants=int(rng.integers(3, 7)), batch_size=int(rng.integers(4, 9)),
        validation=100, test=100,
    )  # fmt: skip
    return with_settings(made, {key: terms[key] for key in ("rounds", "alpha", "beta")})


def _scaled(federation: Federation, factor: float) -> Federation:
    """Multiply inputs by a factor; good learning rates change by its square."""
    parts = ("inputs", "val_inputs", "test_inputs")
    scaled = {part: getattr(federation, part) * np.float32(factor) for part in parts}
    return dataclasses.replace(federation, **scaled)


def _some_digits(name: str, seed: int, rng: np.random.Generator, of: _Digits) -> Federation:
    """Draw a subset of digits, of random size and skew."""
    images, labels, pool = of
    count = int(rng.integers(300, min(len(pool), 1000) + 1))
    rows = np.sort(rng.choice(pool, count, replace=False))
    clients = int(log_uniform(rng, 10, min(100, count // 5)))
    skew = None if rng.random() < 0.2 else round_off(log_uniform(rng, 0.1, 5.0))
    some = images[rows]
    if rng.random() < 0.3:
        some = some.repeat(2, axis=-2).repeat(2, axis=-1)  # 16 x 16, nearer to larger images
    return federation_of(name, some, labels[rows], clients=clients, skew=skew, seed=seed)


def _some_synthetic(seed: int, rng: np.random.Generator) -> Federation:
    unlike = [("0", "0"), ("0.5", "0.5"), ("1", "1")][rng.integers(3)]
    values = {
        "clients": str(int(log_uniform(rng, 10, 60))),
        "features": str(int(log_uniform(rng, 10, 60))),
        "classes": str(rng.integers(3, 11)),
        "rows": str(rng.integers(15, 41)),
        "a": unlike[0],
        "b": unlike[1],
    }
    return generate(values, seed)


def _terms(clients: int, rng: np.random.Generator) -> dict[str, str]:
    """Draw the settings of a federation that has this number of clients."""
    terms = {
        "rounds": str(rng.integers(20, 61)),
        "participants": str(rng.integers(min(4, clients), min(20, clients) + 1)),
        "local_steps": str(rng.integers(1, 11)),
        "batch": str((4, 8, 16, 32)[rng.integers(4)]),
        "beta": str(round_off(log_uniform(rng, 5e-4, 0.2))),
        "alpha": str(round_off(log_uniform(rng, 0.3, 3.0))),
    }
    if rng.random() < 0.5:
        terms |= {"model": "mlp", "width": str((8, 16, 32)[rng.integers(3)])}
    if rng.random() < 0.25:
        terms["drift"] = str(round_off(rng.uniform(1, 5)))
    if rng.random() < 0.25:
        terms["stragglers"] = str(round_off(rng.uniform(0.1, 0.6)))
    if rng.random() < 0.25:
        terms["noise"] = str(round_off(rng.uniform(0.05, 0.3)))
    return terms


def _test_set(
    name: str, draw: Callable[[str, int, _Digits], Federation], path: Path
) -> list[Federation]:
    """Draw a set whose digits are in no other one: those of `optdigits.tra`."""
    images, labels = optdigits(str(path), read_file(path).text())
    of = _Digits(images, labels, np.arange(len(labels)))
    return [draw(name, row, of) for row in range(SIZES[name])]


_GRID = "5 x 5 initial rates (beta .001 to .1, alpha .5 to 2) of "


def _public(
    name: str, of: str, source: str, load: Callable[..., Federation], *files: str
) -> Public[Federation]:
    paths = tuple(f"federated/{file}" for file in files)
    return Public(name, f"{_GRID}{of} (needs the data folder)", paths, source,
                  partial(_grid, name, load))  # fmt: skip


def _unseen(name: str, draw: Callable[[str, int, _Digits], Federation]) -> Public[Federation]:
    about = f"{SIZES[name]} more, of digits in no other set (needs the data folder)"
    files = ("federated/optdigits.tra",)
    return Public(name, about, files, _UCI, partial(_test_set, name, draw))


def _each(name: str, draw: Callable[[str, int], Federation], size: int) -> list[Federation]:
    return [draw(name, row) for row in range(size)]


def _drawn(
    name: str, draw: Callable[[str, int], Federation], size: int, about: str
) -> Drawn[Federation]:
    return Drawn(name, about, partial(_each, name, draw, size))


SETS: Sets[Federation] = Sets(
    Federation,
    [
        Drawn(
            "digits-grid", _GRID + "scikit-learn's digits, 100 clients Dirichlet(0.5), logistic",
            partial(_grid, "digits-grid", _digits_grid),
        ),
        Drawn(
            "synthetic-grid", _GRID + "LEAF's synthetic(1, 1), 50 clients, logistic",
            partial(_grid, "synthetic-grid", _synthetic_grid),
        ),
        _public(
            "optdigits-grid", "UCI's optdigits, 100 clients, logistic", _UCI, _optdigits_grid,
            "optdigits.tra", "optdigits.tes", "optdigits.hol",
        ),
        _public(
            "mnist10k-grid", "10,000 MNIST images at 14 x 14, logistic", _MNIST, _mnist_grid,
            "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz",
        ),
        _public(
            "shakespeare-grid", "tinyshakespeare by speaker, GRU", _TEXT, _shakespeare_grid,
            "tinyshakespeare.txt",
        ),
        _drawn(
            "mixed:train", _mixed, SIZES["mixed:train"],
            "240 federations of digits, synthetic data and text to train agents on",
        ),
        _drawn(
            "mixed:val", _mixed, SIZES["mixed:val"],
            "16 more, of other digits and seeds, to choose agents by",
        ),
        _unseen("mixed:test", _mixed),
        _drawn(
            "drifting:train", _drifting, SIZES["drifting:train"],
            "240 mixed federations whose clients come and go and whose labels change their meaning",
        ),
        _drawn(
            "drifting:val", _drifting, SIZES["drifting:val"],
            "16 more, of other digits and seeds, to choose agents by",
        ),
        _unseen("drifting:test", _drifting),
        _unseen("drifting-wide:test", _drifting),
        _drawn(
            "curves:train", _curve, SIZES["curves:train"],
            "200 learning curves in closed form, no data",
        ),
        _drawn("curves:val", _curve, SIZES["curves:val"], "16 more, of other seeds"),
        _drawn("small:test", _small, 6, "6 small synthetic federations, for quick comparisons"),
    ],
)  # fmt: skip
