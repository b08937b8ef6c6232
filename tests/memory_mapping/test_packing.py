"""Packing: offsets never overlap, the exact search agrees with trying all, and stops in time."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from sysopt_gym.benchmarks import packing as benchmark
from sysopt_gym.core.budget import Budget, Clock
from sysopt_gym.core.errors import InstanceError
from sysopt_gym.datasets.memory_mapping.packing import Packing, load_packing, packing_faults
from sysopt_gym.methods.memory_mapping.packing import GREEDY_ORDERS, best_fit, pack, write_solution
from sysopt_gym.methods.memory_mapping.packing import search as exact
from sysopt_gym.methods.memory_mapping.packing.__main__ import main
from typer.testing import CliRunner

AMPLE = Budget(seconds=600.0, evaluations=10**6)
SEEDS = st.integers(0, 10**6)
HARD_SEED = 53  # 42 buffers that 30 seconds of search do not decide
# At most 12 alive at once, yet no packing is lower than 13.
STUBBORN = [
    (0, 5, 6), (0, 1, 3), (0, 1, 2), (0, 2, 1), (1, 2, 3), (1, 3, 1), (1, 4, 1), (2, 3, 2),
    (2, 4, 2), (3, 5, 3), (4, 5, 3),
]  # fmt: skip


def problem(rows: list[tuple[int, int, int]], capacity: int = 0) -> Packing:
    lower, upper, size = np.array(rows, np.int64).reshape(-1, 3).T.copy()
    ids = tuple(f"b{row}" for row in range(len(rows)))
    return Packing("rows", ids, lower, upper, size, capacity)


def crowd(seed: int, n: int) -> Packing:
    """Random lifetimes and sizes, some 0."""
    rng = np.random.default_rng(seed)
    lower = rng.integers(0, max(2, n // 3), n)
    upper = lower + rng.integers(1, 2 + n // 4, n)
    size = rng.integers(0, 20, n) * rng.integers(1, 4)
    return problem(list(zip(lower, upper, size, strict=True)))


def full_house(seed: int, peak: int, steps: int) -> Packing:
    """Some two buffers a step; what is alive at once adds up to the peak load at every time."""
    rng = np.random.default_rng(seed)
    live = [(0, size) for size in split(peak, rng)]
    rows = []
    for time in range(1, steps):
        rng.shuffle(live)
        gone, live = live[:2], live[2:]
        rows += [(start, time, size) for start, size in gone]
        live += [(time, size) for size in split(sum(size for _, size in gone), rng)]
    return problem(rows + [(start, steps, size) for start, size in live])


def split(total: int, rng: np.random.Generator) -> list[int]:
    parts = []
    while total:
        parts.append(int(rng.integers(1, min(total, 6) + 1)))
        total -= parts[-1]
    return parts


def fits(packing: Packing, height: int) -> bool:
    """Whether a packing within the height exists, by trying every offset of every buffer."""
    order = np.lexsort((-packing.size, packing.lower)).tolist()
    rows = [(int(packing.lower[u]), int(packing.upper[u]), int(packing.size[u])) for u in order]
    offsets: list[int] = []

    def rest() -> bool:
        if len(offsets) == len(rows):
            return True
        lower, upper, size = rows[len(offsets)]
        taken = [
            (at, at + rows[k][2])
            for k, at in enumerate(offsets)
            if rows[k][0] < upper and lower < rows[k][1]
        ]
        for offset in range(height - size + 1):
            if all(offset >= top or offset + size <= low for low, top in taken):
                offsets.append(offset)
                if rest():
                    return True
                offsets.pop()
        return False

    return rest()


def searched(packing: Packing, height: int, mode: int, rank: np.ndarray, count: int) -> int:
    """The outcome of one search, stopped and gone on with after every `count` placements."""
    sections = exact.make_sections(packing.lower, packing.upper, packing.size)
    state = exact.make_state(sections, height)
    state = state._replace(trail=np.zeros((2, 4 * len(rank) + 5), np.int64))  # to run full
    while True:
        outcome = int(exact.search(sections, state, height, rank, mode, count))
        if outcome == exact.TRAIL_FULL:
            state = exact.with_longer_trail(state)
        elif outcome != exact.GOES_ON:
            if outcome == exact.FOUND:
                assert packing_faults(packing, state.floor, height) == []
            return outcome


@settings(max_examples=60, deadline=None)
@given(
    seed=SEEDS,
    peak=st.integers(6, 12),
    steps=st.integers(4, 6),
    mode=st.sampled_from(exact.MODES),
    count=st.integers(1, 50),
)
def test_the_search_finds_a_packing_exactly_where_one_exists(
    seed: int, peak: int, steps: int, mode: int, count: int
) -> None:
    packing = full_house(seed, peak, steps)
    rank = np.random.default_rng(seed).permutation(len(packing.ids))
    for height in (packing.peak_load, packing.peak_load + 1):
        found = searched(packing, height, mode, rank, count) == exact.FOUND
        assert found == fits(packing, height)


@pytest.mark.parametrize("mode", exact.MODES)
def test_a_capacity_as_high_as_the_peak_load_may_be_impossible(mode: int) -> None:
    stubborn = problem(STUBBORN)
    assert stubborn.peak_load == 12
    rank = np.arange(len(STUBBORN))
    assert searched(stubborn, 12, mode, rank, 7) == exact.NONE_EXISTS
    assert searched(stubborn, 13, mode, rank, 7) == exact.FOUND
    packed = pack(replace(stubborn, capacity=12), AMPLE, 0)
    assert (packed.status, packed.bound) == ("infeasible", 13)
    assert packing_faults(stubborn, packed.offsets, packed.height) == []


def test_without_a_capacity_the_lowest_height_is_proven() -> None:
    stubborn = problem(STUBBORN)
    assert not fits(stubborn, 12) and fits(stubborn, 13)
    packed = pack(stubborn, AMPLE, 0)
    assert (packed.status, packed.height, packed.bound) == ("optimal", 13, 13)
    assert packing_faults(stubborn, packed.offsets, 13) == []


def test_a_capacity_below_the_peak_load_is_impossible_at_once() -> None:
    packed = pack(problem([(0, 2, 5), (1, 3, 6)], capacity=10), Budget(600.0, 1), 0)
    assert (packed.status, packed.bound) == ("infeasible", 11)


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, n=st.integers(1, 60), spare=st.sampled_from([0, 1, 5]))
def test_offsets_never_overlap_and_the_status_is_true(seed: int, n: int, spare: int) -> None:
    packing = crowd(seed, n)
    budget = Budget(600.0, 3000)
    lowest = pack(packing, budget, seed)
    assert packing_faults(packing, lowest.offsets, lowest.height) == []
    assert packing.peak_load <= lowest.bound <= lowest.height
    assert lowest.status == ("optimal" if lowest.bound == lowest.height else "feasible")
    capacity = max(1, packing.peak_load + spare)
    within = pack(replace(packing, capacity=capacity), budget, seed)
    assert packing_faults(packing, within.offsets, within.height) == []
    assert (within.status == "feasible") == (within.height <= capacity)
    if within.status == "infeasible":
        assert lowest.height > capacity


@given(seed=SEEDS, n=st.integers(1, 60))
@settings(max_examples=30, deadline=None)
def test_best_fit_packs_in_any_order(seed: int, n: int) -> None:
    packing = crowd(seed, n)
    packing = replace(packing, size=packing.size + 1)
    sections = exact.make_sections(packing.lower, packing.upper, packing.size)
    offsets = best_fit(sections, np.random.default_rng(seed).permutation(n))
    assert packing_faults(packing, offsets, int(packing.size.sum())) == []


def test_best_fit_takes_the_smallest_gap() -> None:
    # At 2..3 gaps of 5 and of 3 are left between what lies there.
    rows = [(0, 2, 5), (0, 3, 1), (0, 2, 3), (0, 3, 1), (2, 3, 2)]
    sections = exact.make_sections(*np.array(rows, np.int64).T.copy())
    offsets = best_fit(sections, np.arange(5))
    assert offsets.tolist() == [0, 5, 6, 9, 6]


@pytest.mark.parametrize("limit", [1, 1_000, 3_333])
def test_the_search_stops_with_its_budget(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    clocks: list[Clock] = []
    monkeypatch.setattr(Budget, "start", lambda budget: clocks.append(Clock(budget)) or clocks[-1])
    hard = replace(full_house(HARD_SEED, peak=16, steps=16), capacity=16)
    first, again = (pack(hard, Budget(600.0, limit), 0) for _ in range(2))
    assert first.status == "gave up"
    assert np.array_equal(first.offsets, again.offsets)
    assert packing_faults(hard, first.offsets, first.height) == []
    greedies = len(GREEDY_ORDERS) * len(hard.ids)
    assert [clock.evaluations for clock in clocks] == [max(limit, greedies)] * 2


def test_one_part_that_cannot_fit_settles_all() -> None:
    hard = full_house(HARD_SEED, peak=16, steps=16)
    after = [(lower + 16, upper + 16, size) for lower, upper, size in STUBBORN]
    after += [(16, 21, 4)]  # fills up to the same height
    rows = list(zip(hard.lower, hard.upper, hard.size, strict=True))
    assert pack(problem(rows + after, capacity=16), AMPLE, 0).status == "infeasible"


def test_nothing_to_pack_is_packed() -> None:
    packed = pack(problem([(0, 5, 0), (2, 3, 0)]), AMPLE, 0)
    assert (packed.status, packed.height, packed.offsets.tolist()) == ("optimal", 0, [0, 0])


def test_sizes_beyond_whole_numbers_are_refused() -> None:
    with pytest.raises(InstanceError, match="larger units"):
        pack(problem([(0, 5, 2**60), (2, 3, 2**60)]), AMPLE, 0)


def test_the_solution_is_written_as_minimalloc_writes_it(tmp_path: Path) -> None:
    packing = problem([(0, 3, 4), (3, 9, 4), (0, 9, 4)])
    packed = pack(packing, AMPLE, 0)
    write_solution(packing, packed, tmp_path / "solution.csv")
    with (tmp_path / "solution.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["id", "lower", "upper", "size", "offset"]
    assert [int(row["offset"]) for row in rows] == packed.offsets.tolist()
    again = load_packing(tmp_path / "solution.csv")
    assert again.ids == packing.ids and np.array_equal(again.size, packing.size)


@pytest.mark.parametrize(
    ("name", "more", "code", "says"),
    [
        ("a.8.csv", [], 0, "feasible, within 8; height 8"),
        ("a.8.csv", ["--capacity", "0"], 0, "optimal; height 8"),
        ("a.7.csv", [], 1, "infeasible, within 7"),
        ("a.8.csv", ["--capacity", "-1"], 2, "capacity"),
        ("a.8.csv", ["--seconds", "0"], 2, "0.0 seconds cannot be spent"),
    ],
)
def test_a_file_is_packed_from_the_shell(
    tmp_path: Path, name: str, more: list[str], code: int, says: str
) -> None:
    (tmp_path / name).write_text("id,lower,upper,size\na,0,3,4\nb,0,9,4\n")
    out = tmp_path / "out.csv"
    app = typer.Typer()
    app.command()(main)
    result = CliRunner().invoke(app, [str(tmp_path / name), "--out", str(out), *more])
    assert result.exit_code == code
    assert says in result.output
    assert out.exists() == (code == 0)


@pytest.mark.parametrize("name", list(benchmark.ELSEWHERE))
def test_the_public_instances_are_packed_within_their_capacity(
    data_file: Callable[[str], Path], name: str
) -> None:
    data_file(f"programs/minimalloc/{name}.{benchmark.CAPACITY}.csv")
    packing = benchmark.load_instance(name)
    for seed in (0, 1):
        other = benchmark.disguised(packing, seed)
        packed = pack(other, AMPLE, seed)
        assert packed.status == "feasible"
        assert packing_faults(other, packed.offsets, packing.capacity) == []


def test_the_benchmark_names_the_data_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYSOPT_DATA", str(tmp_path))
    with pytest.raises(InstanceError, match=r"A\.1048576\.csv; set SYSOPT_DATA"):
        benchmark.measure()
