"""Run a contender's process where it sees the system, this package and its own files, nothing else.

Bubblewrap does it where it is installed, else `unshare` of util-linux, both with a user namespace:
no privileges are needed, and none are kept.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

from ..core.entries import Entry
from ..core.errors import SettingError
from ..core.user_code import SUFFIX

PACKAGE = Path(__file__).parents[1]
SYSTEM = (
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store", "/etc/alternatives",
    "/etc/group", "/etc/ld.so.cache", "/etc/localtime", "/etc/nsswitch.conf", "/etc/passwd",
    "/sys/devices/system/cpu",
)  # fmt: skip
PASSING = ("/tmp", "/dev", "/proc")  # these are new and empty, or the process's own
SCRATCH, SCRATCH_BYTES = ("/tmp", "/dev/shm"), 2**28  # where it may write, in memory
DEVICES = ("null", "zero", "full", "random", "urandom")
CACHES = f"{SCRATCH[0]}/numba-caches"
ENVIRONMENT = {"HOME": SCRATCH[0], "TMPDIR": SCRATCH[0], "NUMBA_CACHE_DIR": CACHES}
_PR_SET_DUMPABLE = 4

Way = Callable[[list[str], Sequence[Path], Sequence[Path]], list[str]]


def isolated(command: list[str], visible: Iterable[Path], hidden: Iterable[Path]) -> list[str]:
    """Return a command that runs another one isolated.

    The process has no network and no other processes to see. It sees the system's programs, Python
    with all that can be imported, this package, and what is visible, and may change none of it.
    Folders for temporary files, its home among them, are empty, small and its own. Open file
    descriptors are handed down. All that it starts ends with it, and it ends with the process that
    starts it.

    Args:
        command: the command.
        visible: further files and folders to show.
        hidden: files and folders that must not be seen even within those shown. Of two that lie
            within one another, the inner one counts.

    Raises:
        SettingError: this system offers no way to do it.
    """
    return _way()(command, [*_base(), *visible], list(hidden))


@contextlib.contextmanager
def closed_memory() -> Iterator[None]:
    """Close this process's memory, environment and open files to its user's other processes.

    On Linux only, and not to root's, which may read everything.
    """
    if sys.platform != "linux":
        yield
        return
    prctl = ctypes.CDLL(None).prctl
    prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    try:
        yield
    finally:
        prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)


def needed(entry: Entry) -> list[Path]:
    """Return the user's files that a contender is made of: its policy, or its file's folder.

    Args:
        entry: of the contender, in the registry.
    """
    file = entry.place.rpartition(":")[0]
    found = [Path(file), Path(file).parent] if file.endswith(SUFFIX) else []
    return found + ([Path(entry.policy)] if entry.policy else [])


def hidden_from(arguments: Iterable[str]) -> tuple[Path, ...]:
    """Return the files of instances, which isolated contenders must not see.

    Args:
        arguments: what the user named as instances; names of sets are not among the result.

    Raises:
        SettingError: contenders cannot be isolated here.
    """
    _way()
    found = []
    for argument in arguments:
        with contextlib.suppress(RuntimeError, OSError):  # what is no path at all is refused later
            path = Path(argument).expanduser().absolute()
            found += [path] if path.exists() else []
    return tuple(found)


def settle() -> None:
    """Let an isolated process use this package's compiled code; a process that is not goes on.

    numba keeps a cache only where it may write, so the files of ours are linked from one that is
    the process's own.
    """
    if os.environ.get("NUMBA_CACHE_DIR") != CACHES:
        return
    try:
        from numba.core.caching import _CacheLocator
    except ImportError:  # its name is private; compiling again takes time and nothing else
        return
    for folder in [one for one in PACKAGE.iterdir() if (one / "__init__.py").is_file()]:
        for file in folder.rglob("__pycache__/*.nb[ic]"):
            source = file.parents[1] / "__init__.py"
            own = Path(CACHES, _CacheLocator.get_suitable_cache_subpath(str(source)))
            own.mkdir(parents=True, exist_ok=True)
            (own / file.name).symlink_to(file)


def _base() -> list[Path]:
    """Return what every contender sees."""
    places = [*SYSTEM, sys.prefix, sys.base_prefix, sys.executable, str(PACKAGE), *sys.path]
    places += os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    return [Path(place).absolute() for place in places if place and Path(place).exists()]


@cache
def _way() -> Way:
    """Return the first way that works here."""
    ways: dict[str, Way] = {"bwrap": _by_bubblewrap, "unshare": _by_unshare}
    for program, way in ways.items():
        if shutil.which(program) is None:
            continue
        command = way([sys.executable, "-c", ""], _base(), [])
        tried = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True)
        if tried.returncode == 0:
            return way
    raise SettingError(
        "--isolate: neither bubblewrap nor a user namespace of `unshare` works on this system; "
        "install bubblewrap, or leave --isolate out (docs/trust.md says what contenders can do "
        "then)"
    )


def _by_bubblewrap(
    command: list[str], visible: Sequence[Path], hidden: Sequence[Path]
) -> list[str]:
    mounts, here = _mounts(visible, hidden), str(Path.cwd())
    words = ["bwrap", "--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc"]
    words += ["--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    words += ["--proc", "/proc", "--dev", "/dev"]
    for place in SCRATCH:
        words += ["--size", str(SCRATCH_BYTES), "--tmpfs", place]
    for path, shown in mounts:
        if shown:
            words += ["--ro-bind", str(path), str(path)]
        else:
            words += (
                ["--tmpfs", str(path)] if path.is_dir() else ["--ro-bind", os.devnull, str(path)]
            )
    for link, target in _links(visible, mounts).items():
        words += ["--symlink", str(target), str(link)]
    words += ["--dir", here, "--chdir", here]
    for place in ("/", "/dev", *(str(path) for path in _covered(mounts))):
        words += ["--remount-ro", place]
    for name, value in ENVIRONMENT.items():
        words += ["--setenv", name, value]
    return [*words, "--", *command]


def _by_unshare(command: list[str], visible: Sequence[Path], hidden: Sequence[Path]) -> list[str]:
    root, here = _empty_folder(), shlex.quote(str(Path.cwd()))
    mounts = _mounts(visible, hidden)
    lines = ["set -e", f"mount -t tmpfs tmpfs {root}", f"mkdir {root}/proc"]
    for place in SCRATCH:
        lines += [f"mkdir -p {root}{place}"]
        lines += [f"mount -t tmpfs -o size={SCRATCH_BYTES} tmpfs {root}{place}"]
    for path, shown in mounts:
        lines += _mount(path, root, shown)
    for link, target in _links(visible, mounts).items():
        lines += [f"mkdir -p {_quoted(root, link.parent)}"]
        lines += [f"ln -s {shlex.quote(str(target))} {_quoted(root, link)}"]
    for device in DEVICES:
        lines += [f"touch {root}/dev/{device}", f"mount --bind /dev/{device} {root}/dev/{device}"]
    lines += [f"mount -t proc proc {root}/proc", f"mkdir -p {root}{here}", f"cd {root}"]
    lines += ["pivot_root . .", "umount -l .", f"cd {here}"]
    for place in ("/", *(shlex.quote(str(path)) for path in _covered(mounts))):
        lines += [f"mount -o remount,ro {place}"]
    lines += [f"export {name}={value}" for name, value in ENVIRONMENT.items()]
    # The first process of a namespace is deaf to signals from within: the command is the second.
    lines += ["exec setpriv --no-new-privs --bounding-set=-all --inh-caps=-all -- \\"]
    lines += ["""sh -c 'setsid "$@"; exit $?' sh "$@\""""]
    words = ["setpriv", "--pdeathsig", "KILL", "unshare", "--user", "--map-root-user", "--mount"]
    words += ["--pid", "--net", "--ipc", "--fork", "--kill-child=KILL", "sh", "-c"]
    return [*words, "\n".join(lines), "sh", *command]


