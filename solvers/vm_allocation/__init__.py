"""Solvers for VM allocation, one file a method.

The table says where each is; nothing is imported before it is used.
"""

from ...core.registry import Entry

SOLVERS = {
    "random": Entry(".fits:RandomFit", "player"),
    "first_fit": Entry(".fits:FirstFit", "player"),
    "best_fit": Entry(".fits:BestFit", "player"),
    "worst_fit": Entry(".fits:WorstFit", "player"),
    "dot_product": Entry(".fits:DotProduct", "player"),
    "slots": Entry(".slots:Slots", "player"),
    "slots_tuned": Entry(".slots:TunedSlots", "player"),
    "la_binary": Entry(".lifetimes:LaBinary", "player"),
    "nilas": Entry(".lifetimes:Nilas", "player"),
    "lava": Entry(".lifetimes:Lava", "player"),
    "dvla": Entry(".lifetimes:Dvla", "player"),
    "lookahead": Entry(".lookahead:Lookahead", "player"),
    "first_fit_columns": Entry(".hourly:first_fit_columns", "player"),
    "first_fit_mixed": Entry(".hourly:first_fit_mixed", "player"),
    "best_fit_columns": Entry(".hourly:best_fit_columns", "player"),
    "best_fit_mixed": Entry(".hourly:best_fit_mixed", "player"),
    "slots_tuned_columns": Entry(".hourly:slots_tuned_columns", "player"),
    "slots_tuned_mixed": Entry(".hourly:slots_tuned_mixed", "player"),
    "nilas_lars": Entry(".hourly:nilas_lars", "player"),
}
# Yardsticks that know all arrivals and exits.
ORACLES = {"fluid": Entry(".fluid:plan"), "hindsight": Entry(".hindsight:plan")}
