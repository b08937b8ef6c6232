"""The network that reads a program once: compiled and in torch alike, distilled, and playing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sysopt_gym.agents.checkpoints import load_network, read_card
from sysopt_gym.agents.memory_mapping.distillation import (
    RECIPE,
    importance,
    lessons,
    score,
)
from sysopt_gym.agents.memory_mapping.reader import ProgramReader, make_graph, take_weights
from sysopt_gym.agents.memory_mapping.readers import READER, load_weights, solve_reader
from sysopt_gym.agents.memory_mapping.reading import (
    MOMENTS,
    SETTLED,
    TRAITS,
    Reader,
    Trait,
    links_of,
    read,
    traits_of,
)
from sysopt_gym.agents.recipe import ImitationPass
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.contracts import World
from sysopt_gym.datasets.memory_mapping.instance import Program
from sysopt_gym.datasets.memory_mapping.splits import SETS
from sysopt_gym.envs.memory_mapping.dynamics import DROP, make_state
from sysopt_gym.envs.memory_mapping.problem import PROBLEM
from sysopt_gym.envs.memory_mapping.static import planning_static
from sysopt_gym.solvers.memory_mapping.local_search import solve as local_search
from torch_geometric.data import Batch

PROGRAMS = [*SETS.load("small:test")[:4], *SETS.load("hlo/6")]  # the last one has loops


def untrained(seed: int = 0) -> ProgramReader:
    torch.manual_seed(seed)
    return ProgramReader(16)


def reader_of(program: Program, network: ProgramReader) -> Reader:
    static = planning_static(program)
    return Reader(static, make_state(static), take_weights(network))


def unlimited() -> Budget:
    return Budget(60.0)


def test_compiled_reading_is_that_of_torch_also_in_batches() -> None:
    network, graphs, compiled = untrained(), [], []
    for program in PROGRAMS:
        static = planning_static(program)
        traits, links = traits_of(static), links_of(static)
        graphs.append(make_graph(traits, links))
        compiled.append(read(traits, links, take_weights(network)))
    with torch.no_grad():
        together = network.read(Batch.from_data_list(graphs)).numpy()
        np.testing.assert_allclose(together, np.concatenate(compiled), atol=1e-4)
        alone = network.read(graphs[-1]).numpy()
    np.testing.assert_allclose(alone, compiled[-1], atol=1e-4)


def test_compiled_choices_are_those_of_torch() -> None:
    network = untrained()
    for program in PROGRAMS:
        reader = reader_of(program, network)
        reader.follow(np.zeros(program.n_decisions))
        notes, seen = reader.notes, reader.notes.chosen == 1
        with torch.no_grad():
            odds = network.odds(
                torch.from_numpy(reader.embeddings[seen]), torch.from_numpy(notes.moments[seen])
            )
        np.testing.assert_allclose(odds.numpy(), notes.odds[seen], atol=1e-4)
        assert seen.any() and set(notes.wishes[seen]) <= {0, 1}


def test_what_is_read_is_between_nothing_and_one() -> None:
    for program in PROGRAMS:
        traits = traits_of(planning_static(program))
        assert traits.shape == (program.n_decisions, TRAITS)
        assert traits.min() >= 0.0 and traits.max() <= 1.0
        assert traits[:, Trait.PROGRESS].tolist() == sorted(traits[:, Trait.PROGRESS].tolist())


def test_what_is_read_does_not_depend_on_the_unit_of_time() -> None:
    program = PROGRAMS[0]
    slower = program.part(
        instr_compute_s=8 * program.instr_compute_s,
        slow_bw=program.slow_bw / 8,
        fast_read_bw=program.fast_read_bw / 8,
        fast_write_bw=program.fast_write_bw / 8,
    )
    # Equal densities are told apart by rounding to picoseconds.
    ranked = [Trait.DENSITY, Trait.CROWD, Trait.CROWD_NEXT, Trait.FITS]
    one, other = (
        np.delete(traits_of(planning_static(each)), ranked, axis=1) for each in (program, slower)
    )
    np.testing.assert_allclose(one, other, atol=1e-4)


def test_a_bias_puts_everything_or_nothing_in_fast_memory() -> None:
    program = PROGRAMS[0]
    reader, clock = reader_of(program, untrained()), unlimited().start()
    nothing = reader.play_within(clock, np.inf, np.full(program.n_decisions, -SETTLED))
    assert nothing == reader.static.all_slow or not (reader.state.actions == DROP).all()
    reader.play_within(clock, np.inf, np.full(program.n_decisions, SETTLED))
    assert reader.notes.wishes.sum() > 0


def test_following_a_plan_gives_the_plan() -> None:
    for program in PROGRAMS:
        plan = np.asarray(local_search(program, Budget(0.2), 0).actions)
        reader = reader_of(program, untrained())
        reader.follow(np.where(plan == DROP, -SETTLED, SETTLED))
        assert reader.state.actions.tolist() == plan.tolist()


def test_what_saves_more_time_weighs_more() -> None:
    static = planning_static(PROGRAMS[0])
    weights = importance(static)
    assert weights.min() >= 0.1 - 1e-6 and weights.max() > 2 * weights.min()


def test_distillation_lowers_the_loss_and_learns_from_own_plays() -> None:
    network, rng = untrained(), np.random.default_rng(0)
    programs = SETS.load("small:train")[:6]
    plans = {one.content_hash: local_search(one, Budget(0.1), 0).actions for one in programs}
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    losses = []
    for number in range(30):
        imitation = ImitationPass(
            number, network, programs, lambda one: np.asarray(plans[one.content_hash]), rng,
            {"own_play_from": 20},
        )  # fmt: skip
        graphs = lessons(imitation)
        assert all(graph.moments.shape == (len(graph.wish), MOMENTS) for graph in graphs)
        losses.append(RECIPE.imitate(network, graphs, optimizer, 3, rng)["loss"])
    assert losses[19] < 0.7 * losses[0]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda one: one.name)
def test_plans_are_legal_and_better_than_nothing(program: Program) -> None:
    for seconds in (0.003, 0.05):
        plan = np.asarray(solve_reader(program, Budget(seconds), 0).actions)
        verdict = PROBLEM.validate(program, plan, World())
        assert verdict.feasible and verdict.objective >= 1.0


def test_the_shipped_policy_beats_what_it_is_distilled_from_at_ten_milliseconds() -> None:
    load_weights(READER)
    program = SETS.load("synthetic:val/3")[0]
    ours = solve_reader(program, Budget(5.0, evaluations=8), 0)
    theirs = local_search(program, Budget(5.0, evaluations=8), 0)
    objective = [
        PROBLEM.validate(program, np.asarray(one.actions), World()).objective
        for one in (ours, theirs)
    ]
    assert objective[0] > objective[1]


def test_the_shipped_policy_scores_as_its_card_says() -> None:
    card = read_card(READER)
    found = score(load_network(READER, PROBLEM, ProgramReader), SETS.load("synthetic:val"))
    # Deterministic but for the last digits of floats, which may decide a tie.
    assert found["greedy"] == pytest.approx(card.expected["synthetic:val"]["greedy"], abs=0.01)
