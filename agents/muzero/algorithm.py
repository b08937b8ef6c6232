"""MuZero as an RLlib algorithm: self-play, replay, learning and reanalysis.

    config = MuZeroConfig().environment("CartPole-v1").training(simulations=16, lr=2e-3)
    algorithm = config.build_algo()
    algorithm.train()

Runners, learners, devices, seeds, evaluation and checkpoints are set as for RLlib's own algorithms.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig, NotProvided
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.env.env_context import EnvContext
from ray.rllib.execution.rollout_ops import synchronous_parallel_sample
from ray.rllib.policy.sample_batch import SampleBatch
from ray.rllib.utils.metrics import (
    ENV_RUNNER_RESULTS,
    ENV_RUNNER_SAMPLING_TIMER,
    LEARNER_RESULTS,
    LEARNER_UPDATE_TIMER,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
    REPLAY_BUFFER_RESULTS,
    SYNCH_WORKER_WEIGHTS_TIMER,
    TD_ERROR_KEY,
    TIMERS,
)
from ray.rllib.utils.numpy import convert_to_numpy
from ray.tune.registry import ENV_CREATOR, _global_registry

from ...core.errors import SettingError
from ...core.notes import note
from .forest import Scope, SearchSettings
from .learner import MuZeroLearner
from .module import MuZeroModule, check_actions
from .networks import Support
from .replay import Place, SelfPlayBuffer, TargetSettings, batch_of, return_from, rewrite
from .runner import MuZeroEnvRunner

BUFFER = "replay_buffer"
LEAST_PRIORITY = 1e-3


class MuZeroConfig(AlgorithmConfig):
    """Settings of MuZero; beyond RLlib's own, one attribute for each argument of `training`."""

    def __init__(self, algo_class: type[Algorithm] | None = None) -> None:
        super().__init__(algo_class=algo_class or MuZero)
        package = __package__.partition(".agents")[0]
        self.env_runner_cls = MuZeroEnvRunner
        self.num_envs_per_env_runner = 16
        self.rollout_fragment_length = 16
        self.lr = 1e-3
        self.gamma = 0.997
        self.grad_clip = 5.0
        # With a known model, the dynamics' weights take no part.
        self.torch_ddp_kwargs = {"find_unused_parameters": True}
        self.train_batch_size_per_learner = 128
        self.network: Any = f"{package}.agents.muzero.networks:MLP"
        self.network_config: dict[str, Any] = {}
        self.simulations = 32
        self.considered = 16
        self.c_visit = 50.0
        self.c_scale = 0.1
        self.scope: Scope = "tree"
        self.value_support = (-300.0, 300.0, 51)
        self.reward_support = (-10.0, 10.0, 51)
        self.unroll_steps = 5
        self.n_step: int | None = 10
        self.value_coeff = 0.25
        self.updates = 16
        self.learning_starts = 1000
        self.reanalyze = 0
        self.known_model = False
        self.replay = {"capacity": 100_000, "alpha": 0.6, "beta": 0.4}

    def training(
        self,
        *,
        network: Any = NotProvided,
        network_config: dict[str, Any] = NotProvided,
        simulations: int = NotProvided,
        considered: int = NotProvided,
        c_visit: float = NotProvided,
        c_scale: float = NotProvided,
        scope: Scope = NotProvided,
        value_support: tuple[float, float, int] = NotProvided,
        reward_support: tuple[float, float, int] = NotProvided,
        unroll_steps: int = NotProvided,
        n_step: int | None = NotProvided,
        value_coeff: float = NotProvided,
        updates: int = NotProvided,
        learning_starts: int = NotProvided,
        reanalyze: int = NotProvided,
        known_model: bool = NotProvided,
        replay: dict[str, Any] = NotProvided,
        **kwargs: Any,
    ) -> MuZeroConfig:
        """Set what is given and return the configuration.

        Args:
            network: factory of the network (networks.Factory), or a lazy entry point
                "module:attribute".
            network_config: its keyword arguments.
            simulations: simulations per search, at least 1.
            considered: the most actions sampled at the root of a search.
            c_visit: visits added in the transform of values; see SearchSettings.
            c_scale: scale of that transform.
            scope: what values are normalized over, "tree" or "node"; see SearchSettings.
            value_support: least and greatest value, and number of bins; see networks.Support.
            reward_support: the same for rewards.
            unroll_steps: actions K that the dynamics are unrolled for; 0 learns none (with
                known_model).
            n_step: rewards before a search's value stands for the rest; None for full returns.
            value_coeff: weight of the loss of values.
            updates: updates of the learner per iteration.
            learning_starts: steps in the buffer before the first update.
            reanalyze: stored steps searched anew per iteration, with the newest network.
            known_model: whether to search in copies of the environment, and learn no dynamics from
                it (AlphaZero).
            replay: capacity (steps), alpha and beta of prioritized replay (Schaul et al. 2016);
                keys left out keep their values.
            **kwargs: settings of RLlib's own, see AlgorithmConfig.training.
        """
        given = {k: v for k, v in locals().items() if k not in ("self", "kwargs", "__class__")}
        super().training(**kwargs)
        if replay is not NotProvided:
            given["replay"] = self.replay | replay
        for key, value in given.items():
            if value is not NotProvided:
                setattr(self, key, value)
        return self

    def validate(self) -> None:
        """Refuse settings that cannot be trained with.

        Raises:
            SettingError: a setting of MuZero's own makes no sense.
        """
        super().validate()
        self.search_settings()
        if self.n_step is not None and self.n_step < 1:
            raise SettingError(f"n_step {self.n_step}: give at least 1, or None for full returns")
        if self.unroll_steps < (0 if self.known_model else 1):
            raise SettingError(
                f"unroll_steps {self.unroll_steps}: the dynamics are learned from at least 1 step"
            )
        if self.known_model and self.reanalyze:
            raise SettingError("reanalyze searches in latent states; it cannot go with known_model")

    def search_settings(self) -> SearchSettings:
        """Return the settings of every search."""
        return SearchSettings(
            self.simulations, self.considered, self.gamma, self.c_visit, self.c_scale, self.scope
        )

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        """See the base class."""
        return RLModuleSpec(module_class=MuZeroModule, model_config=self.model_config)

    def get_default_learner_class(self) -> type[MuZeroLearner]:
        """See the base class."""
        return MuZeroLearner

    @property
    def _model_config_auto_includes(self) -> dict[str, Any]:
        search = self.search_settings()
        included: dict[str, Any] = super()._model_config_auto_includes
        return included | {
            "network": self.network,
            "network_config": self.network_config,
            "search": {name: getattr(search, name) for name in SearchSettings.__slots__},
            "value_support": self.value_support,
            "reward_support": self.reward_support,
            "seed": self.seed,
        }


