"""What the judge is given of federated_lr: tiny federations of every model and objective, and
learning curves; plans of every rule, with checkpoints, that diverge, or break the rules of plans.

Accuracies are shares of rows: 90 rows and the mean over 8 rounds show what moves few weights.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
from sysopt_gym.core.contracts import World
from sysopt_gym.datasets.federated_lr.concepts import draw_changes
from sysopt_gym.datasets.federated_lr.instance import (
    ALPHA_RANGE,
    BETA_RANGE,
    CURVE,
    MODELS,
    OBJECTIVES,
    TEXT,
    Federation,
    make_federation,
)
from sysopt_gym.envs.federated_lr.env import FederatedLREnv
from sysopt_gym.envs.federated_lr.orders import (
    ADAPTIVE,
    BETA,
    CHECKPOINT,
    LOCAL_RULES,
    SERVER_RULES,
    SIZES,
    code_of,
    constant,
    order,
    rate_of,
)
from tiny_federations import make_world

Case = tuple[str, Federation, np.ndarray, World]
ROUNDS = 8
AREA = "area_under_curve"


def cases() -> Iterator[Case]:
    """The judge's cases, the quickest first: name, instance, plan, world."""
    yield from _curves()
    yield from _breaking()
    yield from _rules()
    yield from _checkpoints()
    yield from _targets()
    yield from _divergent()
    yield from _changing()
    yield from _models()
    yield from _random()


def federation(model: str = "logistic", seed: int = 0, **changes: Any) -> Federation:
    """A federation with so many validation rows that accuracies tell models apart."""
    terms = {"rounds": ROUNDS, "objective": AREA, "stragglers": 0.4, "drift": 1.5}
    f = make_world(model, seed, **(terms | changes))
    if model in TEXT or model == "cnn":
        return f
    rng = np.random.default_rng([seed, 0xA1])
    labels = rng.integers(0, 4, 90)
    rows = rng.normal(size=(90, 3)) + 0.3 * labels[:, None]
    return dataclasses.replace(f, val_inputs=rows.astype(np.float32), val_labels=labels)


def played(name: str, f: Federation, seed: int, orders: list[np.ndarray] | np.ndarray) -> Case:
    """The orders as far as the episode goes."""
    env, ended = FederatedLREnv(f, form="orders"), False
    env.reset(seed=seed)
    steps = 0
    while not ended and steps < len(orders):
        _, _, ended, _, _ = env.step(np.asarray(orders[steps]))
        steps += 1
    return name, f, np.array(orders[:steps], np.int64), World(seed)


def _rules() -> Iterator[Case]:
    """Every local and every server rule at rates at which it learns."""
    f, wide = federation(), federation("mlp", 1)
    for rule in LOCAL_RULES:
        for one, beta in ((f, 0.3), (wide, 0.05)):
            yield played(f"local {rule}", one, 3, [order(1.0, beta, local=rule)] * (ROUNDS + 1))
    # Rules that find their distance begin with steps of a thousandth; the server enlarges them.
    slow = federation(seed=40, local_steps=8)
    for rule in ("dog", "d_adaptation_half", "prodigy_dual_averaging", "d_adaptation", "prodigy"):
        for alpha in (20.0, 100.0):
            plan = [order(alpha, 0.1, local=rule)] * (ROUNDS + 1)
            yield played(f"local {rule}, enlarged", slow, 3, plan)
    for rule in SERVER_RULES:
        for tau in (1e-3, 0.1) if rule in ADAPTIVE else (1e-3,):
            alpha = 0.05 if rule in ADAPTIVE else 1.0
            plan = [order(alpha, 0.2, server=rule, tau=tau)] * (ROUNDS + 1)
            yield played(f"server {rule}", f, 4, plan)
    # What second moments forget shows after many rounds.
    long = federation(seed=41, rounds=30, local_steps=2)
    for rule in ADAPTIVE:
        plan = [order(0.2, 0.5 if t < 5 else 0.02, server=rule) for t in range(31)]
        yield played(f"server {rule}, many rounds", long, 4, plan)
    for seed in range(3):
        falling = [order(2.0 / (1 + t), 0.4 * 0.8**t) for t in range(ROUNDS + 1)]
        yield played("falling rates", f, seed, falling)


