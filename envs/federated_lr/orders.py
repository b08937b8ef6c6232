"""Orders: what a controller tells the server each round, as whole numbers, so that a plan replays
to the last bit.

A plan is int64 [T + 1, 5], one order a step. Step 0 finds no update yet: its alpha moves nothing,
its beta and local rule are those of the first round's clients. Step t applies the update of round
t, which the server has seen, with its alpha and server rule, and sends beta and local rule to the
clients of round t + 1; after step T nobody trains any more.
"""

from __future__ import annotations

import math

import numpy as np

from ...core.errors import SettingError
from ...datasets.federated_lr.instance import ALPHA_RANGE, BETA_RANGE, Terms
from .server_rules import TAU

DECADE = 1_000_000  # codes of a rate a factor of ten; a rate is met to 1.2e-6 of itself
ALPHA, BETA, SERVER, LOCAL, CHECKPOINT = range(5)  # columns

# Server rules; see server_rules.py.
SERVER_RULES = ("average", "momentum", "adagrad", "adam", "yogi", "adam_corrected")
ADAPTIVE = ("adagrad", "adam", "yogi", "adam_corrected")  # those that add tau to a denominator
TAU_RANGE = (1e-12, 1.0)
# Local rules; see local_rules.py. Plans hold their numbers: new rules are added at the end.
LOCAL_RULES = (
    "sgd",
    "fedhyper",
    "fedhyper_cosine",
    "hypergradient",
    "hypergradient_multiplicative",
    "dog",
    "d_adaptation_half",
    "prodigy_dual_averaging",
    "schedule_free",
    "d_adaptation",
    "prodigy",
)
GO_ON, KEEP, RETURN = range(3)  # checkpoints: nothing, keep the model as it is, or return to it
CHECKPOINTS = ("go_on", "keep", "return")


def code_of(rate: float, limits: tuple[float, float]) -> int:
    """The code of a rate, drawn into its limits; of NaN the lowest."""
    low, high = limits
    held = min(max(rate, low), high) if rate == rate else low
    return round(math.log10(held / low) * DECADE)


def rate_of(code: int, limits: tuple[float, float]) -> float:
    """The rate of a code."""
    return float(limits[0] * 10.0 ** (code / DECADE))


CODES = tuple(code_of(limits[1], limits) + 1 for limits in (ALPHA_RANGE, BETA_RANGE))
# Codes of server rules: their numbers, with the usual tau; after these, every other tau of a rule
# that has one.
SERVER_CODES = len(SERVER_RULES) + len(ADAPTIVE) * (code_of(TAU_RANGE[1], TAU_RANGE) + 1)
SIZES = (*CODES, SERVER_CODES, len(LOCAL_RULES), len(CHECKPOINTS))  # of the columns


def server_code(rule: str, tau: float = TAU) -> int:
    """The code of a server rule.

    Args:
        rule: one of SERVER_RULES.
        tau: added to the denominator of the rules in ADAPTIVE; met to 1.2e-6 of itself.

    Raises:
        SettingError: tau is outside TAU_RANGE, or the rule has none.
    """
    if tau == TAU:
        return SERVER_RULES.index(rule)
    low, high = TAU_RANGE
    if rule not in ADAPTIVE:
        raise SettingError(f"server rule {rule!r} has no tau; leave it out")
    if not low <= tau <= high:
        raise SettingError(f"tau is {tau}; give a number from {low:g} to {high:g}")
    place = len(ADAPTIVE) * code_of(tau, TAU_RANGE) + ADAPTIVE.index(rule)
    return len(SERVER_RULES) + place


def server_of(code: int) -> tuple[str, float]:
    """The rule and the tau of a code."""
    if code < len(SERVER_RULES):
        return SERVER_RULES[code], TAU
    place, rule = divmod(code - len(SERVER_RULES), len(ADAPTIVE))
    return ADAPTIVE[rule], rate_of(place, TAU_RANGE)


def order(
    alpha: float,
    beta: float,
    server: str = "average",
    local: str = "sgd",
    checkpoint: str = "go_on",
    tau: float = TAU,
) -> np.ndarray:
    """An order, int64 [5].

    Args:
        alpha: the server's rate for the update in hand; drawn into ALPHA_RANGE.
        beta: the clients' rate for the round to come; drawn into BETA_RANGE.
        server: one of SERVER_RULES.
        local: one of LOCAL_RULES.
        checkpoint: "keep" remembers model, server state and update in hand before the step;
            "return" goes back to them before the step.
        tau: of the server rule, if it has one; see server_code.

    Raises:
        SettingError: the server rule has no such tau.
    """
    return np.array(
        [
            code_of(alpha, ALPHA_RANGE),
            code_of(beta, BETA_RANGE),
            server_code(server, tau),
            LOCAL_RULES.index(local),
            CHECKPOINTS.index(checkpoint),
        ],
        np.int64,
    )


def constant(terms: Terms) -> np.ndarray:
    """FedAvg's plan, int64 [T + 1, 5]: the initial rates all along."""
    return np.tile(order(terms.alpha, terms.beta), (terms.rounds + 1, 1))
