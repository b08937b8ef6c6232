"""The report's pictures of VM allocation, the numbers they show, and the drawing of a state."""

from __future__ import annotations

import dataclasses
import io
from typing import Any

import gymnasium
import numpy as np
import pytest
from PIL import Image
from recorded_worlds import recorded
from result_rows import make_row
from sysopt_gym.core.contracts import World
from sysopt_gym.core.results import Row
from sysopt_gym.datasets.vm_allocation.generator import generate
from sysopt_gym.datasets.vm_allocation.instance import DataCenter
from sysopt_gym.datasets.vm_allocation.settings import with_settings
from sysopt_gym.envs import host_drawing
from sysopt_gym.envs.vm_allocation.env import VMAllocationEnv
from sysopt_gym.envs.vm_allocation.validate import FIGURES, validate
from sysopt_gym.evaluation.pictures.allocation_figures import (
    Figure,
    best_two,
    bound_of,
    choose,
    course,
    group,
)
from sysopt_gym.evaluation.pictures.vm_allocation import pictures
from sysopt_gym.evaluation.prose import templates

PNG, GIF = b"\x89PNG", b"GIF8"
MOST_BYTES = 1_000_000
HOURS = 6


def small(stream: int = 1, pms: int = 8, **values: str) -> DataCenter:
    """Few hosts with deployment sets and too much to do."""
    center = generate({"pms": str(pms), "load": "1.2", "batch_mean": "2", "sets": "0.5"}, stream)
    return dataclasses.replace(
        with_settings(center, {"horizon_h": str(HOURS)} | values), name=f"small/{stream}"
    )


def run(center: DataCenter, contender: str, world: int, last: bool = False, **more: Any) -> Row:
    """A judged run of a policy that takes the first legal action, or the last one."""
    env = VMAllocationEnv(center)
    env.reset(seed=world)
    actions, ended = [], False
    while not ended:
        legal = np.flatnonzero(env.action_masks())
        actions.append(int(legal[-1 if last else 0]))
        _, ended = env.advance(actions[-1])
    verdict = validate(center, np.array(actions), World(world))
    return make_row(
        contender,
        center.name,
        verdict.objective,
        instance_hash=center.content_hash,
        world_seed=world,
        actions=actions,
        detail=verdict.detail,
        **more,
    )


class Blue(dict[str, str]):
    """The same color for every contender."""

    def __missing__(self, name: str) -> str:
        return "#0072B2"


COLORS = Blue()


@pytest.fixture(scope="module")
def compared() -> tuple[list[Row], dict[str, DataCenter]]:
    """An agent and a solver in two worlds, without and with migrations."""
    centers = [small(stream, moves_per_hour=moves) for moves in ("0", "3") for stream in (1, 2)]
    rows = []
    for center in centers:
        rows += [run(center, "first", 5), run(center, "last", 5, last=True, role="agent")]
    return rows, {center.content_hash: center for center in centers}


def test_a_comparison_has_lines_a_table_a_map_and_an_animation(
    compared: tuple[list[Row], dict[str, DataCenter]],
) -> None:
    drawn = pictures(*compared, COLORS)
    assert [picture.title for picture in drawn] == [
        "Rejected core-hours over time",
        "The data center over time",
        "What is rejected, by flavor",
        "Hosts by their free cores, before and after",
        "A day in the data center",
    ]
    assert all(picture.png.startswith(PNG) for picture in drawn[:-1])
    assert all("first" in p.result and "nan" not in p.result for p in drawn)
    assert [len(p.instances) for p in drawn] == [0, 0, 0, 0, 1]
    film = drawn[-1].png
    assert film.startswith(GIF) and len(film) < MOST_BYTES
    with Image.open(io.BytesIO(film)) as image:
        assert getattr(image, "n_frames", 1) > HOURS  # still frames may be put together
    page = templates("html").from_string("{{ picture|embedded }}")
    assert page.render(picture=film).startswith("data:image/gif;base64,R0lGOD")
    assert page.render(picture=drawn[0].png).startswith("data:image/png;base64,iVBOR")


def test_worlds_of_one_task_are_drawn_together_and_tasks_apart(
    compared: tuple[list[Row], dict[str, DataCenter]],
) -> None:
    groups = group(*compared)
    assert sorted(one.name for one in groups) == [
        "small (8 PMs, 6 h)",
        "small (8 PMs, 6 h, 3 migrations an hour)",
    ]
    assert [len(one.rows) for one in groups] == [4, 4]


