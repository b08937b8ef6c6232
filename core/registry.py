"""The registry of lazy entry points.

To add a family, a solver or an agent, add its line here, and its files in its own folders. An entry
starting with a dot is relative to this package; others are absolute, so that another package can
register its own at run time.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from typing import Any, cast

from .contracts import Kind
from .errors import MissingDependencyError, UnknownNameError
from .problem import Problem

FAMILIES: dict[str, str] = {
    "vm_rescheduling": ".envs.vm_rescheduling.problem:PROBLEM",
    "memory_mapping": ".envs.memory_mapping.problem:PROBLEM",
    "sequence_design": ".envs.sequence_design.problem:PROBLEM",
    "federated_lr": ".envs.federated_lr.problem:PROBLEM",
}

ENVIRONMENTS: dict[str, str] = {
    "sysopt/VMRescheduling-v0": ".envs.vm_rescheduling.env:VMReschedulingEnv",
    "sysopt/MallocGame-v0": ".envs.memory_mapping.env:MallocGameEnv",
    "sysopt/SequenceDesign-v0": ".envs.sequence_design.env:SequenceDesignEnv",
    "sysopt/FederatedLR-v0": ".envs.federated_lr.env:FederatedLREnv",
}

# Of those environments that step many at once (gymnasium.make_vec).
VECTOR_ENVIRONMENTS: dict[str, str] = {
    "sysopt/SequenceDesign-v0": ".envs.sequence_design.vector_env:SequenceDesignVectorEnv",
    "sysopt/FederatedLR-v0": ".envs.federated_lr.vector_env:FederatedLRVectorEnv",
}

SOLVERS: dict[str, dict[str, str]] = {
    "vm_rescheduling": {
        "random": ".solvers.vm_rescheduling.random_search:solve",
        "ha": ".solvers.vm_rescheduling.ha:solve",
        "greedy": ".solvers.vm_rescheduling.greedy:solve",
        "vbpp": ".solvers.vm_rescheduling.vbpp:solve",
        "beam": ".solvers.vm_rescheduling.beam:solve",
        "local_search": ".solvers.vm_rescheduling.local_search:solve",
        "milp": ".solvers.vm_rescheduling.milp:solve",
        "columns": ".solvers.vm_rescheduling.columns:solve",
        "cpsat": ".solvers.vm_rescheduling.cpsat:solve",
        "pop": ".solvers.vm_rescheduling.pop:solve",
        "mcts": ".solvers.vm_rescheduling.mcts:solve",
    },
    "memory_mapping": {
        "all_slow": ".solvers.memory_mapping.all_slow:solve",
        "random": ".solvers.memory_mapping.random_search:solve",
        "greedy": ".solvers.memory_mapping.greedy:solve",
        "threshold": ".solvers.memory_mapping.threshold:solve",
        "xla_msa": ".solvers.memory_mapping.xla_msa:solve",
        "local_search": ".solvers.memory_mapping.local_search:solve",
        "beam": ".solvers.memory_mapping.beam:solve",
        "milp": ".solvers.memory_mapping.milp:solve",
        "portfolio": ".solvers.memory_mapping.portfolio:solve",
    },
    "sequence_design": {
        "offline_best": ".solvers.sequence_design.offline_best:solve",
        "random": ".solvers.sequence_design.random_search:solve",
        "proxy_exhaustive": ".solvers.sequence_design.proxy_exhaustive:solve",
        "ga": ".solvers.sequence_design.ga:solve",
        "adalead": ".solvers.sequence_design.adalead:solve",
        "cma_es": ".solvers.sequence_design.cma_es:solve",
        "bo": ".solvers.sequence_design.bo:solve",
        "gradient_ascent": ".solvers.sequence_design.gradient_ascent:solve",
        "gradient_ascent_single": ".solvers.sequence_design.gradient_ascent:solve_single",
        "gradient_ascent_min": ".solvers.sequence_design.gradient_ascent:solve_min",
        "gradient_ascent_soft": ".solvers.sequence_design.gradient_ascent:solve_soft",
        "gradient_ascent_eta": ".solvers.sequence_design.gradient_ascent:solve_eta",
        "reinforce": ".solvers.sequence_design.reinforce:solve",
        "coms": ".solvers.sequence_design.coms:solve",
        "bib": ".solvers.sequence_design.bib:solve",
        "bib_forward": ".solvers.sequence_design.bib:solve_forward",
        "bib_backward": ".solvers.sequence_design.bib:solve_backward",
        "bib_fixed_gamma": ".solvers.sequence_design.bib:solve_fixed_gamma",
        "bib_fixed_eta": ".solvers.sequence_design.bib:solve_fixed_eta",
        "bdi": ".solvers.sequence_design.bdi:solve",
        "cbas": ".solvers.sequence_design.cbas:solve",
        "mins": ".solvers.sequence_design.mins:solve",
        "gflownet": ".solvers.sequence_design.gflownet:solve",
    },
    "federated_lr": {
        "curve_optimum": ".solvers.federated_lr.curve_optimum:solve",
    },
}

AGENTS: dict[str, dict[str, str]] = {
    "vm_rescheduling": {
        "agent": ".agents.vm_rescheduling.prices:solve_agent",
        "ppo": ".agents.vm_rescheduling.players:solve_ppo",
        "ppo_greedy": ".agents.vm_rescheduling.players:solve_ppo_greedy",
        "ppo_sample": ".agents.vm_rescheduling.players:solve_ppo_sample",
    },
    "memory_mapping": {
        "agent": ".agents.memory_mapping.players:solve_agent",
        "muzero": ".agents.memory_mapping.players:solve_muzero",
        "ppo": ".agents.memory_mapping.players:solve_ppo",
    },
    "sequence_design": {
        "agent": ".agents.sequence_design.players:solve_agent",
        "muzero": ".agents.sequence_design.players:solve_muzero",
        "ppo": ".agents.sequence_design.players:solve_ppo",
    },
    "federated_lr": {
        "agent": ".agents.federated_lr.players:Agent",
        "muzero": ".agents.federated_lr.players:MuZero",
        "ppo": ".agents.federated_lr.players:Ppo",
    },
}

POLICIES: dict[str, dict[str, str]] = {
    "federated_lr": {
        "random": ".solvers.federated_lr.walks:RandomWalk",
        "fedavg": ".solvers.federated_lr.fixed:fedavg",
        "bold_driver": ".solvers.federated_lr.walks:BoldDriver",
        "fedhyper_g": ".solvers.federated_lr.fedhyper:fedhyper_g",
        "fedhyper_sl": ".solvers.federated_lr.fedhyper:fedhyper_sl",
        "fedhyper_cl": ".solvers.federated_lr.fedhyper:fedhyper_cl",
        "fedhyper_full": ".solvers.federated_lr.fedhyper:fedhyper_full",
        "fedhyper_g_cosine": ".solvers.federated_lr.fedhyper:fedhyper_g_cosine",
        "fedhyper_sl_cosine": ".solvers.federated_lr.fedhyper:fedhyper_sl_cosine",
        "fedhyper_cl_cosine": ".solvers.federated_lr.fedhyper:fedhyper_cl_cosine",
        "fedhyper_full_cosine": ".solvers.federated_lr.fedhyper:fedhyper_full_cosine",
        "fedavgm": ".solvers.federated_lr.fixed:fedavgm",
        "fedadagrad": ".solvers.federated_lr.fixed:fedadagrad",
        "fedadam": ".solvers.federated_lr.fixed:fedadam",
        "fedyogi": ".solvers.federated_lr.fixed:fedyogi",
        "fedexp": ".solvers.federated_lr.fedexp:FedExP",
        "linear": ".solvers.federated_lr.timed:linear",
        "cosine": ".solvers.federated_lr.timed:cosine",
        "cyclic_cosine": ".solvers.federated_lr.timed:cyclic_cosine",
        "step": ".solvers.federated_lr.timed:step",
        "exponential": ".solvers.federated_lr.timed:exponential",
        "one_cycle": ".solvers.federated_lr.timed:one_cycle",
        "rex": ".solvers.federated_lr.timed:rex",
        "wsd": ".solvers.federated_lr.timed:wsd",
        "wsd_s": ".solvers.federated_lr.timed:wsd_s",
        "wsdc": ".solvers.federated_lr.timed:wsdc",
        "infinite": ".solvers.federated_lr.timed:infinite",
        "rewarm_redecay": ".solvers.federated_lr.timed:rewarm_redecay",
        "slow_start_fast_decay": ".solvers.federated_lr.timed:slow_start_fast_decay",
        "power": ".solvers.federated_lr.timed:power",
        "uba": ".solvers.federated_lr.timed:uba",
        "refinement": ".solvers.federated_lr.timed:refinement",
        "linear_server": ".solvers.federated_lr.timed:linear_server",
        "cosine_server": ".solvers.federated_lr.timed:cosine_server",
        "cyclic_cosine_server": ".solvers.federated_lr.timed:cyclic_cosine_server",
        "step_server": ".solvers.federated_lr.timed:step_server",
        "exponential_server": ".solvers.federated_lr.timed:exponential_server",
        "one_cycle_server": ".solvers.federated_lr.timed:one_cycle_server",
        "rex_server": ".solvers.federated_lr.timed:rex_server",
        "wsd_server": ".solvers.federated_lr.timed:wsd_server",
        "wsd_s_server": ".solvers.federated_lr.timed:wsd_s_server",
        "wsdc_server": ".solvers.federated_lr.timed:wsdc_server",
        "infinite_server": ".solvers.federated_lr.timed:infinite_server",
        "rewarm_redecay_server": ".solvers.federated_lr.timed:rewarm_redecay_server",
        "slow_start_fast_decay_server": ".solvers.federated_lr.timed:slow_start_fast_decay_server",
        "power_server": ".solvers.federated_lr.timed:power_server",
        "uba_server": ".solvers.federated_lr.timed:uba_server",
        "refinement_server": ".solvers.federated_lr.timed:refinement_server",
        "autolrs": ".solvers.federated_lr.autolrs:AutoLRS",
        "hypergradient": ".solvers.federated_lr.fixed:hypergradient",
        "hypergradient_multiplicative": ".solvers.federated_lr.fixed:hypergradient_multiplicative",
        "dog": ".solvers.federated_lr.fixed:dog",
        "d_adaptation": ".solvers.federated_lr.fixed:d_adaptation",
        "prodigy": ".solvers.federated_lr.fixed:prodigy",
        "schedule_free": ".solvers.federated_lr.fixed:schedule_free",
    },
}

# Yardsticks that know what only the judge knows.
ORACLES: dict[str, dict[str, str]] = {
    "federated_lr": {
        "best_constant": ".solvers.federated_lr.best_constant:plan",
    },
}

# Beside those that a family's Problem names.
BENCHMARKS: dict[str, str] = {
    "muzero_search": ".benchmarks.muzero_search:measure",
    "packing": ".benchmarks.packing:measure",
}

_TABLES: dict[Kind, dict[str, dict[str, str]]] = {
    "agent": AGENTS,
    "solver": SOLVERS,
    "policy": POLICIES,
    "oracle": ORACLES,
}
KINDS: tuple[Kind, ...] = tuple(_TABLES)


def resolve(entry: str) -> Any:
    """Imports the object behind an entry point "module:attribute".

    Raises:
        MissingDependencyError: the module needs a package that is not installed.
    """
    module, attribute = entry.split(":")
    package = __package__.rpartition(".")[0]
    try:
        return getattr(importlib.import_module(module, package), attribute)
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith(package):
            raise
        raise MissingDependencyError(
            f"{entry} needs the package {error.name!r}; install the extras with "
            "pip install 'sysopt-gym[all]'"
        ) from error


def load_problem(family: str) -> Problem[Any]:
    """The family's Problem.

    Raises:
        UnknownNameError: no such family.
    """
    return cast(Problem[Any], resolve(FAMILIES[check_name(family, FAMILIES, "family")]))


def contender_names(family: str, kind: Kind) -> list[str]:
    """Names of a family's contenders of one kind, in the registry's order."""
    return list(_TABLES[kind].get(family, {}))


def contender_kind(family: str, name: str) -> Kind:
    """Whether a contender is an agent, a solver, a policy or an oracle.

    Raises:
        UnknownNameError: no such contender.
    """
    kinds = {other: kind for kind in _TABLES for other in contender_names(family, kind)}
    return kinds[check_name(name, kinds, f"{family} contender")]


def load_contender(family: str, name: str) -> Any:
    """The Solver or Oracle function or Policy class behind a name.

    Raises:
        UnknownNameError: no such contender.
        MissingDependencyError: it needs a package that is not installed.
    """
    return resolve(_TABLES[contender_kind(family, name)][family][name])


def register(kind: Kind, family: str, name: str, entry: str) -> None:
    """Adds a contender of another package, as "package.module:attribute"."""
    _TABLES[kind].setdefault(family, {})[name] = entry


def check_name(name: str, names: Iterable[str], what: str) -> str:
    """Return the name if it is among the names.

    Args:
        name: what somebody wrote.
        names: all that are known.
        what: what they name, in the message.

    Raises:
        UnknownNameError: it is not; the message offers the nearest and lists all.
    """
    names = list(names)
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise UnknownNameError(f"unknown {what} {name!r}; {hint}known: {', '.join(names)}")
