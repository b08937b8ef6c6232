"""Federated training by torch: E federations at once, all their clients in one computation."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.linalg import vector_norm

from ...datasets.federated_lr.concepts import Labels, concept_of, labels_of
from ...datasets.federated_lr.instance import ALPHA_RANGE, BETA_RANGE, Federation
from . import dense
from .alike import check_alike
from .draws import Draws, Shelf, draw_rounds, first_weights, shelve
from .local_rules import begin, descend, query
from .models import Model, model_of
from .orders import (
    ALPHA,
    BETA,
    CHECKPOINT,
    GO_ON,
    KEEP,
    LOCAL,
    LOCAL_RULES,
    SERVER,
    rate_of,
    server_of,
)
from .server_rules import server_step
from .statistics import NAMES, Statistics, blank

SGD = LOCAL_RULES.index("sgd")
MOST_WEIGHTS = 2**24  # of clients in training that are held at a time; 128 MiB


@dataclass(slots=True)
class _Model:
    """What a checkpoint keeps of every lane, float64 [E, P] each.

    Attributes:
        weights: of the model.
        update: mean change by the clients of the last round, not yet applied.
        last: the update applied before.
        m: the server rule's first moment.
        v: the server rule's second moment.
    """

    weights: Tensor
    update: Tensor
    last: Tensor
    m: Tensor
    v: Tensor

    def rows(self, lanes: Tensor) -> list[Tensor]:
        """Read some lanes of every part.

        Args:
            lanes: int64 [n].
        """
        return [getattr(self, name)[lanes] for name in self.__slots__]

    def put(self, lanes: Tensor, rows: Sequence[Tensor]) -> None:
        """Write some lanes of every part.

        Args:
            lanes: int64 [n].
            rows: float64 [n, P] for each part, in their order.
        """
        for name, part in zip(self.__slots__, rows, strict=True):
            getattr(self, name)[lanes] = part


class Training:
    """Federations whose clients train; see dynamics.Dynamics."""

    def __init__(self, federations: Sequence[Federation], device: str = "cpu") -> None:
        """Make room for a federation in each lane.

        Args:
            federations: one for each lane.
            device: torch's name of the device that trains.

        Raises:
            InstanceError: the federations are not alike; see `check_alike`.
        """
        first = federations[0]
        for other in federations[1:]:
            check_alike(first, other)
        self.device = torch.device(device)
        self.federations = list(federations)
        self._draws: dict[int, Draws] = {}  # by lane
        self._last_concept: dict[int, int] = {}  # by lane, where the future is drawn anew
        self.model: Model = model_of(first)
        # By the array's id, with the array itself, so that no other takes its id.
        self._shelves: dict[int, tuple[np.ndarray, Shelf]] = {}
        self._tensors: dict[int, tuple[np.ndarray, Tensor]] = {}
        size = (len(federations), self.model.size)
        self._now = _Model(*(self._room(*size) for _ in _Model.__slots__))
        self._kept = _Model(*(self._room(*size) for _ in _Model.__slots__))
        self.statistics: Statistics = blank(len(federations))

    def _at(self, lanes: np.ndarray) -> Tensor | slice:
        """Return lanes int64 [n] as an index; a slice, which is fastest, if they are all lanes."""
        whole = np.array_equal(lanes, np.arange(len(self.federations)))
        return slice(None) if whole else torch.from_numpy(lanes)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_shelves": {}, "_tensors": {}}  # by id(), which a copy changes

    def _room(self, *size: int) -> Tensor:
        return torch.zeros(size, dtype=torch.float64, device=self.device)

    def _held(self, array: np.ndarray) -> Tensor:
        """Return a federation's array on the device, one tensor for all lanes that share it."""
        if id(array) not in self._tensors:
            tensor = torch.from_numpy(array.astype(_stored_as(array))).to(self.device)
            self._tensors[id(array)] = array, tensor
        return self._tensors[id(array)][1]

    def _shelf(self, owner: np.ndarray) -> Shelf:
        if id(owner) not in self._shelves:
            self._shelves[id(owner)] = owner, shelve(owner)
        return self._shelves[id(owner)][1]

    def begin(self, lane: int, federation: Federation, seed: int) -> None:
        """Start a lane again; see Dynamics."""
        if federation is not self.federations[lane]:
            check_alike(self.federations[0], federation)
            self.federations[lane] = federation
        self._draws[lane] = draw_rounds(federation, self._shelf(federation.owner), seed)
        self._last_concept.pop(lane, None)
        weights = torch.from_numpy(first_weights(seed, self.model.bounds()))[None].to(self.device)
        rows = torch.tensor([lane])
        for state in (self._now, self._kept):
            state.put(rows, [weights, *[self._room()] * 4])
        s = self.statistics
        s.step[lane] = 0
        loss, accuracy = self._validate(np.array([lane]))
        s.clear(lane, federation, float(loss[0]), float(accuracy[0]))

    def step(self, orders: np.ndarray, lanes: np.ndarray | None = None) -> None:
        """Obey an order in each lane; see Dynamics. A lane that is at its end trains no more."""
        lanes = np.arange(len(self.federations)) if lanes is None else lanes
        s = self.statistics
        self._checkpoint(lanes, orders[:, CHECKPOINT])
        s.alpha[lanes] = [rate_of(code, ALPHA_RANGE) for code in orders[:, ALPHA].tolist()]
        s.beta[lanes] = [rate_of(code, BETA_RANGE) for code in orders[:, BETA].tolist()]
        moving = lanes[s.step[lanes] > 0]
        if len(moving):
            self._apply(moving, orders[s.step[lanes] > 0, SERVER])
        s.step[lanes] += 1
        goes_on = (s.step[lanes] <= s.rounds[lanes]) & ~s.diverged[lanes]
        if goes_on.any():
            self._train(lanes[goes_on], orders[goes_on, LOCAL])

    def _checkpoint(self, lanes: np.ndarray, wishes: np.ndarray) -> None:
        if (wishes == GO_ON).all():
            return
        keep = torch.from_numpy(lanes[wishes == KEEP])
        back = torch.from_numpy(lanes[(wishes != GO_ON) & (wishes != KEEP)])
        self._kept.put(keep, self._now.rows(keep))
        self._now.put(back, self._kept.rows(back))

    def _apply(self, lanes: np.ndarray, rules: np.ndarray) -> None:
        s, now = self.statistics, self._now
        for code in sorted(set(rules.tolist())):
            some, (rule, tau) = lanes[rules == code], server_of(code)
            at = self._at(some)
            alpha = torch.from_numpy(s.alpha[some, None]).to(self.device)
            update, m, v = now.update[at], now.m[at], now.v[at]
            turn = torch.from_numpy(s.step[some, None].astype(np.float64)).to(self.device)
            now.weights[at] += server_step(rule, alpha, update, m, v, tau, turn)
            now.last[at], now.m[at], now.v[at] = update, m, v
        loss, accuracy = self._validate(lanes)
        s.validated(lanes, loss, accuracy)

    def _validate(self, lanes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return validation loss and accuracy, float64 [n] each, of lanes int64 [n], whose last
        update is of the round that they are at.
        """
        # Lanes that share their validation rows are evaluated together.
        loss, accuracy = np.empty(len(lanes)), np.empty(len(lanes))
        alike: dict[tuple[int, int], list[int]] = {}
        labels = [self._labels(lane).validation for lane in lanes.tolist()]
        for place, lane in enumerate(lanes.tolist()):
            rows = id(self.federations[lane].val_inputs), id(labels[place])
            alike.setdefault(rows, []).append(place)
        for some in alike.values():
            f = self.federations[lanes[some[0]]]
            found = self._evaluate(lanes[some], f.val_inputs, labels[some[0]])
            loss[some], accuracy[some] = found
        return loss, accuracy

    def _evaluate(
        self, lanes: np.ndarray, inputs: np.ndarray, labels: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        weights = self._now.weights[torch.from_numpy(lanes)]
        loss, accuracy = self.model.evaluate(weights, self._held(inputs), self._held(labels))
        return loss.cpu().numpy(), accuracy.cpu().numpy()

    def accuracies(self, f: Federation, lanes: np.ndarray) -> np.ndarray:
        """Measure the accuracy of the models now, float64 [n], on the judge's rows.

        Args:
            f: a federation with its test rows, whose labels mean what they did in the last round
                that was applied.
            lanes: whose models, int64 [n]; all as many rounds on.
        """
        last = max(int(self.statistics.step[lanes[0]]) - 2, 0)
        labels = labels_of(f, concept_of(f, last)).test
        return self._evaluate(lanes, f.test_inputs, labels)[1]

    def _train(self, lanes: np.ndarray, rules: np.ndarray) -> None:
        """Train a round in lanes int64 [n] by local rules int64 [n], places in LOCAL_RULES."""
        s, now = self.statistics, self._now
        m = self.federations[0].participants
        at = self._at(lanes)
        weights, last = now.weights[at], now.last[at]
        firsts = torch.empty((len(lanes), m, 2), dtype=weights.dtype, device=self.device)
        squares, total = firsts[:, :, 0].clone(), torch.zeros_like(weights)
        # Of large models, only a few clients' are held at a time.
        few = max(1, min(m, MOST_WEIGHTS // weights.numel()))
        for start in range(0, m, few):
            clients = slice(start, min(start + few, m))
            w, firsts[:, clients] = self._trained(lanes, rules, clients, weights)
            moved = w.sub_(weights.unsqueeze(1))
            total += moved.sum(1)
            squares[:, clients] = moved.square_().sum(2)
        update = total / m
        now.update[at] = update
        inner = (update * last).sum(1)
        s.trained(
            lanes,
            *(part.cpu().numpy() for part in (
                *firsts.mean(1).T, vector_norm(update, dim=1), squares.mean(1), inner,
                vector_norm(last, dim=1),
            )),
        )  # fmt: skip

    def _trained(
        self, lanes: np.ndarray, rules: np.ndarray, clients: slice, weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Train some participants of a round.

        Args:
            lanes: int64 [n].
            rules: int64 [n], places in LOCAL_RULES.
            clients: which of the M participants of each lane, c in number.
            weights: of the lanes, float64 [n, P].

        Returns:
            Their weights float64 [n, c, P], and loss and gradient norm at each one's first step,
            float64 [n, c, 2].
        """
        c = clients.stop - clients.start
        w = weights.repeat_interleave(c, dim=0)
        firsts = torch.empty((len(w), 2), dtype=w.dtype, device=self.device)
        compiled = (rules == SGD) & bool(self.model.sizes) & (self.device.type == "cpu")
        for place in np.flatnonzero(compiled):
            own = slice(place * c, (place + 1) * c)
            self._descend_compiled(int(lanes[place]), clients, w[own], firsts[own])
        if not compiled.all():
            self._descend(lanes, rules, np.flatnonzero(~compiled), clients, w, firsts)
        return w.unflatten(0, (len(lanes), c)), firsts.unflatten(0, (len(lanes), c))

    def _descend_compiled(self, lane: int, clients: slice, w: Tensor, firsts: Tensor) -> None:
        """Train a lane's clients by SGD on a dense model.

        Args:
            lane: index of the lane.
            clients: which of the participants, c in number.
            w: weights float64 [c, P], trained in place.
            firsts: float64 [c, 2], set to loss and gradient norm at each client's first step.
        """
        f, draws, t = self.federations[lane], self._draws[lane], self._round(lane)
        dense.train_sgd(
            w.numpy(),
            np.array(self.model.sizes),
            self._held(f.inputs).flatten(1).numpy(),
            self._held(self._labels(lane).train).numpy(),
            draws.rows[t, clients],
            draws.steps[t, clients],
            float(self.statistics.beta[lane]),
            firsts.numpy(),
        )

    def _descend(
        self,
        lanes: np.ndarray,
        rules: np.ndarray,
        places: np.ndarray,
        clients: slice,
        w: Tensor,
        firsts: Tensor,
    ) -> None:
        """Train clients of several lanes, by any local rule on any model.

        Args:
            lanes: int64 [n], all lanes that train in this round.
            rules: int64 [n], the local rule of each.
            places: which of the n are trained here, int64 [k].
            clients: which of the participants of each lane, c in number.
            w: weights float64 [n * c, P], trained in place.
            firsts: float64 [n * c, 2], set to loss and gradient norm at each first step.
        """
        s, c = self.statistics, clients.stop - clients.start
        inputs, labels, steps = self._rows(lanes[places], clients)
        at = torch.from_numpy(lanes[places])
        beta = torch.from_numpy(s.beta[lanes[places]]).to(self.device).repeat_interleave(c)[:, None]
        trend = self._now.last[at].repeat_interleave(c, dim=0)
        here = torch.from_numpy((places[:, None] * c + np.arange(c)).ravel())
        by_client = np.repeat(rules[places], c)
        for rule in np.unique(by_client):
            some = torch.from_numpy(np.flatnonzero(by_client == rule))
            r = begin(w[here[some]], beta[some], trend[some], inputs.shape[1])
            for k in range(inputs.shape[1]):
                x, y = inputs[some, k], labels[some, k]
                loss, slope = self.model.gradient(query(LOCAL_RULES[rule], r), x, y)
                if k == 0:
                    firsts[here[some]] = torch.stack([loss, slope.norm(dim=1)], dim=1)
                descend(LOCAL_RULES[rule], r, slope, steps[some, None] > k)
            w[here[some]] = r.w

    def _round(self, lane: int) -> int:
        """Return the index, from 0, of the round that the lane is at: the one its clients train in,
        or whose update is applied.
        """
        return max(int(self.statistics.step[lane]) - 1, 0)

    def _labels(self, lane: int) -> Labels:
        """Return a lane's labels as they are meant in the round it is at."""
        f = self.federations[lane]
        concept = concept_of(f, self._round(lane))
        return labels_of(f, min(concept, self._last_concept.get(lane, concept)))

    def _rows(self, lanes: np.ndarray, clients: slice) -> tuple[Tensor, Tensor, Tensor]:
        """Gather the next round of lanes int64 [n], of c of their participants.

        Returns:
            Inputs [n * c, K, B, ...] and labels of K batches of B rows for each client, and the
            number of local steps that each client does, int32 [n * c].
        """
        inputs: list[Tensor] = []
        labels: list[Tensor] = []
        steps: list[np.ndarray] = []
        for lane in lanes.tolist():
            f, draws, t = self.federations[lane], self._draws[lane], self._round(lane)
            here = draws.rows[t, clients]
            rows = torch.from_numpy(here.ravel()).to(self.device)
            for array, parts in ((f.inputs, inputs), (self._labels(lane).train, labels)):
                parts.append(self._held(array).index_select(0, rows).unflatten(0, here.shape))
            steps.append(draws.steps[t, clients])
        done = torch.from_numpy(np.concatenate(steps)).to(self.device)
        return torch.cat(inputs), torch.cat(labels), done

    def draw_future(self, seed: int) -> None:
        """Draw the rounds to come anew; see Dynamics."""
        for lane in self._draws:
            f = self.federations[lane]
            self._draws[lane] = draw_rounds(f, self._shelf(f.owner), seed)
            # A change of labels that has not come yet must not be seen in another future.
            self._last_concept[lane] = concept_of(f, self._round(lane))

    def fork(self) -> Training:
        """Return a copy in the same state that goes its own way; data are shared."""
        twin = copy.copy(self)
        twin.federations, twin._draws = list(self.federations), dict(self._draws)
        twin._last_concept = dict(self._last_concept)
        twin._shelves, twin._tensors = self._shelves, self._tensors
        twin._now, twin._kept = copy.deepcopy(self._now), copy.deepcopy(self._kept)
        twin.statistics = copy.deepcopy(self.statistics)
        return twin

    def spread(self, count: int) -> Training:
        """Return lanes that are all as the only one here, each to go its own way through the same
        rounds; data are shared.

        Args:
            count: number of lanes.
        """
        twin = self.fork()
        lanes = range(count)
        twin.federations *= count
        twin._draws = dict.fromkeys(lanes, self._draws[0])
        twin._last_concept = {lane: end for end in self._last_concept.values() for lane in lanes}
        twin._now, twin._kept = (
            _Model(*(part.repeat(count, 1) for part in state.rows(torch.tensor([0]))))
            for state in (self._now, self._kept)
        )
        for name in NAMES:
            setattr(twin.statistics, name, getattr(twin.statistics, name).repeat(count))
        return twin


def _stored_as(array: np.ndarray) -> type:
    """Return the type an array has on the device: float64, so that the judge's own computation
    agrees, or int64 for labels and text.
    """
    return np.float64 if array.dtype.kind == "f" else np.int64
