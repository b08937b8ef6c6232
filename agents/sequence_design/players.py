"""The agents of sequence design as contenders: they learn within their budget. Uses torch and numpy.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn

from ...core.budget import Budget
from ...core.solution import Solution
from ...datasets.sequence_design.instance import DesignTask
from ...envs.sequence_design.observation import VALUES
from ..batches import step
from .imitation import imitate_measured, surprise
from ..muzero.search import SearchSettings
from .lookahead import Lookahead
from .network import Encoded, SequencePolicy
from . import playing
from .playing import Pool, chosen, legal_at, log_policy, sample

WIDTH = 64
WARM_BATCHES, WARM_SIZE, WARM_RATE = 200, 128, 5e-3
RATE = 2e-3
SAMPLES = 256
EPOCHS, MINIBATCH = 3, 128
CLIP = 0.2
VALUE_WEIGHT = 0.5
ENTROPY = 0.02
KL = 0.0
DENSITY = 0.1
PQT = 0.0
STALE = 0.5


def solve_ppo(instance: DesignTask, budget: Budget, seed: int, log=None) -> Solution:
    clock = budget.start()
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    pool = Pool(instance, clock, rng)
    t0 = clock.elapsed
    start = SequencePolicy(WIDTH)
    imitate_measured(start, instance, torch.optim.Adam(start.parameters(), WARM_RATE), WARM_BATCHES, WARM_SIZE, rng)
    t1 = clock.elapsed
    n = 0
    restarts = 0
    while not pool.out_of_time:
        restarts += 1
        network = copy.deepcopy(start)
        optimizer = torch.optim.Adam(network.parameters(), RATE)
        idle = 0
        while not pool.out_of_time and idle < 20:
            new = _improve(network, start, optimizer, pool, rng, log if n % 10 == 0 else None)
            idle = idle + 1 if new < STALE else 0
            n += 1
    if log: print('proxy %.1fs warm %.1fs iterations %d restarts %d' % (t0, t1 - t0, n, restarts))
    return pool.solution()


def _improve(network, start, optimizer, pool, rng, log):
    task = pool.task
    tokens, old = sample(network, task, SAMPLES, rng)
    legal = legal_at(task, tokens)
    times = pool.repeats(tokens)
    values = pool.add(tokens)
    rewards = values - DENSITY * np.log1p(times)
    letters = torch.from_numpy(tokens.astype(np.int64))
    old = torch.from_numpy(old)
    scale = float(rewards.std()) + 1e-6
    returns = torch.from_numpy(rewards).float()
    beside = torch.zeros(SAMPLES, task.length, 2 + len(VALUES))
    beside[..., 0] = torch.arange(task.length) / task.length
    with torch.no_grad():
        log_chances, states = log_policy(network, letters, legal)
        baseline = network.value(Encoded(states, beside)) if False else None
    ent = 0
    for _ in range(EPOCHS):
        for rows in torch.from_numpy(rng.permutation(SAMPLES)).split(MINIBATCH):
            log_chances, states = log_policy(network, letters[rows], legal[rows])
            ratio = (chosen(log_chances, letters[rows]) - old[rows]).exp()
            guess = network.worth(torch.cat([states, beside[rows]], 2)).squeeze(2)
            gain = (returns[rows].unsqueeze(1) - guess.detach()) / scale
            if ADV_NORM:
                gain = (gain - gain.mean(0)) 
            clipped = ratio.clamp(1 - CLIP, 1 + CLIP)
            objective = torch.minimum(ratio * gain, clipped * gain).mean()
            entropy = -(log_chances.exp() * log_chances).sum(2).mean()
            error = ((guess - returns[rows].unsqueeze(1)) / scale).pow(2).mean()
            loss = -objective + VALUE_WEIGHT * error - ENTROPY * entropy
            if KL:
                with torch.no_grad(): first, _ = log_policy(start, letters[rows], legal[rows])
                loss = loss + KL * (log_chances.exp() * (log_chances - first)).sum(2).mean()
            if PQT:
                best = pool.tokens[rng.integers(len(pool.tokens), size=64)]
                loss = loss + PQT * surprise(network, torch.from_numpy(best.astype(np.int64)), legal_at(task, best))
            step(network, optimizer, loss)
            ent = float(entropy.detach())
    new = float((times == 0).mean())
    if log: print('%.1f mean %.3f max %.3f batch median %.3f new %.2f entropy %.3f' % (pool.clock.elapsed, values.mean(), values.max(), np.median(pool.values), new, ent))
    return new
ADV_NORM = True

LANES = 64
SIMULATIONS = 8
CONSIDERED = 4
C_SCALE = 0.1
KNOWN = 0.5
TRAIN_STEPS = 4
MZ_RATE = 3e-3
MZ_BATCH = 128
REPLAY = 10

def solve_muzero(instance: DesignTask, budget: Budget, seed: int, log=None) -> Solution:
    clock = budget.start()
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    pool = Pool(instance, clock, rng)
    t0 = clock.elapsed
    network = SequencePolicy(WIDTH)
    imitate_measured(network, instance, torch.optim.Adam(network.parameters(), WARM_RATE), WARM_BATCHES, WARM_SIZE, rng)
    t1 = clock.elapsed
    if log: print('proxy %.1f warm %.1f' % (t0, t1-t0))
    optimizer = torch.optim.Adam(network.parameters(), MZ_RATE)
    look = Lookahead(network, pool, LANES, SearchSettings(SIMULATIONS, CONSIDERED, 1.0, c_scale=C_SCALE))
    replay = []
    n = 0
    while not pool.out_of_time:
        drawn, _ = sample(network, instance, LANES, rng)
        known = rng.random(LANES) < KNOWN
        drawn[known] = pool.tokens[rng.integers(len(pool.tokens), size=known.sum())]
        a = clock.elapsed
        was = pool.proxy.pessimistic(drawn, playing.KAPPA)
        made = look.better(drawn, rng)
        b = clock.elapsed
        replay = [*replay[-REPLAY+1:], made]
        tokens = np.concatenate([m.tokens for m in replay])
        policy = np.concatenate([m.policy for m in replay])
        for _ in range(TRAIN_STEPS):
            rows = rng.integers(len(tokens), size=MZ_BATCH)
            letters = torch.from_numpy(tokens[rows].astype(np.int64))
            log_chances, _ = log_policy(network, letters, legal_at(instance, tokens[rows]))
            loss = -(torch.from_numpy(policy[rows]) * log_chances).sum(2).mean()
            step(network, optimizer, loss)
        c = clock.elapsed
        if log and n % 5 == 0: print('%.1f was %.3f now %.3f | sampled was %.3f now %.3f | batch %.3f loss %.3f search %.2f train %.2f known %.2f' % (c, was.mean(), made.values.mean(), was[~known].mean(), made.values[~known].mean(), np.median(pool.values), float(loss.detach()), b-a, c-b, known.mean()))
        n += 1
    return pool.solution()
