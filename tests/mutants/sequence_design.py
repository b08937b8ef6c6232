"""Faults of sequence design, in the game and in the validator; see mutant.py."""

from __future__ import annotations

from mutants.mutant import Mutant
from mutants.sequence_design_oracle import ORACLE

ENV = "envs/sequence_design"
SHELL, DESIGNS, DYNAMICS, OBJECTIVE, RULES, LEGALITY = (
    f"{ENV}/{name}.py" for name in ("env", "designs", "dynamics", "objective", "rules", "legality")
)
JUDGE, MOTIFS = f"{ENV}/validate.py", "datasets/sequence_design/motifs.py"
FOLDER = "tests/sequence_design"
TESTS = tuple(
    f"{FOLDER}/test_{name}.py"
    for name in ("rules", "validate", "env", "vector_env", "instance", "ruled_contenders")
)

GAME = (
    Mutant(
        DYNAMICS,
        "if at > 0 and banned[tokens[lane, at - 1], letter]:",
        "if at > 1 and banned[tokens[lane, at - 1], letter]:",
        "a banned pair may begin a design",
    ),
    Mutant(
        DYNAMICS,
        "if at > 0 and banned[tokens[lane, at - 1], letter]:",
        "if at > 0 and banned[letter, tokens[lane, at - 1]]:",
        "banned pairs are read backwards",
    ),
    Mutant(
        DYNAMICS,
        "if letter < 0 or letter >= letters:",
        "if letter < 0 or letter > letters:",
        "the letter after the last is a letter",
    ),
    Mutant(
        DYNAMICS,
        "        tokens[lane, at] = actions[lane]\n",
        "        tokens[lane, at - 1] = actions[lane]\n",
        "a letter is set a position early",
    ),
    Mutant(
        SHELL,
        "return self._hand_in(self.tokens) if self._spent == self.task.length else 0.0",
        "return self._hand_in(self.tokens) if self._spent == self.task.length - 1 else 0.0",
        "a design is handed in a letter early",
    ),
    Mutant(
        SHELL,
        "        tokens = tokens.copy()\n        value",
        "        value",
        "a design that is handed in is not copied",
        equivalent="`Designs.add` keeps a copy of its own.",
    ),
    Mutant(
        SHELL,
        "        if first and self._rounds is None:\n"
        "            self._best = max(self._best, value)\n"
        "            self._objective = self._expected()\n",
        "        if first and self._rounds is None:\n"
        "            self._best = max(self._best, value)\n",
        "the objective is not told again when a design was handed in",
    ),
    Mutant(
        SHELL,
        "self._ended = self.handed_in.count >= self.handed_in.size",
        "self._ended = len(self.handed_in.unique) >= self.handed_in.size",
        "repeats do not count as designs handed in",
    ),
    Mutant(
        SHELL,
        "self._ended = self.handed_in.count >= self.handed_in.size",
        "self._ended = self.handed_in.count > self.handed_in.size",
        "an episode goes on for a design too many",
    ),
    Mutant(
        SHELL,
        "self._means[tokens.tobytes()] = mean",
        "self._means[tokens.tobytes()] = mean - spread",
        "the objective is a pessimist's",
    ),
    Mutant(
        SHELL,
        "means = np.array([self._means[row.tobytes()] for row in batch])",
        "means = np.array([self._means[row.tobytes()] for row in batch[:-1]])",
        "the objective leaves out the last of the batch",
    ),
    Mutant(
        SHELL,
        "return mean - self.kappa * spread",
        "return mean + self.kappa * spread",
        "kappa rewards doubt",
        halves=False,
        tests=(f"{FOLDER}/test_env.py",),
    ),
    Mutant(
        SHELL,
        "return value if first else 0.0",
        "return value",
        "a repeat is rewarded again",
        halves=False,
        tests=(f"{FOLDER}/test_env.py",),
    ),
    Mutant(
        SHELL,
        "reward += self._hand_in(self.tokens) - value",
        "reward += self._hand_in(self.tokens)",
        "a mutated design is rewarded for what its edits earned",
        halves=False,
        tests=(f"{FOLDER}/test_env.py",),
    ),
    Mutant(
        SHELL,
        "self._spent == self._most_edits():",
        "self._spent > self._most_edits():",
        "a design may be edited once more than allowed",
        halves=False,
        tests=(f"{FOLDER}/test_env.py",),
    ),
    Mutant(
        OBJECTIVE,
        "np.median(predicted, axis=-1)",
        "np.mean(predicted, axis=-1)",
        "the mean for the median",
    ),
    Mutant(
        OBJECTIVE,
        "np.median(predicted, axis=-1)",
        'np.quantile(predicted, 0.5, axis=-1, method="lower")',
        "of an even batch the lower of the middle two",
    ),
    Mutant(
        DESIGNS,
        "        if key in self._seen:\n            return False\n",
        "",
        "repeats stand twice in the batch",
    ),
    Mutant(
        DESIGNS,
        "        self._seen.add(key)\n",
        "        self._seen.add(key[1:])\n",
        "what was handed in pads the batch again",
    ),
    Mutant(
        DESIGNS,
        'np.argsort(-task.scores, kind="stable")',
        'np.argsort(task.scores, kind="stable")',
        "the worst measured sequences pad the batch",
    ),
    Mutant(
        DESIGNS,
        "            if len(kept) == count:",
        "            if len(kept) > count:",
        "a measured sequence too many stands ready to pad",
        equivalent="Padding is taken from the front, and no batch needs as much as stands ready.",
    ),
    Mutant(
        DESIGNS,
        "kept.setdefault(task.sequences[row].tobytes(), int(row))",
        "kept.setdefault(row.tobytes(), int(row))",
        "a sequence measured twice pads twice",
    ),
    Mutant(
        DESIGNS,
        "    if len(rows) < size and task.ruled:\n",
        "    if False:\n",
        "measured sequences that break a rule never pad",
    ),
    Mutant(
        DESIGNS,
        "rows[legal(task, task.sequences[rows]) == keeping]",
        "rows",
        "measured sequences that break a rule pad before worse ones that keep all",
    ),
)

