"""Solvers of sequence design: plain functions from a sealed task and a budget to a solution."""
