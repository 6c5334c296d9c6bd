"""Write docs/cost.md and its plot from the results: ``python -m benchmarks.cost.table``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List

from matplotlib.figure import Figure

RESULTS = Path(__file__).parent / "results/cpu.json"
DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE, PLOT = DOCS / "cost.md", DOCS / "images/growth.png"
MARK = "<!-- written by benchmarks/cost/table.py -->\n"


def main() -> None:
    """Replace what stands under the mark."""
    found = json.loads(RESULTS.read_text())
    above = PAGE.read_text(encoding="utf-8").split(MARK)[0]
    PAGE.write_text(above + MARK + "\n" + "\n".join(page(found)) + "\n", encoding="utf-8")
    plot(found["growth"], found["growth_models"])


def page(found: Dict[str, Any]) -> List[str]:
    """The tables."""
    start = found["startup"]
    lines = [
        f"paddle {found['paddle']}, Python {found['python']}, {found['device']}, "
        f"{found['machine']}.",
        "",
        "| model | values, millions | head | step, ms | probe, steps | build, ms | reset, ms | "
        "reset, steps | write, ms | write, copies | idle hook, µs | idle, ratio | peak, models | "
        "left, MiB |",
        "|---" * 14 + "|",
    ]
    for m in found["models"]:
        lines.append(
            f"| {m['config'][8:-4]} | {m['parameters'] / 1e6:.1f} | {m['head']} "
            f"| {1000 * m['step_seconds']:.0f} | {m['probe_in_steps']:.2f} "
            f"| {1000 * m['build_seconds']:.0f} "
            f"| {1000 * m['reset_seconds']:.1f}{' (built)' if m['needs_builds'] else ''} "
            f"| {m['reset_in_steps']:.2f} "
            f"| {1000 * m['write_seconds']:.2f} | {m['write_in_copies']:.1f} "
            f"| {m['idle_microseconds']:.2f} | {m['idle_ratio']:.3f} "
            f"| {m['peak_in_models']:.2f} | {m['left_megabytes']:.1f} |"
        )
    lines += [
        "",
        f"Start-up of Python: {start['ratio']:.3f} times as long with the package as without "
        f"({1000 * start['python_seconds']:.0f} ms); {start['import_milliseconds']:.2f} ms by "
        "`python -X importtime`.",
        "",
        "| values of the head | reset, ms | a copy of them, ms | copies |",
        "|---|---|---|---|",
    ]
    for g in found["growth"]:
        lines.append(
            f"| {g['values']:,} | {1000 * g['reset_seconds']:.2f} | {1000 * g['copy_seconds']:.3f} "
            f"| {g['reset_in_copies']:.0f} |"
        )
    lines += [
        "",
        "| model | values, millions | head | build, ms | draw without one, ms "
        "| step of one image, ms |",
        "|---" * 6 + "|",
    ]
    for g in found["growth_models"]:
        build, draw, step = (1000 * g[f"{what}_seconds"] for what in ("build", "draw", "step"))
        lines.append(
            f"| {g['model']} | {g['values'] / 1e6:.1f} | {g['head']:,} | {build:.0f} | {draw:.2f} "
            f"| {step:.0f} |"
        )
    lines += ["", "![Cost of a reset against size](images/growth.png)", ""]
    two = found["processes"]
    if two:
        lines.append(
            f"{two['processes']} processes, ResNet-18: a reset with the comparison of what the "
            f"processes have takes {1000 * two['reset_seconds']:.0f} ms, "
            f"{two['reset_in_steps']:.2f} steps of two images of 128 pixels; the comparison "
            f"alone {1000 * two['check_seconds']:.0f} ms."
        )
    return lines


def plot(growth: List[Dict[str, Any]], models: List[Dict[str, Any]]) -> None:
    """Seconds against values, both logarithmic: of the head, and of the model."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    axis, beside = figure.subplots(1, 2)
    sizes = [g["values"] for g in models]
    for what, label in (
        ("build", "draw with a build"),
        ("draw", "draw without one"),
        ("step", "training step of one image"),
    ):
        beside.loglog(sizes, [g[f"{what}_seconds"] for g in models], marker="o", label=label)
    beside.set_xlabel("values of the model")
    beside.grid(alpha=0.3)
    beside.legend()
    values = [g["values"] for g in growth]
    axis.loglog(values, [g["reset_seconds"] for g in growth], marker="o", label="reset")
    axis.loglog(values, [g["copy_seconds"] for g in growth], marker="o", label="copy of the values")
    axis.set_xlabel("values of the output layer")
    axis.set_ylabel("seconds")
    axis.grid(alpha=0.3)
    axis.legend()
    figure.savefig(PLOT, dpi=110)


if __name__ == "__main__":
    main()
