"""Compare a policy with a memory and one without on drifting federations.

    python -m sysopt_gym.benchmarks.recurrent_policies --out results/recurrent

Every network learns from the same lessons (agents/federated_lr/hindsight.py), once with each seed,
in as many passes. Of those CHECKED, with each of the MARGINS that a change of rates must be
worth, the one counts that is best on drifting:val in two worlds. Then all play drifting:test, side
by side in the same worlds, beside constant rates. What counts is the objective of the judge's test
rows. Intervals are a bootstrap over federations, each the mean of its worlds and seeds, paired with
the memoryless policy. The run continues where it stopped.
"""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from ..agents.federated_lr.choice import work_of
from ..agents.federated_lr.hindsight import forked
from ..agents.federated_lr.network import RatePolicy, RecurrentRatePolicy
from ..agents.federated_lr.players import Adaptive
from ..agents.recurrent.imitation import Episode, learn_worth
from ..agents.recurrent.policy import begin
from ..datasets.federated_lr.instance import Federation, seal
from ..datasets.federated_lr.splits import SETS, more_drifting
from ..envs.federated_lr.grid import STAY
from ..envs.federated_lr.objective import score
from ..envs.federated_lr.observation import Observer
from ..envs.federated_lr.training import Training
from ..evaluation.statistics import mean
from ..methods.federated_lr.constants import Rates, train
from .federated_grid import FIRST_WORLD
from .kept_files import kept

CHOICE_WORLDS = (2_000_000, 2_000_001)  # in which networks are chosen
NAMES = MEMORYLESS, MEMORY = "memoryless", "gru"
FIRST = "average/2.0/0.3"
WIDTH, BATCH, RATE = 64, 32, 0.003
CHECKED, MARGINS = (8, 16, 24), (0.0, 1.0, 3.0)
MORE = 400  # federations beside those of drifting:train
CONSTANTS = (
    ("average", 2.0, 0.3), ("average", 2.0, 0.1), ("average", 1.0, 0.3), ("adam", 0.1, 0.1)
)  # fmt: skip
MOST_WORK = 3e5  # of a round of training; see work_of


class Trained(NamedTuple):
    """A network's weights, its mean objective on the federations it was chosen on, and the CPU
    seconds of its learning until then.
    """

    weights: dict[str, torch.Tensor]
    chosen_by: float
    seconds: float


def closed_loop(
    federation: Federation, networks: Sequence[Any], worlds: Sequence[int]
) -> np.ndarray:
    """Play a federation by the likeliest actions of networks, side by side.

    Args:
        federation: the instance; measured are its test rows, or where it is sealed those for
            validation.
        networks: policies of recipe DRIFTING or of one with a memory.
        worlds: seeds of the worlds that each plays in.

    Returns:
        Objectives, float64 [networks, worlds].
    """
    f = dataclasses.replace(federation, alpha=Adaptive.FIRST[0], beta=Adaptive.FIRST[1])
    policies = [network for network in networks for _ in worlds]
    lanes = Training([seal(f)] * len(policies))
    for lane in range(len(policies)):
        lanes.begin(lane, seal(f), worlds[lane % len(worlds)])
    states = [begin(policy) for policy in policies]
    s, going, observer = lanes.statistics, np.arange(len(policies)), Observer(len(policies))
    observer.begin(s, going)
    found = np.zeros((len(policies), f.rounds))
    for step in range(f.rounds + 1):
        orders = [
            policies[lane].order(
                observer.rounds[lane], float(s.alpha[lane]), float(s.beta[lane]),
                Adaptive.SERVER, states[lane],
            )
            for lane in going
        ]  # fmt: skip
        lanes.step(np.array(orders), going)
        observer.look(s, going)
        going = going[~s.diverged[going]]
        if not len(going):
            break
        if step:
            measured = s.validation_accuracy[going] if f.sealed else lanes.accuracies(f, going)
            found[going, step - 1] = measured
    scores = [score(f.objective, run, f.rounds, f.target) for run in found]
    return np.array(scores).reshape(len(networks), len(worlds))


