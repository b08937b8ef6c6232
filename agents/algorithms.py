"""RLlib's algorithms that train a family's policy, in one table.

A further algorithm is one entry of ALGORITHMS. Its name is then a stage of training and a section
of the configuration.
"""

from __future__ import annotations

import copy
import inspect
import logging
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import torch
from torch import nn

from ..core.errors import RegistryError, SettingError
from ..core.lookup import check_name, resolve
from ..core.problem import Problem
from .objective_metric import report_objective
from .optimizers import ADAM, optimize
from .ray_clusters import LOCAL, join
from .recipe import recipe_for
from .recurrent.policy import in_rows
from .room import fit
from .selfplay.setup import AUTO, play_compiled

# Methods of RLlib's AlgorithmConfig that a configuration may call.
PARTS = (
    "env_runners",
    "learners",
    "training",
    "resources",
    "evaluation",
    "debugging",
    "fault_tolerance",
    "callbacks",
    "offline_data",
    "reporting",
    "checkpointing",
    "experimental",
    "framework",
    "multi_agent",
    "python_environment",
    "rl_module",
)
# Arguments of those methods whose texts are entry points "module:attribute": all of `callbacks`,
# and those that end so.
ENTRY_POINTS = ("_class", "_connector", "_function")

DISCRETE = (gym.spaces.Discrete,)
ANY = (gym.spaces.Discrete, gym.spaces.MultiDiscrete, gym.spaces.Box)


@dataclass(frozen=True, slots=True)
class Algorithm:
    """An algorithm of RLlib on a family's environment with the family's network.

    Attributes:
        make_config: description of the network (see rl_module.PolicyModule) -> RLlib's
            AlgorithmConfig, with defaults for one process on these environments.
        actions: types of the action spaces that it serves.
        policy_of: network of the algorithm's RLModule -> the family's network in it.
        offline: whether it learns from recorded episodes (`offline_data.input_`), the environment
            being there for evaluation only.
    """

    make_config: Callable[[Mapping[str, Any]], Any]
    actions: tuple[type[gym.Space[Any]], ...] = DISCRETE
    policy_of: Callable[[Any], nn.Module] = lambda network: network
    offline: bool = False


def _with_policy(config: Any, network: Mapping[str, Any]) -> Any:
    """Let a configuration train the family's network: policy and value."""
    from ray.rllib.core.rl_module.rl_module import RLModuleSpec

    from .recurrent.rl_module import module_of

    spec = RLModuleSpec(module_class=module_of(network), model_config=dict(network))
    return config.rl_module(rl_module_spec=spec)


def _ppo(network: Mapping[str, Any]) -> Any:
    from ray.rllib.algorithms.ppo import PPOConfig

    config = PPOConfig().env_runners(num_env_runners=0, num_envs_per_env_runner=8)
    config.learners(num_learners=0).training(
        train_batch_size_per_learner=1024, minibatch_size=128, num_epochs=4, lr=3e-4, gamma=1.0
    )
    return _with_policy(config, network)


def _asynchronous(config: Any, network: Mapping[str, Any]) -> Any:
    """Set what APPO and IMPALA share: rewards are summed, not discounted."""
    config.env_runners(
        num_env_runners=0, num_envs_per_env_runner=8, rollout_fragment_length=32
    ).learners(num_learners=0)
    config.training(train_batch_size_per_learner=256, lr=3e-4, gamma=1.0, grad_clip=1.0)
    config.reporting(min_time_s_per_iteration=0, min_sample_timesteps_per_iteration=1024)
    return _with_policy(config, network)


def _appo(network: Mapping[str, Any]) -> Any:
    from ray.rllib.algorithms.appo import APPOConfig

    from .watched_learners import WatchedAPPOLearner

    config = APPOConfig().training(
        learner_class=WatchedAPPOLearner, circular_buffer_num_batches=2, broadcast_interval=1
    )
    return _asynchronous(config, network)


def _impala(network: Mapping[str, Any]) -> Any:
    from ray.rllib.algorithms.impala import IMPALAConfig

    from .watched_learners import WatchedIMPALALearner

    config = IMPALAConfig().training(learner_class=WatchedIMPALALearner, broadcast_interval=1)
    return _asynchronous(config, network)


