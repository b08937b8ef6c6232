"""Say with which settings a run goes on: its own, but for those that may change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..core.errors import CheckpointError, SettingError, SysOptError
from ..core.notes import note
from .configuration import TrainingConfig, load_config, overridden, typed
from .run_checkpoints import newest_good
from .run_folder import CONFIG

# Last parts of the keys that may change between two sessions of a run.
CHANGEABLE = ("iterations", "epochs", "checkpoint_every", "num_env_runners", "trackers")


def resumed_config(config: str | Path, overrides: Mapping[str, str]) -> TrainingConfig:
    """Return the settings with which a run goes on.

    Args:
        config: the run's folder; or the configuration that it was started with, in which case the
            folder is its `out`.
        overrides: dotted key -> value as YAML text.

    Raises:
        CheckpointError: there is no run to resume, or none of its checkpoints is good.
        SettingError: a setting that cannot change differs from the run's.
        SysOptError: see `load_config`.
    """
    given = None
    if Path(config).is_dir():
        folder = Path(config)
    else:
        out = {key: text for key, text in overrides.items() if key == "out"}
        given = load_config(config, out)
        folder = Path(given.out)
    saved = _saved(folder)
    if given is not None and given.family != saved.family:
        raise SettingError(
            f"{folder}: is a run of {saved.family}, and {config} trains {given.family}; set "
            "another out=FOLDER"
        )
    before = saved.document()
    wanted = typed(overridden(before, overrides) | {"out": str(folder)})
    changes = dict(_differences(before, wanted.document()))
    fixed = {key: pair for key, pair in changes.items() if key.split(".")[-1] not in CHANGEABLE}
    if fixed:
        lines = "; ".join(f"{key} is {old!r}, not {new!r}" for key, (old, new) in fixed.items())
        raise SettingError(
            f"{folder}: a run keeps its settings: {lines}; leave them out, or start another run "
            "with out=FOLDER"
        )
    for key, (old, new) in changes.items():
        note(f"{folder}: goes on with {key} {new!r}, which was {old!r}")
    if given is not None:
        kept = {
            key: old
            for key, (old, _) in _differences(wanted.document(), given.document())
            if not any(f"{key}.".startswith(f"{override}.") for override in overrides)
        }
        _tell_of_kept(folder, kept)
    return wanted


def _saved(folder: Path) -> TrainingConfig:
    """Return the settings of a run as its newest good checkpoint has them, or before there is one,
    as its folder has.
    """
    place, _ = newest_good(folder)
    path = folder / CONFIG
    if place is None:
        if not path.exists():
            raise CheckpointError(f"{folder}: no run to resume; start one without --resume")
        try:
            return load_config(path, {"out": str(folder)})
        except SettingError as error:
            raise CheckpointError(
                f"{path}: damaged, and the run has no checkpoint yet; start another with out=FOLDER"
            ) from error
    out = {"out": str(folder)}
    saved = load_config(place / CONFIG, out)
    try:
        same = load_config(path, out) == saved
    except SysOptError:
        same = False
    if not same:
        note(
            f"{path}: missing or changed since the checkpoint, whose settings hold; to change one, "
            "write KEY=VALUE behind --resume"
        )
    return saved


def _tell_of_kept(folder: Path, kept: Mapping[str, Any]) -> None:
    """Tell which settings of a configuration do not count, as the run has its own."""
    if kept:
        settings = ", ".join(f"{key} {value!r}" for key, value in kept.items())
        note(
            f"{folder}: keeps what it was started with where the configuration says otherwise "
            f"({settings}); what may change is given as KEY=VALUE"
        )


def _differences(
    before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Yield the dotted keys of two documents whose values differ, with both; `out` aside."""
    for key in dict.fromkeys([*before, *after]):
        old, new = before.get(key), after.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _differences(old, new, f"{prefix}{key}.")
        elif old != new and f"{prefix}{key}" != "out":
            yield f"{prefix}{key}", (old, new)
