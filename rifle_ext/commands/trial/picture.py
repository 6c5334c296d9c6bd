"""A trial as one picture: the curves of all trainings, the differences by seed."""

from __future__ import annotations

import io
from typing import Any, Dict, Mapping, Sequence

from rifle_ext.errors import RifleError

Results = Mapping[str, Mapping[int, Mapping[str, Any]]]
"""The lines of the results by arm and seed."""


def draw(results: Results, figures: Mapping[str, Mapping[int, float]], metric: str) -> str:
    """The picture as SVG.

    Parameters
    ----------
    results
        Of all trainings that are done.
    figures
        The metric that counts, of each arm and seed; the others are compared with the first arm.
    metric
        Its name.

    Raises
    ------
    RifleError
        If matplotlib is missing.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise RifleError(
            "a picture needs matplotlib: pip install matplotlib", topic="package"
        ) from error
    figure = Figure(figsize=(9, 9), layout="constrained")
    losses, metrics, differences = figure.subplots(3, 1)
    colors = {arm: f"C{index}" for index, arm in enumerate(results)}
    _curves(losses, results, colors, "losses", "training loss")
    _curves(metrics, results, colors, "metrics", metric)
    metrics.set_xlabel("iterations")
    _differences(differences, figures, colors, metric)
    file = io.StringIO()
    with rc_context({"svg.hashsalt": "rifle-ext"}):  # the same picture for the same results
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def _curves(axis: Any, results: Results, colors: Dict[str, str], kind: str, title: str) -> None:
    for arm, runs in results.items():
        for index, run in enumerate(runs.values()):
            points = sorted((int(step), value) for step, value in run[kind].items())
            steps, values = [p[0] for p in points], [p[1] for p in points]
            marker = "o" if kind == "metrics" else None
            label = None if index else arm
            axis.plot(
                steps, values, color=colors[arm], label=label, marker=marker, markersize=3,
                linewidth=1, alpha=0.8,
            )  # fmt: skip
    axis.set_ylabel(title)
    axis.grid(alpha=0.3)
    if kind == "losses" and results:
        axis.legend()


def _differences(
    axis: Any, figures: Mapping[str, Mapping[int, float]], colors: Dict[str, str], metric: str
) -> None:
    """A point for each arm and seed, in points of the metric."""
    base, *others = figures
    seeds: Sequence[int] = sorted({seed for runs in figures.values() for seed in runs})
    for index, arm in enumerate(others):
        both = [seed for seed in seeds if seed in figures[arm] and seed in figures[base]]
        values = [100 * (figures[arm][seed] - figures[base][seed]) for seed in both]
        places = [seeds.index(seed) + 0.12 * (index - (len(others) - 1) / 2) for seed in both]
        axis.plot(places, values, "o", color=colors[arm], label=arm)
    axis.axhline(0, color="0.5", linewidth=1)
    axis.set_xticks(range(len(seeds)), [f"seed {seed}" for seed in seeds])
    axis.set_ylabel(f"{metric} minus {base}, points")
    axis.grid(alpha=0.3, axis="y")
    axis.margins(x=0.1, y=0.2)
