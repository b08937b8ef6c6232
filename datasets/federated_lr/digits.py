"""scikit-learn's digits, the data set that comes with a package. Uses core and numpy; scikit-learn
when called.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

import numpy as np

from ...core.errors import MissingDependencyError

FILE = Path("datasets", "data", "digits.csv.gz")  # in scikit-learn, for years now
BRIGHTEST = 16  # of a pixel


@cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Images float32 [1797, 1, 8, 8] in 0..1 and labels int64 [1797].

    The package's file is read where it is, for importing scikit-learn takes seconds; where it is
    not, scikit-learn is asked.

    Raises:
        MissingDependencyError: scikit-learn is not installed.
    """
    found = importlib.util.find_spec("sklearn")
    if found is None or not found.submodule_search_locations:
        raise MissingDependencyError(
            "the digits come with scikit-learn, which is not installed; "
            "pip install 'sysopt-gym[all]'"
        )
    path = Path(found.submodule_search_locations[0]) / FILE
    if path.is_file():
        table = np.loadtxt(path, delimiter=",")
        pixels, labels = table[:, :-1], table[:, -1]
    else:
        from sklearn.datasets import load_digits  # type: ignore[import-untyped]

        pixels, labels = load_digits(return_X_y=True)
    images = (pixels / BRIGHTEST).astype(np.float32).reshape(-1, 1, 8, 8)
    return images, labels.astype(np.int64)
