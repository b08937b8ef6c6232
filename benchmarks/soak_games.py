"""Random legal play for `make soak`: what is played of each family, and what must hold in it."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np

from ..core.budget import Budget
from ..core.contracts import World
from ..core.errors import InstanceError
from ..core.play import Task, run
from ..core.registry import load_contender, load_problem
from ..datasets.federated_lr.instance import ALPHA_RANGE, BETA_RANGE
from ..envs.federated_lr.env import FederatedLREnv
from ..envs.memory_mapping.env import MallocGameEnv
from ..envs.memory_mapping.ranges import R_END, R_OFFSET, R_START, R_TOP, all_ranges
from ..envs.memory_mapping.state import POSITION
from ..envs.sequence_design.env import SequenceDesignEnv
from ..envs.sequence_parallelism.dynamics import CAPACITY, CLASS, DEGREE, GROUPS, MICRO_BATCHES
from ..envs.sequence_parallelism.env import SequenceParallelismEnv
from ..envs.vm_rescheduling.env import VMReschedulingEnv
from ..evaluation.judge import judge

LANES = 3
COPY_PART = 0.02  # of the steps go on in a copy, beside the original
OWN_PART = 0.8  # of the episodes are reset with an instance, the others draw one of the set
NEW_PART, NEW_TASK_PART = 0.5, 0.02  # of those play one that nobody has seen
POOL = 8  # instances that a game keeps
SOLVER_S = 0.2
MOST_STEPS = 400  # of an episode of many lanes, which has no end of its own
TOLERANCE = 1e-6


Plan = Callable[[Any, list[Any]], np.ndarray]


class Broken(Exception):
    """Something that must hold does not; the text says what."""


@dataclass(frozen=True, slots=True)
class Game:
    """A way to play a family.

    Attributes:
        name: of the game in the soak's table.
        family: name of the family.
        make: makes the environment, one with lanes if `lanes`.
        parameters: of new instances, as `data generate` takes them; several sets take turns.
        check: raises Broken where the state breaks a rule of the domain.
        plan: the plan in the judge's form after an episode of actions; None where there is none.
        lanes: whether many lanes are stepped together.
        settings: of the instances it is reset with; where the mode is live, resets take
            `elapsed_s`.
        new_part: of the resets with an instance play a new one.
    """

    name: str
    family: str
    make: Callable[[], Any]
    parameters: tuple[Mapping[str, str], ...]
    check: Callable[[Any, Any], None] = lambda env, start: None
    plan: Plan | None = None
    lanes: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)
    new_part: float = NEW_PART


CLUSTERS = (
    {"pms": "8", "sets": "3", "rack_sets": "2", "pinned": "0.1"},
    {"pms": "20", "exits": "0.4"},
)
PROGRAMS = tuple(
    {"kind": kind, "layers": "2", "capacity": capacity, "train": train}
    for kind in ("chain", "residual", "unet", "transformer", "dag")
    for capacity in ("1/4", "1/16")
    for train in ("0", "1")
)
TASKS = (
    {"states": "6", "length": "8", "motifs": "1", "motif_length": "3", "quantization": "3",
     "rows": "256", "ceiling": "0.5"},
)  # fmt: skip
FEDERATIONS = (
    {"clients": "6", "features": "8", "classes": "3", "rows": "20", "rounds": "8"},
    {"clients": "4", "features": "5", "classes": "2", "rows": "30", "rounds": "5"},
)
CURVES = ({"kind": "curve", "rounds": "8"},)
BATCHES = (
    {"sequences": "16", "devices": "8", "context": "32K", "shape": "crawl", "steps": "2"},
    {"sequences": "24", "devices": "8+4", "speed": "1+2.5", "context": "16K", "degrees": "any"},
)


def _cluster(env: VMReschedulingEnv, start: Any) -> None:
    """Migrations move what is used from host to host; they neither make nor lose any."""
    state, cluster = env.state, env.cluster
    for name, free, size in (
        ("CPU", state.free_cpu, cluster.numa_cpu), ("memory", state.free_mem, cluster.numa_mem)
    ):  # fmt: skip
        nodes = np.asarray(size)
        if (free < 0).any() or (free > nodes.reshape(free.shape)).any():
            raise Broken(f"free {name} of a node is below 0 or above its size")
    if start is not None:
        for name in ("free_cpu", "free_mem"):
            before, now = getattr(start, name).sum(), getattr(state, name).sum()
            if before != now:
                raise Broken(f"total {name} was {before} and is {now}")
    if (state.vm_pm < -1).any() or (state.vm_pm >= cluster.n_pms).any():
        raise Broken("a VM is on a PM that is not there")
    if env.episode.ints is not None and int(state.totals[-1]) > cluster.mnl:
        raise Broken(f"{int(state.totals[-1])} moves, where MNL is {cluster.mnl}")


def _program(env: MallocGameEnv, start: Any) -> None:
    """Address ranges held at the same time do not overlap, and stay below the capacity."""
    state, static = env.state, env.static
    ranges = all_ranges(state.rects, state.counts)
    if not ranges.size:
        return
    if ranges[R_OFFSET].min() < 0 or ranges[R_TOP].max() > static.capacity:
        raise Broken("an address range is outside fast memory")
    position = min(int(state.scalars[POSITION]), len(static.dec_instr) - 1)
    now = int(static.dec_instr[position])
    held = ranges[:, (ranges[R_START] <= now) & (ranges[R_END] >= now)]
    held = held[:, np.argsort(held[R_OFFSET], kind="stable")]
    if (held[R_OFFSET, 1:] < held[R_TOP, :-1]).any():
        raise Broken(f"two buffers hold the same addresses at instruction {now}")
    if int((held[R_TOP] - held[R_OFFSET]).sum()) > static.capacity:
        raise Broken("used fast memory is above the capacity")


def _designs(env: SequenceDesignEnv, start: Any) -> None:
    """No more designs than ordered, none twice, none against the task's rules."""
    batch, task = env.handed_in, env.task
    if not len(batch.unique) <= batch.count <= batch.size:
        raise Broken(f"{len(batch.unique)} different of {batch.count} designs, of {batch.size}")
    if len({row.tobytes() for row in batch.unique}) != len(batch.unique):
        raise Broken("a design counts twice")
    for row in batch.unique:
        if (row < 0).any() or (row >= task.letters).any():
            raise Broken("a design has a letter that is not in the alphabet")
        if task.banned[row[:-1], row[1:]].any() or task.barred[np.arange(len(row)), row].any():
            raise Broken("a design has letters that the task rules out")


