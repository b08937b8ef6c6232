"""The base package where nothing of POSIX is to be had: environments, solvers, a comparison.

Whether it works on Windows itself is not tested; this takes away what Windows lacks.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# Read by every Python that is started with this folder on its path, workers included.
WITHOUT_POSIX = """
import os, psutil, subprocess, sys  # which are of another making there

MODULES = ("fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty")
NAMES = (
    "chown", "fchown", "fork", "forkpty", "getegid", "geteuid", "getgid", "getloadavg", "getpgid",
    "getpgrp", "getsid", "getuid", "killpg", "mkfifo", "nice", "sched_getaffinity",
    "sched_setaffinity", "set_blocking", "setsid", "sysconf", "O_DIRECTORY", "O_NOFOLLOW",
)

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name in MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
for name in MODULES:
    sys.modules.pop(name, None)
for name in NAMES:
    if hasattr(os, name):
        delattr(os, name)
_start = subprocess.Popen.__init__

def start(self, *words, **options):
    for name in ("pass_fds", "preexec_fn"):
        if options.get(name):
            raise ValueError(f"{name} not supported on Windows platforms")
    _start(self, *words, **options)

subprocess.Popen.__init__ = start
"""
PROGRAM = """
import gymnasium, os, sys
from pathlib import Path
import sysopt_gym
assert not hasattr(os, "fork") and "fcntl" not in sys.modules
env = gymnasium.make("sysopt/MallocGame-v0", instances="small:test")
observation, info = env.reset(seed=0)
done = False
while not done:
    action = env.action_space.sample(observation["action_mask"])
    observation, reward, terminated, truncated, info = env.step(action)
    done = terminated or truncated
problem = sysopt_gym.load_problem("memory_mapping")
(program,) = problem.sets.load("small:test/0")
plan = sysopt_gym.solve(program, with_="greedy", budget_s=0.5)
verdict = problem.validate(program, plan.actions, sysopt_gym.World())
assert verdict.feasible
request = sysopt_gym.Request(
    families=["memory_mapping"], instances=["small:test/0"],
    contenders=["greedy", "all_slow"], budget_s=0.5,
)
if __name__ == "__main__":
    rows = sysopt_gym.compare(request, Path("results"))
    assert all(row.feasible for row in rows), rows
    print(*sorted({row.contender for row in rows}))
"""


def test_environments_solvers_and_a_comparison_need_no_posix(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_POSIX)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "all_slow" in done.stdout and "greedy" in done.stdout
    assert (tmp_path / "results" / "report.html").exists()
