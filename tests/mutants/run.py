"""Plants the mutants one at a time and says who notices: the judge, the family's tests, or nobody.

Run by `make mutants`, or `PYTHONPATH=tests python -m mutants.run FAMILY...`. Every worker has a
copy of the tree. The judge plays the family's cases (`mutants/FAMILY_plans.py`) in a process of its
own with the fault planted, after the `prepare()` of that module if it has one; it notices by
finding that its two halves disagree, or by crashing. Compiled code runs uncompiled there, which on
tiny instances is faster than to compile it again for each mutant. The family's tests are run for
what the judge does not notice, or cannot because it has no second half.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import multiprocessing
import os
import pickle
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import numpy
from mutants.mutant import FAMILIES, Mutant
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = (".git", ".venv*", ".mypy*", ".*_cache", ".hypothesis", "__pycache__", "*.egg-info",
            "results", "runs", "build", "dist", "docs", "shared")  # fmt: skip
BY_THE_JUDGE = 0.95  # share that the judge must notice where two halves exist
LEAST_S, TIMES_THE_CLEAN_RUN = 60.0, 10.0  # time limit of the judge
TESTS_S = 900.0  # tests that go on for longer are taken to never end
# Imported before a process is forked for each mutant; nothing of the tree, and no threads.
HEAVY = ("numpy", "numba", "gymnasium", "networkx", "torch")


@dataclass(frozen=True, slots=True)
class Found:
    """What came of a mutant.

    Attributes:
        judge: how the judge noticed; empty if it did not.
        tests: the test that failed; empty if none did or none was run.
    """

    judge: str
    tests: str


class Workshop:
    """A copy of the tree in which a worker plants faults."""

    def __init__(self, family: str, folder: Path) -> None:
        self.family, self.folder = family, folder
        self.tree = folder / "sysopt_gym"
        shutil.copytree(ROOT, self.tree, ignore=shutil.ignore_patterns(*LEFT_OUT), symlinks=True)
        for name in HEAVY:
            importlib.import_module(name)
        self._passing: set[tuple[str, ...]] = set()  # tests that pass without a fault
        self.cases = folder / "cases.pickle"
        began = time.perf_counter()
        found = _apart(partial(_make_cases, family, self.tree, self.cases), 600.0)
        if found:
            raise RuntimeError(f"{family}: no cases: {found}")
        found = self._judge(600.0, most=10)
        if found:
            raise RuntimeError(f"{family}: the judge disagrees without any fault:\n{found}")
        self.limit_s = max(LEAST_S, TIMES_THE_CLEAN_RUN * (time.perf_counter() - began))

    def _judge(self, limit_s: float, most: int = 1) -> str:
        return _apart(partial(_play_cases, self.family, self.tree, self.cases, most), limit_s)

    def ask_the_judge(self, mutant: Mutant) -> str:
        """Return how the judge notices a mutant; empty if it does not."""
        with self._planted(mutant):
            return self._judge(self.limit_s)

    def run_tests(self, mutant: Mutant) -> str:
        """Return the test that notices a mutant; empty if none does.

        Raises:
            RuntimeError: a test fails without the mutant.
        """
        files = mutant.tests or tests_of(self.family)
        if files not in self._passing:
            failed = self._first_failure(files, self.folder / "numba")
            if failed:
                raise RuntimeError(f"{failed} fails without any fault")
            self._passing.add(files)
        # Compiled anew where compiled code has the fault: numba does not look into other files.
        once = self.folder / "numba-once"
        shutil.rmtree(once, ignore_errors=True)
        compiled = "njit" in (self.tree / mutant.path).read_text()
        with self._planted(mutant):
            return self._first_failure(files, once if compiled else self.folder / "numba")

    @contextmanager
    def _planted(self, mutant: Mutant) -> Iterator[None]:
        file = self.tree / mutant.path
        before = mutant.plant(self.tree)
        stale = Path(importlib.util.cache_from_source(str(file)))
        stale.unlink(missing_ok=True)
        try:
            yield
        finally:
            file.write_text(before)
            stale.unlink(missing_ok=True)

    def _first_failure(self, files: tuple[str, ...], compiled: Path) -> str:
        """Run tests; return the first that fails, or "".

        Args:
            files: files of tests, or tests.
            compiled: folder of numba's compiled functions.
        """
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(map(str, (self.folder, self.tree / "tests"))),
            "PYTHONDONTWRITEBYTECODE": "1",
            "NUMBA_CACHE_DIR": str(compiled),
            "NUMBA_DISABLE_JIT": "0",
        }
        command = [sys.executable, "-m", "pytest", *files, "-x", "-q", "-n", "0", "-m", "not slow"]
        try:
            done = subprocess.run(
                command, cwd=self.tree, env=environment, timeout=TESTS_S, capture_output=True,
                text=True,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return "the tests did not end"
        failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
        if done.returncode == 0:
            return ""
        if not failed:
            raise RuntimeError(f"{' '.join(command)}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        return failed[0].split(" - ")[0].removeprefix("FAILED ").removeprefix("ERROR ")


def _apart(work: Callable[[], str], limit_s: float) -> str:
    """Do work in a forked process, whose imports do not stay; say so if it crashes or hangs."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_report, args=(work, there))
    process.start()
    there.close()
    try:
        return str(here.recv()) if here.poll(limit_s) else f"no end after {limit_s:.0f} s"
    except EOFError:
        return "crash of the process"
    finally:
        process.kill()
        process.join()
        here.close()


