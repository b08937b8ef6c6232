"""The package as it is installed: what the wheel holds, and that it works without the checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import sysopt_gym

ROOT = Path(__file__).resolve().parents[1]
NOT_SHIPPED = ("examples", "tests", "build", "dist", "results", "runs")


def package_folders(root: Path) -> list[Path]:
    """The repository's folders with an __init__.py, tests left out."""
    return [
        Path(folder)
        for folder, below, files in os.walk(root)
        if not prune(below) and "__init__.py" in files
    ]


def prune(folders: list[str]) -> None:
    """Leaves out, in place, the folders that hold no part of the package."""
    folders[:] = [f for f in folders if f not in NOT_SHIPPED and not f.startswith((".", "__"))]


def python(*words: str | Path, cwd: Path, **variables: str) -> str:
    """The output of a Python of its own, started in `cwd`; `variables` join its environment."""
    command = [sys.executable, *map(str, words)]
    done = subprocess.run(
        command, cwd=cwd, env=os.environ | variables, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout without what earlier builds and runs left in it."""
    copy = tmp_path_factory.mktemp("source") / "copy"
    made = [name for name in NOT_SHIPPED if name != "tests"]
    left_out = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", *made)
    shutil.copytree(ROOT, copy, ignore=left_out)
    return copy


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that the copy builds."""
    out = tmp_path_factory.mktemp("wheel")
    python("-m", "build", "--wheel", "--no-isolation", "--outdir", out, source, cwd=out)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel installed in it; the dependencies stay where they are.

    numba's caches of the checkout join it: those of sources that differ are not used, as each names
    the digest of the source that it was compiled from.
    """
    target = tmp_path_factory.mktemp("installed")
    pip = ("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile")
    python(*pip, "--target", target, wheel, cwd=target)
    for folder in package_folders(ROOT):
        own = target / "sysopt_gym" / folder.relative_to(ROOT) / "__pycache__"
        for compiled in (folder / "__pycache__").glob("*.nb[ic]"):
            own.mkdir(exist_ok=True)
            shutil.copy(compiled, own)
    return target


def test_every_package_folder_is_listed() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = [folder.relative_to(ROOT).parts for folder in package_folders(ROOT)]
    assert sorted(settings["packages"]) == sorted(".".join(("sysopt_gym", *f)) for f in folders)


def test_the_checkout_is_importable_from_elsewhere_where_it_is_installed(tmp_path: Path) -> None:
    program = "import sysopt_gym; print(sysopt_gym.__file__, sysopt_gym.__version__)"
    place, version = python("-c", program, cwd=tmp_path).split()
    assert (Path(place), version) == (ROOT / "__init__.py", sysopt_gym.__version__)
    assert f"Version: {version}\n" in python("-m", "pip", "show", "sysopt-gym", cwd=tmp_path)
    assert python("-m", "sysopt_gym", "--version", cwd=tmp_path).strip() == version


@pytest.mark.slow
def test_the_source_distribution_holds_the_examples(source: Path, tmp_path: Path) -> None:
    shutil.copytree(
        ROOT / "examples", source / "examples", ignore=shutil.ignore_patterns("__pycache__")
    )
    python("-m", "build", "--sdist", "--no-isolation", "--outdir", tmp_path, source, cwd=tmp_path)
    (built,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(built) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    files = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "examples").rglob("*")
        if path.suffix in (".py", ".toml")
    }
    assert files <= names and "examples/flower_app/server_app.py" in files
    shutil.rmtree(source / "examples")


@pytest.mark.slow
def test_the_wheel_holds_all_files_in_the_package_folders_and_no_tests(
    source: Path, wheel: Path
) -> None:
    below = {
        file.relative_to(source)
        for folder in package_folders(source)
        for file in (folder.glob("*.py") if folder == source else folder.rglob("*"))
        if file.is_file()
    }
    below |= {Path("py.typed"), Path("constraints.txt")}
    names = zipfile.ZipFile(wheel).namelist()
    held = {Path(name) for name in names if ".dist-info/" not in name}
    assert held == {"sysopt_gym" / file for file in below}


@pytest.mark.slow
def test_the_wheel_holds_instances_checkpoints_configurations_and_templates(wheel: Path) -> None:
    held = zipfile.ZipFile(wheel).namelist()
    for folder, suffix in {
        "datasets/vm_rescheduling/embedded": ".zip",
        "agents/checkpoints": ".safetensors",
        "configs": ".yaml",
        "evaluation/templates": ".j2",
    }.items():
        assert any(n.startswith(f"sysopt_gym/{folder}/") and n.endswith(suffix) for n in held)


@pytest.mark.slow
def test_an_installed_wheel_makes_environments_and_serves_the_command_line(
    installed: Path, tmp_path: Path
) -> None:
    elsewhere = {"PYTHONPATH": str(installed)}
    program = """
import gymnasium, sysopt_gym
registry = sysopt_gym.core.registry
for name in registry.FAMILIES:
    env = gymnasium.make(registry.own_family(name).env_id)
# That of the family that compiles least: an installed package compiles all anew.
env = gymnasium.make("sysopt/FederatedLR-v0")
observation, _ = env.reset(seed=0)
env.step(int(observation["action_mask"].argmax()))
print(sysopt_gym.__file__)
"""
    place = Path(python("-c", program, cwd=tmp_path, **elsewhere).strip())
    assert place == installed / "sysopt_gym" / "__init__.py"

    def run(*words: str) -> str:
        return python("-m", "sysopt_gym", *words, cwd=tmp_path, **elsewhere)

    assert "compare" in run("--help")
    assert "vm_rescheduling" in run("list")
    assert "small" in run("data", "info", "vm_rescheduling", "small:test/0")
    one = ("federated_lr", "small:test/0")
    run("solve", *one, "--with", "fedavg", "--budget", "1", "--out", "plan.json")
    assert json.loads(run("validate", *one, "plan.json"))["feasible"] is True