def _changing() -> Iterator[Case]:
    """Labels that change their meaning between rounds."""
    for seed, model in enumerate(("logistic", "mlp", "gru")):
        changes = draw_changes(3, 4, np.random.default_rng(seed))
        f = federation(model, seed + 50, **changes)
        yield played("changing labels", f, 5, [order(1.0, 0.4)] * (ROUNDS + 1))


def _checkpoints() -> Iterator[Case]:
    """Models kept and returned to, under a server that has moments."""
    f = federation(seed=2)
    wishes = (
        "return go_on go_on return go_on go_on go_on return go_on",
        "keep go_on go_on return go_on keep go_on return return",
        "go_on go_on keep go_on return keep return go_on keep",
        "go_on keep go_on go_on go_on return go_on go_on return",
    )
    for server in ("momentum", "adam", "yogi"):
        for texts in wishes:
            plan = [
                order(0.5, 0.3, server, "fedhyper" if at % 3 else "sgd", wish)
                for at, wish in enumerate(texts.split())
            ]
            yield played(f"checkpoints, {server}", f, 5, plan)


def _targets() -> Iterator[Case]:
    """Targets that are reached to the last bit, at once, or never; the other objectives."""
    f = federation(seed=3)
    plan = [order(1.0, 0.2)] * (ROUNDS + 1)
    env = FederatedLREnv(f, form="orders")
    env.reset(seed=6)
    reached = [env.step(one)[4]["validation_accuracy"] for one in plan][1:]
    for target in (*sorted(set(reached)), 1.0, 1e-3):
        one = dataclasses.replace(f, objective="rounds_to_target", target=float(target))
        yield played("a target", one, 6, plan)
    for seed in range(4):
        one = federation(seed=seed, objective="final_accuracy")
        yield played("final accuracy", one, seed, [order(1.0, 0.2)] * (ROUNDS + 1))


def _divergent() -> Iterator[Case]:
    """Training that diverges, at the server or at the clients, at once or later."""
    for seed, objective in enumerate(OBJECTIVES):
        terms = {"objective": objective, "target": 0.9 if objective == "rounds_to_target" else 0.0}
        f = federation(seed=seed, **terms)
        for alpha, beta in ((100.0, 10.0), (10.0, 3.0), (5.0, 1.0), (30.0, 0.3)):
            plan = [order(1.0, 0.1)] * 3 + [order(alpha, beta)] * (ROUNDS - 2)
            found = played("diverges at the server", f, seed, plan)
            yield found
            yield found[0] + ", and goes on", f, np.vstack([found[2], plan[:1]]), found[3]
        huge = federation("mlp", seed, local_steps=8, **terms)
        huge = dataclasses.replace(huge, inputs=huge.inputs * np.float32(1e30))
        for calm in (0, 3):
            plan = [order(1e-3, 1e-6, local="prodigy")] * calm
            plan += [order(1e-3, 10.0)] * (ROUNDS + 1 - calm)
            yield played("diverges at the clients", huge, seed, plan)
        # Losses that end between ten times and two hundred times the first.
        for beta in (2.0, 5.0, 8.0):
            plan = [order(3.0, beta)] * (ROUNDS + 1)
            yield played("nearly diverges", f, seed, plan)


def _models() -> Iterator[Case]:
    """Every model, by SGD and by another rule; sure and unsure first weights."""
    for seed, model in enumerate(model for model in MODELS if model != CURVE):
        f = federation(model, seed + 10)
        beta = 1.0 if model in TEXT else 0.2
        for local in ("sgd", "fedhyper_cosine", "schedule_free"):
            yield played(f"{model}, {local}", f, 7, [order(1.0, beta, local=local)] * (ROUNDS + 1))
    odd = federation("mlp", 20, batch_size=7, width=5, participants=5, local_steps=3)
    yield played("all take part", odd, 8, [order(1.0, 0.2)] * (ROUNDS + 1))
    one = federation(seed=21, participants=1, local_steps=1, batch_size=1, rounds=1)
    yield played("one round of one step", one, 8, [order(1.0, 0.2)] * 2)


def _random() -> Iterator[Case]:
    """Random rules, taus and checkpoints at random rates."""
    for seed in range(12):
        rng = np.random.default_rng([seed, 0xB2])
        f = federation(("logistic", "mlp")[seed % 2], seed + 30)
        plan = []
        for _ in range(ROUNDS + 1):
            server = str(rng.choice(SERVER_RULES))
            tau = 10 ** rng.uniform(-4, 0) if server in ADAPTIVE else 1e-3
            rates = 10 ** rng.uniform((-2.0, -2.0), (0.3, 0.0))
            local, wish = rng.choice(LOCAL_RULES), rng.choice(["go_on", "keep", "return"])
            plan.append(order(*rates, server, str(local), str(wish), float(tau)))
        yield played("random", f, seed, plan)


