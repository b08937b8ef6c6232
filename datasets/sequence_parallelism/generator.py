"""Generate batches whose lengths have the shapes of Wikipedia, of CommonCrawl and of GitHub.

`wiki` is fitted to the lengths of a million articles (published with FlexSP's code); of the two
others the paper shows a figure only, so that `crawl` and `github` are synthetic: its heavier tails.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from ...core.contracts import Setting
from ...core.errors import SettingError
from ..setting_texts import choice, whole
from .instance import MOST_SEQUENCES, TrainingBatch
from .models import K
from .settings import CLUSTER, MARGIN, blank_batch, with_settings

PAD = 128
# Share of sequences that are longer than a length; between two of them, and beyond the last with
# the slope before it, a power of the length.
SHAPES: Mapping[str, tuple[tuple[float, float], ...]] = {
    "wiki": (
        (1.0, 20), (0.99, 39), (0.95, 67), (0.9, 87), (0.75, 146), (0.5, 347), (0.25, 862),
        (0.212, 1 * K), (0.1, 2112), (0.05, 3721), (0.044, 4 * K), (0.016, 8 * K),
        (0.0048, 16 * K), (0.0013, 32 * K), (0.00028, 64 * K), (0.00005, 128 * K),
    ),
    "crawl": (
        (1.0, 30), (0.95, 160), (0.75, 560), (0.5, 1400), (0.25, 3600), (0.1, 9200),
        (0.05, 16.5 * K), (0.01, 52 * K), (0.001, 150 * K),
    ),
    "github": (
        (1.0, 30), (0.95, 110), (0.75, 420), (0.5, 1050), (0.25, 2600), (0.1, 6900),
        (0.05, 13 * K), (0.01, 50 * K), (0.001, 190 * K),
    ),
}  # fmt: skip
# How the sequences of several steps come, one after the other: as they are drawn; in shards of
# sequences of like lengths, the shards in any order; or ever longer ones.
ORDERS = ("mixed", "shards", "drift")
SHARD = 128  # sequences
DRIFT = 0.3  # standard deviation of a sequence's place, in parts of the whole
PARAMETERS: Mapping[str, Setting] = {
    "shape": Setting("wiki", f"lengths like those of {', '.join(SHAPES)}"),
    "sequences": Setting("512", "sequences of a training step"),
    "steps": Setting("1", "training steps"),
    "order": Setting("mixed", f"how sequences follow one another: {', '.join(ORDERS)}"),
    **CLUSTER,
}


def generate(parameters: Mapping[str, str], seed: int) -> TrainingBatch:
    """Draw a batch; sequences that are too long for the context are drawn again.

    Args:
        parameters: texts by the names in PARAMETERS; those left out have their defaults.
        seed: the same seed and parameters give the same batch.

    Raises:
        SettingError: a parameter cannot be read or is out of range.
        InstanceError: the cluster cannot hold the longest sequence.
    """
    texts = {key: setting.default for key, setting in PARAMETERS.items()} | dict(parameters)
    shape, order = choice(texts, "shape", tuple(SHAPES)), choice(texts, "order", ORDERS)
    sequences = whole(texts, "sequences", MOST_SEQUENCES, 1)
    steps = whole(texts, "steps", 1000, 1)
    if sequences * steps > MOST_SEQUENCES:
        raise SettingError(
            f"sequences={sequences} in steps={steps} are {sequences * steps:,}; give "
            f"{MOST_SEQUENCES:,} in all at most"
        )
    cluster = {key: text for key, text in parameters.items() if key in CLUSTER}
    name = f"generated/{shape}-{sequences}-{seed}"
    batch = with_settings(blank_batch(name), cluster)
    rng = np.random.default_rng([seed, 0x5E9])
    lengths = draw_lengths(shape, sequences * steps, batch.context - MARGIN, rng)
    if order != "mixed":
        lengths = lengths[order_of_corpus(lengths, order, rng)]
    return dataclasses.replace(
        batch, lengths=padded(lengths, PAD), step=np.repeat(np.arange(steps), sequences)
    )


def draw_lengths(shape: str, count: int, most: int, rng: np.random.Generator) -> np.ndarray:
    """Draw lengths of sequences that are no longer than `most`.

    Args:
        shape: one of SHAPES.
        count: number of sequences.
        most: tokens.
        rng: the generator.

    Returns:
        int64 [count], unpadded.
    """
    share, length = np.log(np.array(SHAPES[shape])).T
    depth = -share
    last = (length[-1] - length[-2]) / (depth[-1] - depth[-2])
    depth = np.append(depth, depth[-1] + 20.0)
    length = np.append(length, length[-1] + 20.0 * last)
    # The depth at which the context ends: what is deeper would be left out.
    deepest = np.interp(np.log(most), length, depth)
    drawn = -np.log1p(-rng.random(count) * -np.expm1(-deepest))
    found: np.ndarray = np.exp(np.interp(drawn, depth, length)).astype(np.int64)
    return found.clip(1, most)


def order_of_corpus(lengths: np.ndarray, order: str, rng: np.random.Generator) -> np.ndarray:
    """Return the numbers of sequences as they follow one another, int64 [K].

    Args:
        lengths: int64 [K].
        order: shards or drift; see ORDERS.
        rng: the generator.
    """
    rising, count = np.argsort(lengths, kind="stable"), len(lengths)
    if order == "drift":
        return rising[np.argsort(np.arange(count) / count + rng.normal(0.0, DRIFT, count))]
    shards = np.array_split(rising, max(1, count // SHARD))
    return np.concatenate([rng.permutation(shards[row]) for row in rng.permutation(len(shards))])


def padded(lengths: np.ndarray, multiple: int) -> np.ndarray:
    """Round lengths up to a multiple, int64 [K].

    Args:
        lengths: int64 [K].
        multiple: at least 1.
    """
    rounded: np.ndarray = -(-lengths // multiple) * multiple
    return rounded
