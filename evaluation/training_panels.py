"""Choose what a training report draws: validation, score, return and loss, as panels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..agents.history import ALL, Record
from ..core.errors import SysOptError
from ..core.printable import labels
from ..core.registry import contender_names, load_problem
from ..core.sources import find_instances
from .plots import colors
from .training_curves import Axis, Curve, Standing, Training, curves, validation_figures
from .training_levels import judged_figure
from .training_plots import Panel, learning_plot

LOSS_WORDS = "loss", "entropy", "kl", "error", "explained"  # in names of parts of the loss
MOST_PARTS, MOST_CURVES = 8, 16
LOWER = "lower is better"


def training_plots(
    training: Training,
    shown: Sequence[Standing],
    chosen: tuple[str, str],
    levels: Mapping[str, float],
) -> list[dict[str, str]]:
    """Draw the learning curves of a training.

    Args:
        training: the runs.
        shown: the runs whose exported network is marked.
        chosen: instance set and figure by which networks are chosen.
        levels: solver -> its level in the figure that plans have too.

    Returns:
        Title, caption and SVG text of each plot.
    """
    instances, _ = chosen
    figures = validation_figures(training.runs)
    first = _chosen_figures(training, chosen, levels)

    def panel(label: str, named: Mapping[str, Callable[[Record], float | None]]) -> Panel:
        return Panel(label, _over_axes(training, named), {}, {}, {})

    plots = validation_plot(training, shown, chosen, levels)
    further = [
        panel(f"{one}\n{labels([name])[name]}", {one: _validated(name, one)})
        for name, ones in figures.items()
        for one in ones
        if name != instances or one not in first
    ]
    plots += _optional(
        f"Further figures of validation ({LOWER})",
        "What the recipe measures beside the figure that networks are chosen by.",
        further[:MOST_PARTS],
        training,
    )
    sets = list(dict.fromkeys(s for run in training.runs for r in run.records for s in r.objective))
    by_set = sets if len(sets) > 2 or training.kind == "run" else [ALL]
    plots += _optional(
        "Score of the episodes in training",
        'The environment\'s info["objective"] at the end of episodes of self-play, explored and on '
        "the training instances: not to be held against the validation above.",
        [panel(_objective_label(training), {s: _objective(s) for s in by_set})],
        training,
    )
    plots += _optional(
        "Return of the episodes in training",
        "What the learner maximizes: the sum of rewards, which is not the score.",
        [panel("mean return\n(higher is better)", {"return": lambda record: record.return_mean})],
        training,
    )
    keys = dict.fromkeys(k for run in training.runs for r in run.records for k in r.losses)
    parts = sorted(
        (k for k in keys if any(w in k for w in LOSS_WORDS) and _varies(training, k)), key=_by_words
    )
    plots += _optional(
        "Parts of the loss",
        "As RLlib's learner reports them; those of imitation are named loss.",
        [panel(key.replace("_", " "), {key: _loss(key)}) for key in parts[:MOST_PARTS]],
        training,
    )
    return plots


def validation_plot(
    training: Training,
    shown: Sequence[Standing],
    chosen: tuple[str, str],
    levels: Mapping[str, float],
) -> list[dict[str, str]]:
    """Draw the curve by which networks are chosen; see `training_plots`.

    Returns:
        Title, caption and SVG text; none before the first validation.
    """
    instances, _ = chosen
    first = _chosen_figures(training, chosen, levels)
    judged = judged_figure(training)
    names = contender_names(training.config["family"])
    found = Panel(
        f"{' and '.join(first)}\n({LOWER})",
        _over_axes(training, {one: _validated(instances, one) for one in first}),
        levels,
        {axis: _stars(shown, axis) for axis in training.axes},
        colors(names, levels),
    )
    if not any(found.curves.values()):
        return []
    dashed = ""
    if levels and judged is not None:
        dashed = f" Dashed: solvers' plans on the same instances, in {judged.name}."
    star = "; the star is exported" if any(found.best.values()) else ""
    caption = f"Points are validations, where checkpoints are{star}.{dashed}"
    return [_plot(f"Validation on {instances}", caption + _band_text(training), [found])]


def _chosen_figures(
    training: Training, chosen: tuple[str, str], levels: Mapping[str, float]
) -> list[str]:
    """Return the figure that networks are chosen by and, where solvers are drawn, theirs."""
    instances, figure = chosen
    judged = judged_figure(training)
    there = validation_figures(training.runs).get(instances, [])
    if judged is None or not levels or judged.name not in there:
        return [figure]
    return list(dict.fromkeys([figure, judged.name]))


def _by_words(key: str) -> int:
    return next(place for place, word in enumerate(LOSS_WORDS) if word in key)


def _varies(training: Training, key: str) -> bool:
    """Whether a part of the loss is more than a setting that stays as it is."""
    return len({r.losses[key] for run in training.runs for r in run.records if key in r.losses}) > 1


def _validated(instances: str, figure: str) -> Callable[[Record], float | None]:
    return lambda record: record.validation.get(instances, {}).get(figure)


def _objective(instances: str) -> Callable[[Record], float | None]:
    return lambda record: record.objective.get(instances)


def _loss(key: str) -> Callable[[Record], float | None]:
    return lambda record: record.losses.get(key)


def _over_axes(
    training: Training, named: Mapping[str, Callable[[Record], float | None]]
) -> dict[Axis, list[Curve]]:
    """Return the curves over both axes: of seeds together, of a sweep's trials one by one."""
    found: dict[Axis, list[Curve]] = {}
    for axis in training.axes:
        if training.kind != "sweep":
            found[axis] = [
                curve for name, pick in named.items()
                for curve in curves(training.runs, name, pick, axis)
            ]  # fmt: skip
            continue
        pick = next(iter(named.values()))
        found[axis] = [
            curve for run in training.runs for curve in curves([run], run.name, pick, axis)
        ][:MOST_CURVES]
    return found


def _stars(shown: Sequence[Standing], axis: Axis) -> list[tuple[float, float]]:
    """Return the points of the exported networks; for seeds there is no mark on their mean."""
    if len(shown) != 1:
        return []
    return [
        (float(one.run.positions(axis)[one.place]), one.value)
        for one in shown
        if one.value is not None
    ]


def _optional(
    title: str, caption: str, panels: Sequence[Panel], training: Training
) -> list[dict[str, str]]:
    drawn = [panel for panel in panels if any(panel.curves.values())]
    return [_plot(title, caption + _band_text(training), drawn)] if drawn else []


def _band_text(training: Training) -> str:
    if training.kind != "seeds" or len(training.runs) < 2:
        return ""
    return f" Lines: mean of {len(training.runs)} seeds; bands: from the least to the greatest."


def _plot(title: str, caption: str, panels: Sequence[Panel]) -> dict[str, str]:
    return {"title": title, "caption": caption, "svg": learning_plot(panels)}


def _objective_label(training: Training) -> str:
    """Return the objective's name with unit and direction, if the instances are at hand."""
    config = training.config
    problem = load_problem(config["family"])
    try:
        instance = find_instances(problem, config["validation"][0], {})[0]
    except (SysOptError, IndexError):
        return "objective"
    objective = problem.objective(instance)
    way = LOWER if objective.direction == "minimize" else "higher is better"
    return f"{objective.name.replace('_', ' ')}\n({way})"
