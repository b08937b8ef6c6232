"""Join what was measured several times: one sequence, one score."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ...core.errors import InstanceError
from ...core.notes import note
from ..setting_texts import choice
from .equality import first_of_each

REFUSE = "refuse"
WAYS: Mapping[str, Callable[[np.ndarray], float]] = {
    "mean": np.mean, "median": np.median, "max": np.max, "min": np.min,
}  # fmt: skip


def joined(
    place: str,
    tokens: np.ndarray,
    scores: np.ndarray,
    places: Sequence[str],
    settings: Mapping[str, str],
) -> tuple[np.ndarray, np.ndarray]:
    """Give each sequence one score, if some were measured several times with different results.

    Args:
        place: the file, for the note that says so.
        tokens: int8 [N, L].
        scores: float64 [N].
        places: N file and row names, for error messages.
        settings: texts by name; `replicates` is one of WAYS, or "refuse".

    Returns:
        Tokens int8 [n, L] and scores float64 [n], in order of first appearance; as they were where
        equal sequences have equal scores.

    Raises:
        InstanceError: a sequence has two scores and the setting is "refuse".
        SettingError: the setting is none of them.
    """
    way = choice(settings, "replicates", (*WAYS, REFUSE))
    first_of = first_of_each(tokens)
    differs = np.flatnonzero(scores != scores[first_of])
    if not differs.size:
        return tokens, scores
    row, other = int(differs[0]), int(first_of[differs[0]])
    if way == REFUSE:
        raise InstanceError(
            f"{places[row]}: the sequence has the score {scores[row]:g} here and {scores[other]:g} "
            f"in {places[other]}; keep one, or set replicates=mean"
        )
    order = np.argsort(first_of, kind="stable")
    first, counts = np.unique(first_of, return_counts=True)
    groups = np.split(scores[order], np.cumsum(counts)[:-1])
    merged = np.array([WAYS[way](group) for group in groups], np.float64)
    note(
        f"{place}: {len(scores)} rows are {len(first)} different sequences, up to "
        f"{int(counts.max())} rows each; the {way} of their scores is taken (setting "
        "replicates)"
    )
    return tokens[first], merged
