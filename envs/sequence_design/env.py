"""The environment sysopt/SequenceDesign-v0: a thin shell over the dynamics and the proxy."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import IllegalActionError, InstanceError, SettingError
from ...datasets.sequence_design.instance import DesignTask, seal
from ..actions import LegalDiscrete, LegalMultiDiscrete
from ..base import FamilyEnv, Observation
from .designs import Designs
from .dynamics import append
from .objective import expected_median
from .observation import observation_space, squashed
from .proxy import Ensemble, reference_proxy
from .render import frame
from .rounds import Rounds
from .rules import edits, has_rules, legal, letters_at, starting_designs

SHORT_ALPHABET = 4  # DNA and RNA: as many edits as letters by default
PROTEIN_EDITS = 15


class SequenceDesignEnv(FamilyEnv[DesignTask]):
    """Design a batch of sequences that score higher than any measured so far.

    An episode makes one batch, design after design. Only the judge, after the episode, asks the
    oracle; the environment holds a sealed task and rewards by a proxy that was trained on the
    offline set. Where the task has several rounds, an episode makes R batches, the environment asks
    the oracle about each when it is complete, and shows what was measured.

    ## Action space
    Form construct (default): `Discrete(V)`, the next letter, from left to right; each L letters are
    a design. Form mutate: `Discrete(L * V + 1)`, position * V + letter for a substitution in a
    measured sequence, the last to hand the design in. Form batch: `MultiDiscrete([V] * (B * L))`,
    all designs at once, one row after the other. `action_mask` (construct, mutate) is exact: an
    action masked in is always taken, one masked out raises IllegalActionError. Masked out are
    letters after which no design can keep the task's rules (banned pairs, barred letters, forbidden
    motifs, changes from the references; see DesignTask), edits that break one, and edits that
    change nothing. At the end of an episode the mask holds one action, which no step takes: letter
    0, or the last edit. The space's own `sample()` draws a legal action.

    ## Observation space
    A flat Dict; what is returned never changes afterwards.

    | key | shape, dtype | meaning |
    |---|---|---|
    | tokens | [L] int8 | the sequence under way, V where no letter is yet (batch: the best
    measured) |
    | start | [L] int8 | form mutate: the measured sequence it began as |
    | progress | [2] float32 | letters or edits spent, and designs handed in, as parts of all |
    | proxy_values | [3] float32 | the proxy of the sequence (0 while incomplete), its start
    and the best design so far, x / (1 + abs(x)) |
    | action_mask | [V] or [L * V + 1] int8 | 1 for legal actions; not in form batch |
    | round | [1] float32 | several rounds: batches measured, as a part of R |
    | measured | [R * B, L] int8 | several rounds: the different designs measured so far, then V |
    | measured_scores | [R * B] float64 | several rounds: their scores, 0 the offline set's worst
    and 1 its best, then 0 |

    With several rounds proxy_values are 0, 0 and the best score measured so far.

    ## Rewards
    The proxy's value v of a design: mean - kappa * spread of the ensemble, scaled so that 0 is the
    worst measured score and 1 the best. A design that was handed in before counts 0 in place of v.
    construct: v at a design's last letter, else 0. mutate: the difference in v that an edit makes.
    batch: the mean over the batch. With several rounds no proxy is asked: a batch's last action is
    rewarded by the sum (form batch: the mean) of the scores measured, in units of the offline set,
    a design that was measured before counting 0, and every other action by 0.
    The score itself is the judge's; `info["objective"]` says what
    the proxy expects of it (the median over the batch of the ensemble's mean, where what is missing
    or repeated is padded with the best measured sequences), beside `info["feasible"]` (always
    True), `info["designs"]`, `info["uniques"]`, and of the last complete sequence
    `info["sequence"]`, `info["proxy_mean"]` and `info["proxy_spread"]`. With several rounds it is
    the score itself, of what was measured so far, padded in the same way; in place of the proxy's
    figures are `info["rounds"]`, the batches measured, and `info["best_score"]`.

    ## Starting state
    The task in `reset(options={"instance": task})`, else one of the set, drawn by the environment's
    generator. In form mutate each design begins as a random member of the task's start pool, with
    as few letters changed as make it keep the rules.

    ## Episode end
    Terminated when the batch, or the last of R, is complete. Never truncated. In form mutate a
    design is handed in by itself after `edits` substitutions.

    ## Copies
    A `fork()` in a task of several rounds has no oracle: what it measures is drawn from a proxy.

    ## Arguments
    instances: a set's name, a file's path, or tasks, all with the same letters and length, and the
        same rounds. form: see above. designs: of a batch; None for the task's batch size, 1 to
        train on single designs. kappa: how pessimistic the reward is. edits: of a design in form
        mutate; None for as many as letters (alphabets up to 4) or 15. proxy: None for the task's
        own, trained at its first reset in this process; with several rounds, of copies
        alone. settings: as `--set`, by name. render_mode: "rgb_array" or "human" (needs
        matplotlib).

    ## Version history
    v0, version 3: key proxy_values in place of values, which libraries have attributes of; one
    action masked in at the end.
    v0, version 2: another proxy, of motif networks beside perceptrons.
    v0, version 1: first version.
    """

    metadata: dict[str, Any] = FamilyEnv.metadata | {"render_fps": 10}
    family = "sequence_design"
    forms = ("construct", "mutate", "batch")

    def __init__(
        self,
        instances: str | Path | DesignTask | Sequence[DesignTask] = "ehrlich:small",
        form: str = "construct",
        designs: int | None = None,
        kappa: float = 0.0,
        edits: int | None = None,
        proxy: Ensemble | None = None,
        settings: Mapping[str, str] | None = None,
        render_mode: str | None = None,
    ) -> None:
        if not (np.isfinite(kappa) and kappa >= 0):
            raise SettingError(f"kappa is {kappa}; give a finite number of at least 0")
        for name, value in (("designs", designs), ("edits", edits)):
            if value is not None and value < 1:
                raise SettingError(f"{name} is {value}; give at least 1, or none for the default")
        super().__init__(instances, settings, render_mode, form)
        self.designs, self.kappa, self.edits = designs, kappa, edits
        first = self.instances[0]
        for task in self.instances:
            check_alike(first, task)
        self.observation_space = observation_space(first, form, designs)
        self.action_space: LegalDiscrete | LegalMultiDiscrete
        if form == "batch":
            size = first.batch_size if designs is None else designs
            letters = np.full(size * first.length, first.letters, np.int64)
            self.action_space = LegalMultiDiscrete(letters)
        else:
            count = first.letters if form == "construct" else first.length * first.letters + 1
            self.action_space = LegalDiscrete(count)
        self.action_space.belong_to(self._draw_legal)
        self._proxy = proxy
        self.tokens: np.ndarray
        self._ended = True

    def _begin(self, instance: DesignTask, seed: int | None, options: Mapping[str, Any]) -> None:
        check_alike(self.instances[0], instance)
        self.task = instance
        self._size = self.task.batch_size if self.designs is None else self.designs
        self.handed_in = Designs(self.task, self._size * self.task.rounds)
        self._origins = starting_designs(self.task)
        self._rounds = None
        if self.task.rounds > 1:
            self._rounds = Rounds(self.problem, self.task, self._size)
            _, self._objective = self._rounds.now
        else:
            self.proxy = self._proxy if self._proxy is not None else reference_proxy(self.task)
            self._means: dict[bytes, float] = {}
            self._predict(self.handed_in.batch())
            self._objective = self._expected()
        self._best, self._last, self._ended = 0.0, ("", 0.0, 0.0), False
        self._next_design(self.np_random)

    def _play(self, action: Any) -> tuple[float, bool]:
        if self._ended:
            raise IllegalActionError(f"{self.task.name}: the episode is over; call reset")
        play = {"construct": self._append, "mutate": self._edit, "batch": self._hand_in_all}
        count = self.handed_in.count
        reward = play[self.form](action)
        if self._rounds is not None:
            whole = self.handed_in.count > count and self.handed_in.count % self._size == 0
            reward = self._have_measured(self._rounds) if whole else 0.0
        self._ended = self.handed_in.count >= self.handed_in.size
        return reward, self._ended

    def _have_measured(self, rounds: Rounds) -> float:
        """Have the batch measured that is now complete; return the reward."""
        scores = rounds.measure(np.array(self.handed_in.unique[rounds.count :], np.int8))
        _, self._objective = rounds.now
        self._best = max([self._best, *scores.tolist()])
        return float(scores.sum()) / (self._size if self.form == "batch" else 1)

    def _frame(self) -> np.ndarray:
        rows = np.stack([*self.handed_in.unique, self.tokens])
        by_round = self._rounds.by_round if self._rounds is not None else ()
        return frame(rows, self.task.letters, self.handed_in.size, by_round, self.task.rounds)

    def _own_episode(self) -> None:
        self.tokens, self.handed_in = self.tokens.copy(), self.handed_in.fork()
        if self._rounds is not None:
            self._rounds = self._rounds.fork()
        self._np_random = copy.deepcopy(self.np_random)

    def _draw_future(self, rng: np.random.Generator) -> None:
        self._np_random = rng.spawn(1)[0]
        if self._rounds is not None:
            self._rounds = self._rounds.imagined(self._np_random, self._proxy)
            self.task = self.instance = seal(self.task)
            self.instances = [seal(task) for task in self.instances]

    def _next_design(self, rng: np.random.Generator) -> None:
        """Begin a design: without letters, or as a measured sequence."""
        task = self.task
        self._spent, self._value, self._start_value = 0, 0.0, 0.0
        if self.form == "construct":
            self.tokens = np.full(task.length, task.letters, np.int8)
            return
        row = 0 if self.form == "batch" else int(rng.integers(len(task.starts)))
        self.tokens = self._origins[row].copy()
        self._start = self.tokens.copy()
        self._value = self._start_value = self._measure(self.tokens)

    def _append(self, action: Any) -> float:
        letter, lane = int(action), self.tokens[None]
        ruled_out = has_rules(self.task) and letter not in np.flatnonzero(self._mask())
        if ruled_out or append(lane, self._spent, np.array([letter]), self.task.banned) >= 0:
            raise illegal_letter(self.task, letter, self._spent, self._mask())
        self._spent += 1
        return self._hand_in(self.tokens) if self._spent == self.task.length else 0.0

    def _edit(self, action: Any) -> float:
        edit, letters = int(action), self.task.letters
        mask = self._mask()
        if not (0 <= edit < len(mask) and mask[edit]):
            raise IllegalActionError(
                f"{self.task.name}: edit {action} is not legal for "
                f'{self.task.text(self.tokens)}; choose among observation["action_mask"]'
            )
        reward = 0.0
        if edit < len(mask) - 1:
            self.tokens[edit // letters] = edit % letters
            before, self._value = self._value, self._measure(self.tokens)
            self._spent += 1
            reward = self._value - before
        if edit == len(mask) - 1 or self._spent == self._most_edits():
            value = self._value
            reward += self._hand_in(self.tokens) - value
        return reward

    def _hand_in_all(self, action: Any) -> float:
        task, size = self.task, self._size
        flat = np.asarray(action)
        if flat.shape != (size * task.length,) or flat.dtype.kind not in "iu":
            raise IllegalActionError(
                f"{task.name}: a batch is {size} * {task.length} whole numbers in one row; got "
                f"shape {flat.shape}, dtype {flat.dtype}"
            )
        rows = flat.reshape(size, task.length)
        if rows.min() < 0 or rows.max() >= task.letters:
            raise IllegalActionError(f"{task.name}: tokens must be in 0..{task.letters - 1}")
        rows = rows.astype(np.int8)
        free = legal(task, rows)
        if not free.all():
            row = int(np.argmin(free))
            raise IllegalActionError(
                f"{task.name}: design {row}, {task.text(rows[row])}, holds a banned pair of "
                "letters or breaks another rule of the task"
            )
        return float(np.mean([self._hand_in(row) for row in rows]))

    def _hand_in(self, tokens: np.ndarray) -> float:
        """Hand in a finished design and begin the next; return its value, 0 for a repeat."""
        tokens = tokens.copy()
        value = self._measure(tokens)
        first = self.handed_in.add(tokens)
        if first and self._rounds is None:
            self._best = max(self._best, value)
            self._objective = self._expected()
        if self.handed_in.count < self.handed_in.size:
            self._next_design(self.np_random)
        return value if first else 0.0

    def _measure(self, tokens: np.ndarray) -> float:
        """Return the proxy's value of a sequence, which is kept for `info`; 0 in several rounds."""
        if self._rounds is not None:
            self._last = (self.task.text(tokens), 0.0, 0.0)
            return 0.0
        mean, spread = (float(values[0]) for values in self.proxy.predict(tokens[None]))
        self._means[tokens.tobytes()] = mean
        self._last = (self.task.text(tokens), mean, spread)
        return mean - self.kappa * spread

    def _predict(self, rows: np.ndarray) -> None:
        means, _ = self.proxy.predict(rows)
        self._means |= {row.tobytes(): float(m) for row, m in zip(rows, means, strict=True)}

    def _expected(self) -> float:
        batch = self.handed_in.batch()
        means = np.array([self._means[row.tobytes()] for row in batch])
        return float(expected_median(means))

    def _most_edits(self) -> int:
        if self.edits is not None:
            return self.edits
        return self.task.length if self.task.letters <= SHORT_ALPHABET else PROTEIN_EDITS

    def _mask(self) -> np.ndarray:
        task = self.task
        construct = self.form == "construct"
        if self._ended:
            mask = np.zeros(task.letters if construct else task.length * task.letters + 1, np.int8)
            mask[0 if construct else -1] = 1
            return mask
        lane = self.tokens[None]
        return (letters_at(task, lane, self._spent) if construct else edits(task, lane)).ravel()

    def _action_masks(self) -> np.ndarray:
        if self.form != "batch":
            return self._mask().astype(np.bool_)
        task = self.task
        if task.banned.any() or task.forbidden or task.most_changes:
            raise SettingError(
                f"{task.name}: form batch has no exact masks, as its rules bind the letters of a "
                "design to each other; make the environment with form='construct' or 'mutate'"
            )
        return np.tile(~task.barred, (self._size, 1)).ravel()

    def _draw_legal(self, rng: np.random.Generator, seed: int | None) -> Any:
        task, reset = self.instances[0], None
        if seed is not None:
            task, reset = self._drawn_after(seed)
        elif self._begun:
            task = self.task
            if self.form != "batch":
                return rng.choice(np.flatnonzero(self._mask()))
        if self.form == "batch":
            return _walks(task, self.action_space.shape[0] // task.length, rng)  # type: ignore[index]
        if self.form == "construct":
            nothing = np.zeros((1, task.length), np.int8)
            return rng.choice(np.flatnonzero(letters_at(task, nothing, 0)[0]))
        if reset is None:
            return np.int64(task.length * task.letters)
        tokens = starting_designs(task)[reset.integers(len(task.starts))]
        return rng.choice(np.flatnonzero(edits(task, tokens[None])[0]))

    def _observation(self) -> Observation:
        task, batch = self.task, self.handed_in
        whole = {"construct": task.length, "mutate": self._most_edits(), "batch": 1}[self.form]
        progress = self._spent / whole, batch.count / batch.size
        observation: Observation = {
            "tokens": self.tokens.copy(),
            "progress": np.array(progress, np.float32),
            "proxy_values": squashed(self._value, self._start_value, self._best),
        }
        if self.form == "mutate":
            observation["start"] = self._start.copy()
        if self.form != "batch":
            observation["action_mask"] = self._mask()
        if self._rounds is not None:
            rounds = self._rounds
            observation["round"] = np.array([rounds.done / task.rounds], np.float32)
            observation["measured"] = rounds.tokens.copy()
            observation["measured_scores"] = rounds.scores.copy()
        return observation

    def _info(self) -> dict[str, Any]:
        sequence, mean, spread = self._last
        known = {
            "objective": self._objective,
            "feasible": True,
            "designs": self.handed_in.count,
            "uniques": len(self.handed_in.unique),
            "sequence": sequence,
        }
        if self._rounds is not None:
            return known | {"rounds": self._rounds.done, "best_score": self._rounds.now[0]}
        return known | {"proxy_mean": mean, "proxy_spread": spread}


def check_alike(first: DesignTask, task: DesignTask) -> None:
    """Refuse a task of another shape than the environment's first.

    Args:
        first: the task that the spaces were made for.
        task: the task to be played.

    Raises:
        InstanceError: the task has other letters, another length, or other rounds.
    """
    if task.rounds != first.rounds:
        raise InstanceError(
            f"{task.name}: {task.rounds} rounds, where {first.name} has {first.rounds}; make an "
            "environment for each, or set the same rounds for all"
        )
    if task.rounds > 1 and task.batch_size != first.batch_size:
        raise InstanceError(
            f"{task.name}: batches of {task.batch_size}, where {first.name} has "
            f"{first.batch_size}; with several rounds set the same batch for all"
        )
    if (task.letters, task.length) != (first.letters, first.length):
        raise InstanceError(
            f"{task.name}: {task.length} letters out of {task.letters}, where {first.name} has "
            f"{first.length} out of {first.letters}; make an environment for each kind of task"
        )


def illegal_letter(
    task: DesignTask, letter: int, place: int, mask: np.ndarray
) -> IllegalActionError:
    """Make the error that names the legal letters.

    Args:
        task: the task played.
        letter: index of the illegal letter.
        place: position that it was chosen for.
        mask: [V]; 1 for the letters that are legal there.
    """
    legal = "".join(one for one, allowed in zip(task.alphabet, mask, strict=True) if allowed)
    return IllegalActionError(
        f"{task.name}: letter {letter} is not legal at position {place}; choose among "
        f'observation["action_mask"], the letters {legal}'
    )


def _walks(task: DesignTask, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw `count` random feasible designs; return their letters one after the other, int64."""
    tokens = np.zeros((count, task.length), np.int8)
    tokens[:, 0] = _first_letters(task, count, rng)
    for place in range(1, task.length):
        masks = letters_at(task, tokens, place)
        for lane in range(count):
            tokens[lane, place] = rng.choice(np.flatnonzero(masks[lane]))
    return tokens.ravel().astype(np.int64)


def _first_letters(task: DesignTask, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw the first letters of `count` designs, int64 [count]."""
    nothing = np.zeros((1, task.length), np.int8)
    letters = np.flatnonzero(letters_at(task, nothing, 0)[0])
    first: np.ndarray = letters[rng.integers(len(letters), size=count)]
    return first
