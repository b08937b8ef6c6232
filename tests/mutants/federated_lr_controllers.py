"""Faults of federated_lr's controllers, which their own tests must notice; see mutant.py."""

from __future__ import annotations

from mutants.mutant import Mutant

BANDITS, FTRL = "methods/bandits.py", "solvers/federated_lr/ftrl.py"

CONTROLLERS = (
    Mutant(
        BANDITS,
        "    above = eta * (losses - losses.min())\n    low",
        "    above = losses - losses.min()\n    low",
        "the log barrier has no learning rate",
        halves=False,
        tests=("tests/test_bandits.py",),
    ),
    Mutant(
        BANDITS,
        "found[arm] = loss / probabilities[arm]",
        "found[arm] = loss",
        "an arm's loss is not divided by its probability",
        halves=False,
        tests=("tests/test_bandits.py",),
    ),
    Mutant(
        FTRL,
        "self._drawn[step - 2]",
        "self._drawn[step - 1]",
        "a round's loss counts for the arm after it",
        halves=False,
        tests=("tests/federated_lr/test_ftrl.py",),
    ),
)
