"""PPO and SAC of Stable-Baselines3 set the rates of federated training, beside a fixed schedule."""

import argparse

import gymnasium as gym
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from sysopt_gym import load_problem, solve

ID, SEED = "sysopt/FederatedLR-v0", 1000  # of the test's world, which training does not see


def play(model: BaseAlgorithm, federation: object) -> float:
    """The objective of the likeliest rates: loss on the validation rows, lower is better."""
    env = gym.make(ID, instances=[federation], form="continuous")
    observation, info = env.reset(seed=SEED)
    done = False
    while not done:
        action, _ = model.predict(observation, deterministic=True)
        observation, _, terminated, truncated, info = env.step(action)
        done = terminated or truncated
    return info["objective"]


def main() -> None:
    """Train both, and print their losses."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=4000, help="environment steps of each")
    steps = parser.parse_args().steps
    (federation,) = load_problem("federated_lr").sets.load("small:test/0")
    env = gym.make(ID, instances=[federation], form="continuous")
    models = {
        "PPO": PPO("MultiInputPolicy", env, n_steps=min(256, steps), gamma=1.0, seed=0),
        "SAC": SAC("MultiInputPolicy", env, learning_starts=min(200, steps // 2), seed=0),
    }
    for name, model in models.items():
        before = play(model, federation)
        model.learn(steps)
        print(f"{name}: loss untrained {before:.4f}, trained {play(model, federation):.4f}")
    # A closed-loop contender; what the environment reported while it played.
    played = solve(federation, "fedavg", budget_s=30.0, seed=SEED).played
    print(f"fedavg (fixed rates): {played.objective:.4f}")


if __name__ == "__main__":
    main()
