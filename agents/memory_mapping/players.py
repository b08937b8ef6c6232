"""The agents of memory mapping as contenders.

`ppo` samples plans from its policy until the budget ends. `alphazero` plays with the search it was
trained with, on the game itself (known model). `agent` is a hybrid: its policy samples plans
that local search starts from, besides XLA's assignment, and says where to change them. Each takes
the folder of a policy that PPO, AlphaZero or imitation trained in place of the shipped one.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ...core.budget import Budget, Clock
from ...core.solution import Solution
from ...datasets.memory_mapping.instance import Program
from ...envs.memory_mapping.dynamics import DROP
from ...envs.memory_mapping.objective import all_fast_bound
from ...envs.memory_mapping.problem import PROBLEM
from ...methods.memory_mapping import greedy, msa, threshold
from ...methods.memory_mapping.best import Best
from ...methods.memory_mapping.local_search import improve
from ...methods.memory_mapping.long import LONG, NEVER, play_within
from ...methods.memory_mapping.proof import finish, is_met, prove
from ...methods.memory_mapping.wishes import wishes_of
from ..checkpoints import SHIPPED, kept_by_content, load_network
from .lookahead import LEAST_DOUBT, Lookahead
from .network import DecisionPolicy
from .playing import Player, Weights, take_weights

PPO, ALPHAZERO = SHIPPED / "memory_mapping_ppo", SHIPPED / "memory_mapping_alphazero"
TEMPERATURES = (0.5, 0.3, 1.0, 0.7)  # the samples take turns at these
RESERVE_S = 0.005  # kept back for returning the plan
MSA_SHARE = 0.3  # share of the seconds for XLA's assignment
# Of the seconds; what the policy has not decided of its first plan by then is in slow memory. The
# second is of programs of more than LONG decisions.
POLICY_SHARE, LONG_SHARE = 0.8, 0.5
SAMPLES_SHARE = 0.1  # share of the seconds for sampling plans to start from
MOST_SAMPLES = 48
STARTS = 4  # samples that local search starts from
# Of `agent`: shares of the seconds for the sweep, in a budget of at least PROOF_S, where it has
# more than SWEEP_S, and where not; the most seconds that asking the policy may take, for each
# decision and as a share of those left; the least seconds for a race of several starts; how many
# askings must fit in those left for the policy to guide.
LONGEST_SWEEP, LONG_SWEEP, SWEEP, SWEEP_S = 0.2, 0.05, 0.1, 0.005
DECISION_S, ASKING = 16e-6, 0.8
RACE_S, MOST_ASKED = 0.06, 12.0
# Least seconds of a budget for the relaxed game, and the share of them that it may take.
PROOF_S, PROOF_SHARE = 2.0, 0.2
AGENT_RESERVE_S = 0.0015
ROOTS, SIMULATIONS = 4, 32  # searches at once; simulations of each
# Mean of how much worse an accepted plan may be, as a share of the all-slow time; in turns.
HEATS = (0.0, 3e-4, 1e-4, 1e-3, 3e-5)
PERIOD = 1500  # playouts of a turn


@kept_by_content
def load_weights(folder: Path) -> Weights:
    """Load a policy for compiled play.

    Args:
        folder: the policy's.

    Raises:
        CheckpointError: it is missing, damaged or for another version of the environment.
    """
    return take_weights(load_network(folder, PROBLEM, DecisionPolicy))


def solve_ppo(instance: Program, budget: Budget, seed: int, policy: Path = PPO) -> Solution:
    """Plan by sampling from the policy; the first sample takes the likeliest choices.

    Args:
        instance: the program.
        budget: seconds and evaluations; one evaluation is one plan.
        seed: seed of the samples.
        policy: folder of the policy.

    Returns:
        The best plan sampled.
    """
    clock = budget.start()
    rng = np.random.default_rng(seed)
    player = Player(instance, load_weights(policy))
    best, plan, slowest = NEVER, np.full(len(player.fixed), DROP, np.int64), 0.0
    until = _asked_until(player, clock)
    while best == NEVER or not (clock.expired or clock.remaining < RESERVE_S + slowest):
        began = clock.elapsed
        time = player.play_within(clock, until, _temperature(clock.evaluations), rng)
        clock.evaluations += 1
        if time == NEVER:
            break
        if time < best:
            best, plan = time, player.state.actions.copy()
            clock.incumbent(plan)
        slowest, until = max(slowest, clock.elapsed - began), np.inf
    return clock.solution(plan)


def solve_alphazero(
    instance: Program, budget: Budget, seed: int, policy: Path = ALPHAZERO
) -> Solution:
    """Plan by Gumbel AlphaZero, searching in the game itself; see lookahead.py.

    The search starts from the best of some sampled plans. HEATS take turns, each from the best
    plan; when none of them improves it, the search starts again from another sample. Programs
    of more than LONG decisions are sampled alone, as a search would not end.

    Args:
        instance: the program.
        budget: seconds and evaluations; one evaluation is one plan.
        seed: seed of the samples and of the search.
        policy: folder of the policy.

    Returns:
        The best plan met.
    """
    clock = budget.start()
    rng = np.random.default_rng(seed)
    player = Player(instance, load_weights(policy))
    best, plan = _samples(player, clock, rng)[0]
    clock.incumbent(plan)
    slowest = _seconds_of_a_look(player, clock, plan)
    if len(plan) > LONG or clock.remaining < RESERVE_S + slowest:
        return clock.solution(plan)
    lookahead = Lookahead(player, best, plan, ROOTS, SIMULATIONS)
    turn, last, until = 0, 0, 0  # last: the turn that improved the lookahead's plan
    slowest = 0.0
    while lookahead.has_choices and not clock.expired and clock.remaining > RESERVE_S + slowest:
        began = clock.elapsed
        if lookahead.playouts >= until:
            if turn - last > len(HEATS):
                time = player.play(TEMPERATURES[turn % len(TEMPERATURES)], rng)
                sample = player.state.actions.copy()
                lookahead, last = Lookahead(player, time, sample, ROOTS, SIMULATIONS), turn
            lookahead.go_back()
            heat = HEATS[turn % len(HEATS)] * player.static.all_slow
            turn, until = turn + 1, lookahead.playouts + PERIOD
        played = lookahead.playouts
        if lookahead.look(heat, rng):
            last = turn
            if lookahead.time < best:
                best, plan = lookahead.time, lookahead.plan
                clock.incumbent(plan)
        clock.evaluations += lookahead.playouts - played
        slowest = max(slowest, clock.elapsed - began)
    return clock.solution(plan)


def _seconds_of_a_look(player: Player, clock: Clock, plan: np.ndarray) -> float:
    """Estimate the seconds until the first search ends: its playouts, and asking the policy about
    the whole plan.
    """
    asking = clock.elapsed / max(1, clock.evaluations)
    began = clock.elapsed
    play_within(player.static, player.state, wishes_of(plan), clock)
    return asking + ROOTS * SIMULATIONS / 2 * (clock.elapsed - began)


def solve_agent(instance: Program, budget: Budget, seed: int, policy: Path = ALPHAZERO) -> Solution:
    """Plan by local search from a threshold sweep, sampled plans and XLA's assignment, with changes
    where the policy would choose otherwise.

    The cheapest plans come first: XLA's assignment and the sweep. The policy is asked where there
    are seconds for that, and so is the relaxed game, for its bound and its points. In programs of
    more than LONG decisions the changes are anywhere, and local search starts from the best of
    XLA's assignment, the sampled and the greedy plans.

    Args:
        instance: the program.
        budget: seconds and evaluations; one evaluation is one plan.
        seed: seed of the samples and of local search.
        policy: folder of the policy.

    Returns:
        The best plan met.
    """
    clock = _shortened(budget).start()
    rng = np.random.default_rng(seed)
    player = Player(instance, load_weights(policy))
    assigned = msa.assign(player.static, clock, MSA_SHARE * budget.seconds)
    best = Best(instance, clock, player.static)
    best.try_wishes(assigned)
    if len(assigned) > LONG:
        for time, plan in _samples(player, clock, rng)[:STARTS]:
            best.take(time, plan)
        greedy.search(best)
        improve(best, seed)
        return clock.solution(best.plan)
    starts, asking_s = [assigned], DECISION_S * len(assigned)
    if asking_s < ASKING * clock.remaining and not clock.expired:
        began, plays = clock.elapsed, clock.evaluations
        samples = _samples(player, clock, rng, best)[:STARTS]
        starts = [*(wishes_of(plan) for _, plan in samples), assigned]
        asking_s = (clock.elapsed - began) / max(1, clock.evaluations - plays)
    seconds = clock.budget.seconds
    share = LONGEST_SWEEP if seconds >= PROOF_S else LONG_SWEEP
    threshold.search(best, max(share * seconds, min(SWEEP_S, SWEEP * seconds)), coarse=True)
    bound = all_fast_bound(player.static)
    if seconds >= PROOF_S:
        bound = prove(best, seed, clock.remaining - PROOF_SHARE * seconds)
    is_quick = clock.remaining < RACE_S  # to try the starts again would take too long

    def doubts(plan: np.ndarray) -> np.ndarray:
        if clock.remaining < MOST_ASKED * asking_s:
            return np.ones(len(plan))
        return player.doubts(plan) + LEAST_DOUBT

    if not is_met(bound, best):
        improve(best, seed, starts=() if is_quick else starts, guide=doubts)
    return finish(best, bound)


def _shortened(budget: Budget) -> Budget:
    """Return a budget that ends earlier, by what returning a plan and a last play take."""
    return replace(budget, seconds=budget.seconds - min(AGENT_RESERVE_S, 0.1 * budget.seconds))


def _asked_until(player: Player, clock: Clock) -> float:
    """Return the seconds of the clock until which the policy may be asked for a first plan."""
    return (LONG_SHARE if len(player.fixed) > LONG else POLICY_SHARE) * clock.budget.seconds


def _temperature(count: int) -> float:
    """Return the sampling temperature of sample number `count`; 0.0 (greedy) for the first."""
    return TEMPERATURES[count % len(TEMPERATURES)] if count else 0.0


def _samples(
    player: Player, clock: Clock, rng: np.random.Generator, best: Best | None = None
) -> list[tuple[int, np.ndarray]]:
    """Sample different plans, that of the likeliest choices among them.

    Args:
        player: plays.
        clock: the run's.
        rng: source of the samples.
        best: takes the plans as they come.

    Returns:
        Their times, ps, and the plans, int64 [D]; the best first.
    """
    plans: dict[bytes, tuple[int, np.ndarray]] = {}
    for count in range(MOST_SAMPLES):
        if count and (clock.expired or clock.elapsed > SAMPLES_SHARE * clock.budget.seconds):
            break
        time = player.play_within(clock, _asked_until(player, clock), _temperature(count), rng)
        clock.evaluations += 1
        if time == NEVER:
            break
        plans[player.state.actions.tobytes()] = time, player.state.actions.copy()
        if best is not None:
            best.take(time, player.state.actions)
    if not plans:
        return [(player.static.all_slow, np.full(len(player.fixed), DROP, np.int64))]
    return sorted(plans.values(), key=lambda pair: pair[0])
