"""Plans of sequence design that the judge plays while a fault is planted.

Tiny tasks with banned pairs, and random ones with some of all kinds of rules. On each, batches that
are legal, unfinished, too long, with repeats or of measured sequences, and the same with one letter
changed so that a rule is broken or just kept.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
from ruled_designs import draw_ruled
from sysopt_gym.core.contracts import World
from sysopt_gym.datasets.sequence_design.ehrlich import draw_ehrlich
from sysopt_gym.datasets.sequence_design.instance import DesignTask, make_task
from sysopt_gym.envs.sequence_design import proxy
from sysopt_gym.envs.sequence_design.rules import letters_at

Case = tuple[str, DesignTask, np.ndarray, World]
RULED, BANNED = 60, 6
CHANGED = 6  # plans with one letter changed, of each task


class CheapProxy:
    """Predicts numbers that differ for all sequences; nothing has to be trained."""

    def predict(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return means and spreads, float64 [n], of sequences int8 [n, L]."""
        codes = tokens.astype(np.float64) @ np.sqrt(np.arange(2.0, 2.0 + tokens.shape[1]))
        return np.abs(np.sin(codes)), np.abs(np.cos(codes))


def prepare() -> None:
    """Replace the proxy that both halves ask, before they import it."""
    proxy.reference_proxy = lambda task: CheapProxy()  # type: ignore[assignment]


def cases() -> Iterator[Case]:
    """Yield name, task, plan and world; the order is the same each time."""
    for seed, task in enumerate(tasks()):
        rng = np.random.default_rng(seed)
        for name, plan in plans(task, rng):
            yield f"{task.name}, {name}", task, np.array(plan, np.int64), World()


def tasks() -> Iterator[DesignTask]:
    """Yield the tasks; measured sequences stand twice in some."""
    for seed in range(BANNED):
        yield banned(seed)
    for seed in range(RULED):
        task = draw_ruled(seed, 2 + seed % 3, batch_size=2 + seed % 3)
        if seed % 5 == 0:
            order = np.concatenate([np.arange(len(task.scores)), np.argsort(-task.scores)[:3]])
            task = dataclasses.replace(
                task, sequences=task.sequences[order], scores=task.scores[order]
            )
        if seed % 7 == 0:  # equal scores are ranked by their rows
            task = dataclasses.replace(task, scores=np.round(task.scores))
        yield task


def banned(seed: int) -> DesignTask:
    """Make an Ehrlich function over sequences of 5 letters out of 7, some of them measured."""
    rng = np.random.default_rng(seed)
    function = draw_ehrlich(7, 5, 1, 3, 3, 0.0, rng)
    rows = np.unique(function.sample(60, 5, rng), axis=0)
    rows = rows[rng.permutation(len(rows))]
    return make_task(
        f"banned-{seed}", "ACDEFGH", rows, function.score(rows) + rng.normal(size=len(rows)),
        function.handle(), banned=function.banned, batch_size=4,
    )  # fmt: skip


def plans(task: DesignTask, rng: np.random.Generator) -> Iterator[tuple[str, list[int]]]:
    """Yield named plans of a task."""
    length, size = task.length, task.batch_size
    designs = [legal_design(task, rng) for _ in range(size)]
    whole = [letter for design in designs for letter in design]
    yield "nothing", []
    yield "whole", whole
    yield "a letter too many", [*whole, designs[0][0]]
    yield "a repeat", designs[0] * 2 + whole[: (size - 2) * length]
    yield "one design", designs[0]
    best = np.argsort(-task.scores)[: size - 1]
    for row in best:
        yield "a measured design", task.sequences[row].tolist()
    for _ in range(3):
        yield "unfinished", whole[: int(rng.integers(len(whole)))]
    for letter in (-1, task.letters):
        yield "no letter", [*whole[:-1], letter]
    for _ in range(CHANGED):
        plan = whole.copy()
        at = int(rng.integers(len(plan)))
        plan[at] = int((plan[at] + rng.integers(1, task.letters)) % task.letters)
        yield "a letter changed", plan
        yield "a letter changed, unfinished", plan[: at + 1]
        yield "random letters", rng.integers(0, task.letters, length).tolist()


def legal_design(task: DesignTask, rng: np.random.Generator) -> list[int]:
    """Draw a design letter by letter."""
    tokens = np.full((1, task.length), task.letters, np.int8)
    for place in range(task.length):
        tokens[0, place] = rng.choice(np.flatnonzero(letters_at(task, tokens, place)[0]))
    return tokens[0].tolist()
