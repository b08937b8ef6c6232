"""Write the environments' pages from their docstrings, spaces and settings, and their pictures.

    python -m sysopt_gym.benchmarks.environment_pages              # pages
    python -m sysopt_gym.benchmarks.environment_pages --pictures   # and the pictures, by playing

docs/environments/FAMILY.md says what the code says: the sections are those of the environment's
docstring, settings are the family's, columns those of the observation. FAMILY.gif is an episode as
`render()` draws it, of a plan that a contender makes without a clock.
"""

from __future__ import annotations

import argparse
import inspect
import io
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..core.budget import Budget
from ..core.play import Task, as_action, make_environment, run
from ..core.problem import Problem
from ..core.registry import FAMILIES, load_contender, load_problem, own_family
from ..core.sources import find_instances
from ..envs.federated_lr.observation import FEATURES
from ..envs.memory_mapping.observation import DECISION_FEATURES, GLOBAL_FEATURES
from ..envs.sequence_parallelism import observation as of_parallelism
from ..envs.vm_allocation import observation as of_allocation
from ..envs.vm_rescheduling.observation import pm_features, vm_features

PAGES = Path(__file__).resolve().parents[1] / "docs" / "environments"
COLORS = 64  # of a picture's palette
FRAME_MS, LAST_MS = 300, 3000
HEADING = re.compile(r"^## (.*)$", re.M)

EPISODE = """```python
import gymnasium as gym
import sysopt_gym  # registers the environments

env = gym.make({make})
observation, info = env.reset(seed=0)
done = False
while not done:
    action = env.action_space.sample(observation["action_mask"])  # legal: the mask is exact
    observation, reward, terminated, truncated, info = env.step(action)
    done = terminated or truncated
print(info["objective"], info["feasible"])
```"""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a page shows of a family beside the docstring.

    Attributes:
        title: of the page.
        instance: the argument for the instance in the picture.
        contender: who plays it; its plan hangs on no clock.
        frames: pictures of the episode, at most.
        legend: what is to be seen.
        make: further arguments of `gym.make` in the random episode.
        columns: names of the columns of the observation's parts, by key.
        settings: of the instance in the picture.
    """

    title: str
    instance: str
    contender: str
    frames: int
    legend: str
    columns: Mapping[str, tuple[str, ...]]
    make: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)


def _names(columns: Any) -> tuple[str, ...]:
    """Return the names of an enumeration's columns in small letters."""
    return tuple(column.name.lower() for column in columns)


SHOWN: Mapping[str, Shown] = {
    "vm_rescheduling": Shown(
        "VM rescheduling",
        "constrained-small:test/0",
        "ha",
        16,
        "Each host is a pair of bars, a bar for each NUMA node, with its VMs from the bottom up "
        "(darker is larger), then whole free 16-core slots in green and other free cores in "
        "orange. The arrow is the last move; FR is the fragment rate.",
        {"pms": pm_features(), "vms": vm_features()},
    ),
    "vm_allocation": Shown(
        "VM allocation",
        "small:val/0",
        "best_fit",
        7,
        "Each host is a pair of bars, a bar for each NUMA node, with its VMs from the bottom up "
        "(darker is larger), then whole free 16-core slots in green and other free cores in "
        "orange. T is the hour, R the rejected % of the core-hours asked for so far, S the "
        "migrations.",
        {
            "pms": _names(of_allocation.Pm),
            "request": _names(of_allocation.Asked),
            "clock": _names(of_allocation.Clock),
            "vms": _names(of_allocation.Vm),
        },
        make=', instances="days:test/0"',
    ),
    "memory_mapping": Shown(
        "Memory mapping",
        "synthetic:test/3",
        "xla_msa",
        24,
        "Across are the program's instructions, upwards the addresses of fast memory; a block is "
        "a buffer while it holds its addresses. Below the white line is the part of slow memory's "
        "time that each instruction's own operands (dark) and copies (orange) take. The upright "
        "line is the decision at hand.",
        {"decisions": DECISION_FEATURES, "globals": GLOBAL_FEATURES},
    ),
    "sequence_design": Shown(
        "Sequence design",
        "ehrlich:small/0",
        "offline_best",
        20,
        "A row is a design, a column a position, a color a letter.",
        {},
        make=', instances="ehrlich:small/0", designs=4',
        settings={"batch": "16"},
    ),
    "federated_lr": Shown(
        "Federated learning rates",
        "small:test/0",
        "fedadam",
        24,
        "Above is the validation loss, from 0 to twice the first; below are the logarithms of "
        "alpha (red) and beta (blue) within their ranges.",
        {"rounds": FEATURES},
    ),
    "sequence_parallelism": Shown(
        "Sequence parallelism",
        "crawl-192k:test/4",
        "ulysses",
        24,
        "Across is time, downwards are the devices. A bar is a group, as high as it has devices "
        "and as long as it takes, its color that of its degree; micro-batches stand one after the "
        "other, gray is idle.",
        {
            "candidates": _names(of_parallelism.Seen),
            "globals": _names(of_parallelism.Whole),
        },
    ),
}