def _report(work: Callable[[], str], there: Connection) -> None:
    try:
        there.send(work())
    except BaseException:
        there.send("crash: " + traceback.format_exc())


def _enter(tree: Path) -> None:
    """Import the package from the copy from now on, without compiling it."""
    assert not any(name.startswith("sysopt_gym") for name in sys.modules)
    sys.dont_write_bytecode = True
    sys.path[:0] = [str(tree.parent), str(tree / "tests")]
    numpy.seterr(all="ignore")  # as compiled code does
    from sysopt_gym.envs import borrowed, packed

    # What compiled code does without reference counts, Python does with them.
    borrowed.borrow = lambda given: given
    packed.Layout.reader = lambda self, kind: partial(self.view, kind=kind)


def _make_cases(family: str, tree: Path, file: Path) -> str:
    _enter(tree)
    plans = importlib.import_module(f"mutants.{family}_plans")
    file.write_bytes(pickle.dumps(list(plans.cases())))
    return ""


def _play_cases(family: str, tree: Path, file: Path, most: int) -> str:
    """Judge all cases, up to so many on which the halves disagree; say how, or ""."""
    _enter(tree)
    plans = importlib.import_module(f"mutants.{family}_plans")
    if hasattr(plans, "prepare"):
        plans.prepare()
    from sysopt_gym.core.registry import load_problem
    from sysopt_gym.evaluation.judge import judge

    problem, told = load_problem(family), []
    for number, (name, instance, actions, world) in enumerate(pickle.loads(file.read_bytes())):
        found = judge(problem, instance, actions, world)
        if not found.agree:
            told.append(f"case {number} ({name}): {found.violations[0]}")
        if len(told) == most:
            break
    return "\n".join(told)


_workshop: Workshop | None = None


def _work(family: str, folder: str, what: str, mutant: Mutant) -> tuple[str, float]:
    """Do one method of the workshop in this worker's copy, which is made for the first mutant.

    Returns:
        What it says, and the seconds that it took.
    """
    global _workshop
    if _workshop is None:
        _workshop = Workshop(family, Path(tempfile.mkdtemp(dir=folder)))
    began = time.perf_counter()
    return getattr(_workshop, what)(mutant), time.perf_counter() - began


def mutants_of(family: str) -> tuple[Mutant, ...]:
    """Return a family's list."""
    return tuple(importlib.import_module(f"mutants.{family}").MUTANTS)


def tests_of(family: str) -> tuple[str, ...]:
    """Return the family's tests that are run for mutants which name none."""
    return tuple(importlib.import_module(f"mutants.{family}").TESTS)


