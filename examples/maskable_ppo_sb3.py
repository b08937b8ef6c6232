"""MaskablePPO of sb3-contrib maps programs to memory, and plays unseen ones beside a solver.

Run it, then let it play in the table:

    python examples/maskable_ppo_sb3.py --steps 50000
    sysopt-gym compare memory_mapping --instances small:test --budget 2 \
        --contenders mine=examples/maskable_ppo_sb3.py:plan local_search --out results/mine
"""

import argparse
from pathlib import Path

import gymnasium as gym
import numpy as np
from sb3_contrib import MaskablePPO
from sysopt_gym import World, load_problem, solve

ID, MODEL = "sysopt/MallocGame-v0", Path("runs/maskable_ppo.zip")


def play(model: MaskablePPO, instance: object) -> tuple[list[int], float]:
    """The likeliest action at every step; the actions, and the objective at the end."""
    env = gym.make(ID, instances=[instance])
    observation, info = env.reset(seed=0)
    actions, done = [], False
    while not done:
        masks = env.unwrapped.action_masks()
        action, _ = model.predict(observation, action_masks=masks, deterministic=True)
        actions.append(int(action))
        observation, _, terminated, truncated, info = env.step(actions[-1])
        done = terminated or truncated
    return actions, info["objective"]


def plan(instance, budget, seed):
    """The trained model as a contender of `sysopt-gym compare`."""
    clock = budget.start()
    return clock.solution(np.array(play(MaskablePPO.load(MODEL), instance)[0]))


def main() -> None:
    """Train, and print the mean speed-ups."""
    parser = argparse.ArgumentParser(description="MaskablePPO on memory mapping")
    parser.add_argument("--steps", type=int, default=50_000, help="environment steps")
    steps = parser.parse_args().steps
    problem = load_problem("memory_mapping")
    tests = problem.sets.load("small:test")
    env = gym.make(ID, instances="small:train")
    model = MaskablePPO("MultiInputPolicy", env, n_steps=min(1024, steps), gamma=1.0, seed=0)
    before = np.mean([play(model, test)[1] for test in tests])
    model.learn(steps).save(MODEL)
    after = np.mean([play(model, test)[1] for test in tests])
    plans = [problem.validate(t, solve(t, "greedy", 0.5).actions, World()) for t in tests]
    solver = np.mean([verdict.objective for verdict in plans])
    print(f"mean speed-up of {len(tests)} unseen programs: untrained {before:.4f}, ", end="")
    print(f"trained {after:.4f}; greedy {solver:.4f}")


if __name__ == "__main__":
    main()
