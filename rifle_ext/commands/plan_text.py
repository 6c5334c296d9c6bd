"""A plan on a page: a table of what is reset, a line of when."""

from __future__ import annotations

from typing import Any, Dict, Iterable, List, Mapping, Optional

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rifle_ext.commands.console import standard_output

LINE_WIDTH = 60
"""Columns of the timeline."""


def show(record: Mapping[str, Any], console: Optional[Console] = None) -> None:
    """Print a plan.

    Parameters
    ----------
    record
        What `rifle_ext.methods.rifle.plan.Plan.record` gives, with `model`.
    console
        Where to; standard output unless given.
    """
    console = console or standard_output()
    layers = record["layers"]
    if layers:
        tensors = sum(len(layer["parameters"]) for layer in layers)
        console.print(
            f"[bold]{escape(record['model'])}[/bold]: {tensors} tensors of {len(layers)} layers "
            f"are reset, {record['values']} values"
        )
        console.print(_layers(layers))
    total, epoch = record["total_steps"], record["steps_per_epoch"]
    resets = len(record["resets"])
    console.print(
        f"{total} iterations, {epoch} an epoch; {resets} {'reset' if resets == 1 else 'resets'}"
    )
    console.print(timeline(record, ascii_only=not console.encoding.startswith("utf")))
    for reset in record["resets"]:
        console.print(f"  {_moment(reset)}: {escape(reset['why'])}")
    for skipped in record["skipped"]:
        console.print(f"  {_moment(skipped)}: [yellow]skipped[/yellow], {escape(skipped['why'])}")
    for warning in record["warnings"]:
        console.print(f"[yellow]warning:[/yellow] {escape(warning)}")


def timeline(record: Mapping[str, Any], width: int = LINE_WIDTH, ascii_only: bool = False) -> str:
    """The training on one line: its resets numbered, those that are skipped crossed.

    Parameters
    ----------
    record
        A plan's record.
    width
        Columns between its two ends.
    ascii_only
        Use no other characters.
    """
    line, cross, left, right = ("-", "x", "|", "|") if ascii_only else ("─", "×", "├", "┤")
    total = record["total_steps"]
    marks = [line] * width
    _mark(marks, record["skipped"], total, cross)
    _mark(marks, record["resets"], total, None)
    return f"0 {left}{''.join(marks)}{right} {total}"


def _mark(
    marks: List[str], resets: Iterable[Mapping[str, Any]], total: int, sign: Optional[str]
) -> None:
    """Put a sign, or a reset's number, where each reset falls; the first one keeps a place."""
    for reset in reversed(list(resets)):
        if reset["step"] < total:
            text = sign or str(reset["index"])
            start = min(len(marks) * reset["step"] // total, len(marks) - len(text))
            marks[start : start + len(text)] = text


def _layers(layers: Iterable[Mapping[str, Any]]) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for title in ("layer", "type", "tensor", "shape", "drawn"):
        table.add_column(title, overflow="fold")
    for layer in layers:
        name, kind = layer["name"] or "(the model itself)", layer["type"]
        for parameter in layer["parameters"]:
            tensor = parameter["name"].rpartition(".")[2]
            shape = "x".join(map(str, parameter["shape"])) or "one value"
            table.add_row(escape(name), kind, escape(tensor), shape, _drawn(parameter))
            name = kind = ""
    return table


def _drawn(parameter: Dict[str, Any]) -> str:
    if "constant" in parameter:
        return f"constant {parameter['constant']:g}"
    if all(size == 1 for size in parameter["shape"]):
        return f"one value, here {parameter['mean']:.3g}"
    return f"mean {parameter['mean']:.3g}, std {parameter['std']:.3g}"


def _moment(reset: Mapping[str, Any]) -> str:
    return f"{reset['index']}. after iteration {reset['step']} (epoch {reset['epoch']})"
