"""Curricula: which instance a training run plays next, chosen anew in every iteration.

The table names the class of each, which is imported when it is first used; a further one is a file
and a line here. Its name stands under `curriculum` in a stage of a training configuration.
"""

UNIFORM = "uniform"
CURRICULA = {
    UNIFORM: ".agents.curriculum.uniform:Uniform",
    "plr": ".agents.curriculum.plr:PrioritizedLevelReplay",
    "dump": ".agents.curriculum.dump:Dump",
    "balanced": ".agents.curriculum.balanced:Balanced",
    "cyclical": ".agents.curriculum.cyclical:Cyclical",
    "pudf": ".agents.curriculum.pudf:Pudf",
    "d3s": ".agents.curriculum.d3s:Downsampling",
    "alp_gmm": ".agents.curriculum.alp_gmm:LearningProgress",
}
