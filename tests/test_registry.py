"""The registry: what it refuses, and families and contenders that other packages bring."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import pytest
import toy_family
from sysopt_gym.core import registry
from sysopt_gym.core.errors import MissingDependencyError, RegistryError, UnknownNameError
from sysopt_gym.core.extras import remedy

TESTS = Path(toy_family.__file__).parent
# A solver, an agent and an oracle for a family that is there, in one module.
TABLES = """
import numpy as np
from sysopt_gym.core.registry import Entry

SOLVERS = {"sloth": Entry(f"{__name__}:idle")}
AGENTS = {"dreamer": Entry(f"{__name__}:Dreamer", "player")}
ORACLES = {"seer": Entry(f"{__name__}:see")}

def idle(instance, budget, seed):
    return budget.start().solution(np.zeros(0, np.int64))

def see(instance, budget, world):
    return budget.start().solution(np.zeros(0, np.int64))

class Dreamer:
    def reset(self, instance, budget, seed):
        pass

    def act(self, observation, info):
        return int(observation["action_mask"].argmax())
"""
FAMILY_LINE = "[sysopt_gym.families]\ntoy = toy_family:PLACE\n"
CONTENDERS_LINE = "[sysopt_gym.contenders]\nmemory_mapping = plugged\n"

Install = Callable[..., None]


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry is read again during the test, and is as it was afterwards."""
    monkeypatch.setattr(registry, "_tables", None)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh: None) -> Install:
    """Makes a distribution of a name, entry points and modules, where Python looks for them."""

    def make(name: str, entry_points: str, **modules: str) -> None:
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(entry_points)
        for module, text in modules.items():
            (tmp_path / f"{module}.py").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        path = os.pathsep.join([str(tmp_path), str(TESTS), os.environ.get("PYTHONPATH", "")])
        monkeypatch.setenv("PYTHONPATH", path)

    return make


def command_line(*words: str) -> subprocess.CompletedProcess[str]:
    """Runs the command line in a process of its own, which finds other packages by itself."""
    command = [sys.executable, "-m", "sysopt_gym", *words]
    return subprocess.run(command, capture_output=True, text=True)


def test_one_entry_point_adds_a_whole_family_with_its_contenders(install: Install) -> None:
    install("knapsacks", FAMILY_LINE)
    assert registry.family_names()[-1] == "toy"
    assert registry.load_problem("toy") is toy_family.PROBLEM
    assert registry.load_contender("toy", "follow").form == "player"
    assert gymnasium.spec(toy_family.ENV_ID).entry_point == "toy_family:ToyEnv"


def test_one_entry_point_adds_a_solver_an_agent_and_an_oracle(install: Install) -> None:
    install("extras", CONTENDERS_LINE, plugged=TABLES)
    found = [registry.load_contender("memory_mapping", n) for n in ("sloth", "dreamer", "seer")]
    assert [(c.role, c.form) for c in found] == [
        ("solver", "planner"), ("agent", "player"), ("oracle", "planner"),
    ]  # fmt: skip
    assert registry.contender_names("memory_mapping", "oracle") == ["seer"]
    assert "plugged" in sys.modules and not hasattr(found[0].object, "act")


@pytest.mark.parametrize(
    ("family", "instance", "names"),
    [
        ("toy", "toy/0", ("greedy", "follow")),
        pytest.param(
            "memory_mapping", "small:test/0", ("sloth", "dreamer", "seer"), marks=pytest.mark.long
        ),
    ],
)
def test_the_command_line_and_its_workers_play_what_other_packages_bring(
    family: str, instance: str, names: tuple[str, ...], install: Install, tmp_path: Path
) -> None:
    install("knapsacks", FAMILY_LINE + CONTENDERS_LINE, plugged=TABLES)
    listed = command_line("list")
    assert listed.returncode == 0 and all(name in listed.stdout for name in names), listed.stderr
    for name in names:
        plan = tmp_path / f"{name}.json"
        words = ("solve", family, instance, "--with", name, "--budget", "1", "--out", str(plan))
        done = command_line(*words)
        assert done.returncode == 0, done.stderr
        assert json.loads(plan.read_text())["contender"] == name


