"""What every solver of sequence parallelism promises, against all plans of tiny batches."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.contracts import World
from sysopt_gym.core.registry import contender_names, load_contender
from sysopt_gym.datasets.sequence_parallelism.generator import generate
from sysopt_gym.datasets.sequence_parallelism.instance import TrainingBatch
from sysopt_gym.envs.sequence_parallelism.validate import validate
from sysopt_gym.methods.sequence_parallelism import one_degree
from sysopt_gym.methods.sequence_parallelism.bounds import levels_between, relax, simple_bound
from sysopt_gym.methods.sequence_parallelism.buckets import buckets
from sysopt_gym.methods.sequence_parallelism.grouping import (
    Grouping,
    Work,
    joined_actions,
    step_time,
    steps_of,
)
from sysopt_gym.methods.sequence_parallelism.opening import least_batches
from sysopt_gym.methods.sequence_parallelism.packing import chunks
from sysopt_gym.methods.sequence_parallelism.planning import Best

SOLVERS = contender_names("sequence_parallelism", "solver")
# Evaluations end it: seconds that a first use spends on compiling are not the search's.
BUDGET = Budget(seconds=60.0, evaluations=20_000)
SHORT = Budget(seconds=1.0, evaluations=200)


def tiny(
    lengths: list[int],
    devices: tuple[int, ...] = (4,),
    degrees: tuple[int, ...] = (1, 2, 4),
    tokens: int = 100,
    steps: list[int] | None = None,
    fixed: float = 50.0,
) -> TrainingBatch:
    """A batch on devices that hold `tokens` each, the second class at twice the speed."""
    classes, count = len(devices), len(degrees)
    return TrainingBatch(
        name="tiny", lengths=np.array(lengths), step=np.array(steps or [0] * len(lengths)),
        class_names=tuple("ab"[:classes]), class_devices=np.array(devices),
        class_memory=np.full(classes, 1000.0 + tokens), class_speed=np.array([1.0, 2.0][:classes]),
        degrees=np.array(degrees),
        bandwidth=np.tile(np.geomspace(8.0, 2.0, count), (classes, 1)),
        model="toy", parameters=1000.0 * sum(devices) / (16 * 1024), token_memory=1.0,
        quadratic=0.004, linear=1.0, traffic=2.0, fixed_ms=fixed,
        context=max(lengths),
    )  # fmt: skip


def solve(name: str, batch: TrainingBatch, budget: Budget = BUDGET, seed: int = 0):
    return load_contender("sequence_parallelism", name).object(batch, budget, seed)


def judged(batch: TrainingBatch, actions: np.ndarray) -> float:
    verdict = validate(batch, actions, World())
    assert verdict.feasible, verdict
    return verdict.objective


def partitions(items: tuple[int, ...]):
    """All ways to part items into sets."""
    if not items:
        yield []
        return
    for rest in partitions(items[1:]):
        yield [(items[0],), *rest]
        for at, part in enumerate(rest):
            yield [*rest[:at], (items[0], *part), *rest[at + 1 :]]


def best_of_all_plans(work: Work) -> float:
    """The least time: of each set of sequences as one micro-batch, then over parts of all."""
    items = tuple(range(len(work.lengths)))
    cheapest: dict[tuple[int, ...], float] = {}
    for size in range(1, len(items) + 1):
        for chosen in itertools.combinations(items, size):
            best = np.inf
            for groups in partitions(chosen):
                if len(groups) > work.devices.sum():
                    continue
                options = []
                for group in groups:
                    tokens = work.lengths[list(group)].sum()
                    fits = np.flatnonzero(work.capacity >= tokens)
                    took = work.times[list(group)].sum(axis=0) + work.constant
                    options.append([(took[g], g) for g in fits])
                for some in itertools.product(*options):
                    used = np.zeros(len(work.devices))
                    for _, g in some:
                        used[work.device_class[g]] += work.degree[g]
                    if (used <= work.devices).all():
                        best = min(best, max(time for time, _ in some))
            cheapest[chosen] = best
    return min(sum(cheapest[tuple(sorted(p))] for p in parts) for parts in partitions(items))


TINY = {
    "three devices": tiny([180, 90, 60, 50, 20], devices=(3,), degrees=(1, 2, 3)),
    "exactly full": tiny([200, 100, 100, 100, 100], devices=(4,)),
    "one sequence": tiny([390]),
    "two classes": tiny([150, 120, 70, 30, 10], devices=(2, 2), degrees=(1, 2)),
    "no constant": tiny([150, 90, 80, 20, 10, 5], devices=(2,), degrees=(1, 2), fixed=0.0),
}


@pytest.mark.parametrize("name", TINY)
def test_searches_come_near_the_best_of_all_plans_and_no_bound_is_above_it(name):
    batch = TINY[name]
    best = best_of_all_plans(steps_of(batch)[0])
    for contender in SOLVERS:
        solution = solve(contender, batch)
        found = judged(batch, solution.actions)
        assert found >= best - 1e-6, contender
        if contender in ("local_search", "milp"):
            assert found <= 1.01 * best, contender
        if solution.bound is not None:
            assert solution.bound <= best + 1e-6
        if solution.status == "optimal":
            assert found == pytest.approx(best, rel=1e-6)


LENGTHS = st.lists(st.integers(1, 12).map(lambda n: 16 * n), min_size=1, max_size=14)


@settings(
    max_examples=12, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
@given(
    LENGTHS, st.sampled_from([(3,), (5,), (8,), (4, 3)]),
    st.sampled_from([(1, 2, 4), (2, 3), (1, 3, 5), (3,)]), st.integers(0, 3),
)  # fmt: skip
def test_every_plan_is_feasible_and_no_bound_exceeds_one(lengths, devices, degrees, cut):
    steps = [int(k >= cut) for k in range(len(lengths))] if 0 < cut < len(lengths) else None
    degrees = tuple(d for d in degrees if d <= max(devices))
    batch = tiny(lengths, devices, degrees, tokens=192, steps=steps)
    least = sum(simple_bound(work) for work in steps_of(batch))
    for name in SOLVERS:
        solution = solve(name, batch, SHORT)
        found = judged(batch, solution.actions)
        assert least <= found * (1 + 1e-9), name
        if solution.bound is not None:
            assert least * (1 - 1e-9) <= solution.bound <= found * (1 + 1e-9), name


@pytest.mark.parametrize("ratio", [1.05, 1.5, 10.0])
def test_plans_are_points_of_the_relaxation(ratio):
    batch = generate({"sequences": "40", "devices": "16", "context": "32K", "shape": "crawl"}, 1)
    work = steps_of(batch)[0]
    lowest = float((work.constant + work.times[-1]).min())
    for name in ("greedy", "best_fit", "single_degree"):
        actions = solve(name, batch, SHORT).actions
        plan = grouping_of(batch, actions)
        time = step_time(work, plan)
        assert time == pytest.approx(judged(batch, actions), rel=1e-9)
        relaxation = relax(work, levels_between(lowest, time, ratio), time + 1e-6)
        point, program = relaxation.point(work, plan), relaxation.program
        assert point is not None
        along = program.matrix @ point
        assert (along <= program.row_upper + 1e-6).all()
        assert (along >= program.row_lower - 1e-6).all()
        assert (point <= program.upper + 1e-9).all()
        assert program.cost @ point == pytest.approx(time)
        assert np.array_equal(joined_actions(batch, [plan]), actions)


def grouping_of(batch: TrainingBatch, actions: np.ndarray) -> Grouping:
    """The groups of a plan of one step."""
    limit, kinds = len(batch.lengths), len(steps_of(batch)[0].degree)
    opened = np.cumsum(actions >= limit) - 1
    micro_batch, kind = np.divmod(actions[actions >= limit] - limit, kinds)
    return Grouping(np.where(actions >= limit, opened, actions), kind, micro_batch)


def test_chunks_have_the_least_largest_sum_and_buckets_lose_little():
    rng = np.random.default_rng(0)
    for many in (1, 2, 3, 4):
        lengths = -np.sort(-rng.integers(1, 30, 9))
        cuts = itertools.combinations_with_replacement(range(10), many - 1)
        sums = [[p.sum() for p in np.split(lengths, cut)] for cut in cuts]
        borders = chunks(lengths, many)
        got = [lengths[a:b].sum() for a, b in itertools.pairwise(borders)]
        assert sum(got) == lengths.sum()
        assert max(got) == min(max(s) for s in sums)
    lengths = -np.sort(-(128 * rng.integers(1, 60, 300)))
    borders = buckets(lengths, int(lengths.sum()) + 100_000)
    padded = sum(lengths[a] * (b - a) for a, b in itertools.pairwise(borders))
    assert borders[0] == 0
    assert borders[-1] == 300
    assert len(borders) >= 17
    assert padded <= lengths.sum() + 50_000


def test_static_degree_serves_a_batch_that_needs_all_devices():
    batch = tiny([400, 400, 8], devices=(4,))
    for name in SOLVERS:
        assert judged(batch, solve(name, batch, SHORT).actions) > 0
    assert least_batches(steps_of(batch)[0]) == 3


@pytest.mark.parametrize("fixed_ms", [0.0, 5.0])
@pytest.mark.parametrize("name", [*SOLVERS, "agent", "ppo"])
def test_a_cost_model_without_work_is_planned_too(name: str, fixed_ms: float) -> None:
    batch = generate({"sequences": "9", "devices": "8", "context": "32K", "shape": "crawl"}, 0)
    batch = dataclasses.replace(batch, quadratic=0.0, linear=0.0, traffic=0.0, fixed_ms=fixed_ms)
    solved = load_contender("sequence_parallelism", name).object(batch, SHORT, 0)
    verdict = validate(batch, solved.actions, World())
    assert verdict.feasible and verdict.objective >= fixed_ms


def test_search_within_a_degree_knows_the_bound_of_that_degree(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []

    def search(best: Best, step: int, rng: np.random.Generator) -> None:
        seen.append((best.bounds[step], simple_bound(best.works[step])))

    monkeypatch.setattr(one_degree, "search", search)
    batch = generate({"sequences": "40", "devices": "16", "context": "32K", "shape": "crawl"}, 0)
    best = Best(batch, Budget(60.0).start())
    best.allow(1.0)
    whole = best.bounds[0]
    best.offer(0, one_degree.full_groups(best.works[0], 16))
    one_degree.plan_by_degrees(best, 0, np.random.default_rng(0), np.array([16]))
    assert seen == [(seen[0][1], seen[0][1])] and seen[0][0] > whole
    assert best.bounds[0] == whole
