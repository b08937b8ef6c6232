"""What the source of a contender says of it, without running it: its first line, what it imports.

Lists are printed from this, so that they import neither torch nor ray, nor what is not installed.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from .user_code import SUFFIX

TYPES_ONLY = "TYPE_CHECKING"


@cache
def about(place: str) -> str:
    """Return the first paragraph of a place's docstring; of its module's where it has none.

    A name that is bound to a call, as by functools.partial, has that of what is called, with the
    arguments behind it.

    Args:
        place: "package.module:attribute" or "FILE.py:attribute".

    Returns:
        One line; "" where no source can be read.
    """
    module, _, attribute = place.rpartition(":")
    tree = _parsed(_file_of(module))
    if tree is None:
        return ""
    found = _defined(tree, attribute)
    if isinstance(found, ast.Call):
        inner, arguments = _called(found)
        named = _defined(tree, inner)
        said = _sentence(named) or _sentence(tree)
        return f"{said} ({arguments})" if said and arguments else said
    if isinstance(found, ast.Name):
        found = _defined(tree, found.id)
    return _sentence(found) or _sentence(tree)


@cache
def packages_of(place: str) -> tuple[str, ...]:
    """Return the other packages that a place's module imports, itself or by modules of its package.

    Imports within functions are left out: who plays may do without them.

    Args:
        place: "package.module:attribute" or "FILE.py:attribute".

    Returns:
        Names as they are imported, sorted.
    """
    module = place.rpartition(":")[0]
    start = _file_of(module)
    own = module.partition(".")[0]
    found: set[str] = set()
    seen: set[Path] = set()
    ahead = [] if start is None else [start]
    while ahead:
        path = ahead.pop()
        if path in seen:
            continue
        seen.add(path)
        names, files = _imports(path)
        found |= names
        ahead += files
    return tuple(sorted(found - {own} - sys.stdlib_module_names))


def not_installed(packages: Sequence[str]) -> list[str]:
    """Return those of some packages that are not installed.

    Args:
        packages: names as they are imported.
    """
    return [name for name in packages if name.isidentifier() and not _is_there(name)]


@cache
def _is_there(package: str) -> bool:
    try:
        return package in sys.modules or find_spec(package) is not None
    except (ImportError, ValueError):
        return False


@cache
def _file_of(module: str) -> Path | None:
    if module.endswith(SUFFIX):
        return Path(module)
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(SUFFIX):
        return None
    return Path(spec.origin)


@cache
def _parsed(path: Path | None) -> ast.Module | None:
    try:
        return None if path is None else ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None


def _defined(tree: ast.Module, name: str) -> ast.AST | None:
    """Return what a module binds to a name: a function, a class, or the value assigned."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return node
        if isinstance(node, ast.Assign) and name in map(ast.unparse, node.targets):
            return node.value
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name:
            return node.value
    return None


def _called(call: ast.Call) -> tuple[str, str]:
    """Return what a call calls, or what partial is given, and the rest of its arguments."""
    arguments = list(call.args)
    inner = call.func
    if ast.unparse(inner).rpartition(".")[2] == "partial" and arguments:
        inner = arguments.pop(0)
    texts = [ast.unparse(one) for one in arguments]
    texts += [f"{one.arg}={ast.unparse(one.value)}" for one in call.keywords]
    return ast.unparse(inner), ", ".join(texts)


def _sentence(node: ast.AST | None) -> str:
    """Return the first paragraph of a docstring in one line; "" for none."""
    if not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
        return ""
    text = inspect.cleandoc(ast.get_docstring(node) or "").partition("\n\n")[0]
    return " ".join(text.split())


@cache
def _imports(path: Path) -> tuple[frozenset[str], tuple[Path, ...]]:
    """Return the packages that a file imports when it is imported, and the files beside it."""
    tree = _parsed(path)
    names: set[str] = set()
    files: list[Path] = []
    for node in _run_on_import(tree) if tree else ():
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add((node.module or "").partition(".")[0])
        elif isinstance(node, ast.ImportFrom):
            files += _beside(path, node)
    return frozenset(names), tuple(files)


def _run_on_import(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the statements that run when a module is imported: none of functions' bodies."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and TYPES_ONLY in ast.unparse(child.test):
            continue
        yield child
        yield from _run_on_import(child)


def _beside(path: Path, node: ast.ImportFrom) -> list[Path]:
    """Return the files that a relative import may name."""
    folder = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
    places = [folder.with_suffix(SUFFIX)] if node.module else []
    places += [folder / "__init__.py", *(folder / f"{alias.name}.py" for alias in node.names)]
    return [place for place in places if place.is_file()]


def keys_of(place: str) -> list[str]:
    """Return the keys of a dictionary of a module, texts only, in their order.

    Args:
        place: "package.module:attribute" of a dictionary that is written out.
    """
    module, _, attribute = place.rpartition(":")
    tree = _parsed(_file_of(module))
    found = None if tree is None else _defined(tree, attribute)
    keys = found.keys if isinstance(found, ast.Dict) else []
    return [key.value for key in keys if isinstance(key, ast.Constant) and type(key.value) is str]


def fields_of(place: str) -> list[tuple[str, str, str]]:
    """Return the fields of a dataclass: name, default as it is written, and what it is.

    Args:
        place: "package.module:attribute" of a class whose docstring has a section "Attributes".
    """
    module, _, attribute = place.rpartition(":")
    tree = _parsed(_file_of(module))
    found = None if tree is None else _defined(tree, attribute)
    if not isinstance(found, ast.ClassDef):
        return []
    said = _attributes(inspect.cleandoc(ast.get_docstring(found) or ""))
    return [
        (node.target.id, _default(node.value), said.get(node.target.id, ""))
        for node in found.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    ]


def _default(value: ast.expr | None) -> str:
    """Return a default as a configuration's file writes it; "" for one of several keys."""
    if value is None:
        return ""
    if isinstance(value, ast.Constant):
        return '""' if value.value == "" else str(value.value)
    made = {"field(default_factory=list)": "[]", "field(default_factory=dict)": "{}"}
    return made.get(ast.unparse(value), "")


def _attributes(docstring: str) -> dict[str, str]:
    """Return what a docstring says of each attribute, in one line."""
    said: dict[str, str] = {}
    name = ""
    for line in docstring.partition("Attributes:\n")[2].splitlines():
        if line.startswith(" " * 8) and name:
            said[name] += f" {line.strip()}"
        elif line.startswith(" " * 4) and ": " in line:
            name, _, text = line.strip().partition(": ")
            said[name] = text
        else:
            break
    return {one.strip(): text for names, text in said.items() for one in names.split(",")}
