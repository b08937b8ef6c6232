"""Names are text: whatever a user, a file or a failing contender calls something is shown as it is
written, and is no markup of a terminal, a page or a drawing.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import pytest
import toy_family
import yaml
from markdown_it import MarkdownIt
from result_rows import make_row
from rich.cells import cell_len
from rich.console import Console
from sysopt_gym.agents import history
from sysopt_gym.agents.history import Record
from sysopt_gym.cli import app
from sysopt_gym.core import registry
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.lookup import resolve
from sysopt_gym.core.play import Task, run
from sysopt_gym.core.printable import labels, printable
from sysopt_gym.core.solution import Solution
from sysopt_gym.evaluation.cells import Entry, Folder
from sysopt_gym.evaluation.doctor import Finding
from sysopt_gym.evaluation.listings import listed
from sysopt_gym.evaluation.plots import load_pyplot
from sysopt_gym.evaluation.prose import (
    html_sentence,
    literal,
    markdown_cell,
    markdown_sentence,
    plain_sentence,
)
from sysopt_gym.evaluation.report import write_report
from sysopt_gym.evaluation.runner import Plan, _progress, play
from sysopt_gym.evaluation.screens import facts, health, listing, result_lines
from sysopt_gym.evaluation.table import score
from sysopt_gym.evaluation.training_report import write_training_report
from sysopt_gym.words import tell
from typer.testing import CliRunner

TEXTS = (
    "<script>alert(1)</script>", "layer[/0]", "[bold]loud", "a|b", "a\nb", "a\tb", "\x1b[2Jgone",
    "a\0b", "\u202eright to left", r"$\frac{",
    "\N{SLIGHTLY SMILING FACE} \N{WOMAN}\u200d\N{PERSONAL COMPUTER}",
    "**a** `b` _c_ ![d](e) <!-- f", "&lt;b&gt; &amp;", "_hidden", "# heading", "back\\", "x" * 5000,
)  # fmt: skip
SURROGATE = "half \ud800 a pair"
# Tags that the reports' templates and drawings write themselves.
VOID = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


class Page(HTMLParser):
    """The texts and the tags of a page; styles, scripts and drawings left out."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.texts: list[str] = []
        self.skipped = 0
        self.feed(text)
        self.close()
        self.text = " ".join(self.texts)

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        self.tags.add(tag)
        self.skipped += tag in ("style", "svg", "script")
        assert not [name for name, _ in attributes if name.startswith("on")]

    def handle_endtag(self, tag: str) -> None:
        self.skipped -= tag in ("style", "svg", "script")

    def handle_data(self, data: str) -> None:
        if not self.skipped:
            self.texts.append(data)


def raises_a_text(items: toy_family.Items, budget: Budget, seed: int) -> Solution:
    if items.name == "warm-up":
        return toy_family.greedy(items, budget, seed)
    raise RuntimeError("".join(TEXTS[:-1]) + SURROGATE)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Folder]:
    """A comparison whose instances, contenders and errors are called by the texts."""
    toy_family.register()
    here = Path(__file__).parent
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(here))
        patch.setenv("PYTHONPATH", str(here), prepend=":")
        names = ["".join(TEXTS[:4]) + "!", f"{TEXTS[13]}{TEXTS[9]}"]
        for name in names:
            registry.register("solver", "toy", name, "toy_family:greedy")
        registry.register("solver", "toy", "breaks", "test_names:raises_a_text")
        instances = [toy_family.make_items(seed, text) for seed, text in enumerate(TEXTS)]
        plan = Plan(
            [Entry("toy", items, {}) for items in instances],
            {"toy": ["greedy", "breaks", *names]}, {"toy": Budget(0.2)}, range(1),
        )  # fmt: skip
        folder = Folder(tmp_path_factory.mktemp("compare"))
        play(plan, folder, quiet=True)
        folder.write_run({"command": f"sysopt-gym compare '{TEXTS[0]}'\nsecond", "baseline": {}})
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            write_report(folder)
        yield folder
    toy_family.unregister()


def test_a_page_shows_every_name_as_text(compared: Folder) -> None:
    written = (compared.path / "report.html").read_text()
    page = Page(written)
    for text in TEXTS:
        assert printable(text) in page.text, text[:40]
    assert printable(SURROGATE) in page.text
    assert written.count("<script") == 1, "the page's own"
    assert not VOID.search(page.text)


