r"""Sentences of reports with names in them, and how a page, Markdown and a terminal show them.

In a sentence, **bold** and `code` mark what they do in Markdown; a backslash takes a mark its
meaning, and `literal` puts one before each mark of a name. Everything else that a template shows is
a plain text: a page's are escaped by jinja2, Markdown's by `markdown_cell`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any

from ..core.printable import printable

_MARKS = re.compile(r"\\(.)|(\*\*)|(`)", re.DOTALL)
# What means something in Markdown where it stands; the rest of ASCII is left as it is.
_MEANT = re.compile(
    r"""[`*|$] | \\(?=[!-/:-@\[-`{-~]|$) | <(?=[A-Za-z/!?]) | &(?=\#|\w) | ~(?=~) | \](?=[(\[:])
    | (?<!\w)_ | _(?!\w)
    | ^(?:\#+|[-+=]+|>)(?=\s|$) | (?<=^\d)[.)](?=\s)""",
    re.VERBOSE,
)


class Markdown(str):
    """A text that is Markdown already."""

    __slots__ = ()


def literal(name: str) -> str:
    """Return a name as it is put into a sentence: none of its characters is a mark.

    Args:
        name: any text.
    """
    return re.sub(r"([\\*`])", r"\\\1", printable(name))


def plain_sentence(sentence: str) -> str:
    """Return a sentence without marks, for terminals and attributes."""
    return "".join(text for text, _, _ in _parts(sentence))


def html_sentence(sentence: str) -> Any:
    """Return a sentence as HTML, everything in it escaped."""
    from markupsafe import Markup, escape

    found = Markup()
    for text, bold, code in _parts(sentence):
        part = escape(printable(text))
        part = Markup("<code>{}</code>").format(part) if code else part
        found += Markup("<strong>{}</strong>").format(part) if bold else part
    return found


def markdown_sentence(sentence: str) -> Markdown:
    """Return a sentence as Markdown in one line."""
    found = ""
    for text, bold, code in _parts(sentence):
        part = _code(text) if code else markdown_cell(text)
        found += f"**{part}**" if bold and part == part.strip() else part
    return Markdown(found)


def markdown_cell(value: Any) -> str:
    """Return a value as Markdown in one line that shows it as it is, in a table's cell too."""
    if isinstance(value, Markdown):
        return value
    return _MEANT.sub(r"\\\g<0>", printable(str(value)))


def templates(form: str) -> Any:
    """Return a jinja2 environment with the templates of pages; what they show is escaped.

    Args:
        form: "html" or "md".
    """
    import jinja2
    from markupsafe import escape

    is_html = form == "html"

    def one_line(value: Any) -> Any:
        return printable(value) if type(value) is str else value  # not of Markup

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__ or "", "templates"),
        autoescape=is_html,
        finalize=one_line if is_html else markdown_cell,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["sentence"] = html_sentence if is_html else markdown_sentence
    environment.filters["embedded"] = _embedded
    if is_html:
        environment.filters["plain"] = plain_sentence
        environment.filters["lines"] = lambda text: escape(printable(text, keep="\n"))
    else:
        environment.filters |= {
            "lines": lambda text: Markdown(_fenced(text)),
            "code": lambda text: Markdown(_code(text)),
            "cells": lambda cells: Markdown(" | ".join(map(markdown_cell, cells))),
            "made": Markdown,
        }
    return environment


def _embedded(image: bytes) -> str:
    """Return the address that holds a PNG or GIF file's bytes."""
    kind = "gif" if image.startswith(b"GIF8") else "png"
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"


def _code(text: str) -> str:
    """Return a text as Markdown's code."""
    text, fence = printable(text), _fence(text, 1)
    space = " " if text.startswith("`") or text.endswith("`") or not text.strip() else ""
    return f"{fence}{space}{text}{space}{fence}"


def _fenced(text: str) -> str:
    """Return lines as a block of Markdown's code."""
    fence = _fence(text, 3)
    return f"{fence}\n{printable(text, keep=chr(10)).strip(chr(10))}\n{fence}"


def _fence(text: str, least: int) -> str:
    """Return more backticks than the text holds in a row."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    return "`" * max(least, longest + 1)


def _parts(sentence: str) -> Iterator[tuple[str, bool, bool]]:
    """Yield the texts of a sentence with whether they are bold and whether they are code."""
    text, at, bold, code = "", 0, False, False
    for mark in _MARKS.finditer(sentence):
        text += sentence[at : mark.start()]
        at = mark.end()
        if mark[1] is not None:
            text += mark[1]
            continue
        if text:
            yield text, bold, code
        text = ""
        bold, code = bold != bool(mark[2]), code != bool(mark[3])
    if text + sentence[at:]:
        yield text + sentence[at:], bold, code
