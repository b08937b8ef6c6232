"""Which clients take part in a round, and how long a run bears with clients that are not there."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ...core.errors import SettingError

WAIT_S = 1.0  # pause between checks of which clients are connected
SAY_EVERY = 10  # checks between lines that say so
_LOG = logging.getLogger("flwr.sysopt_gym")  # below Flower's, so that its console shows it


class Nodes(Protocol):
    """What is needed of Flower's Grid."""

    def get_node_ids(self) -> Iterable[int]:
        """Return the clients that are connected."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a run bears with clients that are not there.

    Attributes:
        min_replies: fewest usable answers with which a round is a step of the policy.
        patience_s: seconds for which a round waits for clients that have been there before.
        max_idle_rounds: rounds in succession without a step before the run ends with an error.

    Raises:
        SettingError: a limit that nothing can meet.
    """

    min_replies: int = 1
    patience_s: float = 5.0
    max_idle_rounds: int = 3

    def __post_init__(self) -> None:
        if self.min_replies < 1 or self.max_idle_rounds < 1 or not self.patience_s >= 0:
            raise SettingError(
                f"{self}: give min_replies and max_idle_rounds of at least 1, and seconds from 0"
            )


class Participants:
    """Draws a round's clients among those that are connected."""

    def __init__(self, participants: int, available: int, patience_s: float, seed: int) -> None:
        """Begin a run.

        Args:
            participants: clients that train in a round, M.
            available: clients that must be connected before the first round.
            patience_s: seconds for which later rounds wait; see Limits.
            seed: of the draws.
        """
        self._participants, self._available, self._patience_s = participants, available, patience_s
        self._train, self._evaluate = np.random.default_rng(seed), np.random.default_rng([seed, 1])
        self._seen: int | None = None  # connected in the last round

    def to_train(self, grid: Nodes, server_round: int) -> list[int]:
        """Choose the participants of a round.

        The first round waits until enough clients are connected, as Flower does; a later one only
        for as many as there were in the last, and not for long.

        Args:
            grid: Flower's connection to the clients.
            server_round: number of the round, from 1.

        Returns:
            Their nodes, fewer than M where fewer are connected.
        """
        needed = self._available if self._seen is None else min(self._available, self._seen)
        pause = WAIT_S if self._seen is None else min(WAIT_S, self._patience_s)
        end, checks = time.monotonic() + self._patience_s, 0
        while len(nodes := sorted(grid.get_node_ids())) < max(needed, 1):
            if checks % SAY_EVERY == 0:
                _LOG.info(
                    "round %d: waiting for clients, %d connected of %d",
                    server_round, len(nodes), needed,
                )  # fmt: skip
            if self._seen is not None and time.monotonic() >= end:
                break
            checks += 1
            time.sleep(pause)
        if len(nodes) < self._participants:
            _LOG.warning(
                "round %d: %d clients are connected, %d were to train",
                server_round, len(nodes), self._participants,
            )  # fmt: skip
        self._seen = len(nodes)
        return _drawn(self._train, nodes, self._participants)

    def to_evaluate(self, grid: Nodes, fraction: float, least: int) -> list[int]:
        """Choose clients that evaluate; waits for nobody.

        Args:
            grid: Flower's connection to the clients.
            fraction: of those that are connected.
            least: fewest clients, if so many are connected.
        """
        nodes = sorted(grid.get_node_ids())
        return _drawn(self._evaluate, nodes, max(int(len(nodes) * fraction), least))


def _drawn(rng: np.random.Generator, nodes: list[int], count: int) -> list[int]:
    if not nodes:
        return []
    chosen = rng.choice(len(nodes), min(count, len(nodes)), replace=False)
    return [nodes[row] for row in chosen]