def _mount(path: Path, root: str, shown: bool) -> list[str]:
    """Return the shell's lines that show a path below a new root, or cover it."""
    place, source = _quoted(root, path), shlex.quote(str(path))
    if not path.is_dir():
        lines = [f"mkdir -p {_quoted(root, path.parent)}", f"test -e {place} || touch {place}"]
        lines += [f"mount --bind {source if shown else os.devnull} {place}"]
    elif shown:
        lines = [f"mkdir -p {place}", f"mount --rbind {source} {place}"]
    else:
        return [f"mount -t tmpfs tmpfs {place}"]
    return [*lines, f"mount -o remount,bind,ro {place}"] if shown else lines


def _quoted(root: str, path: Path) -> str:
    return shlex.quote(f"{root}{path}")


@cache
def _empty_folder() -> str:
    """Return an empty folder on which new roots are mounted, each in a namespace of its own."""
    folder = tempfile.mkdtemp(prefix="sysopt-gym-")
    atexit.register(os.rmdir, folder)
    return folder


def _mounts(visible: Iterable[Path], hidden: Iterable[Path]) -> list[tuple[Path, bool]]:
    """Return the real paths to show (True) or to cover (False), outer ones before inner ones."""
    wanted = {path.resolve(): True for path in visible}
    wanted |= {path.resolve(): False for path in (*hidden, *map(Path, PASSING)) if path.exists()}
    wanted.pop(Path("/"), None)
    mounts: list[tuple[Path, bool]] = []
    for path in sorted(wanted, key=lambda one: len(one.parts)):
        if wanted[path] != _is_shown(path, mounts):
            mounts.append((path, wanted[path]))
    return mounts


def _covered(mounts: Sequence[tuple[Path, bool]]) -> list[Path]:
    """Return the folders among what is covered, which are to be empty and stay so."""
    return [path for path, shown in mounts if not shown and path.is_dir()]


def _is_shown(path: Path, mounts: Sequence[tuple[Path, bool]]) -> bool:
    return next((shown for outer, shown in reversed(mounts) if path.is_relative_to(outer)), False)


def _links(visible: Iterable[Path], mounts: Sequence[tuple[Path, bool]]) -> dict[Path, Path]:
    """Return the symbolic links on the way to visible paths, outside of what is mounted."""
    hops = [hop for path in visible for hop in _hops(path)]
    return {link: target for link, target in hops if not _is_shown(link, mounts)}


def _hops(path: Path) -> Iterator[tuple[Path, Path]]:
    """Yield each symbolic link that is followed on the way to a path, with its target."""
    for part in (*reversed(path.parents), path):
        if part.is_symlink():
            target = Path(os.path.normpath(part.parent / part.readlink()))
            yield part, target
            yield from _hops(target / path.relative_to(part))
            return
