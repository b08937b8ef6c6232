"""sysopt-gym: Gymnasium environments for systems-optimization problems.

With agents, solver baselines, and one fair table of them all.

Importing this package registers the environments (`gym.make("sysopt/VMRescheduling-v0")`) and loads
neither torch nor ray. The other names below are imported when they are first used.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING
from typing import Any as _Any

from .core.registry import FAMILIES as _FAMILIES
from .core.registry import add_environment as _add_environment
from .core.registry import own_family as _own_family
from .core.version import __version__

if TYPE_CHECKING:
    from .core.budget import Budget
    from .core.contracts import World
    from .core.play import solve
    from .core.problem import Problem
    from .core.registry import load_contender, load_problem, register, register_family
    from .core.solution import Solution
    from .evaluation.comparison import Request, compare

_LAZY = {
    "Budget": ".core.budget",
    "Problem": ".core.problem",
    "Request": ".evaluation.comparison",
    "Solution": ".core.solution",
    "World": ".core.contracts",
    "compare": ".evaluation.comparison",
    "load_contender": ".core.registry",
    "load_problem": ".core.registry",
    "register": ".core.registry",
    "register_family": ".core.registry",
    "solve": ".core.play",
}
__all__ = [
    "Budget",
    "Problem",
    "Request",
    "Solution",
    "World",
    "__version__",
    "compare",
    "load_contender",
    "load_problem",
    "register",
    "register_family",
    "solve",
]

for _name in _FAMILIES:
    _add_environment(_own_family(_name))


def __getattr__(name: str) -> _Any:
    """Import a public name on its first use."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_import_module(_LAZY[name], __name__), name)


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return __all__
