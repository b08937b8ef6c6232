"""The picture of a cluster shows its free cores, its VMs and the last move."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from result_rows import make_row
from sysopt_gym.core.contracts import World
from sysopt_gym.core.results import Row
from sysopt_gym.datasets.vm_rescheduling.generator import generate
from sysopt_gym.datasets.vm_rescheduling.instance import Cluster
from sysopt_gym.datasets.vm_rescheduling.settings import with_settings
from sysopt_gym.envs.host_drawing import VM_COLORS
from sysopt_gym.envs.vm_rescheduling import dynamics as d
from sysopt_gym.envs.vm_rescheduling import render
from sysopt_gym.envs.vm_rescheduling.objective import fragment_rate
from sysopt_gym.envs.vm_rescheduling.render import frame
from sysopt_gym.envs.vm_rescheduling.validate import validate
from sysopt_gym.evaluation.pictures.vm_rescheduling import pictures, play

Make = Callable[..., Cluster]
Legal = Callable[[d.Static, d.State], list[tuple[int, int, int]]]


def picture(cluster: Cluster, last: tuple[int, int, int] | None = None) -> np.ndarray:
    static = d.make_static(cluster)
    return frame(static, d.make_state(cluster, static), cluster.numa_cpu, last)


def share(image: np.ndarray, color: tuple[int, int, int]) -> float:
    return float((image == color).all(axis=2).mean())


@given(
    st.integers(0, 10**6),
    st.tuples(st.integers(120, 700), st.integers(90, 500)),
)
@settings(max_examples=30, deadline=None)
def test_any_cluster_fits_any_size_of_image(
    tiny_cluster: Make, seed: int, size: tuple[int, int]
) -> None:
    cluster = tiny_cluster(seed, drain_pms=np.array([0], np.int64))
    static = d.make_static(cluster)
    image = frame(static, d.make_state(cluster, static), cluster.numa_cpu, (0, 0, 2), size)
    assert image.shape == (size[1], size[0], 3)
    assert image.dtype == np.uint8


@pytest.mark.parametrize("pms", [2, 12, 40, 279, 1200])
def test_fragments_show_at_every_scale(pms: int) -> None:
    cluster = generate({"pms": str(pms), "exits": "0.1"}, 3)
    image = picture(cluster)
    fragments, slots = share(image, render.FRAGMENT_COLOR), share(image, render.SLOT_COLOR)
    free = cluster.free()[0]
    rate = (free % 16).sum() / free.sum()
    assert fragments / (fragments + slots) == pytest.approx(rate, abs=0.15)


def test_whole_free_slots_are_drawn_apart_from_fragments(tiny_cluster: Make) -> None:
    cluster = tiny_cluster(5, pm_status=np.zeros(tiny_cluster(5).n_pms, np.int8))
    used = cluster.numa_cpu - cluster.free()[0]
    node = cluster.numa_cpu > 0
    slots = picture(tiny_cluster(5, pm_status=cluster.pm_status, numa_cpu=used + 16 * node))
    assert share(slots, render.SLOT_COLOR) > 0
    assert share(slots, render.FRAGMENT_COLOR) == 0
    fragments = picture(tiny_cluster(5, pm_status=cluster.pm_status, numa_cpu=used + 15 * node))
    assert share(fragments, render.SLOT_COLOR) == 0
    assert share(fragments, render.FRAGMENT_COLOR) > 0


def test_the_move_just_made_is_marked_and_no_other(tiny_cluster: Make, legal_moves: Legal) -> None:
    cluster = tiny_cluster(5)
    static = d.make_static(cluster)
    state = d.make_state(cluster, static)
    before = frame(static, state, cluster.numa_cpu, None)
    assert share(before, render.MOVED_COLOR) == 0
    vm, pm, node = legal_moves(static, state)[0]
    home = 2 * int(state.vm_pm[vm]) + int(state.vm_numa[vm])
    d.move(static, state, vm, pm, node)
    after = frame(static, state, cluster.numa_cpu, (vm, home, 2 * pm + node))
    assert share(after, render.MOVED_COLOR) > 0


def test_hosts_that_do_not_count_look_different(tiny_cluster: Make) -> None:
    hosts = tiny_cluster(5).n_pms
    for status, color in ((1, render.DISABLED_COLOR), (2, render.OUTAGE_COLOR)):
        image = picture(tiny_cluster(5, pm_status=np.full(hosts, status, np.int8)))
        assert share(image, color) > 0
        assert share(image, render.FRAGMENT_COLOR) == share(image, render.SLOT_COLOR) == 0


def test_drawing_changes_nothing(tiny_cluster: Make) -> None:
    cluster = tiny_cluster(5)
    static = d.make_static(cluster)
    state = d.make_state(cluster, static)
    saved = d.copy_state(state)
    frame(static, state, cluster.numa_cpu, (0, 0, 2))
    for before, after in zip(saved, state, strict=True):
        assert np.array_equal(before, after)


def test_the_legend_names_every_color_of_free_cores_and_vms() -> None:
    colors = {color for _, color in render.LEGEND}
    assert {render.FRAGMENT_COLOR, render.SLOT_COLOR, render.MOVED_COLOR} <= colors
    assert set(VM_COLORS) <= colors


# --- The report's pictures ---------------------------------------------------------------------


COLORS = {"idle": "#0072B2", "good": "#D55E00", "bad": "#009E73"}


def results(cluster: Cluster, plans: dict[str, list[int]]) -> list[Row]:
    rows = []
    for name, plies in plans.items():
        verdict = validate(cluster, np.array(plies, np.int64), World(5, 2.0))
        rows.append(
            make_row(
                name,
                cluster.name,
                verdict.objective,
                instance_hash=cluster.content_hash,
                actions=plies,
                feasible=verdict.feasible,
                wall_s=2.0,
                world_seed=5,
            )
        )
    return rows


def greedy_plan(cluster: Cluster, legal_moves: Legal, length: int) -> list[int]:
    static = d.make_static(cluster)
    state = d.make_state(cluster, static)
    plies: list[int] = []
    for _ in range(length):
        rated = []
        for vm, pm, node in legal_moves(static, state):
            tried = d.copy_state(state)
            d.move(static, tried, vm, pm, node)
            rated.append((float(fragment_rate(tried.totals)), vm, pm, node))
        _, vm, pm, node = min(rated)
        d.move(static, state, vm, pm, node)
        plies += [vm, 2 * pm + node]
    return plies


@pytest.mark.parametrize("mode", ["static", "live"])
def test_the_pictures_tell_the_judged_rates_of_the_best_plan(legal_moves: Legal, mode: str) -> None:
    cluster = with_settings(generate({"pms": "10"}, 8), {"mode": mode, "mnl": "3"})
    rows = results(cluster, {"idle": [], "good": greedy_plan(cluster, legal_moves, 3)})
    shown = pictures(rows, {cluster.content_hash: cluster}, COLORS)
    assert [picture.title for picture in shown] == [
        "Before and after good's plan",
        "Fragment rate along each plan",
        "Cores left over on each NUMA node",
    ]
    for drawn in shown:
        assert drawn.png.startswith(b"\x89PNG")
        assert len(drawn.png) < 200_000
        assert cluster.name in drawn.caption
        assert drawn.instances == (cluster.content_hash,) and "good" in drawn.result


@pytest.mark.parametrize("mode", ["static", "live"])
def test_a_plan_is_shown_as_it_was_judged(legal_moves: Legal, mode: str) -> None:
    for seed in range(4):
        cluster = with_settings(generate({"pms": "6"}, seed), {"mode": mode, "mnl": "4"})
        (row,) = results(cluster, {"good": greedy_plan(cluster, legal_moves, 4)})
        assert play(cluster, row, "#0072B2").rates[-1] == pytest.approx(row.objective)


def test_plans_that_failed_are_not_pictured(tiny_cluster: Make) -> None:
    cluster = tiny_cluster(5)
    rows = results(cluster, {"bad": [0, 999]})
    assert pictures(rows, {cluster.content_hash: cluster}, COLORS) == []


def test_the_largest_readable_instance_is_pictured(tiny_cluster: Make) -> None:
    clusters = [generate({"pms": str(pms)}, 1) for pms in (3, 12, 450)]
    rows = [row for cluster in clusters for row in results(cluster, {"idle": []})]
    shown = pictures(rows, {cluster.content_hash: cluster for cluster in clusters}, COLORS)
    assert all("generated-12pm" in picture.caption for picture in shown)