def _dqn(network: Mapping[str, Any]) -> Any:
    from ray.rllib.algorithms.dqn import DQNConfig
    from ray.rllib.core.rl_module.rl_module import RLModuleSpec

    from .q_module import QModule

    config = DQNConfig().env_runners(
        num_env_runners=0, num_envs_per_env_runner=8, rollout_fragment_length=4
    )
    config.reporting(min_sample_timesteps_per_iteration=1024)
    config.learners(num_learners=0).training(
        lr=3e-4,
        gamma=1.0,
        train_batch_size_per_learner=64,
        num_steps_sampled_before_learning_starts=1000,
        target_network_update_freq=1000,
        epsilon=[[0, 0.5], [20_000, 0.05]],
        grad_clip=1.0,
    )
    spec = RLModuleSpec(module_class=QModule, model_config=dict(network))
    return config.rl_module(rl_module_spec=spec)


def _sac(network: Mapping[str, Any]) -> Any:
    from ray.rllib.algorithms.sac import SACConfig
    from ray.rllib.core.rl_module.rl_module import RLModuleSpec

    from .sac_module import SACModule

    config = SACConfig().env_runners(
        num_env_runners=0, num_envs_per_env_runner=8, rollout_fragment_length=1
    )
    config.reporting(min_time_s_per_iteration=0, min_sample_timesteps_per_iteration=512)
    config.learners(num_learners=0).training(
        actor_lr=3e-4,
        critic_lr=1e-3,
        alpha_lr=1e-3,
        initial_alpha=0.01,
        gamma=1.0,
        train_batch_size_per_learner=256,
        num_steps_sampled_before_learning_starts=512,
        grad_clip=1.0,
    )
    spec = RLModuleSpec(module_class=SACModule, model_config=dict(network))
    return config.rl_module(rl_module_spec=spec)


def _recorded(config: Any, network: Mapping[str, Any]) -> Any:
    """Set what BC and MARWIL share: whole recorded episodes, one batch an update.

    Batches are made once and kept: MARWIL's targets are the recorded returns (its `lambda_` is 1),
    which do not change with the weights, and a worker started for every update costs far more than
    the update.
    """
    from ray.data import DataContext

    DataContext.get_current().enable_progress_bars = False
    config.learners(num_learners=0)
    config.training(train_batch_size_per_learner=256, lr=1e-3)
    config.offline_data(
        input_read_episodes=True,
        input_read_batch_size=1,
        materialize_data=False,
        materialize_mapped_data=True,
        dataset_num_iters_per_learner=1,
        map_batches_kwargs={"concurrency": 1},
        iter_batches_kwargs={"prefetch_batches": 1},
    )
    config.evaluation(
        evaluation_interval=1,
        evaluation_num_env_runners=0,
        evaluation_duration=4,
        evaluation_config={"explore": False},
    )
    return _with_policy(config, network)


def _bc(network: Mapping[str, Any]) -> Any:
    from ray.rllib.algorithms.bc import BCConfig

    return _recorded(BCConfig(), network)


def _marwil(network: Mapping[str, Any]) -> Any:
    from ray.rllib.algorithms.marwil import MARWILConfig

    return _recorded(MARWILConfig().training(gamma=1.0), network)


def _muzero(network: Mapping[str, Any]) -> Any:
    from .muzero.algorithm import MuZeroConfig
    from .muzero.family import FamilyNetwork

    return MuZeroConfig().training(network=FamilyNetwork, network_config=dict(network))


def _alphazero(network: Mapping[str, Any]) -> Any:
    return _muzero(network).training(known_model=True, unroll_steps=0)


def search_stage(known_model: bool) -> str:
    """Return the name of a search, in stages, cards and tables: by what it searches in.

    Args:
        known_model: whether that is the game itself, not a model of it that is learned.
    """
    return "alphazero" if known_model else "muzero"


# Stage of training -> its algorithm; stages follow imitation in this order.
ALGORITHMS: dict[str, Algorithm] = {
    "bc": Algorithm(_bc, ANY, offline=True),
    "marwil": Algorithm(_marwil, ANY, offline=True),
    "ppo": Algorithm(_ppo, ANY),
    "appo": Algorithm(_appo, ANY),
    "impala": Algorithm(_impala, ANY),
    "dqn": Algorithm(_dqn),
    "sac": Algorithm(_sac, (gym.spaces.Box,)),
    "alphazero": Algorithm(_alphazero, policy_of=lambda network: network.policy),
    "muzero": Algorithm(_muzero, policy_of=lambda network: network.policy),
}


def check_fits(stage: str, space: gym.Space[Any]) -> None:
    """Refuse an algorithm that cannot choose an environment's actions.

    Args:
        stage: a key of ALGORITHMS.
        space: the environment's action space.

    Raises:
        SettingError: it cannot; the message lists what serves.
    """
    own = ALGORITHMS[stage].actions
    if isinstance(space, own):
        return
    serving = [name for name, one in ALGORITHMS.items() if isinstance(space, one.actions)]
    raise SettingError(
        f"{stage} chooses actions of {_names(own)}; this environment's are {_kind(space)}: "
        f"{'train by ' + ', '.join(serving) if serving else 'no algorithm serves them'}, "
        "or choose another form of the environment"
    )


