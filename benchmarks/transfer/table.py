"""Write docs/benefit.md and its plots from the results: ``python -m benchmarks.transfer.table``."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from statistics import fmean, median
from typing import Any, Dict, Iterable, List, Optional, Sequence, Tuple

from benchmarks.transfer import plots
from benchmarks.transfer.data import SEEDS
from benchmarks.transfer.settings import (
    ARMS,
    COMPARED,
    COUNTS,
    LENGTHS,
    METRICS,
    PLACED,
    SGD_ARMS,
    SGD_STEPS,
    STEPS,
    SWEPT,
    TOOLKITS,
    ZERO,
)
from benchmarks.transfer.statistics import Comparison, compare, estimate, holm
from rifle_ext.commands.report.recovery import Recovery, recoveries

RESULTS = Path(__file__).parent / "results/runs.jsonl"
PAGE = Path(__file__).resolve().parents[2] / "docs/benefit.md"
MARK = "<!-- written by benchmarks/transfer/table.py -->\n"

SIGNIFICANT = 0.05

Line = Dict[str, Any]
Place = Tuple[str, str, int]
"""Task, model and steps: what a table is about."""


class Results:
    """The results, by what was run."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self.sources = {x["key"]: x["metric"] for x in lines if x["key"].endswith("/source")}
        self._runs: Dict[Tuple[Place, str], Dict[int, Line]] = defaultdict(dict)
        for line in lines:
            if "arm" in line:
                place = (line["task"], line["model"], line["steps"])
                self._runs[place, line["arm"]][line["seed"]] = line

    def runs(self, place: Place, arm: str) -> List[Line]:
        """The runs of an arm, in the order of their seeds."""
        return [line for _, line in sorted(self._runs[place, arm].items())]

    def metrics(self, place: Place, arm: str) -> List[float]:
        """Their metrics."""
        return [line["metric"] for line in self.runs(place, arm)]

    def comparison(self, place: Place, arm: str, seeds: int = SEEDS) -> Optional[Comparison]:
        """The arm against plain fine-tuning, over those of the first seeds that both have.

        None for fewer than two.
        """
        arms, plain = self._runs[place, arm], self._runs[place, "plain"]
        both = sorted(seed for seed in set(arms) & set(plain) if seed < seeds)
        if len(both) < 2:
            return None
        return compare([arms[s]["metric"] for s in both], [plain[s]["metric"] for s in both])

    def recoveries(self, place: Place, arm: str) -> List[Recovery]:
        """What each reset of each run cost."""
        return [
            recovery
            for line in self.runs(place, arm)
            for recovery in recoveries(
                line["resets"], {int(step): loss for step, loss in line["losses"].items()}, {}
            )
        ]


def read(path: Path = RESULTS) -> Results:
    """Read the results."""
    return Results([json.loads(line) for line in path.read_text().splitlines()])


def main() -> None:
    """Replace what stands under the mark, and the plots."""
    results = read()
    above = PAGE.read_text(encoding="utf-8").split(MARK)[0]
    PAGE.write_text(above + MARK + "\n" + "\n".join(page(results)) + "\n", encoding="utf-8")
    plots.write(results, PAGE.parent / "images")


def page(results: Results) -> List[str]:
    """The tables."""
    lines = ["### Source tasks", "", "| pre-training | metric on its own task |", "|---|---|"]
    lines += [
        f"| {key[: -len('/source')]} | {METRICS[TOOLKITS[key.split('/')[1]]]} {metric:.3f} |"
        for key, metric in results.sources.items()
    ]
    for model in ("pp_liteseg", "gfl"):
        place = ("digits", model, STEPS)
        lines += ["", f"### All arms: {_title(place)}", "", *arms_table(results, place, COMPARED)]
    place = ("fashion", "pp_liteseg", STEPS)
    if results.runs(place, "plain"):
        arms = [arm for arm in ARMS if results.runs(place, arm)]
        lines += ["", f"### Fashion-MNIST: {_title(place)}", "", *arms_table(results, place, arms)]
    place = ("digits", "pp_liteseg_sgd", SGD_STEPS)
    lines += ["", f"### Momentum SGD: {_title(place)}", "", *arms_table(results, place, SGD_ARMS)]
    place = ("digits", "ppyoloe", STEPS)
    lines += ["", f"### A head of zeros: {_title(place)}", "", *arms_table(results, place, ZERO)]
    lines += ["", "### Number of resets and length", "", *lengths_table(results)]
    lines += ["", "### Place of the first reset", "", *places_table(results)]
    lines += ["", "### Recovery", "", *recovery_table(results)]
    lines += ["", "PaddleDetection logs medians, so its figures come some iterations late."]
    for model, steps in (("pp_liteseg", STEPS), ("gfl", STEPS), ("pp_liteseg_sgd", SGD_STEPS)):
        place = ("digits", model, steps)
        lines += ["", f"### Movement of the backbone: {_title(place)}", ""]
        lines += movement_table(results, place)
    return lines


