"""Play on a Ray cluster over network namespaces while a process, a link and the driver are lost.

`sudo python tests/cluster_over_namespaces.py`, with the package's own Python. Three nodes of one
core lie in network namespaces of their own, each on a bridge; a fourth, outside, has a virtual
environment with nothing but `ray[default]`, and installs the rest while the others play. The table
must be that of a serial comparison. It takes about ten minutes; `--without-bare` leaves the fourth
out.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
import venv
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path

import psutil
from sysopt_gym.core.results import Row
from sysopt_gym.evaluation.cells import Folder

BRIDGE, HEAD, PORT = "sysopt0", "10.77.0.1", 6399
NODES = {f"sysopt{number}": f"10.77.0.{number + 1}" for number in (1, 2, 3)}
ADDRESS = f"{HEAD}:{PORT}"
RUN = "import toy_family; toy_family.register(); from sysopt_gym.cli import main; main()"
CONTENDERS = ["best", "greedy", "raises", "infeasible", "slow", "follow"]
TESTS = str(Path(__file__).parent)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


@contextmanager
def network() -> Iterator[None]:
    """A bridge, and a namespace for each node with a link to it."""
    try:
        ip("link", "add", BRIDGE, "type", "bridge")
        ip("addr", "add", f"{HEAD}/24", "dev", BRIDGE)
        ip("link", "set", BRIDGE, "up")
        for name, address in NODES.items():
            ip("netns", "add", name)
            ip("link", "add", f"{name}h", "type", "veth", "peer", "name", f"{name}n")
            ip("link", "set", f"{name}h", "master", BRIDGE, "up")
            ip("link", "set", f"{name}n", "netns", name)
            for words in (
                ["addr", "add", f"{address}/24", "dev", f"{name}n"],
                ["link", "set", f"{name}n", "up"],
                ["link", "set", "lo", "up"],
            ):
                ip("-n", name, *words)
        yield
    finally:
        for name in NODES:
            subprocess.run(["ip", "link", "del", f"{name}h"], check=False)  # else it lingers
            subprocess.run(["ip", "netns", "del", name], check=False)
        subprocess.run(["ip", "link", "del", BRIDGE], check=False)


@contextmanager
def node(python: str, where: Sequence[str], words: Sequence[str]) -> Iterator[psutil.Process]:
    """A node of the cluster.

    Args:
        python: the Python that it runs with.
        where: words before the command, which choose its namespace.
        words: further words of `ray start`.
    """
    command = [*where, python, "-m", "ray.scripts.scripts", "start", "--block", *words]
    clean = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    own = subprocess.Popen(
        command, env=clean, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/",
        start_new_session=True,
    )  # fmt: skip
    try:
        yield psutil.Process(own.pid)
    finally:
        for process in psutil.Process(own.pid).children(recursive=True):
            process.kill()
        own.kill()
        own.wait()


COUNT = """
import ray
ray.init(address="{}", log_to_driver=False, logging_level="ERROR")
print(sum(node["Alive"] for node in ray.nodes()))
"""


def wait_for_nodes(nodes: Sequence[psutil.Process]) -> None:
    words = [sys.executable, "-c", COUNT.format(ADDRESS)]
    wanted = str(len(nodes))
    while subprocess.run(words, capture_output=True, text=True).stdout.strip() != wanted:
        for one in nodes:
            up = one.is_running() and one.status() != psutil.STATUS_ZOMBIE
            assert up, f"a node has ended before all {wanted} had joined"
        time.sleep(1)


def compared(out: Path, *words: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", RUN, "compare", "toy", "--contenders", *CONTENDERS]
    command += ["--budget", "0.5", "--seeds", "12", "--out", str(out), *words]
    path = os.pathsep.join(filter(None, [TESTS, os.environ.get("PYTHONPATH", "")]))
    return subprocess.Popen(command, env=os.environ | {"PYTHONPATH": path})


def rows(out: Path) -> list[Row]:
    return list(Folder(out).rows().values()) if out.exists() else []


def wait_for(out: Path, count: int, running: subprocess.Popen[bytes]) -> None:
    while len(rows(out)) < count and running.poll() is None:
        time.sleep(0.2)
    assert running.poll() is None, "the comparison has ended before its cluster was disturbed"


def table(out: Path) -> dict[tuple[str, str, int], object]:
    return {(r.contender, r.instance, r.seed): (r.status, r.actions, r.error) for r in rows(out)}


def only_ray(folder: Path) -> str:
    """Return the Python of a virtual environment with Ray alone."""
    venv.create(folder, with_pip=True)
    python = str(folder / "bin/python")
    subprocess.run(
        [python, "-m", "pip", "install", "-q", f"ray[default]=={version('ray')}"], check=True
    )
    return python


def play(scratch: Path, nodes: Sequence[psutil.Process], bare: bool) -> None:
    serial, out = scratch / "serial", scratch / "ray"
    assert compared(serial).wait() == 0
    expected = table(serial)
    began = time.monotonic()
    running = compared(out, "--ray", ADDRESS)
    wait_for(out, len(expected) // 6, running)
    ours = {child.pid for one in nodes for child in one.children(recursive=True)}
    seats = [
        one for one in psutil.process_iter(["cmdline"])
        if one.pid in ours and "NodeSeat" in " ".join(one.info["cmdline"] or ())
    ]  # fmt: skip
    seats[0].kill()
    print(f"{time.monotonic() - began:.0f} s, {len(rows(out))} rows: killed a process that judges")
    ip("link", "set", "sysopt2h", "down")
    print(f"{time.monotonic() - began:.0f} s: cut the link of {NODES['sysopt2']}")
    wait_for(out, len(expected) // 2, running)
    running.send_signal(signal.SIGKILL)
    running.wait()
    held = len(rows(out))
    print(f"{time.monotonic() - began:.0f} s, {held} rows: killed the driver")
    assert held < len(expected)
    assert compared(out, "--ray", ADDRESS, "--resume").wait() == 0
    assert table(out) == expected, "the table differs from the serial one"
    print(f"{time.monotonic() - began:.0f} s: the same {len(expected)} rows as played serially")
    if bare:
        alone = scratch / "bare"
        for name in NODES:
            ip("link", "set", f"{name}h", "down")
        assert compared(alone, "--ray", ADDRESS).wait() == 0
        assert table(alone) == expected, "the table of the node with only Ray differs"
        print(f"{time.monotonic() - began:.0f} s: the same rows from the node with only Ray")
    print(dict(Counter(row.processor for row in rows(out))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--without-bare", action="store_true", help="no node with only Ray")
    bare = not parser.parse_args().without_bare
    os.environ["RAY_AUTH_MODE"] = "disabled"  # no token for a few minutes on this machine
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "600")  # of a busy machine
    with tempfile.TemporaryDirectory() as folder, network():
        scratch = Path(folder)
        head = ["--head", "--node-ip-address", HEAD, "--port", str(PORT), "--num-cpus", "0"]
        head += ["--include-dashboard", "false"]
        with node(sys.executable, [], head) as first:
            wait_for_nodes([first])
            places = [
                (sys.executable, ["ip", "netns", "exec", name], address)
                for name, address in NODES.items()
            ]
            if bare:
                places.append((only_ray(scratch / "venv"), [], HEAD))
            with ExitStack() as stack:
                nodes = [first]
                for python, where, address in places:
                    words = ["--address", ADDRESS, "--node-ip-address", address, "--num-cpus", "1"]
                    nodes.append(stack.enter_context(node(python, where, words)))
                    # Their sockets are files of one folder: two that start at once take one name.
                    wait_for_nodes(nodes)
                print(f"{len(nodes)} nodes have joined")
                play(scratch, nodes, bare)


if __name__ == "__main__":
    main()
