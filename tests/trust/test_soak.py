"""`make soak` in small: every game of every family once, without a finding."""

from __future__ import annotations

import numpy as np
import pytest
from sysopt_gym.benchmarks.soak import BLOCKS, slope, soak
from sysopt_gym.benchmarks.soak_games import games
from sysopt_gym.core.kept import kept
from sysopt_gym.core.registry import FAMILIES
from sysopt_gym.envs.sequence_design.proxy import fit


@pytest.mark.parametrize("family", FAMILIES)
def test_a_round_of_every_game_finds_nothing(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "FEWEST_STEPS", 20)
    monkeypatch.setattr(fit, "_REFERENCE", {})
    monkeypatch.setattr("sysopt_gym.benchmarks.soak_games.MOST_STEPS", 60)
    told: list[str] = []
    watch = soak(0.0, [family], seed=1, tell=told.append)
    played = {game.name for game in games().values() if game.family == family}
    assert played <= set(watch.episodes)
    assert all(watch.steps[name] for name in played)
    assert not watch.findings, "\n".join(told)


def test_a_rule_that_is_broken_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from sysopt_gym.envs.memory_mapping.env import MallocGameEnv

    honest = MallocGameEnv._info
    monkeypatch.setattr(
        MallocGameEnv, "_info", lambda env: honest(env) | {"objective": float("inf")}
    )
    watch = soak(0.0, ["memory_mapping"], seed=1, tell=lambda text: None)
    assert any("the objective is inf" in text for text in watch.findings)


def test_the_slope_of_growing_memory_is_found_and_that_of_noise_includes_zero() -> None:
    rng = np.random.default_rng(0)
    seconds = np.arange(0.0, 3600.0, 5.0)
    noise = rng.normal(0.0, 3.0, len(seconds))
    grown, half = slope(
        [(s, 500 + s / 60 + n, 5, 1) for s, n in zip(seconds, noise, strict=True)], 900.0
    )
    assert abs(grown - 60) < half < 10
    still, half = slope([(s, 500 + n, 5, 1) for s, n in zip(seconds, noise, strict=True)], 900.0)
    assert abs(still) < half
    few = slope([(s, 500.0, 5, 1) for s in range(BLOCKS - 1)], 0.0)
    assert np.isnan(few).all()


def test_a_cache_forgets_what_was_unused_for_longest() -> None:
    cache: dict[str, int] = {}
    made: list[str] = []

    def make(key: str) -> int:
        made.append(key)
        return len(made)

    for key in ("a", "b", "a", "c", "a", "b"):
        kept(cache, key, 2, lambda key=key: make(key))  # type: ignore[misc]
    assert made == ["a", "b", "c", "b"]
    assert list(cache) == ["a", "b"]