def affordable(some: Sequence[Federation]) -> list[Federation]:
    """Return the federations that train quickly, without their test rows."""
    return [seal(f) for f in some if work_of(f) < MOST_WORK]


def lessons_of(some: Sequence[Federation], out: Path) -> list[Episode]:
    """Return two episodes of each federation; kept in files.

    Args:
        some: the federations.
        out: folder of the files, one a federation.
    """
    found = []
    for row, f in enumerate(track(some, "lessons")):
        found += kept(out / f"lesson-{row}.pkl", partial(_two_episodes, f, row))
    return found


def _two_episodes(f: Federation, row: int) -> list[Episode]:
    rng = np.random.default_rng([row, 0xAD])
    return [forked(f, strays, rng) for strays in (False, True)]


class Family(NamedTuple):
    """What networks are trained for.

    Attributes:
        make: one of NAMES -> an untrained network with `encode`, `logits` and
            a last layer `scores`.
        checked: passes after which networks are looked at, rising; the last one is the last.
        stay: the action that other actions must be surer than, by a margin.
        validated: networks -> scores by which to choose, the higher the better, float64
            [instances, networks].
        tested: networks -> scores that count, float64 [instances, networks, worlds].
    """

    make: Callable[[str], Any]
    checked: Sequence[int]
    stay: int
    validated: Callable[[Sequence[Any]], np.ndarray]
    tested: Callable[[Sequence[Any]], np.ndarray]


def learn(family: Family, name: str, seed: int, lessons: Sequence[Episode]) -> Trained:
    """Train a network, and take the best of its checkpoints and margins.

    Args:
        family: what for.
        name: one of NAMES.
        seed: of the first weights and of the order of lessons.
        lessons: what to learn from.
    """
    torch.manual_seed(seed)
    network = family.make(name)
    optimizer = torch.optim.Adam(network.parameters())
    order, seconds = np.random.default_rng([seed, 0x5EED]), 0.0
    candidates, passes = [], family.checked[-1]
    for number in range(1, passes + 1):
        optimizer.param_groups[0]["lr"] = RATE * (1 - 0.95 * (number - 1) / passes)
        begun = time.process_time()
        figures = learn_worth(network, lessons, optimizer, BATCH, order)
        seconds += time.process_time() - begun
        if number in family.checked:
            print(f"seed {seed} {name}, pass {number}: {figures}", flush=True)
            candidates += [(cautious(network, family.stay, one), seconds) for one in MARGINS]
    networks = [one for one, _ in candidates]
    means = family.validated(networks).mean(axis=0)
    best = int(means.argmax())
    print(f"seed {seed} {name}: {means.round(4).tolist()}", flush=True)
    return Trained(networks[best].state_dict(), float(means[best]), candidates[best][1])


def cautious(network: Any, stay: int, margin: float) -> Any:
    """Return a copy that departs from an action only where it is surer.

    Args:
        network: the policy.
        stay: the action.
        margin: what is added to its logit.
    """
    twin = copy.deepcopy(network)
    with torch.no_grad():
        twin.scores.bias[stay] += margin
    return twin


def restored(family: Family, name: str, trained: Trained) -> Any:
    """Make a network with what it learned."""
    network = family.make(name)
    network.load_state_dict(trained.weights)
    return network


def constants(some: Sequence[Federation], worlds: Sequence[int]) -> np.ndarray:
    """Return the same of CONSTANTS, float64 [federations, constants, worlds]."""
    found = np.empty((len(some), len(CONSTANTS), len(worlds)))
    for row, f in enumerate(track(some, "constants")):
        plans = [Rates(*rates).plan(f.rounds) for rates in CONSTANTS]
        for column, world in enumerate(worlds):
            runs = train(f, plans, world).accuracies
            found[row, :, column] = [score(f.objective, r, f.rounds, f.target) for r in runs]
    return found