def _rates(env: FederatedLREnv, start: Any) -> None:
    """Rates stay in their ranges, and what is reported is finite."""
    now = env.dynamics.statistics.row(0)
    for name, (low, high) in (("alpha", ALPHA_RANGE), ("beta", BETA_RANGE)):
        if not low * (1 - 1e-9) <= now[name] <= high * (1 + 1e-9):
            raise Broken(f"{name} is {now[name]}, outside {low}..{high}")
    for name, value in now.items():
        if not np.isfinite(value):
            raise Broken(f"{name} is {value}")
    if int(now["step"]) > int(now["rounds"]) + 1:
        raise Broken("more rounds than the federation has")


def _groups(env: SequenceParallelismEnv, start: Any) -> None:
    """Groups hold what fits them, and a micro-batch has no more devices than there are."""
    state, table = env.state, env.table
    count, micro_batches = state.counts[GROUPS], state.counts[MICRO_BATCHES]
    kind, batch, tokens = state.groups[:count].T
    if (tokens < 1).any() or (tokens > table.sizes[CAPACITY, kind]).any():
        raise Broken("a group holds nothing, or more tokens than fit")
    used = np.zeros((micro_batches, len(table.devices)), np.int64)
    np.add.at(used, (batch, table.sizes[CLASS, kind]), table.sizes[DEGREE, kind])
    if (used > table.devices).any() or (used + state.free[:micro_batches] != table.devices).any():
        raise Broken("a micro-batch's devices, used and free, are not those there are")


def _letters(env: SequenceDesignEnv, actions: list[Any]) -> np.ndarray:
    return np.concatenate(env.handed_in.unique).astype(np.int64)


def _plies(env: VMReschedulingEnv, actions: list[Any]) -> np.ndarray:
    """Two plies a move; stopping is one."""
    stop = env.cluster.n_vms
    return np.array([ply for vm, to in actions for ply in ([vm] if vm == stop else [vm, to])])


