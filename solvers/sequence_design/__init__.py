"""Solvers of sequence design: plain functions from a sealed task and a budget to a solution.

The table says where each is; nothing is imported before it is used.
"""

from ...core.registry import Entry

SOLVERS = {
    "offline_best": Entry(".offline_best:solve"),
    "random": Entry(".random_search:solve"),
    "proxy_exhaustive": Entry(".proxy_exhaustive:solve"),
    "ga": Entry(".ga:solve"),
    "ga_contrast": Entry(".contrast:solve"),
    "adalead": Entry(".adalead:solve"),
    "cma_es": Entry(".cma_es:solve"),
    "bo": Entry(".bo:solve"),
    "gradient_ascent": Entry(".gradient_ascent:solve"),
    "gradient_ascent_single": Entry(".gradient_ascent:solve_single"),
    "gradient_ascent_min": Entry(".gradient_ascent:solve_min"),
    "gradient_ascent_soft": Entry(".gradient_ascent:solve_soft"),
    "gradient_ascent_eta": Entry(".gradient_ascent:solve_eta"),
    "reinforce": Entry(".reinforce:solve"),
    "coms": Entry(".coms:solve"),
    "bib": Entry(".bib:solve"),
    "bib_forward": Entry(".bib:solve_forward"),
    "bib_backward": Entry(".bib:solve_backward"),
    "bib_fixed_gamma": Entry(".bib:solve_fixed_gamma"),
    "bib_fixed_eta": Entry(".bib:solve_fixed_eta"),
    "bdi": Entry(".bdi:solve"),
    "cbas": Entry(".cbas:solve"),
    "mins": Entry(".mins:solve"),
    "gflownet": Entry(".gflownet:solve"),
    "ucb": Entry(".acquisition:solve_ucb"),
    "ei": Entry(".acquisition:solve_ei"),
    # Players: they plan anew before each batch, with what was measured until then.
    "random_rounds": Entry(
        ".random_search:in_rounds", "player", about="Random feasible sequences before each batch."
    ),
    "ga_rounds": Entry(
        ".ga:in_rounds",
        "player",
        about="The genetic algorithm of `ga`, on a proxy trained anew before each batch.",
    ),
    "ga_weighted_rounds": Entry(
        ".ga:in_rounds_weighted",
        "player",
        about="`ga_rounds` with weighted retraining of the proxy.",
    ),
    "adalead_rounds": Entry(
        ".adalead:in_rounds", "player", about="AdaLead on a proxy trained anew before each batch."
    ),
    "cma_es_rounds": Entry(
        ".cma_es:in_rounds", "player", about="CMA-ES on a proxy trained anew before each batch."
    ),
    "reinforce_rounds": Entry(
        ".reinforce:in_rounds",
        "player",
        about="REINFORCE on a proxy trained anew before each batch.",
    ),
    "ucb_rounds": Entry(
        ".acquisition:ucb_in_rounds",
        "player",
        about="Upper confidence bounds of a proxy trained anew before each batch.",
    ),
    "ei_rounds": Entry(
        ".acquisition:ei_in_rounds",
        "player",
        about="Expected improvement by a proxy trained anew before each batch.",
    ),
}