RULED = (
    Mutant(
        RULES,
        "    if not has_rules(task):\n        if isinstance(at, np.ndarray):",
        "    if True:\n        if isinstance(at, np.ndarray):",
        "masks know of banned pairs alone",
    ),
    Mutant(
        RULES,
        "task.most_changes if counts else task.length,",
        "task.most_changes + 1 if counts else task.length,",
        "a letter more may be changed than allowed",
    ),
    Mutant(
        RULES,
        "task.most_changes if counts else task.length,",
        "max(1, task.most_changes - 1) if counts else task.length,",
        "a letter less may be changed than allowed",
    ),
    Mutant(
        RULES,
        "np.array(task.references if counts else task.sequences[:1])",
        "np.array(task.references[:1] if counts else task.sequences[:1])",
        "changes are counted from the first reference alone",
    ),
    Mutant(
        RULES,
        "starts = np.searchsorted(rows, np.arange(len(references) + 1))",
        'starts = np.searchsorted(rows, np.arange(len(references) + 1), side="right")',
        "a reference's differences from the center are those of the next",
    ),
    Mutant(
        LEGALITY,
        "        if sequence[place] == letters[at]:\n            changes -= 1\n",
        "        if sequence[place] == letters[at]:\n            changes -= 2\n",
        "a letter like the reference's makes up for another change",
    ),
    Mutant(
        LEGALITY,
        "        elif sequence[place] == center[place]:\n            changes += 1\n",
        "        elif sequence[place] == center[place]:\n            pass\n",
        "a letter like the center's is no change, though the reference has another",
    ),
    Mutant(
        LEGALITY,
        "        if place >= end:\n            break\n",
        "        if place > end:\n            break\n",
        "a change behind the letters that stand counts",
    ),
    Mutant(
        LEGALITY,
        "    for place in range(end):\n        count += sequence[place] != center[place]",
        "    for place in range(end - 1):\n        count += sequence[place] != center[place]",
        "the last letter is never a change",
    ),
    Mutant(
        LEGALITY,
        "            state = step[state, tokens[lane, before]]\n            if state < 0:\n",
        "            state = step[0, tokens[lane, before]]\n            if state < 0:\n",
        "motifs and pairs are forgotten after a letter",
    ),
    Mutant(
        LEGALITY,
        "                if mask[lane, letter] or after < 0 or barred[place, letter]:",
        "                if mask[lane, letter] or after < 0:",
        "letters barred at a position are offered",
    ),
    Mutant(
        LEGALITY,
        "                if mask[lane, letter] or after < 0 or barred[place, letter]:",
        "                if mask[lane, letter] or after < 0 or barred[place - 1, letter]:",
        "letters are barred a position late",
    ),
    Mutant(
        LEGALITY,
        "change = 1 if counts and letter != references[row, place] else 0\n"
        "                if spent + change + np.int64(least[row, place + 1, after]) <= most:",
        "change = 1 if counts and letter != references[row, place] else 0\n"
        "                if spent + change + np.int64(least[row, place + 1, after]) < most:",
        "a design that needs all changes allowed is refused",
    ),
    Mutant(
        LEGALITY,
        "                if spent + change + np.int64(least[row, place + 1, after]) <= most:",
        "                if spent + change <= most:",
        "letters are offered after which no design can keep the rules",
    ),
    Mutant(
        LEGALITY,
        "        found[lane] = state >= 0 and _is_near(tokens[lane], near)",
        "        found[lane] = state >= 0",
        "measured sequences far from all references count as legal",
    ),
    Mutant(
        LEGALITY,
        "            if state < 0 or barred[place, letter]:\n",
        "            if state < 0:\n",
        "measured sequences with barred letters count as legal",
    ),
    Mutant(
        LEGALITY,
        "if abs(own - size) <= most and _changes(sequence, length, own, row, near) <= most:",
        "if abs(own - size) <= most and _changes(sequence, length, own, row, near) < most:",
        "a measured sequence as far from a reference as allowed is not legal",
    ),
    Mutant(
        LEGALITY,
        "if abs(own - size) <= most and _changes(sequence, length, own, row, near) <= most:",
        "if own + size <= most and _changes(sequence, length, own, row, near) <= most:",
        "references far from the center are never near",
    ),
    Mutant(
        MOTIFS,
        "        ends[node] |= ends[fallback[node]]\n",
        "",
        "a motif within the beginning of another is not seen",
    ),
    Mutant(
        MOTIFS,
        "        ends[node] = True\n    step",
        "        ends[node] = len(motif) > 1\n    step",
        "motifs of one letter are allowed",
    ),
    Mutant(
        MOTIFS,
        "            step[node, letter] = beside if child is None else child\n",
        "            step[node, letter] = 0 if child is None else child\n",
        "a motif that begins within another is not seen",
    ),
    Mutant(
        MOTIFS,
        "                    if after < 0 or barred[place, letter]:\n",
        "                    if after < 0:\n",
        "the rest of a design may have barred letters",
    ),
    Mutant(
        MOTIFS,
        "                    if counts and letter != references[row, place]:\n"
        "                        rest += np.uint16(1)\n",
        "",
        "the rest of a design needs no changes",
    ),
    Mutant(
        RULES,
        "mask[:] = ~task.banned[np.minimum(before, task.letters - 1)] | (at == 0)[:, None]",
        "mask[:] = ~task.banned[np.minimum(before, task.letters - 1)]",
        "lanes at the first position are masked by the pad",
        halves=False,
        tests=(f"{FOLDER}/test_rules.py",),
    ),
    Mutant(
        LEGALITY,
        "                if letter == sequence[place] or barred[place, letter] or not "
        "close[place, letter]:",
        "                if letter == sequence[place] or barred[place, letter]:",
        "edits may lead further from the references than allowed",
        halves=False,
        tests=(f"{FOLDER}/test_rules.py",),
    ),
    Mutant(
        LEGALITY,
        "                while state >= 0 and at < length and state != states[at]:\n",
        "                while False:\n",
        "edits may complete a forbidden motif behind them",
        halves=False,
        tests=(f"{FOLDER}/test_rules.py",),
    ),
    Mutant(
        DYNAMICS,
        "if place + 1 < length and banned[letter, tokens[lane, place + 1]]:",
        "if place + 2 < length and banned[letter, tokens[lane, place + 1]]:",
        "an edit may make a banned pair at the end",
        halves=False,
        tests=(f"{FOLDER}/test_env.py", f"{FOLDER}/test_rules.py", f"{FOLDER}/test_vector_env.py"),
    ),
)

