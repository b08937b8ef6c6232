"""Play the cells of a comparison on the nodes of a Ray cluster, any of which may be lost."""

from __future__ import annotations

import contextlib
import pickle
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..agents.ray_clusters import join
from ..core import registry
from ..core.errors import MissingDependencyError, SettingError, SysOptError
from ..core.notes import note
from ..core.provenance import provenance
from ..core.registry import contender_entry
from ..core.results import Row
from . import conditions, node
from .cells import Cell
from .schedule import TRIES, Contender, Schedule, contender_of
from .seat import Advance, Terms
from .shipment import shipment

LOOK_S = 5.0  # seconds between two looks at which nodes there are
PATIENCE_S = 60.0  # seconds to wait for a node where there is none


@dataclass(slots=True)
class _Seat:
    """A seat on a node.

    Attributes:
        node: id of the node.
        actor: handle of the NodeSeat.
        cell: the cell that is being played, or None.
        started: the contender that it has started, or None.
    """

    node: str
    actor: Any
    cell: Cell | None = None
    started: Contender | None = None


def run(
    address: str, cells: Sequence[Cell], terms: Terms, advance: Advance
) -> Iterator[tuple[Cell, Row]]:
    """Play cells on a cluster, as many on a node at a time as it has cores for.

    A cell is played again if its node or process is lost, `schedule.TRIES` times in all. Nodes that
    join are used; nodes that cannot be made to play are left out with a note.

    Args:
        address: of the cluster; see agents.ray_clusters.join.
        cells: what to play.
        terms: those of the comparison.
        advance: told of each cell that begins.

    Raises:
        MissingDependencyError: Ray is not installed.
        SettingError: no cluster answers, it has no node that can play, or what nodes need is too
            large to be sent.
    """
    with _connected(address):
        yield from _Cluster(cells, terms, advance).rows()


@contextlib.contextmanager
def _connected(address: str) -> Iterator[None]:
    """Connect to the cluster, or use the connection that the program has."""
    try:
        import ray
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "--ray needs the package 'ray'; install it with pip install 'sysopt-gym[training]'"
        ) from error
    if ray.is_initialized():
        there = ray.get_runtime_context().gcs_address
        if address not in ("auto", there):
            raise SettingError(
                f"--ray {address}: this program is connected to the cluster at {there}; call "
                "ray.shutdown() first, or give that address"
            )
        yield
        return
    join(address, log_to_driver=False, logging_level="ERROR")
    try:
        yield
    finally:
        ray.shutdown()