@pytest.mark.parametrize(
    ("entry_points", "why"),
    [
        ("[sysopt_gym.families]\nbad = nowhere:FAMILY\n", "No module named 'nowhere'"),
        ("[sysopt_gym.families]\nbad = plugged:SOLVERS\n", "is no sysopt_gym.core.registry.Family"),
        ("[sysopt_gym.families]\nbad = toy_family:PLACE\n", "is no Problem of family 'bad'"),
        ("[sysopt_gym.families]\nmemory_mapping = toy_family:PLACE\n", "is taken by"),
        ("[sysopt_gym.contenders]\nmemory_mapping = toy_quadratic\n", "holds no table"),
        ("[sysopt_gym.contenders]\nmemory_maping = plugged\n", "did you mean 'memory_mapping'"),
        ("[sysopt_gym.contenders]\nmemory_mapping = broken\n", "division by zero"),
    ],
)
def test_a_broken_entry_point_is_left_out_with_a_warning_and_breaks_no_other(
    entry_points: str, why: str, install: Install
) -> None:
    install("faulty", entry_points, plugged=TABLES, broken="1 / 0")
    install("knapsacks", FAMILY_LINE)
    with pytest.warns(RuntimeWarning, match="^faulty: .*; update or uninstall faulty$") as caught:
        assert registry.family_names() == [*registry.FAMILIES, "toy"]
    assert len(caught) == 1 and why in str(caught[0].message)
    assert "sloth" not in registry.contender_names("memory_mapping")


def test_an_entry_point_that_is_half_broken_leaves_nothing_behind(install: Install) -> None:
    taken = 'SOLVERS = {"sloth": Entry(f"{__name__}:idle"), "greedy": Entry(f"{__name__}:idle")}'
    line = CONTENDERS_LINE.replace("plugged", "half_taken")
    install("taker", line, half_taken=f"{TABLES}\n{taken}\n")
    with pytest.warns(RuntimeWarning, match="'greedy' is taken by .*update or uninstall taker"):
        names = registry.contender_names("memory_mapping")
    assert "greedy" in names and not {"sloth", "dreamer", "seer"} & set(names)


def test_formats_and_pictures_stand_in_any_table_of_a_family(install: Install) -> None:
    both = 'FORMATS = {".sloth": f"{__name__}:idle"}\nPICTURES = (f"{__name__}:see",)'
    line = CONTENDERS_LINE.replace("plugged", "with_formats")
    install("both", line, with_formats=f"{TABLES}\n{both}\n")
    assert registry.tables().formats["memory_mapping"] == {".sloth": "with_formats:idle"}
    assert registry.tables().pictures["memory_mapping"] == ["with_formats:see"]
    own = replace(toy_family.PLACE, contenders=("toy_family", "with_formats"))
    registry.register_family("toy", own)
    assert registry.tables().formats["toy"] == {".sloth": "with_formats:idle"}
    assert registry.tables().pictures["toy"] == ["with_formats:see"]


def test_a_family_that_lists_a_name_twice_is_refused_and_not_there(install: Install) -> None:
    install("twice", "", same_name=TABLES.replace("sloth", "greedy"))
    own = replace(toy_family.PLACE, contenders=("toy_family", "same_name"))
    with pytest.raises(RegistryError, match="toy contender 'greedy' is taken by toy_family:greedy"):
        registry.register_family("toy", own)
    assert "toy" not in registry.family_names()