def _breaking() -> Iterator[Case]:
    """Plans that break the rules of plans, or only just keep them."""
    f = federation(rounds=3)
    plan = constant(f)
    shapes = {
        "nothing": plan[:0],
        "too short": plan[:-1],
        "too long": np.vstack([plan, plan[:1]]),
        "four columns": plan[:, :4],
        "flat": plan.ravel(),
        "as it should be": plan,
    }
    for name, one in shapes.items():
        yield name, f, one, World(1)
    tame = plan.copy()
    tame[:, BETA] = 0
    for column, size in enumerate(SIZES):
        for step in (0, 1, 3):
            for code in (-1, size - 1, size):
                one = tame.copy()
                one[step, column] = code
                if not 0 <= code < size or column in (0, BETA, CHECKPOINT):
                    ended = len(played("", f, 1, np.clip(one, 0, np.array(SIZES) - 1))[2])
                    one = one[:ended]
                yield f"code {code} in column {column} at step {step}", f, one, World(1)
    yield "a wrong code after the end", f, np.vstack([plan, -plan[:1]]), World(1)


# --- Learning curves ---------------------------------------------------------------------------


def _curves() -> Iterator[Case]:
    """Closed forms tell every digit: rates that fall, rise, stay, reach the limit and pass it."""
    rng = np.random.default_rng(0xC5)
    codes = code_of(1.0, ALPHA_RANGE), code_of(0.31, BETA_RANGE)
    limit = rate_of(codes[0], ALPHA_RANGE) * rate_of(codes[1], BETA_RANGE)
    laws = {
        "plain": [0.3, 0.6, 0.5, 0.2, 0.8, 0.5],
        "at the limit": [0.3, 0.6, 0.5, 0.2, 0.8, limit],
        "annealed below 0": [0.01, 0.2, 0.5, 3.0, 0.9, 0.5],
        "no annealing": [0.3, 0.6, 0.5, 0.0, 0.8, 0.5],
        # The loss grows to 30 times the first while rates rise; none is above the limit.
        "grows": [0.0, 0.1, 1.0, 12.0, 0.95, 0.5],
    }
    for name, law in laws.items():
        for objective in OBJECTIVES:
            f = make_federation(
                "curve", model=CURVE, rounds=ROUNDS, law=np.array(law), objective=objective,
                target=0.55, participants=1,
            )  # fmt: skip
            flat = np.array([[*codes, 0, 0, 0]] * (ROUNDS + 1))
            over = flat.copy()
            over[4, BETA] += 1
            plans = {
                "stays": flat,
                "passes the limit by one code": over,
                "falls": np.array([order(1.0, 0.4 * 0.7**t) for t in range(ROUNDS + 1)]),
                "rises": np.array([order(1.0, 0.02 * 1.4**t) for t in range(ROUNDS + 1)]),
                "passes the limit": np.array([order(1.0, 0.1 * 1.4**t) for t in range(9)]),
            }
            for kind, plan in plans.items():
                yield played(f"curve, {name}, {kind}", f, 0, plan)
            for wishes in ([2, 0, 0, 2, 0, 0, 0, 2, 0], [0, 1, 0, 0, 2, 0, 1, 2, 2],
                           [1, 0, 2, 0, 0, 1, 0, 0, 2]):  # fmt: skip
                plan = plans["falls"].copy()
                plan[:, BETA] += rng.integers(-200_000, 200_000, len(plan))
                plan[:, CHECKPOINT] = wishes
                yield played(f"curve, {name}, checkpoints", f, 0, plan)
    reached = dataclasses.replace(f, objective="rounds_to_target", law=np.array(laws["plain"]))
    env = FederatedLREnv(reached, form="orders")
    env.reset(seed=0)
    seen = [env.step(one)[4]["validation_accuracy"] for one in plans["falls"]]
    for target in seen[1:]:  # the halves differ in the last bits of what a curve reaches
        one = dataclasses.replace(reached, target=float(target) - 1e-9)
        yield "curve, a target just reached", one, plans["falls"], World()
