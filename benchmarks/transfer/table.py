"""Write docs/benefit.md's tables and plots: ``python -m benchmarks.transfer.table``.

They come from the results alone. The page holds the tables between comments ``<!-- begin name -->``
and ``<!-- end name -->``; the rest of it is written by hand.
"""

from __future__ import annotations

from pathlib import Path
from statistics import fmean, median
from typing import Callable, Dict, List, Optional, Sequence, Tuple

from benchmarks.transfer import plots, records
from benchmarks.transfer.arms import DEFAULT, FORERUNNER
from benchmarks.transfer.comparisons import BURST, END, Results, Row
from benchmarks.transfer.experiments import CONFIRM, SEARCH, SEEDS, TRIAL, TRIED
from benchmarks.transfer.places import METRICS, Place
from benchmarks.transfer.regimes import REGIMES
from rifle_ext.commands.trial.records import read
from rifle_ext.commands.trial.statistics import Comparison, estimate, holm

PAGE = Path(__file__).resolve().parents[2] / "docs/benefit.md"

SIGNIFICANT = 0.05
HARM = 0.01
"""A loss that the goal wants excluded: one point."""
LOOKS = 2
"""How often the seeds of the summary were looked at: five of them first, then all."""
LEAST = 3
"""Seeds from which on a table says what to expect."""

Table = List[str]


def main() -> None:
    """Replace the page's tables and plots."""
    results = Results(read(records.RESULTS).values())
    text = PAGE.read_text(encoding="utf-8")
    for name, make in BLOCKS.items():
        text = put(text, name, make(results))
    PAGE.write_text(text, encoding="utf-8")
    plots.write(results, PAGE.parent / "images")


def put(text: str, name: str, lines: Table) -> str:
    """Put lines in place of what stands between a page's comments of this name.

    Raises
    ------
    ValueError
        If the page does not have them.
    """
    begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"the page has no place, or several, for the table {name}")
    before, rest = text.split(begin)
    return "".join([before, begin, "\n", "\n".join(lines), "\n\n", end, rest.split(end)[1]])


def summary(results: Results) -> Table:
    """What to expect of the defaults: one row for each regime and model.

    p is corrected by Holm's method: for the two tests of the trial; for all other rows, and for the
    second look at their seeds.
    """
    shown = [found for place in sorted(results.places(SEEDS), key=_order)
             for found in [_shown(results, place)] if found]  # fmt: skip
    corrected: Dict[Place, float] = {}
    for of_trial, looks in ((True, 1), (False, LOOKS)):
        tested = {place: row.plain.p for place, row, seeds in shown
                  if row.plain.seeds >= LEAST and (seeds == TRIAL) is of_trial}  # fmt: skip
        for place, p in zip(tested, holm(list(tested.values()))):
            corrected[place] = min(1.0, looks * p)
    lines = [
        "| your data are like this | model | seeds | plain | RIFLE minus plain | minus control "
        "| p, corrected | expect |",
        "|---" * 8 + "|",
    ]
    for place, row, seeds in shown:
        p = corrected.get(place, float("nan"))
        lines.append(_summary(results, place, row, seeds, p))
    return lines


def _shown(results: Results, place: Place) -> Optional[Tuple[Place, Row, range]]:
    """What the summary shows of a place, and the seeds it is of; None if nothing is known."""
    pairs = (results.pairs(tried, DEFAULT, "plain", TRIAL) for tried in TRIED)
    if place in TRIED and all(len(found) == len(TRIAL) for found in pairs):
        row = _row(results, place, DEFAULT, TRIAL)
        return (place, row, TRIAL) if row else None
    confirmed = _row(results, place, DEFAULT, CONFIRM)
    searched = _row(results, place, FORERUNNER, SEARCH)
    few = confirmed is None or confirmed.plain.seeds < LEAST
    if few and searched and (confirmed is None or searched.plain.seeds >= LEAST):
        return place, searched, SEARCH
    return (place, confirmed, CONFIRM) if confirmed else None


def _row(results: Results, place: Place, arm: str, seeds: Sequence[int]) -> Optional[Row]:
    return next((row for row in results.rows(place, seeds) if row.arm == arm), None)


def _summary(results: Results, place: Place, row: Row, seeds: range, p: float) -> str:
    pairs = results.pairs(place, row.arm, "plain", seeds)
    mean = fmean(plain["metric"] for _, plain in pairs)
    kind = {SEARCH: " (search)", TRIAL: " (trial)"}.get(seeds, "")
    return (
        f"| {REGIMES[place.regime].words}: {place.data} | {place.model} | {row.plain.seeds}{kind} "
        f"| {mean:.3f} | {signed(row.plain)} | {signed(row.control)} | {probability(p)} "
        f"| {verdict(row, p)} |"
    )


def verdict(row: Row, p: float) -> str:
    """What a user may expect, from the intervals and p, corrected."""
    plain, control = row.plain, row.control
    if plain.seeds < LEAST:
        return "too few seeds to say"
    sure = "" if p < SIGNIFICANT else "perhaps "
    if plain.difference.low > 0 and (control is None or control.difference.low > 0):
        return f"{sure}a gain"
    if plain.difference.high < 0:
        return f"{sure}a loss"
    if plain.difference.low > -HARM:
        return "no loss of a point or more, and no sure gain"
    return "not decided by so many seeds"


