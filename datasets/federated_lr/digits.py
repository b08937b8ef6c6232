"""Load scikit-learn's digits, a data set that comes with a package."""

from __future__ import annotations

from functools import cache

import numpy as np

from ...core.extras import missing

BRIGHTEST = 16  # largest value of a pixel


@cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Load the digits.

    Returns:
        Images float32 [1797, 1, 8, 8] in 0..1, and labels int64 [1797].

    Raises:
        MissingDependencyError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        raise missing(error, "the set of digits", room="federated") from error
    pixels, labels = load_digits(return_X_y=True)
    images = (pixels / BRIGHTEST).astype(np.float32).reshape(-1, 1, 8, 8)
    return images, labels.astype(np.int64)
