"""Contenders that users name themselves: policies by their folders, functions and files."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toy_family
from result_rows import rewrite
from sysopt_gym import Budget, load_contender, load_problem, solve
from sysopt_gym.agents.checkpoints import SHIPPED, Card, open_policy, policy_hash, save_policy
from sysopt_gym.agents.memory_mapping.network import DecisionPolicy
from sysopt_gym.agents.vm_rescheduling.network import RelationalPolicy
from sysopt_gym.core import registry
from sysopt_gym.core.contender_arguments import name_contender, name_contenders, split
from sysopt_gym.core.contracts import World
from sysopt_gym.core.errors import (
    CheckpointError,
    MissingDependencyError,
    OutputError,
    RegistryError,
    SettingError,
    SysOptError,
    UnknownNameError,
)
from sysopt_gym.core.notes import InputNote
from sysopt_gym.core.play import Task, run
from sysopt_gym.core.provenance import provenance
from sysopt_gym.core.registry import Entry, contender_entry, contender_names
from sysopt_gym.evaluation.cells import Folder
from sysopt_gym.evaluation.comparison import Request, compare, make_plan
from sysopt_gym.evaluation.replay import replay_all
from sysopt_gym.evaluation.report import write_report
from sysopt_gym.evaluation.table import Scored

VM, MALLOC = "vm_rescheduling", "memory_mapping"
# A solver, and what people write in its place.
SOLVE = """
import numpy as np
from beside import FIRST

def mine(instance, budget, seed):
    return budget.start().solution(np.zeros(FIRST, np.int64))

def few(instance):
    return None

def listed(instance, budget, seed):
    return [0]

class Lowest:
    def reset(self, instance, budget, seed):
        pass

    def act(self, observation, info):
        return int(observation["action_mask"].argmax())

class Mute:
    def reset(self, instance, budget, seed):
        pass

class Picky(Lowest):
    def __init__(self, depth):
        pass

NUMBER = 3
"""

# A recipe of the toy family: its policy likes the items in a fixed order.
TOY_RECIPE = """
import torch
from sysopt_gym.agents.network import Encoded, mask_logits
from sysopt_gym.agents.recipe import Recipe

