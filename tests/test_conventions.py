"""What other reinforcement-learning libraries take for granted of an environment, in every family
and form: masks where they look for them, arrays of one's own, keys that collide with nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
import sysopt_gym  # noqa: F401 (registers the environments)
from sysopt_gym.core.errors import IllegalActionError, SettingError

VM, MALLOC, DESIGN, FEDERATED = (
    f"sysopt/{name}-v0"
    for name in ("VMRescheduling", "MallocGame", "SequenceDesign", "FederatedLR")
)
DNA = "rna-a"  # tasks without rules
FORMS: dict[str, Callable[..., gymnasium.Env[Any, Any]]] = {
    "vm plies": lambda **k: gymnasium.make(VM, instances="small:train", **k),
    "vm joint": lambda **k: gymnasium.make(VM, instances="small:train", form="joint", **k),
    "memory": lambda **k: gymnasium.make(MALLOC, instances="small:train", **k),
    "construct": lambda **k: gymnasium.make(DESIGN, designs=2, **k),
    "mutate": lambda **k: gymnasium.make(DESIGN, designs=2, edits=3, form="mutate", **k),
    "batch": lambda **k: gymnasium.make(DESIGN, designs=2, form="batch", **k),
    "grid": lambda **k: gymnasium.make(FEDERATED, **k),
    "continuous": lambda **k: gymnasium.make(FEDERATED, form="continuous", **k),
    "orders": lambda **k: gymnasium.make(FEDERATED, form="orders", **k),
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
    env = gymnasium.make(DESIGN, instances=DNA, form="batch", designs=2)
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
