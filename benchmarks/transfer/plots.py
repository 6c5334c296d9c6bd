"""The plots of docs/benefit.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any, List

import numpy as np
from matplotlib.figure import Figure

from benchmarks.transfer.arms import DEFAULT, FORERUNNER
from benchmarks.transfer.comparisons import Results, excess
from benchmarks.transfer.experiments import CONFIRM, SEARCH, SEEDS, TRIAL

MEASURED = (*CONFIRM, *TRIAL)
"""Seeds that nothing was chosen on."""

SHOWN = 300
"""Iterations after a reset that the losses are shown for."""


def write(results: Results, folder: Path) -> None:
    """Write all of them."""
    arms(results).savefig(folder / "benefit_arms.png", dpi=110)
    burst(results).savefig(folder / "benefit_burst.png", dpi=110)
    recovery(results).savefig(folder / "benefit_recovery.png", dpi=110)
    movement(results).savefig(folder / "benefit_movement.png", dpi=110)


def arms(results: Results) -> Figure:
    """The difference to plain fine-tuning of every arm: each seed, the mean and its interval.

    Seeds that something was chosen on are apart.
    """
    kinds = ((MEASURED, ""), (SEARCH, ", search"))
    lines = [(place, row, seeds, said) for place in results.places(SEEDS)
             for seeds, said in kinds for row in results.rows(place, seeds)]  # fmt: skip
    figure = Figure(figsize=(9, 0.6 + 0.28 * max(4, len(lines))), layout="constrained")
    axis = figure.subplots()
    labels: List[str] = []
    for at, (place, row, seeds, said) in enumerate(lines):
        labels.append(f"{place.model} {place.regime} ({place.data}): {row.arm}{said}")
        pairs = results.pairs(place, row.arm, "plain", seeds)
        each = [ours["metric"] - plain["metric"] for ours, plain in pairs]
        axis.plot(each, [at] * len(each), ".", color="grey", markersize=4)
        half = row.plain.difference.half
        bar = half if half == half else 0.0
        colour = "C0" if not row.arm.endswith("control") else "C1"
        axis.errorbar(row.plain.difference.mean, at, xerr=bar, fmt="o", color=colour, capsize=3)
    axis.axvline(0, color="grey", linewidth=0.8)
    axis.set_yticks(range(len(labels)), labels, fontsize=7)
    axis.set_ylim(len(labels) - 0.5, -0.5)
    axis.set_xlim(-0.08, 0.08)
    axis.set_xlabel("mIoU or mAP minus that of plain fine-tuning (orange: controls without resets)")
    return figure


def burst(results: Results) -> Figure:
    """The loss after the first reset minus plain fine-tuning's on the same batches."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    axis = figure.subplots()
    for place in results.places(SEEDS):
        for arm in results.arms(place):
            curves = [
                excess(ours, plain, SHOWN)
                for ours, plain in results.pairs(place, arm, "plain", SEEDS)
                if ours["resets"]
            ]
            if curves and arm in (DEFAULT, FORERUNNER):
                steps = sorted(set.intersection(*(set(curve) for curve in curves)))
                means = [np.mean([curve[step] for curve in curves]) for step in steps]
                label = f"{place.model} {place.data} {place.regime}: {arm}"
                axis.plot(steps, means, label=label, linewidth=1)
    axis.axhline(0, color="grey", linewidth=0.8)
    axis.set_xlabel("iterations after the reset")
    axis.set_ylabel("training loss minus plain fine-tuning's")
    axis.set_yscale("symlog", linthresh=0.1)
    axis.legend(fontsize=7, ncols=2)
    return figure


def recovery(results: Results) -> Figure:
    """After how many iterations the training loss was as low as before each reset."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    axis = figure.subplots()
    labels: List[str] = []
    for place in results.places(SEEDS):
        for arm in results.arms(place):
            found = results.recoveries(place, arm, SEEDS)
            back = [r.loss_back for r in found if r.loss_back is not None]
            if not found:
                continue
            at = len(labels)
            labels.append(f"{place.model} {place.data} {place.regime}: {arm}")
            axis.plot(back, [at] * len(back), "o", markersize=4, alpha=0.6)
            text = f"{len(back)} of {len(found)}"
            axis.text(
                1.01, at, text, transform=axis.get_yaxis_transform(), fontsize=7, va="baseline"
            )
    axis.set_yticks(range(len(labels)), labels, fontsize=7)
    axis.set_ylim(len(labels) - 0.5, -0.5)
    axis.set_xlabel("iterations until the training loss was as low as before the reset")
    return figure


def movement(results: Results) -> Figure:
    """How far the backbone's stages moved, as a multiple of plain fine-tuning."""
    places = [p for p in results.places(SEEDS) if len(results.arms(p)) > 1]
    columns = max(1, min(3, len(places)))
    rows = -(-max(1, len(places)) // columns)
    figure = Figure(figsize=(9, 2.6 * rows), layout="constrained")
    grid: Any = figure.subplots(rows, columns, squeeze=False).flatten()
    for axis, place in zip(grid, places):
        used: List[str] = []
        for arm in results.arms(place)[1:]:
            further = results.further(place, arm, SEEDS)
            used = list(further)
            axis.plot(list(further.values()), "o-", markersize=3, label=arm)
        axis.axhline(1, color="grey", linewidth=0.8)
        axis.set_xticks(range(len(used)), [s.split(".")[-1] for s in used], fontsize=7)
        axis.set_title(f"{place.model} {place.data} {place.regime}", fontsize=8)
        axis.legend(fontsize=6)
    for axis in grid[len(places) :]:
        axis.set_visible(False)
    figure.supylabel("movement / plain's", fontsize=8)
    figure.supxlabel("stage of the backbone, from the input", fontsize=8)
    return figure
