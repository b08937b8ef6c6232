"""Clients in this process, and a controller that gives the same order all along."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
from flwr.app import Error, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity
from sysopt_gym.envs.federated_lr.orders import order


@pytest.fixture(autouse=True)
def a_server_app(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flower makes messages only in a process that it has started for an app."""
    for name in ("_task_id", "_run_id", "_node_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)


class Steady:
    """The same rates and rules all along, with the alpha of the step."""

    def __init__(self, *alphas: float, **rules: Any) -> None:
        self.alphas, self.rules = alphas or (1.0,), rules

    def reset(self, terms: Any, budget: Any, seed: int) -> None:
        self.seed = seed

    def act(self, observation: Any, info: Any) -> np.ndarray:
        alpha = self.alphas[min(info["step"], len(self.alphas) - 1)]
        return order(alpha, 0.1, **self.rules)


class Grid:
    """Hands messages to a client function, which may return why it failed, and back.

    Attributes:
        nodes: who is connected, by round from 1; the last entry goes on.
        rounds: messages of every call.
    """

    def __init__(self, client: Callable[[Message], RecordDict | str], *nodes: Iterable[int]):
        self.client = client
        self.nodes = [list(some) for some in nodes] or [[0, 1, 2]]
        self.rounds: list[list[Message]] = []

    def get_node_ids(self) -> Iterable[int]:
        return self.nodes[min(len(self.rounds) // 2, len(self.nodes) - 1)]

    def send_and_receive(self, messages: Iterable[Message], **_: Any) -> list[Message]:
        sent = list(messages)
        self.rounds.append(sent)
        return [self.answer(message) for message in sent]

    def answer(self, message: Message) -> Message:
        said = self.client(message)
        content = Error(0, said) if isinstance(said, str) else said
        return Message(content, reply_to=message)
