"""The environments' pages say what their code says."""

from __future__ import annotations

import re

import pytest
from sysopt_gym.benchmarks.environment_pages import PAGES, own_environment, page
from sysopt_gym.core.registry import FAMILIES, contender_names, load_problem

# What brings up keys that the default environment's observations do not have.
OTHER_KEYS = {
    "vm_rescheduling": [{"form": "joint"}],
    "vm_allocation": [{"settings": {"moves_per_hour": "5"}}],
    "memory_mapping": [],
    "sequence_design": [{"form": "mutate"}, {"settings": {"rounds": "2", "batch": "4"}}],
    "federated_lr": [],
    "sequence_parallelism": [],
}
# Contenders that the family's page names by their pattern, such as `NAME_server`.
BY_PATTERN = {
    "sequence_design": r"gradient_ascent_(min|soft|eta)",
    "federated_lr": r"\w+_server",
    "vm_allocation": r"\w+_(columns|mixed)",
}
# Of an environment's page in Gymnasium's form, in their order.
SECTIONS = (
    "Action space", "Observation space", "Rewards", "Starting state", "Episode end", "Arguments",
    "A random episode", "Version history",
)  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_a_page_is_what_the_code_says(family: str) -> None:
    text = (PAGES / f"{family}.md").read_text(encoding="utf-8")
    assert text == page(family), "run python -m sysopt_gym.benchmarks.environment_pages"
    headings = [one for one in re.findall(r"^## (.*)$", text, re.M) if one in SECTIONS]
    assert tuple(headings) == SECTIONS


@pytest.mark.parametrize("family", FAMILIES)
def test_a_page_names_all_observations_arguments_and_settings(family: str) -> None:
    text = (PAGES / f"{family}.md").read_text(encoding="utf-8")
    problem, kind = load_problem(family), own_environment(family)
    table = re.findall(r"^\| ([\w, ]+) \| (.*) \| (.*) \|$", text.partition("## Rewards")[0], re.M)
    told = {key: shape for keys, shape, _ in table for key in keys.split(", ")}
    for arguments in ({}, *OTHER_KEYS[family]):
        for key, space in kind(**arguments).observation_space.items():
            assert space.dtype.name in told[key], key
    given = text.partition("## Arguments")[2]
    for name in kind.__init__.__annotations__.keys() - {"return"}:
        assert f"`{name}=" in given
    for name in problem.settings:
        assert f"| `{name}` |" in given
    assert f"v0, version {problem.env_version}:" in text


@pytest.mark.parametrize("family", FAMILIES)
def test_a_picture_is_small(family: str) -> None:
    picture = (PAGES / f"{family}.gif").read_bytes()
    assert picture.startswith(b"GIF8")
    assert len(picture) < 100_000


@pytest.mark.parametrize("family", FAMILIES)
def test_the_page_of_a_family_names_every_contender(family: str) -> None:
    text = (PAGES.parent / f"{family}.md").read_text(encoding="utf-8")
    pattern = re.compile(BY_PATTERN.get(family, "(?!)"))
    missing = [name for name in contender_names(family) if f"`{name}`" not in text]
    assert [name for name in missing if not pattern.fullmatch(name)] == []