class _Cluster:
    """The seats on all nodes, and what is played there."""

    def __init__(self, cells: Sequence[Cell], terms: Terms, advance: Advance) -> None:
        import ray

        self._ray, self._terms, self._advance = ray, terms, advance
        self._schedule = Schedule(cells, terms)
        self._left = Counter(cell.entry.instance_hash for cell in cells)  # cells without a row
        self._load = shipment({contender_of(cell): None for cell in cells})
        self._sent: dict[str, Any] = {}  # references of what nodes fetch, by name
        self._slots: dict[str, int] = {}  # node -> seats that it has cores for
        self._found: dict[str, dict[str, Any]] = {}  # node -> what it is and has; see node.look
        self._idle: list[_Seat] = []
        self._calls: dict[Any, _Seat | str] = {}  # reference of an answer -> the seat or node asked
        self._lost: Counter[str] = Counter()  # node -> seats lost since its last row
        self._refused: dict[str, str] = {}  # node -> why it is left out
        ray.cloudpickle.register_pickle_by_value(node)

    def rows(self) -> Iterator[tuple[Cell, Row]]:
        """Yield each cell with its row as soon as it is known."""
        next_look, deadline = 0.0, float("inf")
        while self._left.total():
            now = time.monotonic()
            if now >= next_look:
                self._look_for_nodes()
                next_look = now + LOOK_S
            self._hand_out()
            if not self._calls:
                deadline = min(deadline, now + PATIENCE_S)
                if self._refused or now >= deadline:
                    raise SettingError(self._nobody())
                time.sleep(LOOK_S / 10)
                continue
            deadline = float("inf")
            answered, _ = self._ray.wait(list(self._calls), timeout=LOOK_S)
            for reference in answered:
                asked = self._calls.pop(reference)
                if isinstance(asked, str):
                    self._meet(asked, reference)
                elif (pair := self._answer(asked, reference)) is not None:
                    self._forget(pair[0])
                    yield pair

    def _look_for_nodes(self) -> None:
        """Ask nodes that are new what they are."""
        look = self._ray.remote(node.look)
        for one in self._ray.nodes():
            name, cores = one["NodeID"], int(one["Resources"].get("CPU", 0))
            if not one["Alive"] or name in self._slots:
                continue
            self._slots[name] = cores // self._terms.cores
            if self._slots[name]:
                options = {"num_cpus": 0, "max_retries": 0, "scheduling_strategy": self._on(name)}
                self._calls[look.options(**options).remote(list(self._load.versions))] = name

    def _meet(self, name: str, reference: Any) -> None:
        """Set seats up on a node that has answered what it is."""
        try:
            found = self._found[name] = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            self._refuse(name, _first_line(error))
            return
        except self._ray.exceptions.RayError:  # it is asked again, if it is still there
            del self._slots[name]
            return
        self._slots[name] = min(self._slots[name], found["cores"] // self._terms.cores)
        for _ in range(self._slots[name]):
            self._add_seat(name)

    def _add_seat(self, name: str) -> None:
        found, load = self._found[name], self._load
        missing = {
            package: version for package, version in load.versions.items()
            if found["versions"].get(package) != version
        }  # fmt: skip
        # A version's local part, as in 2.0+cpu, says which build it is; indexes have their own.
        pins = [f"{one}=={version.partition('+')[0]}" for one, version in missing.items()]
        options = {
            "num_cpus": self._terms.cores,
            "max_restarts": 0,
            "scheduling_strategy": self._on(name),
            "runtime_env": {"pip": pins} if pins else None,
        }
        package = None
        if found["code"] != load.code:
            package = self._put("package", load.package)
        folders = [self._put(path, archive) for path, archive in load.folders.items()]
        actor = self._ray.remote(node.NodeSeat).options(**options)
        seat = _Seat(name, actor.remote(package, list(load.folders), load.on_path, *folders))
        terms = replace(self._terms, at_a_time=self._slots[name])
        tables = pickle.dumps(registry.tables())
        self._calls[seat.actor.sit_down.remote(pickle.dumps(terms), tables)] = seat

    def _hand_out(self) -> None:
        """Let every seat that is free play a cell, as far as there is one for it."""
        for seat in list(self._idle):
            cell = self._schedule.take(seat.started)
            if cell is None:
                continue
            self._idle.remove(seat)
            self._advance(cell, "plays")
            seat.cell, seat.started = cell, contender_of(cell)
            key = cell.entry.instance_hash
            if key not in self._sent:
                self._put(key, pickle.dumps(cell.entry))
            arguments = key, self._sent[key], cell.contender, cell.seed, cell.world_seed
            self._calls[seat.actor.play.remote(*arguments)] = seat

    def _answer(self, seat: _Seat, reference: Any) -> tuple[Cell, Row] | None:
        """Return the row that a seat has answered, with its cell; None for another answer."""
        try:
            answer = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, SysOptError):
                raise error.cause from error
            raise
        except self._ray.exceptions.RuntimeEnvSetupError as error:
            why = f"what it lacks cannot be installed there ({_last_line(error)})"
            self._refuse(seat.node, why)
            return None
        except self._ray.exceptions.RayError as error:
            return self._lose(seat, error)
        cell, seat.cell = seat.cell, None
        if cell is None:
            self._check_versions(seat, answer)
            return None
        self._idle.append(seat)
        self._lost[seat.node] = 0
        row = self._schedule.played(cell, answer)
        entry = contender_entry(cell.entry.family, cell.contender)
        return cell, replace(row, provenance=provenance(entry))  # as it is here, not there

    def _check_versions(self, seat: _Seat, there: dict[str, str]) -> None:
        """Let a seat play, unless its node has other packages than this machine."""
        other = [
            f"{name} {there.get(name, 'missing')} (here {version})"
            for name, version in conditions.package_versions().items()
            if name != "python" and there.get(name) != version
        ]
        if other:
            self._refuse(seat.node, f"it has {', '.join(other)}; install the same versions there")
        elif seat.node not in self._refused:
            self._idle.append(seat)

    def _lose(self, seat: _Seat, error: Exception) -> tuple[Cell, Row] | None:
        """Replace a seat that was lost; return the row of its cell if that was its last try."""
        with contextlib.suppress(Exception):
            self._ray.kill(seat.actor)
        alive, host = self._is_alive(seat.node), self._found[seat.node]["host"]
        self._lost[seat.node] += 1
        if alive and seat.node not in self._refused:
            if self._lost[seat.node] > TRIES * self._slots[seat.node]:
                self._refuse(seat.node, f"its processes end ({_reason(error, alive)})")
            else:
                self._add_seat(seat.node)
        if seat.cell is None:
            return None
        row = self._schedule.lost(seat.cell, f"{host}: {_reason(error, alive)}")
        return None if row is None else (seat.cell, row)

    def _refuse(self, name: str, why: str) -> None:
        """Leave a node out, and say so."""
        if name in self._refused:
            return
        host = self._found.get(name, {}).get("host", name)
        self._refused[name] = f"{host}: {why}"
        note(f"--ray: node {host} is left out: {why}")
        self._idle = [seat for seat in self._idle if seat.node != name]

    def _nobody(self) -> str:
        """Say why there is no node that can play."""
        some = any(self._is_alive(name) for name in self._slots)
        lacks = f"none has {self._terms.cores} core(s)" if some else "there is none any more"
        why = "; ".join(self._refused.values()) or lacks
        return (
            f"--ray: no node of the cluster can play ({why}); rows so far are kept, go on with "
            "--resume when there is one"
        )

    def _forget(self, cell: Cell) -> None:
        """Let go of an instance that no further cell is of."""
        key = cell.entry.instance_hash
        self._left[key] -= 1
        if not self._left[key]:
            self._sent.pop(key, None)

    def _put(self, name: str, content: bytes) -> Any:
        """Return the reference of what nodes fetch, which is stored once."""
        if name not in self._sent:
            self._sent[name] = self._ray.put(content)
        return self._sent[name]

    def _is_alive(self, name: str) -> bool:
        return any(one["NodeID"] == name and one["Alive"] for one in self._ray.nodes())

    def _on(self, name: str) -> Any:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return NodeAffinitySchedulingStrategy(name, soft=False)


def _reason(error: Exception, node_is_alive: bool) -> str:
    """Say in a few words how a seat was lost."""
    from ray.exceptions import NodeDiedError, OutOfMemoryError

    if isinstance(error, OutOfMemoryError):
        return "the machine ran low on memory, and Ray ended the process"
    if isinstance(error, NodeDiedError) or "node has died" in str(error) or not node_is_alive:
        return "the node was lost"
    return "the process ended"


def _first_line(error: Exception) -> str:
    return _lines(error)[0]


def _last_line(error: Exception) -> str:
    return _lines(error)[-1]


def _lines(error: Exception) -> list[str]:
    return list(filter(None, (line.strip() for line in str(error).splitlines()))) or [repr(error)]
