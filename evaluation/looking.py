"""Find out how a user's function or class plays, in a process of its own.

What plays must not have run in the judge's process, not even while its file is imported. Run as
`python -m sysopt_gym.evaluation.looking PLACE`; the search path is read from the standard input.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from typing import get_args

from ..core.contender_arguments import form_of
from ..core.contracts import Form
from ..core.errors import MissingDependencyError, RegistryError, SysOptError
from ..core.registry import Entry
from .isolation import isolated, needed

LIMIT_S = 600.0
KINDS = {kind.__name__: kind for kind in (MissingDependencyError, RegistryError)}


def look(place: str, isolate: bool = False) -> Form:
    """Return how a function or class plays; a module that is imported already is looked at here.

    Args:
        place: "package.module:attribute" or "FILE.py:attribute".
        isolate: whether the process that imports it is isolated.

    Raises:
        RegistryError: it cannot be imported, or is neither a solver nor a player.
        MissingDependencyError: it imports a package that is not installed.
        SettingError: processes cannot be isolated here.
    """
    if place.rpartition(":")[0] in sys.modules:
        return form_of(place)
    command = [sys.executable, "-m", __name__, place]
    if isolate:
        command = isolated(command, needed(Entry(place)), [])
    said = _answer(command)
    if said.get("form") in get_args(Form):
        return said["form"]  # type: ignore[return-value]
    default = f"{place}: the process that imported it ended without an answer; correct the file"
    raise KINDS.get(said.get("kind", ""), RegistryError)(said.get("text", default))


def _answer(command: list[str]) -> dict[str, str]:
    """Return the texts that a command says on its last line; none if it says anything else."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    said = ""
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            said = process.communicate(json.dumps(sys.path), timeout=LIMIT_S)[0]
    finally:
        with contextlib.suppress(ProcessLookupError):
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
        process.wait()
    try:
        found = json.loads(said)
    except ValueError:
        return {}
    texts = isinstance(found, dict) and all(isinstance(text, str) for text in found.values())
    return found if texts else {}


def main() -> None:
    """Answer with the form of what the first argument names, or with an error."""
    place = sys.argv[1]
    sys.path[:] = json.load(sys.stdin)
    answer = os.dup(1)
    os.dup2(2, 1)  # what is printed during the import is no answer
    try:
        found = {"form": str(form_of(place))}
    except SysOptError as error:
        found = {"kind": type(error).__name__, "text": str(error)}
    except Exception as error:
        found = {"text": f"{place}: {type(error).__name__}: {error}; correct the file"}
    os.write(answer, json.dumps(found).encode())
    os._exit(0)


if __name__ == "__main__":
    main()