def _title(place: Place) -> str:
    task, model, steps = place
    return f"{model}, {task}, {steps} iterations"


def arms_table(results: Results, place: Place, arms: Sequence[str]) -> List[str]:
    """Mean, interval and paired test of each arm."""
    found = {arm: results.comparison(place, arm) for arm in arms if arm != "plain"}
    tested = {arm: c for arm, c in found.items() if c is not None and c.p == c.p}
    corrected = dict(zip(tested, holm([c.p for c in tested.values()])))
    metric = METRICS[TOOLKITS[place[1]]]
    lines = [
        f"| arm | seeds | {metric} | minus plain | p | p, corrected | better in |",
        "|---" * 7 + "|",
    ]
    for arm in arms:
        if not results.runs(place, arm):
            continue
        mean = estimate(results.metrics(place, arm))
        row = f"| {arm} | {len(results.runs(place, arm))} | {mean.mean:.3f} ± {mean.half:.3f} |"
        c = found.get(arm)
        if c is None:
            lines.append(f"{row} | | | |")
            continue
        fixed = corrected.get(arm, 1.0)
        text = f"**{_signed(c)}**" if fixed < SIGNIFICANT else _signed(c)
        lines.append(f"{row} {text} | {_p(c.p)} | {_p(fixed)} | {c.wins} of {c.seeds} |")
    return lines


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"


def _signed(c: Optional[Comparison]) -> str:
    return f"{c.difference.mean:+.3f} ± {c.difference.half:.3f}" if c else ""


def lengths_table(results: Results) -> List[str]:
    """What so many resets make of so long a training."""
    lines = [
        "| iterations | plain | defaults | 1 reset | 2 resets | 3 resets |",
        "|---" * 6 + "|",
    ]
    for steps in LENGTHS:
        place = ("digits", "pp_liteseg", steps)
        if results.runs(place, "plain"):
            cells = [_signed(results.comparison(place, arm, SWEPT)) for arm in COUNTS[1:]]
            plain = fmean(results.metrics(place, "plain")[:SWEPT])
            lines.append(f"| {steps} | {plain:.3f} | {' | '.join(cells)} |")
    return lines


def places_table(results: Results) -> List[str]:
    """What the time of the first reset makes of a training."""
    arms = {
        "rifle-1-at-10%": "1 at 10 %",
        "rifle-1-at-25%": "1 at 25 %",
        "rifle-1": "1 at 50 %",
        "rifle-1-at-75%": "1 at 75 %",
        "rifle-3-by-38%": "3 by 38 %",
        "rifle-3": "3 by 75 %",
    }
    lines = [f"| iterations | {' | '.join(arms.values())} |", "|---" * 7 + "|"]
    for steps in PLACED:
        place = ("digits", "pp_liteseg", steps)
        cells = [_signed(results.comparison(place, arm, SWEPT)) for arm in arms]
        lines.append(f"| {steps} | {' | '.join(cells)} |")
    return lines


def recovery_table(results: Results) -> List[str]:
    """Iterations until the training loss is back, and how often it came back at all."""
    lines = ["| training | arm | resets | recovered | iterations, median |", "|---" * 5 + "|"]
    places = [("digits", "pp_liteseg", steps) for steps in LENGTHS]
    places += [("digits", model, STEPS) for model in ("gfl", "ppyoloe")]
    for place in places:
        for arm in ARMS:
            found = results.recoveries(place, arm)
            if found:
                back = [r.loss_back for r in found if r.loss_back is not None]
                middle = f"{median(back):.0f}" if back else ""
                row = f"| {_title(place)} | {arm} | {len(found)} | {len(back)} | {middle} |"
                lines.append(row)
    return lines


def movement_table(results: Results, place: Place) -> List[str]:
    """How far each stage moved, in multiples of plain fine-tuning."""
    plain = _movement(results, place, "plain")
    stages = [stage for stage in plain if plain[stage] > 0]  # the model may not use the last ones
    lines = [f"| arm | {' | '.join(stages)} |", "|---" * (len(stages) + 1) + "|"]
    lines.append(f"| plain, % | {' | '.join(f'{100 * plain[s]:.1f}' for s in stages)} |")
    for arm in COMPARED[1:]:
        if results.runs(place, arm):
            found = _movement(results, place, arm)
            cells = (f"{found[s] / plain[s]:.2f}" for s in stages)
            lines.append(f"| {arm} | {' | '.join(cells)} |")
    return lines


def _movement(results: Results, place: Place, arm: str) -> Dict[str, float]:
    runs = [line["moved"] for line in results.runs(place, arm)]
    return {stage: fmean(run[stage] for run in runs) for stage in runs[0]} if runs else {}


if __name__ == "__main__":
    main()
