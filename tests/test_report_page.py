"""The report's page at any size: read by a parser, and used in a browser without a window."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import toy_family
from big_report import big_folder
from result_rows import make_row
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.contracts import Picture
from sysopt_gym.core.results import Row
from sysopt_gym.evaluation.cells import Entry, Folder
from sysopt_gym.evaluation.headline import lead_of
from sysopt_gym.evaluation.plots import APART, PALETTE, SIZE, _apart, load_pyplot
from sysopt_gym.evaluation.report import write_report
from sysopt_gym.evaluation.runner import Plan, play
from sysopt_gym.evaluation.statistics import standings
from sysopt_gym.evaluation.table import score

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
DRIVER = Path(__file__).parent / "report_driver.js"
SCREEN = 900  # pixels
FRAME = """<iframe src="driven.html" style="width:{width}px; height:{height}px; border:0"></iframe>
<pre id="found"></pre>
<script>onmessage = (told) => (document.querySelector("pre").textContent = told.data)</script>"""


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of six families, 15 contenders and 100 instances."""
    folder = big_folder(tmp_path_factory.mktemp("big"))
    write_report(folder)
    return folder.path / "report.html"


@pytest.fixture(scope="module")
def pictured(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The page of a small family that was played, with a picture of one instance."""

    def draw(rows: list[Row], instances: Any, colors: dict[str, str]) -> list[Picture]:
        shown = next(row for row in rows if row.instance == "toy/1")
        return [Picture("A toy", "How to read it.", b"png", (shown.instance_hash,), "It is red.")]

    folder = Folder(tmp_path_factory.mktemp("pictured"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toy_family, "pictures", draw)
        toy_family.register()
        entries = [Entry("toy", items, {}) for items in toy_family.PROBLEM.sets.load("toy")]
        names = ["agent", "best", "greedy", "random", "late", "raises"]
        play(Plan(entries, {"toy": names}, {"toy": Budget(0.2)}, range(2)), folder, quiet=True)
        write_report(folder)
        yield folder.path / "report.html"
        toy_family.unregister()


class Page(HTMLParser):
    """What a page holds that a reader who does not see it depends on."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tables: list[Counter[str]] = []
        self.pictures: list[str] = []
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag not in ("path", "g", "use", "defs", "clippath", "rect") and found.get("id"):
            self.ids.append(str(found["id"]))
        if tag == "a":
            self.links.append(str(found["href"]))
        if tag == "table":
            self.tables.append(Counter())
        if tag in ("caption", "tr", "th"):
            self.tables[-1][tag if tag != "th" else f"th {found.get('scope')}"] += 1
        if tag == "img" or found.get("role") == "img":
            self.pictures.append(str(found.get("alt" if tag == "img" else "aria-label")))


@pytest.mark.parametrize("name", ["big", "pictured"])
def test_tables_have_captions_and_scopes_and_pictures_say_the_result(
    name: str, request: pytest.FixtureRequest
) -> None:
    page = Page(request.getfixturevalue(name))
    assert page.tables and page.pictures
    for table in page.tables:
        assert table["caption"] == 1 and table["th None"] == 0
        assert table["th col"] > 1 and table["th row"] == table["tr"] - 1
    for told in page.pictures:
        title, _, result = told.partition(". ")
        assert title and len(result) > 8
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links} <= set(page.ids)


def test_one_verdict_comes_first_and_sections_are_folded_with_their_answers(big: Path) -> None:
    text = big.read_text()
    first = text[text.index("<main>") : text.index("</section>")]
    assert "Who wins where" in first and first.count('<th scope="row">') == 6
    assert "One contender clearly wins in" in first
    for section in text.split("<section id=")[2:]:
        answer, _, inside = section.partition('<details class="all">')
        assert re.search("(wins|comes first|share the first place) under 1 s a plan", answer)
        assert "<table" not in answer and "<table" in inside and 'class="note"' not in answer
        notes = int(re.findall(r"<summary>(\d+) notes?</summary>", inside)[0])
        assert inside.count('<li class="note">') == notes


def test_an_instance_leads_to_its_plan_its_seeds_and_its_picture(pictured: Path) -> None:
    text = pictured.read_text()
    lines = re.findall(r'<tr><th scope="row" title="hash .*?</th>', text)
    labels = [re.findall(r">([a-z]+(?: \d)?)</a>", line) for line in lines]
    assert labels == [["plan", "seeds"], ["plan", "seeds", "picture 1"], ["plan", "seeds"]]
    assert '<img alt="A toy. It is red."' in text
    assert text.count("The best plan of toy/") == 2 * 3  # a caption, and the name of its box