def _kind(space: gym.Space[Any]) -> str:
    """Return the name of Gymnasium's class that a space is, or derives from."""
    return next(kind.__name__ for kind in type(space).__mro__ if hasattr(gym.spaces, kind.__name__))


def _names(kinds: tuple[type[gym.Space[Any]], ...]) -> str:
    return " or ".join(kind.__name__ for kind in kinds)


def build_algorithm(
    stage: str,
    problem: Problem[Any],
    environment: Mapping[str, Any],
    network: Mapping[str, Any],
    seed: int,
    settings: Mapping[str, Mapping[str, Any]],
    sets: Mapping[str, str] | None = None,
    self_play: str = AUTO,
    at_end: Sequence[Callable[..., None]] = (),
    optimizer: str = ADAM,
    project: bool = False,
) -> Any:
    """Build RLlib's algorithm of a stage, ready to train.

    The objective is among its metrics, see objective_metric. Runners whose process dies are started
    again, others go on; an error of the environment ends it. Large batches are cut, see room.fit.

    Args:
        stage: a key of ALGORITHMS.
        problem: the family whose environment is played.
        environment: keyword arguments of the environment; "instances" are those to play.
        network: description of the network, see `Algorithm.make_config`.
        seed: seed of self-play and learning.
        settings: name of a method of AlgorithmConfig (one of PARTS) -> its keyword arguments.
        sets: content hash of an instance -> its instance set, by which the objective is reported,
            too.
        self_play: how its runners play, see selfplay.setup.play_compiled.
        at_end: further callbacks `on_episode_end` of RLlib.
        optimizer: what the learner's networks learn by, one of optimizers.OPTIMIZERS.
        project: whether their weight matrices keep their norms, see optimizers.hold_norms.

    Raises:
        SettingError: RLlib refuses a setting, the algorithm or the network cannot choose the
            environment's actions, or compiled play is asked for and not served.
        UnknownNameError: a part of AlgorithmConfig, or a key of one, that does not exist.
    """
    place = f"{__package__.rpartition('.')[0]}:{problem.env_id}"
    env = gym.make(place, **environment)
    check_fits(stage, env.action_space)
    recipe = recipe_for(problem.family, network.get("recipe", ""), env.action_space)
    network = in_rows(stage, network) if recipe.memory else network
    spaces = {"observation_space": env.observation_space, "action_space": env.action_space}
    from .runner import Runner, end_on_errors

    quiet_ray()
    config = ALGORITHMS[stage].make_config(network)
    config.environment(place, env_config=dict(environment))
    if ALGORITHMS[stage].offline:  # without evaluation, no runner is there to ask for them
        config.environment(**spaces)
    config.debugging(seed=seed, log_level="ERROR")
    # Runners that are being started again are not waited for while others play.
    config.fault_tolerance(restart_failed_env_runners=True, env_runner_health_probe_timeout_s=5.0)
    for part, arguments in settings.items():
        apply_part(config, part, arguments, f"{stage}.algorithm")
    _check_search(stage, config)
    compiled = play_compiled(config, stage, network, env, self_play)
    report_objective(config, sets or {}, at_end)
    optimize(config, optimizer, project)
    env.close()  # type: ignore[no-untyped-call]
    if not ALGORITHMS[stage].offline and not compiled:
        if config.env_runner_cls is None and not config.output:
            config.env_runners(env_runner_cls=Runner)
        fit(config, spaces["observation_space"], f"{stage}.algorithm")
    if ALGORITHMS[stage].offline and config.input_ in (None, "sampler", []):
        raise SettingError(
            f"{stage} learns from recorded episodes: set {stage}.algorithm.offline_data.input_ to "
            "their folders (sysopt-gym data record writes them)"
        )
    if ALGORITHMS[stage].offline and config.evaluation_num_env_runners:
        raise SettingError(
            f"{stage}.algorithm.evaluation.evaluation_num_env_runners "
            f"{config.evaluation_num_env_runners}: an algorithm that learns from recordings never "
            "returns from remote runners (seen with Ray 2.60); leave it at 0, which evaluates in "
            "this process"
        )
    try:
        config.validate()
    except (TypeError, ValueError) as error:
        raise SettingError(f"{stage}.algorithm: {error}") from error
    algorithm = config.build_algo()
    end_on_errors(algorithm)
    return algorithm


