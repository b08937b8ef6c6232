"""The independent validator: it reads the designs from the actions alone, and asks the oracle.

It shares no code with the dynamics: designs are read, checked and padded here, in plain Python. Two
things have one source, as they define the task rather than follow from it: the oracle, whose score
is the objective, and the task's own proxy, of whose predictions the `replayed` figure is made. The
proxy has no part in the objective, and a second implementation of its float32 sums could not agree
with the first to the judge's tolerance; tests compare its compiled inference with whole arrays.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from dataclasses import replace

import numpy as np

from ...core.contracts import Verdict, World
from ...core.instance import remembered
from ...datasets.sequence_design.distances import differences, nearest
from ...datasets.sequence_design.instance import DesignTask
from ...datasets.sequence_design.landscapes import Oracle, open_oracle
from .proxy import reference_proxy

MOST_KEPT = 256
FEW = 16  # designs handed in first that have columns of their own


def validate(task: DesignTask, actions: np.ndarray, world: World) -> Verdict:
    """Judge a batch.

    The plan is int64 [n], letters in the order they were set, L per design, at most batch_size
    designs in each of the task's rounds; an unfinished last design does not count. It is feasible
    if every letter is in the alphabet and may follow the one before it, every design keeps the
    task's rules, and an unfinished one can still be completed so that it does. Repeats
    count once, and an incomplete batch is padded with the best different sequences of the offline
    set, those that keep the rules first. The oracle is asked once for each
    different batch; with several rounds that is all that they made together.

    Args:
        task: with its oracle.
        actions: the plan, int64 [n].
        world: not used; nothing about the game is random.

    Returns:
        The median over the batch of the oracle's score, normalized to 0 (the landscape's worst) and
        1 (its best), and as `replayed` the median that the task's own proxy expects, in units of
        the offline set, which is what the environment reports; with several rounds, the true median
        of what the batches hold that are complete, padded, which is what that environment has had
        measured. The detail: max, mean, q90; best@1,
        best@16 and median@16, of the designs handed in first (see `curves`); diversity (mean number
        of letters two designs differ in), novelty (mean number of letters that a design differs in
        from the nearest offline sequence), rank_correlation (Spearman's, of the proxy with the
        oracle over the batch), optimism_gap (median the proxy expects less median found,
        normalized), uniques, padded, unmeasured (designs the landscape has no score for, which
        count as its worst), estimated (1 where the oracle is an estimate); with several rounds
        best@round1 and median@round1 to best@roundR and median@roundR, of what was handed in until
        the end of that round, padded to as many batches.
        Where the oracle fails, the verdict is infeasible and names the design.
    """
    designs, wrong = _read(task, np.asarray(actions))
    if wrong:
        return Verdict(math.nan, False, (wrong,))
    batch, uniques = _padded(task, designs)
    key = (task.content_hash, uniques, hashlib.sha256(batch.tobytes()).digest())
    if task.rounds > 1:  # repeats decide which round a design is of
        key = (*key[:2], hashlib.sha256(np.asarray(designs, np.int8).tobytes()).digest())
    if key not in _VERDICTS:
        verdict = _judged(task, batch, uniques)
        if task.rounds > 1 and verdict.feasible:
            verdict = _by_round(task, designs, batch, verdict)
        _VERDICTS[key] = verdict
        while len(_VERDICTS) > MOST_KEPT:
            _VERDICTS.popitem(last=False)
    return _VERDICTS[key]


def judged_batch(task: DesignTask, actions: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the batch of a feasible plan that is scored.

    Args:
        task: the task.
        actions: the plan, int64 [n].

    Returns:
        Int8 [designs_asked, L], the different designs in the order handed in, then the padding; and
        the number of designs that are not padding.
    """
    designs, _ = _read(task, np.asarray(actions))
    return _padded(task, designs)


# The same batch may be judged again; an oracle may be slow, and is asked once.
_VERDICTS: OrderedDict[tuple[str, int, bytes], Verdict] = OrderedDict()


