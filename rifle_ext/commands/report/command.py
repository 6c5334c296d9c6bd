"""`rifle-ext report`: what happened during a training, and whether it helped."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rifle_ext.errors import RifleError


def add_command(commands: Any) -> None:
    """Add the command to the parser's."""
    parser = commands.add_parser(
        "report",
        help="what happened during a training, or several",
        description="Loss, metric, resets, how long each recovery took and how far the weights "
        "moved, from what a training left in its output folder. Several trainings are compared; "
        "those that differ in their seeds alone count as repetitions.",
    )
    parser.set_defaults(command=run)
    add = parser.add_argument
    add("folders", nargs="+", type=Path, metavar="SAVE_DIR", help="output folder of a training")
    add(
        "--log", nargs="+", type=Path, default=[], metavar="PATH",
        help="what the train tool printed, or a folder of VisualDL records, if that is not in the "
        "output folder (of one training only)",
    )  # fmt: skip
    add(
        "--old-task", nargs="+", type=Path, default=[], metavar="PATH",
        help="what the toolkit's evaluation tool printed of the old task of a training on a new "
        "one, if that is not in the output folder as old_task.log: of the model after it and, as "
        "a second file, of the model before it (old_task_before.log)",
    )  # fmt: skip
    add("-o", "--output", type=Path, metavar="PNG", help="draw a picture, too: png, svg or pdf")


def run(chosen: argparse.Namespace) -> int:
    """Print the report and draw the picture; returns the exit code."""
    from rifle_ext.commands.console import standard_output
    from rifle_ext.commands.report import picture, text
    from rifle_ext.commands.report.runs import load, outputs_of

    if chosen.log and len(chosen.folders) > 1:
        raise RifleError(
            "--log: for one SAVE_DIR only; put each log into its output folder", topic="options"
        )
    if chosen.old_task and (len(chosen.folders) > 1 or len(chosen.old_task) > 2):
        raise RifleError(
            "--old-task: for one SAVE_DIR only, after and before; put those of several into their "
            "output folders as old_task.log and old_task_before.log",
            topic="options",
        )
    outputs = {name for folder in chosen.folders for name in outputs_of(folder)}
    runs = [load(folder, chosen.log, outputs, chosen.old_task) for folder in chosen.folders]
    kinds = {run.curves.metric for run in runs}
    if len(kinds) > 1:
        raise RifleError(
            f"trainings with different metrics cannot be compared: {', '.join(kinds)}",
            topic="report",
        )
    text.show(runs, standard_output())
    if chosen.output is not None:
        picture.draw(runs, chosen.output)
    return 0
