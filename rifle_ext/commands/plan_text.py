"""A plan on a page: for each method a table of what it touches, and a line of when."""

from __future__ import annotations

from typing import Iterable, List, Optional, Sequence

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rifle_ext.commands.console import standard_output
from rifle_ext.commands.training_options import Looked
from rifle_ext.training.plans import MethodPlan, Moment

LINE_WIDTH = 60
"""Columns of the timeline."""


def show(looked: Looked, console: Optional[Console] = None) -> None:
    """Print the plans of a training.

    Parameters
    ----------
    looked
        The training.
    console
        Where to; standard output unless given.
    """
    console = console or standard_output()
    if looked.defaults_of:
        text = f"the config has no method's block; these are the defaults of {looked.defaults_of}"
        console.print(escape(text), soft_wrap=True)
    for key, source in looked.laid_over.items():
        console.print(f"{key}: from {escape(source)}", soft_wrap=True)
    for key, plan in looked.plans.items():
        if len(looked.plans) > 1:
            console.print(f"[bold]{escape(key)}:[/bold]")
        _show_method(plan, looked, console)
    if not looked.plans:
        console.print(_length(looked))
    for warning in (*looked.off, *looked.misplaced):
        console.print(f"[yellow]warning:[/yellow] {escape(warning)}", soft_wrap=True)


def _show_method(plan: MethodPlan, looked: Looked, console: Console) -> None:
    if plan.summary:
        console.print(f"[bold]{escape(looked.model)}[/bold]: {escape(plan.summary)}")
    if plan.rows:
        console.print(_table(plan), crop=False)
    console.print("; ".join(filter(None, [_length(looked), escape(plan.number)])))
    ascii_only = not console.encoding.startswith("utf")
    console.print(timeline(looked.total_steps, plan.moments, ascii_only=ascii_only))
    for moment in plan.moments:
        style = "[yellow]{}[/yellow]" if moment.skipped else "{}"
        console.print(f"  {style.format(escape(moment.text))}")
    for warning in plan.warnings:
        console.print(f"[yellow]warning:[/yellow] {escape(warning)}")


def _length(looked: Looked) -> str:
    return f"{looked.total_steps} iterations, {looked.steps_per_epoch} an epoch"


def timeline(
    total_steps: int,
    moments: Sequence[Moment],
    width: int = LINE_WIDTH,
    ascii_only: bool = False,
) -> str:
    """The training on one line: what happens by its mark, what is skipped crossed.

    Parameters
    ----------
    total_steps
        Length of the training.
    moments
        What happens in it, in order.
    width
        Columns between its two ends.
    ascii_only
        Use no other characters.
    """
    line, cross, left, right = ("-", "x", "|", "|") if ascii_only else ("─", "×", "├", "┤")
    marks = [line] * width
    _mark(marks, [moment for moment in moments if moment.skipped], total_steps, cross)
    _mark(marks, [moment for moment in moments if not moment.skipped], total_steps, None)
    return f"0 {left}{''.join(marks)}{right} {total_steps}"


def _mark(marks: List[str], moments: Iterable[Moment], total: int, sign: Optional[str]) -> None:
    """Put a sign, or its own mark, where each moment falls; the first one keeps a place."""
    for moment in reversed(list(moments)):
        if moment.step < total:
            text = sign or moment.mark
            start = min(len(marks) * moment.step // total, len(marks) - len(text))
            marks[start : start + len(text)] = text


def _table(plan: MethodPlan) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for title, *cells in zip(plan.columns, *plan.rows):
        # Names are copied into configs: they stay whole, even if lines become longer than the page.
        longest = max((cell_len(word) for cell in cells for word in cell.split()), default=0)
        table.add_column(title, min_width=longest)
    for row in plan.rows:
        table.add_row(*map(escape, row))
    return table
