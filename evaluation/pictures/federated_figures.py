"""Compute the numbers in the pictures of federated training: curves, rates, gains and rounds."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ...core.results import Row
from ...datasets.federated_lr.instance import (
    ALPHA_RANGE,
    BETA_RANGE,
    CURVE,
    IMAGE,
    TEXT,
    Federation,
)
from ...envs.federated_lr.dynamics import make_dynamics
from ...envs.federated_lr.orders import ALPHA, BETA, DECADE

FEDAVG = "fedavg"
MOST_SHOWN, MOST_AGENTS = 8, 3  # contenders in a picture; the best agents that are always in it
MOST_WORLDS = 25  # pairs of an instance and a seed that each contender is replayed in
MOST_WORK = 16e9  # multiplications of all replays; some 1e9 a second
LANES = 8  # runs replayed side by side; more are no faster, as they exceed the cache
NEVER = math.inf


class Contender(NamedTuple):
    """A contender as it is drawn.

    Attributes:
        name: name of the contender.
        color: its color in the rest of the report.
        oracle: whether it is an oracle.
    """

    name: str
    color: str
    oracle: bool


class Group(NamedTuple):
    """Runs on federations that differ only in their initial rates.

    Attributes:
        name: common part of the instances' names.
        federation: one of the federations; replays use it for all, as orders give absolute rates.
        rates: instance hash -> (beta, alpha), in the order of the rates.
        rows: the runs, with those that failed.
    """

    name: str
    federation: Federation
    rates: dict[str, tuple[float, float]]
    rows: list[Row]


class Grid(NamedTuple):
    """A contender's gain over FedAvg in points of accuracy.

    Attributes:
        contender: the contender.
        gains: float64 [betas, alphas], NaN if there is no pair of runs; for FedAvg itself, its
            accuracy in percent.
    """

    contender: Contender
    gains: np.ndarray


class Rounds(NamedTuple):
    """Speed-ups to FedAvg's final accuracy, quartiles over runs: all rounds over those needed.

    Attributes:
        contender: the contender.
        low, middle, high: quartiles of the speed-ups; 0 stands for never.
        reached: share of the runs that reached the accuracy.
    """

    contender: Contender
    low: float
    middle: float
    high: float
    reached: float


def played(row: Row) -> bool:
    """Whether the run has rounds to draw."""
    return row.feasible and len(row.actions) > 1


def group(rows: Sequence[Row], instances: Mapping[str, Federation]) -> list[Group]:
    """Group rows whose federations differ only in initial rates; most instances come first.

    Args:
        rows: rows of results; those of other instances are left out.
        instances: instance hash -> federation.
    """
    found: dict[str, list[Row]] = {}
    keys = {key: _apart_from_rates(one) for key, one in instances.items()}
    for row in rows:
        if row.instance_hash in keys:
            found.setdefault(keys[row.instance_hash], []).append(row)
    groups = []
    for own in found.values():
        members = {row.instance_hash: instances[row.instance_hash] for row in own}
        order = sorted(members.items(), key=lambda item: (item[1].beta, item[1].alpha))
        rates = {key: (one.beta, one.alpha) for key, one in order}
        groups.append(Group(_common_name(list(members.values())), order[0][1], rates, own))
    return sorted(groups, key=lambda each: -len(each.rates))


def _apart_from_rates(federation: Federation) -> str:
    """Return a key that is equal for federations that differ only in their initial rates."""
    return str(dataclasses.replace(federation, alpha=1.0, beta=1.0).content_hash)


def _common_name(members: Sequence[Federation]) -> str:
    names = [one.name for one in members]
    if len(names) == 1:
        return names[0]
    heads = {name.rpartition("/")[0] for name in names}
    return heads.pop() if len(heads) == 1 and "" not in heads else f"{names[0]} and its like"


def choose(groups: Sequence[Group], colors: Mapping[str, str]) -> list[Contender]:
    """Choose the contenders to draw: FedAvg, an oracle, the best agents, the best of the others.

    Args:
        groups: all runs.
        colors: contender -> color.

    Returns:
        The contenders, best first, oracles last.
    """
    scores: dict[str, list[float]] = {}
    rows: dict[str, Row] = {}
    for one in groups:
        for row in filter(played, one.rows):
            scores.setdefault(row.contender, []).append(row.sign * row.scored_objective)
            rows.setdefault(row.contender, row)
    ranked = sorted(scores, key=lambda name: float(np.mean(scores[name])))
    oracles = [name for name in ranked if rows[name].role == "oracle"][:1]
    agents = [name for name in ranked if rows[name].role == "agent"][:MOST_AGENTS]
    sure = [*(name for name in ranked if name == FEDAVG), *oracles, *agents]
    rest = [n for n in ranked if n not in sure and rows[n].role not in ("oracle", "agent")]
    kept = {*sure, *rest[: MOST_SHOWN - len(sure)]}
    return [_contender(rows[n], colors) for n in ranked if n in kept and n not in oracles] + [
        _contender(rows[n], colors) for n in oracles
    ]


def _contender(row: Row, colors: Mapping[str, str]) -> Contender:
    return Contender(row.contender, colors[row.contender], row.role == "oracle")


def worlds(one: Group, contenders: int, work: float) -> list[tuple[str, int]]:
    """Choose instances and seeds to replay, evenly among all that were played.

    Args:
        one: the group.
        contenders: number of contenders that are replayed in each.
        work: number of multiplications that may be spent.

    Returns:
        (instance hash, seed) pairs; none if a single one is too much work.
    """
    place = {key: at for at, key in enumerate(one.rates)}
    pairs = {(row.instance_hash, row.seed) for row in one.rows if played(row)}
    ordered = sorted(pairs, key=lambda pair: (place[pair[0]], pair[1]))
    afford = int(work / (contenders * _work(one.federation)))
    count = min(len(ordered), MOST_WORLDS, afford)
    return [ordered[at] for at in np.linspace(0, len(ordered) - 1, count).round().astype(int)]


def _work(f: Federation) -> float:
    """Estimate the multiplications of a replay from the clients' forward passes."""
    if f.model == CURVE:
        return float(f.rounds)
    from ...envs.federated_lr.models import model_of

    shapes = model_of(f).shapes
    places = [float(f.inputs.shape[1]) if f.model in TEXT else 1.0] * len(shapes)
    if f.model in TEXT:
        places[0] = 0.0  # embedding: a character picks a row, without multiplication
    if f.model in IMAGE:  # a kernel is applied at every pixel, the second one after 2 x 2 pooling
        area = math.prod(f.inputs.shape[2:])
        places[0], places[2] = area, area / 4
    each = sum(math.prod(shape) * count for shape, count in zip(shapes, places, strict=True))
    return each * f.rounds * f.participants * f.local_steps * f.batch_size


