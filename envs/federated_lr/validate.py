"""The independent validator: trains the federation again from the orders alone, one client after
the other, measures the test rows and scores them.

It shares no code with the dynamics and the objective: the codes of orders, the server's rules, the
random draws and the score are written out here, the models and the clients' rules in reference.py.
Only cnn and lstm are torch's on both sides: the dynamics batch them over clients with functions of
torch, and reference.py runs torch's own layers for one client.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ...core.contracts import Verdict, World
from ...core.errors import InstanceError
from ...core.kept import kept
from ...datasets.federated_lr.instance import Federation
from .reference import Descent, task_of

ALPHA_LOW, BETA_LOW, DECADE = 1e-3, 1e-6, 1e6  # code c is the rate LOW * 10 ** (c / DECADE)
# The largest code of each column of an order. Server rules 0 to 5 have a tau of 1e-3; code
# 6 + r + 4 k is rule 2 + r with a tau of TAU_LOW * 10 ** (k / DECADE).
MOST_CODES = (5_000_000, 7_000_000, 48_000_009, 10, 2)
TAU_LOW = 1e-12
ROUNDING = 1e-9  # of accuracies, by which two ways to compute one may differ
MOST_KEPT = 1024  # scores of FedAvg
WORST_LOSS = 20.0  # a loss above this many times the first model's is divergence


class Course(NamedTuple):
    """How training went.

    Attributes:
        validation, test: accuracy after each round applied.
        diverged: whether training diverged; the accuracy of that round is 0.
        violations: why the orders are no plan; empty if they are one.
    """

    validation: list[float]
    test: list[float]
    diverged: bool
    violations: tuple[str, ...]


def validate(federation: Federation, actions: np.ndarray, world: World) -> Verdict:
    """Judge a plan.

    Args:
        federation: with its test rows.
        actions: the orders, int64 [steps, 5].
        world: its seed decides the first model, the participants and their rows.

    Returns:
        The objective of the test rows, and as `replayed` that of the validation rows, which is what
        the environment reports. The detail: area_under_curve, diverged, rounds_to_target (where the
        federation has a target) and rounds_to_fedavg, all of the test rows.

    Raises:
        InstanceError: the federation is sealed, so that there are no test rows to measure.
    """
    if federation.sealed and federation.model != "curve":
        raise InstanceError(f"{federation.name}: is sealed; judge it with its test rows")
    orders = np.asarray(actions)
    course = _course(federation, orders, world)
    if course.violations:
        return Verdict(math.nan, False, course.violations)
    f = federation
    validation, test = (
        part + [0.0] * (f.rounds - len(part)) for part in (course.validation, course.test)
    )
    detail = {
        "area_under_curve": _score("area_under_curve", test, 0.0),
        "diverged": float(course.diverged),
    }
    if f.target > 0:
        detail["rounds_to_target"] = _score("rounds_to_target", test, f.target)
    fedavg = _score_of_fedavg(f, world)
    detail["rounds_to_fedavg"] = _score("rounds_to_target", test, fedavg)
    objective = _score(f.objective, test, f.target)
    return Verdict(objective, True, (), detail, _score(f.objective, validation, f.target))


def _score(objective: str, accuracies: list[float], target: float) -> float:
    """Score a run: the accuracy after its last round (final_accuracy), the mean over its rounds
    (area_under_curve), or the number of the first round whose accuracy reaches the target, T + 1 if
    none does (rounds_to_target). An accuracy reaches the target if it is at most ROUNDING below.

    Args:
        objective: one of the three names.
        accuracies: after each of the T rounds; 0 for rounds that divergence left out.
        target: accuracy to reach.
    """
    if objective == "final_accuracy":
        return accuracies[-1]
    if objective == "area_under_curve":
        return math.fsum(accuracies) / len(accuracies)
    for number, accuracy in enumerate(accuracies, start=1):
        if accuracy >= target - ROUNDING:
            return float(number)
    return float(len(accuracies) + 1)


_FEDAVG: dict[tuple[str, int], float] = {}


def _score_of_fedavg(f: Federation, world: World) -> float:
    """Return the test accuracy that FedAvg (the initial rates in every round) ends with in the same
    world; 0 if it diverges.
    """

    def play() -> float:
        row = [
            round(math.log10(f.alpha / ALPHA_LOW) * DECADE),
            round(math.log10(f.beta / BETA_LOW) * DECADE), 0, 0, 0,
        ]  # fmt: skip
        course = _course(f, np.tile(row, (f.rounds + 1, 1)), world, stop_when_diverged=True)
        return 0.0 if course.diverged else course.test[-1]

    return kept(_FEDAVG, (f.content_hash, world.seed), MOST_KEPT, play)


def _course(
    f: Federation, orders: np.ndarray, world: World, stop_when_diverged: bool = False
) -> Course:
    """Train under the orders.

    Args:
        f: the federation.
        orders: int64 [steps, 5].
        world: its seed decides what chance decides.
        stop_when_diverged: orders after divergence are left out; else they are a violation.
    """
    if orders.ndim != 2 or orders.shape[1] != len(MOST_CODES):
        why = f"a plan of federated_lr is whole numbers [steps, 5], not of shape {orders.shape}"
        return Course([], [], False, (why,))
    odd = np.argwhere((orders < 0) | (orders > MOST_CODES))
    play: Any = _Curve(f) if f.model == "curve" else _Training(f, world.seed)
    validation: list[float] = []
    test: list[float] = []
    for step, order in enumerate(orders.tolist()):
        over = play.diverged or step > f.rounds
        if over:
            if stop_when_diverged:
                break
            return Course([], [], False, (f"step {step + 1}: the episode ended before",))
        if len(odd) and step == odd[0, 0]:
            column = int(odd[0, 1])
            why = f"step {step + 1}: {order[column]} in column {column} is outside the codes"
            return Course([], [], False, (why,))
        seen = play.obey(order)
        if seen is not None:
            validation.append(seen[0])
            test.append(seen[1])
    if not play.diverged and len(orders) != f.rounds + 1:
        why = f"the plan has {len(orders)} orders, of {f.rounds + 1} for {f.rounds} rounds"
        return Course([], [], False, (why,))
    return Course(validation, test, play.diverged, ())


class _Training:
    """One federation in training.

    What chance decides are draws of NumPy generators seeded by [world's seed, 0] (the first model,
    uniform within reference.task_of's bounds) and [world's seed, 1]. The second one draws, in this
    order: Gumbel numbers [T, clients], whose largest, after the drift is added, choose each round's
    participants; uniform numbers [T, M], below `stragglers` for those that end early; the steps
    [T, M] that these do; and uniform numbers [T, M, K, B] that choose rows among a participant's.
    """

    def __init__(self, f: Federation, seed: int) -> None:
        self.f, self.task, size, bounds = f, *task_of(f)
        self.w = np.random.default_rng([seed, 0]).uniform(-1.0, 1.0, size) * bounds
        self.update, self.last, self.m, self.v = np.zeros((4, size))
        self.kept = self._state()
        rng = np.random.default_rng([seed, 1])
        every, clients = (f.rounds, f.participants), f.clients
        self.chosen = np.empty(every, np.int64)
        for t in range(f.rounds):
            phases = t / f.rounds - np.arange(clients) / clients
            keys = rng.gumbel(size=clients) + f.drift * np.cos(2 * np.pi * phases)
            self.chosen[t] = np.argsort(-keys, kind="stable")[: f.participants]
        late = rng.random(every) < f.stragglers
        self.steps = np.where(late, rng.integers(1, f.local_steps + 1, every), f.local_steps)
        self.rng = rng  # draws the places of a round's rows when it comes
        self.by_client = np.argsort(f.owner, kind="stable")
        self.ends = np.cumsum(np.bincount(f.owner))
        self.first_loss = self.task(self.w, f.val_inputs, f.val_labels)[0]
        # What labels mean in each round, int64 [T, classes]; changes come after the first round.
        self.meanings = np.tile(np.arange(f.classes), (f.rounds, 1))
        for change, meaning in zip(f.changes.tolist(), f.relabel, strict=True):
            self.meanings[np.arange(f.rounds) / f.rounds >= change] = meaning
        self.step, self.diverged = 0, False

    def _state(self) -> list[np.ndarray]:
        return [a.copy() for a in (self.w, self.update, self.last, self.m, self.v)]

    def obey(self, order: list[int]) -> tuple[float, float] | None:
        """Take an order.

        Args:
            order: the five codes.

        Returns:
            The model's validation and test accuracy; None at step 0, which applies no update.
        """
        f = self.f
        if order[4] == 1:
            self.kept = self._state()
        if order[4] == 2:
            self.w, self.update, self.last, self.m, self.v = (a.copy() for a in self.kept)
        seen = None
        if self.step > 0:
            self._apply(ALPHA_LOW * 10 ** (order[0] / DECADE), order[2])
            meant = self.meanings[self.step - 1]
            loss, _, validation = self.task(self.w, f.val_inputs, meant[f.val_labels])
            if not (np.isfinite(loss) and loss <= WORST_LOSS * self.first_loss):
                self.diverged = True
                return 0.0, 0.0
            seen = validation, self.task(self.w, f.test_inputs, meant[f.test_labels])[2]
        if self.step < f.rounds:
            self._train(BETA_LOW * 10 ** (order[1] / DECADE), order[3])
        self.step += 1
        return seen

    def _apply(self, alpha: float, rule: int) -> None:
        """Apply the update.

        Args:
            alpha: server rate.
            rule: code of the server rule: 0 to 5 for plain averaging, momentum, Adagrad, Adam, Yogi
                and Adam with Flower's correction of the rate; above them see MOST_CODES.
        """
        update, tau = self.update, 1e-3
        if rule > 5:
            tau = TAU_LOW * 10 ** ((rule - 6) // 4 / DECADE)
            rule = 2 + (rule - 6) % 4
        self.last = update.copy()
        if rule == 0:
            self.w = self.w + alpha * update
            return
        if rule == 1:
            self.m = 0.9 * self.m + update
            self.w = self.w + alpha * self.m
            return
        if rule == 2:
            self.v = self.v + update**2
            self.w = self.w + alpha * update / (np.sqrt(self.v) + tau)
            return
        self.m = 0.9 * self.m + 0.1 * update
        if rule == 4:
            self.v = self.v - 0.01 * update**2 * np.sign(self.v - update**2)
        else:
            self.v = 0.99 * self.v + 0.01 * update**2
        if rule == 5:
            t = self.step + 1
            alpha = alpha * math.sqrt(1 - 0.99**t) / (1 - 0.9**t)
        self.w = self.w + alpha * self.m / (np.sqrt(self.v) + tau)

    def _train(self, beta: float, rule: int) -> None:
        """Train a round of clients, one after the other, at rate beta and by a local rule."""
        f, total = self.f, np.zeros_like(self.w)
        numbers: list[float] = []
        squares: list[float] = []
        places = self.rng.random((f.participants, f.local_steps, f.batch_size))
        for who, client in enumerate(self.chosen[self.step]):
            own = self.by_client[self.ends[client - 1] if client else 0 : self.ends[client]]
            descent = Descent(rule, beta, self.w, self.last, f.local_steps)
            for k in range(f.local_steps):
                at = own[(places[who, k] * len(own)).astype(np.int64)]
                meant = self.meanings[self.step][f.labels[at]]
                loss, slope, _ = self.task(descent.where(), f.inputs[at], meant)
                if k == 0:
                    numbers += [loss, float(np.linalg.norm(slope))]
                descent.move(slope, k < self.steps[self.step, who])
            with np.errstate(all="ignore"):
                moved = descent.w - self.w
                total = total + moved if who else moved
                squares.append(float((moved**2).sum()))
        with np.errstate(all="ignore"):
            self.update = total / f.participants
            numbers += squares
            numbers.append(float(self.update @ self.last))
        if not np.isfinite(numbers).all():
            self.diverged = True


class _Curve:
    """A learning curve by the annealing scaling law (arXiv 2408.11029), its sums written out."""

    def __init__(self, f: Federation) -> None:
        self.f, self.pending = f, 0.0
        self.rates: list[float] = []
        self.kept: tuple[list[float], float] = ([], 0.0)
        self.step, self.diverged = 0, False
        self.first = self._loss()

    def _loss(self) -> float:
        floor, scale, exponent, annealing, memory, most = self.f.law.tolist()
        s1 = most + math.fsum(self.rates)
        n = len(self.rates)
        s2 = math.fsum(
            (self.rates[k - 1] - self.rates[k]) * (1 - memory ** (n - k)) / (1 - memory)
            for k in range(1, n)
        )
        loss: float = floor + scale * s1**-exponent - annealing * s2
        return max(loss, 0.0)

    def obey(self, order: list[int]) -> tuple[float, float] | None:
        """Take an order; see _Training.obey."""
        if order[4] == 1:
            self.kept = list(self.rates), self.pending
        if order[4] == 2:
            self.rates, self.pending = list(self.kept[0]), self.kept[1]
        seen = None
        if self.step > 0:
            rate = ALPHA_LOW * 10 ** (order[0] / DECADE) * self.pending
            if rate > 0:  # back at the start, nothing is in hand, and nothing is not a rate
                self.rates.append(rate)
            loss = self._loss()
            if rate > self.f.law[5] or loss > WORST_LOSS * self.first:
                self.diverged = True
                return 0.0, 0.0
            seen = math.exp(-loss), math.exp(-loss)
        self.pending = BETA_LOW * 10 ** (order[1] / DECADE)
        self.step += 1
        return seen
