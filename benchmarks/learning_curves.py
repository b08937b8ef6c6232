"""Write the page of the shipped policies' learning curves from the histories of their runs.

    python -m sysopt_gym.benchmarks.learning_curves          # page and plots, from docs/curves
    python -m sysopt_gym.benchmarks.learning_curves --take runs/vm_rescheduling_ppo

docs/curves/POLICY holds a run's configuration, its history and its policy's card; `sysopt-gym
report docs/curves/POLICY` makes the whole report of that run. --take adds or replaces the run of
the shipped policy that its folder is named after.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

from ..agents.checkpoints import SHIPPED, read_card
from ..agents.recipe import load_recipe
from ..agents.run_folder import CONFIG, HISTORY, POLICY
from ..core.contender_arguments import CARD
from ..evaluation.headline import number
from ..evaluation.training_curves import Standing, Training, read_training, standing
from ..evaluation.training_panels import validation_plot

DOCS = Path(__file__).resolve().parents[1] / "docs"
CURVES = DOCS / "curves"
PAGE = DOCS / "learning_curves.md"
KEPT = CONFIG, HISTORY, f"{POLICY}/{CARD}"

HEAD = """# Learning curves

What the training of each shipped policy came to, validation by validation. Each run is of the
present code and begins at an untrained network or at the policy that its command names. Figures are
on the validation set by which the policy is chosen, lower is better; a point is a validation, the
star what was exported. Minutes are wall time on two cores, mostly shared with up to eight other
processes, so they are upper limits; contenders that are imitated plan for seconds, and so gave
worse lessons there than on a machine of their own (`sequence_design_ppo`, which imitates `ga`, ran
beside one other process). `memory_mapping_reader` and `memory_mapping_alphazero` imitate `agent` as
of commit c7526c4.

`federated_lr_agent` begins at the best constant rates, and PPO from nothing does not improve on
them; the shipped weights are of an earlier form of the code, from other policies. In
`sequence_design_ppo` PPO loses its entropy, and then the good designs.

    python -m sysopt_gym.benchmarks.learning_curves

writes this page from `docs/curves`, which holds configuration, history and card of each run;
`sysopt-gym report docs/curves/POLICY` makes the whole report of one.

The last column is the figure in the card of the policy that is shipped. Where it is that of the
run, the run made it; elsewhere an earlier form of the code did, as its configuration says, and the
run shows what the command gives today.

| policy | passes | environment steps | minutes | validation | start | best | at | shipped |
|---|---:|---:|---:|---|---:|---:|---|---:|
"""


def main() -> None:
    """Read the command line, take over runs, and write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--take", nargs="+", type=Path, default=[], help="folders of runs")
    for run in parser.parse_args().take:
        take(run)
    PAGE.write_text(page(), encoding="utf-8")
    for folder in folders():
        plot = _plot(read_training(folder))
        (CURVES / f"{folder.name}.svg").write_text(plot + "\n", encoding="utf-8")


def folders() -> list[Path]:
    """Return the folders of the runs kept, one a policy, by name."""
    return sorted(path.parent for path in CURVES.glob(f"*/{CONFIG}"))


def take(run: Path) -> None:
    """Keep configuration, history and card of a run that is named after a shipped policy."""
    for name in KEPT:
        kept = CURVES / run.resolve().name / name
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(run / name, kept)


def page() -> str:
    """Return the page as Markdown: a row and a plot of each run kept."""
    trainings = [read_training(folder) for folder in folders()]
    kept = {training.folder.name for training in trainings}
    missing = sorted(path.name for path in SHIPPED.iterdir() if path.name not in kept)
    rows = "".join(map(_row, trainings))
    without = ", ".join(f"`{name}`" for name in missing)
    said = f"\nNot run again: {without}.\n" if missing else ""
    return HEAD + rows + said + "".join(map(_section, trainings))


def _row(training: Training) -> str:
    (run,) = training.runs
    instances, figure, end = _chosen(training)
    start = run.records[0].validation[instances][figure]
    passes = sum(record.stage == "imitation" for record in run.records)
    minutes = sum(record.seconds for record in run.records) / 60
    shipped = read_card(SHIPPED / training.folder.name).expected.get(instances, {}).get(figure)
    cells: Sequence[str] = (
        f"`{training.folder.name}`", str(passes), f"{run.records[-1].env_steps:,}",
        f"{minutes:.0f}", f"{figure}, `{instances}`", number(start), number(end.value), end.where,
        number(shipped),
    )  # fmt: skip
    return f"| {' | '.join(cells)} |\n"


def _section(training: Training) -> str:
    name = training.folder.name
    card = training.runs[0].card()
    instances, figure, end = _chosen(training)
    seed = training.config["seed"]
    text = f"{figure} on {instances}: {number(end.value)} at {end.where}, seed {seed}"
    return f"\n## {name}\n\n    {card['command']}\n\n![{text}](curves/{name}.svg)\n"


def _chosen(training: Training) -> tuple[str, str, Standing]:
    """Return the validation set and the figure that choose the policy, and the best of the run."""
    recipe = load_recipe(training.config["family"], training.config.get("recipe", ""))
    instances, figure = training.config["validation"][0], recipe.chosen_by
    return instances, figure, standing(training.runs[0], instances, figure)


def _plot(training: Training) -> str:
    instances, figure, end = _chosen(training)
    (plot,) = validation_plot(training, [end], (instances, figure), {})
    return plot["svg"]


if __name__ == "__main__":
    main()
