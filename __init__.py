"""sysopt-gym: Gymnasium environments for systems-optimization problems.

With agents, solver baselines, and one fair table of them all.

Importing this package registers the environments (`gym.make("sysopt/VMRescheduling-v0")`) and loads
neither torch nor ray.
"""

import gymnasium as _gymnasium

from .core.registry import ENVIRONMENTS as _ENVIRONMENTS
from .core.registry import VECTOR_ENVIRONMENTS as _VECTOR_ENVIRONMENTS
from .core.registry import load_problem
from .core.version import __version__

__all__ = ["__version__", "load_problem"]

for _id, _entry in _ENVIRONMENTS.items():
    if _id not in _gymnasium.registry:
        _vector = _VECTOR_ENVIRONMENTS.get(_id)
        _gymnasium.register(
            id=_id,
            entry_point=__name__ + _entry,
            vector_entry_point=__name__ + _vector if _vector else None,
        )
