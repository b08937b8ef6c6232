"""Networks drawn from seeds become programs of the sizes drawn, the same every time."""

from __future__ import annotations

import dataclasses
import functools
import sys
from pathlib import Path

import numpy as np
import pytest
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.contracts import World
from sysopt_gym.core.errors import InstanceError, MissingDependencyError
from sysopt_gym.core.registry import load_contender
from sysopt_gym.datasets.memory_mapping.instance import ARG, Program, roofline
from sysopt_gym.datasets.memory_mapping.models import kept, recipes
from sysopt_gym.datasets.memory_mapping.models.recipes import (
    ARCHITECTURES,
    FORWARD,
    HELD_OUT,
    SEEN,
    TRAIN,
    Recipe,
    draw_programs,
    draw_recipe,
    program_of_recipe,
    turns,
)
from sysopt_gym.datasets.memory_mapping.splits import MODELS_FIRST_SEED, SETS
from sysopt_gym.envs.memory_mapping.problem import PROBLEM

TOKENS = {"blocks": 1, "batch": 8, "length": 128, "heads": 4, "head": 64, "vocabulary": 1024}
IMAGE = {"batch": 8, "edge": 64, "width": 32}
STEPS = {"layers": 2, "width": 128, "batch": 8, "steps": 16, "classes": 32}
SMALL = {
    "resnet": {**IMAGE, "stages": 2, "blocks": 1, "classes": 10},
    "unet": {**IMAGE, "depth": 2},
    "transformer": TOKENS,
    "moe": {**TOKENS, "experts": 2},
    "decoder": TOKENS,
    "lstm": {**STEPS, "steps": 4},
    "scan_transformer": TOKENS,
    "scan_decoder": {**TOKENS, "steps": 4},
    "scan_lstm": STEPS,
    "axial": {"layers": 1, "batch": 4, "grid": 6, "heads": 2, "head": 32},
    "diffusion": {**IMAGE, "depth": 1, "heads": 2},
    "graph_net": {"nodes": 512, "degree": 4, "features": 32, "width": 64, "layers": 2},
    "scan_gru": STEPS,
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "sysopt-gym" / "programs"


@functools.cache
def small(architecture: str, direction: str = FORWARD, **changes: int) -> Program:
    sizes = SMALL[architecture] | changes
    return program_of_recipe(Recipe(architecture, direction, sizes), architecture)


def arguments(program: Program) -> list[int]:
    """Bytes of the arguments, views of them left out."""
    own = (program.tensor_kind == ARG) & (program.tensor_alias < 0)
    return sorted(program.tensor_size[own].tolist())


def overwritten(program: Program) -> int:
    """How many arguments the program writes into."""
    root = np.arange(len(program.tensor_size))
    for row, alias in enumerate(program.tensor_alias.tolist()):
        root[row] = root[alias] if alias >= 0 else row
    written = set(root[program.op_tensor[program.op_write]].tolist())
    return sum(program.tensor_kind[row] == ARG for row in written)


def test_a_seed_draws_the_same_sizes_every_time() -> None:
    assert draw_recipe("unet", TRAIN, 7) == Recipe(
        "unet", TRAIN, {"batch": 4, "depth": 3, "edge": 32, "width": 32}
    )
    assert draw_recipe("unet", TRAIN, 8) != draw_recipe("unet", TRAIN, 7)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_sizes_are_within_their_ranges_and_differ(architecture: str) -> None:
    drawn = [draw_recipe(architecture, FORWARD, seed).sizes for seed in range(200)]
    for name, (low, high, _) in ARCHITECTURES[architecture].sizes.items():
        values = {sizes[name] for sizes in drawn}
        assert low <= min(values) and max(values) <= high and len(values) > 1


# Of torch 2.13 and jax 0.10, which constraints.txt pins.
DIGESTS = {
    ("unet", FORWARD): "3ad14b5803021983",
    ("unet", TRAIN): "136ef3573af220a3",
    ("scan_gru", TRAIN): "9aa65a19d337f06e",
}


@pytest.mark.parametrize(("architecture", "direction"), DIGESTS)
def test_a_recipe_gives_the_same_program_every_time(architecture: str, direction: str) -> None:
    assert small(architecture, direction).content_hash == DIGESTS[architecture, direction]


def test_arguments_are_parameters_and_inputs_of_the_sizes_drawn() -> None:
    width, steps, batch, classes = 128, 16, 8, 32
    cell = [width * 3 * width, width * 3 * width, 3 * width]
    elements = [*cell, *cell, width * classes, steps * batch * width]
    assert arguments(small("scan_gru")) == sorted(2 * count for count in elements)
    other = small("scan_gru", layers=3, classes=64)
    more = [*cell * 3, width * 64, steps * batch * width]
    assert arguments(other) == sorted(2 * count for count in more)


@pytest.mark.parametrize("architecture", ["unet", "scan_transformer"])
def test_a_train_step_does_three_times_the_work_and_overwrites_the_parameters(
    architecture: str,
) -> None:
    forward, train = small(architecture), small(architecture, TRAIN)
    work = [float((one.instr_flops * one.instr_repeat).sum()) for one in (forward, train)]
    assert 2.4 < work[1] / work[0] < 3.6
    assert overwritten(forward) == 0
    inputs = 1
    assert overwritten(train) == len(arguments(forward)) - inputs


def test_a_decoder_writes_into_its_caches() -> None:
    caches = 2 * TOKENS["blocks"]
    assert overwritten(small("decoder")) == overwritten(small("scan_decoder")) == caches


def test_a_scan_is_a_loop_of_as_many_trips_as_steps() -> None:
    assert {loop.trips for loop in small("scan_lstm", TRAIN).loops} == {STEPS["steps"]}
    assert not small("lstm").loops


QUICK = [
    (name, direction)
    for name, direction in turns(tuple(ARCHITECTURES))
    if ARCHITECTURES[name].framework == "jax" or direction == FORWARD or name == "graph_net"
]


@pytest.mark.parametrize(
    ("architecture", "direction"),
    [
        one if one in QUICK else pytest.param(*one, marks=pytest.mark.long)
        for one in turns(tuple(ARCHITECTURES))
    ],
)
def test_a_plan_for_every_kind_of_network_passes_the_judge(
    architecture: str, direction: str
) -> None:
    program = small(architecture, direction)
    assert program.capacity < program.tensor_size.sum() / 2
    plan = load_contender("memory_mapping", "greedy").object(program, Budget(0.5), 0).actions
    verdict = PROBLEM.validate(program, np.asarray(plan), World())
    assert verdict.feasible and verdict.objective >= 1.0


def test_the_test_set_has_networks_that_the_training_set_lacks() -> None:
    assert not set(SEEN) & set(HELD_OUT) and set(SEEN) | set(HELD_OUT) == set(ARCHITECTURES)
    firsts = sorted(MODELS_FIRST_SEED.values())
    assert min(np.diff(firsts)) >= 100_000  # far more than any set draws


@pytest.mark.long
def test_the_sets_share_no_program_and_hold_what_they_say() -> None:
    hashes = []
    for name, size, held_out in (
        ("models:train", 128, 0),
        ("models:val", 16, 0),
        ("models:test", 24, 8),
    ):
        programs = SETS.load(name)
        architectures = [program.name.split("-")[1] for program in programs]
        assert len(programs) == size and sum(one in HELD_OUT for one in architectures) == held_out
        for program in programs:
            assert recipes.FEWEST <= program.n_decisions <= recipes.MOST
            times = roofline(program)
            assert times.all_slow_s >= recipes.LEAST_IDEAL * times.all_fast_s
        hashes += [program.content_hash for program in programs]
    assert len(set(hashes)) == len(hashes)


def test_a_set_takes_architectures_in_turn_and_skips_what_is_not_worth_planning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried = []

    def made(recipe: Recipe, name: str) -> Program:
        tried.append(name)
        if len(tried) == 1:
            raise InstanceError("nothing to decide")
        return small("scan_lstm", TRAIN)

    monkeypatch.setattr(recipes, "program_of_recipe", made)
    drawn = draw_programs("set", ("scan_lstm", "unet"), 0)
    for _ in range(3):
        next(drawn)
    assert tried == ["set/0-scan_lstm-forward"] * 2 + [
        "set/1-unet-forward",
        "set/2-scan_lstm-train",
    ]


def test_a_network_that_cannot_be_imported_is_not_drawn_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(recipe: Recipe, name: str) -> Program:
        raise InstanceError("torch.export refuses the model")

    monkeypatch.setattr(recipes, "program_of_recipe", refused)
    with pytest.raises(InstanceError, match=r"in vain; the last: torch\.export refuses"):
        next(draw_programs("set", ("unet",), 0))


def never() -> Program:
    raise AssertionError("imported again")


def test_a_program_is_imported_once(cache: Path) -> None:
    recipe = Recipe("scan_gru", FORWARD, STEPS)
    made = program_of_recipe(recipe, "first")
    again = kept.kept(recipe, recipes.CAPACITY, "second", never)
    assert again.content_hash == made.content_hash and again.name == "second"
    for other, capacity in (
        (dataclasses.replace(recipe, sizes=STEPS | {"steps": 24}), recipes.CAPACITY),
        (recipe, "1/8"),
    ):
        with pytest.raises(AssertionError):
            kept.kept(other, capacity, "third", never)


def test_a_kept_program_that_is_damaged_is_imported_again(cache: Path) -> None:
    recipe = Recipe("scan_gru", FORWARD, STEPS)
    made = program_of_recipe(recipe, "first")
    (path,) = cache.iterdir()
    path.write_bytes(path.read_bytes()[:100])
    assert program_of_recipe(recipe, "again").content_hash == made.content_hash
    assert Program.load(path).content_hash == made.content_hash


def test_a_folder_that_cannot_be_written_keeps_nothing(cache: Path) -> None:
    cache.parent.parent.mkdir(exist_ok=True)
    cache.parent.write_text("a file where the folder would be")
    assert program_of_recipe(Recipe("scan_gru", FORWARD, STEPS), "made").n_decisions > 0


@pytest.mark.parametrize(
    ("architecture", "package", "extra"),
    [("scan_gru", "jax", "jax"), ("unet", "torch", "federated")],
)
def test_without_its_framework_the_smallest_extra_is_named(
    architecture: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = f"sysopt_gym.datasets.memory_mapping.models.{package}_programs"
    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.delitem(sys.modules, module.replace("programs", "nets"), raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=rf"'{package}'.*sysopt-gym\[{extra}\]"):
        program_of_recipe(Recipe(architecture, FORWARD, SMALL[architecture]), "made")