JUDGED = (
    Mutant(
        JUDGE,
        "        if design >= task.designs_asked:\n",
        "        if design > task.designs_asked:\n",
        "the validator accepts a design too many",
    ),
    Mutant(
        JUDGE,
        "        if not 0 <= letter < len(bans):\n",
        "        if not letter < len(bans):\n",
        "the validator counts negative letters from the last",
    ),
    Mutant(
        JUDGE,
        "        if place and bans[letters[step - 1]][letter]:\n",
        "        if step and bans[letters[step - 1]][letter]:\n",
        "the validator bans pairs across designs",
    ),
    Mutant(
        JUDGE,
        "        if place and bans[letters[step - 1]][letter]:\n",
        "        if place > 1 and bans[letters[step - 1]][letter]:\n",
        "the validator lets a banned pair begin a design",
    ),
    Mutant(
        JUDGE,
        "        if task.barred[place, letter]:\n",
        "        if place and task.barred[place, letter]:\n",
        "the validator bars no letter at the first position",
    ),
    Mutant(
        JUDGE,
        "        if motif in text:\n",
        "        if motif in text[:-1]:\n",
        "the validator does not see a motif at the end",
    ),
    Mutant(
        JUDGE,
        "        if motif in text:\n",
        "        if text.startswith(motif):\n",
        "the validator sees motifs at the beginning alone",
    ),
    Mutant(
        JUDGE,
        "        if away > task.most_changes:\n",
        "        if away >= task.most_changes:\n",
        "the validator refuses a design with as many changes as allowed",
    ),
    Mutant(
        JUDGE,
        "away = int((task.references != np.array(design)).sum(axis=1).min())",
        "away = int((task.references != np.array(design)).sum(axis=1).max())",
        "the validator counts changes from the furthest reference",
    ),
    Mutant(
        JUDGE,
        "    whole = len(letters) // length\n",
        "    whole = -(-len(letters) // length)\n",
        "the validator counts an unfinished design",
    ),
    Mutant(
        JUDGE,
        "    if task.ruled and rest and not _can_be_completed(task, rest):\n",
        "    if False:\n",
        "the validator does not look at an unfinished design",
    ),
    Mutant(
        JUDGE,
        "                    if spent > most or any(text.endswith(motif) for motif in motifs):\n",
        "                    if any(text.endswith(motif) for motif in motifs):\n",
        "the validator lets an unfinished design have any number of changes",
    ),
    Mutant(
        JUDGE,
        "                    if spent > most or any(text.endswith(motif) for motif in motifs):\n",
        "                    if spent > most:\n",
        "the validator lets an unfinished design hold motifs",
    ),
    Mutant(
        JUDGE,
        "                    while text not in heads:\n                        text = text[1:]\n",
        '                    text = ""\n',
        "the validator forgets what an unfinished design ends with",
    ),
    Mutant(
        JUDGE,
        "                    further[text] = min(spent, further.get(text, spent))\n",
        "                    further[text] = max(spent, further.get(text, spent))\n",
        "the validator has an unfinished design need the most changes, not the fewest",
    ),
    Mutant(
        JUDGE,
        "    batch = dict.fromkeys(designs)\n    uniques = len(batch)\n",
        "    batch = dict.fromkeys(designs[:1])\n    uniques = len(batch)\n",
        "the validator judges the first design alone",
    ),
    Mutant(
        JUDGE,
        'np.argsort(-task.scores, kind="stable")',
        'len(task.scores) - 1 - np.argsort(-task.scores[::-1], kind="stable")',
        "the validator has the later of equal measurements pad first",
    ),
    Mutant(
        JUDGE,
        'np.argsort(-task.scores, kind="stable")',
        'np.argsort(task.scores, kind="stable")',
        "the validator pads with the worst measured sequences",
    ),
    Mutant(
        JUDGE,
        "        if task.ruled and _broken_rule(task, measured):\n",
        "        if False:\n",
        "the validator pads with sequences that break a rule before others",
    ),
    Mutant(
        JUDGE,
        "    expected = float(np.median(means))\n",
        "    expected = float(np.median(means[: uniques or None]))\n",
        "the validator expects of the contender's designs alone",
    ),
    Mutant(
        JUDGE,
        "    expected = float(np.median(means))\n",
        "    expected = float(np.mean(means))\n",
        "the validator expects the mean",
    ),
)

MUTANTS = (*GAME, *RULED, *JUDGED, *ORACLE)