def courses(
    one: Group, contenders: Sequence[Contender], chosen: Sequence[tuple[str, int]]
) -> dict[str, np.ndarray]:
    """Replay runs, and return their validation loss and accuracy after 0..T rounds.

    Args:
        one: the group.
        contenders: contenders to replay.
        chosen: (instance hash, seed) pairs of the runs to replay.

    Returns:
        Contender -> float64 [n, T + 1, 2].
    """
    wanted = set(chosen)
    names = [contender.name for contender in contenders]
    runs = [
        row
        for row in one.rows
        if played(row) and row.contender in names and (row.instance_hash, row.seed) in wanted
    ]
    replayed = [
        course
        for at in range(0, len(runs), LANES)
        for course in _replay(one.federation, runs[at : at + LANES])
    ]
    found: dict[str, list[np.ndarray]] = {}
    for row, course in zip(runs, replayed, strict=True):
        found.setdefault(row.contender, []).append(course)
    return {name: np.array(found[name]) for name in names if name in found}


def _replay(federation: Federation, runs: Sequence[Row]) -> np.ndarray:
    """Replay runs side by side, and return validation loss and accuracy, float64 [n, T + 1, 2].

    After divergence they stay as the environment last reports them.
    """
    lanes = make_dynamics([federation] * len(runs))
    orders = [np.asarray(row.actions, np.int64) for row in runs]
    lengths = np.array([len(each) for each in orders])
    for lane, row in enumerate(runs):
        lanes.begin(lane, federation, row.world_seed)
    s = lanes.statistics
    course = np.empty((len(runs), federation.rounds + 1, 2))
    for step in range(federation.rounds + 1):
        going = np.flatnonzero((lengths > step) & ~s.diverged)
        if len(going):
            lanes.step(np.stack([orders[lane][step] for lane in going]), going)
        course[:, step, 0], course[:, step, 1] = s.validation_loss, s.validation_accuracy
    return course


