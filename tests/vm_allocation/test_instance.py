"""Data centers and the requests of their worlds."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recorded_worlds import recorded
from sysopt_gym.core.errors import InstanceError, SettingError
from sysopt_gym.core.instance import load_archive, save_archive
from sysopt_gym.datasets.vm_allocation.arrivals import Trace, requests_of
from sysopt_gym.datasets.vm_allocation.generator import LAWS, SHIFTS, SMALL_CORES, generate
from sysopt_gym.datasets.vm_allocation.instance import DataCenter, life_class
from sysopt_gym.datasets.vm_allocation.settings import with_settings
from sysopt_gym.datasets.vm_allocation.splits import FIRST_STREAM, SETS, split_instances
from sysopt_gym.envs.vm_allocation.problem import PROBLEM

HOUR_S = 3600


def digest(trace: Trace) -> str:
    parts = [np.asarray(part, np.int64).tobytes() for part in trace]
    return hashlib.sha256(b"".join(parts)).hexdigest()[:12]


@pytest.mark.parametrize("name", FIRST_STREAM)
def test_embedded_sets_are_what_their_streams_give(name: str) -> None:
    drawn = [center.content_hash for center in split_instances(name)]
    assert drawn == SETS.hashes()[name] == [center.content_hash for center in SETS.load(name)]


def test_no_two_instances_of_the_sets_are_equal() -> None:
    hashes = [one for name in FIRST_STREAM for one in SETS.hashes()[name]]
    assert len(set(hashes)) == len(hashes)


def test_a_world_is_what_its_seed_gives_on_every_machine() -> None:
    plain = generate({"pms": "10"}, 1)
    rich = generate({"pms": "10", "batch_mean": "3", "sets": "0.5", "law": "cloud", "day": "1"}, 1)
    assert digest(requests_of(plain, 7)) == "96fec51f17e6"
    assert digest(requests_of(rich, 7)) == "673e0e2ed5e4"
    assert digest(requests_of(plain, 8)) != digest(requests_of(plain, 7))
    assert digest(requests_of(generate({"pms": "10"}, 2), 7)) != digest(requests_of(plain, 7))


def test_a_recorded_world_is_the_drawn_one(tmp_path: Path) -> None:
    center = generate({"pms": "10", "batch_mean": "2", "sets": "0.5"}, 1)
    traced = recorded(center, 3)
    path = tmp_path / "center.npz"
    traced.save(path)
    again = DataCenter.load(path)
    assert again.content_hash == traced.content_hash
    drawn, replayed = requests_of(center, 3), requests_of(again, 99)
    within = drawn.exit_s <= center.horizon_s
    for field in ("event_s", "event_request", "arrive_s", "flavor", "group", "told_s"):
        assert np.array_equal(getattr(drawn, field), getattr(replayed, field)), field
    assert np.array_equal(drawn.exit_s[within], replayed.exit_s[within])
    assert (replayed.exit_s[~within] > center.horizon_s).all()


@pytest.mark.parametrize("law", LAWS)
def test_requests_ask_for_the_load_that_was_set(law: str) -> None:
    center = generate({"pms": "300", "load": "0.9", "law": law, "batch_mean": "2"}, 1)
    assert center.offered_load == pytest.approx(0.9, rel=1e-6)
    trace = requests_of(center, 1)
    new = np.arange(len(trace.flavor)) >= trace.starts
    per_h = new.sum() / center.horizon_h
    assert per_h == pytest.approx(center.arrivals_per_h, rel=0.05)
    share = np.bincount(trace.flavor[new], minlength=len(center.flavor_names)) / new.sum()
    assert np.abs(share - center.flavor_share).max() < 0.03


@pytest.mark.parametrize("law", ["exponential", "classes", "short"])
def test_as_many_vms_as_at_the_start_are_there_later_on_hosts_without_limits(law: str) -> None:
    center = generate({"pms": "300", "law": law}, 1)
    trace = requests_of(center, 2)
    for hour in (1, 24, 60):
        there = (trace.arrive_s <= hour * HOUR_S) & (trace.exit_s > hour * HOUR_S)
        assert there.sum() == pytest.approx(trace.starts, rel=0.1)


def test_exits_come_before_arrivals_of_the_same_second_and_after_their_own_arrival() -> None:
    trace = requests_of(generate({"pms": "200"}, 1), 1)
    assert (trace.exit_s > trace.arrive_s).all()
    seen: set[int] = set()
    is_exit = []
    for request in trace.event_request.tolist():
        is_exit.append(request in seen)
        seen.add(request)
    step = np.diff(trace.event_s)
    after = np.array(is_exit)
    assert (step >= 0).all()
    # Within a second, no exit follows an arrival.
    assert not (after[1:] & ~after[:-1] & (step == 0)).any()


def test_what_is_told_of_lifetimes_is_what_the_setting_says() -> None:
    center = generate({"pms": "20", "law": "classes"}, 1)
    hidden = requests_of(center, 1)
    lives = hidden.exit_s - hidden.arrive_s
    assert (hidden.told_s == -1).all()
    classes = requests_of(with_settings(center, {"lifetimes": "class"}), 1)
    assert np.array_equal(life_class(classes.told_s), life_class(lives))
    exact = {"lifetimes": "predicted", "prediction_sigma": "0"}
    assert np.array_equal(requests_of(with_settings(center, exact), 1).told_s, lives)
    rough = requests_of(with_settings(center, {"lifetimes": "predicted"}), 1)
    errors = np.log(rough.told_s / lives)[lives > 60]
    assert errors.std() == pytest.approx(1.0, abs=0.1)
    assert np.array_equal(rough.exit_s, hidden.exit_s)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"flavor_share": np.full(11, 0.1)}, "adds up to 1.1"),
        ({"law_share": np.full((11, 1), 0.5)}, r"law_share\[0\] adds up to 0.5"),
        ({"hour_factor": np.full(24, 2.0)}, "divide it by that"),
        ({"warm_up_h": 100.0}, "leaves nothing of 72 h"),
        ({"horizon_h": 1e9}, "horizon_h"),
        ({"numa_cpu": np.full((10, 2), 40)}, "22xlarge.*fits on no host"),
        ({"numa_mem": np.full((10, 2), 1000)}, "fits on no host"),
        ({"moves_per_hour": -1}, "moves_per_hour"),
        ({"lifetimes": "known"}, "lifetimes"),
        ({"law_mean_h": np.array([-3.0])}, "law_mean_h"),
        ({"flavor_cpu": np.zeros(11, np.int64)}, "some CPU"),
    ],
)  # fmt: skip
def test_an_impossible_data_center_is_refused_with_its_place(
    changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(InstanceError, match=says):
        dataclasses.replace(generate({"pms": "10"}, 1), **changes)


@pytest.mark.parametrize(
    ("field", "change", "says"),
    [
        ("event_s", lambda old: np.append(old[:-1], 0), "before the event above"),
        ("event_request", lambda old: np.append(old[:-1], 10**6), "must name one of"),
        ("event_request", lambda old: np.append(old[:-1], old[0]), "once .* or twice"),
        ("event_request", lambda old: old[::-1].copy(), "order of their arrivals"),
        ("trace_starts", lambda old: old + 5, "at 0 s"),
        ("request_place", lambda old: np.append(old[:-1], 0), "give -1 for others"),
        ("request_place", lambda old: np.append(20, old[1:]), "must be below 20"),
    ],
)
def test_an_impossible_trace_is_refused_with_its_place(field: str, change: Any, says: str) -> None:
    center = recorded(generate({"pms": "10"}, 1), 1)
    with pytest.raises(InstanceError, match=says):
        dataclasses.replace(center, **{field: change(getattr(center, field))})


@pytest.mark.parametrize(
    "parameters", [{"pms": "1"}, {"load": "0"}, {"law": "known"}, {"batch_mean": "0.5"},
                   {"mean_life_h": "-1"}, {"mix": "odd"}, {"shift": "odd"}]
)  # fmt: skip
def test_a_parameter_out_of_range_is_refused_by_its_name(parameters: dict[str, str]) -> None:
    with pytest.raises(SettingError, match=next(iter(parameters))):
        generate(parameters, 1)


@pytest.mark.parametrize("shift", SHIFTS[1:])
def test_a_shift_changes_what_arrives_at_an_hour_that_nobody_is_told(shift: str) -> None:
    plain, center = (generate({"pms": "200", "shift": one}, 3) for one in (SHIFTS[0], shift))
    before, found = requests_of(plain, 0), requests_of(center, 1)
    assert np.array_equal(requests_of(center, 2).event_request, found.event_request)
    shown = PROBLEM.contender_view(center)
    told = dataclasses.replace(shown, name=plain.name)
    assert told.content_hash == PROBLEM.contender_view(plain).content_hash
    same = min(len(before.flavor), len(found.flavor))
    hour = found.arrive_s[np.argmax(before.arrive_s[:same] != found.arrive_s[:same])] / HOUR_S
    assert 18 < hour < 54.1
    first = int(np.searchsorted(found.arrive_s, np.floor(hour * HOUR_S) - HOUR_S))
    assert np.array_equal(before.flavor[:first], found.flavor[:first])

    def measured(trace: Trace) -> tuple[float, float, float]:
        """Requests an hour, their mean cores, and the mean lives of small VMs over the others'."""
        late = (trace.arrive_s > hour * HOUR_S) & (trace.arrive_s < 60 * HOUR_S)
        cores, lives = plain.flavor_total[trace.flavor], trace.exit_s - trace.arrive_s
        is_small = late & (cores <= SMALL_CORES)
        ratio = lives[is_small].mean() / lives[late & ~is_small].mean()
        return late.sum() / (60 - hour), cores[late].mean(), ratio

    rate, cores, lives = np.divide(measured(found), measured(before))
    assert (max(cores, 1 / cores) > 1.2) == (shift in ("sizes", "all"))
    assert (max(lives, 1 / lives) > 4) == (shift in ("lifetimes", "all"))
    if shift == "rate":
        assert max(rate, 1 / rate) == pytest.approx(1.25, rel=0.05)


def test_an_archive_holds_a_trace(tmp_path: Path) -> None:
    center = recorded(generate({"pms": "10"}, 1), 1)
    save_archive([center], tmp_path / "set.zip")
    assert load_archive(DataCenter, tmp_path / "set.zip")[0].content_hash == center.content_hash
