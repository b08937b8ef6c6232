"""Solver baselines, one room a family, one file a method: solve(instance, budget, seed) -> Solution."""
