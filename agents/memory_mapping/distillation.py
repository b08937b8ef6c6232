"""Training of the network that reads a program once: it learns what a long search finds.

At every decision that has a choice it learns the place that the searched plan has for the use: in
plays of the plan itself and, from pass `own_play_from` on, in its own sampled ones (DAgger, Ross et
al. 2011), so that it knows what to do where it has strayed. Uses that save more weigh more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.data import Batch

from ...core.budget import Budget
from ...core.instance import remembered
from ...datasets.memory_mapping.instance import Program
from ...envs.memory_mapping.dynamics import DROP, Static, make_state
from ...envs.memory_mapping.static import planning_static
from ...envs.memory_mapping.stays import benefits
from ..batches import Losses, one_pass
from ..recipe import ImitationPass, JudgedFigure, Recipe, score_plans
from .playing import UNLIMITED_S
from .reader import ProgramReader, ReadProgram, make_graph, take_weights
from .reading import SETTLED, Links, Reader, links_of, traits_of

OWN_PLAYS = 0.5  # share of own plays, once there are any
TEMPERATURE = 0.3  # of own plays
LEAST_WEIGHT = 0.1  # of a use that saves nothing


def lessons(imitation: ImitationPass[ProgramReader, Program]) -> list[ReadProgram]:
    """Return a graph of each program, with the plan's choices and what was seen; see Recipe."""
    weights, rng = take_weights(imitation.network), imitation.rng
    found = []
    for program in imitation.instances:
        plan = imitation.plan(program)
        static = remembered(program, planning_static)
        reader = Reader(static, make_state(static), weights)
        own = imitation.number >= imitation.options["own_play_from"]
        if own and rng.random() < OWN_PLAYS:
            reader.follow(TEMPERATURE * rng.logistic(size=len(plan)))
        else:
            reader.follow(np.where(plan == DROP, -SETTLED, SETTLED))
        traits, links = remembered(program, _reading)
        found.append(
            make_graph(
                traits,
                links,
                moments=reader.notes.moments,
                chosen=reader.notes.chosen.astype(np.bool_),
                wish=(plan != DROP).astype(np.float32),
                weight=importance(static),
            )
        )
    return found


def _reading(program: Program) -> tuple[np.ndarray, Links]:
    static = remembered(program, planning_static)
    return traits_of(static), links_of(static)


def importance(static: Static) -> np.ndarray:
    """Return how much each decision weighs, float32 [D]: more if it and the next save more time.

    Args:
        static: the program.
    """
    saves = benefits(static).astype(np.float64)
    ahead = np.append(saves, 0.0)[np.minimum(static.dec_next, len(saves))]
    saved = 2.0 * (saves + ahead) * len(static.instr_slow) / static.all_slow
    weights: np.ndarray = (LEAST_WEIGHT + saved / (1.0 + saved)).astype(np.float32)
    return weights


def imitate(
    network: ProgramReader,
    samples: Sequence[ReadProgram],
    optimizer: torch.optim.Optimizer,
    batch_size: int,
    rng: np.random.Generator,
) -> Losses:
    """Train one pass by the cross-entropy of the choices; see Imitate.

    Args:
        network: the network to train.
        samples: programs, as of `lessons`.
        optimizer: optimizer of the network's parameters.
        batch_size: programs per gradient step.
        rng: source of the order of the programs.

    Returns:
        "loss", the weighted mean cross-entropy; "right", the share of choices like the plan's.
    """

    def loss_of(programs: Sequence[ReadProgram]) -> tuple[Tensor, Losses]:
        graph = Batch.from_data_list(list(programs))
        chosen = graph.chosen
        odds = network.odds(network.read(graph), graph.moments)[chosen]
        wish, weight = graph.wish[chosen], graph.weight[chosen]
        each = nn.functional.binary_cross_entropy_with_logits(odds, wish, reduction="none")
        loss = (each * weight).sum() / weight.sum()
        right = (((odds > 0) == (wish > 0)) * weight).sum() / weight.sum()
        return loss, {"loss": loss.item(), "right": right.item()}

    return one_pass(network, samples, optimizer, batch_size, rng, loss_of)


def score(network: ProgramReader, instances: Sequence[Program]) -> dict[str, float]:
    """Score plans by their times over the all-slow time, as means over instances; deterministic.

    Args:
        network: the policy.
        instances: the programs.

    Returns:
        greedy: of the likeliest choices; sample: mean of 8 samples; best_of_8: the best of them.
    """
    weights, rng = take_weights(network), np.random.default_rng(0)

    def player_of(program: Program) -> Callable[[float], float]:
        static = planning_static(program)
        reader = Reader(static, make_state(static), weights)
        clock = Budget(seconds=UNLIMITED_S).start()

        def play(temperature: float) -> float:
            noise = temperature * rng.logistic(size=len(static.dec_instr))
            return reader.play_within(clock, np.inf, noise) / static.all_slow

        return play

    return score_plans(map(player_of, instances))


RECIPE: Recipe[ProgramReader, Program, ReadProgram] = Recipe(
    network=ProgramReader,
    lessons=lessons,
    imitate=imitate,
    score=score,
    chosen_by="greedy",
    options={"own_play_from": 30},
    judged=JudgedFigure("greedy", of=lambda speedup: 1.0 / speedup),
    player="reader",
)