def table_of(found: Mapping[str, np.ndarray], seconds: Mapping[str, float], first: str) -> Table:
    """Make the table.

    Args:
        found: contender -> scores, float64 [instances, runs].
        seconds: contender -> CPU seconds that its learning took.
        first: the contender that leads are over, beside the memoryless policy.
    """
    table = Table(box=None, pad_edge=False)
    for column in ("policy", "mean", "over memoryless", f"over {first}", "learning"):
        table.add_column(column)
    for name, own in sorted(found.items(), key=lambda row: -row[1].mean()):
        leads = []
        for other in (MEMORYLESS, first):
            lead = mean(own.mean(axis=1) - found[other].mean(axis=1))
            low, high = lead.low or 0.0, lead.high or 0.0
            leads.append("" if other == name else f"{lead.value:.3f} [{low:.3f}, {high:.3f}]")
        took = f"{seconds[name]:.0f} s" if name in seconds else ""
        table.add_row(name, f"{own.mean():.4f}", *leads, took)
    return table


def compare(
    family: Family,
    lessons: Sequence[Episode],
    fixed: Mapping[str, np.ndarray],
    first: str,
    out: Path,
    seeds: int,
) -> None:
    """Train and test every kind of policy, and print the table.

    Args:
        family: what for.
        lessons: what to learn from.
        fixed: contender that learns nothing -> scores, float64 [instances, worlds].
        first: one of them; see `table_of`.
        out: folder for results; the run continues where it stopped.
        seeds: networks of each kind.
    """
    found = {name: [scores] for name, scores in fixed.items()}
    seconds: dict[str, list[float]] = {}
    played = "x".join(map(str, fixed[first].shape))
    for seed in range(seeds):
        trained: dict[str, Trained] = {}
        for name in NAMES:
            file = out / f"{name}-{seed}.pkl"
            trained[name] = kept(file, partial(learn, family, name, seed, lessons))
        networks = [restored(family, name, one) for name, one in trained.items()]
        scores = kept(out / f"test-{played}-{seed}.pkl", partial(family.tested, networks))
        for column, (name, one) in enumerate(trained.items()):
            found.setdefault(name, []).append(scores[:, column])
            seconds.setdefault(name, []).append(one.seconds)
    runs = {name: np.concatenate(parts, axis=1) for name, parts in found.items()}
    means = {name: float(np.mean(parts)) for name, parts in seconds.items()}
    Console(width=140).print(table_of(runs, means, first))


def main(
    out: Annotated[Path, typer.Option(help="folder for results; continues where it stopped")],
    seeds: Annotated[int, typer.Option(help="networks of each kind")] = 5,
    worlds: Annotated[int, typer.Option(help="worlds per federation of the test")] = 2,
) -> None:
    """Train and test every kind of policy, and print the table."""
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    some = affordable([*SETS.load("drifting:train"), *more_drifting(MORE)])
    print(f"{len(some)} federations to learn from", flush=True)
    lessons = lessons_of(some, out)
    chosen_on = [seal(f) for f in SETS.load("drifting:val")]
    test = SETS.load("drifting:test")
    places = range(FIRST_WORLD, FIRST_WORLD + worlds)
    scores = kept(out / f"constants-{worlds}.pkl", lambda: constants(test, places))
    names = ["/".join(map(str, rates)) for rates in CONSTANTS]
    fixed = {name: scores[:, column] for column, name in enumerate(names)}
    family = Family(
        _network,
        CHECKED,
        STAY,
        lambda some: np.stack([closed_loop(f, some, CHOICE_WORLDS).mean(1) for f in chosen_on]),
        lambda some: np.stack([closed_loop(f, some, places) for f in track(test, "test")]),
    )
    compare(family, lessons, fixed, FIRST, out, seeds)


def _network(name: str) -> Any:
    return RecurrentRatePolicy(WIDTH) if name == MEMORY else RatePolicy(WIDTH)


if __name__ == "__main__":
    typer.run(main)
