"""The family as one class, by which solvers, agents and the evaluation know it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar

import numpy as np

from ...core.problem import Defaults, Problem
from ...datasets.federated_lr.generator import PARAMETERS, generate
from ...datasets.federated_lr.instance import CURVE, Federation, seal, terms_of
from ...datasets.federated_lr.loaders import load_file
from ...datasets.federated_lr.settings import SETTINGS, with_settings
from ...datasets.federated_lr.splits import SETS
from ...datasets.federated_lr.template import template
from . import FAMILY
from .objective import objective_of
from .orders import constant
from .plan import export_plan
from .validate import validate


def _purity(f: Federation) -> float:
    """Average over the clients the share of each one's most frequent label."""
    labels = f.labels.reshape(len(f.labels), -1)[:, 0]
    counts = np.zeros((f.clients, f.classes))
    np.add.at(counts, (f.owner, labels), 1)
    return float((counts.max(axis=1) / counts.sum(axis=1)).mean())


class FederatedLR(Problem[Federation]):
    """The learning rates of federated training (after FedHyper, Wang et al., ICLR 2024)."""

    family = "federated_lr"
    env_id = FAMILY.env_id
    env_version = "1"
    title = "Control the learning rates of federated training (after FedHyper, ICLR 2024)"
    instance_type = Federation
    sets = SETS
    generator_parameters = PARAMETERS
    settings = SETTINGS
    defaults = Defaults(
        instances=("digits-grid",),
        contenders=(
            "agent", "ppo", "alphazero_policy", "fedhyper_full_cosine", "fedhyper_g",
            "fedhyper_sl_cosine", "fedadam", "fedexp", "cosine", "linear", "wsd",
            "autolrs", "best_constant",
        ),
        budget_s=30.0,
        always=("random", "fedavg"),
        baseline="fedavg",
    )  # fmt: skip
    env_arguments: ClassVar[Mapping[str, Any]] = {"form": "orders"}
    pictures = ".evaluation.pictures.federated_lr:pictures"
    benchmark = ".benchmarks.federated_lr:measure"

    load_file = staticmethod(load_file)
    template = staticmethod(template)
    generate = staticmethod(generate)
    apply_settings = staticmethod(with_settings)
    objective = staticmethod(objective_of)
    validate = staticmethod(validate)
    export_plan = staticmethod(export_plan)
    contender_view = staticmethod(seal)
    policy_view = staticmethod(terms_of)

    @staticmethod
    @cache
    def warm_up_instance() -> Federation:
        """Make a small synthetic federation with a perceptron; it meets every compiled path."""
        return generate(
            {"clients": "6", "features": "5", "classes": "3", "rows": "12", "rounds": "6",
             "participants": "3", "local_steps": "2", "batch": "4", "model": "mlp", "width": "4"},
            1,
        )  # fmt: skip

    def describe(self, federation: Federation) -> dict[str, Any]:
        """List facts for `data info` and the report."""
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
            "labels change": f"{len(f.changes)} times",
            "stragglers": f.stragglers,
        }

    def is_random(self, federation: Federation) -> bool:
        """Whether the world draws weights, participants and batches: true of all but curves."""
        return federation.model != CURVE

    def null_plan(self, federation: Federation) -> np.ndarray:
        """Keep the initial rates in every round."""
        return constant(terms_of(federation))


PROBLEM = FederatedLR()
