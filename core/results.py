"""One judged run as a frozen, typed row, and its JSON form."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from types import UnionType
from typing import Any, Literal, Self, Union, get_args, get_origin, get_type_hints

from .contracts import SIGNS, Direction, Form, Role
from .errors import OutputError

Status = Literal["optimal", "feasible", "late", "infeasible", "disagreement", "crashed", "hung"]
SUCCEEDED: tuple[Status, ...] = ("optimal", "feasible")

# Field names in results of earlier versions, and the role and form that their `kind` stands for.
OLD_NAMES: Mapping[str, str] = {
    "moves_on": "is_live",
    "draws": "is_random",
    "doing_nothing": "null_objective",
}
OLD_KINDS: dict[str, dict[str, str | None]] = {
    "agent": {"role": "agent", "form": None},
    "solver": {"role": "solver", "form": "planner"},
    "policy": {"role": "solver", "form": "player"},
    "oracle": {"role": "oracle", "form": "planner"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One judged run of a contender on an instance, with everything needed to replay it.

    If no plan came back (the contender crashed or hung), the plan's fields have their defaults.
    """

    family: str
    """Name of the problem family."""
    instance: str
    """Name of the instance."""
    instance_hash: str
    """Content hash of the instance as played; names its file in the results folder."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Settings applied to the instance, as texts by name."""
    contender: str
    """Name of the contender."""
    role: Role
    """Whether it is an agent, a solver or an oracle."""
    form: Form | None = None
    """Whether it plans once or plays closed loop; None where an old row does not say."""
    seed: int
    """Seed given to the contender."""
    world_seed: int
    """Seed of the environment and of the validator; contenders do not know it."""
    objective: float = math.nan
    """Objective found by the validator, in `unit`; NaN where the plan is infeasible."""
    scored_objective: float
    """Objective the run is ranked by, in `unit`: `null_objective` where it failed."""
    null_objective: float
    """Objective of the null plan when the budget is spent, in `unit`; NaN if it is infeasible."""
    objective_name: str
    """Name of the objective."""
    direction: Direction
    """Whether less or more of the objective is better."""
    unit: str = ""
    """Unit of the objective."""
    feasible: bool = False
    """Whether the environment and the validator accept the plan."""
    violations: tuple[str, ...] = ()
    """One sentence for each constraint that the plan breaks."""
    status: Status
    """What became of the run."""
    bound: float | None = None
    """Bound on the objective that the contender proved, in `unit`, or None."""
    best_known: float | None = None
    """Best objective known from elsewhere, in `unit`, or None."""
    is_live: bool
    """Whether the world goes on while a contender computes."""
    is_random: bool = False
    """Whether the world seed changes the problem that the instance poses."""
    wall_s: float | None = None
    """Seconds from the instance to the plan by the judge's clock; None without a plan."""
    cpu_s: float | None = None
    """CPU seconds of its process and of all that it started; None without a plan."""
    setup_s: float
    """Seconds of loading and compiling before the first instance; not part of `wall_s`."""
    budget_s: float
    """Wall-clock seconds that the contender was given."""
    cores: int = 1
    """Cores that the contender was given."""
    late: bool = False
    """Whether it overran its budget beyond the grace, or took more cores than it was given."""
    env_version: str
    """Version of the family's environment."""
    timing: str = ""
    """Conditions that the seconds were measured under, in words."""
    host: str = ""
    """Name of the machine that the contender ran on."""
    processor: str = ""
    """Name of that machine's processor."""
    actions: Sequence[Any] = field(default_factory=list)
    """The plan: one entry an environment step, an int or a list of ints."""
    curve: tuple[tuple[float, float], ...] = ()
    """Anytime curve: (seconds, objective of the best plan found by then)."""
    error: str = ""
    """Why there is no plan, or how it took too many cores; empty where all is well."""
    note: str = ""
    """What the contender claimed that does not stand; empty if all does."""
    detail: Mapping[str, float] = field(default_factory=dict)
    """Further figures of the family, by name."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Versions of this package, of Python and of what results may depend on, by name."""
    provenance: Mapping[str, str] = field(default_factory=dict)
    """What the contender is: distribution, version and entry point, or a file's hash; of a policy
    its hash and the seed, steps and algorithm of its training. Empty in rows of earlier versions.
    """

    @property
    def failed(self) -> bool:
        """Whether the run ranks as the null plan."""
        return self.status not in SUCCEEDED

    @property
    def sign(self) -> float:
        """1.0 if less is better, -1.0 if more is: `sign * objective` is minimized."""
        return SIGNS[self.direction]

    @property
    def world(self) -> tuple[str, str, int]:
        """Key of comparable runs: family, instance and, if random or live, world seed."""
        varies = self.is_random or self.is_live
        return self.family, self.instance_hash, self.world_seed if varies else 0

    @property
    def failure_reason(self) -> str:
        """Why the run failed, in a few words; empty if it did not."""
        if not self.failed:
            return ""
        if self.status == "late" and not self.error:
            return f"took {self.wall_s:.2f} s of {self.budget_s:g} s"
        return self.error or "; ".join(self.violations[:1]) or self.status

    def to_json(self) -> dict[str, Any]:
        """Return the fields by name as strict JSON takes them; see `plain`."""
        return {each.name: plain(getattr(self, each.name)) for each in fields(self)}

    @classmethod
    def from_json(cls, document: Any, source: str) -> Self:
        """Read what `to_json` made, now or in an earlier version.

        Args:
            document: the parsed JSON.
            source: where the document is from, for error messages.

        Raises:
            OutputError: a field is missing, or its value is not of the field's type.
        """
        if not isinstance(document, dict):
            raise OutputError(f"{source}: a row of results is a JSON object")
        held: dict[str, Any] = {OLD_NAMES.get(k, k): item for k, item in document.items()}
        held |= OLD_KINDS.get(str(held.pop("kind", None)), {})
        hints, values = _hints(cls), {}
        for each in fields(cls):
            if each.name in held:
                try:
                    values[each.name] = _read(hints[each.name], held[each.name])
                except (TypeError, ValueError) as error:
                    raise OutputError(f"{source}: field {each.name!r} {error}") from None
            elif each.default is MISSING and each.default_factory is MISSING:
                raise OutputError(f"{source}: field {each.name!r} is missing")
        return cls(**values)


