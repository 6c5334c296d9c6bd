"""Write docs/saving.md from the results: ``python -m benchmarks.cost.saving_table``."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Dict, List

from rifle_ext.commands.trial.records import read

HERE = Path(__file__).parent / "results"
PAGE = Path(__file__).resolve().parents[2] / "docs/saving.md"
MARK = "<!-- written by benchmarks/cost/saving_table.py -->\n"


def main() -> None:
    """Replace what stands under the mark."""
    steps = json.loads((HERE / "freezing.json").read_text())
    trainings = list(read(HERE / "trainings.jsonl").values())
    above = PAGE.read_text(encoding="utf-8").split(MARK)[0]
    text = "\n".join([*_steps(steps), "", *_trainings(trainings)])
    PAGE.write_text(f"{above}{MARK}\n{text}\n", encoding="utf-8")


def _steps(found: List[Dict[str, Any]]) -> List[str]:
    lines = [
        "## A step against the part that is frozen",
        "",
        "| model | frozen layers | time of a step | expected | kept for the backward pass, MiB |",
        "|---" * 5 + "|",
    ]
    for model in found:
        lines += [
            f"| {model['config'][8:-4]} | {part['frozen']} of {model['layers']} "
            f"| {part['ratio']:.2f} | {part['expected']:.2f} | {part['megabytes']:.1f} |"
            for part in model["parts"]
        ]
    rates = ", ".join(f"{m['config'][8:-4]} {m['rates_ratio']:.3f}" for m in found)
    return [*lines, "", f"A step with a rate of its own for each layer, none frozen: {rates}."]


def _trainings(found: List[Dict[str, Any]]) -> List[str]:
    """Each setting against plain fine-tuning, over the seeds that all settings have."""
    by: Dict[str, Dict[str, Dict[int, Dict[str, Any]]]] = defaultdict(lambda: defaultdict(dict))
    for line in found:
        by[line["model"]][line["setting"]][line["seed"]] = line
    lines = [
        "## Whole trainings",
        "",
        "| model | setting | seeds | time | expected | metric | against plain |",
        "|---" * 7 + "|",
    ]
    for model, settings in by.items():
        plain = settings["plain"]
        seeds = sorted(set.intersection(*(set(runs) for runs in settings.values())))
        for setting, runs in settings.items():
            time = [runs[s]["seconds"] / plain[s]["seconds"] for s in seeds]
            against = [runs[s]["metric"] - plain[s]["metric"] for s in seeds]
            estimate = runs[seeds[0]]["estimate"]
            expected = 1 - (estimate["backward_twice"] if estimate else 0)
            metric = mean(runs[s]["metric"] for s in seeds)
            difference = "" if setting == "plain" else _spread(against)
            lines.append(
                f"| {model} | {setting} | {len(seeds)} | {_spread(time)} | {expected:.2f} "
                f"| {metric:.3f} | {difference} |"
            )
    return lines


def _spread(values: List[float]) -> str:
    deviation = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
    return f"{mean(values):.3f}{deviation}"


if __name__ == "__main__":
    main()
