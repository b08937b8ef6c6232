"""Ground floor: the contracts every other floor is built on.

Uses numpy, gymnasium and the standard library only.
"""
