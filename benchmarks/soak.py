"""`make soak`: random legal play over all families, with memory, files and rules watched."""

from __future__ import annotations

import argparse
import resource
import sys
import threading
import time
import traceback
import tracemalloc
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from .. import __version__
from ..core.registry import FAMILIES
from . import soak_games
from .soak_games import contenders, play_episode, run_contender

MIB = 2**20
WARM_UP_PART = 0.25  # of the time: caches fill, code is compiled; growth is measured after it
BLOCKS = 15  # of the time after warm-up; the slope is through their means
SOLVER_PART = 0.05  # of the rounds run a contender
REMADE_PART = 0.02  # of the episodes begin in an environment made anew
MOST_SHOWN = 3  # findings of a kind that are shown in full


@dataclass(slots=True)
class Watch:
    """What was seen of the process and of the games.

    Attributes:
        memory: (seconds, resident MiB, open files, threads) of each sample.
        episodes, steps: by the name of the game.
        grown: resident bytes that came up while a game was played, by its name, after warm-up.
        findings: how often, by text.
    """

    memory: list[tuple[float, float, int, int]] = field(default_factory=list)
    episodes: Counter[str] = field(default_factory=Counter)
    steps: Counter[str] = field(default_factory=Counter)
    grown: Counter[str] = field(default_factory=Counter)
    findings: Counter[str] = field(default_factory=Counter)


def resident() -> int:
    """Return this process's resident memory in bytes (its peak where there is no /proc)."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def open_files() -> int:
    """Return the number of open files; 0 where there is no /proc."""
    try:
        return sum(1 for _ in Path("/proc/self/fd").iterdir()) - 1
    except OSError:
        return 0


def slope(memory: Sequence[tuple[float, float, int, int]], since: float) -> tuple[float, float]:
    """Return the growth of memory in MiB an hour and half its 95 % confidence interval.

    A line goes through the means of BLOCKS blocks of time, which are far less tied to each other
    than single samples are.

    Args:
        memory: samples; see Watch.
        since: seconds of warm-up, whose samples are left out.
    """
    points = np.array([(at, mib) for at, mib, *_ in memory if at >= since])
    if len(points) < BLOCKS:
        return float("nan"), float("nan")
    blocks = np.array([block.mean(axis=0) for block in np.array_split(points, BLOCKS)])
    line = stats.linregress(blocks[:, 0] / 3600, blocks[:, 1])
    return float(line.slope), float(stats.t.ppf(0.975, BLOCKS - 2) * line.stderr)


def soak(
    seconds: float,
    families: Sequence[str],
    seed: int,
    tell: Callable[[str], None],
    every_s: float = 5.0,
    trace: bool = False,
) -> Watch:
    """Play for so many seconds.

    Args:
        seconds: of play.
        families: names of the families.
        seed: of all that is drawn.
        tell: called with a line of text every minute, and for findings.
        every_s: seconds between two samples of memory and files.
        trace: whether tracemalloc says at the end what Python holds more of than after warm-up.
    """
    games = [game for game in soak_games.games().values() if game.family in families]
    rng, watch = np.random.default_rng(seed), Watch()
    turns = {family: contenders(family) for family in families}
    made = {game.name: game.make() for game in games}
    pools: dict[str, list[Any]] = {game.name: [] for game in games}
    began = time.monotonic()
    next_sample = next_line = 0.0
    spent = dict.fromkeys(made, 0.0)
    snapshot = None
    while True:
        now = time.monotonic() - began
        if now >= seconds and all(watch.episodes[game.name] for game in games):
            break
        if now >= next_sample:
            watch.memory.append((now, resident() / MIB, open_files(), threading.active_count()))
            next_sample = now + every_s
        if now >= next_line:
            tell(_line(watch))
            next_line = now + 60
        if trace and snapshot is None and now >= WARM_UP_PART * seconds:
            tracemalloc.start(10)
            snapshot = tracemalloc.take_snapshot()
        before = resident()
        if rng.random() < SOLVER_PART:
            family = families[int(rng.integers(len(families)))]
            contender = next(turns[family])
            key = f"{family}: {contender}"
            _note(watch, tell, key, partial(run_contender, family, contender, rng))
        else:
            # Games get equal time, not equally many episodes.
            game = min(games, key=lambda one: spent[one.name])
            key = game.name
            if rng.random() < REMADE_PART:
                made[key].close()
                made[key] = game.make()
            play = partial(play_episode, game, made[key], rng, pools[key])
            _note(watch, tell, key, play)
            spent[key] += time.monotonic() - began - now
        if now >= WARM_UP_PART * seconds:
            watch.grown[key] += resident() - before
    for env in made.values():
        env.close()
    if snapshot is not None:
        for line in tracemalloc.take_snapshot().compare_to(snapshot, "lineno")[:15]:
            tell(str(line))
    return watch


def _note(watch: Watch, tell: Callable[[str], None], key: str, play: Callable[[], int]) -> None:
    """Play, and write down what came of it."""
    try:
        watch.steps[key] += play()
    except Exception as error:
        text = f"{key}: {type(error).__name__}: {error}"
        watch.findings[text] += 1
        if watch.findings[text] <= MOST_SHOWN:
            tell(f"FOUND {text}\n{traceback.format_exc(limit=-4)}")
    watch.episodes[key] += 1


def _line(watch: Watch) -> str:
    at, mib, files, threads = watch.memory[-1]
    return (
        f"{at / 60:5.1f} min  {mib:7.1f} MiB  {files} files  {threads} threads  "
        f"{sum(watch.episodes.values()):,} episodes  {sum(watch.steps.values()):,} steps  "
        f"{sum(watch.findings.values())} findings"
    )


def summary(watch: Watch, seconds: float) -> str:
    """Return the figures as text: a line a game, then memory, files and findings."""
    since = WARM_UP_PART * seconds
    lines = [f"{'game':32} {'episodes':>9} {'steps':>11} {'MiB after warm-up':>18}"]
    for name in sorted(watch.episodes):
        grown = watch.grown[name] / MIB
        lines.append(f"{name:32} {watch.episodes[name]:9,} {watch.steps[name]:11,} {grown:18.1f}")
    growth, half = slope(watch.memory, since)
    late = [sample for sample in watch.memory if sample[0] >= since] or watch.memory
    lines += [
        f"memory: {late[0][1]:.0f} MiB after warm-up ({since / 60:.0f} min), {late[-1][1]:.0f} MiB "
        f"at the end, {growth:+.1f} +- {half:.1f} MiB an hour (95 %)",
        f"open files: {late[0][2]} after warm-up, {late[-1][2]} at the end; threads: "
        f"{late[0][3]} and {late[-1][3]}",
        f"findings: {sum(watch.findings.values())}",
        *(f"  {count} times: {text}" for text, count in watch.findings.most_common()),
    ]
    return "\n".join(lines)


def main() -> None:
    """Read the command line, play, and end with 1 if something was found."""
    parser = argparse.ArgumentParser(prog="python -m sysopt_gym.benchmarks.soak")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--trace", action="store_true", help="tell what Python holds, by line")
    given = parser.parse_args()

    def tell(text: str) -> None:
        print(text, flush=True)

    tell(f"sysopt-gym {__version__}, {', '.join(given.families)}, seed {given.seed}")
    watch = soak(60 * given.minutes, given.families, given.seed, tell, trace=given.trace)
    tell(summary(watch, 60 * given.minutes))
    sys.exit(1 if watch.findings else 0)


if __name__ == "__main__":
    main()
