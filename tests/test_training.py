"""Training: configurations, checkpoints, and that a run stopped anywhere goes on."""

from __future__ import annotations

import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toy_family
import yaml
from sysopt_gym.agents import history
from sysopt_gym.agents.algorithms import ALGORITHMS, Algorithm
from sysopt_gym.agents.checkpoints import (
    SHIPPED,
    load_network,
    load_policy,
    save_policy,
    shipped_for,
)
from sysopt_gym.agents.configuration import CONFIGS, load_config
from sysopt_gym.agents.recipe import load_recipe
from sysopt_gym.agents.runs import KeptPlans
from sysopt_gym.agents.sequence_design.network import SequencePolicy
from sysopt_gym.agents.sequence_design.recipe import score
from sysopt_gym.agents.training import train
from sysopt_gym.agents.vm_rescheduling.network import RelationalPolicy
from sysopt_gym.agents.vm_rescheduling.players import POLICY
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.errors import (
    CheckpointError,
    MissingDependencyError,
    OutputError,
    SettingError,
    UnknownNameError,
)
from sysopt_gym.core.registry import load_problem
from sysopt_gym.core.solution import Solution
from sysopt_gym.envs.vm_rescheduling.problem import PROBLEM
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def test_shipped_policies_are_small() -> None:
    for path in SHIPPED.rglob("*.safetensors"):
        assert path.stat().st_size < 5 * 2**20


def test_a_policy_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no such file.*train"):
        load_policy(tmp_path / "nowhere", PROBLEM)
    weights_of, card = load_policy(POLICY, PROBLEM)
    save_policy(tmp_path, weights_of, card)
    load_policy(tmp_path, PROBLEM)
    weights = tmp_path / "policy.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="damaged"):
        load_policy(tmp_path, PROBLEM)
    weights.write_bytes(whole)
    document = json.loads((tmp_path / "policy.json").read_text())
    (tmp_path / "policy.json").write_text(json.dumps(document | {"env_version": "0"}))
    with pytest.raises(CheckpointError, match="version 0"):
        load_policy(tmp_path, PROBLEM)
    with pytest.raises(CheckpointError, match="do not fit"):
        load_network(POLICY, PROBLEM, lambda _: RelationalPolicy(8))


def test_configurations_with_unknown_keys_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean"):
        load_config("vm_rescheduling_pp", {})
    with pytest.raises(UnknownNameError, match="'iterations'"):
        load_config("vm_rescheduling_ppo", {"ppo.iteration": "3"})
    with pytest.raises(UnknownNameError, match="did you mean"):
        load_config("vm_rescheduling_ppo", {"ppo.algorithm.trainings.lr": "1"})
    (tmp_path / "broken.yaml").write_text("family: [")
    with pytest.raises(SettingError, match=r"broken\.yaml"):
        load_config(tmp_path / "broken.yaml", {})
    (tmp_path / "empty.yaml").write_text("family: vm_rescheduling\n")
    with pytest.raises(SettingError, match="missing"):
        load_config(tmp_path / "empty.yaml", {})


@pytest.mark.parametrize("package", ["ray", "tensorboard"])
def test_without_what_trains_nothing_is_begun(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'sysopt-gym\[training\]'"):
        train("vm_rescheduling_ppo", {"out": str(tmp_path / "run")}, resume=False)
    assert not (tmp_path / "run").exists()


def test_overrides_reach_nested_settings() -> None:
    config = load_config("vm_rescheduling_ppo", {"ppo.algorithm.training.lr": "0.5", "seed": "7"})
    training = config.reinforcement["ppo"].algorithm["training"]
    assert training["lr"] == 0.5 and training["gamma"] == 1.0
    assert config.seed == 7
    assert load_config("vm_rescheduling_alphazero", {"start": ""}).start == ""


def test_values_of_another_type_than_a_keys_are_refused() -> None:
    for key, value, named in (
        ("imitation.epochs", "ten", "whole number"),
        ("imitation.learning_rate", "2e-3", "number"),  # text, as YAML 1.1 reads it
        ("validation", "small:val", "list"),
    ):
        with pytest.raises(SettingError, match=f"{key}.*{named}"):
            load_config("vm_rescheduling_ppo", {key: value})


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_resolved_configuration_is_read_as_the_same(path: Path, tmp_path: Path) -> None:
    config = load_config(path, {})
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config.document(), sort_keys=False))
    assert load_config(tmp_path / "config.yaml", {}) == config


