"""What a trial has found so far: as data, as a table, as files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rifle_ext.commands.trial.folder import Trial, told
from rifle_ext.commands.trial.inputs import Inputs
from rifle_ext.commands.trial.page import page
from rifle_ext.commands.trial.picture import draw
from rifle_ext.commands.trial.runs import Run
from rifle_ext.commands.trial.statistics import Estimate
from rifle_ext.commands.trial.verdict import EFFECTS, NOT_SAID, Row, rows, verdict

HEADINGS = [
    "arm", "seeds", "mean", "difference", "p", "better in",
    *(f"to see {100 * effect:.1f}" for effect in EFFECTS),
]  # fmt: skip


@dataclass(frozen=True)
class Summary:
    """What the trainings of a trial say together.

    Attributes
    ----------
    trial
        The folder's content.
    runs
        The trainings that were asked for, in their order.
    metric
        ``last`` or ``best``: which evaluation counts.
    """

    trial: Trial
    runs: Sequence[Run]
    metric: str = "last"

    @property
    def lines(self) -> Dict[str, Dict[int, Dict[str, Any]]]:
        """The results by arm and seed; every arm has an entry."""
        found: Dict[str, Dict[int, Dict[str, Any]]] = {run.arm.name: {} for run in self.runs}
        done = self.trial.results()
        for run in self.runs:
            if self.trial.is_done(run):
                found[run.arm.name][run.seed] = done[run.key]
        return found

    @property
    def figures(self) -> Dict[str, Dict[int, float]]:
        """The metric that counts, by arm and seed."""
        key = "metric" if self.metric == "last" else "best"
        return {
            arm: {seed: line[key] for seed, line in sorted(lines.items())}
            for arm, lines in self.lines.items()
        }

    @property
    def name(self) -> str:
        """Of the metric."""
        names = [line["name"] for lines in self.lines.values() for line in lines.values()]
        return names[0] if names else "metric"

    @property
    def rows(self) -> List[Row]:
        """The table's."""
        return rows(self.figures)

    @property
    def verdicts(self) -> List[str]:
        """A sentence on each arm but the first."""
        first, *others = self.rows
        return [verdict(row, first.arm, self.name) for row in others]

    @property
    def notes(self) -> List[str]:
        """What a reader has to know."""
        which = {
            "last": "The evaluation at the end of each training counts, not the best one.",
            "best": "The best evaluation of each training counts: with many evaluations that is "
            "too good to be true for every arm, and more so for one that swings more.",
        }[self.metric]
        resumed = [
            f"{arm}, seed {seed}"
            for arm, lines in self.lines.items()
            for seed, line in lines.items()
            if line["resumed"]
        ]
        went_on = "went on from a checkpoint, with its data in another order than the other arms'"
        return [which, *(f"{name} {went_on}." for name in resumed)]

    def cells(self) -> List[List[str]]:
        """The table below `HEADINGS`."""
        return [_cells(row) for row in self.rows]

    def as_json(self, inputs: Inputs, config: str) -> Dict[str, Any]:
        """All of it as JSON-ready data."""
        arms = {run.arm.name: run.arm for run in self.runs}
        seeds = {seed for lines in self.lines.values() for seed in lines}
        return {
            "config": config,
            "about": f"{len(arms)} arms, {len(seeds)} seeds; {self.name} of the {self.metric} "
            "evaluation, a fraction.",
            "metric": self.name,
            "counts": self.metric,
            "verdicts": self.verdicts,
            "not_said": NOT_SAID,
            "notes": self.notes,
            "rows": [row.as_json() for row in self.rows],
            "results": {arm: {str(s): v for s, v in f.items()} for arm, f in self.figures.items()},
            "arms": [{"name": name, "told": told(arm)} for name, arm in arms.items()],
            "inputs": inputs,
        }


def write(summary: Summary, inputs: Inputs, config: str, folder: Path) -> Mapping[str, Any]:
    """Write ``trial.json``, ``trial.svg`` and ``trial.html``; returns the first one's content."""
    found = summary.as_json(inputs, config)
    (folder / "trial.json").write_text(json.dumps(found, indent=2), encoding="utf-8")
    picture = draw(summary.lines, summary.figures, summary.name)
    (folder / "trial.svg").write_text(picture, encoding="utf-8")
    html = page(found, HEADINGS, summary.cells(), picture)
    (folder / "trial.html").write_text(html, encoding="utf-8")
    return found


def show(summary: Summary, console: Console) -> None:
    """Print table and verdicts."""
    table = Table(box=SIMPLE_HEAD, show_edge=False)
    ascii_only = not console.encoding.startswith("utf")

    def plain(text: str) -> str:
        return escape(text.replace("±", "+-") if ascii_only else text)

    for number, heading in enumerate(HEADINGS):
        heading = f"mean {summary.name}" if heading == "mean" else heading
        if number:
            table.add_column(heading, justify="right", no_wrap=True)
        else:
            table.add_column(heading, overflow="fold")
    for row in summary.cells():
        table.add_row(*map(plain, row))
    console.print(table)
    for said in summary.verdicts:
        console.print(f"[bold]{plain(said)}[/bold]", soft_wrap=True)
    for note in (*summary.notes, NOT_SAID):
        console.print(plain(note), soft_wrap=True)


def _cells(row: Row) -> List[str]:
    seeds = str(len(row.seeds))
    c = row.against
    if c is None:
        return [row.arm, seeds, _mean(row.metric), *[""] * (len(HEADINGS) - 3)]
    p = "" if row.p != row.p else ("< 0.001" if row.p < 0.001 else f"{row.p:.3f}")
    difference = f"{100 * c.difference.mean:+.2f}"
    if c.seeds > 1:
        difference += f" ± {100 * c.difference.half:.2f}"
    needed = [str(n) for n in row.needed] or [""] * len(EFFECTS)
    return [
        row.arm, seeds, _mean(row.metric), difference, p, f"{c.wins} of {c.seeds}", *needed,
    ]  # fmt: skip


def _mean(estimate: Any) -> str:
    if not isinstance(estimate, Estimate):
        return ""
    half = "" if estimate.half != estimate.half else f" ± {estimate.half:.4f}"
    return f"{estimate.mean:.4f}{half}"
