"""Faults of federated_lr in chance, training, rules, models, score, closed form; see mutant.py."""

from __future__ import annotations

from mutants.federated_lr_controllers import CONTROLLERS
from mutants.federated_lr_validator import VALIDATOR
from mutants.mutant import Mutant

FOLDER = "envs/federated_lr"
DRAWS, TRAINING, DENSE = f"{FOLDER}/draws.py", f"{FOLDER}/training.py", f"{FOLDER}/dense.py"
MODELS, LOCAL, SERVER = (
    f"{FOLDER}/models.py",
    f"{FOLDER}/local_rules.py",
    f"{FOLDER}/server_rules.py",
)
ORDERS, STATISTICS, CURVE = f"{FOLDER}/orders.py", f"{FOLDER}/statistics.py", f"{FOLDER}/curve.py"
OBJECTIVE, ENV = f"{FOLDER}/objective.py", f"{FOLDER}/env.py"

TESTS = tuple(
    f"tests/federated_lr/test_{name}.py"
    for name in ("validate", "rules", "curve", "dynamics", "models", "published_rules", "env")
)

MUTANTS = (
    # --- What chance decides ------------------------------------------------------------------
    Mutant(
        DRAWS,
        "np.random.default_rng([seed, 1])",
        "np.random.default_rng([0, 1])",
        "rounds do not depend on the world's seed",
    ),
    Mutant(
        DRAWS,
        "np.random.default_rng([seed, 0])",
        "np.random.default_rng([seed, 1])",
        "first weights are drawn from the rounds' stream",
    ),
    Mutant(
        DRAWS,
        "size=clients) + f.drift",
        "size=clients) - f.drift",
        "drift of the wrong sign",
    ),
    Mutant(
        DRAWS,
        " - np.arange(clients) / clients\n",
        " - np.zeros(clients)\n",
        "all clients come and go together",
    ),
    Mutant(
        DRAWS,
        "np.argpartition(-keys,",
        "np.argpartition(keys,",
        "the least available clients take part",
    ),
    Mutant(
        DRAWS,
        "rng.random(each) < f.stragglers",
        "rng.random(each) >= f.stragglers",
        "stragglers are those that are not",
    ),
    Mutant(
        DRAWS,
        "np.where(late, some, f.local_steps).astype",
        "np.full(each, f.local_steps).astype",
        "stragglers are ignored",
    ),
    Mutant(
        DRAWS,
        "rng.integers(1, f.local_steps + 1, each)",
        "rng.integers(0, f.local_steps, each)",
        "stragglers do one step less",
    ),
    Mutant(
        DRAWS,
        "shelf.rows[shelf.first[own, None, None] + places.astype(np.int64)]",
        "shelf.rows[places.astype(np.int64)]",
        "everybody trains on the first client's rows",
    ),
    # --- Training -----------------------------------------------------------------------------
    Mutant(
        TRAINING,
        "        update = total / m\n",
        "        update = total\n",
        "updates are added up, not averaged",
    ),
    Mutant(
        TRAINING,
        "            total += moved.sum(1)\n",
        "            rounds = [(self._draws[int(lane)], self._round(lane)) for lane in lanes]\n"
        "            done = torch.from_numpy(np.stack([draws.steps[t] for draws, t in rounds]))\n"
        "            total += m * (moved * done[..., None]).sum(1) / done.sum(1)[:, None]\n",
        "clients are weighted by the steps they do",
    ),
    Mutant(
        TRAINING,
        "        goes_on = (s.step[lanes] <= s.rounds[lanes])",
        "        goes_on = (s.step[lanes] < s.rounds[lanes])",
        "the last round is not trained",
    ),
    Mutant(
        TRAINING,
        "            now.last[at], now.m[at], now.v[at] = update, m, v\n",
        "            now.m[at], now.v[at] = m, v\n",
        "the update before is never remembered",
    ),
    Mutant(
        TRAINING,
        "        self._kept.put(keep, self._now.rows(keep))\n",
        "",
        "nothing is kept",
    ),
    Mutant(
        TRAINING,
        "        self._now.put(back, self._kept.rows(back))\n",
        "        self._now.weights[back] = self._kept.weights[back]\n",
        "a checkpoint brings back the weights alone",
    ),
    Mutant(
        TRAINING,
        "        self._checkpoint(lanes, orders[:, CHECKPOINT])\n"
        "        s.alpha[lanes] = [rate_of(code, ALPHA_RANGE) "
        "for code in orders[:, ALPHA].tolist()]\n"
        "        s.beta[lanes] = [rate_of(code, BETA_RANGE) for code in orders[:, BETA].tolist()]\n"
        "        moving = lanes[s.step[lanes] > 0]\n"
        "        if len(moving):\n"
        "            self._apply(moving, orders[s.step[lanes] > 0, SERVER])\n",
        "        s.alpha[lanes] = [rate_of(code, ALPHA_RANGE) "
        "for code in orders[:, ALPHA].tolist()]\n"
        "        s.beta[lanes] = [rate_of(code, BETA_RANGE) for code in orders[:, BETA].tolist()]\n"
        "        moving = lanes[s.step[lanes] > 0]\n"
        "        if len(moving):\n"
        "            self._apply(moving, orders[s.step[lanes] > 0, SERVER])\n"
        "        self._checkpoint(lanes, orders[:, CHECKPOINT])\n",
        "checkpoints come after the update",
    ),
    Mutant(
        TRAINING,
        "            float(self.statistics.beta[lane]),\n",
        "            float(f.beta),\n",
        "clients of SGD keep the initial rate",
    ),
    Mutant(
        TRAINING,
        "        return max(int(self.statistics.step[lane]) - 1, 0)",
        "        return int(self.statistics.step[lane]) - 2",
        "rounds are drawn one late",
    ),
    Mutant(
        TRAINING,
        "concept = concept_of(f, self._round(lane))\n        return",
        "concept = concept_of(f, self._round(lane) + 1)\n        return",
        "labels change one round early",
    ),
    Mutant(
        TRAINING,
        "steps[some, None] > k)",
        "steps[some, None] >= k)",
        "stragglers do one step more",
    ),
    Mutant(
        TRAINING,
        "        trend = self._now.last[at].repeat_interleave(c, dim=0)\n",
        "        trend = self._now.update[at].repeat_interleave(c, dim=0)\n",
        "FedHyper's trend is the update in hand",
        equivalent="once it is applied, the update in hand is the last one; before the first both "
        "are 0, also after a return",
    ),
    # --- Models -------------------------------------------------------------------------------
    Mutant(
        DENSE,
        "        for k in range(steps[c]):",
        "        for k in range(rows.shape[1]):",
        "stragglers of SGD do all steps",
    ),
    Mutant(
        DENSE,
        "        if layer < last:\n            for b",
        "        if layer < last - 1:\n            for b",
        "hidden units without ReLU",
    ),
    Mutant(
        DENSE,
        "                    if act[layer, b, i] <= 0.0:\n",
        "                    if act[layer, b, i] < 0.0:\n",
        "slopes pass through units that are off",
    ),
    Mutant(
        DENSE,
        "        error[b, labels[b]] -= 1.0 / rows\n",
        "        error[b, labels[b]] -= 1.0\n",
        "the label's slope is not averaged over the rows",
    ),
    Mutant(
        DENSE,
        "        for b in range(rows - rows % 4, rows):\n"
        "            for o in range(n_out):\n"
        "                t = w[bias + o]\n",
        "        for b in range(rows - rows % 2, rows):\n"
        "            for o in range(n_out):\n"
        "                t = w[bias + o]\n",
        "rows behind the last four are left out",
    ),
    Mutant(
        DENSE,
        "            g[bias + o] += error[b, o]\n",
        "            pass\n",
        "biases get no slope of the rows behind the last four",
    ),
    Mutant(
        DENSE,
        "total / rows, hits / rows",
        "total / rows, 1.0 - hits / rows",
        "inverted validation accuracy",
    ),
    Mutant(
        DENSE,
        "            hits += scores.argmax() == labels[b]\n",
        "            hits += scores.argmin() == labels[b]\n",
        "the least likely class counts as the guess",
    ),
    Mutant(
        MODELS,
        "        h = torch.lerp(n, h, z)\n",
        "        h = torch.lerp(h, n, z)\n",
        "the GRU's update gate the wrong way round",
    ),
    Mutant(
        MODELS,
        "        i, f, g, o = (given",
        "        f, i, g, o = (given",
        "the LSTM's input and forget gates exchanged",
    ),
    Mutant(
        MODELS,
        "        x = functional.max_pool2d(torch.relu(x), 2)\n",
        "        x = functional.avg_pool2d(torch.relu(x), 2)\n",
        "the CNN averages where it should take the largest",
    ),
    Mutant(
        MODELS,
        "np.full(math.prod(s), 1 / math.sqrt(fan))",
        "np.full(math.prod(s), 1 / fan)",
        "first weights too small",
    ),
    # --- Rules of the server ------------------------------------------------------------------
    Mutant(
        SERVER,
        "        m *= MOMENTUM\n        m += update\n",
        "        m += update\n        m *= MOMENTUM\n",
        "momentum before the decay",
    ),
    Mutant(
        SERVER,
        "        return alpha * update\n",
        "        return update\n",
        "plain averaging ignores alpha",
    ),
    Mutant(
        SERVER,
        "        v += square\n        return alpha * update / (v**0.5 + tau)",
        "        v += square\n        return alpha * update / (v + tau) ** 0.5",
        "Adagrad's tau under the root",
    ),
    Mutant(
        SERVER,
        "    return alpha * m / (v**0.5 + tau)",
        "    return alpha * m / (v + tau) ** 0.5",
        "tau under the root",
    ),
    Mutant(
        SERVER,
        "        v -= (1 - BETA_2) * square * sign\n",
        "        v += (1 - BETA_2) * square * sign\n",
        "Yogi's sign",
    ),
    Mutant(
        SERVER,
        "(1 - BETA_2 ** (turn + 1.0)) ** 0.5 / (1 - BETA_1 ** (turn + 1.0))",
        "(1 - BETA_2**turn) ** 0.5 / (1 - BETA_1**turn)",
        "Adam's correction one round early",
    ),
    Mutant(
        SERVER,
        "        v *= BETA_2\n        v += (1 - BETA_2) * square\n",
        "        v *= BETA_2\n        v += (1 - BETA_2) * update\n",
        "Adam's second moment of updates, not of their squares",
    ),
    Mutant(
        ORDERS,
        "    return ADAPTIVE[rule], rate_of(place, TAU_RANGE)",
        "    return ADAPTIVE[rule], TAU",
        "taus of orders are ignored",
    ),
    Mutant(
        ORDERS,
        "limits[0] * 10.0 ** (code / DECADE))",
        "limits[0] * 10.0 ** ((code + 1) / DECADE))",
        "rates are one code off",
    ),
    # --- Rules of clients ---------------------------------------------------------------------
    Mutant(
        LOCAL,
        '        agree = _dot(g, r.notes["g"]) - _dot(g, r.trend) / r.steps',
        '        agree = _dot(g, r.notes["g"]) + _dot(g, r.trend) / r.steps',
        "FedHyper grows where it disagrees with the trend",
    ),
    Mutant(
        LOCAL,
        '        agree = _cosine(g, r.notes["g"]) - _cosine(g, r.trend) / r.steps',
        '        agree = _cosine(g, r.notes["g"]) - _cosine(g, r.trend)',
        "FedHyper's trend is not shared among the steps",
    ),
    Mutant(
        LOCAL,
        '        r.rate = _clip(r.rate + KAPPA * _dot(g, r.notes["g"]), r.beta)',
        '        r.rate = r.rate + KAPPA * _dot(g, r.notes["g"])',
        "hypergradient descent without limits",
    ),
    Mutant(
        LOCAL,
        '(1 + KAPPA_COSINE * _cosine(g, r.notes["g"]))',
        '(1 - KAPPA_COSINE * _cosine(g, r.notes["g"]))',
        "multiplicative hypergradients of the wrong sign",
    ),
    Mutant(
        LOCAL,
        "    first = FIRST_MOVE * (1 + r.start.norm(dim=1, keepdim=True))",
        "    first = FIRST_MOVE * r.start.norm(dim=1, keepdim=True)",
        "DoG's first move without its 1",
    ),
    Mutant(
        LOCAL,
        "    return -far / (total.sqrt() + TINY) * g",
        "    return -far / (total + TINY) * g",
        "DoG without its root",
    ),
    Mutant(
        LOCAL,
        '    r.notes |= {"d": torch.maximum(d, known), "first"',
        '    r.notes |= {"d": torch.where(known > 0, known, d), "first"',
        "D-Adaptation's distance may fall",
    ),
    Mutant(
        LOCAL,
        "    return _adapted(r, g, 2.0, TINY**2)",
        "    return _adapted(r, g, 1.0, TINY**2)",
        "D-Adaptation with half its estimate",
    ),
    Mutant(
        LOCAL,
        "    return -d * mean / (square.sqrt()",
        "    return -d_next * mean / (square.sqrt()",
        "Prodigy steps with the next distance",
    ),
    Mutant(
        LOCAL,
        "    beta_3 = math.sqrt(beta_2)",
        "    beta_3 = beta_2",
        "Prodigy forgets too fast",
        tests=("tests/federated_lr/test_published_rules.py", "tests/federated_lr/test_rules.py"),
    ),
    Mutant(
        LOCAL,
        "    weight = d**2\n",
        "    weight = d\n",
        "Prodigy's dual averaging weighted by d, not its square",
    ),
    Mutant(
        LOCAL,
        'torch.lerp(r.notes["z"], r.w, MIXING)',
        'torch.lerp(r.w, r.notes["z"], MIXING)',
        "Schedule-Free asks at the wrong end",
    ),
    Mutant(
        LOCAL,
        "    return (z - r.w) / (r.k + 1)",
        "    return (z - r.w) / (r.k + 2)",
        "Schedule-Free's mean counts a step too many",
    ),
    Mutant(
        LOCAL,
        "    r.w += torch.where(active, move, 0.0)\n",
        "    r.w += move\n",
        "stragglers go on",
    ),
    # --- Divergence and the score -------------------------------------------------------------
    Mutant(
        STATISTICS,
        "DIVERGED_ABOVE = 20.0",
        "DIVERGED_ABOVE = 200.0",
        "divergence is found ten times too late",
    ),
    Mutant(
        STATISTICS,
        "        bound = DIVERGED_ABOVE * self.initial_loss[lanes]\n",
        "        bound = DIVERGED_ABOVE * self.validation_loss[lanes]\n",
        "divergence is measured by the last loss, not the first",
    ),
    Mutant(
        STATISTICS,
        "        sane = np.logical_and.reduce([np.isfinite(part) for part in found.values()])\n",
        "        sane = np.isfinite(train_loss)\n",
        "clients' updates may be infinite",
    ),
    Mutant(
        STATISTICS,
        "        accuracy = np.where(sane, accuracy, 0.0)\n",
        "",
        "the accuracy of a diverged model counts",
    ),
    Mutant(
        OBJECTIVE,
        "np.flatnonzero(accuracies >= target - ROUNDING)",
        "np.flatnonzero(accuracies > target + ROUNDING)",
        "the target must be passed, not reached",
    ),
    Mutant(
        OBJECTIVE,
        "    return int(reached[0]) + 1 if",
        "    return int(reached[0]) if",
        "rounds are counted from 0",
    ),
    Mutant(
        OBJECTIVE,
        "else len(accuracies) + 1",
        "else len(accuracies)",
        "never reaching the target costs no more than the last round",
    ),
    Mutant(
        OBJECTIVE,
        "        return math.fsum(whole) / rounds\n",
        "        return math.fsum(whole) / max(len(accuracies), 1)\n",
        "rounds after divergence do not count",
    ),
    Mutant(
        OBJECTIVE,
        "        return float(whole[-1])\n",
        "        return float(accuracies[-1]) if len(accuracies) else 0.0\n",
        "after divergence the last accuracy stays",
    ),
    Mutant(
        ENV,
        "        if s.step[0] > 1:\n",
        "        if s.step[0] > 0:\n",
        "accuracies are counted one round early",
    ),
    # --- Learning curves ----------------------------------------------------------------------
    Mutant(
        CURVE,
        "        now[:, FALLS] = laws[:, MEMORY] * now[:, FALLS] + fall\n",
        "        now[:, FALLS] = laws[:, MEMORY] * (now[:, FALLS] + fall)\n",
        "a curve's newest fall is forgotten a little",
    ),
    Mutant(
        CURVE,
        "        fall = np.where(now[:, RATE] > 0, now[:, RATE] - eta, 0.0)\n",
        "        fall = now[:, RATE] - eta\n",
        "a curve's first rate counts as a rise",
    ),
    Mutant(
        CURVE,
        "- laws[:, ANNEALING] * s2, 0.0)",
        "+ laws[:, ANNEALING] * s2, 0.0)",
        "annealing raises a curve's loss",
    ),
    Mutant(
        CURVE,
        "np.maximum(laws[:, FLOOR] + falls - laws[:, ANNEALING] * s2, 0.0)",
        "laws[:, FLOOR] + falls - laws[:, ANNEALING] * s2",
        "a curve's loss may fall below 0",
    ),
    Mutant(
        CURVE,
        "np.where(eta <= laws[:, MOST], losses, np.inf)",
        "np.where(eta < laws[:, MOST], losses, np.inf)",
        "a curve diverges at its highest rate",
    ),
    Mutant(
        CURVE,
        "            self._kept[keep], self._now[back] = self._now[keep], self._kept[back]\n",
        "            self._kept[keep], self._now[back] = self._kept[keep], self._now[back]\n",
        "curves have no checkpoints",
    ),
    *VALIDATOR,
    *CONTROLLERS,
)