def test_an_option_of_one_recipe_is_refused_by_the_others() -> None:
    own = load_config("vm_rescheduling_ppo", {})
    assert own.imitation.options == {"own_play_from": 10**6}
    for config in ("memory_mapping_ppo", "vm_rescheduling_prices"):
        with pytest.raises(SettingError, match=r"own_play_from.*vm_rescheduling"):
            load_config(config, {"imitation.own_play_from": "4"})
    with pytest.raises(UnknownNameError, match=r"did you mean 'own_play_from'"):
        load_config("vm_rescheduling_ppo", {"imitation.own_play_form": "4"})
    # Configurations that runs of before saved list the option in every family, at its default.
    old = load_config("memory_mapping_ppo", {"imitation.own_play_from": "1000000"})
    assert old == load_config("memory_mapping_ppo", {})


def test_a_family_of_another_package_names_its_recipe(toy: None, tmp_path: Path) -> None:
    path = tmp_path / "toy.yaml"
    path.write_text(f"family: {toy_family.PROBLEM.family}\nout: run\nvalidation: [toys]\n")
    with pytest.raises(SettingError, match="recipe: name the recipe"):
        load_config(path, {})
    entry = ".agents.memory_mapping.recipe:RECIPE"
    assert load_config(path, {"recipe": entry}).load_recipe().chosen_by == "sample"


def test_a_further_algorithm_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownNameError, match="'further'"):
        load_config("vm_rescheduling_ppo", {"further.iterations": "3"})
    entry = Algorithm(make_config=lambda network: None, policy_of=lambda network: network)
    monkeypatch.setitem(ALGORITHMS, "further", entry)
    config = load_config(
        "vm_rescheduling_ppo", {"further.iterations": "3", "further.algorithm.training.lr": "0.1"}
    )
    assert list(config.stages)[-1] == "further"
    assert config.stages["further"] == 3
    assert config.document()["further"]["algorithm"] == {"training": {"lr": 0.1}}
    with pytest.raises(UnknownNameError, match=r"part of further\.algorithm"):
        load_config("vm_rescheduling_ppo", {"further.algorithm.trainings.lr": "1"})


def test_plans_are_kept_for_one_contender_and_budget(tmp_path: Path) -> None:
    instances = list(PROBLEM.sets.load("small:test"))[:2]
    kept, other = instances
    asked: list[str] = []

    def solver(instance: Any, budget: Budget, seed: int) -> Solution:
        asked.append(instance.content_hash)
        return Solution(np.array([len(asked)]))

    # Runs of before kept plans by instance and seed alone.
    (tmp_path / "plans").mkdir()
    np.save(tmp_path / "plans" / f"{kept.content_hash}-0.npy", np.array([99]))
    first = KeptPlans(tmp_path, "first", solver, Budget(1.0), [kept])
    assert [int(first.plan(kept)[0]) for _ in range(2)] == [1, 1]
    again = KeptPlans(tmp_path, "first", solver, Budget(1.0), [kept])
    assert again.plan(kept) == [1]
    for contender, seconds in (("first", 2.0), ("my/folder", 1.0)):
        plans = KeptPlans(tmp_path, contender, solver, Budget(seconds), [kept])
        assert plans.plan(kept) == [len(asked)]
    assert len(asked) == 3
    assert [int(first.plan(other)[0]) for _ in range(2)] == [4, 5]