def main() -> None:
    """Read the command line, and write pages and pictures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("families", nargs="*", default=FAMILIES, help="families, all by default")
    parser.add_argument("--pictures", action="store_true", help="draw the pictures, too")
    given = parser.parse_args()
    PAGES.mkdir(exist_ok=True)
    for family in given.families:
        (PAGES / f"{family}.md").write_text(page(family), encoding="utf-8")
        if given.pictures:
            (PAGES / f"{family}.gif").write_bytes(picture(family))


def page(family: str) -> str:
    """Return a family's page as Markdown.

    Args:
        family: its name in the registry.
    """
    problem, shown = load_problem(family), SHOWN[family]
    sections = dict(_sections(problem))
    head = sections.pop("")
    rest = {
        "Observation space": _observation_space(sections["Observation space"], shown),
        "Arguments": _arguments(sections["Arguments"], problem),
        "Version history": _history(sections["Version history"]),
    }
    sections |= rest
    # The order of Gymnasium's pages: the random episode stands before the history.
    history = sections.pop("Version history")
    sections["A random episode"] = EPISODE.format(make=f'"{problem.env_id}"{shown.make}')
    sections["Version history"] = history
    parts = [
        f"# {shown.title}: `{problem.env_id}`",
        head,
        f"![An episode of {shown.title}, played by {shown.contender}]({family}.gif)",
        _caption(family),
        _facts(problem),
        *(f"## {name}\n\n{text}" for name, text in sections.items()),
    ]
    # As links, what a docstring names.
    linked = re.sub(r"(?<![/(\[])docs/(\w+)\.md", r"[\1.md](../\1.md)", "\n\n".join(parts))
    return linked + "\n"


def picture(family: str) -> bytes:
    """Return the GIF file of an episode, drawn by the environment itself.

    Args:
        family: its name in the registry.
    """
    problem, shown = load_problem(family), SHOWN[family]
    (instance,) = find_instances(problem, shown.instance, shown.settings)
    contender = load_contender(family, shown.contender)
    actions = run(contender, problem, Task(instance, Budget(600.0), 0, 0)).actions
    played = problem.environment_view(instance)
    env = make_environment(problem, [played], render_mode="rgb_array")
    env.reset(seed=0, options={"instance": played})
    kept = set(np.linspace(0, len(actions) - 1, shown.frames).round().astype(int))
    stills = []
    for step, row in enumerate(actions):
        env.step(as_action(row))
        if step in kept:
            stills.append(Image.fromarray(np.asarray(env.render())))
    env.close()  # type: ignore[no-untyped-call]
    # Of frames early, midway and last together: each has colors that the others lack.
    some_colors = [np.asarray(stills[len(stills) * part // 4]) for part in (0, 2)]
    palette = Image.fromarray(np.vstack([*some_colors, np.asarray(stills[-1])])).quantize(COLORS)
    some = [still.quantize(palette=palette, dither=Image.Dither.NONE) for still in stills]
    stream = io.BytesIO()
    times = [FRAME_MS] * (len(some) - 1) + [LAST_MS]
    some[0].save(
        stream, "GIF", save_all=True, append_images=some[1:], duration=times, loop=0, optimize=True
    )
    return stream.getvalue()


def _sections(problem: Problem[Any]) -> Iterator[tuple[str, str]]:
    """Yield the docstring's sections, by heading, what comes before the first under ""; rows of
    tables that go on in the next line are joined.
    """
    kind = own_environment(problem.family)
    text = inspect.getdoc(kind) or ""
    text = re.sub(r"^(\|[^\n]*[^|\n])\n(?!\|)([^\n]*\|)$", r"\1 \2", text, flags=re.M)
    before, *named = HEADING.split(text)
    yield "", before.strip()
    for heading, body in zip(named[::2], named[1::2], strict=True):
        yield heading, body.strip()


def own_environment(family: str) -> type[Any]:
    """Return the class of a family's environment.

    Args:
        family: its name in the registry.
    """
    module, _, name = own_family(family).env.partition(":")
    found: type[Any] = getattr(__import__(module, fromlist=[name]), name)
    return found


def _caption(family: str) -> str:
    shown = SHOWN[family]
    settings = "".join(f", `{key}={value}`" for key, value in shown.settings.items())
    legend = f" {shown.legend}" if shown.legend else ""
    said = (
        f"`{shown.contender}` plays `{shown.instance}`{settings}, drawn by the environment's own "
        f"`render()` (`python -m sysopt_gym.benchmarks.environment_pages {family} --pictures`)."
        f"{legend}"
    )
    return textwrap.fill(said, 140, break_long_words=False, break_on_hyphens=False)


def _facts(problem: Problem[Any]) -> str:
    kind = own_environment(problem.family)
    objective = problem.objective(problem.warm_up_instance())
    unit = f", {objective.unit}" if objective.unit else ""
    forms = ", ".join(f"`{form}`" for form in kind.forms if form) or "one"
    many = "vector_entry_point" if own_family(problem.family).vector_env else "sync"
    rows = {
        "made by": f'`gymnasium.make("{problem.env_id}")`',
        "many at once": f'`gymnasium.make_vec("{problem.env_id}", num_envs=32, '
        f'vectorization_mode="{many}")`',
        "forms of the actions": forms,
        "objective of the default task": f"`{objective.name}`{unit}, {objective.direction}d",
        "render modes": ", ".join(f"`{mode}`" for mode in kind.metadata["render_modes"]),
        "version of dynamics and observations": problem.env_version,
        "more": f"[{SHOWN[problem.family].title}](../{problem.family}.md): the problem, files, "
        "solvers, agents, figures; [conventions](../environments.md) of all environments",
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {key} | {said} |" for key, said in rows.items())])


def _observation_space(text: str, shown: Shown) -> str:
    if not shown.columns:
        return text
    lists = [
        f"- `{key}`: " + ", ".join(f"`{name}`" for name in names)
        for key, names in shown.columns.items()
    ]
    return f"{text}\n\nColumns, in their order:\n\n" + "\n".join(lists)


def _arguments(text: str, problem: Problem[Any]) -> str:
    """Return the arguments as a list with their defaults, and the settings as a table."""
    parameters = dict(inspect.signature(own_environment(problem.family)).parameters)
    flat = " ".join(text.split())
    names = "|".join(parameters)
    pieces = re.split(rf"(?:^|(?<=[.;] ))((?:{names})(?:, (?:{names}))*): ", flat)
    lines = []
    for named, said in zip(pieces[1::2], pieces[2::2], strict=True):
        defaults = ", ".join(f"`{name}={parameters[name].default!r}`" for name in named.split(", "))
        lines.append(f"- {defaults}: {said.strip()}")
    table = [
        "| setting | default | meaning |",
        "|---|---|---|",
        *(
            f"| `{name}` | {f'`{one.default}`' if one.default else ''} | {_cell(one.help)} |"
            for name, one in problem.settings.items()
        ),
    ]
    return "\n".join([*lines, "", "Settings, the same as of `--set`:", "", *table])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _history(text: str) -> str:
    entries = re.split(r"\n(?=v\d+, )", text)
    return "\n".join(f"- {' '.join(entry.split())}" for entry in entries)


if __name__ == "__main__":
    main()