def _check_search(stage: str, config: Any) -> None:
    """Refuse a search under the other one's name.

    Raises:
        SettingError: it says which name is right.
    """
    known = getattr(config, "known_model", None)
    if known is not None and stage != search_stage(known):
        raise SettingError(
            f"{stage}.algorithm.training.known_model is {str(known).lower()}: a search in "
            f"{'the game itself' if known else 'a learned model'} is called {search_stage(known)}; "
            f"rename the section {stage}, or leave known_model out"
        )


def discount_of(stage: str, settings: Mapping[str, Mapping[str, Any]]) -> float:
    """Return the discount that an algorithm learns under.

    Args:
        stage: a key of ALGORITHMS.
        settings: name of a method of AlgorithmConfig -> its keyword arguments.
    """
    given = settings.get("training", {}).get("gamma")
    return float(ALGORITHMS[stage].make_config({}).gamma if given is None else given)


def apply_part(config: Any, part: str, arguments: Mapping[str, Any], place: str) -> None:
    """Call a method of an AlgorithmConfig as a configuration says.

    Args:
        config: RLlib's AlgorithmConfig; it is changed.
        part: name of the method, one of PARTS.
        arguments: its keyword arguments; texts of ENTRY_POINTS are resolved.
        place: what error messages call the section, e.g. "ppo.algorithm".

    Raises:
        SettingError: the method refuses a value, or an entry point leads nowhere.
        UnknownNameError: there is no such part or argument.
    """
    check_name(part, PARTS, f"part of {place}")
    names = _arguments_of(config, part)
    given = {}
    for key, value in arguments.items():
        check_name(key, names, f"key of {place}.{part}")
        if part == "callbacks" or key.endswith(ENTRY_POINTS):
            value = _resolved(value, f"{place}.{part}.{key}")
        given[key] = value
    try:
        getattr(config, part)(**given)
    except (TypeError, ValueError) as error:
        raise SettingError(f"{place}.{part}: {error}") from error


def _arguments_of(config: Any, part: str) -> list[str]:
    """Return the names that a method of a configuration takes, those of its base classes
    included.
    """
    methods = [vars(cls)[part] for cls in type(config).__mro__ if part in vars(cls)]
    parameters = [p for method in methods for p in inspect.signature(method).parameters.values()]
    named = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sorted({p.name for p in parameters if p.kind in named and p.name != "self"})


def _resolved(value: Any, place: str) -> Any:
    """Return the objects behind entry points "module:attribute", one or a list; others as they
    are.
    """
    if isinstance(value, (list, tuple)):
        return [_resolved(one, place) for one in value]
    if not isinstance(value, str):
        return value
    if ":" not in value:
        raise SettingError(f"{place}: {value!r} is no entry point; write package.module:attribute")
    try:
        return resolve(value)
    except (RegistryError, ImportError) as error:
        raise SettingError(f"{place}: {error}") from error


def trained_policy(stage: str, algorithm: Any) -> nn.Module:
    """Return a copy of the family's network as the learner has trained it.

    Args:
        stage: a key of ALGORITHMS.
        algorithm: the result of `build_algorithm` for that stage.
    """
    from ray.rllib.core import DEFAULT_MODULE_ID

    policy_of = ALGORITHMS[stage].policy_of

    def copied(learner: Any) -> nn.Module:
        return copy.deepcopy(policy_of(learner.module[DEFAULT_MODULE_ID].unwrapped().network)).cpu()

    policy: nn.Module = next(iter(algorithm.learner_group.foreach_learner(copied))).get()
    return policy


def quiet_ray(address: str | None = None) -> None:
    """Start ray without its log lines, unless SYSOPT_VERBOSE is set; one thread per process.

    Args:
        address: of a cluster to join, as `ray start` prints it, or "auto" for the one that this
            machine is part of. None takes RAY_ADDRESS from the process's environment, and starts
            ray here, apart from any cluster, if that is not set either; so does "local". Where ray
            is running in this process, it stays.

    Raises:
        SettingError: no cluster answers at the address.
    """
    import ray

    torch.set_num_threads(1)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    verbose = bool(os.environ.get("SYSOPT_VERBOSE"))
    level = logging.INFO if verbose else logging.ERROR
    if not verbose:
        for name in ("ray", "ray.data", "ray.rllib", "ray.rllib.algorithms.algorithm_config"):
            logging.getLogger(name).setLevel(level)
        warnings.filterwarnings("ignore", category=DeprecationWarning)
    if ray.is_initialized():
        return
    where = address or os.environ.get("RAY_ADDRESS") or LOCAL
    join(
        where,
        include_dashboard=False if where == LOCAL else None,
        log_to_driver=verbose,
        logging_level=level,
        runtime_env={"env_vars": {"OMP_NUM_THREADS": "1"}},
    )