def _read(task: DesignTask, plan: np.ndarray) -> tuple[list[tuple[int, ...]], str]:
    """Return the complete designs, and what is wrong with the plan ("" if nothing)."""
    if plan.ndim != 1 or (plan.size and plan.dtype.kind not in "iu"):
        shape = f"shape {plan.shape}, dtype {plan.dtype}"
        return [], f"a plan is whole numbers in one row; it has {shape}"
    letters, length = plan.tolist(), task.length
    bans = task.banned.tolist()
    for step, letter in enumerate(letters):
        design, place = divmod(step, length)
        where = f"step {step + 1}, design {design}, position {place}"
        if design >= task.designs_asked:
            batches = f" {task.rounds} batches" if task.rounds > 1 else " batch"
            size = f"{task.batch_size} designs" + (" each are" if task.rounds > 1 else " is")
            return [], f"{where}: the{batches} of {size} complete"
        if not 0 <= letter < len(bans):
            return [], f"{where}: letter {letter} is outside 0..{len(bans) - 1}"
        if place and bans[letters[step - 1]][letter]:
            pair = task.alphabet[letters[step - 1]] + task.alphabet[letter]
            return [], f"{where}: the pair {pair} is banned"
    whole = len(letters) // length
    designs = [tuple(letters[d * length : (d + 1) * length]) for d in range(whole)]
    for number, one in enumerate(designs):
        if wrong := _broken_rule(task, one):
            return [], f"step {(number + 1) * length}, design {number}: {wrong}"
    rest = letters[whole * length :]
    if task.ruled and rest and not _can_be_completed(task, rest):
        text = "".join(task.alphabet[letter] for letter in rest)
        return [], f"step {len(letters)}, design {whole}: no design that begins {text} is allowed"
    return designs, ""


def _can_be_completed(task: DesignTask, begun: list[int]) -> bool:
    """Return whether some design that keeps the task's rules begins with some letters.

    Of all that the rest of a design depends on, the ends of what forbidden motifs and banned pairs
    begin with, the fewest changes are kept, position by position and reference by reference.
    """
    pairs = [task.alphabet[a] + task.alphabet[b] for a, b in np.argwhere(task.banned)]
    motifs = [*task.forbidden, *pairs]
    heads = {motif[:length] for motif in motifs for length in range(len(motif))} | {""}
    allowed = [
        [letter for place, letter in enumerate(task.alphabet) if not barred[place]]
        for barred in task.barred.tolist()
    ]
    allowed[: len(begun)] = [
        [task.alphabet[letter]] if task.alphabet[letter] in free else []
        for letter, free in zip(begun, allowed, strict=False)
    ]
    most = task.most_changes or task.length
    for reference in task.references if task.most_changes else task.sequences[:1]:
        fewest = {"": 0}
        for original, letters in zip(task.text(reference), allowed, strict=True):
            further: dict[str, int] = {}
            for end, changes in fewest.items():
                for letter in letters:
                    text, spent = end + letter, changes + (letter != original)
                    if spent > most or any(text.endswith(motif) for motif in motifs):
                        continue
                    while text not in heads:
                        text = text[1:]
                    further[text] = min(spent, further.get(text, spent))
            fewest = further
        if fewest:
            return True
    return False


def _broken_rule(task: DesignTask, design: tuple[int, ...]) -> str:
    """Say which of the task's rules a design breaks; "" if none."""
    text = "".join(task.alphabet[letter] for letter in design)
    for place, letter in enumerate(design):
        if task.barred[place, letter]:
            return (
                f"{text} has {task.alphabet[letter]} at position {place + 1}, which is not allowed"
            )
    for motif in task.forbidden:
        if motif in text:
            return f"{text} holds the forbidden motif {motif}"
    if task.most_changes:
        away = int((task.references != np.array(design)).sum(axis=1).min())
        if away > task.most_changes:
            return (
                f"{text} differs from the nearest reference in {away} letters; "
                f"{task.most_changes} are allowed"
            )
    return ""


def _padded(
    task: DesignTask, designs: list[tuple[int, ...]], rounds: int = 0
) -> tuple[np.ndarray, int]:
    """Return the designs of some rounds and what pads them, int8 [n, L], and how many of the rows
    are the contender's; rounds 0 means all.
    """
    size = (rounds or task.rounds) * task.batch_size
    batch = dict.fromkeys(designs)
    uniques = len(batch)
    broken: dict[tuple[int, ...], None] = {}  # as many as a batch may need
    for row in remembered(task, _best_first):
        if len(batch) == size:
            break
        measured = tuple(task.sequences[row].tolist())
        if task.ruled and _broken_rule(task, measured):
            if len(broken) < size:
                broken.setdefault(measured)
        else:
            batch.setdefault(measured)
    for measured in broken:
        if len(batch) == size:
            break
        batch.setdefault(measured)
    return np.array(list(batch), np.int8).reshape(len(batch), task.length), uniques


def _best_first(task: DesignTask) -> np.ndarray:
    """Return the rows of the offline set by falling score, those of one score in their order."""
    return np.argsort(-task.scores, kind="stable")


