"""Instances are named alike everywhere: sets, members of sets, files and archives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gymnasium
import pytest
import toy_family
from sysopt_gym.core.errors import InstanceError, UnknownNameError
from sysopt_gym.core.instance import save_archive
from sysopt_gym.core.sources import find_instances
from sysopt_gym.datasets.sets import Drawn, Sets
from sysopt_gym.envs.vm_rescheduling.problem import PROBLEM

ENV_ID = "sysopt/VMRescheduling-v0"


def test_an_environment_takes_what_a_comparison_takes(tmp_path: Path) -> None:
    clusters = list(PROBLEM.sets.load("small:test"))[:3]
    save_archive(clusters, tmp_path / "three.zip")
    clusters[0].save(tmp_path / "one.npz")
    for argument in ("small:test", "small:test/2", "three.zip", "one.npz"):
        given = argument if ":" in argument else str(tmp_path / argument)
        found = find_instances(PROBLEM, given, {"mnl": "3"})
        env = gymnasium.make(ENV_ID, instances=given, settings={"mnl": "3"}).unwrapped
        hashes = [one.content_hash for one in env.instances]  # type: ignore[attr-defined]
        assert hashes == [PROBLEM.contender_view(one).content_hash for one in found]
    assert len(find_instances(PROBLEM, str(tmp_path / "three.zip"), {})) == 3


def test_an_environment_refuses_what_a_comparison_refuses(tmp_path: Path) -> None:
    (tmp_path / "mine.npz").write_bytes(b"")
    with pytest.raises(UnknownNameError, match=r"neither .* nor a file.*did you mean .*mine\.npz"):
        gymnasium.make(ENV_ID, instances=str(tmp_path / "mein.npz"))
    with pytest.raises(InstanceError, match="no instances"):
        gymnasium.make(ENV_ID, instances=[])
    with pytest.raises(InstanceError, match=r"mine\.npz"):
        gymnasium.make(ENV_ID, instances=tmp_path / "mine.npz")


def test_whether_a_drawn_set_can_be_had_is_told_by_its_first_instance() -> None:
    def draw() -> Iterator[toy_family.Items]:
        yield toy_family.make_items(0)
        raise AssertionError("the second was asked for")

    sets = Sets(toy_family.Items, [Drawn("endless", "takes minutes", draw)])
    sets.check("endless")
    with pytest.raises(UnknownNameError, match="did you mean 'endless'"):
        sets.check("endles")
