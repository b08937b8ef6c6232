"""Express what traces give as fractions of a machine in whole units."""

from __future__ import annotations

import math

import numpy as np

from .stays import MILLI

SLACK = 1e-6  # of a unit: what floating point may take from a whole number
MOST_PARTS, FINE = 20_000, 10**6  # parts of a machine


def whole_parts(shares: np.ndarray, cores: float) -> tuple[np.ndarray, int]:
    """Express fractions of a machine's cores as whole units of CPU.

    The unit is chosen so that the fractions are whole, for instance 1/3000 core for 1/96 of 64
    cores; so a machine that the trace fills is full here. Where no unit does that, fractions are
    rounded down to millionths of a machine, and never need more than a machine has.

    Args:
        shares: float64 [K]; fractions.
        cores: of the machine.

    Returns:
        CPU of each, int64 [K], and the units in a core.
    """
    parts = _denominator(shares)
    count = np.rint(shares * parts) if parts else np.floor(shares * FINE + SLACK)
    finer = (parts or FINE) // math.gcd(parts or FINE, round(cores * MILLI))
    unit = round(cores * MILLI) * finer // (parts or FINE)
    return count.astype(np.int64) * unit, MILLI * finer


def rounded_down(shares: np.ndarray, total: float) -> np.ndarray:
    """Return fractions of a whole, rounded down to whole numbers, int64 [K].

    Args:
        shares: float64 [K]; fractions.
        total: the whole.
    """
    parts = _denominator(shares)
    exact = np.rint(shares * parts) / parts if parts else shares
    return np.floor(exact * total + SLACK).astype(np.int64)


def _denominator(shares: np.ndarray) -> int:
    """Return the least common denominator of fractions; 0 if none up to MOST_PARTS is one.

    A trace that gives 1/96 as 0.0104167 means 1/96: what all fractions have in decimals says how
    exact they are.

    Args:
        shares: float64 [K]; fractions.
    """
    different = np.unique(shares)
    if len(different) > MOST_PARTS:  # more than there are fractions with small denominators
        return 0
    decimals = (d for d in range(4, 7) if (np.abs(different - different.round(d)) < 1e-12).all())
    slack = 0.501 * 10.0 ** -next(decimals, 6)
    for parts in range(1, MOST_PARTS + 1):
        scaled = different * parts
        if (np.abs(scaled - np.rint(scaled)) <= min(slack * parts, 0.1)).all():
            return parts
    return 0
