"""Faults of federated_lr in the validator and in its plain models."""

from __future__ import annotations

from mutants.mutant import Mutant

VALIDATE, REFERENCE = (f"envs/federated_lr/{name}.py" for name in ("validate", "reference"))
VALIDATOR_ALONE = ("tests/federated_lr/test_validate.py",)

VALIDATOR = (
    Mutant(
        VALIDATE,
        "MOST_CODES = (5_000_000,",
        "MOST_CODES = (5_000_001,",
        "the validator lets alpha be one code too large",
    ),
    Mutant(
        VALIDATE,
        "48_000_009, 10, 2)",
        "48_000_009, 9, 2)",
        "the validator does not know the last local rule",
    ),
    Mutant(
        VALIDATE,
        "len(orders) != f.rounds + 1:",
        "len(orders) < f.rounds:",
        "the validator takes a plan that is one order short",
    ),
    Mutant(
        VALIDATE,
        "over = play.diverged or step > f.rounds",
        "over = step > f.rounds",
        "the validator goes on after divergence",
    ),
    Mutant(
        VALIDATE,
        "        if accuracy >= target - ROUNDING:",
        "        if accuracy > target + ROUNDING:",
        "the validator wants the target passed",
    ),
    Mutant(
        VALIDATE,
        "            self.update = total / f.participants",
        "            self.update = total",
        "the validator adds up the clients without a mean",
    ),
    Mutant(
        VALIDATE,
        "            self.v = self.v - 0.01 * update**2 * np.sign(self.v - update**2)",
        "            self.v = 0.99 * self.v + 0.01 * update**2",
        "the validator's Yogi is Adam",
    ),
    Mutant(
        VALIDATE,
        "descent.move(slope, k < self.steps[self.step, who])",
        "descent.move(slope, True)",
        "the validator ignores stragglers",
    ),
    Mutant(
        VALIDATE,
        "        return [a.copy() for a in (self.w, self.update, self.last, self.m, self.v)]",
        "        return [a.copy() for a in (self.w, self.update, self.last, self.m, self.m)]",
        "the validator keeps the wrong moment",
    ),
    Mutant(
        REFERENCE,
        "            error = (error @ layers[number][0]) * (seen[number] > 0)",
        "            error = error @ layers[number][0]",
        "the validator's slopes pass through units that are off",
    ),
    Mutant(
        REFERENCE,
        "        self.rate = min(max(rate, self.beta / 10), self.beta * 10)",
        "        self.rate = max(rate, self.beta / 10)",
        "the validator's rates have no upper limit",
    ),
    # --- What the validator alone knows: test rows, and FedAvg in the same world ----------------
    Mutant(
        VALIDATE,
        "validation, self.task(self.w, f.test_inputs, meant[f.test_labels])[2]",
        "validation, 1.0 - self.task(self.w, f.test_inputs, meant[f.test_labels])[2]",
        "inverted test accuracy",
        halves=False,
        tests=VALIDATOR_ALONE,
    ),
    Mutant(
        VALIDATE,
        "            seen = validation, self.task(self.w, f.test_inputs, meant[f.test_labels])[2]",
        "            seen = validation, validation",
        "validation rows in place of test rows",
        halves=False,
        tests=VALIDATOR_ALONE,
    ),
    Mutant(
        VALIDATE,
        "f.test_inputs, meant[f.test_labels])[2]",
        "f.test_inputs, f.test_labels)[2]",
        "labels of test rows never change",
        halves=False,
        tests=(*VALIDATOR_ALONE, "tests/federated_lr/test_concepts.py"),
    ),
    Mutant(
        VALIDATE,
        "            meant = self.meanings[self.step - 1]",
        "            meant = self.meanings[self.step - 2]",
        "labels of validation rows change one round late",
    ),
    Mutant(
        VALIDATE,
        "    objective = _score(f.objective, test, f.target)\n",
        "    objective = _score(f.objective, validation, f.target)\n",
        "the objective is of the validation rows",
        halves=False,
        tests=VALIDATOR_ALONE,
    ),
    Mutant(
        VALIDATE,
        "(f.content_hash, world.seed), MOST_KEPT",
        "(f.content_hash, 0), MOST_KEPT",
        "FedAvg's accuracy is remembered of another world",
        halves=False,
        tests=VALIDATOR_ALONE,
    ),
    Mutant(
        VALIDATE,
        "0.0 if course.diverged else course.test[-1]",
        "0.0 if course.diverged else course.test[0]",
        "FedAvg's accuracy after the first round",
        halves=False,
        tests=VALIDATOR_ALONE,
    ),
    Mutant(
        VALIDATE,
        '    detail["rounds_to_fedavg"] = _score("rounds_to_target", test, fedavg)\n',
        '    detail["rounds_to_fedavg"] = _score("rounds_to_target", validation, fedavg)\n',
        "rounds to FedAvg's accuracy by the validation rows",
        halves=False,
        tests=VALIDATOR_ALONE,
    ),
    Mutant(
        VALIDATE,
        '        "diverged": float(course.diverged),\n',
        '        "diverged": float(len(course.test) < f.rounds),\n',
        "divergence in the last round is not told",
        halves=False,
        tests=VALIDATOR_ALONE,
    ),
)
