"""Solver baselines, one room a family, one file a method.

Each has a function solve(instance, budget, seed) -> Solution.
"""
