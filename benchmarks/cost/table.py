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
    plot(found["growth"])


def page(found: Dict[str, Any]) -> List[str]:
    """The tables."""
    start = found["startup"]
    lines = [
        f"paddle {found['paddle']}, Python {found['python']}, {found['device']}, "
        f"{found['machine']}.",
        "",
        "| model | values, millions | head | step, ms | probe, steps | reset, ms | reset, steps | "
        "write, ms | write, copies | idle hook, µs | idle, ratio | peak, models | left, MiB |",
        "|---" * 13 + "|",
    ]
    for m in found["models"]:
        lines.append(
            f"| {m['config'][8:-4]} | {m['parameters'] / 1e6:.1f} | {m['head']} "
            f"| {1000 * m['step_seconds']:.0f} | {m['probe_in_steps']:.2f} "
            f"| {1000 * m['reset_seconds']:.0f} | {m['reset_in_steps']:.2f} "
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
    return [*lines, "", "![Cost of a reset against the size of the head](images/growth.png)"]


def plot(growth: List[Dict[str, Any]]) -> None:
    """Seconds against values, both logarithmic."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axis = figure.subplots()
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