def _judged(task: DesignTask, batch: np.ndarray, uniques: int) -> Verdict:
    """Score padded batches int8 [designs_asked, L], whose first `uniques` rows are no padding."""
    means, _ = reference_proxy(task).predict(batch)
    expected = float(np.median(means))
    try:
        oracle = open_oracle(task)
        raw = oracle.score(batch)
    except Exception as error:
        return Verdict(math.nan, False, (_failure(task, batch, error),), replayed=expected)
    unmeasured = np.isnan(raw)
    scores = np.where(unmeasured, 0.0, oracle.normalized(raw))
    low, high = task.scores.min(), task.scores.max()
    believed = oracle.normalized(low + means * (high - low))
    median = float(np.median(scores))
    best, middle = (values[min(FEW, len(scores)) - 1] for values in curves(scores))
    detail = {
        "max": float(scores.max()),
        "mean": float(scores.mean()),
        "q90": float(np.quantile(scores, 0.9)),
        "best@1": float(scores[0]),
        f"best@{FEW}": float(best),
        f"median@{FEW}": float(middle),
        "diversity": diversity(batch),
        "novelty": float(nearest(batch, task.sequences).mean()),
        "rank_correlation": rank_correlation(means, scores),
        "optimism_gap": float(np.median(believed)) - median,
        "uniques": float(uniques),
        "padded": float(len(batch) - uniques),
        "unmeasured": float(unmeasured.sum()),
        "estimated": float(not oracle.exact),
    }
    return Verdict(median, True, (), detail, replayed=expected)


def _by_round(
    task: DesignTask, designs: list[tuple[int, ...]], batch: np.ndarray, verdict: Verdict
) -> Verdict:
    """Add what was known after each round, and what the environment must have reported.

    Args:
        task: of several rounds.
        designs: the complete designs of the plan, in its order.
        batch: int8 [designs_asked, L]; all that is scored.
        verdict: of the whole.
    """
    oracle, size = open_oracle(task), task.batch_size
    parts = [_padded(task, designs[: r * size], r)[0] for r in range(1, task.rounds + 1)]
    whole = len(designs) // size * size
    parts.append(_padded(task, designs[:whole])[0])
    rows = np.concatenate(parts)
    raw = oracle.score(rows)
    scores = np.where(np.isnan(raw), 0.0, oracle.normalized(raw))
    detail, at = dict(verdict.detail or {}), 0
    for number, part in enumerate(parts[:-1], start=1):
        own = scores[at : at + len(part)]
        detail[f"best@round{number}"] = float(own.max())
        detail[f"median@round{number}"] = float(np.median(own))
        at += len(part)
    return replace(verdict, detail=detail, replayed=float(np.median(scores[at:])))


def _failure(task: DesignTask, batch: np.ndarray, error: Exception) -> str:
    """Say which design the oracle fails on, found by asking one by one."""
    cause = f"{type(error).__name__}: {error}"
    try:
        oracle: Oracle = open_oracle(task)
    except Exception:
        return f"the oracle cannot be opened ({cause}); the designs are kept, `replay` judges again"
    for row, design in enumerate(batch):
        try:
            oracle.score(design[None])
        except Exception as own:
            return (
                f"the oracle failed on design {row}, {task.text(design)} "
                f"({type(own).__name__}: {own}); the designs are kept, `replay` judges them again"
            )
    return f"the oracle failed on the whole batch ({cause}); the designs are kept"


def curves(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return best and median of the first k of scores [n], for k = 1 to n, float64 [n] each.

    Contenders hand in the designs that they expect most of first, so these are the scores of a
    batch of k designs (Design-Bench's N; Trabucco et al. 2022, section 5).
    """
    medians = [np.median(scores[:k]) for k in range(1, len(scores) + 1)]
    return np.maximum.accumulate(scores), np.array(medians)


def diversity(batch: np.ndarray) -> float:
    """Return the mean number of letters in which two of the sequences int8 [n, L] differ."""
    count = len(batch)
    if count < 2:
        return 0.0
    return float(differences(batch, batch).sum(dtype=np.int64) / (count * (count - 1)))


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Return Spearman's rank correlation; equal values have their mean rank, and a constant
    argument gives 0.

    Args:
        one: float [n].
        other: float [n].
    """
    ranks = [_mean_ranks(values) for values in (one, other)]
    if any(np.ptp(rank) == 0 for rank in ranks):
        return 0.0
    return float(np.corrcoef(ranks)[0, 1])


def _mean_ranks(values: np.ndarray) -> np.ndarray:
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: np.ndarray = (ends - (counts - 1) / 2.0)[group]
    return ranks