def plain(value: Any) -> Any:
    """Return a value in a form that strict JSON accepts.

    NaN becomes null, an infinity the text "Infinity" or "-Infinity". When a row is read, null is
    NaN in a field of type float, also inside `detail` and `curve`, and None in one of type float |
    None.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Sequence) and not isinstance(value, str):  # actions that stay in a file
        return plain(list(value))
    return value


def _read(kind: Any, value: Any) -> Any:
    """Convert a JSON value to a field's type.

    Raises:
        TypeError: the value is of another type.
        ValueError: the value is of the type, but not allowed.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):  # always a type or None
        return None if value is None else _read(inner[0], value)
    if origin is Literal:
        if value not in inner:
            raise ValueError(f"must be one of {', '.join(inner)}, is {value!r}")
        return value
    if kind is float and value in (None, "Infinity", "-Infinity"):
        return math.nan if value is None else float(value)
    wanted, what = _IN_JSON[origin or kind]
    if not isinstance(value, wanted) or isinstance(value, bool) != (kind is bool):
        raise TypeError(f"must be {what}, is {value!r}")
    if origin is Mapping:
        return {key: _read(inner[1], item) for key, item in value.items()}
    if origin is tuple:
        kinds = inner[:1] * len(value) if inner[-1] is ... else inner
        if len(kinds) != len(value):
            raise ValueError(f"must be a list of {len(kinds)}, is {value!r}")
        return tuple(map(_read, kinds, value))
    return float(value) if kind is float else value


_IN_JSON: dict[Any, tuple[Any, str]] = {
    str: (str, "a text"),
    int: (int, "a whole number"),
    bool: (bool, "true or false"),
    float: ((int, float), "a number"),
    tuple: (list, "a list"),
    Sequence: (list, "a list"),
    Mapping: (dict, "an object"),
}

_hints: Callable[[Any], dict[str, Any]] = cache(get_type_hints)
