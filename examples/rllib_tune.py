"""Ray Tune (ASHA) chooses PPO's learning rate on RLlib; the best policy plays unseen programs."""

import argparse
from pathlib import Path

import gymnasium as gym
import numpy as np
import ray
import torch
from ray import tune
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module.rl_module import RLModule, RLModuleSpec
from ray.tune.schedulers import ASHAScheduler
from sysopt_gym import World, load_problem, solve
from sysopt_gym.agents.rl_module import PolicyModule

ID, BATCH, METRIC = "sysopt/MallocGame-v0", 1024, "env_runners/episode_return_mean"
MODULE = "learner_group/learner/rl_module/default_policy"  # within a checkpoint
parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=40 * BATCH, help="environment steps of a trial")
parser.add_argument("--trials", type=int, default=4)
arguments = parser.parse_args()


def play(module, program):
    """Take the likeliest actions, and return the objective."""
    env, done = gym.make(ID, instances=[program]), False
    obs, info = env.reset(seed=0)
    while not done:
        batch = {"obs": {key: torch.as_tensor(part[None]) for key, part in obs.items()}}
        action = module.forward_inference(batch)["action_dist_inputs"].argmax()
        obs, _, done, _, info = env.step(int(action))
    return info["objective"]


ray.init(include_dashboard=False, log_to_driver=False)
spec = RLModuleSpec(PolicyModule, model_config={"family": "memory_mapping", "width": 32})
config = PPOConfig().environment(f"sysopt_gym:{ID}", env_config={"instances": "small:train"})
config.rl_module(rl_module_spec=spec)
config.env_runners(num_env_runners=0, num_envs_per_env_runner=8)
config.training(train_batch_size_per_learner=BATCH, minibatch_size=256, num_epochs=4, gamma=1.0)
config.training(lr=tune.loguniform(1e-5, 1e-2), entropy_coeff=0.01).debugging(seed=0)
iterations = max(1, arguments.steps // BATCH)
best = tune.Tuner(
    "PPO",
    param_space=config,
    tune_config=tune.TuneConfig(
        metric=METRIC, mode="max", num_samples=arguments.trials,
        scheduler=ASHAScheduler(max_t=iterations, grace_period=max(1, iterations // 4)),
    ),
    run_config=tune.RunConfig(
        storage_path=str(Path("runs").resolve()),
        checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=True),
    ),
).fit().get_best_result()  # fmt: skip
problem, module = (
    load_problem("memory_mapping"),
    RLModule.from_checkpoint(f"{best.checkpoint.path}/{MODULE}"),
)
tests = problem.sets.load("small:test")
found = [problem.validate(t, solve(t, "greedy", 0.5).actions, World()) for t in tests]
solver = np.mean([verdict.objective for verdict in found])
trained = np.mean([play(module, program) for program in tests])
print(f"best learning rate {best.config['lr']:.2g}; ", end="")
print(f"mean speed-up: trained {trained:.4f}; greedy {solver:.4f}")
