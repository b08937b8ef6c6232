"""Batches, their generator, sets and settings."""

from __future__ import annotations

import dataclasses
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from sysopt_gym.core.errors import InstanceError, SettingError
from sysopt_gym.datasets.sequence_parallelism.generator import draw_lengths, generate, padded
from sysopt_gym.datasets.sequence_parallelism.instance import TrainingBatch, device_tokens
from sysopt_gym.datasets.sequence_parallelism.models import K
from sysopt_gym.datasets.sequence_parallelism.settings import with_settings
from sysopt_gym.datasets.sequence_parallelism.splits import FIRST_SEED, SETS, split_instances
from sysopt_gym.envs.sequence_parallelism.groups import kinds_of, order_of

TINY = {"sequences": "6", "devices": "4", "context": "8K"}


def test_the_cost_table_has_the_times_that_the_published_constants_give() -> None:
    kinds = kinds_of(generate({}, 0))
    # A sequence of 8K, 32K and 128K tokens on 2, 4, ... 64 devices, 7B, without the constant.
    for length, expected in (
        (8 * K, (994, 502, 253, 215, 144, 81)),
        (32 * K, (None, None, 1527, 1117, 705, 390)),
        (128 * K, (None, None, None, None, 4886, 2594)),
    ):
        for kind, time in enumerate(expected, 1):
            found = kinds.quadratic[kind] * length**2 + kinds.linear[kind] * length
            assert time is None or found == pytest.approx(time, abs=0.6)
    assert kinds.degree.tolist() == [1, 2, 4, 8, 16, 32, 64]
    assert set(kinds.constant) == {629.3563}


def test_the_tokens_that_fit_are_those_of_the_published_memory() -> None:
    assert device_tokens(generate({"memory": "28"}, 0)).tolist() == [5992]
    # With 28 GB a sequence of 192K needs 64 devices.
    fits = kinds_of(generate({"memory": "28"}, 0)).capacity >= 192 * K
    assert fits.tolist() == [False] * 6 + [True]
    small = generate({"devices": "16", "context": "64K"}, 0)
    assert small.token_memory == 2.668764648


def test_wiki_lengths_have_the_shares_of_the_million_articles() -> None:
    lengths = draw_lengths("wiki", 200_000, 10**9, np.random.default_rng(0))
    for over, share in ((K, 0.212), (4 * K, 0.044), (8 * K, 0.016), (32 * K, 0.0013)):
        assert np.mean(lengths > over) == pytest.approx(share, rel=0.1)
    assert np.median(lengths) == pytest.approx(347, rel=0.03)
    heavier = [np.mean(draw_lengths(shape, 20_000, 192 * K, np.random.default_rng(0)) > 32 * K)
               for shape in ("wiki", "github", "crawl")]  # fmt: skip
    assert heavier == sorted(heavier)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, "b3d97e30c36be80d"),
        ({"shape": "crawl", "model": "13B", "context": "384K"}, "7372063befec3dd0"),
        (
            {"shape": "github", "steps": "3", "sequences": "20", "degrees": "any"},
            "b3569fdaba205389",
        ),
    ],
)
def test_a_batch_is_what_its_seed_gives_on_every_machine(
    parameters: dict[str, str], expected: str
) -> None:
    assert generate(parameters, 0).content_hash == expected
    assert generate(parameters, 1).content_hash != expected


@pytest.mark.parametrize("name", FIRST_SEED)
def test_sets_are_what_their_seeds_give(name: str) -> None:
    loaded = SETS.load(name)
    drawn = [one.content_hash for one in islice(split_instances(name), len(loaded))]
    assert drawn == [one.content_hash for one in loaded]
    if name in SETS.hashes():
        assert drawn == SETS.hashes()[name]


def test_no_two_batches_of_the_sets_are_equal() -> None:
    hashes = [one for part in SETS.hashes().values() for one in part]
    assert len(set(hashes)) == len(hashes) > 80


def test_an_instance_survives_its_file(tmp_path: Path) -> None:
    batch = generate(TINY | {"steps": "2"}, 3)
    batch.save(tmp_path / "batch.npz")
    again = TrainingBatch.load(tmp_path / "batch.npz")
    assert again.content_hash == batch.content_hash
    assert again.step.tolist() == [0] * 6 + [1] * 6


