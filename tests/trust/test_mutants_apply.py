"""The lists of mutants follow the code: `make mutants` can plant every fault on them."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
from mutants.mutant import FAMILIES, Mutant

ROOT = Path(__file__).resolve().parents[2]
EVERY = [(family, one) for family in FAMILIES for one in import_module(f"mutants.{family}").MUTANTS]


@pytest.mark.parametrize(
    "mutant", [one for _, one in EVERY], ids=[f"{family}: {one.what}" for family, one in EVERY]
)
def test_a_mutant_is_planted_in_one_place_and_is_still_python(mutant: Mutant) -> None:
    compile(mutant.planted((ROOT / mutant.path).read_text()), mutant.path, "exec")
    assert all((ROOT / test.split("::")[0]).exists() for test in mutant.tests)


@pytest.mark.parametrize("old", ["a = 2", "a"])
def test_a_mutant_whose_text_is_not_there_exactly_once_is_refused(old: str) -> None:
    with pytest.raises(ValueError, match="not once"):
        Mutant("some.py", old, "b", "some fault").planted("a = 1\na = 3\n")
