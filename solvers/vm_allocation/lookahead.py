"""Sampled lookahead: the best few places by tuned slots, played on through sampled futures.

At each request the process of arrivals, which the instance tells, is sampled for the hour to come;
tuned slots go on from each candidate in compiled code (methods/vm_allocation/futures.py). There are
as many futures as the budget allows. A few futures differ more by chance than places do, so another
place than the rule's own is taken only where it is better by twice the standard error of the
paired difference.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...core.budget import Budget
from ...datasets.vm_allocation.instance import HOUR_S, DataCenter
from ...envs.vm_allocation.observation import Clock
from ...methods.vm_allocation.futures import There, compare, process_of
from ...methods.vm_allocation.placement import Choice
from ...methods.vm_allocation.slots import TUNED_WEIGHTS, slot_tables
from .slots import TunedSlots

CANDIDATES = 3
AHEAD_S = 1.0 * HOUR_S
LEAST, MOST = 4, 200  # futures of a decision
ERRORS = 2.0  # standard errors of the difference by which another place must be better
SHARE = 0.7  # of the episode's seconds; the rest is for the rule itself and what the world takes
NOBODY = -1


class Lookahead(TunedSlots):
    """Tuned slots that look ahead.

    What is told of lifetimes is not used, nor VMs that a trace has placed at its start. Migrations
    are not made.
    """

    def reset(self, instance: DataCenter, budget: Budget, seed: int) -> None:
        """Begin an episode; see core.contracts.Policy."""
        super().reset(instance, budget, seed)
        cores = int(instance.numa_cpu.max()) // instance.cpu_per_core
        self._tables = slot_tables(TUNED_WEIGHTS, cores)
        self._process = process_of(instance)
        rows = min(instance.n_slots, 1024)
        self._there = There(
            np.full(rows, NOBODY),
            np.zeros(rows, np.int64),
            np.zeros(rows),
            np.zeros(rows, np.int64),
        )
        self._row_of: dict[int, int] = {}
        self._free_rows = list(range(rows - 1, -1, -1))
        self._left_s, self._decisions = SHARE * budget.seconds, instance.expected_requests
        self._future_s = 0.0  # that a future has taken lately
        self._now_s = 0.0
        self._row = 0
        self.futures = 0

    def act(self, observation: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> int:
        """Return the place of the request, or that no migration is wanted."""
        for request in info["left"]:
            row = self._row_of.pop(int(request), NOBODY)
            if row >= 0:
                self._there.flavor[row] = NOBODY
                self._free_rows.append(row)
        if observation["clock"][Clock.PLACE] == 0:
            return super().act(observation, info)
        self._now_s = float(info["hours"]) * HOUR_S
        self._row = self._enter(int(info["request"]), int(observation["flavor"][0]))
        self._mask = observation["action_mask"][: 2 * self.center.n_pms].reshape(-1, 2) > 0
        place = super().act(observation, info)
        self._there.place[self._row] = place
        return place

    def scores(self, choice: Choice) -> np.ndarray:
        """Return the rule's scores, with the place on top that futures prefer."""
        scores = np.where(self._mask, super().scores(choice), -np.inf)
        began = time.perf_counter()
        candidates = self._candidates(choice, scores)
        share = self._left_s / max(1.0, self._decisions)
        self._decisions -= 1.0
        if len(candidates) > 1 and share >= LEAST * self._future_s:
            better = self._preferred(choice, candidates, began + share)
            scores[better // 2, better % 2] = np.inf
        self._left_s -= time.perf_counter() - began
        return scores

    def _enter(self, request: int, flavor: int) -> int:
        """Give a request a row among those that are there."""
        if not self._free_rows:
            self._there = There(*(np.concatenate([part, part]) for part in self._there))
            rows = len(self._there.flavor)
            self._there.flavor[rows // 2 :] = NOBODY
            self._free_rows = list(range(rows - 1, rows // 2 - 1, -1))
        row = self._row_of[request] = self._free_rows.pop()
        self._there.flavor[row], self._there.since_s[row] = flavor, self._now_s
        self._there.is_start[row] = request < self.center.start_vms
        return row

    def _candidates(self, choice: Choice, scores: np.ndarray) -> np.ndarray:
        """Return the best places that leave hosts unlike each other, the best first, int64 [n]."""
        flat = scores.reshape(-1)
        best = np.argsort(-flat, kind="stable")[: 16 * CANDIDATES]
        kept: dict[tuple[int, ...], int] = {}
        for place in best[np.isfinite(flat[best])].tolist():
            host = choice.free_cpu[place // 2], choice.left_cpu[place // 2, place % 2]
            kept.setdefault(tuple(sorted(host[0].tolist()) + sorted(host[1].tolist())), place)
            if len(kept) == CANDIDATES:
                break
        return np.array(list(kept.values()), np.int64)

    def _preferred(self, choice: Choice, candidates: np.ndarray, until: float) -> int:
        """Play futures from each candidate and return the one to take.

        Args:
            choice: the request and the hosts.
            candidates: places, the rule's own first, int64 [n].
            until: time of the clock at which to stop.
        """
        hour = int(self._now_s // HOUR_S) % 24
        per_s = self.center.arrivals_per_h * self.center.hour_factor[hour] / HOUR_S
        end = min(self._now_s + AHEAD_S, float(self.center.horizon_s))
        span = np.array([self._now_s, end, per_s])
        lost = [self._future(choice, candidates, span)]  # not timed: it may have been compiled
        began = time.perf_counter()
        while len(lost) < LEAST or (len(lost) < MOST and time.perf_counter() < until):
            lost.append(self._future(choice, candidates, span))
        took = (time.perf_counter() - began) / (len(lost) - 1)
        self._future_s = 0.9 * self._future_s + 0.1 * took if self._future_s else took
        self.futures += len(lost)
        gains = np.array(lost)
        gains = gains[:, :1] - gains
        mean = gains.mean(axis=0)
        error = gains.std(axis=0, ddof=1) / math.sqrt(len(gains))
        sure = np.where(mean > ERRORS * error, mean, 0.0)
        return int(candidates[sure.argmax()])

    def _future(self, choice: Choice, candidates: np.ndarray, span: np.ndarray) -> np.ndarray:
        """Draw a future and return what is lost in it from each candidate, float64 [n]."""
        lost: np.ndarray = compare(
            self._process, self.rng, self._there, self._row, candidates, choice.free_cpu,
            choice.free_mem, *self._tables, span
        )  # fmt: skip
        return lost
