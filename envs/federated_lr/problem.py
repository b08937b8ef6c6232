"""The family's Problem: what the solvers, the agents and the evaluation know it by."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from ...core.contracts import Problem
from ...datasets.federated_lr.generator import PARAMETERS, generate
from ...datasets.federated_lr.instance import CURVE, Federation, seal, terms_of
from ...datasets.federated_lr.loaders import load_file
from ...datasets.federated_lr.settings import SETTINGS, with_settings
from ...datasets.federated_lr.splits import SETS, load_set
from .objective import objective_of
from .orders import constant
from .plan import export_plan
from .validate import validate


def describe(federation: Federation) -> dict[str, Any]:
    """Facts for `data info` and the report."""
    f = federation
    facts: dict[str, Any] = {
        "model": f.model if not f.width else f"{f.model}, width {f.width}",
        "rounds": f.rounds,
        "initial alpha (server)": f.alpha,
        "initial beta (clients)": f.beta,
        "objective": f.objective,
    }
    if f.model == CURVE:
        return facts | {"law": np.array2string(f.law, precision=4)}
    rows = np.bincount(f.owner)
    least, median, most = rows.min(), int(np.median(rows)), rows.max()
    return facts | {
        "rows of clients / validation / test": f"{len(f.labels)} / {len(f.val_labels)} / "
        f"{len(f.test_labels)}",
        "row": f"{f.inputs.shape[1:]}, {f.classes} classes",
        "clients": f.clients,
        "rows a client (least, median, most)": f"{least}, {median}, {most}",
        "most frequent label of a client": f"{_purity(f):.0%} of its rows on average",
        "participants x local steps x batch": f"{f.participants} x {f.local_steps} x "
        f"{f.batch_size}",
        "drift": f.drift,
        "stragglers": f.stragglers,
    }


def _purity(f: Federation) -> float:
    """Mean over clients of the share of their most frequent label."""
    labels = f.labels.reshape(len(f.labels), -1)[:, 0]
    counts = np.zeros((f.clients, f.classes))
    np.add.at(counts, (f.owner, labels), 1)
    return float((counts.max(axis=1) / counts.sum(axis=1)).mean())


@cache
def warm_up_instance() -> Federation:
    """A small synthetic federation with a perceptron, so that every compiled path is met once."""
    return generate(
        {"clients": "6", "features": "5", "classes": "3", "rows": "12", "rounds": "6",
         "participants": "3", "local_steps": "2", "batch": "4", "model": "mlp", "width": "4"},
        1,
    )  # fmt: skip


PROBLEM = Problem(
    family="federated_lr",
    env_id="sysopt/FederatedLR-v0",
    env_version="1",
    title="Control the learning rates of federated training (after FedHyper, ICLR 2024)",
    instance_type=Federation,
    instance_sets=SETS,
    load_set=load_set,
    load_file=load_file,
    generate=generate,
    generator_parameters=PARAMETERS,
    settings=SETTINGS,
    apply_settings=with_settings,
    objective=objective_of,
    validate=validate,
    warm_up_instance=warm_up_instance,
    describe=describe,
    export_plan=export_plan,
    default_instances=("digits-grid",),
    default_contenders=(
        "agent",
        "ppo",
        "muzero",
        "fedhyper_full_cosine",
        "fedhyper_g",
        "fedhyper_sl_cosine",
        "fedadam",
        "fedexp",
        "cosine",
        "linear",
        "wsd",
        "autolrs",
        "best_constant",
    ),
    default_budget_s=30.0,
    always=("random", "fedavg"),
    baseline="fedavg",
    pictures=".envs.federated_lr.pictures:pictures",
    benchmarks={"federated_lr": ".benchmarks.federated_lr:measure"},
    draws=lambda federation: federation.model != CURVE,
    shown=seal,
    told=terms_of,
    plan_arguments={"form": "orders"},
    nothing=lambda federation: constant(terms_of(federation)),
)
