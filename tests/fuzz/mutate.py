"""Break files: cut, flip, swap tokens for nasty ones, repeat lines, break members of archives."""

from __future__ import annotations

import gzip
import io
import re
import zipfile
from collections.abc import Callable, Sequence

from hypothesis import strategies as st

NASTY: tuple[bytes, ...] = (
    b"", b"0", b"-1", b"1e999", b"-1e-999", b"NaN", b"Infinity", b"9" * 30, b"9" * 5000,
    b"0" * 5000 + b"1", b"1" * 200_000, b"9223372036854775808", b"18446744073709551615", b"1e18",
    b"0.1", b"1.5e-320", b"null", b"true", b'""', b'"x"', b'"\\ud800"', b'"\\u0000"', b"[]", b"{}",
    b"[[]]", b'{"a": []}', b"[" * 100_000, b'{"a":' * 2000, b"(" * 5000, b"\xff\xfe",
    b"\xed\xa0\x80",
    b"\x00", b"\r", b"\xef\xbb\xbf", b'"', b"'", b",", b";", b"\t", b"\n\n", b"../../x",
    b"/dev/zero",
    b"*a", b"&a [*a, *a]", b"<<: *a", b"!!python/object/apply:os.getpid []", b"<script>", b"[/x]",
    b"1_000", b"\xd9\xa1", b"1,000.5", b"0x10", b"2001-99-99", b"1:" * 3000 + b"1",
)  # fmt: skip
_TOKEN = re.compile(rb'"[^"\n]*"|[-+]?\d[\d.eE+-]*|[A-Za-z_][\w.-]*|[\[\]{}(),:;=]')
ZIP, GZIP = b"PK\x03\x04", b"\x1f\x8b"
Step = tuple[str, int, int]


def _cut(data: bytes, a: int, b: int) -> bytes:
    return data[: a % (len(data) + 1)]


def _flip(data: bytes, a: int, b: int) -> bytes:
    at = a % max(1, len(data))
    return data[:at] + bytes([b % 256]) + data[at + 1 :]


def _found(data: bytes, a: int) -> re.Match[bytes] | None:
    """The first token from place `a` on; of a file of megabytes a list of all takes too long."""
    return _TOKEN.search(data, a % max(1, len(data))) or _TOKEN.search(data)


def _token(data: bytes, a: int, b: int) -> bytes:
    found = _found(data, a)
    if found is None:
        return _insert(data, a, b)
    return data[: found.start()] + NASTY[b % len(NASTY)] + data[found.end() :]


def _swap(data: bytes, a: int, b: int) -> bytes:
    one, other = _found(data, a), _found(data, b * 257)
    if one is None or other is None:
        return data
    one, other = sorted((one, other), key=re.Match.start)
    if one.end() > other.start():
        return data
    between = data[one.end() : other.start()]
    return data[: one.start()] + other[0] + between + one[0] + data[other.end() :]


def _insert(data: bytes, a: int, b: int) -> bytes:
    at = a % (len(data) + 1)
    return data[:at] + NASTY[b % len(NASTY)] + data[at:]


def _line(data: bytes, a: int, b: int) -> bytes:
    """Drop, double, repeat or move a line."""
    lines = data.splitlines(keepends=True)
    if not lines:
        return data
    at = a % len(lines)
    line = lines.pop(at)
    times = (0, 2, 1, 1000)[b % 4]
    to = b // 4 % (len(lines) + 1) if times == 1 else at
    return b"".join([*lines[:to], *[line] * times, *lines[to:]])


def _chunk(data: bytes, a: int, b: int) -> bytes:
    """Repeat a piece of the file, or copy it over another place."""
    start = a % (len(data) + 1)
    piece = data[start : start + 1 + b % 64]
    at = b % (len(data) + 1)
    return data[:at] + piece * (1 + b % 3) + data[at + (a % 2) * len(piece) :]


WAYS: dict[str, Callable[[bytes, int, int], bytes]] = {
    "token": _token, "flip": _flip, "swap": _swap, "insert": _insert, "line": _line, "cut": _cut,
    "chunk": _chunk,
}  # fmt: skip
STEPS: st.SearchStrategy[list[Step]] = st.lists(
    st.tuples(st.sampled_from(list(WAYS)), st.integers(0, 2**24), st.integers(0, 2**16)),
    min_size=1, max_size=4,
)  # fmt: skip


def mutated(data: bytes, steps: Sequence[Step]) -> bytes:
    """Break a file.

    Args:
        data: its content.
        steps: ways, each with two numbers that choose where and what; those of a zip or gzip break
            what is in it, except for one in eight.
    """
    for way, a, b in steps:
        data = _broken(data, way, a, b)
    return data


def _broken(data: bytes, way: str, a: int, b: int) -> bytes:
    inside = a % 8 != 0
    if inside and data.startswith(GZIP):
        try:
            return gzip.compress(WAYS[way](gzip.decompress(data), a // 8, b), 1, mtime=0)
        except Exception:  # an earlier step has damaged the gzip
            pass
    if inside and data.startswith(ZIP):
        try:
            return _broken_zip(data, way, a // 8, b)
        except Exception:  # an earlier step has damaged the zip
            pass
    return WAYS[way](data, a, b)


def _broken_zip(data: bytes, way: str, a: int, b: int) -> bytes:
    """Break, swap, double or drop a member; the checksums of the new zip are right."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    at, a = a % len(members), a // len(members)
    name, content = members[at]
    kind = a % 16
    if kind == 0:
        members.pop(at)
    elif kind == 1:
        members.append((name, members[b % len(members)][1]))
    elif kind == 2:
        members[at] = (members[b % len(members)][0], content)
    elif content.startswith(b"\x93NUMPY") and b"<U" in content[:64]:
        members[at] = (name, _broken_text(content, way, a // 16, b))
    else:
        members[at] = (name, _broken(content, way, a // 16, b))
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return made.getvalue()


def _broken_text(npy: bytes, way: str, a: int, b: int) -> bytes:
    """Break the text that a .npy holds, as a file that a program wrote would."""
    import numpy as np

    text = str(np.load(io.BytesIO(npy), allow_pickle=False))
    broken = WAYS[way](text.encode(), a, b).decode("utf-8", "replace")
    stream = io.BytesIO()
    np.save(stream, np.array(broken))
    return stream.getvalue()
