"""What RLlib's checkpoints leave out, so that training with a local runner goes on bit for bit.

RLlib saves weights, optimizers, connectors and metrics. It does not save PPO's adaptive
coefficient of the KL loss, when target networks were updated, replay buffers, the environments in
the middle of their episodes, nor any random generator.
"""

from __future__ import annotations

import io
import pickle
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

from ..core.errors import CheckpointError
from ..core.instance import Instance
from ..core.notes import note

# Attributes of RLlib's runner that its state lacks.
RUNNER = (
    "env",
    "_cached_to_module",
    "_needs_initial_reset",
    "_ongoing_episodes",
    "_done_episodes_for_metrics",
    "_ongoing_episodes_for_metrics",
    "_shared_data",
    "_weights_seq_no",
)
# Attribute of the algorithms of RLlib that learn from a buffer.
BUFFER = "local_replay_buffer"
# Attributes of RLlib's learners, module -> number, that their state lacks: PPO's coefficient of the
# KL loss, and when the target networks were last updated.
LEARNER = ("curr_kl_coeffs_per_module", "last_update_ts_by_mid")


def generators() -> dict[str, Any]:
    """Return the states of the random generators that a process has one of."""
    return {
        "torch": torch.get_rng_state(),
        "numpy": np.random.get_state(),  # noqa: NPY002 (RLlib's)
        "python": random.getstate(),
    }


def set_generators(states: Mapping[str, Any]) -> None:
    """Restore what `generators` returned."""
    torch.set_rng_state(states["torch"])
    np.random.set_state(states["numpy"])  # noqa: NPY002 (RLlib's)
    random.setstate(states["python"])


def seed_generators(seed: int) -> None:
    """Seed the random generators that a process has one of."""
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 (RLlib's)
    random.seed(seed)


def is_local(algorithm: Any) -> bool:
    """Whether an algorithm of RLlib samples and learns in this process, and so repeats itself."""
    config, runner = algorithm.config, algorithm.env_runner
    if config.num_env_runners or config.num_learners or runner is None or runner.env is None:
        return False
    return not isinstance(runner.env.unwrapped, AsyncVectorEnv)


def save(algorithm: Any, path: Path) -> None:
    """Write what `algorithm.save_to_path` leaves out.

    Remote runners begin new episodes when training goes on; of them nothing is saved. Instances are
    named by their content hashes, since a resumed run has them.

    Args:
        algorithm: an algorithm of RLlib.
        path: the file.
    """
    (learner, *_) = algorithm.learner_group.foreach_learner(_learner_state)
    state: dict[str, Any] = {"learner": learner.get(), "buffer": getattr(algorithm, BUFFER, None)}
    if is_local(algorithm):
        # One pickle for all, as runner, environments and buffer share episodes and instances.
        state["runner"] = _runner_state(algorithm.env_runner)
        state["generators"] = generators()
    try:
        content = _dumped(state, algorithm)
    except Exception as error:  # whatever an environment of another package raises
        note(
            f"{algorithm.config.env}: the environments cannot be pickled ({error}); a resumed run "
            "begins new episodes"
        )
        content = _dumped(state | {"runner": None}, algorithm)
    path.write_bytes(content)


def restore(algorithm: Any, path: Path) -> None:
    """Restore what `save` wrote, after `algorithm.restore_from_path`.

    Args:
        algorithm: an algorithm of RLlib, built with the same configuration.
        path: the file.

    Raises:
        CheckpointError: the file does not fit this version of the library or of RLlib.
    """
    try:
        state = _Named(io.BytesIO(path.read_bytes()), _instances(algorithm)).load()
    except Exception as error:  # whatever a class that has changed raises when it is unpickled
        raise CheckpointError(
            f"{path}: cannot be read ({error}); resume with the versions that wrote it, or start "
            "another run with start=FOLDER of this one's policy"
        ) from error
    of_learner = state["learner"]
    algorithm.learner_group.foreach_learner(lambda one: _set_learner_state(one, of_learner))
    if state["buffer"] is not None:
        setattr(algorithm, BUFFER, state["buffer"])
    if state.get("runner") and is_local(algorithm):
        _set_runner_state(algorithm.env_runner, state["runner"])
        set_generators(state["generators"])


def _instances(algorithm: Any) -> dict[str, Instance]:
    """Return the instances that an algorithm plays, by name in `_dumped`."""
    given = algorithm.config.env_config.get("instances", ())
    found = [given] if isinstance(given, (Instance, str)) else given
    return {_name(one): one for one in found if isinstance(one, Instance)}


def _name(instance: Instance) -> str:
    return f"{instance.content_hash} {instance.name}"


def _dumped(state: Any, algorithm: Any) -> bytes:
    """Pickle a state, with the names of the instances that an algorithm plays in their places."""
    from ray import cloudpickle

    known = _instances(algorithm)

    class Naming(cloudpickle.CloudPickler):  # type: ignore[misc, name-defined]
        def persistent_id(self, obj: Any) -> str | None:
            return _name(obj) if isinstance(obj, Instance) and _name(obj) in known else None

    content = io.BytesIO()
    Naming(content).dump(state)
    return content.getvalue()


class _Named(pickle.Unpickler):
    """Reads what `_dumped` wrote."""

    def __init__(self, content: io.BytesIO, instances: Mapping[str, Instance]) -> None:
        super().__init__(content)
        self.instances = instances

    def persistent_load(self, pid: str) -> Instance:
        return self.instances[pid]


def _runner_state(runner: Any) -> dict[str, Any]:
    vector = runner.env.unwrapped
    if isinstance(vector, SyncVectorEnv):
        vector.env_fns = ()  # gymnasium keeps the exhausted generator that it was made from
    names = (*RUNNER, *getattr(runner, "kept", ()))
    kept = {name: getattr(runner, name) for name in names}
    return {"attributes": kept, "module": _own_generators(runner.module)}


def _set_runner_state(runner: Any, state: Mapping[str, Any]) -> None:
    runner.env.close()
    for name, value in state["attributes"].items():
        setattr(runner, name, value)
    vars(runner.module).update(state["module"])


def _own_generators(module: Any) -> dict[str, np.random.Generator]:
    """Return the generators that are attributes of a module, by name."""
    found = vars(module).items()
    return {name: value for name, value in found if isinstance(value, np.random.Generator)}


def _learner_state(learner: Any) -> dict[str, dict[str, float]]:
    """Return those of LEARNER that the algorithm's learner has."""
    return {
        name: {module: float(value) for module, value in dict(getattr(learner, name)).items()}
        for name in LEARNER
        if hasattr(learner, name)
    }


def _set_learner_state(learner: Any, state: Mapping[str, Mapping[str, float]]) -> None:
    for name, values in state.items():
        numbers = getattr(learner, name)
        for module, value in values.items():
            if isinstance(numbers[module], torch.Tensor):
                numbers[module].data.fill_(value)
            else:
                numbers[module] = value
