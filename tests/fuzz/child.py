"""Read files in a process whose memory and seconds are limited, and tell how each ended.

    python -m fuzz.child [LOADER PATH]

Without arguments, lines of JSON come in (`[loader, path]`) and go out (`["ok" or "refused", text]`,
or `["raw", traceback]`). A file that takes too long ends the process.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

CASE_SECONDS = 10.0  # of CPU
MEMORY = 6 * 2**30  # bytes of address space; importing torch takes more than one of them


def reader_of(loader: str) -> Callable[[Path], object]:
    """Return what reads such files the way that a user's command does, with all it imports."""
    if loader == "packing":
        from sysopt_gym.datasets.memory_mapping.packing import load_packing

        return load_packing
    if loader == "solution":
        from sysopt_gym.core.solution import SolutionFile

        return lambda path: SolutionFile.load(path).action_array(path)
    if loader == "result":
        from sysopt_gym.evaluation.cells import Folder

        return lambda path: Folder(path).rows()
    if loader == "configuration":
        from sysopt_gym.agents.configuration import load_config, load_recipe

        load_recipe("vm_rescheduling")
        return lambda path: load_config(path, {})
    if loader == "policy card":
        from sysopt_gym.agents.checkpoints import policy_hash

        return policy_hash
    return partial(_use, loader.partition("/")[0])


def _use(family: str, path: Path) -> None:
    """Load a family's file and use what it holds."""
    from sysopt_gym.core.registry import load_problem
    from sysopt_gym.core.sources import find_instances

    problem = load_problem(family)
    for one in find_instances(problem, str(path), {}):
        problem.describe(one)
        problem.contender_view(one)
        kept = type(one).from_bytes(one.to_bytes(), "again")
        assert kept.content_hash == one.content_hash
        one.name.encode()


def attempt(loader: str, path: Path) -> tuple[str, str]:
    """Read a file, and return how that ended and what was said."""
    from sysopt_gym.core.errors import SysOptError

    read = reader_of(loader)
    signal.setitimer(signal.ITIMER_PROF, CASE_SECONDS)
    try:
        read(path)
        return "ok", ""
    except SysOptError as error:
        return "refused", str(error)
    except BaseException:
        return "raw", traceback.format_exc()[-3000:]
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def main() -> None:
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    if len(sys.argv) == 3:
        print(*attempt(sys.argv[1], Path(sys.argv[2])), sep="\n")
        return
    answers: Any = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    for line in sys.stdin:
        loader, path = json.loads(line)
        answers.write(json.dumps(attempt(loader, Path(path))) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