def _order(place: Place) -> Tuple[int, str, str]:
    return (list(REGIMES).index(place.regime), place.data, place.model)


def details(seeds: Sequence[int]) -> Callable[[Results], Table]:
    """A table of all arms for each place, over some seeds."""

    def make(results: Results) -> Table:
        lines: Table = []
        for place in sorted(results.places(seeds), key=_order):
            lines += ["", f"#### {title(place)}", "", *arms_table(results, place, seeds)]
        return lines[1:] or ["Nothing has been measured yet."]

    return make


def title(place: Place) -> str:
    """A place as a heading."""
    return f"{place.model}, {place.data}, {place.regime}: {place.steps} iterations"


def arms_table(results: Results, place: Place, seeds: Sequence[int]) -> Table:
    """Mean, interval and paired tests of each arm."""
    metric = METRICS[place.toolkit]
    lines = [
        f"| arm | seeds | {metric} | minus plain | p | p, Holm | visible | minus control | p | "
        "better in |",
        "|---" * 10 + "|",
    ]
    plain = estimate([line["metric"] for line in results.runs(place, "plain", seeds)])
    runs = len(results.runs(place, "plain", seeds))
    lines.append(f"| plain | {runs} | {plain.mean:.3f} ± {plain.half:.3f} | | | | | | | |")
    for row in results.rows(place, seeds):
        c = row.plain
        mean = estimate([line["metric"] for line in results.runs(place, row.arm, seeds)])
        text = f"**{signed(c)}**" if row.p < SIGNIFICANT else signed(c)
        lines.append(
            f"| {row.arm} | {c.seeds} | {mean.mean:.3f} ± {mean.half:.3f} | {text} | "
            f"{probability(c.p)} | {probability(row.p)} | {number(c.visible)} | "
            f"{signed(row.control)} | {probability(row.control.p) if row.control else ''} | "
            f"{c.wins} of {c.seeds} |"
        )
    return [line.replace(" ± nan", "") for line in lines]


def probability(value: float) -> str:
    """A p-value; nothing for none."""
    if value != value:
        return ""
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"


def number(value: float) -> str:
    """A difference of a metric; nothing for none."""
    return "" if value != value else f"{value:.3f}"


def signed(c: Optional[Comparison]) -> str:
    """A mean difference with its interval; nothing for none."""
    if c is None:
        return ""
    if c.seeds < 2:
        return f"{c.difference.mean:+.3f}"
    return f"{c.difference.mean:+.3f} ± {c.difference.half:.3f}"


def recovery_table(results: Results) -> Table:
    """The burst after a reset, how many resets were made good, and after how many iterations."""
    lines = [
        f"| training | arm | loss of the first {BURST} iterations, minus plain's | resets | made "
        f"good | iterations, median | loss of the last {END}, over plain's |",
        "|---" * 7 + "|",
    ]
    for place in sorted(results.places(SEEDS), key=_order):
        for arm in results.arms(place):
            found = results.recoveries(place, arm, SEEDS)
            burst = results.burst(place, arm, SEEDS)
            if found and burst:
                back = [r.loss_back for r in found if r.loss_back is not None]
                middle = f"{median(back):.0f}" if back else ""
                lines.append(
                    f"| {title(place)} | {arm} | {fmean(burst):+.2f} | {len(found)} | {len(back)} "
                    f"| {middle} | {results.last_loss(place, arm, SEEDS):.2f} |"
                )
    return lines


def movement_tables(results: Results) -> Table:
    """How far each stage moved, in multiples of plain fine-tuning: a table for each place."""
    lines: Table = []
    for place in sorted(results.places(SEEDS), key=_order):
        plain = results.movement(place, "plain", SEEDS)
        stages = [stage for stage in plain if plain[stage] > 0]  # not those that are not used
        if len(results.arms(place)) < 2 or not stages:
            continue
        short = [stage.replace("backbone.", "") for stage in stages]
        lines += ["", f"| {title(place)} | {' | '.join(short)} |", "|---" * (len(stages) + 1) + "|"]
        lines.append(f"| plain, % | {' | '.join(f'{100 * plain[s]:.1f}' for s in stages)} |")
        for arm in results.arms(place):
            found = results.further(place, arm, SEEDS)
            if arm != "plain":
                cells = (f"{found[stage]:.2f}" for stage in stages)
                lines.append(f"| {arm} | {' | '.join(cells)} |")
    return lines[1:]


def sources_table(results: Results) -> Table:
    """How good the pre-trainings are at their own task."""
    lines = ["| pre-training | metric on its own task |", "|---|---|"]
    return lines + [
        f"| {key[: -len('/source')]} | {metric:.3f} |"
        for key, metric in sorted(results.sources.items())
    ]


BLOCKS: Dict[str, Callable[[Results], Table]] = {
    "summary": summary,
    "trial": details(TRIAL),
    "confirmed": details(CONFIRM),
    "searched": details(SEARCH),
    "recovery": recovery_table,
    "movement": movement_tables,
    "sources": sources_table,
}
"""The page's tables by the names in its comments."""


if __name__ == "__main__":
    main()
