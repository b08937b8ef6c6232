"""Solvers of memory mapping: plain functions from a program and a budget to a solution."""
