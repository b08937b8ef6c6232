"""What the README, and the programs of the families' pages, do when they are copied and run.

Each is run with the extras that its page names for it, and without all other packages.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from extras import environment
from sysopt_gym.core.registry import FAMILIES

ROOT = Path(__file__).parent.parent
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
BLOCKS = FENCED.findall((ROOT / "README.md").read_text())
# Pages whose programs stand by themselves, where they import this package; those of other pages are
# parts of larger ones, which other tests run.
PAGES = ("environments", "training", *FAMILIES)
PYTHON = [text for language, text in BLOCKS if language == "python"] + [
    text
    for page in PAGES
    for language, text in FENCED.findall((ROOT / "docs" / f"{page}.md").read_text())
    if language == "python" and re.search(r"^(import|from) sysopt_gym", text, re.M)
]
COMMANDS = [
    [line.partition("  #")[0] for line in text.splitlines() if line.startswith("sysopt-gym")]
    for language, text in BLOCKS
    # test_closed_loop.py runs those that play what was trained, at small length.
    if not language and "sysopt-gym " in text and "--contenders mine=" not in text
]


# What a block needs, by a text in it: the first that is there counts.
NEEDS = {
    "flower": "flower",
    "ray.rllib": "training",
    "sysopt-gym train": "training",
    "compare": "agents,report",
    'with_="agent"': "agents",
}


def run(command: list[str], folder: Path, block: str) -> str:
    extras = next((extras for text, extras in NEEDS.items() if text in block), "")
    # Ray joins a cluster that it finds, such as another test's that is about to lose its nodes.
    variables = environment(extras) | {"RAY_ADDRESS": "local"}
    done = subprocess.run(
        command, cwd=folder, env=variables, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "block",
    # RLlib takes a minute to start and stop; README's training starts it, too. Twelve hours of a
    # data center take as long as their budget; its user's script is run by test_start.py.
    [
        pytest.param(
            i, marks=[pytest.mark.long] * any(one in text for one in ("ray.rllib", "start_h"))
        )
        for i, text in enumerate(PYTHON)
    ],
)
def test_a_python_block_runs_as_it_stands(block: int, tmp_path: Path) -> None:
    assert run([sys.executable, "-c", PYTHON[block]], tmp_path, PYTHON[block]).strip()


@pytest.mark.slow
@pytest.mark.parametrize("block", [i for i, lines in enumerate(COMMANDS) if lines])
def test_a_block_of_commands_runs_as_it_stands(block: int, tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("sysopt-gym")
    for line in COMMANDS[block]:
        run([str(program), *shlex.split(line)[1:]], tmp_path, "\n".join(COMMANDS[block]))


def test_the_two_commands_come_first() -> None:
    _, first = BLOCKS[0]
    assert re.findall(r"^make (\w+)", first, re.M) == ["compare", "test"]
