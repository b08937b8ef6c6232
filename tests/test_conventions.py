"""What other reinforcement-learning libraries take for granted of an environment, in every family
and form: masks where they look for them, arrays of one's own, keys that collide with nothing.
"""

from __future__ import annotations

import copy
import itertools
import pickle
import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest
import sysopt_gym  # noqa: F401 (registers the environments)
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import RecordEpisodeStatistics, RecordVideo, TimeLimit
from sb3_contrib import MaskablePPO
from stable_baselines3.common.env_checker import check_env as check_env_of_sb3
from sysopt_gym.core.errors import IllegalActionError, SettingError
from tensordict import TensorDict
from torch import nn
from torchrl.envs import ActionMask, GymWrapper, TransformedEnv
from torchrl.envs.utils import check_env_specs

VM, MALLOC, DESIGN, FEDERATED = (
    f"sysopt/{name}-v0"
    for name in ("VMRescheduling", "MallocGame", "SequenceDesign", "FederatedLR")
)
# One of each: a task's proxy takes seconds to train.
TASK, FEDERATION = "ehrlich:small/0", "small:test/0"
FORMS: dict[str, Callable[..., gymnasium.Env[Any, Any]]] = {
    "vm plies": lambda **k: gymnasium.make(VM, instances="small:train", **k),
    "vm joint": lambda **k: gymnasium.make(VM, instances="small:train", form="joint", **k),
    "memory": lambda **k: gymnasium.make(MALLOC, instances="small:train", **k),
    "construct": lambda **k: gymnasium.make(DESIGN, instances=TASK, designs=2, **k),
    "mutate": lambda **k: gymnasium.make(
        DESIGN, instances=TASK, designs=2, edits=3, form="mutate", **k
    ),
    "batch": lambda **k: gymnasium.make(DESIGN, instances=TASK, designs=2, form="batch", **k),
    "grid": lambda **k: gymnasium.make(FEDERATED, instances=FEDERATION, **k),
    "continuous": lambda **k: gymnasium.make(
        FEDERATED, instances=FEDERATION, form="continuous", **k
    ),
    "orders": lambda **k: gymnasium.make(FEDERATED, instances=FEDERATION, form="orders", **k),
}
MASKED = ("vm plies", "memory", "construct", "mutate", "grid")
forms = pytest.mark.parametrize("form", FORMS)
masked = pytest.mark.parametrize("form", MASKED)


def masks_of(env: gymnasium.Env[Any, Any]) -> np.ndarray:
    """The masks as sb3-contrib gets them, through all wrappers."""
    masks: np.ndarray = env.get_wrapper_attr("action_masks")()
    return masks


@masked
def test_masks_are_the_observations_to_the_very_end_and_are_never_empty(form: str) -> None:
    env = FORMS[form]()
    env.action_space.seed(0)
    observation, _ = env.reset(seed=0)
    ended = False
    while True:
        masks, action = masks_of(env), env.action_space.sample()
        assert masks.dtype == np.bool_ and masks.shape == (env.action_space.n,)  # type: ignore[attr-defined]
        assert np.array_equal(masks, observation["action_mask"] > 0)
        assert masks[action]  # also at the end, where libraries that reset by themselves draw one
        if ended:
            break
        observation, _, ended, _, _ = env.step(action)


@pytest.mark.parametrize(("form", "remedy"), [
    ("vm joint", "plies"), ("batch", "construct"), ("continuous", "no masks"), ("orders", "grid"),
])  # fmt: skip
def test_a_form_without_exact_masks_says_so(form: str, remedy: str) -> None:
    env = FORMS[form]()
    env.reset(seed=0)
    with pytest.raises(SettingError, match=remedy):
        masks_of(env)


def test_a_batch_of_designs_has_masks_where_letters_do_not_bind_each_other() -> None:
    free = SimpleNamespace(predict=lambda rows: np.zeros((2, len(rows))))
    env = gymnasium.make(DESIGN, instances="rna-a", form="batch", designs=2, proxy=free)
    env.reset(seed=0)
    parts = np.split(masks_of(env), len(env.action_space.nvec))  # type: ignore[attr-defined]
    env.step(np.array([np.flatnonzero(part)[-1] for part in parts]))


@masked
def test_masks_before_an_episode_are_refused(form: str) -> None:
    with pytest.raises(IllegalActionError, match="call reset"):
        masks_of(FORMS[form]().unwrapped)


@forms
def test_an_environment_tells_which_instance_it_plays(form: str) -> None:
    env: Any = FORMS[form]().unwrapped
    env.reset(seed=0)
    assert env.instance in env.instances
    env.reset(options={"instance": env.instances[-1]})
    assert env.instance is env.instances[-1]


