"""A report in words."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from typing import Dict, Iterator, List, Optional, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rifle_ext.commands.report.freezing import saved
from rifle_ext.commands.report.old_task import OldTask
from rifle_ext.commands.report.recovery import Recovery
from rifle_ext.commands.report.runs import Run, spread


def show(runs: Sequence[Run], console: Console) -> None:
    """Print each training, and how they compare if there are several."""
    for run in runs:
        _show_run(run, console)
    if len(runs) > 1:
        _compare(runs, console)


def _show_run(run: Run, console: Console) -> None:
    say = partial(console.print, soft_wrap=True)
    losses = run.curves.losses
    say(f"[bold]{escape(str(run.folder))}[/bold]: {escape(run.label)}; logged until {max(losses)}")
    for note in run.notes:
        say(f"  [yellow]note:[/yellow] {escape(note)}")
    if run.curves.metrics:
        say(
            f"  {run.curves.metric} {run.best[1]:.4f} at best, after {run.best[0]} iterations; "
            f"{run.last[1]:.4f} at the end"
        )
    if run.old_task is not None:
        say(f"  old task: {run.curves.metric} " + _old_task(run.old_task))
    for index, recovery in enumerate(run.recoveries, start=1):
        expected = _expected(run, recovery.step)
        say(f"  reset {index} after iteration {recovery.step}: " + _loss(recovery) + expected)
        if recovery.metric is not None:
            say(f"    {run.curves.metric} " + _metric(recovery))
    if run.resets:
        seconds = sum(reset["duration_ms"] for reset in run.resets) / 1000
        say(f"  the resets took {seconds:.2f} s in all")
    for line in _acts(run):
        say(f"  {escape(line)}")
    for line in _freezings(run):
        say(f"  {escape(line)}")
    if run.change:
        source = {"track": "tracked", "checkpoints": "by the checkpoints"}[run.change_from]
        say(f"  change of the weights in each period, % of their norm ({source})")
        console.print(_change(run))


def _old_task(old: OldTask) -> str:
    if old.before is None:
        return f"{old.now:.4f} after the training"
    kept = "" if old.kept is None else f", {old.kept:.0%} of that kept"
    return f"{old.before:.4f} before the training, {old.now:.4f} after it{kept}"


def _acts(run: Run) -> Iterator[str]:
    """What other methods did, a line for each kind of thing."""
    steps: Dict[str, List[int]] = defaultdict(list)
    for method, kind, step in run.acts:
        steps[f"{method}: {kind}"].append(step)
    for said, found in steps.items():
        if len(found) == 1:
            yield f"{said} after iteration {found[0]}"
        else:
            yield f"{said} {len(found)} times, after iterations {found[0]} to {found[-1]}"


def _freezings(run: Run) -> Iterator[str]:
    """Which layers were frozen when, and what that saved."""
    if not run.freezings:
        return
    first, last = run.freezings[0], run.freezings[-1]
    layers = sum(freezing.layers for freezing in run.freezings)
    methods = ", ".join(dict.fromkeys(freezing.method for freezing in run.freezings))
    yield (
        f"{methods}: {layers} layers frozen after iterations {first.step} to {last.step}, "
        f"{last.part:.1%} of all values"
    )
    gained = saved(run.curves.seconds, run.freezings)
    if gained is not None:
        yield (
            f"an iteration took {gained.before:.3f} s before, {gained.after:.3f} s after that; "
            f"{gained.seconds:.1f} s saved in all, {gained.part:.1%} of the training's iterations"
        )


def _expected(run: Run, step: int) -> str:
    """What the plan said, where the events have it."""
    if step not in run.expected:
        return ""
    expected = run.expected[step]
    return " (not expected back)" if expected is None else f" (expected after {expected})"


def _loss(recovery: Recovery) -> str:
    if recovery.loss is None or recovery.peak is None:
        return "no loss was logged around it"
    said = f"training loss {recovery.loss:.4f} before, {recovery.peak:.4f} at most after it, "
    return said + _back(recovery.loss_back, recovery)


def _metric(recovery: Recovery) -> str:
    return f"{recovery.metric:.4f} before, " + _back(recovery.metric_back, recovery)


def _back(after: Optional[int], recovery: Recovery) -> str:
    if after is not None:
        return f"back after {after} iterations"
    return f"not back in the {recovery.until - recovery.step} iterations that followed"


def _change(run: Run) -> Table:
    """How far each stage moved in each period, in percent of its norm."""
    table = Table(box=SIMPLE_HEAD, show_edge=False)
    table.add_column("stage", overflow="fold")
    for since in run.change:
        table.add_column(f"from {since}", justify="right")
    stages = list(dict.fromkeys(stage for change in run.change.values() for stage in change))
    for stage in stages:
        values = (change.get(stage) for change in run.change.values())
        table.add_row(escape(stage), *("" if v is None else f"{100 * v:.3g}" for v in values))
    return table


def _compare(runs: Sequence[Run], console: Console) -> None:
    """The trainings by what they were trained with; repetitions as mean and standard deviation."""
    groups: Dict[str, List[Run]] = defaultdict(list)
    for run in runs:
        groups[run.label].append(run)
    metric = runs[0].curves.metric
    sign = "±" if console.encoding.startswith("utf") else "+-"
    without = spread([run.last[1] for run in runs if run.is_baseline])[0]
    table = Table(box=SIMPLE_HEAD, show_edge=False)
    table.add_column("trained", overflow="fold")
    with_old = any(run.old_task for run in runs)
    for title in ("runs", f"best {metric}", f"last {metric}", "last, against none"):
        table.add_column(title, justify="right")
    if with_old:
        table.add_column(f"old task's {metric}", justify="right")
    for label, group in groups.items():
        lasts = [run.last[1] for run in group]
        difference = ""
        mean, _ = spread(lasts)
        if mean is not None and without is not None and not group[0].is_baseline:
            difference = f"{mean - without:+.4f}"
        best = _spread([run.best[1] for run in group], sign)
        row = [escape(label), str(len(group)), best, _spread(lasts, sign), difference]
        if with_old:
            row.append(_spread([run.old_task.now for run in group if run.old_task], sign))
        table.add_row(*row)
    console.print("[bold]compared[/bold]")
    console.print(table)


def _spread(values: Sequence[float], sign: str) -> str:
    mean, deviation = spread(values)
    if mean is None:
        return "not evaluated"
    return f"{mean:.4f}" if deviation is None else f"{mean:.4f} {sign} {deviation:.4f}"
