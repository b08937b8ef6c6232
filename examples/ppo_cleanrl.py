"""PPO in one file as CleanRL has it: gym.make_vec, masked logits, and unseen test programs."""

import argparse

import gymnasium as gym
import numpy as np
import torch
from sysopt_gym import World, load_problem, solve
from torch.distributions import Categorical

ID, LANES, LENGTH, EPOCHS, LAMBDA = "sysopt/MallocGame-v0", 8, 128, 4, 0.95
parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=100_000, help="environment steps")
updates = max(1, parser.parse_args().steps // (LANES * LENGTH))
problem, same_step = load_problem("memory_mapping"), gym.vector.AutoresetMode.SAME_STEP
envs = gym.make_vec(ID, LANES, autoreset_mode=same_step, instances="small:train")
torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.LazyLinear(128), torch.nn.Tanh(), torch.nn.Linear(128, 4))


def look(obs):
    """Make a row for each lane; of the sorted keys, action_mask is the first."""
    parts = [obs[key].reshape(len(obs[key]), -1) for key in sorted(obs)]
    return torch.as_tensor(np.concatenate(parts, axis=1), dtype=torch.float32)


def think(seen):
    """Return the policy, by three logits, and the value."""
    out = net(seen)
    return Categorical(logits=out[:, :3].masked_fill(seen[:, :3] == 0, -torch.inf)), out[:, 3]


def play(program):
    """Take the likeliest actions, and return the objective."""
    env, done = gym.make(ID, instances=[program]), False
    obs, info = env.reset(seed=0)
    while not done:
        policy, _ = think(look({key: part[None] for key, part in obs.items()}))
        obs, _, done, _, info = env.step(int(policy.logits.argmax()))
    return info["objective"]


tests = problem.sets.load("small:test")
seen = look(envs.reset(seed=0)[0])
optimizer, before = torch.optim.Adam(net.parameters(), 1e-3), np.mean([play(t) for t in tests])
for _ in range(updates):
    rows, gains, gain = [], [], 0.0
    with torch.no_grad():
        for _ in range(LENGTH):
            policy, value = think(seen)
            obs, reward, ended, _, _ = envs.step((action := policy.sample()).numpy())
            rows.append((seen, action, policy.log_prob(action), value, np.stack([reward, ~ended])))
            seen = look(obs)
        later = think(seen)[1]
    for *_, value, pair in reversed(rows):  # GAE without discount
        reward, more = torch.as_tensor(pair)
        gain = reward + more * later - value + LAMBDA * more * gain
        later, gains = value, [gain.float(), *gains]
    old = [torch.cat([row[part] for row in rows]) for part in range(4)]
    gains = torch.cat(gains)
    for batch in torch.cat([torch.randperm(len(gains)) for _ in range(EPOCHS)]).split(256):
        at, action, log, value_then = (part[batch] for part in old)
        policy, value = think(at)
        scaled = (gains[batch] - gains.mean()) / (gains.std() + 1e-8)
        ratio = (policy.log_prob(action) - log).exp()
        loss = -torch.min(ratio * scaled, ratio.clamp(0.8, 1.2) * scaled).mean()
        loss += 0.5 * (value - value_then - gains[batch]).pow(2).mean()
        optimizer.zero_grad()
        (loss - 0.01 * policy.entropy().mean()).backward()
        optimizer.step()
plans = [problem.validate(t, solve(t, "greedy", 0.5).actions, World()) for t in tests]
solver = np.mean([verdict.objective for verdict in plans])
after = np.mean([play(program) for program in tests])
print(f"mean speed-up: untrained {before:.4f}, trained {after:.4f}; greedy {solver:.4f}")
