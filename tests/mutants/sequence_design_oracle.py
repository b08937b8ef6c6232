"""Faults of sequence design in the oracle and in what is made of its scores; see mutant.py.

Neither has a second half, so tests alone notice.
"""

from __future__ import annotations

from mutants.mutant import Mutant

JUDGE, DATA, FOLDER = (
    "envs/sequence_design/validate.py",
    "datasets/sequence_design",
    "tests/sequence_design",
)
EHRLICH, TABLES, RNA, MEASURED, OPENER, REPLICATES = (
    f"{DATA}/{name}.py"
    for name in ("ehrlich", "landscape_tables", "rna", "measured", "landscapes", "replicates")
)
VALIDATE, LANDSCAPES = f"{FOLDER}/test_validate.py", f"{FOLDER}/test_landscapes.py"
ORACLE = (
    Mutant(
        EHRLICH,
        "share = held.max(axis=1) * self.quantization // k / self.quantization",
        "share = -(-held.max(axis=1) * self.quantization // k) / self.quantization",
        "a motif's share is rounded up to the next step",
        halves=False,
        tests=(LANDSCAPES,),
    ),
    Mutant(
        EHRLICH,
        "places = length - int(offsets[-1])",
        "places = length - int(offsets[-1]) - 1",
        "a motif at the end of a sequence is not seen",
        halves=False,
        tests=(LANDSCAPES,),
    ),
    Mutant(
        EHRLICH,
        "                held += tokens[:, offset : offset + places] == element\n",
        "                held += tokens[:, max(offset - 1, 0) :][:, :places] == element\n",
        "a motif's elements are looked for one letter too near",
        halves=False,
        tests=(LANDSCAPES,),
    ),
    Mutant(
        EHRLICH,
        "total *= share * (1.0 + self.epistasis * share * (share - 1.0))",
        "total *= share * (1.0 - self.epistasis * share * (share - 1.0))",
        "epistasis rewards incomplete motifs",
        halves=False,
        tests=(LANDSCAPES,),
    ),
    Mutant(
        EHRLICH,
        "total *= share * (1.0 + self.epistasis * share * (share - 1.0))",
        "total = np.minimum(total, share * (1.0 + self.epistasis * share * (share - 1.0)))",
        "the worst motif counts, not the product",
        halves=False,
        tests=(LANDSCAPES,),
    ),
    Mutant(
        EHRLICH,
        "return np.where(feasible, total, -np.inf)",
        "return total",
        "banned pairs score",
        halves=False,
        tests=(LANDSCAPES,),
    ),
    Mutant(
        TABLES,
        "        found = order[at]\n",
        "        found = at\n",
        "the table is looked up by rank, not by row",
        halves=False,
        tests=(LANDSCAPES,),
    ),
    Mutant(
        TABLES,
        "np.where(codes[found] == wanted, self.scores[found], np.nan)",
        "self.scores[found]",
        "what was not measured has its neighbor's score",
        halves=False,
        tests=(LANDSCAPES,),
    ),
    Mutant(
        RNA,
        "text.startswith(conserved.pattern, conserved.start)",
        "conserved.pattern in text",
        "the conserved region may stand anywhere",
        halves=False,
        tests=(LANDSCAPES,),
    ),
    Mutant(
        RNA,
        "np.mean([-e / b for e, b in zip(energies, best, strict=True)])",
        "np.max([-e / b for e, b in zip(energies, best, strict=True)])",
        "the best target counts, not the mean",
        halves=False,
        tests=(LANDSCAPES,),
    ),
    Mutant(
        MEASURED,
        "scores[row >= 0] = self.scores[row[row >= 0]]",
        "scores[row >= 0] = scores[row >= 0]",
        "measured sequences are estimated",
        halves=False,
        tests=(LANDSCAPES,),
    ),
    Mutant(
        MEASURED,
        "np.exp(-np.arange(",
        "np.exp(np.arange(",
        "the kernel grows with the distance",
        halves=False,
        tests=(LANDSCAPES,),
    ),
    Mutant(
        REPLICATES,
        "WAYS[way](group)",
        'WAYS["mean"](group)',
        "what was measured several times has the mean, whatever is asked for",
        halves=False,
        tests=(f"{FOLDER}/test_tables.py", f"{FOLDER}/test_arrays.py"),
    ),
    Mutant(
        OPENER,
        "(scores - self.low) / (self.high - self.low)",
        "scores / self.high",
        "scores are scaled by the best alone",
        halves=False,
        tests=(VALIDATE, LANDSCAPES),
    ),
    Mutant(
        OPENER,
        "Oracle(score, float(scores.min()), float(scores.max()), exact=False)",
        "Oracle(score, float(scores.min()), float(scores.max()))",
        "estimates are called exact",
        halves=False,
        tests=(VALIDATE, LANDSCAPES, f"{FOLDER}/test_loaders.py"),
    ),
    Mutant(
        JUDGE,
        "    median = float(np.median(scores))\n",
        "    median = float(np.mean(scores))\n",
        "the mean is the objective",
        halves=False,
        tests=(VALIDATE,),
    ),
    Mutant(
        JUDGE,
        "scores = np.where(unmeasured, 0.0, oracle.normalized(raw))",
        "scores = np.where(unmeasured, 0.5, oracle.normalized(raw))",
        "what the landscape does not know counts half",
        halves=False,
        tests=(VALIDATE,),
    ),
    Mutant(
        JUDGE,
        "scores = np.where(unmeasured, 0.0, oracle.normalized(raw))",
        "scores = np.where(unmeasured, 0.0, raw)",
        "scores are not normalized",
        halves=False,
        tests=(VALIDATE,),
    ),
    Mutant(
        JUDGE,
        "values[min(FEW, len(scores)) - 1]",
        "values[min(FEW, len(scores) - 1)]",
        "a design too many is judged among the few",
        halves=False,
        tests=(VALIDATE,),
    ),
    Mutant(
        JUDGE,
        "(count * (count - 1))",
        "(count * count)",
        "diversity counts a design's distance from itself",
        halves=False,
        tests=(VALIDATE,),
    ),
    Mutant(
        JUDGE,
        "nearest(batch, task.sequences).mean()",
        "differences(batch, task.sequences).max(axis=1).mean()",
        "novelty is the distance from the furthest measured sequence",
        halves=False,
        tests=(VALIDATE,),
    ),
    Mutant(
        JUDGE,
        "ranks: np.ndarray = (ends - (counts - 1) / 2.0)[group]",
        "ranks: np.ndarray = ends[group]",
        "equal values have their last rank, not the mean",
        halves=False,
        tests=(VALIDATE,),
    ),
    Mutant(
        JUDGE,
        "float(np.median(believed)) - median,",
        "median - float(np.median(believed)),",
        "the optimism gap has the wrong sign",
        halves=False,
        tests=(VALIDATE,),
    ),
)
