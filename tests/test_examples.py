"""The packages in examples/, installed by pip and played from the command line as users would."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
EXTENDING = (ROOT / "docs" / "extending.md").read_text()
BLOCKS = re.findall(r"(?:`(examples/[^`]+)`):\n\n```\w+\n(.*?)```", EXTENDING, re.S)
FASTA = "".join(f">s{n} {n % 7 / 7}\n{'ACGT'[n % 4]}{'ACGT'[n // 4 % 4]}{'ACGT'[n // 16]}GATTA\n"
                for n in range(64))  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both packages and what pip says of them."""
    folder = tmp_path_factory.mktemp("installed")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--target", str(folder)]
    copies = []
    for name in ("knapsack", "designs"):
        copy = tmp_path_factory.mktemp("source") / name
        subprocess.run(["cp", "-r", EXAMPLES / name, copy], check=True)  # a build writes beside it
        copies.append(str(copy))
    command = [sys.executable, "-m", "pip", "install", *options, *copies]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def run(place: Path, folder: Path, *words: str) -> str:
    """The output of a command that sees the installed packages."""
    path = os.pathsep.join([str(place), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": path, "COLUMNS": "200", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_text_shows_the_code_of_the_examples() -> None:
    assert len(BLOCKS) >= 10
    for name, block in BLOCKS:
        assert block in (ROOT / name).read_text(), f"{name} does not hold\n{block}"


def test_an_installed_family_is_listed_with_its_contenders(place: Path, tmp_path: Path) -> None:
    told = run(place, tmp_path, "-m", "sysopt_gym", "list")
    assert "sysopt/Knapsack-v0" in told and "knapsack:test" in told and "point_mutants" in told


def test_an_installed_family_is_compared_and_replays(place: Path, tmp_path: Path) -> None:
    words = ["compare", "knapsack", "--budget", "0.1", "--out", "results"]
    told = run(place, tmp_path, "-m", "sysopt_gym", *words)
    assert "exact" in told and "agent" in told
    told = run(place, tmp_path, "-m", "sysopt_gym", "report", "results", "--replay")
    assert "Picked items" in (tmp_path / "results" / "report.html").read_text()
    assert "differ" not in told


def test_an_installed_environment_passes_gymnasiums_check(place: Path, tmp_path: Path) -> None:
    code = """
import copy, gymnasium, warnings, sysopt_gym
from gymnasium.utils.env_checker import check_env
sysopt_gym.load_problem("knapsack")
env = gymnasium.make("sysopt/Knapsack-v0", instances="knapsack:test").unwrapped
warnings.simplefilter("error")
check_env(env, skip_render_check=True)
env.reset(seed=0)
twin = copy.deepcopy(env)
ended = False
while not ended:
    action = int(env.action_space.sample())
    (seen, reward, ended, *_), (again, same, over, *_) = env.step(action), twin.step(action)
    assert (reward, ended) == (same, over) and (seen["items"] == again["items"]).all()
print("plays")
"""
    assert run(place, tmp_path, "-c", code).strip() == "plays"


def test_the_agent_of_the_example_is_what_its_training_makes(place: Path, tmp_path: Path) -> None:
    code = """
import sysopt_gym
sysopt_gym.load_problem("knapsack")
from sysopt_knapsack.agent import WEIGHTS, train
print((train().round(3) == WEIGHTS).all())
"""
    assert run(place, tmp_path, "-c", code).strip() == "True"


@pytest.mark.long
def test_an_installed_format_solver_and_section_serve_a_family(place: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.fasta").write_text(FASTA)
    words = ["--instances", "mine.fasta", "--contenders", "point_mutants", "--budget", "0.5"]
    command = ["compare", "sequence_design", *words, "--set", "offline=1", "batch=4"]
    told = run(place, tmp_path, "-m", "sysopt_gym", *command, "--out", "results")
    assert "point_mutants" in told
    assert "Letters of the designs" in (tmp_path / "results" / "report.html").read_text()


def test_a_malformed_file_of_an_installed_format_is_refused_by_its_line(
    place: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad.fasta").write_text(">s1 0.5\nACGT\n>s2 high\nACGA\n")
    words = ["data", "info", "sequence_design", "bad.fasta"]
    with pytest.raises(
        AssertionError, match=r"error: bad.fasta, line 3: '>s2 high' ends in no score"
    ):
        run(place, tmp_path, "-m", "sysopt_gym", *words)