@pytest.mark.parametrize("name", ["sequence_design_ppo", "sequence_design_alphazero"])
@pytest.mark.parametrize("size", ["small", pytest.param("medium", marks=pytest.mark.long)])
def test_policies_of_one_design_task_are_found_by_it_and_score_as_their_cards_say(
    name: str, size: str
) -> None:
    problem, task = load_problem("sequence_design"), f"ehrlich:{size}/0"
    instances = problem.sets.load(task)
    shown = problem.contender_view(instances[0]).content_hash
    found = shipped_for(name, problem, shown, SequencePolicy)
    assert found is not None
    (folder,) = (path for path in SHIPPED.glob(f"{name}_{size}"))
    assert (folder / "policy.safetensors").stat().st_size < 2**20
    _, card = load_policy(folder, problem)
    assert card.trained_on == [shown]
    # The proxy is trained anew; another machine's differs in the last digits, which training grows.
    expected = card.expected[task]["shortfall"]
    assert score(found, instances)["shortfall"] == pytest.approx(expected, abs=0.05)


def steps_of_tags(run: Path) -> dict[str, list[int]]:
    """Tag of TensorBoard's -> the steps at which the run wrote it, in the order of writing."""
    found: dict[str, list[tuple[float, int]]] = {}
    for file in run.glob("events*"):
        events = EventAccumulator(str(file)).Reload()
        for tag in events.Tags()["scalars"]:
            found.setdefault(tag, []).extend(
                (one.wall_time, one.step) for one in events.Scalars(tag)
            )
    return {tag: [step for _, step in sorted(points)] for tag, points in found.items()}


def test_a_run_that_only_gets_worse_ships_its_start(tmp_path: Path) -> None:
    """The start is validated first, is step 0 of the record, and stays the exported policy."""
    overrides = {
        "recipe": "toy_recipes:WORSENING",
        "width": "8",
        "validation": "[small:val/0]",
        "imitation.own_play_from": "1000000",
        "imitation.contender": "ppo_greedy",
        "imitation.instances": "[small:train/0]",
        "imitation.epochs": "2",
        "ppo.iterations": "0",
        "out": str(tmp_path / "run"),
    }
    first = train("vm_rescheduling_ppo", overrides, resume=False)
    weights, card = load_policy(first, PROBLEM)
    assert weights["passes"] == 0
    assert card.stage == "start: untrained" and card.expected == {"small:val/0": {"passes": 0.0}}
    told = [(one.stage, one.done, one.validation) for one in history.load(tmp_path / "run")]
    assert told == [
        (stage, done, {"small:val/0": {"passes": done}})
        for stage, done in (("start", 0), ("imitation", 1), ("imitation", 2))
    ]
    assert steps_of_tags(tmp_path / "run")["small:val/0/passes"] == [0, 1, 2]
    # A run that starts from a policy ships that one again.
    overrides |= {"start": str(first), "out": str(tmp_path / "further")}
    _, card = load_policy(train("vm_rescheduling_ppo", overrides, resume=False), PROBLEM)
    assert card.stage == f"start: {first}"


