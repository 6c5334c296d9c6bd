"""Print what came out, as a table: ``python -m benchmarks.lwf.table``."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Dict, List, Mapping, Tuple

from benchmarks.lwf.__main__ import RESULTS
from rifle_ext.commands.trial.records import read


def main(results: Path = RESULTS) -> List[str]:
    """Print the lines, and return them."""
    lines = rows(read(results))
    print("\n".join(lines))
    return lines


def rows(found: Mapping[str, Mapping[str, Any]]) -> List[str]:
    """A row for each model and weight: means over the seeds, with their standard deviations."""
    groups: Dict[Tuple[str, float], List[Mapping[str, Any]]] = defaultdict(list)
    for line in (line for line in found.values() if "weight" in line):  # no pre-training
        groups[line["model"], line["weight"]].append(line)
    table = [
        "| model | weight | seeds | old task before | old task after | kept | new task |",
        "|---|---|---|---|---|---|---|",
    ]
    for (model, weight), lines in sorted(groups.items()):
        kept = mean(line["old"] / line["before"] for line in lines)
        table.append(
            f"| {model} | {weight:g} | {len(lines)} | {lines[0]['before']:.3f} "
            f"| {spread([line['old'] for line in lines])} | {100 * kept:.0f} % "
            f"| {spread([line['new'] for line in lines])} |"
        )
    return table


def spread(values: List[float]) -> str:
    """A mean with the standard deviation over seeds, if there are several."""
    said = f"{mean(values):.3f}"
    return f"{said} ± {stdev(values):.3f}" if len(values) > 1 else said


if __name__ == "__main__":
    main()
