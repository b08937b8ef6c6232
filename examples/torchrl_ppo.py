"""TorchRL: GymEnv with ActionMask, a collector, PPO's loss, and unseen test programs."""

import argparse

import numpy as np
import torch
from sysopt_gym import World, load_problem, solve
from tensordict.nn import TensorDictModule
from torchrl import envs
from torchrl.collectors import Collector
from torchrl.envs.utils import ExplorationType, set_exploration_type
from torchrl.modules import MLP, MaskedCategorical, ProbabilisticActor, ValueOperator
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE

ID, PARTS = "sysopt/MallocGame-v0", ["decisions", "occupancy", "globals"]


class Score(envs.default_info_dict_reader):
    """TorchRL's reader of infos, for a float."""

    def __call__(self, info, tensordict):
        """Set the objective."""
        return tensordict.set("objective", torch.tensor(info["objective"]))


def make(instances):
    """The environment with legal actions alone, its observation in one row, and the objective."""
    env = envs.GymEnv(ID, categorical_action_encoding=True, instances=instances)
    env.set_info_dict_reader(Score(["objective"]))
    mask = envs.DTypeCastTransform(torch.int8, torch.bool, in_keys=["action_mask"])
    flat = envs.FlattenObservation(-2, -1, in_keys=PARTS[:2], allow_positive_dim=True)
    row = envs.CatTensors(PARTS, "seen")
    return envs.TransformedEnv(env, envs.Compose(mask, envs.ActionMask(), flat, row))


def play(actor, programs):
    """The mean objective of the likeliest actions."""
    with torch.no_grad(), set_exploration_type(ExplorationType.DETERMINISTIC):
        ends = [make([program]).rollout(10_000, actor)[-1] for program in programs]
    return np.mean([float(end["next", "objective"]) for end in ends])


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=50_000, help="environment steps")
steps = parser.parse_args().steps
torch.manual_seed(0)
problem, env = load_problem("memory_mapping"), make("small:train")
tests = problem.sets.load("small:test")
logits = TensorDictModule(MLP(out_features=3, num_cells=[128]), ["seen"], ["logits"])
actor = ProbabilisticActor(
    logits, {"logits": "logits", "mask": "action_mask"}, distribution_class=MaskedCategorical,
    return_log_prob=True,
)  # fmt: skip
critic = ValueOperator(MLP(out_features=1, num_cells=[128]), in_keys=["seen"])
critic(actor(env.reset()))  # the sizes of the layers
loss = ClipPPOLoss(actor, critic, entropy_coeff=0.01)
gain = GAE(gamma=1.0, lmbda=0.95, value_network=critic)
optimizer = torch.optim.Adam(loss.parameters(), 1e-3)
before = play(actor, tests)
for data in Collector(env, actor, frames_per_batch=1024, total_frames=steps):
    with torch.no_grad():
        gain(data)
    for batch in torch.cat([torch.randperm(len(data)) for _ in range(4)]).split(256):
        found = loss(data[batch])
        optimizer.zero_grad()
        (found["loss_objective"] + found["loss_critic"] + found["loss_entropy"]).backward()
        optimizer.step()
after = play(actor, tests)
plans = [problem.validate(t, solve(t, "greedy", 0.5).actions, World()) for t in tests]
solver = np.mean([verdict.objective for verdict in plans])
print(f"mean speed-up: untrained {before:.4f}, trained {after:.4f}; greedy {solver:.4f}")