@pytest.mark.slow
def test_training_exports_a_policy_and_resumes_with_its_optimizer(tmp_path: Path) -> None:
    overrides = {
        "out": str(tmp_path / "run"),
        "width": "8",
        "validation": "[small:val/0]",
        "imitation.contender": "ppo_greedy",
        "imitation.instances": "[small:train/0]",
        "imitation.epochs": "1",
        "ppo.instances": "[small:train/0]",
        "ppo.iterations": "1",
        "ppo.checkpoint_every": "1",
        "ppo.algorithm.training.train_batch_size_per_learner": "64",
        "ppo.algorithm.training.minibatch_size": "32",
        "ppo.algorithm.training.num_epochs": "1",
    }
    with pytest.raises(CheckpointError, match="no run to resume"):
        train("vm_rescheduling_ppo", overrides, resume=True)
    folder = train("vm_rescheduling_ppo", overrides, resume=False)
    _, card = load_policy(folder, PROBLEM)
    assert set(card.expected) == {"small:val/0"}
    with pytest.raises(OutputError, match="--resume"):
        train("vm_rescheduling_ppo", overrides, resume=False)
    train("vm_rescheduling_ppo", overrides | {"ppo.iterations": "2"}, resume=True)
    state = json.loads((tmp_path / "run" / "state.json").read_text())
    assert (state["stage"], state["done"]) == ("ppo", 2)
    assert (tmp_path / "run" / "config.yaml").exists()
    # No step of a tag is written twice: what both stages have goes on, the rest has their names.
    steps = steps_of_tags(tmp_path / "run")
    assert steps["small:val/0/sample"] == [0, 1, 2, 3]
    assert steps["imitation/loss"] == [1] and steps["ppo/policy_loss"] == [2, 3]
    assert all(after > before for all_of in steps.values() for before, after in pairwise(all_of))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "shipped"),
    [("memory_mapping", "memory_mapping_ppo"), ("vm_rescheduling", "vm_rescheduling_ppo")],
)
def test_the_same_alphazero_goes_on_from_a_policy_of_any_family(
    family: str, shipped: str, tmp_path: Path
) -> None:
    _, start = load_policy(SHIPPED / shipped, load_problem(family))
    overrides = {
        "out": str(tmp_path / "run"),
        "width": str(start.width),
        "start": shipped,
        "validation": "[small:val/0]",
        "imitation.epochs": "0",
        "alphazero.instances": "[small:train/0]",
        "alphazero.iterations": "2",
        "alphazero.checkpoint_every": "1",
        "alphazero.algorithm.env_runners.num_envs_per_env_runner": "2",
        "alphazero.algorithm.env_runners.rollout_fragment_length": "4",
        "alphazero.algorithm.training.simulations": "2",
        "alphazero.algorithm.training.learning_starts": "8",
        "alphazero.algorithm.training.updates": "1",
        "alphazero.algorithm.training.train_batch_size_per_learner": "4",
    }
    folder = train(f"{family}_alphazero", overrides, resume=False)
    _, card = load_policy(folder, load_problem(family))
    recipe, problem = load_recipe(family), load_problem(family)
    network = load_network(SHIPPED / shipped, problem, recipe.network)
    began_at = recipe.score(network, problem.sets.load("small:val/0"))["sample"]
    started, *trained = (
        one.validation["small:val/0"]["sample"] for one in history.load(folder.parent)
    )
    assert started == began_at and len(trained) == 2
    # Nothing is exported that is worse than the start.
    assert card.expected["small:val/0"]["sample"] == min(began_at, *trained)
    kept = "alphazero iteration" if min(trained) < began_at else "start: "
    assert card.stage.startswith(kept)
    last = torch.load(folder.parent / "checkpoints/000002/network.pt", weights_only=True)["network"]
    assert any(not torch.equal(last[name], part) for name, part in network.state_dict().items())
    train(f"{family}_alphazero", overrides | {"alphazero.iterations": "3"}, resume=True)
    state = json.loads((tmp_path / "run" / "state.json").read_text())
    assert (state["stage"], state["done"]) == ("alphazero", 3)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["construct", pytest.param("mutate", marks=pytest.mark.long)])
def test_design_policies_learn_both_forms_by_ppo_and_then_alphazero(
    form: str, tmp_path: Path
) -> None:
    recipe = {"construct": "RECIPE", "mutate": "MUTATING"}[form]
    overrides = {
        "out": str(tmp_path / "run"),
        "recipe": f".agents.sequence_design.recipe:{recipe}",
        "width": "8",
        "start": "''",
    }
    for stage in ("ppo", "alphazero"):
        overrides |= {
            f"{stage}.instances": "[ehrlich:small/0]",
            f"{stage}.environment": f"{{form: {form}, designs: 1}}",
            f"{stage}.iterations": "1",
            f"{stage}.checkpoint_every": "1",
            f"{stage}.algorithm.env_runners": "{num_env_runners: 0, num_envs_per_env_runner: 2}",
        }
    small = "{train_batch_size_per_learner: 64, minibatch_size: 32, num_epochs: 1}"
    overrides["ppo.algorithm.training"] = small
    for key, value in {"simulations": 2, "learning_starts": 8, "updates": 1}.items():
        overrides[f"alphazero.algorithm.training.{key}"] = str(value)
    train("sequence_design_alphazero", overrides, resume=False)
    state = json.loads((tmp_path / "run" / "state.json").read_text())
    assert (state["stage"], state["done"]) == ("alphazero", 1)
    card = json.loads((tmp_path / "run" / "policy" / "policy.json").read_text())
    assert set(card["expected"]) == {"ehrlich:small/0"} and len(card["trained_on"]) == 1