def rates(one: Group, contender: Contender) -> np.ndarray:
    """Return alpha, beta and their product in rounds 1..T of a contender's runs.

    Args:
        one: the group.
        contender: the contender.

    Returns:
        float64 [n, T, 3]; NaN after divergence.
    """
    rounds, found = one.federation.rounds, []
    for row in one.rows:
        if row.contender == contender.name and played(row):
            orders = np.asarray(row.actions, np.float64)[: rounds + 1]
            alpha = ALPHA_RANGE[0] * 10.0 ** (orders[1:, ALPHA] / DECADE)
            beta = BETA_RANGE[0] * 10.0 ** (orders[:-1, BETA] / DECADE)
            held = np.full((rounds, 3), np.nan)
            held[: len(alpha)] = np.stack([alpha, beta, alpha * beta], axis=1)
            found.append(held)
    return np.array(found).reshape(-1, rounds, 3)


def axes_of_grid(one: Group) -> tuple[list[float], list[float]] | None:
    """Return the different initial betas and alphas; None unless all pairs were played."""
    betas, alphas = (sorted(set(column)) for column in zip(*one.rates.values(), strict=True))
    whole = len(set(one.rates.values())) == len(betas) * len(alphas)
    return (betas, alphas) if whole and len(betas) > 1 and len(alphas) > 1 else None


def gains(one: Group, contenders: Sequence[Contender]) -> list[Grid]:
    """Return FedAvg's accuracy and the others' gains over it, means over common seeds.

    Accuracy is the final one; if the objective is another, the mean over the rounds.

    Args:
        one: a group that is a grid.
        contenders: contenders to compare, in their order.

    Returns:
        One grid per contender, FedAvg's first; empty if FedAvg was not played.
    """
    final = one.federation.objective == "final_accuracy"
    found: dict[str, dict[tuple[str, int], float]] = {}
    for row in filter(played, one.rows):
        value = row.objective if final else row.detail["area_under_curve"]
        runs = found.setdefault(row.contender, {})
        runs[row.instance_hash, row.seed] = 100.0 * value
    first = next((each for each in contenders if each.name == FEDAVG), None)
    if first is None or FEDAVG not in found:
        return []
    grids = [Grid(first, _on_grid(one, found[FEDAVG]))]
    for contender in contenders:
        ours = found.get(contender.name, {})
        if contender.name != FEDAVG and ours:
            edge = {k: v - found[FEDAVG][k] for k, v in ours.items() if k in found[FEDAVG]}
            grids.append(Grid(contender, _on_grid(one, edge)))
    return grids


def _on_grid(one: Group, values: Mapping[tuple[str, int], float]) -> np.ndarray:
    """Return means over seeds, float64 [betas, alphas]."""
    means = []
    for key in one.rates:
        own = [value for (instance, _), value in values.items() if instance == key]
        means.append(float(np.mean(own)) if own else math.nan)
    return np.array(means).reshape(len({beta for beta, _ in one.rates.values()}), -1)


def rounds_to_fedavg(groups: Sequence[Group], colors: Mapping[str, str]) -> list[Rounds]:
    """Return the speed-ups of each contender, the fastest first; failed runs count as never.

    Args:
        groups: all runs.
        colors: contender -> color.
    """
    parts: dict[str, list[float]] = {}
    contenders: dict[str, Contender] = {}
    for one in groups:
        for row in one.rows:
            needed = row.detail.get("rounds_to_fedavg", NEVER)
            share = needed / one.federation.rounds
            parts.setdefault(row.contender, []).append(share if share <= 1.0 else NEVER)
            contenders.setdefault(row.contender, _contender(row, colors))
    found = []
    for name, shares in parts.items():
        low, middle, high = (_speed_up(shares, part) for part in (0.75, 0.5, 0.25))
        reached = float(np.isfinite(shares).mean())
        found.append(Rounds(contenders[name], low, middle, high, reached))
    return sorted(found, key=lambda each: (-each.middle, -each.reached, -each.high))


def _speed_up(shares: Sequence[float], part: float) -> float:
    """Return all rounds over those in which a part of the runs reached the goal; 0 for never.

    Args:
        shares: for each run, the share of all rounds that it needed.
        part: the part of the runs.
    """
    return 1.0 / sorted(shares)[max(math.ceil(part * len(shares)) - 1, 0)]
