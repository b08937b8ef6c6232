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
    "ftrl": ".ftrl:FTRL",
    "hypergradient": ".fixed:hypergradient",
    "hypergradient_multiplicative": ".fixed:hypergradient_multiplicative",
    "dog": ".fixed:dog",
    "d_adaptation": ".fixed:d_adaptation",
    "d_adaptation_half": ".fixed:d_adaptation_half",
    "prodigy": ".fixed:prodigy",
    "prodigy_dual_averaging": ".fixed:prodigy_dual_averaging",
    "schedule_free": ".fixed:schedule_free",
}
# What the docstring of a class that several share does not say.
_ABOUT = {
    "fedavg": "FedAvg: averaging at the initial rates.",
    "fedhyper_g": "FedHyper-G: the server's rate by hypergradient.",
    "fedhyper_sl": "FedHyper-SL: the clients' rate by hypergradient, the same for all.",
    "fedhyper_cl": "FedHyper-CL: each client's own rate by hypergradient, step by step.",
    "fedhyper_full": "FedHyper-G and FedHyper-CL together.",
    "fedavgm": "FedAvgM: server momentum of 0.9.",
    "fedadagrad": "FedAdagrad: Adagrad on the server.",
    "fedadam": "FedAdam: Adam on the server.",
    "fedyogi": "FedYogi: Yogi on the server.",
    "fedadam_flower": "FedAdam as Flower plays it by default.",
    "fedyogi_flower": "FedYogi as Flower plays it by default.",
    "hypergradient": "Clients step at rates by hypergradient, additively.",
    "hypergradient_multiplicative": "Clients step by hypergradient, as factors (unverified).",
    "dog": "Clients step by DoG, distance over gradients.",
    "d_adaptation": "Clients step by D-Adaptation.",
    "d_adaptation_half": "D-Adaptation without the factor of 2 in its estimated distance.",
    "prodigy": "Clients step by Prodigy.",
    "prodigy_dual_averaging": "Clients step by Prodigy in its form of dual averaging (unverified).",
    "schedule_free": "Clients step by schedule-free SGD.",
    "refinement": "Refined linear decay: a schedule from the run's own gradient norms.",
    **{
        f"{rule}_{rates}": f"{name} at the {what} that did best over the training federations."
        for rule, name in (("fedavg", "FedAvg"), ("fedavgm", "FedAvgM"), ("fedadam", "FedAdam"))
        for rates, what in (("constant", "constant rates"), ("decay", "decaying rates"))
    },
    **{name: (made.__doc__ or "").partition("\n")[0] for name, made in SCHEDULES.items()},
}


def _about(name: str) -> str:
    """Return a line on a controller; "" where its own docstring has it."""
    plain = name.removesuffix("_server")
    if plain in _ABOUT:
        return _ABOUT[plain][:-1] + ("; of the server's rate." if plain != name else ".")
    scaled = _ABOUT.get(name.removesuffix("_cosine"), "")
    return f"{scaled[:-1]}; in its scale-free form." if scaled else ""


SOLVERS = {
    "curve_optimum": Entry(".curve_optimum:solve"),
    **{name: Entry(place, "player", about=_about(name)) for name, place in _PLAYERS.items()},
}
# Yardsticks that know what only the judge knows.
ORACLES = {
    "best_constant": Entry(".best_constant:plan"),
    "best_of_all_constants": Entry(".best_constant:plan_of_all"),
}
