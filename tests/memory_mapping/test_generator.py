"""Generated programs are what their parameters say; the embedded sets are what makes them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sysopt_gym.core.errors import SettingError, UnknownNameError
from sysopt_gym.datasets.memory_mapping.generator import KINDS, generate
from sysopt_gym.datasets.memory_mapping.instance import OUT, accesses, peak_bytes, roofline
from sysopt_gym.datasets.memory_mapping.splits import (
    DECISIONS,
    FIRST_SEED,
    LEAST_IDEAL,
    MODELS_FIRST_SEED,
    SETS,
    split_instances,
)

kinds = pytest.mark.parametrize("kind", list(KINDS))


@kinds
@pytest.mark.parametrize("train", ["0", "1"])
def test_the_same_seed_gives_the_same_program_and_another_seed_another(
    kind: str, train: str
) -> None:
    parameters = {"kind": kind, "train": train, "layers": "4"}
    one = generate(parameters, 5)
    assert one.content_hash == generate(parameters, 5).content_hash
    assert one.content_hash != generate(parameters, 6).content_hash


@kinds
def test_more_layers_make_more_decisions(kind: str) -> None:
    counts = [generate({"kind": kind, "layers": n}, 3).n_decisions for n in ("2", "4", "8")]
    assert counts[0] < counts[1] < counts[2]


@kinds
def test_a_train_step_updates_each_weight_in_place_after_its_last_use(kind: str) -> None:
    program = generate({"kind": kind, "layers": "3", "train": "1"}, 2)
    a = accesses(program)
    for row in np.flatnonzero(program.tensor_kind == OUT):
        if program.tensor_names[row].endswith(".weight.new"):
            uses = a.instr[a.buffer == a.tensor_buffer[row]]
            assert program.instr_names[uses.max()].endswith(".update")


def test_a_chain_has_the_flops_of_its_layers() -> None:
    program = generate({"kind": "chain", "layers": "1", "batch": "64", "width": "256"}, 0)
    sizes = dict(zip(program.tensor_names, program.tensor_size.tolist(), strict=True))
    inner, outer = sizes["input"] // 128, sizes["dense.0"] // 128
    assert program.instr_flops[0] == 2 * 64 * inner * outer


def test_the_default_capacity_is_a_quarter_of_the_peak() -> None:
    program = generate({}, 1)
    assert program.capacity == -(-peak_bytes(program) // 4)


@pytest.mark.parametrize(
    ("parameters", "why"),
    [
        ({"kind": "rnn"}, "kind 'rnn' is unknown"),
        ({"layers": "0"}, "layers='0'"),
        ({"layers": "many"}, "layers='many'"),
        ({"train": "2"}, "train='2'"),
        ({"capacity": "0"}, "capacity '0'"),
    ],
)
def test_impossible_parameters_are_refused(parameters: dict[str, str], why: str) -> None:
    with pytest.raises(SettingError, match=why):
        generate(parameters, 0)


@pytest.mark.parametrize("name", [one.name for one in SETS.embedded])
def test_the_embedded_sets_have_the_recorded_hashes(name: str) -> None:
    recorded = SETS.hashes()[name]
    assert [program.content_hash for program in SETS.load(name)] == recorded


@pytest.mark.parametrize("name", ["synthetic:val", "small:test"])
def test_an_embedded_split_can_be_made_again(name: str) -> None:
    made = list(itertools.islice(split_instances(name), 3))
    assert [p.content_hash for p in made] == [p.content_hash for p in SETS.load(name)[:3]]


def test_no_program_is_in_two_sets() -> None:
    drawn = set(SETS) - set(MODELS_FIRST_SEED)  # see test_model_recipes.py for those
    hashes = [program.content_hash for name in drawn for program in SETS.load(name)]
    assert len(set(hashes)) == len(hashes)


@pytest.mark.parametrize("name", list(FIRST_SEED))
def test_the_programs_of_a_split_have_decisions_and_something_to_win(name: str) -> None:
    low, high = DECISIONS[name.partition(":")[0]]
    for program in SETS.load(name):
        assert low <= program.n_decisions <= high
        times = roofline(program)
        assert times.all_slow_s >= LEAST_IDEAL * times.all_fast_s


def test_one_instance_of_a_set_can_be_named() -> None:
    assert SETS.load("hlo/2")[0].name == "hlo/resnet18_224_fwd"
    with pytest.raises(UnknownNameError, match="hlo/0 to hlo/6"):
        SETS.load("hlo/7")
    with pytest.raises(UnknownNameError, match="unknown memory_mapping instance set"):
        SETS.load("hlx")