@pytest.mark.parametrize("values", [{}, {"moves_per_hour": "3", "warm_up_h": "2"}])
def test_a_run_is_drawn_as_it_was_judged(values: dict[str, str]) -> None:
    center = small(3, 40, **values)
    row = run(center, "first", 7)
    found = course(center, row)
    rejected = found.figures[:, Figure.REJECTED]
    assert rejected[-1] == pytest.approx(row.objective, abs=1e-9)
    # Nothing costs but rejections, so that the flavors' add up to the whole.
    assert 100 * found.rejected.sum() / found.asked.sum() == pytest.approx(row.objective, abs=1e-9)
    assert (found.rejected <= found.asked).all() and found.rejected.any()
    if not center.warm_up_h:  # which the validator's means leave out
        for name, column, scale in (
            ("used_cores", Figure.USED, 1.0),
            ("fragment_rate", Figure.FRAGMENTS, 100.0),
            ("empty_hosts", Figure.EMPTY, 1.0),
            ("stranded_memory", Figure.STRANDED_MEMORY, 1.0),
        ):
            seen = found.figures[:, column].mean()
            assert seen == pytest.approx(scale * row.detail[name], abs=3.0), name
    assert found.free.shape == (2, center.n_pms, 2)
    assert found.free.min() >= 0 and (found.free <= center.numa_cpu).all()


def test_what_a_validator_says_of_a_plan_reaches_the_rows() -> None:
    row = run(small(), "first", 5)
    assert set(row.detail) == {*FIGURES, "migrations", "rejected_requests"}


def test_the_best_agent_and_the_best_solver_are_compared_and_oracles_come_last() -> None:
    center = small()
    rows = [
        make_row(name, objective=cost, role=role, instance_hash=center.content_hash)
        for name, cost, role in (
            ("best_fit", 7.0, "solver"),
            ("hindsight", 1.0, "oracle"),
            ("worst_fit", 9.0, "solver"),
            ("ppo", 6.0, "agent"),
            ("agent", 4.0, "agent"),
        )
    ]
    (one,) = group(rows, {center.content_hash: center})
    shown = choose(one, COLORS)
    assert [each.name for each in shown] == ["agent", "ppo", "best_fit", "worst_fit", "hindsight"]
    assert [each.name for each in best_two(shown)] == ["agent", "best_fit"]


def test_a_bound_is_drawn_where_every_world_has_one_and_no_plan_of_who_proves_it() -> None:
    center = small()
    more = {"instance_hash": center.content_hash}
    rows = [
        make_row("fluid", objective=5.0, role="oracle", bound=bound, seed=seed, **more)
        for seed, bound in ((0, 1.0), (1, 2.0))
    ]
    rows.append(make_row("best_fit", objective=5.0, **more))
    (one,) = group(rows, {center.content_hash: center})
    assert bound_of(one) == 1.5
    assert [each.name for each in choose(one, COLORS)] == ["best_fit"]
    (unproven,) = group(
        [*rows, make_row("best_fit", seed=2, **more)], {center.content_hash: center}
    )
    assert bound_of(unproven) is None


def test_failed_runs_and_plans_that_stop_early_do_not_hinder_the_pictures() -> None:
    center = recorded(small(4), 2)
    whole = run(center, "first", 2)
    short = dataclasses.replace(
        whole, contender="short", actions=whole.actions[: 2 * len(whole.actions) // 3]
    )
    failed = dataclasses.replace(whole, contender="none", actions=[], feasible=False)
    drawn = pictures([whole, short, failed], {center.content_hash: center}, COLORS)
    assert len(drawn) == 5
    found = course(center, short)
    played = np.isfinite(found.figures).all(axis=1)
    assert played[0] and not played[-1] and (np.diff(played.astype(int)) <= 0).all()
    assert np.isfinite(course(center, whole).figures).all()
    assert pictures([failed], {center.content_hash: center}, COLORS) == []


def test_a_state_is_drawn_with_its_vms_and_its_free_cores() -> None:
    env = gymnasium.make("sysopt/VMAllocation-v0", instances=small(), render_mode="rgb_array")
    env.reset(seed=1)
    empty = np.asarray(env.render())
    assert empty.dtype == np.uint8 and empty.shape[2] == 3
    for _ in range(40):
        env.step(env.action_space.sample())
    busy = np.asarray(env.render())

    def share(image: np.ndarray, colors: tuple[host_drawing.Color, ...]) -> float:
        return float(sum((image == color).all(axis=2).mean() for color in colors))

    assert share(empty, host_drawing.VM_COLORS) == 0.0 < share(busy, host_drawing.VM_COLORS)
    assert share(busy, (host_drawing.SLOT_COLOR,)) < share(empty, (host_drawing.SLOT_COLOR,))
    env.close()
