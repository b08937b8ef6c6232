"""Contenders of the toy family that answer what no honest one does; the seed chooses what."""

from __future__ import annotations

import contextlib
import os
import pickle
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import toy_family
from sysopt_gym.core import registry
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.solution import Incumbent, Solution
from toy_family import Items

Cheat = Callable[[Items, Budget], Any]
MARK = "sysopt-left-behind"  # in the command line of every process that a contender leaves behind


def good(items: Items, budget: Budget) -> Solution:
    return toy_family.greedy(items, budget, 0)


def plan_of(actions: Any, **more: Any) -> Cheat:
    return lambda items, budget: Solution(actions, **more)


def dated(*seconds: float) -> Cheat:
    def answer(items: Items, budget: Budget) -> Solution:
        plan = good(items, budget).actions
        return Solution(plan, incumbents=tuple(Incumbent(one, plan) for one in seconds))

    return answer


class Rewrites:
    """Runs code in the process that unpickles it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {os.environ.get('SYSOPT_TEST_PWNED', 'pwned')}",)


def raises_surrogate(items: Items, budget: Budget) -> Solution:
    raise RuntimeError("no such letter: \udcff")


# What an honest mistake looks like: the process goes on, and the row says what is wrong.
MISTAKES: dict[str, tuple[Cheat, str]] = {
    "no plan": (plan_of(None), "its actions are of type object"),
    "a ragged plan": (plan_of([[1, 2], [3]]), "rows of different lengths"),
    "complex numbers": (plan_of(np.array([1j])), "of type complex128"),
    "fractions": (plan_of(np.array([0.5])), "of type float64"),
    "texts": (plan_of(["0"]), "of type <U1"),
    "a single number": (plan_of(np.int64(1)), "a single number"),
    "three axes": (plan_of(np.zeros((1, 1, 1), np.int64)), r"shape \[1, 1, 1\]"),
    "numbers beyond int64": (plan_of(np.array([2**64 - 1], np.uint64)), r"2\*\*63"),
    "a bound that is text": (plan_of([0], bound="12"), "its bound is '12'"),
    "a bound that is a list": (plan_of([0], bound=[1]), "its bound is"),
    "a status of its own": (plan_of([0], status="winner"), "its status is 'winner'"),
    "an object with code": (lambda items, budget: Rewrites(), "returned Rewrites, not a Solution"),
    "code as a plan": (plan_of(Rewrites()), "its actions are of type object"),
    "a letter that is none": (raises_surrogate, "no such letter"),
    "a find of the future": (dated(1e6), "incumbent 0 is dated"),
    "a find of the past": (dated(-1.0), "incumbent 0 is dated -1.000 s"),
    "finds out of order": (dated(2e-4, 1e-4), "incumbent 1 is dated"),
}


def socket_to_judge() -> int:
    """The descriptor that the judge listens on."""
    for number in range(3, 100):
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(os.fstat(number).st_mode):
                return number
    raise AssertionError("no socket")


def says(data: bytes, then: Callable[[], Any] = lambda: time.sleep(60)) -> Cheat:
    """Write bytes to the judge past the library, then wait."""

    def answer(items: Items, budget: Budget) -> Solution:
        if items.name != "warm-up":
            os.set_blocking(socket_to_judge(), True)
            os.write(socket_to_judge(), data)
            then()
        return good(items, budget)

    return answer


def trickle() -> None:
    """Sends a byte now and then, so that the judge is never without news."""
    for _ in range(600):
        os.write(socket_to_judge(), b"x")
        time.sleep(0.1)


def framed(data: bytes) -> bytes:
    return struct.pack("<Q", len(data)) + data


def forged(**fields: Any) -> bytes:
    """A plan as no honest process sends it."""
    plan = {"shape": [1], "data": bytes(8)}
    message = {
        "type": "Planned", "number": 1, "actions": plan, "status": "optimal", "bound": 999.0,
        "incumbents": [],
    }  # fmt: skip
    return framed(msgspec.msgpack.encode(message | fields))


# What is written to the judge past the library: the process is ended.
FORGERIES: dict[str, tuple[Cheat, str]] = {
    "a pickled object": (says(framed(pickle.dumps(Rewrites()))), "answer refused"),
    "four bytes and silence": (says(b"\1\2\3\4"), "no answer after"),
    "byte after byte": (
        says(struct.pack("<Q", 1000), trickle),
        "no answer after",
    ),
    "an endless message": (says(struct.pack("<Q", 2**60)), "over the limit"),
    "an answer to another question": (says(forged()), "a question that was not asked"),
    "bytes of another shape": (says(forged(actions={"shape": [9], "data": b""})), "refused"),
    "an objective of its own": (says(framed(b"\x81\xa9objective\xcd\x03\xe7")), "answer refused"),
    "deep nesting": (says(framed(b"\x91" * 100_000 + b"\xc0")), "answer refused"),
    "a closed socket": (says(b"", lambda: os.close(socket_to_judge())), "process"),
}


def stopped_clock(items: Items, budget: Budget, seed: int) -> Solution:
    """Its own clock stands still while it takes twice its budget."""
    real, time.perf_counter = time.perf_counter, lambda: 0.0
    try:
        if items.name != "warm-up":
            time.sleep(2 * budget.seconds)
        return good(items, budget)
    finally:
        time.perf_counter = real


SPIN = "import sys, time\nwhile time.process_time() < float(sys.argv[1]): pass"
DETACH = (
    "import os, sys, subprocess\n"
    f"subprocess.Popen([sys.executable, '-c', sys.argv[1], '60', '{MARK}'],"
    " start_new_session=True)\n"
)


def leaves_a_child(items: Items, budget: Budget, seed: int) -> Solution:
    """Leaves behind a process in a session of its own, whose parent has ended."""
    if items.name != "warm-up":
        subprocess.run([sys.executable, "-c", DETACH, SPIN], check=True)
        time.sleep(0.8)
    return good(items, budget)


def takes_more_cores(items: Items, budget: Budget, seed: int) -> Solution:
    """Has child processes compute while it waits."""
    if items.name != "warm-up":
        some = [subprocess.Popen([sys.executable, "-c", SPIN, "1.5"]) for _ in range(2)]
        for one in some:
            one.wait()
    return good(items, budget)


def fills_memory(items: Items, budget: Budget, seed: int) -> Solution:
    held = np.ones(2**30 if items.name != "warm-up" else 1, np.uint8)
    time.sleep(3 * (held.size > 1))
    return good(items, budget)


def fills_memory_by_children(items: Items, budget: Budget, seed: int) -> Solution:
    hold = "import time\nheld = bytearray(150 << 20)\ntime.sleep(60)"
    if items.name != "warm-up":
        for _ in range(3):
            subprocess.Popen([sys.executable, "-c", hold, MARK])
        time.sleep(20)
    return good(items, budget)


def unproven(items: Items, budget: Budget, seed: int) -> Solution:
    return Solution(good(items, budget).actions, "optimal")


def claims_too_much(items: Items, budget: Budget, seed: int) -> Solution:
    """Claims that its poor plan is the best."""
    plan = good(items, budget).actions[:1]
    return Solution(plan, "optimal", float(items.value[plan].sum()))


def of(cheats: dict[str, tuple[Cheat, str]]) -> Callable[[Items, Budget, int], Any]:
    """A contender whose seed is the number of its cheat; it is honest while it is warmed up."""
    chosen = [cheat for cheat, _ in cheats.values()]
    return lambda items, budget, seed: (
        good(items, budget) if items.name == "warm-up" else chosen[seed](items, budget)
    )


mistakes, forgeries = of(MISTAKES), of(FORGERIES)


class IllegalPlayer(toy_family.Follow):
    """A player whose action no environment takes."""

    def act(self, observation: Any, info: Any) -> Any:
        return np.array([3, 4, 5])


def register() -> None:
    """Adds the cheats to the toy family, which is registered."""
    for name in (
        "mistakes", "forgeries", "stopped_clock", "leaves_a_child", "takes_more_cores",
        "fills_memory", "fills_memory_by_children", "unproven", "claims_too_much",
    ):  # fmt: skip
        registry.register("solver", toy_family.FAMILY, name, f"cheats:{name}")
    registry.register("solver", toy_family.FAMILY, "illegal", "cheats:IllegalPlayer", "player")
