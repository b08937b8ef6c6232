"""Open the oracle that a task's handle names.

It belongs to the evaluation: of the other packages only the validator and the report's pictures
import it (an import contract enforces that), and the tasks that contenders get have no handle.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...core.errors import InstanceError
from ...core.kept import kept
from ...core.lookup import check_name
from . import ehrlich, landscape_tables, rna
from .instance import MEASURED, DesignTask
from .measured import fit_estimate


@dataclass(frozen=True, slots=True)
class Oracle:
    """The function that scores designs.

    Attributes:
        score: tokens int8 [n, L] -> float64 [n] in the unit of the task's scores; NaN for sequences
            whose score is unknown.
        low: the landscape's worst score, which normalizes to 0.
        high: the landscape's best score, which normalizes to 1.
        exact: whether scores are the landscape's own, not an estimate.
    """

    score: Callable[[np.ndarray], np.ndarray]
    low: float
    high: float
    exact: bool = True

    def normalized(self, scores: np.ndarray) -> np.ndarray:
        """Scale scores so that the landscape's worst is 0 and its best is 1.

        Args:
            scores: float64, any shape.
        """
        scaled: np.ndarray = (scores - self.low) / (self.high - self.low)
        return scaled


def open_oracle(task: DesignTask) -> Oracle:
    """Return the oracle that a task's handle names.

    Raises:
        InstanceError: the task is sealed, or its landscape's file is not in the data folder.
        UnknownNameError: no such landscape.
        MissingDependencyError: the landscape needs a package that is not installed.
    """
    landscape = check_name(task.handle()["landscape"], _OPENERS, "landscape")
    try:
        return _OPENERS[landscape](task)
    except (KeyError, TypeError, IndexError, OverflowError) as error:
        raise InstanceError(
            f"{task.name}: the oracle's handle lacks what {landscape} needs ({error!r}); import "
            "the task again"
        ) from error


def _ehrlich(task: DesignTask) -> Oracle:
    return Oracle(ehrlich.from_handle(task.handle(), task.banned).score, 0.0, 1.0)


def _tf_binding(task: DesignTask) -> Oracle:
    table = landscape_tables.tf_binding(task.handle()["factor"])
    return Oracle(lambda tokens: table.look_up(tokens, task.letters), 0.0, 1.0)


def _gb1(task: DesignTask) -> Oracle:
    table = landscape_tables.gb1()
    low, high = float(table.scores.min()), float(table.scores.max())
    return Oracle(lambda tokens: table.look_up(tokens, task.letters), low, high)


def _rna(task: DesignTask) -> Oracle:
    handle = task.handle()
    targets = [range(len(rna.TARGETS))[target] for target in handle["targets"]]
    conserved = rna.Region(**handle["conserved"]) if "conserved" in handle else None
    return Oracle(lambda tokens: rna.binding(tokens, targets, conserved), 0.0, 1.0)


# Content hash of a task -> its oracle; fitting takes seconds, and the judge repeats tasks.
_FITTED: dict[str, Oracle] = {}
MOST_KEPT = 16


def _measured(task: DesignTask) -> Oracle:
    def make() -> Oracle:
        sequences = np.concatenate([task.sequences, task.hidden_sequences])
        scores = np.concatenate([task.scores, task.hidden_scores])
        score = fit_estimate(sequences, scores).score
        return Oracle(score, float(scores.min()), float(scores.max()), exact=False)

    return kept(_FITTED, task.content_hash, MOST_KEPT, make)


_OPENERS: dict[str, Callable[[DesignTask], Oracle]] = {
    "ehrlich": _ehrlich,
    "tf_binding": _tf_binding,
    "gb1": _gb1,
    "rna": _rna,
    MEASURED: _measured,
}
