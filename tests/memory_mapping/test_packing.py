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
from sysopt_gym.datasets.memory_mapping.packing import (
    FREE,
    Gap,
    Packing,
    load_packing,
    packing_faults,
)
from sysopt_gym.methods.memory_mapping.packing import GREEDY_ORDERS, best_fit, pack, write_solution
from sysopt_gym.methods.memory_mapping.packing import search as exact
from sysopt_gym.methods.memory_mapping.packing.__main__ import main
from sysopt_gym.methods.memory_mapping.packing.sections import make_sections
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
    pieces: dict[int, list[tuple[int, ...]]] = {u: [] for u in order}
    for u, *piece in zip(*(column.tolist() for column in packing.pieces), strict=True):
        pieces[u].append(tuple(piece))
    placed: list[tuple[int, int]] = []

    def clash(u: int, at: int) -> bool:
        return any(
            begin < other_end and other_begin < end
            and at + low < other_at + other_high and other_at + other_low < at + high
            for begin, end, low, high in pieces[u]
            for other, other_at in placed
            for other_begin, other_end, other_low, other_high in pieces[other]
        )  # fmt: skip

    def rest() -> bool:
        if len(placed) == len(order):
            return True
        u = order[len(placed)]
        given, step = int(packing.offset[u]), int(packing.alignment[u])
        top = height - int(packing.size[u])
        for at in range(0, top + 1, step) if given == FREE else [given] if given <= top else []:
            if not clash(u, at):
                placed.append((u, at))
                if rest():
                    return True
                placed.pop()
        return False

    return rest()


def searched(packing: Packing, height: int, mode: int, rank: np.ndarray, count: int) -> int:
    """The outcome of one search, stopped and gone on with after every `count` placements."""
    sections = make_sections(packing.lower, packing.upper, packing.size)
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


def awkward(seed: int, n: int, windows: bool) -> Packing:
    """A few buffers with alignments, gaps and given offsets, some with all of them."""
    rng = np.random.default_rng(seed)
    lower = rng.integers(0, 6, n)
    upper = lower + rng.integers(2, 7, n)
    size = rng.integers(1, 6, n)
    gaps = []
    for row in np.flatnonzero(rng.random(n) < 0.5).tolist():
        edges = sorted(rng.choice(np.arange(lower[row], upper[row] + 1), 2, replace=False).tolist())
        low, high = sorted(rng.integers(0, size[row] + 1, 2).tolist()) if windows else (0, 0)
        gaps.append(Gap(row, *edges, *((low, high) if low < high else (0, 0))))
    alignment = rng.choice([1, 1, 2, 3], n)
    offset = np.full(n, FREE)
    offset[0] = alignment[0] * rng.integers(0, 3) if rng.random() < 0.5 else FREE
    ids = tuple(f"b{row}" for row in range(n))
    return Packing("awkward", ids, lower, upper, size, 0, alignment, offset, tuple(gaps))


@pytest.mark.parametrize("windows", [False, True])
@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, n=st.integers(2, 6))
def test_alignments_gaps_and_given_offsets_are_kept_and_the_proofs_are_true(
    windows: bool, seed: int, n: int
) -> None:
    packing = awkward(seed, n, windows)
    lowest = pack(packing, AMPLE, seed)
    assert packing_faults(packing, lowest.offsets, lowest.height) == []
    assert lowest.status == "optimal"
    assert not fits(packing, lowest.height - 1)
    for capacity in range(max(1, lowest.height - 1), lowest.height + 1):
        within = pack(replace(packing, capacity=capacity), AMPLE, seed)
        possible = capacity == lowest.height
        assert within.status == ("feasible" if possible else "infeasible")
        assert packing_faults(packing, within.offsets, within.height) == []


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, n=st.integers(10, 40))
def test_best_fit_by_list_and_by_scan_are_the_same(seed: int, n: int) -> None:
    packing = awkward(seed, n, windows=False)
    pieces = packing.pieces
    sections = make_sections(
        pieces.lower, pieces.upper, packing.size, pieces.buffer, packing.alignment, packing.offset
    )
    assert sections.together is not None
    order = np.random.default_rng(seed).permutation(n)
    offsets = best_fit(sections, order)
    assert np.array_equal(offsets, best_fit(replace(sections, together=None), order))
    assert packing_faults(packing, offsets, 10**6) == []


