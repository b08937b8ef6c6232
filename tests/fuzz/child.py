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
from pathlib import Path
from typing import Any

CASE_SECONDS = 10.0  # of CPU
MEMORY = 6 * 2**30  # bytes of address space; importing torch takes more than one of them


def read(loader: str, path: Path) -> None:
    """Read a file the way that a user's command does, and use what it holds."""
    family, slash, _ = loader.partition("/")
    if slash:
        from sysopt_gym.core.registry import load_problem
        from sysopt_gym.core.sources import find_instances

        problem = load_problem(family)
        for one in find_instances(problem, str(path), {}):
            problem.describe(one)
            problem.contender_view(one)
            kept = type(one).from_bytes(one.to_bytes(), "again")
            assert kept.content_hash == one.content_hash
            one.name.encode()
    elif loader == "packing":
        from sysopt_gym.datasets.memory_mapping.packing import load_packing

        load_packing(path)
    elif loader == "solution":
        from sysopt_gym.core.solution import SolutionFile

        SolutionFile.load(path).action_array(path)
    elif loader == "result":
        from sysopt_gym.evaluation.cells import Folder

        Folder(path).rows()
    elif loader == "configuration":
        from sysopt_gym.agents.configuration import load_config

        load_config(path, {})
    elif loader == "policy card":
        from sysopt_gym.agents.checkpoints import policy_hash

        policy_hash(path)
    else:
        raise ValueError(loader)


def attempt(loader: str, path: Path) -> tuple[str, str]:
    """Read a file, and return how that ended and what was said."""
    from sysopt_gym.core.errors import SysOptError

    signal.setitimer(signal.ITIMER_PROF, CASE_SECONDS)
    try:
        read(loader, path)
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
