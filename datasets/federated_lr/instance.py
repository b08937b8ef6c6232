"""What a federation is: data by client, a model, and the terms of training."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...core.errors import InstanceError
from ...core.instance import Instance

DENSE, IMAGE, TEXT, CURVE = ("logistic", "mlp"), ("cnn",), ("gru", "lstm"), "curve"
MODELS = (*DENSE, *IMAGE, *TEXT, CURVE)
OBJECTIVES = ("final_accuracy", "rounds_to_target", "area_under_curve")
ALPHA_RANGE, BETA_RANGE = (1e-3, 1e2), (1e-6, 1e1)  # of rates, server's and clients'
# The most of each, so that a slip of the pen is refused and not trained for a year.
MOST = {
    "rounds": 10_000,
    "participants": 100_000,
    "local_steps": 10_000,
    "batch_size": 100_000,
    "width": 10_000,
}
LARGEST = float(np.finfo(np.float32).max)  # number that inputs can hold
MOST_CLASSES = 10_000
LEAST_SIDE = 4  # pixels, of what cnn reads
LAW = ("floor", "scale", "exponent", "annealing", "memory", "most")


@dataclass(frozen=True, slots=True)
class Terms:
    """What a server knows of a federation before the first round; all that a policy is told.

    Attributes:
        rounds: server updates, T.
        clients: how many there are.
        participants: clients a round, M.
        local_steps: steps of each participant a round, K.
        batch_size: rows of a step.
        alpha: initial rate of the server.
        beta: initial rate of the clients.
    """

    rounds: int
    clients: int
    participants: int
    local_steps: int
    batch_size: int
    alpha: float
    beta: float


@dataclass(frozen=True, slots=True, eq=False)
class Federation(Instance):
    """One federation; N training rows lie with C clients.

    Attributes:
        inputs: float32 [N, F] or [N, channels, height, width], or uint8 [N, L] characters, coded.
        labels: int64 [N], or [N, L] next characters. owner: int64 [N], the client of each row.
        val_inputs, val_labels: of the rows that the server itself holds; as above.
        test_inputs, test_labels: the judge's; no rows where the federation is sealed.
        classes: of the labels, or characters of the alphabet.
        model: one of MODELS. width: its hidden units, or channels (cnn); 0 for logistic.
        participants, local_steps, batch_size, rounds, alpha, beta: see Terms.
        drift: how strongly the clients that are available change over the rounds; 0 for not at
            all, d for log-odds of availability d cos(2 pi (t / rounds - client / C)).
        stragglers: probability that a participant ends after fewer steps, a number drawn evenly
            from 1 to local_steps.
        objective: one of OBJECTIVES. target: test accuracy to reach, of rounds_to_target.
        law: of model curve, float64 [6] by LAW; empty otherwise. Loss after rates eta_1..eta_s is
            floor + scale * S1**-exponent - annealing * S2 (Tissue et al. 2024); memory is lambda,
            most the rate above which training diverges.
    """

    FAMILY: ClassVar[str] = "federated_lr"
    SCHEMA: ClassVar[int] = 1

    inputs: np.ndarray
    labels: np.ndarray
    owner: np.ndarray
    val_inputs: np.ndarray
    val_labels: np.ndarray
    test_inputs: np.ndarray
    test_labels: np.ndarray
    classes: int
    model: str
    width: int
    participants: int
    local_steps: int
    batch_size: int
    rounds: int
    alpha: float
    beta: float
    drift: float
    stragglers: float
    objective: str
    target: float
    law: np.ndarray

    @property
    def clients(self) -> int:
        """How many clients there are."""
        return int(self.owner.max()) + 1 if len(self.owner) else self.participants

    @property
    def sealed(self) -> bool:
        """Whether the test rows have been taken out."""
        return not len(self.test_labels)

    def check(self) -> None:
        """Raises InstanceError where a value is impossible."""
        self._check_terms()
        if self.model == CURVE:
            self._check_law()
            return
        self._check_rows("inputs", self.inputs, self.labels)
        self._check_rows("val_inputs", self.val_inputs, self.val_labels)
        if not self.sealed:
            self._check_rows("test_inputs", self.test_inputs, self.test_labels)
        self._check_owner()

    def _check_owner(self) -> None:
        owner = self.owner
        if owner.shape != self.labels.shape[:1] or owner.dtype != np.int64:
            self._refuse(
                f"owner is {owner.dtype} {owner.shape}; give the client of each of the "
                f"{len(self.labels)} rows, int64"
            )
        if (owner < 0).any():
            row = int(np.flatnonzero(owner < 0)[0])
            self._refuse(f"row {row} lies with client {owner[row]}; number the clients from 0")
        present = np.unique(owner)
        gaps = np.flatnonzero(present != np.arange(len(present)))
        if len(gaps):
            self._refuse(
                f"client {gaps[0]} has no rows; leave it out and number the rest from 0, or use "
                "fewer clients"
            )
        if self.participants > len(present):
            self._refuse(
                f"participants is {self.participants}, but there are {len(present)} clients; set "
                f"participants={len(present)} or fewer"
            )

    def _check_terms(self) -> None:
        if self.model not in MODELS:
            self._refuse(f"model {self.model!r} is unknown; known: {', '.join(MODELS)}")
        if self.objective not in OBJECTIVES:
            self._refuse(f"objective {self.objective!r} is unknown; known: {', '.join(OBJECTIVES)}")
        for name, most in MOST.items():
            value, least = getattr(self, name), int(name != "width")
            if not isinstance(value, int) or not least <= value <= most:
                self._refuse(f"{name} is {value}; give a whole number from {least} to {most}")
        for name, (low, high) in (("alpha", ALPHA_RANGE), ("beta", BETA_RANGE)):
            rate = getattr(self, name)
            if not low <= rate <= high:  # NaN too
                self._refuse(f"{name} is {rate:g}; give a rate from {low:g} to {high:g}")
        if self.width < (self.model not in ("logistic", CURVE)):
            self._refuse(f"width is {self.width}; {self.model} needs at least 1 hidden unit")
        for name, high in (("drift", 100.0), ("stragglers", 1.0), ("target", 1.0)):
            if not 0 <= getattr(self, name) <= high:
                self._refuse(f"{name} is {getattr(self, name):g}; give a number from 0 to {high:g}")

        if self.objective == "rounds_to_target" and self.target <= 0:
            self._refuse("rounds_to_target needs a target; set target to an accuracy above 0")

    def _check_rows(self, name: str, inputs: np.ndarray, labels: np.ndarray) -> None:
        if not 2 <= self.classes <= MOST_CLASSES:
            self._refuse(f"classes is {self.classes}; give from 2 to {MOST_CLASSES}")
        if not len(inputs):
            self._refuse(f"{name} holds no rows")
        if len(inputs) != len(labels):
            self._refuse(f"{name} has {len(inputs)} rows and {len(labels)} labels")
        rank = {**dict.fromkeys(IMAGE, 4), **dict.fromkeys(TEXT, 2)}.get(self.model)
        if (rank is not None and inputs.ndim != rank) or inputs.ndim < 2:
            self._refuse(f"{name} has shape {inputs.shape}, which {self.model} cannot read")
        if inputs.shape[1:] != self.inputs.shape[1:]:
            self._refuse(f"{name} has rows of {inputs.shape[1:]}, expected {self.inputs.shape[1:]}")
        if self.model in IMAGE and min(inputs.shape[2:]) < LEAST_SIDE:
            self._refuse(
                f"{name} has images of {inputs.shape[2:]}; {self.model} halves them twice and needs"
                f" {LEAST_SIDE} pixels a side"
            )
        if labels.dtype != np.int64 or labels.ndim != (2 if self.model in TEXT else 1):
            self._refuse(
                f"the labels of {name} are {labels.dtype} {labels.shape}; give int64, one a row, of"
                " text one a character"
            )
        if (labels < 0).any() or (labels >= self.classes).any():
            row = int(np.argwhere((labels < 0) | (labels >= self.classes))[0, 0])
            self._refuse(f"row {row} of {name} has a label outside 0..{self.classes - 1}")
        if self.model in TEXT:
            if inputs.dtype != np.uint8 or labels.shape != inputs.shape:
                self._refuse(f"{name}: text is uint8 [N, L] with labels of that shape")
            if (inputs >= self.classes).any():
                self._refuse(f"{name} holds characters outside 0..{self.classes - 1}")
        else:
            if inputs.dtype != np.float32:
                self._refuse(f"{name} has dtype {inputs.dtype}, expected float32")
            broken = ~np.isfinite(inputs.reshape(len(inputs), -1)).all(axis=1)
            if broken.any():
                row = int(np.flatnonzero(broken)[0])
                self._refuse(f"row {row} of {name} holds NaN or an infinity; drop or mend it")

    def _check_law(self) -> None:
        law = self.law
        good = law.shape == (len(LAW),) and np.isfinite(law).all()
        if not (good and law[0] >= 0 and (law[1:4] >= 0).all() and 0 < law[4] < 1 and law[5] > 0):
            self._refuse(
                f"law is {law.tolist()}; give {', '.join(LAW)}: finite, at least 0, memory between "
                "0 and 1, most above 0"
            )
        floor, scale, exponent, _, _, most = law.tolist()
        with np.errstate(over="ignore"):
            first = floor + scale * np.float64(most) ** -exponent
        if not 0 < first < np.inf:
            self._refuse(f"law is {law.tolist()}: its first loss is {first}; give one above 0")

    def _refuse(self, why: str) -> None:
        raise InstanceError(f"{self.name}: {why}")


def terms_of(federation: Federation) -> Terms:
    """What a policy is told."""
    return Terms(**{f.name: getattr(federation, f.name) for f in dataclasses.fields(Terms)})


def seal(federation: Federation) -> Federation:
    """The federation without its test rows; what contenders' environments run on."""
    if federation.sealed:
        return federation
    return dataclasses.replace(
        federation,
        test_inputs=federation.test_inputs[:0],
        test_labels=federation.test_labels[:0],
    )


def make_federation(name: str, **fields: Any) -> Federation:
    """A federation from what differs from the defaults (see DEFAULTS).

    Raises:
        InstanceError: it is impossible.
    """
    return Federation(name, **(DEFAULTS | fields))


def _none(kind: Any = np.float32) -> np.ndarray:
    return np.zeros((0, 1), kind)


DEFAULTS: dict[str, Any] = {
    "inputs": _none(),
    "labels": np.zeros(0, np.int64),
    "owner": np.zeros(0, np.int64),
    "val_inputs": _none(),
    "val_labels": np.zeros(0, np.int64),
    "test_inputs": _none(),
    "test_labels": np.zeros(0, np.int64),
    "classes": 2,
    "model": "logistic",
    "width": 0,
    "participants": 10,
    "local_steps": 5,
    "batch_size": 16,
    "rounds": 50,
    "alpha": 1.0,
    "beta": 0.05,
    "drift": 0.0,
    "stragglers": 0.0,
    "objective": OBJECTIVES[0],
    "target": 0.0,
    "law": np.zeros(0),
}
