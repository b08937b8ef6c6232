"""Learning-rate controllers of federated training: policies that see a round, then set rates.

The tables say where each is; nothing but the schedules' names is imported before it is used.
"""

from ...core.registry import Entry
from ...methods.federated_lr.schedules import SCHEDULES

_SCHEDULED = [f"{name}{rate}" for rate in ("", "_server") for name in (*SCHEDULES, "refinement")]
_PLAYERS = {
    "random": ".walks:RandomWalk",
    "fedavg": ".fixed:fedavg",
    "bold_driver": ".walks:BoldDriver",
    "fedhyper_g": ".fedhyper:fedhyper_g",
    "fedhyper_sl": ".fedhyper:fedhyper_sl",
    "fedhyper_cl": ".fedhyper:fedhyper_cl",
    "fedhyper_full": ".fedhyper:fedhyper_full",
    "fedhyper_g_cosine": ".fedhyper:fedhyper_g_cosine",
    "fedhyper_sl_cosine": ".fedhyper:fedhyper_sl_cosine",
    "fedhyper_cl_cosine": ".fedhyper:fedhyper_cl_cosine",
    "fedhyper_full_cosine": ".fedhyper:fedhyper_full_cosine",
    "fedavgm": ".fixed:fedavgm",
    "fedadagrad": ".fixed:fedadagrad",
    "fedadam": ".fixed:fedadam",
    "fedyogi": ".fixed:fedyogi",
    "fedadam_flower": ".fixed:fedadam_flower",
    "fedyogi_flower": ".fixed:fedyogi_flower",
    "fedavg_constant": ".constants:fedavg_constant",
    "fedavgm_constant": ".constants:fedavgm_constant",
    "fedadam_constant": ".constants:fedadam_constant",
    "fedavg_decay": ".constants:fedavg_decay",
    "fedavgm_decay": ".constants:fedavgm_decay",
    "fedadam_decay": ".constants:fedadam_decay",
    "fedexp": ".fedexp:FedExP",
    **{name: f".timed:{name}" for name in _SCHEDULED},
    "autolrs": ".autolrs:AutoLRS",
    "hypergradient": ".fixed:hypergradient",
    "hypergradient_multiplicative": ".fixed:hypergradient_multiplicative",
    "dog": ".fixed:dog",
    "d_adaptation": ".fixed:d_adaptation",
    "d_adaptation_half": ".fixed:d_adaptation_half",
    "prodigy": ".fixed:prodigy",
    "prodigy_dual_averaging": ".fixed:prodigy_dual_averaging",
    "schedule_free": ".fixed:schedule_free",
}
SOLVERS = {
    "curve_optimum": Entry(".curve_optimum:solve"),
    **{name: Entry(place, "player") for name, place in _PLAYERS.items()},
}
# Yardsticks that know what only the judge knows.
ORACLES = {
    "best_constant": Entry(".best_constant:plan"),
    "best_of_all_constants": Entry(".best_constant:plan_of_all"),
}
