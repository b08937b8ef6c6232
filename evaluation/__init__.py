"""Evaluation: play every contender on every instance under one judge; statistics, plots, report.

Only the files of `pictures` know a family by name.
"""