class MuZero(Algorithm):
    """MuZero (Schrittwieser et al. 2020) with Gumbel search (Danihelka et al. 2022)."""

    @classmethod
    def get_default_config(cls) -> MuZeroConfig:
        """See the base class."""
        return MuZeroConfig()

    def setup(self, config: MuZeroConfig) -> None:
        """Build runners, learners and the buffer.

        Raises:
            SettingError: the actions of the environment are not discrete.
        """
        check_actions(_action_space(config))
        super().setup(config)
        self._told: set[str] = set()
        self.buffer = SelfPlayBuffer(seed=config.seed, **config.replay)
        self.target_settings = TargetSettings(config.unroll_steps, config.n_step, config.gamma)

    def training_step(self) -> None:
        """Play, then learn, then send the new weights to the players."""
        config = self.config
        with self.metrics.log_time((TIMERS, ENV_RUNNER_SAMPLING_TIMER)):
            episodes, results = synchronous_parallel_sample(
                worker_set=self.env_runner_group,
                concat=True,
                sample_timeout_s=config.sample_timeout_s,
                _uses_new_env_runners=True,
                _return_metrics=True,
            )
        self.metrics.aggregate(results, key=ENV_RUNNER_RESULTS)
        if not episodes:  # every runner is being restarted
            return
        self.buffer.add(episodes)
        if self.buffer.get_num_timesteps() < config.learning_starts:
            return
        with self.metrics.log_time((TIMERS, "reanalyze")):
            self._reanalyze(config.reanalyze)
        with self.metrics.log_time((TIMERS, LEARNER_UPDATE_TIMER)):
            for _ in range(config.updates):
                self._update()
        self.metrics.log_value(
            (REPLAY_BUFFER_RESULTS, "steps"), self.buffer.get_num_timesteps(), window=1
        )
        with self.metrics.log_time((TIMERS, SYNCH_WORKER_WEIGHTS_TIMER)):
            self.env_runner_group.sync_weights(
                from_worker_or_learner_group=self.learner_group, inference_only=True
            )

    def _update(self) -> None:
        """Update the learners once, and the priorities of the steps they learned from."""
        places = self.buffer.draw(self.config.total_train_batch_size)
        batch = batch_of(places, self.target_settings)
        self._count_outside(places, batch)
        steps = self.metrics.peek((ENV_RUNNER_RESULTS, NUM_ENV_STEPS_SAMPLED_LIFETIME), default=0)
        results = self.learner_group.update(
            batch=SampleBatch(batch).as_multi_agent(),
            timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: steps},
        )
        errors = []
        for result in results:
            errors += convert_to_numpy(result[DEFAULT_MODULE_ID].pop(TD_ERROR_KEY).peek())
        self.buffer.update_priorities(np.concatenate(errors) + LEAST_PRIORITY)
        self.metrics.aggregate(results, key=LEARNER_RESULTS)

    def _count_outside(self, places: list[Place], batch: Mapping[str, np.ndarray]) -> None:
        """Log which share of the targets lies outside its support, where it is clipped to the
        nearest end; tell the user of the first reward or return that does.

        Targets of values also hold what the search found, which is of no account before the network
        has learned; so the user is told of sums of rewards alone.

        Args:
            places: the steps learned from.
            batch: what `batch_of` made of them.
        """
        config = self.config
        gains = [return_from(place, config.gamma) for place in places]
        for name, seen in (("value", np.array(gains)), ("reward", _known(batch, "reward"))):
            ends = getattr(config, f"{name}_support")
            support, key = Support(*ends), f"{name}_outside_support"
            learned = torch.from_numpy(_known(batch, name))
            share = support.outside(learned).sum() / max(1, len(learned))
            self.metrics.log_value(
                (LEARNER_RESULTS, DEFAULT_MODULE_ID, key), float(share), window=config.updates
            )
            far = seen[support.outside(torch.from_numpy(seen)).numpy()]
            if len(far) and name not in self._told:
                self._told.add(name)
                note(
                    f"{name}_support={ends}: a {name} of {far[np.abs(far).argmax()]:.6g} is "
                    f"outside, and learned as the nearest end; give {name}_support=(least, "
                    f"greatest, bins) that holds all {name}s, or scale the rewards (metric {key}: "
                    "share of the targets that are clipped)"
                )

    def _reanalyze(self, count: int) -> None:
        """Search `count` stored steps anew with the players' weights (MuZero, appendix H)."""
        size = self.config.num_envs_per_env_runner
        module = self.env_runner.module
        for _ in range(0, count, size):
            places = self.buffer.draw_evenly(size)
            seen = batch_of(places, TargetSettings(0, 1, 1.0))["obs"]
            found = module.search(_tensors(seen, self.env_runner._device), True, simulated=False)
            for place, policy, value in zip(places, found.policy, found.value, strict=True):
                rewrite(place, policy, float(value))

    def get_state(
        self, components: Any = None, *, not_components: Any = None, **kwargs: Any
    ) -> Any:
        """See the base class; the buffer is part of the state, so that training resumes with it."""
        state = super().get_state(components, not_components=not_components, **kwargs)
        return state | {BUFFER: self.buffer.get_state()}

    def set_state(self, state: Any) -> None:
        """Restore a state of `get_state`."""
        super().set_state(state)
        if BUFFER in state:
            self.buffer.set_state(state[BUFFER])


def _action_space(config: MuZeroConfig) -> gym.Space[Any]:
    """Return the actions of a configuration's environment, by making one unless they are given."""
    if config.action_space is not None:
        given: gym.Space[Any] = config.action_space
        return given
    if isinstance(config.env, str) and not _global_registry.contains(ENV_CREATOR, config.env):
        env = gym.make(config.env, **config.env_config)
    else:
        create = config.env
        if isinstance(create, str):
            create = _global_registry.get(ENV_CREATOR, create)
        env = create(EnvContext(config.env_config, worker_index=0))
    with contextlib.closing(env):
        space: gym.Space[Any] = env.action_space
        return space


def _known(batch: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """Return the targets that are learned, of values or rewards, [n]."""
    known: np.ndarray = batch[f"{name}s"][batch[f"{name}_mask"] > 0]
    return known


def _tensors(seen: Any, device: torch.device) -> Any:
    """Convert an observation, [B, ...] arrays, to tensors on a device."""
    if isinstance(seen, dict):
        return {key: _tensors(part, device) for key, part in seen.items()}
    return torch.from_numpy(seen).to(device)
