"""What the shell completes: names of families, sets, contenders and configurations.

Nothing is imported for it but tables of names: neither torch nor ray, nor any contender.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from .core.problem import Problem

Completion = tuple[str, str]  # a word, and what it stands for
CONFIGS = Path(__file__).parent / "configs"


def families(ctx: typer.Context, incomplete: str) -> list[Completion]:
    """Complete names of families; behind a list option, what that option takes."""
    option = _open_list(_words())
    if option in _OF_OPTIONS:
        return _OF_OPTIONS[option](ctx, incomplete)
    return _starting(((name, problem.title) for name, problem in _problems([])), incomplete)


def instances(ctx: typer.Context, incomplete: str) -> list[Completion]:
    """Complete names of instance sets, of the families named so far."""
    sets = (pair for _, problem in _problems(_named(ctx)) for pair in problem.sets.items())
    return _starting(sets, incomplete)


def contenders(ctx: typer.Context, incomplete: str) -> list[Completion]:
    """Complete names of contenders, of the families named so far."""
    from .core.registry import contender_entry, contender_names

    found = (
        (name, contender_entry(family, name).role)
        for family, _ in _problems(_named(ctx))
        for name in contender_names(family)
    )
    return _starting(found, incomplete)


def settings(ctx: typer.Context, incomplete: str) -> list[Completion]:
    """Complete names of settings, of the families named so far."""
    found = (
        (f"{name}=", setting.help)
        for _, problem in _problems(_named(ctx))
        for name, setting in problem.settings.items()
    )
    return _starting(found, incomplete)


def configurations(incomplete: str) -> list[Completion]:
    """Complete names of training configurations."""
    return _starting(configuration_lines().items(), incomplete)


def benchmarks(incomplete: str) -> list[Completion]:
    """Complete names of families and benchmarks."""
    from .core.registry import BENCHMARKS

    found = [*((name, problem.title) for name, problem in _problems([]))]
    return _starting([*found, *((name, "a benchmark") for name in BENCHMARKS)], incomplete)


def configuration_lines() -> dict[str, str]:
    """Return the shipped training configurations: name -> the first sentence of its file."""
    lines = {}
    for path in sorted(CONFIGS.glob("*.yaml")):
        comment: list[str] = []
        for line in path.read_text(encoding="utf-8").splitlines():
            if not line.startswith("# ") or line.startswith("#  "):
                break
            comment.append(line.removeprefix("# "))
        lines[path.stem] = " ".join(comment).partition(". ")[0].rstrip(".") + "."
    return lines


def _problems(named: Sequence[str]) -> list[tuple[str, Problem[Any]]]:
    from .core.registry import family_names, load_problem

    return [(name, load_problem(name)) for name in family_names() if not named or name in named]


def _named(ctx: typer.Context) -> list[str]:
    """Return the families on the command line so far."""
    from .core.registry import family_names

    given = [ctx.params.get("family"), *(ctx.params.get("families") or ()), *_words()]
    return [name for name in family_names() if name in given]


def _starting(found: Iterable[Completion], incomplete: str) -> list[Completion]:
    return [(word, about) for word, about in dict(found).items() if word.startswith(incomplete)]


def _words() -> list[str]:
    """Return the words before the one to complete, as the shell's script passes them."""
    text = os.environ.get("_TYPER_COMPLETE_ARGS") or os.environ.get("COMP_WORDS", "")
    try:
        words = shlex.split(text)
    except ValueError:  # a quote that is not closed yet
        words = text.split()
    count = os.environ.get("COMP_CWORD", "")
    return words[: int(count)] if count.isdigit() else words


def _open_list(words: Sequence[str]) -> str:
    """Return the list option whose values are being typed; "" for none."""
    from .words import LIST_OPTIONS

    last = next((word for word in reversed(words) if word.startswith("-")), "")
    return last if last in LIST_OPTIONS else ""


_OF_OPTIONS: dict[str, Callable[[typer.Context, str], list[Completion]]] = {
    "--instances": instances,
    "--contenders": contenders,
    "--set": settings,
}