@forms
def test_every_observation_has_writable_arrays_of_its_own(form: str) -> None:
    env = FORMS[form]()
    env.action_space.seed(1)
    seen = [env.reset(seed=0)[0]]
    for _ in range(5):
        observation, _, ended, _, _ = env.step(env.action_space.sample())
        seen.append(observation)
        if ended:
            break
    seen += [env.reset()[0]]
    arrays = [(key, array) for observation in seen for key, array in observation.items()]
    assert all(array.flags.writeable for _, array in arrays)
    for (key, one), (_, other) in itertools.combinations(arrays, 2):
        assert not np.shares_memory(one, other), key


@forms
def test_what_is_written_into_an_observation_does_not_reach_the_environment(form: str) -> None:
    env, untouched = FORMS[form](), FORMS[form]()
    untouched.action_space.seed(1)
    observation, _ = env.reset(seed=0)
    untouched.reset(seed=0)
    for _ in range(5):
        for array in observation.values():
            array[...] = 0
        action = untouched.action_space.sample()
        observation, *rest = env.step(action)
        expected, *expected_rest = untouched.step(action)
        assert all(np.array_equal(observation[key], expected[key]) for key in expected)
        assert rest == expected_rest
        if rest[1]:
            break


@forms
def test_no_key_of_an_observation_is_an_attribute_of_what_libraries_keep_it_in(form: str) -> None:
    """Stable-Baselines3 makes a ModuleDict of the keys, TorchRL a TensorDict."""
    keys = FORMS[form]().observation_space.spaces  # type: ignore[attr-defined]
    for kind in (nn.ModuleDict, TensorDict, dict):
        assert not [key for key in keys if hasattr(kind, key)]


@forms
@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
def test_a_wrapped_environment_copied_in_the_middle_draws_and_plays_alike(
    form: str, how: str
) -> None:
    env: Any = RecordEpisodeStatistics(TimeLimit(FORMS[form](), 6))
    env.action_space.seed(1)
    env.reset(seed=0)
    if env.step(env.action_space.sample())[2]:
        env.reset()
    twin = copy.deepcopy(env) if how == "deepcopy" else pickle.loads(pickle.dumps(env))
    for _ in range(9):
        action = env.action_space.sample()
        assert np.array_equal(action, twin.action_space.sample())
        after, same = env.step(action), twin.step(action)
        assert all(np.array_equal(same[0][key], after[0][key]) for key in after[0])
        assert same[1:4] == after[1:4] and same[4]["objective"] == after[4]["objective"]
        if after[2] or after[3]:
            assert env.reset()[1] == twin.reset()[1]


@forms
def test_a_copied_vector_of_environments_draws_legal_actions_of_each(form: str) -> None:
    env: Any = gymnasium.vector.SyncVectorEnv([FORMS[form]] * 2)
    env.reset(seed=0)
    twin = copy.deepcopy(env)
    assert twin.single_action_space is twin.envs[0].action_space
    for _ in range(4):
        actions = tuple(one.action_space.sample() for one in twin.envs)
        observations, *_ = twin.step(actions)
        expected, *_ = env.step(actions)
        assert all(np.array_equal(observations[key], expected[key]) for key in expected)


@forms
def test_the_checkers_of_gymnasium_and_of_sb3_have_nothing_to_say(form: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # A recommendation for matrices: MultiInputPolicy flattens them by itself.
        warnings.filterwarnings("ignore", "Your observation \\w+ has an unconventional shape")
        check_env(FORMS[form]().unwrapped, skip_render_check=True)
        check_env_of_sb3(FORMS[form]().unwrapped)


@pytest.mark.parametrize("form", ["vm plies", "memory", "mutate", "grid"])
def test_videos_and_statistics_are_recorded(form: str, tmp_path: Any) -> None:
    env = FORMS[form](render_mode="rgb_array")
    env = RecordVideo(
        RecordEpisodeStatistics(TimeLimit(env, 2)), str(tmp_path / "videos"), lambda episode: True
    )
    env.reset(seed=0)
    for _ in range(2):
        info = env.step(env.action_space.sample())[4]
    env.close()
    assert info["episode"]["l"] == 2 and len(list(tmp_path.glob("*/*.mp4"))) == 1


@masked
def test_maskable_ppo_trains_on_an_environment_as_it_is_made(form: str) -> None:
    model = MaskablePPO("MultiInputPolicy", FORMS[form](), n_steps=8, batch_size=8, n_epochs=1)
    model.learn(16)
    assert model.num_timesteps == 16


@masked
def test_torchrl_needs_one_transform_for_the_masks(form: str) -> None:
    """TorchRL's random policy knows no masks, so that an illegal action would raise."""

    def made() -> TransformedEnv:
        return TransformedEnv(
            GymWrapper(FORMS[form](), categorical_action_encoding=True), ActionMask()
        )

    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*not writable.*")
        check_env_specs(made())
    rollout = made().rollout(30, break_when_any_done=False)
    assert rollout.batch_size == (30,) and rollout["action_mask"].any(-1).all()