def try_all(family: str, mutants: tuple[Mutant, ...], jobs: int, console: Console) -> list[Found]:
    """Try mutants out and print what came of each: those of two halves before the judge, then its
    misses and the others in the tests, unless nothing can notice them.

    Args:
        family: its name.
        mutants: of the family.
        jobs: worker processes, each with a copy of the tree.
        console: what is printed to.
    """
    with (
        tempfile.TemporaryDirectory(prefix="mutants-") as folder,
        ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool,
    ):

        def each(some: Sequence[Mutant], what: str) -> Iterator[str]:
            work = partial(_work, family, folder, what)
            for mutant, (said, seconds) in zip(some, pool.map(work, some), strict=True):
                text = f"{seconds:6.1f} s  {mutant.path}: {mutant.what}"
                text += f"\n    {what}: {said.strip().splitlines()[-1] if said else 'nothing'}"
                console.print(text, markup=False, highlight=False, soft_wrap=True)
                yield said

        halves = [mutant for mutant in mutants if mutant.halves]
        judge = dict(zip(halves, each(halves, "ask_the_judge"), strict=True))
        rest = [one for one in mutants if not (judge.get(one) or one.equivalent)]
        tests = dict(zip(rest, each(rest, "run_tests"), strict=True))
    return [Found(judge.get(one, ""), tests.get(one, "")) for one in mutants]


def misses(
    family: str, mutants: tuple[Mutant, ...], found: list[Found], by_the_judge: float
) -> list[str]:
    """Return what falls short of the thresholds, in sentences; none if nothing does.

    Args:
        family: its name.
        mutants: of the family.
        found: what came of each.
        by_the_judge: share that the judge must notice of those of two halves.
    """
    pairs = list(zip(mutants, found, strict=True))
    halves = [one for mutant, one in pairs if mutant.halves and not mutant.equivalent]
    missed = [
        f"{family}: {mutant.what} ({mutant.path}) survives"
        for mutant, one in pairs
        if not (one.judge or one.tests or mutant.equivalent)
    ]
    missed += [
        f"{family}: {mutant.what} ({mutant.path}) is no equivalent: {one.judge or one.tests}"
        for mutant, one in pairs
        if mutant.equivalent and (one.judge or one.tests)
    ]
    share = sum(bool(one.judge) for one in halves) / max(len(halves), 1)
    if share < by_the_judge:
        missed.append(f"{family}: the judge notices {share:.0%} of those of two halves")
    return missed


def main() -> int:
    """Try out the mutants of the families named, and print a table of who noticed how many."""
    parser = argparse.ArgumentParser(description="plant faults and see who notices")
    parser.add_argument("families", nargs="*", help=f"of {', '.join(FAMILIES)}; all if none")
    parser.add_argument("--only", default="", help="expression that is in path or description")
    parser.add_argument("--jobs", type=int, default=1, help="worker processes")
    arguments = parser.parse_args()
    os.environ |= {"NUMBA_DISABLE_JIT": "1", "OMP_NUM_THREADS": "1"}
    console, missed = Console(), []
    table = Table("family", "faults", "of two halves", "judge", "judge and tests", "equivalent")
    for family in arguments.families or FAMILIES:
        mutants = tuple(
            mutant
            for mutant in mutants_of(family)
            if re.search(arguments.only, f"{mutant.path} {mutant.what}")
        )
        found = try_all(family, mutants, arguments.jobs, console)
        halves = [mutant.halves and not mutant.equivalent for mutant in mutants]
        noticed = [bool(one.judge) for one in found]
        same = sum(bool(mutant.equivalent) for mutant in mutants)
        table.add_row(
            family,
            str(len(mutants)),
            str(sum(halves)),
            f"{sum(map(min, halves, noticed))} of {sum(halves)}",
            f"{sum(bool(one.judge or one.tests) for one in found)} of {len(mutants) - same}",
            str(same),
        )
        missed += misses(family, mutants, found, 0.0 if arguments.only else BY_THE_JUDGE)
    console.print(table)
    for sentence in missed:
        console.print(sentence, markup=False, highlight=False, soft_wrap=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