@pytest.mark.usefixtures("toy")
def test_notes_and_links_are_of_their_instance_and_not_of_one_whose_name_begins_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw(rows: list[Row], instances: Any, colors: dict[str, str]) -> list[Picture]:
        hashes = [row.instance_hash for row in rows if row.instance == "x:test/1"]
        return [Picture("A toy", "How to read it.", b"png", tuple(set(hashes)))]

    monkeypatch.setattr(toy_family, "pictures", draw)
    folder = Folder(tmp_path)
    rows = []
    for at, name in enumerate(("x:test/1", "x:test/10", "x:test/11")):
        entry = Entry("toy", toy_family.make_items(at, name), {})
        folder.keep_instance(entry)
        settings = {"of": "eleven"} if at == 2 else {}
        note = "its bound is none" if at == 0 else ""
        made = make_row(
            "greedy", name, family="toy", instance_hash=entry.instance_hash, settings=settings,
            note=note, actions=[0], env_version=toy_family.PROBLEM.env_version,
        )  # fmt: skip
        rows.append(json.dumps(made.to_json()) + "\n")
    (tmp_path / "rows.jsonl").write_text("".join(rows))
    write_report(folder)
    text = (tmp_path / "report.html").read_text()
    assert re.findall(r'<li class="note">(.*?)</li>', text) == [
        "greedy on x:test/1: its bound is none."
    ]
    one, other = text.split("<section id=")[2:]
    assert '<li class="note">' in one and '<li class="note">' not in other
    linked = re.findall(r'title="hash .{16}">(x:test/\d+)<small>.*?>picture 1</a>', text)
    assert linked == ["x:test/1"]


def test_marks_keep_their_distance_and_stay_in_the_plot() -> None:
    pyplot = load_pyplot()
    _, axes = pyplot.subplots()
    axes.set_xscale("log")
    axes.set_xlim(0.01, 10.0)
    axes.set_ylim(0.0, 1.0)
    import numpy as np

    places = np.array([[1.0, 0.5]] * 15 + [[9.9, 0.5]] * 3)
    moved = np.array(_apart(axes, places))
    assert moved[0] == pytest.approx(1.0) and ((moved > 0.01) & (moved < 10.0)).all()
    points = np.log10(moved) / 3 * 72 * SIZE[0] * 0.7
    assert np.diff(np.sort(points)).min() >= APART - 1e-6
    pyplot.close("all")


def test_no_two_colors_of_contenders_are_near() -> None:
    import numpy as np

    shades = np.array([[int(c[at : at + 2], 16) / 255 for at in (1, 3, 5)] for c in PALETTE])
    light = np.where(shades <= 0.04045, shades / 12.92, ((shades + 0.055) / 1.055) ** 2.4)
    cones = np.cbrt(light @ np.array(TO_CONES).T) @ np.array(TO_OKLAB).T
    away = np.linalg.norm(cones[:, None] - cones[None], axis=-1) + np.eye(len(PALETTE))
    assert away.min() > 0.11


# Of linear sRGB to OKLab (Ottosson 2020).
TO_CONES = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
TO_OKLAB = (
    (0.2104542553, 0.7936177850, -0.0040720468),
    (1.9779984951, -2.4285922050, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.8086757660),
)


def test_who_is_first_is_told_with_the_record_against_the_next() -> None:
    objectives = {"a": [1.0, 1.0, 1.0], "b": [2.0, 2.0, 1.0], "c": [3.0, 3.0, 3.0]}
    rows, _ = score(
        make_row(name, f"i{at}", value)
        for name, found in objectives.items()
        for at, value in enumerate(found)
    )
    lead = lead_of(rows, standings(rows, "c"))
    assert [line.contender for line in lead.first] == ["a"] and lead.other == "b"
    assert lead.record == (2, 1, 0) and lead.how == "comes first"
    failed = [replace(row, status="late") for row in rows]
    assert lead_of(failed, standings(failed, "c")).first == []


def used(page: Path, folder: Path, width: int) -> dict[str, Any]:
    """What the driver finds in a page in a browser; in a frame, as windows have a least width."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"no browser is installed: none of {', '.join(BROWSERS)}")
    text = page.read_text().replace(
        "<head>",
        "<head><script>const errors = [];"
        "addEventListener('error', (event) => errors.push(event.message))</script>",
    )
    text = text.replace("</body>", f"<script type='module'>{DRIVER.read_text()}</script></body>")
    (folder / "driven.html").write_text(text)
    frame = folder / "frame.html"
    frame.write_text(FRAME.format(width=width, height=SCREEN))
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/browser",
        "--window-size=1600,1000", "--virtual-time-budget=60000", "--dump-dom", frame.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    (found,) = re.findall('<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    return dict(json.loads(html.unescape(found)))


@pytest.mark.parametrize("width", [390, 900, 1400])
def test_in_a_browser_every_table_sorts_and_filters_and_links_open_what_they_lead_to(
    big: Path, tmp_path: Path, width: int
) -> None:
    found = used(big, tmp_path, width)
    assert found["errors"] == [] and found["wrong"] == []
    assert found["width"] == width
    assert found["tables"] == 1 + 6 * 4 and found["moved"] > 200
    assert found["fields"] == 6 * 4 and found["folded"] >= 6 * 4
    assert found["height"] < (12 if width == 390 else 4) * SCREEN


def test_in_a_browser_plans_and_pictures_open(pictured: Path, tmp_path: Path) -> None:
    found = used(pictured, tmp_path, 900)
    assert found["errors"] == [] and found["wrong"] == []
    assert found["links"] == 3 + 3 + 1
