r"""A policy imitates the recorded plans of a solver by RLlib's BC, and plays unseen programs.

The same episodes by a command: sysopt-gym data record memory_mapping --instances small:train \
    --with local_search --budget 0.5 --out runs/episodes
"""

import argparse
from pathlib import Path

import gymnasium as gym
import numpy as np
import ray
import torch
from ray.rllib.algorithms.bc import BCConfig
from ray.rllib.algorithms.marwil import MARWILConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from sysopt_gym import Budget, World, load_problem, solve
from sysopt_gym.agents.rl_module import PolicyModule
from sysopt_gym.evaluation import recording

EPISODES, BATCH, UPDATES = Path("runs/episodes").resolve(), 256, 32
parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--steps", type=int, default=400_000, help="recorded steps learned from")
parser.add_argument("--programs", type=int, default=48, help="programs whose plans are recorded")
parser.add_argument("--algorithm", choices=("bc", "marwil"), default="bc")
arguments = parser.parse_args()
problem = load_problem("memory_mapping")
programs = problem.sets.load("small:train")[: arguments.programs]
tests = problem.sets.load("small:test")


def play(module, program):
    """Take the likeliest actions, and return the objective."""
    env, done = gym.make(problem.env_id, instances=[program]), False
    obs, info = env.reset(seed=0)
    while not done:
        batch = {"obs": {key: torch.as_tensor(part[None]) for key, part in obs.items()}}
        action = module.forward_inference(batch)["action_dist_inputs"].argmax()
        obs, _, done, _, info = env.step(int(action))
    return info["objective"]


ray.init(include_dashboard=False, log_to_driver=False)
plans = recording.record(problem, programs, "local_search", Budget(0.5), range(1))
recording.write_rllib(plans, EPISODES)
env = gym.make(problem.env_id, instances="small:train")
spec = RLModuleSpec(PolicyModule, model_config={"family": "memory_mapping", "width": 32})
config = BCConfig() if arguments.algorithm == "bc" else MARWILConfig()
config.environment(observation_space=env.observation_space, action_space=env.action_space)
config.rl_module(rl_module_spec=spec).debugging(seed=0)
config.offline_data(input_=[str(EPISODES)], input_read_episodes=True, input_read_batch_size=1)
config.offline_data(dataset_num_iters_per_learner=UPDATES, map_batches_kwargs={"concurrency": 1})
config.offline_data(materialize_data=False, materialize_mapped_data=True)  # batches are made once
config.training(train_batch_size_per_learner=BATCH, lr=1e-3)
algorithm = config.build_algo()
(learner,) = algorithm.learner_group.foreach_learner(lambda learner: learner.module)
module = learner.get()["default_policy"]
before = np.mean([play(module, program) for program in tests])
for _ in range(max(1, arguments.steps // (BATCH * UPDATES))):
    loss = algorithm.train()["learners"]["default_policy"]["policy_loss"]
after = np.mean([play(module, program) for program in tests])
found = [problem.validate(t, solve(t, "greedy", 0.5).actions, World()) for t in tests]
solver = np.mean([verdict.objective for verdict in found])
print(f"{arguments.algorithm}: loss {loss:.3f}; mean speed-up: untrained {before:.4f}, ", end="")
print(f"trained {after:.4f}; greedy {solver:.4f}")
