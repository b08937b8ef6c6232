"""Measure the speed of the federated-learning environment.

In seconds of CPU of one process with one thread, so that other jobs on the machine count little:
rounds of logistic regression on images of 8 x 8 (100 clients, 10 per round, 5 local steps, batches
of 16: the shape of digits-grid), in one environment with observation and info, and in one of 32
lanes; and steps of the closed-form curve. The reference is the loop that a user would write in
torch: nn.Linear and SGD, one client after the other, and, as in the environment, the validation
loss once per round.
"""

from __future__ import annotations

import time

import numpy as np

from ..core.contracts import Throughput
from ..datasets.federated_lr.instance import CURVE, Federation, make_federation
from ..envs.federated_lr.env import FederatedLREnv
from ..envs.federated_lr.grid import STAY
from ..envs.federated_lr.vector_env import FederatedLRVectorEnv
from .timing import Run, beside, one_thread

CLIENTS, ROWS, FEATURES, CLASSES = 100, 14, 64, 10
LANES, ROUNDS, REPEATS = 32, 50, 5
PLAIN = "one client after the other in torch, in this run"


def measure() -> list[Throughput]:
    """Measure the throughputs."""
    federation, curve = _federation(), _curve()
    runs: dict[str, Run] = {
        "env.step, digits-like logistic regression": lambda: _env_per_second(federation),
        f"VectorEnv.step, {LANES} lanes, digits-like logistic regression": (
            lambda: _vector_env_per_second(federation)
        ),
        "env.step, closed-form curve": lambda: _env_per_second(curve),
        f"VectorEnv.step, {LANES} lanes, closed-form curve": lambda: _vector_env_per_second(curve),
    }
    with one_thread():
        return beside(runs, "rounds/s", PLAIN, lambda: _plain_per_second(federation), REPEATS)


def _federation() -> Federation:
    """Make random rows in the shape of digits-grid, without any data."""
    rng = np.random.default_rng(0)

    def rows(count: int) -> tuple[np.ndarray, np.ndarray]:
        labels = rng.integers(0, CLASSES, count)
        inputs = rng.random((count, FEATURES)) + np.eye(CLASSES, FEATURES)[labels]
        return inputs.astype(np.float32), labels

    inputs, labels = rows(CLIENTS * ROWS)
    val_inputs, val_labels = rows(180)
    return make_federation(
        "digits-like", inputs=inputs, labels=labels, owner=np.arange(len(labels)) % CLIENTS,
        val_inputs=val_inputs, val_labels=val_labels, classes=CLASSES, participants=10,
        local_steps=5, batch_size=16, rounds=ROUNDS,
    )  # fmt: skip


def _curve() -> Federation:
    law = np.array([0.3, 0.6, 0.5, 0.05, 0.8, 0.5])
    return make_federation("curve", model=CURVE, rounds=ROUNDS, law=law)


def _env_per_second(federation: Federation) -> float:
    env = FederatedLREnv(federation)
    env.reset(seed=0)
    started = time.process_time()
    for _ in range(ROUNDS):
        env.step(STAY)
    return ROUNDS / (time.process_time() - started)


def _vector_env_per_second(federation: Federation) -> float:
    env = FederatedLRVectorEnv(LANES, federation)
    env.reset(seed=0)
    actions = np.full(LANES, STAY)
    started = time.process_time()
    for _ in range(ROUNDS):
        env.step(actions)
    return LANES * ROUNDS / (time.process_time() - started)


def _plain_per_second(federation: Federation) -> float:
    import torch
    from torch import nn

    f, rng = federation, np.random.default_rng(0)
    inputs, labels = torch.from_numpy(f.inputs.copy()), torch.from_numpy(f.labels.copy())
    held, wanted = torch.from_numpy(f.val_inputs.copy()), torch.from_numpy(f.val_labels.copy())
    own = [np.flatnonzero(f.owner == client) for client in range(f.clients)]
    server, client_model = nn.Linear(FEATURES, CLASSES), nn.Linear(FEATURES, CLASSES)
    loss_of = nn.CrossEntropyLoss()
    started = time.process_time()
    for _ in range(ROUNDS):
        updates = []
        for client in rng.choice(f.clients, f.participants, replace=False):
            client_model.load_state_dict(server.state_dict())
            optimizer = torch.optim.SGD(client_model.parameters(), lr=f.beta)
            for _ in range(f.local_steps):
                rows = torch.from_numpy(rng.choice(own[client], f.batch_size))
                optimizer.zero_grad()
                loss_of(client_model(inputs[rows]), labels[rows]).backward()
                optimizer.step()
            with torch.no_grad():
                pairs = zip(client_model.parameters(), server.parameters(), strict=True)
                updates.append([after - before for after, before in pairs])
        with torch.no_grad():
            for number, weights in enumerate(server.parameters()):
                step = torch.stack([update[number] for update in updates]).mean(0)
                weights.add_(f.alpha * step)
            loss_of(server(held), wanted).item()
    return ROUNDS / (time.process_time() - started)
