"""Plays every contender on every instance under one judge; statistics, plots, report. Knows no
family by name.
"""
