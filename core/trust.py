"""Whether the user trusts files that may run code when they are read."""

from __future__ import annotations

import os

VARIABLE = "SYSOPT_TRUST"  # in the environment, so that processes started here know it too


def trust_files() -> None:
    """Let files be read, from here on, that may run code; the user has said `--trust`."""
    os.environ[VARIABLE] = "1"


def trusts_files() -> bool:
    """Whether files may be read that may run code."""
    return os.environ.get(VARIABLE, "").strip() == "1"
