"""Compare a policy with a memory and one without in data centers whose requests change their law.

    python -m sysopt_gym.benchmarks.recurrent_allocation --out results/recurrent_allocation

Sizes, lifetimes and rate of the requests change at an hour that nobody is told (the generator's
shift "all"). Each hour a policy chooses one of the RULES by which requests are placed until the
next. It sees the hosts, and which VMs came and left in the last hour. All learn from the same
lessons: at some hours the world goes on in forks, by each rule, with the very requests that are to
come, and what a rule is worth is how little is rejected in the next HORIZON hours. Then as in
recurrent_policies: checkpoints are chosen in data centers of their own, and what counts is the
rejected % of the core-hours in others, beside each rule alone. All play compiled worlds; bootstrap
over data centers, each the mean of the seeds.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
import typer
from numba import njit
from rich.progress import track
from torch import Tensor, nn

from ..agents.network import mask_logits
from ..agents.recurrent.gru import GRU
from ..agents.recurrent.imitation import Episode
from ..agents.recurrent.policy import begin, recall
from ..agents.vm_allocation.players import WEIGHTS, load_weights
from ..datasets.hosts import NODE_CPU
from ..datasets.vm_allocation.generator import MIXES, generate
from ..datasets.vm_allocation.instance import HOUR_S, DataCenter
from ..envs.vm_allocation.dynamics import (
    CHOOSE,
    CLOCK_S,
    N_REJECTED,
    NO_ONE,
    PHASE,
    REJECTED,
    REQUEST,
    act,
    write_places,
)
from ..envs.vm_allocation.objective import rejected_so_far
from ..envs.vm_allocation.packed import begin as begin_world
from ..envs.vm_allocation.packed import read_state, read_static, state_in, static_in
from ..methods.vm_allocation.playing import best_place, packed_world
from ..methods.vm_allocation.slots import TUNED_WEIGHTS, slot_tables
from ..methods.vm_allocation.worth import Worth, worth_in, write_changes
from .kept_files import kept
from .recurrent_policies import MEMORY, Family, compare

FIRST_STREAM = {"train": 2**41, "val": 2**42, "test": 2**43}  # apart from all sets'
PMS, TRAINED_ON, CHOSEN_ON = 30, 200, 12
WIDTH, CHECKED = 32, (4, 8, 12)
# Weights of slots beside `worth`, the learned one of hosts; those without a name of their own were
# picked among 24 by how they did in stationary worlds of other streams.
RULES = {
    "slots_tuned": TUNED_WEIGHTS, "few_slots": (0.2, 0.1, 1.0), "best_fit": (0.0, 0.0, 0.0),
    "many_slots": (2.0, 5.0, 1.0),
}  # fmt: skip
NAMES = ("worth", *RULES)
FIRST = NAMES[0]
FORKED = 1 / 3  # of the hours
HORIZON = 12  # hours of a fork
MEAN_STAY = 6.0  # hours of a straying episode by one rule
SCALE = 10.0  # % that are 1 of worth: what chance costs is then as much as in federated lessons
HOST_FEATURES, SIZES = 8, 4
FEATURES = HOST_FEATURES + 2 * SIZES + 2


class Rules(NamedTuple):
    """RULES made ready for a data center.

    Attributes:
        worth: of hosts.
        tables: of the others, before and after a request is placed, float64 [4, 2, C+1, C+1].
    """

    worth: Worth
    tables: np.ndarray


def rules_in(center: DataCenter) -> Rules:
    """Make rules ready for a data center of the generator."""
    tables = [np.stack(slot_tables(weights, NODE_CPU)) for weights in RULES.values()]
    return Rules(worth_in(center, load_weights(WEIGHTS)), np.stack(tables))


@njit(cache=True, nogil=True)
def play_until(
    packed: np.ndarray, worth: Worth, tables: np.ndarray, rule: int, until_s: int
) -> bool:
    """Play a world by a rule, without migrations, until a time.

    Args:
        packed: the world at a decision, int64 [n]; it is played in place.
        worth: see Rules.
        tables: see Rules.
        rule: of NAMES.
        until_s: the first time that is not decided on.

    Returns:
        Whether it goes on.
    """
    static, state = read_static(packed), read_state(packed)
    n, places = state.numbers, 2 * len(static.pm_nodes)
    mask, changes = np.zeros(places, np.int8), np.empty(places)
    while n[PHASE] < CHOOSE and n[CLOCK_S] < until_s:
        request = n[REQUEST]
        write_places(static, state, request, mask)
        k = static.flavor[request]
        cpu, spread = static.flavor_cpu[k], static.flavor_nodes[k]
        if rule == 0:
            write_changes(
                worth, state.free_cpu, state.under_cpu, mask, cpu, spread, static.flavor_size[k],
                changes,
            )  # fmt: skip
            place = int(np.argmax(changes))
        else:
            before, after = tables[rule - 1, 0], tables[rule - 1, 1]
            place = best_place(state.free_cpu, mask, cpu, spread, worth.core, before, after)
        act(static, state, place)
    return bool(n[PHASE] < CHOOSE)


@cache
def _begun(center: DataCenter) -> tuple[Rules, np.ndarray]:
    """Return the rules and the world at its first decision."""
    packed = packed_world(center, 0)
    begin_world(packed)
    return rules_in(center), packed


class World:
    """A world from hour to hour.

    Args:
        center: the data center, of the generator, without migrations.
    """

    def __init__(self, center: DataCenter) -> None:
        self.rules, packed = _begun(center)
        self.packed, self.hour, self.hours = packed.copy(), 0, int(np.ceil(center.horizon_h))
        self.static, self.state = static_in(self.packed), state_in(self.packed)
        self.size, self.capacity = center.flavor_size[self.static.flavor], center.numa_cpu.sum()
        times = self.static.arrive_s, self.static.exit_s
        self._orders = [(order := np.argsort(one), one[order]) for one in times]
        self._rejected = 0

    def seen(self) -> np.ndarray:
        """Return what a policy sees now, float32 [FEATURES]: free CPU and whole slots, empty hosts,
        what small VMs hold; by size, the VMs that came and left in the last hour; how many were
        rejected in it; the time. Observations and `info` of the environment tell as much.
        """
        free, under, numbers = self.state.free_cpu, self.state.under_cpu, self.state.numbers
        hosts = [
            free.sum() / self.capacity, (free >= 16).mean(), (free >= 32).mean(),
            (free.min(axis=1) >= 32).mean(), (self.state.first == NO_ONE).mean(),
            *under.reshape(len(free), -1, 2).sum(axis=(0, 2)) / self.capacity,
        ]  # fmt: skip
        window = (self.hour - 1) * HOUR_S, self.hour * HOUR_S
        flows = []
        for order, times in self._orders:
            which = order[slice(*np.searchsorted(times, window))]
            placed = which[self.state.slot[which] != NO_ONE]
            flows.append(np.bincount(self.size[placed], minlength=SIZES) / len(free))
        rejected = (int(numbers[N_REJECTED]) - self._rejected) / len(free)
        clock = [rejected, self.hour / self.hours]
        return np.concatenate([hosts, *flows, clock]).astype(np.float32)

    def play(self, rule: int) -> bool:
        """Play an hour by a rule; return whether the world goes on."""
        self._rejected = int(self.state.numbers[N_REJECTED])
        self.hour += 1
        return bool(play_until(self.packed, *self.rules, rule, self.hour * HOUR_S))

    def worth_of_rules(self) -> np.ndarray:
        """Return minus the CPU-hours rejected in HORIZON hours by each rule, in % of what the hosts
        could give in them, float64 [5].
        """
        until_s, found = (self.hour + HORIZON) * HOUR_S, []
        for rule in range(len(NAMES)):
            fork = self.packed.copy()
            play_until(fork, *self.rules, rule, until_s)
            rejected = state_in(fork).numbers[REJECTED] - self.state.numbers[REJECTED]
            found.append(-100.0 * rejected / (self.capacity * HORIZON * HOUR_S))
        return np.array(found)

    def objective(self) -> float:
        """Return the rejected % of the core-hours asked for."""
        return float(rejected_so_far(self.state.numbers))


class RulePolicy(nn.Module):
    """Which rule to place by; see recurrent.policy.

    Args:
        width: units of both hidden layers, and of a memory.
        remembers: whether it has a memory.
    """

    def __init__(self, width: int, remembers: bool) -> None:
        super().__init__()
        self.reads, self.hidden = nn.Linear(FEATURES, width), nn.Linear(width, width)
        self.scores = nn.Linear(width, len(NAMES))
        nn.init.zeros_(self.scores.weight)
        nn.init.zeros_(self.scores.bias)
        if remembers:
            self.memory = GRU(width)

    def encode(self, obs: dict[str, Tensor]) -> Context:
        """Encode "hours", float32 [B, FEATURES]."""
        return Context(torch.relu(self.reads(obs["hours"])))

    def logits(self, encoded: Context, obs: dict[str, Tensor]) -> Tensor:
        """Score the rules, float32 [B, 5]."""
        hidden = torch.relu(self.hidden(encoded.context))
        return mask_logits(self.scores(hidden), obs["action_mask"])


class Context(NamedTuple):
    """Encoding of B hours: float32 [B, width]."""

    context: Tensor


MASK = np.ones(len(NAMES), np.int8)


def centers_of(part: str, count: int) -> list[DataCenter]:
    """Generate data centers, of all mixes in turns before the shift."""
    return [
        generate(
            {"pms": str(PMS), "load": "1.0", "mix": tuple(MIXES)[row % len(MIXES)], "shift": "all"},
            FIRST_STREAM[part] + row,
        )
        for row in range(count)
    ]


def forked(center: DataCenter, strays: bool, rng: np.random.Generator) -> Episode:
    """Play an episode by the first rule, or by one after another, and find what rules are worth at
    some hours.
    """
    world, rule, goes_on = World(center), 0, True
    seen, worth = [], []
    while goes_on:
        seen.append(world.seen())
        forks = rng.random() < FORKED
        worth.append(world.worth_of_rules() if forks else np.full(len(NAMES), np.nan))
        if strays and rng.random() < 1.0 / MEAN_STAY:
            rule = int(rng.integers(len(NAMES)))
        goes_on = world.play(rule)
    obs = {"hours": np.stack(seen), "action_mask": np.tile(MASK, (len(seen), 1))}
    return Episode(obs, np.stack(worth).astype(np.float32))


def lessons_of(out: Path) -> list[Episode]:
    """Return two episodes of each data center; kept in a file."""

    def made() -> list[Episode]:
        return [
            forked(center, strays, np.random.default_rng([row, strays, 0xAD]))
            for row, center in enumerate(track(centers_of("train", TRAINED_ON), "lessons"))
            for strays in (False, True)
        ]

    found = kept(out / "lessons.pkl", made)
    return [episode._replace(worth=episode.worth / SCALE) for episode in found]


def played(center: DataCenter, network: Any) -> float:
    """Play by the likeliest rules; return the rejected % of the core-hours asked for."""
    world, state, goes_on = World(center), begin(network), True
    mask = torch.from_numpy(MASK[None])
    while goes_on:
        obs = {"hours": torch.from_numpy(world.seen()[None]), "action_mask": mask}
        with torch.inference_mode():
            encoded, state = recall(network, network.encode(obs), state)
            rule = int(network.logits(encoded, obs)[0].argmax())
        goes_on = world.play(rule)
    return world.objective()


def by_rule(center: DataCenter, rule: int) -> float:
    """Play by one rule alone; see `played`."""
    world = World(center)
    play_until(world.packed, *world.rules, rule, world.hours * HOUR_S + 1)
    return world.objective()


def main(
    out: Annotated[Path, typer.Option(help="folder for results; continues where it stopped")],
    seeds: Annotated[int, typer.Option(help="networks of each kind")] = 5,
    tests: Annotated[int, typer.Option(help="data centers of the test")] = 96,
) -> None:
    """Train and test every kind of policy, and print the table."""
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    lessons, test = lessons_of(out), centers_of("test", tests)
    val = centers_of("val", CHOSEN_ON)
    known = np.concatenate([episode.worth for episode in lessons])
    known = known[~np.isnan(known).any(axis=1)]
    means = dict(
        zip(NAMES, (SCALE * known.mean(axis=0, dtype=float)).round(3).tolist(), strict=True)
    )
    print(f"{len(known)} forks; worth of rules in %: {means}", flush=True)
    family = Family(
        lambda name: RulePolicy(WIDTH, name == MEMORY),
        CHECKED,
        0,
        lambda networks: -np.array([[played(c, one) for one in networks] for c in val]),
        lambda networks: -np.array([[[played(c, one)] for one in networks] for c in test]),
    )
    rules = -np.array([[by_rule(center, rule) for rule in range(len(NAMES))] for center in test])
    fixed = {name: rules[:, [column]] for column, name in enumerate(NAMES)}
    compare(family, lessons, fixed, FIRST, out, seeds)


if __name__ == "__main__":
    typer.run(main)