def test_entry_points_are_read_once(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("faulty", "[sysopt_gym.families]\nbad = nowhere:FAMILY\n")
    with pytest.warns(RuntimeWarning):
        registry.family_names()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        registry.family_names()


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("solver", "toy", "greedy", "toy_family:best"), RegistryError, "by toy_family:greedy"),
        (("agent", "toy", "greedy", "toy_family:greedy"), RegistryError, "'greedy' is taken"),
        (("solver", "tyo", "new", "toy_family:best"), UnknownNameError, "did you mean 'toy'"),
        (("policy", "toy", "new", "toy_family:best"), UnknownNameError, "agent, solver, oracle"),
        (("solver", "toy", "new", "toy_family:best", "plan"), UnknownNameError, "'planner'"),
        (("solver", "toy", "new", "toy_famly:best"), RegistryError, "'toy_famly' can.* install"),
        (("solver", "toy", "new", "toy_famly.far:best"), RegistryError, "no module"),
        (("solver", "toy", "new", "toy_family:beast"), RegistryError, "has no 'beast'"),
        (("solver", "toy", "new", "toy_family"), RegistryError, "write package.module:attribute"),
        (("solver", "toy", "new", ".toy_family:best"), RegistryError, "write package.module"),
    ],
)  # fmt: skip
def test_a_contender_that_cannot_be_is_refused_at_once(
    arguments: Any, error: type[Exception], words: str
) -> None:
    before = dict(registry.tables().contenders["toy"])
    with pytest.raises(error, match=words):
        registry.register(*arguments)
    assert registry.tables().contenders["toy"] == before


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("vm_rescheduling", {}, "family 'vm_rescheduling' is taken"),
        ("bag", {}, "no Problem of family 'bag'"),
        ("toy", {"env_id": "sysopt/MallocGame-v0"}, "id 'sysopt/MallocGame-v0' is taken"),
        ("toy", {"env_id": "sysopt/Bag-v0"}, "with env_id 'sysopt/Bag-v0'"),
        ("toy", {"problem": "toy_family:Toy"}, "is no Problem"),
        ("toy", {"problem": "nowhere:PROBLEM"}, "no module 'nowhere'"),
        ("toy", {"env": "toy_family:Env"}, "has no 'Env'"),
        ("toy", {"vector_env": "toy_family:Envs"}, "has no 'Envs'"),
        ("toy", {"contenders": ("nowhere",)}, "no module 'nowhere'"),
    ],
)  # fmt: skip
def test_a_family_that_cannot_be_is_refused_at_once(
    name: str, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(RegistryError, match=words):
        registry.register_family(name, replace(toy_family.PLACE, **changes))
    assert registry.family_names() == list(registry.FAMILIES)


@pytest.mark.usefixtures("toy")
def test_registering_the_same_twice_changes_nothing() -> None:
    toy_family.register()
    registry.register("solver", "toy", "greedy", "toy_family:greedy")


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize(
    ("package", "room", "command"),
    [
        ("torch", "agents", "pip install 'sysopt-gym[agents]'"),
        ("torch", "", "pip install 'sysopt-gym[federated]'"),
        ("highspy", "agents", "pip install 'sysopt-gym[agents]'"),
        ("ray", "agents", "pip install 'sysopt-gym[training]'"),
        ("sklearn", "", "pip install 'sysopt-gym[federated]'"),
        ("RNA", "envs", "pip install 'sysopt-gym[rna]'"),
        ("not_of_ours", "solvers", "pip install not-of-ours"),
    ],
)
def test_what_is_missing_comes_with_the_rooms_extra_or_the_smallest_one(
    package: str, room: str, command: str
) -> None:
    assert remedy(package, room) == command


def test_an_attribute_that_is_missing_is_named_when_the_contender_is_loaded(
    install: Install,
) -> None:
    install("thin", "", thin="import nowhere_to_be_found", empty="")
    toy_family.register()
    registry.register("solver", "toy", "hollow", "empty:solve")
    with pytest.raises(RegistryError, match="empty:solve: the module has no 'solve'"):
        registry.load_contender("toy", "hollow")
    registry.register("solver", "toy", "thin", "thin:solve")
    with pytest.raises(MissingDependencyError, match="needs the package 'nowhere_to_be_found'"):
        registry.load_contender("toy", "thin")


def test_a_worker_adopts_all_that_was_registered_vector_environments_included(
    fresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    vector = replace(toy_family.PLACE, env_id="sysopt/ToyVector-v0", vector_env="toy_family:ToyEnv")
    given = registry.tables()
    given.families["toy"] = vector
    given.contenders["toy"] = {"mine": registry.Entry("toy_family:best")}
    monkeypatch.setattr(registry, "_tables", None)
    registry.adopt(pickle.loads(pickle.dumps(given)))
    try:
        spec = gymnasium.spec(vector.env_id)
        assert (spec.entry_point, spec.vector_entry_point) == (vector.env, vector.vector_env)
        assert registry.contender_names("toy") == ["mine"]
    finally:
        gymnasium.registry.pop(vector.env_id)
