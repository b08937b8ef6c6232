"""sysopt-gym: Gymnasium environments for systems-optimization problems.

With agents, solver baselines, and one fair table of them all.

Importing this package registers the environments (`gym.make("sysopt/VMRescheduling-v0")`) and loads
neither torch nor ray.
"""

from .core.registry import FAMILIES as _FAMILIES
from .core.registry import add_environment as _add_environment
from .core.registry import load_problem
from .core.registry import own_family as _own_family
from .core.version import __version__

__all__ = ["__version__", "load_problem"]

for _name in _FAMILIES:
    _add_environment(_own_family(_name))