def test_an_aligned_buffer_may_not_follow_at_once() -> None:
    packing = replace(problem([(0, 10, 5), (0, 10, 3)], 8), alignment=np.array([8, 8]))
    assert pack(packing, AMPLE, 0).status == "infeasible"
    assert pack(replace(packing, capacity=0), AMPLE, 0).height == 11
    assert packing_faults(packing, np.array([0, 5]), 8) == ["b1: lies at 5, no multiple of 8"]


def test_a_buffer_lies_in_the_gap_of_another() -> None:
    packing = replace(problem([(0, 10, 6), (3, 7, 6)], 6), gaps=(Gap(0, 3, 7),))
    assert packing.peak_load == 6
    assert pack(packing, AMPLE, 0).offsets.tolist() == [0, 0]
    kept = replace(packing, gaps=(Gap(0, 3, 7, 2, 3),))
    assert packing_faults(kept, np.array([0, 0]), 6) == ["b1 and b0 overlap"]
    assert pack(kept, AMPLE, 0).status == "infeasible"
    small = replace(kept, size=np.array([6, 3]))
    assert pack(small, AMPLE, 0).offsets.tolist() == [0, 3]


def test_given_offsets_that_overlap_are_refused() -> None:
    packing = replace(problem([(0, 4, 5), (2, 6, 5), (0, 6, 1)]), offset=np.array([0, 4, FREE]))
    with pytest.raises(InstanceError, match="b1 and b0 overlap; correct one"):
        pack(packing, AMPLE, 0)
    apart = replace(packing, offset=np.array([1, 7, FREE]))
    assert pack(apart, AMPLE, 0).offsets.tolist() == [1, 7, 0]


def test_many_buffers_are_packed_within_the_seconds() -> None:
    packing = crowd(1, 20_000)
    with_none = replace(packing, lower=0 * packing.lower, upper=0 * packing.upper + 1)
    for hard in (packing, replace(with_none, alignment=np.full(20_000, 64))):
        packed = pack(hard, Budget(0.5), 0)
        assert packed.height >= packed.bound >= hard.peak_load
        tops = packed.offsets + hard.size
        assert packed.height == tops.max() and (packed.offsets % hard.alignment == 0).all()


@given(seed=SEEDS, n=st.integers(1, 60))
@settings(max_examples=30, deadline=None)
def test_best_fit_packs_in_any_order(seed: int, n: int) -> None:
    packing = crowd(seed, n)
    packing = replace(packing, size=packing.size + 1)
    sections = make_sections(packing.lower, packing.upper, packing.size)
    offsets = best_fit(sections, np.random.default_rng(seed).permutation(n))
    assert packing_faults(packing, offsets, int(packing.size.sum())) == []


def test_best_fit_takes_the_smallest_gap() -> None:
    # At 2..3 gaps of 5 and of 3 are left between what lies there.
    rows = [(0, 2, 5), (0, 3, 1), (0, 2, 3), (0, 3, 1), (2, 3, 2)]
    sections = make_sections(*np.array(rows, np.int64).T.copy())
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
    assert np.array_equal(pack(again, AMPLE, 0).offsets, packed.offsets)


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, n=st.integers(2, 9))
def test_a_written_solution_is_read_back_whole(
    tmp_path_factory: pytest.TempPathFactory, seed: int, n: int
) -> None:
    packing = awkward(seed, n, windows=True)
    path = tmp_path_factory.mktemp("packed") / "solution.csv"
    write_solution(packing, pack(packing, Budget(0.05), 0), path)
    again = load_packing(path)
    assert again.gaps == packing.gaps
    assert np.array_equal(again.alignment, packing.alignment)
    assert packing_faults(packing, again.offset, 10**6) == []


@pytest.mark.parametrize(
    ("name", "more", "code", "says"),
    [
        ("a.8.csv", [], 0, "feasible, within 8; height 8"),
        ("a.8.csv", ["--capacity", "0"], 0, "optimal; height 8"),
        ("a.7.csv", [], 1, "infeasible, within 7"),
        ("a.8.csv", ["--capacity", "0", "--free"], 0, "optimal; height 8"),
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
