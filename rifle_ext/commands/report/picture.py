"""A report as one picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Sequence

from rifle_ext.commands.report.runs import Run
from rifle_ext.errors import RifleError


def draw(runs: Sequence[Run], path: Path) -> None:
    """Draw loss, metric and, where known, the change of the weights; resets are dashed lines.

    Parameters
    ----------
    runs
        The trainings; those of one label have one colour, and the first of them stands for the
        others where the change of the weights is shown.
    path
        Of the picture; its ending says the format: png, svg, pdf.

    Raises
    ------
    RifleError
        If matplotlib is missing, or does not know the format, or the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise RifleError(
            "a picture needs matplotlib: pip install matplotlib", topic="package"
        ) from error
    changed = list({run.label: run for run in reversed(runs) if run.change}.values())[::-1]
    figure = Figure(figsize=(9, 6 + 3 * len(changed)), layout="constrained")
    axes = figure.subplots(2 + len(changed), 1)
    colors = {label: f"C{i}" for i, label in enumerate(dict.fromkeys(r.label for r in runs))}
    _draw_curves(axes[0], runs, colors, "losses", "training loss")
    _draw_curves(axes[1], runs, colors, "metrics", runs[0].curves.metric)
    axes[1].sharex(axes[0])
    axes[1].set_xlabel("iterations")
    for axis, run in zip(axes[2:], changed):
        _draw_change(axis, run)
    try:
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as error:
        raise RifleError(f"-o {path}: {error}", topic="options") from error


def _draw_curves(
    axis: Any, runs: Sequence[Run], colors: Dict[str, str], kind: str, title: str
) -> None:
    named: List[str] = []
    for run in runs:
        curve = getattr(run.curves, kind)
        steps = sorted(curve)
        label = None if run.label in named else run.label
        named.append(run.label)
        marker = "o" if kind == "metrics" else None
        values = [curve[step] for step in steps]
        axis.plot(steps, values, color=colors[run.label], label=label, marker=marker, markersize=3)
        for step in run.reset_steps:
            axis.axvline(step, color=colors[run.label], linestyle="--", linewidth=0.8)
    axis.set_ylabel(title)
    axis.grid(alpha=0.3)
    if kind == "losses":
        axis.legend()


def _draw_change(axis: Any, run: Run) -> None:
    """Bars by stage, one colour a period."""
    stages = list(dict.fromkeys(stage for change in run.change.values() for stage in change))
    width = 0.8 / len(run.change)
    for index, (since, change) in enumerate(run.change.items()):
        places = [i + index * width for i in range(len(stages))]
        heights = [100 * change.get(stage, 0.0) for stage in stages]
        axis.bar(places, heights, width, label=f"from iteration {since}")
    middle = 0.4 - width / 2
    axis.set_xticks([i + middle for i in range(len(stages))], stages, rotation=30, ha="right")
    axis.set_ylabel("change, % of norm")
    axis.set_title(f"{run.folder.name}: weights in each period", fontsize="medium")
    axis.legend(fontsize="small")