def test_markdown_shows_every_name_as_text_in_tables_of_so_many_columns(compared: Folder) -> None:
    text = (compared.path / "report.md").read_text()
    shown = Page(MarkdownIt("commonmark").enable("table").render(text))
    for name in TEXTS:
        assert printable(name) in shown.text, name[:40]
    assert not shown.tags & {"script", "em", "img", "a", "b"}
    assert not VOID.search(text)
    widths = [len(re.findall(r"(?<!\\)\|", line)) for line in text.splitlines()]
    tables = [
        {width for width in map(int, block.split())}
        for block in " ".join(map(str, widths)).replace(" 0", "\n").splitlines()
        if block.strip()
    ]
    assert len(tables) >= 3
    assert all(len(table) == 1 for table in tables)


def test_rows_are_kept_with_the_names_as_they_are(compared: Folder) -> None:
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(compared.path / "results.parquet")
    assert set(table["instance"].to_pylist()) == set(TEXTS)


def test_lines_on_a_result_stay_lines(compared: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    rows, _ = score(compared.rows().values())
    lines = result_lines(rows, compared.path)
    for line in lines:
        tell(line)
    told = capsys.readouterr().out
    assert told.count("\n") == len(lines)
    assert printable("".join(TEXTS[:4])) in told
    assert not VOID.search(told.replace("\n", ""))


@pytest.mark.parametrize("width", [40, 200])
def test_tables_of_a_terminal_show_brackets_and_keep_their_width(width: int) -> None:
    items = [toy_family.make_items(0, text) for text in TEXTS[:8]]
    for text in TEXTS:
        found = Finding(text, "off", text, f"{text}: pip install 'sysopt-gym[agents]'")
        for table in (facts(toy_family.PROBLEM, items[:2]), health([found])):
            console = Console(width=width, file=io.StringIO(), force_terminal=False)
            console.print(table)
            told = console.file.getvalue()  # type: ignore[attr-defined]
            assert all(cell_len(line) <= width for line in told.splitlines())
            assert not VOID.search(told.replace("\n", ""))
        joined = "".join(told.split())
        assert width == 40 or "".join(printable(text[:40]).split()) in joined
        assert width == 40 or "sysopt-gym[agents]" in joined


def test_remedies_keep_their_extras_at_forty_columns() -> None:
    console = Console(width=40, file=io.StringIO())
    console.print(health([Finding("ray", "note", "missing", "pip install 'sysopt-gym[agents]'")]))
    told = console.file.getvalue()  # type: ignore[attr-defined]
    assert "'sysopt-gym[agents]" in told


def test_lists_of_families_and_contenders_print_names_of_other_packages(toy: None) -> None:
    registry.register("solver", "toy", "mine[/x]", "toy_family:greedy")
    console = Console(width=120, file=io.StringIO())
    for table in listing(listed("solvers")):
        console.print(table)
    assert "mine[/x]" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_bar_of_progress_shows_any_name(capsys: pytest.CaptureFixture[str]) -> None:
    cells: Any = [
        SimpleNamespace(
            contender="layer[/0]",
            entry=SimpleNamespace(family="a\x1b[2J", instance=SimpleNamespace(name=text)),
        )
        for text in (*TEXTS, SURROGATE)
    ]
    with _progress(cells, quiet=False) as advance:
        for cell in cells:
            advance(cell, "plays")
            advance(cell, "ended")
    assert not VOID.search(re.sub(r"\x1b\[[\d;?]*[A-Za-z]|[\r\n]", "", capsys.readouterr().out))


@pytest.mark.parametrize("text", ["[/x]", "[bold]", "no[agents]such", "a\x1b[2Jb"])
def test_errors_are_printed_with_their_brackets(text: str) -> None:
    ran = CliRunner().invoke(app, ["data", "info", "vm_rescheduling", text])
    assert ran.exit_code == 2
    assert printable(text) in ran.output
    assert not VOID.search(ran.output.replace("\n", ""))


def test_an_argument_that_is_no_text_is_refused_in_text() -> None:
    ran = CliRunner().invoke(app, ["data", "info", "vm_rescheduling", SURROGATE])
    assert ran.exit_code == 2
    assert not VOID.search(ran.output.replace("\n", ""))


def test_sentences_mark_what_is_theirs_and_nothing_in_names() -> None:
    for text in TEXTS:
        sentence = f"**{literal(text)}** wins; run `it {literal(text)}`, not {literal(text)}."
        wanted = printable(text)
        assert plain_sentence(sentence) == f"{wanted} wins; run it {wanted}, not {wanted}."
        page = Page(str(html_sentence(sentence)))
        assert "".join(page.texts) == f"{wanted} wins; run it {wanted}, not {wanted}."
        assert page.tags == {"strong", "code"}
        shown = Page(MarkdownIt("commonmark").render(markdown_sentence(sentence)))
        assert "".join(shown.texts).strip() == "".join(page.texts), text
        assert shown.tags == {"p", "strong", "code"}


def test_a_cell_of_markdown_reads_as_its_text() -> None:
    table = MarkdownIt("commonmark").enable("table")
    for text in TEXTS:
        shown = Page(table.render(f"| a | b |\n|---|---|\n| {markdown_cell(text)} | end |\n"))
        cells = [one for one in "".join(shown.texts).split("\n") if one]
        assert cells == ["a", "b", printable(text), "end"]


def test_labels_of_drawings_are_short_differ_and_are_all_in_the_legend() -> None:
    long = [f"{'x' * 3000}{end}" for end in ("a", "b", "a" * 40, "b" + "a" * 40)]
    found = labels([*long, "_hidden", "plain"])
    assert len(set(found.values())) == len(found)
    assert all(len(label) < 60 and not label.startswith("_") for label in found.values())
    assert found["plain"] == "plain"


NAME = "layer[/0] <b> $\\frac{ \n\x1b|" + "x" * 300
PLANNERS = {
    "vm_rescheduling": "greedy",
    "memory_mapping": "greedy",
    "federated_lr": "fedavg",
    "sequence_design": "ga",
}


@pytest.mark.parametrize("family", PLANNERS)
def test_pictures_of_a_family_are_drawn_under_any_name(family: str) -> None:
    problem = registry.load_problem(family)
    contender = registry.load_contender(family, PLANNERS[family])
    instance = problem.warm_up_instance()
    solution = run(contender, problem, Task(instance, Budget(1.0), 0, 0))
    played = replace(instance, name=NAME)
    load_pyplot()
    place = labels([NAME])[NAME]
    row = replace(
        make_row(place, place), family=family, instance_hash=instance.content_hash,
        actions=solution.actions.tolist(),
    )  # fmt: skip
    rows, _ = score([row])
    shown = {instance.content_hash: replace(played, name=place)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = [
            picture
            for where in registry.pictures_of(problem)
            for picture in resolve(where)(rows, shown, {place: "#0072B2"})
        ]
    assert drawn and all(picture.png.startswith(b"\x89PNG") for picture in drawn)


@pytest.mark.parametrize("family", PLANNERS)
def test_an_environment_draws_an_instance_of_any_name(family: str) -> None:
    problem = registry.load_problem(family)
    instance = replace(problem.warm_up_instance(), name=NAME)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with gym.make(
            f"sysopt_gym:{problem.env_id}", instances=[instance], render_mode="rgb_array"
        ) as env:
            env.reset(seed=0)
            assert env.render().ndim == 3  # type: ignore[union-attr]


@pytest.mark.parametrize("stage", ["ppo", "alphazero"])
def test_a_page_of_training_shows_its_folder_and_sets_as_text(tmp_path: Path, stage: str) -> None:
    name = "<b>[bold]|`x` **y**\nz $\\frac{"
    folder = tmp_path / name.replace("/", "")
    folder.mkdir()
    instances = "<i>|set[0]"
    config = {
        "family": "vm_rescheduling", "recipe": "", "out": str(folder), "seed": 0,
        "validation": [instances], stage: {"iterations": 2, "instances": ["small:train/0"]},
    }  # fmt: skip
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    for done in (1, 2):
        history.append(folder, Record(
            stage, done, 100 * done, 1.0, return_mean=0.1 * done, objective={instances: 0.5},
            losses={"loss<script>": 1.0 / done}, timers={"sampling": 1.0},
            validation={instances: {"sample": 0.5 / done, "greedy": 0.4}},
        ))  # fmt: skip
    lines = write_training_report(folder, solvers=False)
    assert any(name.split("\n")[0] in line or instances in line for line in lines)
    page = Page((folder / "report.html").read_text())
    shown = Page(
        MarkdownIt("commonmark").enable("table").render((folder / "report.md").read_text())
    )
    for found in (page, shown):
        assert printable(folder.name) in found.text
        assert instances in found.text
        assert not found.tags & {"script", "b", "i", "em"}