def test_a_single_step_is_left_blank() -> None:
    batch = generate(TINY, 0)
    given = dataclasses.replace(batch, step=np.zeros(6, np.int64))
    assert given.content_hash == batch.content_hash and batch.n_steps == 1


def test_the_order_is_longest_first_step_by_step_and_stable() -> None:
    batch = dataclasses.replace(
        generate(TINY, 0),
        lengths=np.array([128, 256, 128, 512, 1024, 512]),
        step=np.array([0, 0, 0, 1, 1, 1]),
    )
    assert order_of(batch).tolist() == [1, 0, 2, 4, 3, 5]


def test_settings_replace_the_cluster_and_nothing_else() -> None:
    batch = generate({}, 0)
    assert with_settings(batch, {}).content_hash == batch.content_hash
    larger = with_settings(batch, {"model": "13B"})
    assert larger.lengths.tolist() == batch.lengths.tolist()
    assert (larger.fixed_ms, larger.token_memory) == (1132.5632, 4.220439453)
    two = with_settings(batch, {"devices": "32+32", "memory": "30+70", "speed": "1+2.5"})
    kinds = kinds_of(two)
    assert kinds.degree.tolist() == [1, 2, 4, 8, 16, 32] * 2
    assert kinds.device_class.tolist() == [0] * 6 + [1] * 6
    assert kinds.capacity[6:].min() > 2 * kinds.capacity[0]
    assert kinds.quadratic[6] == pytest.approx(kinds.quadratic[0] / 2.5)
    odd = with_settings(batch, {"degrees": "any"})
    assert kinds_of(odd).degree.tolist() == list(range(1, 65))
    # Nine devices are of two nodes: their bandwidth is that of sixteen.
    assert odd.bandwidth[0, 8] == odd.bandwidth[0, 15] < odd.bandwidth[0, 7]
    short = with_settings(batch, {"context": "4K"})
    assert short.lengths.max() <= 4 * K - 128 and len(short.lengths) < len(batch.lengths)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"model": "8B"}, "model='8B'; give one of 7B, 13B, 30B"),
        ({"devices": "0"}, "devices='0'; give whole numbers from 1"),
        ({"devices": "8+"}, r"joined by \+"),
        ({"memory": "30+40"}, "memory has 2 values for 1 classes of devices"),
        ({"memory": "lots"}, "memory='lots'; give numbers"),
        ({"speed": "nan"}, "speed='nan'"),
        ({"context": "K"}, "context='K'; give a whole number of tokens"),
        ({"context": "99999999999K"}, "give a whole number of tokens"),
        ({"degrees": "2+128"}, "degrees='2.128'; give whole numbers from 1 to 64"),
        ({"batch": "0"}, "batch='0'; give a whole number from 1"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(values: dict[str, str], says: str) -> None:
    with pytest.raises(SettingError, match=says):
        with_settings(generate(TINY, 0), values)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"lengths": np.array([128, 10**6, 1, 1, 1, 1])}, "sequence 1 has 1,000,000 tokens"),
        ({"step": np.array([0, 0, 2, 2, 2, 2])}, "step must count 0, 1, 2"),
        ({"step": np.array([0, 1, 0, 1, 1, 1])}, "step must count 0, 1, 2"),
        ({"degrees": np.array([1, 4, 2, 8, 16, 32, 64])}, "degrees must rise"),
        ({"parameters": 500.0}, "no token fits; give more memory or more devices"),
        ({"context": 10**6, "lengths": np.full(6, 10**6)}, "but the largest group holds"),
        ({"class_devices": np.array([0])}, r"class_devices\[0\] is 0"),
    ],
)
def test_impossible_batches_are_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises(InstanceError, match=says):
        dataclasses.replace(generate(TINY, 0), **changes)


def test_every_sequence_may_be_left_out() -> None:
    with pytest.raises(InstanceError, match="every sequence is longer than the context of 100"):
        with_settings(generate(TINY, 0), {"context": "100"})


def test_lengths_are_rounded_up() -> None:
    assert padded(np.array([1, 128, 129]), 128).tolist() == [128, 128, 256]
