"""A user's settings are known before a file is built: they take the place of defaults that would
refuse it, wherever a file can be given."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from sysopt_gym.cli import app
from sysopt_gym.core.errors import InstanceError, SettingError
from sysopt_gym.core.registry import load_problem
from sysopt_gym.datasets.memory_mapping.loaders import load_file as load_program
from sysopt_gym.datasets.memory_mapping.loaders import to_json
from sysopt_gym.datasets.memory_mapping.settings import with_settings
from sysopt_gym.datasets.memory_mapping.splits import SETS
from sysopt_gym.datasets.sequence_design.loaders import load_file as load_task
from sysopt_gym.evaluation.comparison import Request, make_plan
from typer.testing import CliRunner

FILES = {
    # A quarter of the peak, the default, is less than any operand.
    "memory_mapping": json.dumps(
        {
            "format": "sysopt-gym program 1",
            "tensors": [
                {"name": "x", "size": 8192, "kind": "arg"},
                {"name": "y", "size": 8192, "kind": "out"},
            ],
            "instrs": [
                {
                    "name": "copy",
                    "flops": 1e6,
                    "ops": [{"tensor": "x", "rw": "r"}, {"tensor": "y", "rw": "w"}],
                }
            ],
        }
    ),
    # The lower half, which is shown by default, has one score.
    "sequence_design": "sequence,score\nACGT,1\nACGA,1\nACGC,2\nACGG,3\n",
}
NEEDED = {"memory_mapping": "capacity=16MiB", "sequence_design": "offline=1"}
WHY = {"memory_mapping": "larger than fast memory", "sequence_design": "set offline=0.51 or more"}
ENVIRONMENTS = {
    "memory_mapping": "sysopt/MallocGame-v0",
    "sequence_design": "sysopt/SequenceDesign-v0",
}
families = pytest.mark.parametrize("family", list(FILES))


@pytest.fixture
def file(tmp_path: Path, family: str) -> Path:
    path = tmp_path / "own.txt"
    path.write_text(FILES[family])
    return path


def run(*words: str | Path) -> tuple[int, str]:
    result: Any = CliRunner().invoke(app, [str(word) for word in words])
    return result.exit_code, " ".join(result.output.split())


@families
def test_a_file_is_read_with_the_settings_in_place_of_the_defaults(family: str, file: Path) -> None:
    problem = load_problem(family)
    with pytest.raises(InstanceError, match=WHY[family]):
        problem.load_file(file, {})
    key, _, value = NEEDED[family].partition("=")
    instance = problem.load_file(file, {key: value})
    again = problem.apply_settings(instance, {key: value})
    assert again.content_hash == instance.content_hash


@families
def test_info_import_solve_and_validate_take_the_settings_of_a_file(
    family: str, file: Path, tmp_path: Path
) -> None:
    code, output = run("data", "info", family, file)
    assert code == 2 and WHY[family] in output
    needed = ("--set", NEEDED[family])
    assert run("data", "info", family, file, *needed)[0] == 0
    made = tmp_path / "made.npz"
    assert run("data", "import", family, file, *needed, "--out", made)[0] == 0
    assert run("data", "info", family, made)[0] == 0
    solution = tmp_path / "s.json"
    words = ("solve", family, file, "--with", "random", "--budget", "0.2", "--out", solution)
    assert run(*words, *needed)[0] == 0
    assert run("validate", family, file, solution)[0] == 0


@families
def test_a_comparison_takes_the_settings_of_a_file(family: str, file: Path) -> None:
    for families_asked in ((family,), ()):
        plan = make_plan(Request(families_asked, (str(file),), settings=(NEEDED[family],)))
        assert [entry.family for entry in plan.entries] == [family]


def test_the_family_of_an_imported_file_is_found_with_its_settings(tmp_path: Path) -> None:
    for family, text in FILES.items():
        path = tmp_path / f"{family}.txt"
        path.write_text(text)
        out = tmp_path / f"{family}.npz"
        code, output = run("data", "import", path, "--set", NEEDED[family], "--out", out)
        assert code == 0 and f"instance of {family}" in output


@families
def test_an_environment_takes_the_settings_of_a_file(family: str, file: Path) -> None:
    key, _, value = NEEDED[family].partition("=")
    for given in (file, str(file)):
        env = gymnasium.make(ENVIRONMENTS[family], instances=given, settings={key: value})
        env.reset(seed=0)
        env.close()


def test_a_fraction_of_the_peak_and_a_profile_go_together(tmp_path: Path) -> None:
    """A program read with settings is the program read without, and then set."""
    program = SETS.load("small:test/0")[0]
    path = tmp_path / "p.json"
    path.write_text(to_json(program))
    settings = {"capacity": "1/2", "hardware": "gpu-like", "dead_end": "reserve"}
    read, then = load_program(path, settings), with_settings(load_program(path), settings)
    assert read.content_hash == then.content_hash


def test_the_batch_asked_for_is_what_the_shown_rows_must_pad(tmp_path: Path) -> None:
    """12 of 23 rows are one sequence: 13 rows hold two, fewer than a default batch of three."""
    others = [f"ACG{a}{b},{row}" for row, (a, b) in enumerate(product("ACG", "ACGT"), start=2)]
    path = tmp_path / "own.csv"
    path.write_text("\n".join(["sequence,score", *["AAAAA,1"] * 12, *others[:11]]))
    with pytest.raises(InstanceError, match="2 different sequences, fewer than the batch of 3"):
        load_task(path, {"offline": "0.55"})
    assert load_task(path, {"offline": "0.55", "batch": "2"}).batch_size == 2


def test_a_setting_that_cannot_be_used_is_refused_with_a_file_too(tmp_path: Path) -> None:
    path = tmp_path / "own.json"
    path.write_text(FILES["memory_mapping"])
    with pytest.raises(SettingError, match="capacity 'much' cannot be used"):
        load_program(path, {"capacity": "much"})


@pytest.mark.parametrize(
    ("given", "played"),
    [
        ("mode=static", [{"mode": "static"}]),
        ("mnl=5", [{"mnl": "5"}, {"mnl": "5", "mode": "live"}]),
    ],
)
def test_what_the_user_sets_takes_the_place_of_what_the_familys_variants_set(
    given: str, played: list[dict[str, str]]
) -> None:
    plan = make_plan(
        Request(families=("vm_rescheduling",), instances=("small:train/0",), settings=(given,))
    )
    assert [dict(entry.settings) for entry in plan.entries] == played
