"""The family as one class, by which solvers, agents and the evaluation know it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ...core.contracts import Objective, Verdict, World
from ...core.problem import Defaults, Problem
from ...datasets.federated_lr.generator import PARAMETERS, generate
from ...datasets.federated_lr.instance import CURVE, Federation, Terms, seal, terms_of
from ...datasets.federated_lr.loaders import load_file
from ...datasets.federated_lr.settings import SETTINGS, with_settings
from ...datasets.federated_lr.splits import SETS
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
        budget_s=30.0,
        always=("random", "fedavg"),
        baseline="fedavg",
    )
    env_arguments: ClassVar[Mapping[str, Any]] = {"form": "orders"}
    pictures = ".evaluation.pictures.federated_lr:pictures"
    benchmarks: ClassVar[Mapping[str, str]] = {"federated_lr": ".benchmarks.federated_lr:measure"}

    def load_file(self, path: Path, settings: Mapping[str, str]) -> Federation:
        """Read a federation from images, LEAF's JSON or CSV."""
        return load_file(path, settings)

    def generate(self, parameters: Mapping[str, str], seed: int) -> Federation:
        """Generate a federation, or a learning curve."""
        return generate(parameters, seed)

    def apply_settings(self, federation: Federation, values: Mapping[str, str]) -> Federation:
        """Return the federation with other terms of training, partition or noise."""
        return with_settings(federation, values)

    def objective(self, federation: Federation) -> Objective:
        """Name the measure of the trained model that counts."""
        return objective_of(federation)

    def validate(self, federation: Federation, actions: np.ndarray, world: World) -> Verdict:
        """Train again with the plan's rates and rules, by the reference implementation."""
        return validate(federation, actions, world)

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
            "stragglers": f.stragglers,
        }

    def export_plan(self, federation: Federation, actions: np.ndarray) -> list[dict[str, Any]]:
        """List the rates and rules of every round."""
        return export_plan(federation, actions)

    def is_random(self, federation: Federation) -> bool:
        """Whether the world draws weights, participants and batches: true of all but curves."""
        return federation.model != CURVE

    def contender_view(self, federation: Federation) -> Federation:
        """Leave out the test rows."""
        return seal(federation)

    def policy_view(self, federation: Federation) -> Terms:
        """Return the terms of the training, without any data."""
        return terms_of(federation)

    def null_plan(self, federation: Federation) -> np.ndarray:
        """Keep the initial rates in every round."""
        return constant(terms_of(federation))


PROBLEM = FederatedLR()