def games() -> dict[str, Game]:
    """Return all games by name; nothing is loaded before its environment is made."""

    def cluster(name: str, lanes: bool = False, **arguments: Any) -> Game:
        plan = _plies if arguments.get("form") == "joint" else _whole
        room = {"instances": "small:test", "max_pms": 40, "max_vms": 800} | arguments
        return Game(
            name, "vm_rescheduling", _maker("vm_rescheduling", lanes, room), CLUSTERS,
            _cluster, plan, lanes, arguments.get("settings", {}),
        )  # fmt: skip

    def program(name: str, lanes: bool = False, **arguments: Any) -> Game:
        given = {"instances": "small:test"} | arguments
        make, settings = _maker("memory_mapping", lanes, given), arguments.get("settings", {})
        return Game(name, "memory_mapping", make, PROGRAMS, _program, _whole, lanes, settings)

    def task(name: str, lanes: bool = False, **arguments: Any) -> Game:
        def make() -> Any:
            first = load_problem("sequence_design").generate(TASKS[0], 0)
            return _maker("sequence_design", lanes, {"instances": [first]} | arguments)()

        plan: Plan | None = (
            _letters if arguments.get("form", "construct") != "construct" else _whole
        )
        if arguments.get("designs"):
            plan = None  # the judge pads to the task's batch; the environment to its own
        return Game(
            name, "sequence_design", make, TASKS, _designs, plan, lanes, new_part=NEW_TASK_PART
        )

    def federation(name: str, parameters: Any, lanes: bool = False, **arguments: Any) -> Game:
        def make() -> Any:
            first = load_problem("federated_lr").generate(parameters[0], 0)
            return _maker("federated_lr", lanes, {"instances": [first]} | arguments)()

        plan = _whole if arguments.get("form") == "orders" else None
        return Game(name, "federated_lr", make, parameters, _rates, plan, lanes)

    def batch(name: str, **arguments: Any) -> Game:
        def make() -> Any:
            some = [load_problem("sequence_parallelism").generate(one, 0) for one in BATCHES]
            return _maker("sequence_parallelism", False, {"instances": some} | arguments)()

        plan = None if arguments else _whole
        return Game(name, "sequence_parallelism", make, BATCHES, _groups, plan)

    live = {"mode": "live"}
    found = (
        cluster("vm plies"), cluster("vm plies, stop", allow_stop=True),
        cluster("vm joint", form="joint", allow_stop=True),
        cluster("vm live", settings=live, allow_stop=True),
        cluster("vm moves to goal", settings={"objective": "moves_to_goal"}),
        cluster("vm lanes", lanes=True),
        cluster("vm lanes, same step", lanes=True, autoreset_mode="SameStep"),
        program("memory backup"), program("memory terminate", settings={"dead_end": "terminate"}),
        program("memory reserve", settings={"dead_end": "reserve"}),
        program("memory lanes", lanes=True),
        task("sequence construct"), task("sequence mutate", form="mutate", edits=4),
        task("sequence batch", form="batch"), task("sequence one design", designs=1),
        task("sequence lanes", lanes=True),
        federation("federated grid", FEDERATIONS),
        federation("federated continuous", FEDERATIONS, form="continuous"),
        federation("federated orders", FEDERATIONS, form="orders"),
        federation("federated curve", CURVES, form="orders"),
        federation("federated lanes", FEDERATIONS[:1], lanes=True),
        batch("parallelism groups"), batch("parallelism shortlist", form="shortlist"),
    )  # fmt: skip
    return {game.name: game for game in found}


def _whole(env: Any, actions: list[Any]) -> np.ndarray:
    return np.array(actions)


def _maker(family: str, lanes: bool, arguments: Mapping[str, Any]) -> Callable[[], Any]:
    def make() -> Any:
        env_id = load_problem(family).env_id
        if lanes:
            return gym.make_vec(
                env_id, num_envs=LANES, vectorization_mode="vector_entry_point", **arguments
            )
        return gym.make(env_id, disable_env_checker=True, **arguments)

    return make


def play_episode(game: Game, env: Any, rng: np.random.Generator, pool: list[Any]) -> int:
    """Play a random legal episode; return its number of steps.

    Args:
        game: what is played.
        env: made by `game.make`, maybe long ago.
        rng: of all that is drawn.
        pool: the game's last instances, whole; new ones take the place of the first.

    Raises:
        Broken: something that must hold does not.
    """
    seed = int(rng.integers(2**31))
    env.action_space.seed(seed)
    options: dict[str, Any] = {}
    if rng.random() < OWN_PART:
        options["instance"] = _given(game, rng, pool)
    return (_play_lanes if game.lanes else _play_one)(game, env, seed, options, rng)


def _given(game: Game, rng: np.random.Generator, pool: list[Any]) -> Any:
    """Return a new instance, or one of the last ones."""
    if not pool or rng.random() < game.new_part:
        problem = load_problem(game.family)
        parameters = game.parameters[rng.integers(len(game.parameters))]
        try:
            new = problem.generate(parameters, int(rng.integers(2**31)))
        except InstanceError:  # such as a program of which nothing fits into fast memory
            return _given(game, rng, pool)
        pool.append(problem.apply_settings(new, game.settings))
        del pool[:-POOL]
        return pool[-1]
    return pool[rng.integers(len(pool))]


