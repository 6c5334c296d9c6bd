"""The plots of docs/benefit.md."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List

import numpy as np
from matplotlib.figure import Figure

from benchmarks.transfer.settings import COMPARED, LENGTHS, METRICS, STEPS, SWEPT, TOOLKITS

if TYPE_CHECKING:
    from benchmarks.transfer.table import Place, Results

MODELS = ("pp_liteseg", "gfl")
LAST = 5  # logged losses that are averaged


def write(results: Results, folder: Path) -> None:
    """Write all of them."""
    arms(results).savefig(folder / "benefit_arms.png", dpi=110)
    lengths(results).savefig(folder / "benefit_lengths.png", dpi=110)
    losses(results).savefig(folder / "benefit_losses.png", dpi=110)


def arms(results: Results) -> Figure:
    """The difference to plain fine-tuning of every arm, with its 95 % interval."""
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    for axis, model in zip(figure.subplots(1, 2, sharey=True), MODELS):
        place = ("digits", model, STEPS)
        compared = {arm: results.comparison(place, arm) for arm in COMPARED[1:]}
        several = {arm: c.difference for arm, c in compared.items() if c}
        names, found = list(several), list(several.values())
        rows = range(len(names))
        middle, half = [e.mean for e in found], [e.half for e in found]
        axis.errorbar(middle, rows, xerr=half, fmt="o", capsize=3)
        axis.axvline(0, color="grey", linewidth=0.8)
        axis.set_yticks(rows, names)
        axis.set_ylim(len(names) - 0.5, -0.5)
        axis.locator_params(axis="x", nbins=5)
        axis.set_title(model)
        axis.set_xlabel(f"{METRICS[TOOLKITS[model]]} minus that of plain fine-tuning")
        # A head that is never trained again would squeeze all else.
        shown = [m - h for n, m, h in zip(names, middle, half) if n != "paddle-rifle"]
        axis.set_xlim(left=min(shown, default=-0.1) - 0.02)
    return figure


def lengths(results: Results) -> Figure:
    """The difference to plain fine-tuning against the length of the training."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axis = figure.subplots()
    for number in (1, 2, 3):
        points = {
            steps: results.comparison(("digits", "pp_liteseg", steps), f"rifle-{number}", SWEPT)
            for steps in LENGTHS
        }
        found = {steps: c.difference for steps, c in points.items() if c}
        at = [steps * 1.03 ** (number - 2) for steps in found]
        means, halves = [e.mean for e in found.values()], [e.half for e in found.values()]
        label = "1 reset" if number == 1 else f"{number} resets"
        axis.errorbar(at, means, halves, marker="o", capsize=3, label=label)
    axis.axhline(0, color="grey", linewidth=0.8)
    axis.set_xscale("log")
    axis.set_xticks(LENGTHS, [str(steps) for steps in LENGTHS])
    axis.minorticks_off()
    axis.set_xlabel("iterations of the fine-tuning")
    axis.set_ylabel("mIoU minus that of plain fine-tuning")
    axis.legend()
    return figure


def losses(results: Results) -> Figure:
    """The training loss with and without resets, averaged over the seeds."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    for axis, model in zip(figure.subplots(1, 2), MODELS):
        place = ("digits", model, STEPS)
        for arm in ("plain", "rifle-1", "rifle-3", "rifle-3-cyclic"):
            _loss(axis, results, place, arm)
        axis.set_title(model)
        axis.set_xlabel("iteration")
        axis.set_ylabel("training loss")
        axis.set_yscale("log")
    figure.legend(*axis.get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


def _loss(axis: Any, results: Results, place: Place, arm: str) -> None:
    runs: List[Dict[str, float]] = [line["losses"] for line in results.runs(place, arm)]
    if not runs:
        return
    steps = [step for step in runs[0] if all(step in run for run in runs)]
    means = np.mean([[run[step] for step in steps] for run in runs], axis=0)
    smooth = np.convolve(means, np.ones(LAST) / LAST, mode="valid")
    axis.plot([int(step) for step in steps][LAST - 1 :], smooth, label=arm)
