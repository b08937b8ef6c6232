"""Federation: one federated-learning problem, data by client, a model and the terms of training."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...core.fields import BLANK, array, choice, declared, number, whole
from ...core.instance import Instance, remembered

DENSE, IMAGE, TEXT, CURVE = ("logistic", "mlp"), ("cnn",), ("gru", "lstm"), "curve"
MODELS = (*DENSE, *IMAGE, *TEXT, CURVE)
OBJECTIVES = ("final_accuracy", "rounds_to_target", "area_under_curve")
ALPHA_RANGE, BETA_RANGE = (1e-3, 1e2), (1e-6, 1e1)  # allowed server and client learning rates
# Largest allowed values, so that a typing error is refused and not trained for a year.
MOST = {
    "rounds": 10_000,
    "participants": 100_000,
    "local_steps": 10_000,
    "batch_size": 100_000,
    "width": 10_000,
}
MOST_PARAMETERS = 100_000_000  # of the model
MOST_WORK, PER_DAY = 1e15, 1e14  # uses of a weight in training; what a core does in a day
LARGEST = float(np.finfo(np.float32).max)  # largest number in inputs
MOST_CLASSES = 10_000
LEAST_SIDE = 4  # least height and width of images that cnn can read, pixels
LAW = ("floor", "scale", "exponent", "annealing", "memory", "most")


@dataclass(frozen=True, slots=True)
class Terms:
    """What a server knows of a federation before the first round; a policy's view of the instance.

    Attributes:
        rounds: number of server updates, T.
        clients: number of clients, C.
        participants: clients that train in a round, M.
        local_steps: steps of each participant in a round, K.
        batch_size: rows in a step.
        alpha: initial server learning rate.
        beta: initial client learning rate.
    """

    rounds: int
    clients: int
    participants: int
    local_steps: int
    batch_size: int
    alpha: float
    beta: float


@declared
class Federation(Instance):
    """One federation; N training rows lie with C clients, Q rows with the server, R with the judge.

    A row of inputs is [F], or [channels, height, width], or of text [L] characters, coded; its
    label is one class, or of text the L next characters. The server validates on its Q rows; where
    the federation is sealed, R is 0.
    """

    FAMILY: ClassVar[str] = "federated_lr"
    SCHEMA: ClassVar[int] = 1

    inputs: np.ndarray = array(
        "float32|uint8", "N,...", "Rows to train on; uint8 for text.",
        exact=True, remedy="drop or mend the row",
    )  # fmt: skip
    labels: np.ndarray = array(
        "int64", "N,...", "Labels of these rows.", low=0, high="classes-1", exact=True
    )
    owner: np.ndarray = array(
        "int64", "N", "Client of each of these rows.",
        low=0, exact=True, remedy="number the clients from 0",
    )  # fmt: skip
    val_inputs: np.ndarray = array(
        "float32|uint8", "Q,...", "Rows that the server itself holds.",
        exact=True, remedy="drop or mend the row",
    )  # fmt: skip
    val_labels: np.ndarray = array(
        "int64", "Q,...", "Labels of these rows.", low=0, high="classes-1", exact=True
    )
    test_inputs: np.ndarray = array(
        "float32|uint8", "R,...", "The judge's rows.", exact=True, remedy="drop or mend the row"
    )
    test_labels: np.ndarray = array(
        "int64", "R,...", "Labels of these rows.", low=0, high="classes-1", exact=True
    )
    classes: int = whole(
        "Number of different labels, or characters of the alphabet.", low=2, high=MOST_CLASSES
    )
    model: str = choice(MODELS, "What is trained.")
    width: int = whole(
        "The model's hidden units, or channels (cnn); 0 for logistic.", low=0, high=MOST["width"]
    )
    participants: int = whole("Clients a round, M.", low=1, high=MOST["participants"])
    local_steps: int = whole(
        "Steps of each participant a round, K.", low=1, high=MOST["local_steps"]
    )
    batch_size: int = whole("Rows of a step.", low=1, high=MOST["batch_size"])
    rounds: int = whole("Server updates, T.", low=1, high=MOST["rounds"])
    alpha: float = number("Initial rate of the server.", low=ALPHA_RANGE[0], high=ALPHA_RANGE[1])
    beta: float = number("Initial rate of the clients.", low=BETA_RANGE[0], high=BETA_RANGE[1])
    drift: float = number(
        "How strongly the clients that are available change over the rounds; 0 for not at all, d "
        "for log-odds of availability d cos(2 pi (t / rounds - client / C)).",
        low=0, high=100,
    )  # fmt: skip
    stragglers: float = number(
        "Probability that a participant ends after fewer steps, a number drawn evenly from 1 to "
        "local_steps.",
        low=0, high=1,
    )  # fmt: skip
    objective: str = choice(OBJECTIVES, "What a plan is for.")
    target: float = number("Test accuracy to reach (objective rounds_to_target).", low=0, high=1)
    law: np.ndarray = array(
        "float64", "...",
        "Of model curve 6 numbers by LAW; empty otherwise. Loss after rates eta_1..eta_s is "
        "floor + scale * S1**-exponent - annealing * S2 (Tissue et al. 2024); memory is lambda, "
        "most the rate above which training diverges.",
    )  # fmt: skip
    changes: np.ndarray = array(
        "float64", "S",
        "When labels change their meaning: shares of the rounds, ascending. A change counts from "
        "the first round t, from 0, with t / rounds at least its share.",
        low=0, high=1, default=BLANK,
    )  # fmt: skip
    relabel: np.ndarray = array(
        "int64", "S,classes",
        "From each change on, what rows of each class are labelled: those for training, for "
        "validation and for the test alike.",
        low=0, high="classes-1", exact=True, default=BLANK,
    )  # fmt: skip

    @property
    def clients(self) -> int:
        """Number of clients, C."""
        return remembered(self, _count_clients)

    @property
    def sealed(self) -> bool:
        """Whether the test rows have been removed."""
        return not len(self.test_labels)

    def check(self) -> None:
        """Refuse rows that the model cannot read, clients without rows, and impossible laws.

        Raises:
            InstanceError: names the field, the row and the remedy.
        """
        if self.width < (self.model not in ("logistic", CURVE)):
            self.refuse(f"width is {self.width}; {self.model} needs at least 1 hidden unit")
        if self.objective == "rounds_to_target" and self.target <= 0:
            self.refuse("rounds_to_target needs a target; set target to an accuracy above 0")
        self._check_changes()
        if self.model == CURVE:
            self._check_law()
            return
        self._check_rows("inputs", self.inputs, self.labels)
        self._check_rows("val_inputs", self.val_inputs, self.val_labels)
        if not self.sealed:
            self._check_rows("test_inputs", self.test_inputs, self.test_labels)
        self._check_work()
        present = np.unique(self.owner)
        gaps = np.flatnonzero(present != np.arange(len(present)))
        if len(gaps):
            self.refuse(
                f"client {gaps[0]} has no rows; leave it out and number the rest from 0, or use "
                "fewer clients"
            )
        if self.participants > len(present):
            self.refuse(
                f"participants is {self.participants}, but there are {len(present)} clients; set "
                f"participants={len(present)} or fewer"
            )

    def _check_changes(self) -> None:
        """Refuse changes of labels that are out of order, or that nothing could be learned from."""
        if len(self.changes) and (self.model == CURVE or not self.changes[0] > 0):
            self.refuse(
                f"labels change at {self.changes.tolist()} of the rounds; a change comes after the "
                "first round, and learning curves have none"
            )
        if (np.diff(self.changes) < 0).any():
            self.refuse(f"changes are {self.changes.tolist()}; give them in ascending order")
        mixed = np.flatnonzero((np.sort(self.relabel, axis=1) != np.arange(self.classes)).any(1))
        if len(mixed):
            self.refuse(
                f"relabel[{mixed[0]}] is {self.relabel[mixed[0]].tolist()}; give each label once"
            )

    def _check_rows(self, name: str, inputs: np.ndarray, labels: np.ndarray) -> None:
        """Refuse rows that the model cannot read.

        Args:
            name: name of the field of inputs.
            inputs: the inputs.
            labels: their labels.
        """
        if not len(inputs):
            self.refuse(f"{name} holds no rows")
        rank = {**dict.fromkeys(IMAGE, 4), **dict.fromkeys(TEXT, 2)}.get(self.model)
        if (rank is not None and inputs.ndim != rank) or inputs.ndim < 2:
            self.refuse(f"{name} has shape {inputs.shape}, which {self.model} cannot read")
        if inputs.shape[1:] != self.inputs.shape[1:]:
            self.refuse(f"{name} has rows of {inputs.shape[1:]}, expected {self.inputs.shape[1:]}")
        if self.model in IMAGE and min(inputs.shape[2:]) < LEAST_SIDE:
            self.refuse(
                f"{name} has images of {inputs.shape[2:]}; {self.model} halves them twice and needs"
                f" {LEAST_SIDE} pixels a side"
            )
        if labels.ndim != (2 if self.model in TEXT else 1):
            self.refuse(
                f"the labels of {name} are {labels.dtype} {labels.shape}; give int64, one a row, of"
                " text one a character"
            )
        if self.model in TEXT:
            if inputs.dtype != np.uint8 or labels.shape != inputs.shape:
                self.refuse(f"{name}: text is uint8 [N, L] with labels of that shape")
            if (inputs >= self.classes).any():
                self.refuse(f"{name} holds characters outside 0..{self.classes - 1}")
        elif inputs.dtype != np.float32:
            self.refuse(f"{name} has dtype {inputs.dtype}, expected float32")

    @property
    def parameters(self) -> int:
        """Number of the model's parameters, biases aside; 0 of a learning curve."""
        width, classes = self.width, self.classes
        features = math.prod(self.inputs.shape[1:])
        if self.model == CURVE:
            return 0
        if self.model in TEXT:
            gates = 3 if self.model == "gru" else 4
            return gates * width * (width + classes) + width * classes
        if self.model in IMAGE:
            channels, height, across = map(int, self.inputs.shape[1:])
            kernels = 9 * width * (channels + 2 * width)
            return kernels + 2 * width * (height // 4) * (across // 4) * classes
        return features * classes if not width else width * (features + classes)

    def _check_work(self) -> None:
        """Refuse what would be trained for weeks, or does not fit memory."""
        if self.parameters > MOST_PARAMETERS:
            self.refuse(
                f"{self.model} of width {self.width} has {self.parameters:.2g} parameters, more "
                f"than {MOST_PARAMETERS:.0g}; set a smaller width, or give fewer features"
            )
        rows = float(self.rounds) * self.participants * self.local_steps * self.batch_size
        # A weight is used at each character of a text, and of a kernel at each pixel.
        uses = math.prod(self.inputs.shape[-2:]) if self.model in IMAGE else self.inputs.shape[-1]
        work = rows * self.parameters * (uses if self.model in (*IMAGE, *TEXT) else 1)
        if work > MOST_WORK:
            self.refuse(
                f"{self.rounds} rounds of {self.participants} participants, {self.local_steps} "
                f"steps each of {self.batch_size} rows would train for some {work / PER_DAY:.2g} "
                "days; lower rounds, participants, local_steps, batch or width"
            )

    def _check_law(self) -> None:
        law = self.law
        good = law.shape == (len(LAW),)
        if good:
            floor, scale, exponent, annealing, memory, most = law.tolist()
            good = min(floor, scale, exponent, annealing) >= 0 and 0 < memory < 1 and most > 0
        if not good:
            self.refuse(
                f"law is {law.tolist()}; give {', '.join(LAW)}: finite, at least 0, memory between "
                "0 and 1, most above 0"
            )
        with np.errstate(over="ignore"):
            first = floor + scale * np.float64(most) ** -exponent
        if not 0 < first < np.inf:
            self.refuse(f"law is {law.tolist()}: its first loss is {first}; give one above 0")


def terms_of(federation: Federation) -> Terms:
    """Return the terms of a federation: all that a policy learns of it at reset."""
    return Terms(**{f.name: getattr(federation, f.name) for f in dataclasses.fields(Terms)})


def _count_clients(federation: Federation) -> int:
    owner = federation.owner
    return int(owner.max()) + 1 if len(owner) else federation.participants


def seal(federation: Federation) -> Federation:
    """Return a federation without its test rows, as contenders' environments use it; always the
    same object for the same federation.
    """
    return federation if federation.sealed else remembered(federation, _sealed)


def _sealed(federation: Federation) -> Federation:
    return federation.part(
        test_inputs=federation.test_inputs[:0].copy(),  # a view would keep the rows
        test_labels=federation.test_labels[:0].copy(),  # a view would keep the rows
    )


def make_federation(name: str, **fields: Any) -> Federation:
    """Make a federation; fields that are not given have the values in DEFAULTS.

    Args:
        name: name of the federation.
        **fields: fields of Federation.

    Raises:
        InstanceError: the federation is impossible.
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