def _play_one(
    game: Game, env: Any, seed: int, options: dict[str, Any], rng: np.random.Generator
) -> int:
    elapsed = 0.0
    if game.settings.get("mode") == "live":
        elapsed = float(rng.exponential(20.0))
        options["elapsed_s"] = elapsed
    observation, info = env.reset(seed=seed, options=options)
    inside = env.unwrapped
    start = getattr(inside, "state", None)
    actions: list[Any] = []
    ended, total = False, 0.0
    while not ended:
        _check_seen(env, observation, info)
        game.check(inside, start)
        action = env.action_space.sample()
        twin = _copy(inside, rng) if rng.random() < COPY_PART else None
        observation, reward, terminated, truncated, info = env.step(action)
        if twin is not None:
            after = twin.step(action)
            if not _same(after[:2], (observation, reward)):
                raise Broken("a copy goes another way than its original")
        if not np.isfinite(reward):
            raise Broken(f"the reward is {reward}")
        actions.append(action)
        total += float(reward)
        ended = bool(terminated or truncated)
    _check_seen(env, observation, info)
    game.check(inside, start)
    if game.plan is not None and "instance" in options:
        plan = game.plan(inside, actions)
        _check_judged(game, options["instance"], plan, World(seed, elapsed), info)
    return len(actions)


def _check_judged(
    game: Game, instance: Any, plan: np.ndarray, world: World, info: Mapping[str, Any]
) -> None:
    """The judge's replay and its validator say what the environment said."""
    problem = load_problem(game.family)
    found = judge(problem, instance, plan, world)
    if not found.agree:
        raise Broken(f"the judge: {'; '.join(found.violations)}")
    verdict = problem.validate(instance, plan, world)
    if verdict.feasible != info["feasible"]:
        raise Broken(f"feasible is {info['feasible']}, the validator says {verdict.feasible}")
    known = verdict.objective if verdict.replayed is None else verdict.replayed
    if info["feasible"] and not math.isclose(known, info["objective"], abs_tol=TOLERANCE):
        raise Broken(f"the objective is {info['objective']}, the validator says {known}")


def _play_lanes(
    game: Game, env: Any, seed: int, options: dict[str, Any], rng: np.random.Generator
) -> int:
    observation, _ = env.reset(seed=seed, options=options)
    for step in range(MOST_STEPS):
        if not env.observation_space.contains(observation):
            raise Broken("observations of lanes are outside their space")
        mask = observation.get("action_mask")
        if mask is not None and not mask.any(axis=1).all():
            raise Broken("no action is legal in a lane")
        if rng.random() < COPY_PART:
            env = copy.deepcopy(env)
        observation, rewards, ended, _, _ = env.step(env.action_space.sample())
        if not np.isfinite(rewards).all():
            raise Broken(f"rewards of lanes are {rewards}")
        if step > 50 and ended.any() and rng.random() < 0.2:
            break
    return LANES * (step + 1)


def _check_seen(env: Any, observation: Any, info: Mapping[str, Any]) -> None:
    if not env.observation_space.contains(observation):
        odd = [
            key for key, space in env.observation_space.spaces.items()
            if not space.contains(observation[key])
        ]  # fmt: skip
        raise Broken(f"the observation is outside its space: {', '.join(odd)}")
    mask = observation.get("action_mask")
    if mask is not None and not mask.any():
        raise Broken("no action is legal")
    if math.isinf(info["objective"]):
        raise Broken(f"the objective is {info['objective']}")


def _copy(env: Any, rng: np.random.Generator) -> Any:
    way = rng.integers(3)
    if way == 0:
        return copy.deepcopy(env)
    return pickle.loads(pickle.dumps(env)) if way == 1 else copy.copy(env)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, (tuple, list)):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(np.array_equal(one, other))


def contenders(family: str) -> Iterator[str]:
    """Yield a family's contenders that every table has, and its baseline, over and over."""
    defaults = load_problem(family).defaults
    names = dict.fromkeys((*defaults.always, defaults.baseline))
    while True:
        yield from names


def run_contender(family: str, name: str, rng: np.random.Generator) -> int:
    """Run a contender on the family's tiny instance and judge its answer; return its rows.

    Raises:
        Broken: the judge's halves differ, or a plan is infeasible.
    """
    problem, seed = load_problem(family), int(rng.integers(2**31))
    instance = problem.warm_up_instance()
    contender = load_contender(family, name)
    budget = Budget(60.0 if contender.form == "player" else SOLVER_S)
    solution = run(contender, problem, Task(instance, budget, seed, seed))
    found = judge(problem, instance, solution.actions, World(seed), solution.played)
    if not (found.agree and found.feasible):
        raise Broken(f"{name}: {'; '.join(found.violations)}")
    return len(solution.actions)
