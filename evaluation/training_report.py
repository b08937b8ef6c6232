"""Write the report of a training run, of its seeds or of a sweep, HTML and Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ..agents.recipe import load_recipe
from ..core.registry import load_problem
from .headline import number
from .prose import literal, plain_sentence
from .report import HTML, MARKDOWN, check_installed, write_pages
from .training_curves import (
    Spread,
    Standing,
    TrainedRun,
    Training,
    read_training,
    spread,
    standing,
    where,
    where_time_went,
)
from .training_levels import SOLVERS, judged_figure, play_solvers, solver_levels
from .training_panels import LOWER, training_plots
from .training_plots import time_plot


def write_training_report(folder: Path, solvers: bool) -> list[str]:
    """Write report.html and report.md into a run's folder, a folder of seeds or a sweep's.

    The run may be under way, or have been killed.

    Args:
        folder: the folder.
        solvers: whether to play the family's solvers on the validation set where they have not
            played yet; those that have are drawn in any case.

    Returns:
        What the page says first, as lines.

    Raises:
        OutputError: the folder holds no training that has got anywhere.
        MissingDependencyError: the extra [report] is not installed.
        SysOptError: see `play_solvers`.
    """
    check_installed()
    training = read_training(folder)
    if solvers and judged_figure(training) is not None:
        play_solvers(training)
    facts = page_facts(training)
    write_pages("training", facts, folder)
    told = [plain_sentence(sentence) for sentence in facts["sentences"]]
    return [*told, f"{folder / HTML}, {folder / MARKDOWN}"]


def page_facts(training: Training) -> dict[str, Any]:
    """Return what the templates show."""
    config = training.config
    family, recipe = config["family"], load_recipe(config["family"], config.get("recipe", ""))
    chosen = (config["validation"][0], recipe.chosen_by)
    standings = [standing(run, *chosen) for run in training.runs]
    leader = min(standings, key=lambda one: np.inf if one.value is None else one.value)
    levels = solver_levels(training)
    shown = standings if training.kind == "seeds" else [leader]
    spent = where_time_went(leader.run)
    return {
        "title": f"Training of {family}: {training.folder.resolve().name}",
        "about": load_problem(family).title,
        "sentences": _sentences(training, standings, leader, chosen, levels),
        "plots": training_plots(training, shown, chosen, levels),
        "table": _table(training, standings, leader, chosen),
        "spent": _spent(spent),
        "time": time_plot(spent),
        "of_run": "" if training.kind == "run" else leader.run.name,
        "configuration": yaml.safe_dump(dict(leader.run.config), sort_keys=False),
        "how": _how(training, leader),
    }


def _progress(run: TrainedRun) -> str:
    """Return how far a run has come, e.g. "ppo 12 of 60"."""
    done = {record.stage: record.done for record in run.records}
    return ", ".join(
        f"{stage} {done.get(stage, 0)} of {length}" for stage, length in run.lengths.items()
    )


def _ended(run: TrainedRun) -> bool:
    done = {record.stage: record.done for record in run.records}
    return all(done.get(stage, 0) >= length for stage, length in run.lengths.items())


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _sentences(
    training: Training,
    standings: Sequence[Standing],
    leader: Standing,
    chosen: tuple[str, str],
    levels: Mapping[str, float],
) -> list[str]:
    instances, figure = chosen
    shown, named = literal(instances), literal(figure)
    runs = training.runs
    steps = sum(run.records[-1].env_steps for run in runs)
    seconds = sum(record.seconds for run in runs for record in run.records)
    what = {"run": "The run", "seeds": f"{len(runs)} seeds", "sweep": f"{len(runs)} trials"}
    cost = f"{steps:,} environment steps in {_duration(seconds)} of training."
    open_runs = [run for run in runs if not _ended(run)]
    if not open_runs:
        lines = [f"{what[training.kind]} finished: {cost}"]
    elif training.kind == "run":
        lines = [
            f"The run is under way, or was stopped, at {_progress(runs[0])}: {cost} If it was "
            f"stopped, `sysopt-gym train --resume {literal(str(training.folder))}` goes on."
        ]
    else:
        lines = [f"{what[training.kind]}, {len(open_runs)} of them not at their end: {cost}"]
    if leader.value is None:
        return [*lines, "There was no validation yet, and no policy is exported."]
    whose = "" if training.kind == "run" else f" of **{literal(leader.run.name)}**"
    first = next(r for r in leader.run.records if figure in r.validation.get(instances, {}))
    at_first = number(first.validation[instances][figure])
    lines.append(
        f"The exported policy is that{whose} at **{leader.where}**: {named} "
        f"**{number(leader.value)}** on {shown} ({LOWER}); the first validation, at "
        f"{where(first)}, gave {at_first}."
    )
    if training.kind == "seeds" and (over := spread(one.value for one in standings)):
        lines.append(f"Over the seeds: {named} {spread_text(over)}.")
    lines += _against_solvers(training, leader, instances, levels)
    return lines


def spread_text(over: Spread) -> str:
    """Return mean, range and interval of validation scores over seeds in words."""
    text = f"mean {number(over.mean)}, from {number(over.low)} to {number(over.high)}"
    if over.interval is None:
        return f"{text}; one seed has no interval"
    low, high = map(number, over.interval)
    return f"{text}; 95 % interval of the mean [{low}, {high}] (Student's t, {over.count} seeds)"


def _against_solvers(
    training: Training, leader: Standing, instances: str, levels: Mapping[str, float]
) -> list[str]:
    figure = judged_figure(training)
    if figure is None:
        return ["Solvers are not drawn: this recipe's score is of something else than plans."]
    if not levels:
        return [
            "Solvers are not drawn yet: "
            f"`sysopt-gym report {literal(str(training.folder))}` plays them on "
            f"{literal(instances)} once."
        ]
    value = leader.run.records[leader.place].validation[instances].get(figure.name)
    if value is None:
        return []
    better = [literal(name) for name, level in levels.items() if level < value]
    worse = [literal(name) for name, level in levels.items() if not level < value]
    ahead = f"behind it {', '.join(worse)}" if worse else "no solver is behind it"
    before = f"ahead of it {', '.join(better)}" if better else "no solver is ahead of it"
    seconds = load_problem(training.config["family"]).defaults.budget_s
    return [
        f"Beside the solvers ({seconds:g} s a plan, same instances), in {figure.name}: the policy "
        f"{number(value)}; {before}; {ahead}."
    ]


def _table(
    training: Training, standings: Sequence[Standing], leader: Standing, chosen: tuple[str, str]
) -> dict[str, Any]:
    """Return the table of the runs, the best first; settings that differ are columns of a sweep."""
    if training.kind == "run":
        return {}
    flat = {one.run.name: _flat(one.run.config) for one in standings}
    keys = dict.fromkeys(key for values in flat.values() for key in values)
    hidden = "out", "sweep", "seeds"
    differing = [
        key for key in keys
        if key.split(".")[0] not in hidden and len({repr(v.get(key)) for v in flat.values()}) > 1
    ]  # fmt: skip
    order = sorted(standings, key=lambda one: np.inf if one.value is None else one.value)
    return {
        "columns": ["run", *differing, chosen[1], "at", "steps", "training", "stands at"],
        "lines": [
            {
                "first": one is leader,
                "cells": [
                    one.run.name,
                    *(_cell(flat[one.run.name].get(key, "–")) for key in differing),
                    number(one.value),
                    one.where or "–",
                    f"{one.run.records[-1].env_steps:,}",
                    _duration(sum(record.seconds for record in one.run.records)),
                    _progress(one.run),
                ],
            }
            for one in order
        ],
    }


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _flat(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested mapping as dotted keys -> values."""
    found: dict[str, Any] = {}
    for key, value in document.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def _spent(stages: Mapping[str, Mapping[str, float]]) -> list[list[str]]:
    """Return stage, part, seconds and share of the stage, one row per part."""
    rows = []
    for stage, parts in stages.items():
        total = sum(parts.values()) or 1.0
        for part, seconds in sorted(parts.items(), key=lambda item: -item[1]):
            rows.append([stage, part, f"{seconds:.2f} s", f"{100 * seconds / total:.1f} %"])
    return rows


def _how(training: Training, leader: Standing) -> list[tuple[str, str]]:
    """Return how to repeat and to use the training, as (label, text) pairs."""
    card = leader.run.card()
    folder = training.folder
    facts = [
        ("Command", str(card.get("command", ""))),
        ("Again, every key as it was", f"sysopt-gym train {folder / 'config.yaml'} out=FOLDER"),
        (
            "The policy in the table",
            f"sysopt-gym compare {training.config['family']} --contenders mine={folder / 'policy'} "
            "--out FOLDER",
        ),
        ("Exported", str(card.get("stage", ""))),
        ("Environment", f"{card['family']} {card['env_version']}" if card else ""),
        ("Solvers", str(folder / SOLVERS) if (folder / SOLVERS).exists() else ""),
    ]
    return [(label, text) for label, text in facts if text]