class Favorites(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.liking = torch.nn.Parameter(torch.zeros(width))

    def encode(self, obs):
        return Encoded(self.liking.expand(len(obs["action_mask"]), -1))

    def logits(self, encoded, obs):
        return mask_logits(encoded.context, obs["action_mask"])

RECIPE = Recipe(Favorites, lambda lesson: [], lambda *rest: 0.0, lambda *rest: {}, "none")
"""

Save = Callable[..., Path]


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test names is unknown to the next."""
    monkeypatch.setattr(registry, "_tables", dataclasses.replace(registry.tables(), given={}))


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Saves an untrained policy of width 8 under a folder's name; fields of its card may be set."""

    def make(name: str = "runs/try/policy", family: str = VM, **fields: Any) -> Path:
        torch.manual_seed(fields.get("seed", 0))
        network = (DecisionPolicy if family == MALLOC else RelationalPolicy)(8)
        version = load_problem(family).env_version
        card = Card(family, version, 8, "test", {}, {}, "sysopt-gym train")
        save_policy(tmp_path / name, network.state_dict(), dataclasses.replace(card, **fields))
        return tmp_path / name

    return make


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of SOLVE, beside a module that it imports."""
    (tmp_path / "beside.py").write_text("FIRST = 0\n")
    (tmp_path / "solve.py").write_text(SOLVE)
    return tmp_path / "solve.py"


@pytest.mark.parametrize(
    ("text", "name", "player", "place"),
    [
        ("agent", "", "", "agent"),
        ("runs/try/policy", "", "", "runs/try/policy"),
        ("mine=runs/try/policy", "mine", "", "runs/try/policy"),
        ("agent@runs/try/policy", "", "agent", "runs/try/policy"),
        ("mine=agent@runs/try/policy", "mine", "agent", "runs/try/policy"),
        ("runs/lr=0.1/policy", "", "", "runs/lr=0.1/policy"),
        ("/srv/me@here/policy", "", "", "/srv/me@here/policy"),
        ("mine=my.module:solve", "mine", "", "my.module:solve"),
        ("dir/solve.py:mine", "", "", "dir/solve.py:mine"),
    ],
)
def test_an_argument_has_a_name_a_player_and_a_place(
    text: str, name: str, player: str, place: str
) -> None:
    found = split(text)
    assert (found.name, found.player, found.place) == (name, player, place)


@pytest.mark.parametrize(
    ("family", "name", "shipped"),
    [
        (VM, "ppo", "vm_rescheduling_ppo"),
        (VM, "ppo_greedy", "vm_rescheduling_ppo"),
        (VM, "ppo_sample", "vm_rescheduling_ppo"),
        (VM, "agent", "vm_rescheduling_prices"),
        (MALLOC, "ppo", "memory_mapping_ppo"),
        (MALLOC, "alphazero", "memory_mapping_alphazero"),
        (MALLOC, "agent", "memory_mapping_alphazero"),
        (MALLOC, "reader", "memory_mapping_reader"),
        ("federated_lr", "ppo", "federated_lr_ppo"),
        ("vm_allocation", "ppo", "vm_allocation_ppo"),
        ("sequence_parallelism", "ppo", "sequence_parallelism_ppo"),
        ("federated_lr", "alphazero_policy", "federated_lr_alphazero"),
        ("federated_lr", "agent", "federated_lr_agent"),
    ],
)
def test_a_copy_of_a_shipped_policy_plays_as_the_shipped_one(
    family: str, name: str, shipped: str, tmp_path: Path
) -> None:
    shutil.copytree(SHIPPED / shipped, tmp_path / "copy")
    copied = name_contender(family, f"{name}@{tmp_path}/copy")
    problem = load_problem(family)
    task = Task(problem.warm_up_instance(), Budget(600.0, 20), 3, 3)
    plans = [run(load_contender(family, one), problem, task).actions for one in (name, copied)]
    assert np.array_equal(*plans)


@pytest.mark.parametrize(
    ("family", "now"),
    [(MALLOC, "alphazero"), ("sequence_design", "alphazero"), ("federated_lr", "alphazero_policy")],
)
def test_a_search_in_the_known_game_goes_by_its_own_name(family: str, now: str) -> None:
    for look_up in (contender_entry, name_contender):
        with pytest.raises(UnknownNameError, match=f"'muzero'; did you mean '{now}'"):
            look_up(family, "muzero")
    assert now in contender_names(family)


@pytest.mark.long
def test_design_agents_start_from_the_policy_that_they_are_given(tmp_path: Path) -> None:
    shutil.copytree(SHIPPED / "sequence_design_ppo_small", tmp_path / "copy")
    task = load_problem("sequence_design").sets.load("ehrlich:small/0")[0]
    seen = load_problem("sequence_design").contender_view(task)
    found = []
    for text in ("ppo", f"ppo@{tmp_path}/copy"):
        name = name_contender("sequence_design", text)
        planner = load_contender("sequence_design", name).object
        found.append(planner(seen, Budget(600.0, 600), 3).actions)
    assert np.array_equal(*found)


@pytest.mark.parametrize(
    ("family", "player"),
    [(VM, "ppo"), (VM, "ppo_greedy"), (MALLOC, "ppo"), (MALLOC, "agent"), (MALLOC, "alphazero")],
)
def test_policies_of_any_width_play(family: str, player: str, save: Save) -> None:
    folder = save(family=family)
    problem = load_problem(family)
    instance = problem.warm_up_instance()
    name = name_contender(family, f"{player}@{folder}")
    plan = load_contender(family, name).object(instance, Budget(600.0, 4), 0).actions
    assert problem.validate(instance, np.asarray(plan), World()).feasible


def test_compiled_play_of_eight_units_takes_the_networks_likeliest_actions(save: Save) -> None:
    from sysopt_gym.agents.players import LikeliestActions
    from sysopt_gym.agents.vm_rescheduling.players import load_weights
    from sysopt_gym.agents.vm_rescheduling.playing import Player
    from sysopt_gym.core.play import play_policy

    folder, problem = save(), load_problem(VM)
    cluster = problem.sets.load("small:test/0")[0]
    task = Task(cluster, Budget(600.0), 0, 0)
    steps = play_policy(problem, LikeliestActions(folder), task).actions
    _, plies = Player(cluster, load_weights(folder)).play(0.0, np.random.default_rng(0))
    assert np.array_equal(steps[: len(plies)], plies)


@pytest.mark.parametrize(
    ("texts", "names"),
    [
        (["{tmp}/runs/try/policy"], ["try"]),
        (["{tmp}/runs/try/policy", "ppo_greedy@{tmp}/runs/try/policy"], ["try", "ppo_greedy@try"]),
        (["{tmp}/runs/try/policy", "{tmp}/other/try/policy"], ["runs/try", "other/try"]),
        (["{tmp}/runs/ppo/policy"], ["runs/ppo"]),  # ppo is registered
        (["my=vw={tmp}/runs/try/policy"], None),
        (["mine={tmp}/runs/try/policy", "try={tmp}/runs/try/policy"], ["mine", "try"]),
        (["{tmp}/solve.py:mine", "try={tmp}/solve.py:Lowest"], ["mine", "try"]),
    ],
)
def test_a_contender_has_the_shortest_name_that_is_free(
    texts: list[str], names: list[str] | None, save: Save, file: Path, tmp_path: Path
) -> None:
    for name in ("runs/try/policy", "other/try/policy", "runs/ppo/policy"):
        save(name)
    texts = [text.format(tmp=tmp_path) for text in texts]
    if names is None:
        with pytest.raises(SysOptError, match="no folder"):
            name_contenders([VM], texts)
    else:
        assert list(name_contenders([VM], texts).values()) == names


def test_a_registered_name_wins_over_a_folder_and_says_so(
    save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save("ppo")
    monkeypatch.chdir(tmp_path)
    with pytest.warns(InputNote, match=r"the policy in the folder of that name is '\./ppo'"):
        assert name_contender(VM, "ppo") == "ppo"
    assert contender_entry(VM, "ppo").policy == ""
    assert contender_entry(VM, name_contender(VM, "./ppo")).policy == str(tmp_path / "ppo")


@pytest.mark.parametrize("names", [["mine={p}", "mine={p}/../../other"], ["ppo={p}"]])
def test_a_name_that_is_taken_is_refused_with_the_remedy(names: list[str], save: Save) -> None:
    save("runs/other")
    texts = [name.format(p=save()) for name in names]
    with pytest.raises(RegistryError, match=r"another name"):
        name_contenders([VM], texts)
    assert "mine" not in registry.tables().given.get(VM, {})


def test_a_policy_that_cannot_play_is_refused_at_once(save: Save, tmp_path: Path) -> None:
    good, problem = save(), load_problem(VM)
    empty = tmp_path / "empty"
    empty.mkdir()
    prices = f"{SHIPPED}/vm_rescheduling_prices"
    refused = {
        "runs/nowhere/policy": "there is no folder 'runs/nowhere/policy'",
        str(empty): "holds no policy",
        str(tmp_path / "runs/try"): "did you mean .*runs/try/policy",
        str(save("malloc", MALLOC)): "a policy for memory_mapping version .*vm_rescheduling",
        str(save("old", env_version="0")): f"version 0, but this is {VM} version",
        str(save("gone", recipe="no.where:RECIPE")): "recipe 'no.where:RECIPE'.*cannot be used",
        str(save("net", network="Other")): "network Other.*makes RelationalPolicy",
        str(save("wide", width=16)): "the weights do not fit",
        f"agent@{good}": "agent of vm_rescheduling plays policies of PriceNetwork.*ppo",
        f"ppo@{prices}": "this is one of PriceNetwork; it is played by agent",
        f"columns@{good}": "columns of vm_rescheduling takes no policy",
        "mine=columns": "'columns' is a registered contender, which has that name alone",
        f"nobody@{good}": "unknown vm_rescheduling agent 'nobody'",
    }
    for text, why in refused.items():
        with pytest.raises(SysOptError, match=why):
            make_plan(Request([VM], ["small:test/0"], [text]))
    for name, content in (("policy.json", '{"family"'), ("policy.json", "[]")):
        shutil.copytree(good, tmp_path / "bad", dirs_exist_ok=True)
        (tmp_path / "bad" / name).write_text(content)
        with pytest.raises(CheckpointError, match="bad: the policy is damaged"):
            name_contender(VM, str(tmp_path / "bad"))
    (good / "policy.safetensors").write_bytes(b"\1\2")
    with pytest.raises(CheckpointError, match="try/policy: the policy is damaged"):
        solve(problem.warm_up_instance(), str(good), 1.0)


def test_a_policy_of_another_form_without_an_agent_is_refused(tmp_path: Path) -> None:
    card = open_policy(SHIPPED / "sequence_design_ppo_small").card
    shutil.copytree(SHIPPED / "sequence_design_ppo_small", tmp_path / "edits")
    recipe = ".agents.sequence_design.recipe:MUTATING"
    document = dataclasses.asdict(card) | {"recipe": recipe, "form": "mutate"}
    (tmp_path / "edits" / "policy.json").write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match=r"acts in form mutate.*form construct"):
        name_contender("sequence_design", str(tmp_path / "edits"))
    with pytest.raises(CheckpointError, match="SequencePolicy/mutate; no agent plays those"):
        name_contender("sequence_design", f"ppo@{tmp_path}/edits")


def test_the_card_decides_which_of_several_families_a_policy_is_for(save: Save) -> None:
    mine = save(family=MALLOC)
    request = Request([VM, MALLOC], ["small:test/0"], [f"mine={mine}", "ppo"], baseline="mine")
    plan = make_plan(request)
    assert "mine" in plan.contenders[MALLOC] and "mine" not in plan.contenders[VM]
    assert plan.baseline == "mine" and "ppo" in plan.contenders[VM]


def test_a_baseline_is_any_contender_by_its_name_or_as_it_is_given(save: Save) -> None:
    mine, other = save(), save("other")
    for text, name in (("try", "try"), (str(mine), "try"), ("columns", "columns"), ("o=?", "o")):
        text = text.replace("?", str(other))
        plan = make_plan(Request([VM], ["small:test/0"], [str(mine)], baseline=text))
        assert plan.baseline == name and {"try", name} <= set(plan.contenders[VM])


@pytest.fixture
def likes(toy: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Saves a policy of the toy family that likes its items in an order; see TOY_RECIPE."""
    (tmp_path / "toy_recipe.py").write_text(TOY_RECIPE)
    monkeypatch.syspath_prepend(tmp_path)

    def make(name: str, liking: list[float]) -> Path:
        weights = {"liking": torch.tensor(liking)}
        card = Card("toy", "1", 8, "test", {}, {}, "test", recipe="toy_recipe:RECIPE", seed=7)
        save_policy(tmp_path / name, weights, card)
        return tmp_path / name

    return make


def test_a_policy_of_another_packages_family_plays_by_its_likeliest_actions(likes: Save) -> None:
    folder = likes("likes", [0.0, 5.0, 4.0, 3.0, 2.0, 1.0, 9.0, 9.0])
    items = toy_family.make_items(0)
    left, wanted = items.capacity, []
    for item in (1, 2, 3, 4, 5, 0):
        if items.weight[item] <= left:
            left -= int(items.weight[item])
            wanted.append(item)
    assert solve(items, str(folder), 5.0).actions.tolist() == wanted
    likes("likes", [5.0, 0.0, 1.0, 2.0, 3.0, 4.0, 9.0, 9.0])  # trained on, in the same folder
    assert solve(items, str(folder), 5.0).actions[0] == 0


@pytest.mark.usefixtures("toy")
def test_a_function_or_class_in_a_file_is_a_contender(file: Path) -> None:
    items = toy_family.make_items(0)
    assert len(solve(items, f"{file}:mine", 1.0).actions) == 0
    assert len(solve(items, f"{file}:Lowest", 1.0).actions) > 0
    forms = {"mine": "planner", "Lowest": "player"}
    assert {n: contender_entry("toy", n).form for n in forms} == forms
    (file.parent / "beside.py").write_text("FIRST = 1\n")
    file.write_text(SOLVE + "\n# changed, and imported anew\n")
    assert solve(items, f"{file}:mine", 1.0).actions.tolist() == [0]


def test_the_solver_that_the_text_shows_plays(tmp_path: Path) -> None:
    text = (Path(__file__).parent.parent / "docs" / "extending.md").read_text()
    code = text.partition("```python\n# solve.py\n")[2].partition("```")[0]
    (tmp_path / "solve.py").write_text(code)
    found = solve(load_problem(VM).warm_up_instance(), f"{tmp_path}/solve.py:unmoved", 1.0)
    assert found.actions.tolist() == []


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize(
    ("text", "kind", "why"),
    [
        ("solve.py:nothing", RegistryError, "has no 'nothing'"),
        ("solve.py:few", RegistryError, r"line 8.*takes \(instance\); a solver takes"),
        ("solve.py:NUMBER", RegistryError, "of type int"),
        ("solve.py:Mute", RegistryError, "no method act"),
        ("solve.py:Picky", RegistryError, "without arguments"),
        ("solve.py:listed", TypeError, "returned list, not a Solution"),
        ("agent@solve.py:mine", SettingError, "leave agent@ out"),
        ("solve.py", UnknownNameError, "name the function in the file"),
        ("nowhere.py:mine", RegistryError, "nowhere.py: no such file"),
        ("no_such_module:mine", RegistryError, "no module 'no_such_module'"),
        ("syntax.py:mine", RegistryError, r"syntax\.py, line 2: .*correct the file"),
        ("broken.py:mine", RegistryError, r"broken\.py, line 3: ZeroDivisionError"),
        ("needs.py:mine", MissingDependencyError, r"needs\.py, line 1: no module 'not_there'"),
        ("ends.py:mine", RegistryError, r"__main__"),
        ("gredy", UnknownNameError, "did you mean 'greedy'"),
    ],
)
def test_what_is_wrong_with_a_function_is_said_with_its_place(
    text: str, kind: type[Exception], why: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(file.parent)
    Path("syntax.py").write_text("import math\ndef mine(:\n")
    Path("broken.py").write_text("import math\n\n1 / 0\n")
    Path("needs.py").write_text("import not_there\n")
    Path("ends.py").write_text("import sys\nsys.exit(0)\n")
    with pytest.raises(kind, match=why):
        solve(toy_family.make_items(0), text, 1.0)


@pytest.mark.usefixtures("toy")
def test_a_function_is_for_one_family(file: Path) -> None:
    with pytest.raises(SettingError, match="name the one family"):
        make_plan(Request([VM, MALLOC], ["small:test/0"], [f"{file}:mine"]))


def test_rows_say_what_played(save: Save, file: Path) -> None:
    folder = save(seed=7, steps=640, algorithm="ppo")
    mine = provenance(contender_entry(VM, name_contender(VM, str(folder))))
    assert mine["hash"] == policy_hash(folder) and mine["entry_point"].endswith(":solve_ppo")
    assert (mine["seed"], mine["steps"], mine["algorithm"]) == ("7", "640", "ppo")
    assert mine["hash"] != policy_hash(save("other", seed=8))
    own = provenance(contender_entry(VM, "columns"))
    assert own["distribution"] == "sysopt-gym" and own["version"]
    by_file = provenance(contender_entry(VM, name_contender(VM, f"{file}:mine")))
    assert len(by_file["file_hash"]) == 12 and by_file["entry_point"] == f"{file}:mine"
    assert provenance(Entry("pytest:fixture"))["version"] == pytest.__version__


def table(rows: list[Scored]) -> dict[tuple[str, str], tuple[Any, ...]]:
    return {(r.contender, r.instance): (r.status, r.objective, list(r.actions)) for r in rows}


def test_own_contenders_play_in_the_table_and_a_stopped_comparison_goes_on(
    likes: Save, file: Path, tmp_path: Path
) -> None:
    folder, out = likes("runs/try/policy", [1.0, 5.0, 4.0, 3.0, 2.0, 0.0, 0.0, 0.0]), tmp_path / "o"
    texts = [f"mine={folder}", str(folder), f"{file}:Lowest"]
    request = Request(["toy"], ["toy/0", "toy/1"], texts, 1.0, baseline="mine", quiet=True)
    rows = compare(request, out)
    assert {row.contender for row in rows} == {"mine", "try", "Lowest", "greedy", "random"}
    assert all(row.status == "feasible" for row in rows)
    first = table(rows)
    assert first["mine", "toy/0"] == first["try", "toy/0"]
    report = (out / "report.md").read_text()
    assert "better than mine" in report and policy_hash(folder) in report
    cell = ("mine", "toy/1")  # as if the comparison had been killed before
    rewrite(out, lambda rows: [r for r in rows if (r["contender"], r["instance"]) != cell])
    assert table(compare(request, out, resume=True)) == first
    likes("runs/try/policy", [0.0] * 8)
    with pytest.raises(OutputError, match=r"made by version \w+, now .* is version .*NAME="):
        compare(request, out, resume=True)
    shutil.rmtree(folder)
    assert all(found.agrees for found in replay_all(Folder(out)))
    assert table(write_report(Folder(out))) == first


def test_a_policy_that_changes_while_it_plays_is_not_loaded(save: Save) -> None:
    name = name_contender(VM, str(save()))
    save(seed=1)
    with pytest.raises(CheckpointError, match="has changed since 'try' began to play"):
        load_contender(VM, name)
