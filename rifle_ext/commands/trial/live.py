"""A trial while it runs: one view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from statistics import fmean
from typing import Any, List, Optional, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from rifle_ext.commands.trial.running import State

LINES = 20
"""Trainings that have ended, or wait, and are shown."""

EVERY = 60.0
"""Seconds between two plain lines on a training that runs."""


class View(AbstractContextManager):
    """Shows how far each training is.

    Parameters
    ----------
    states
        The trainings.
    total_steps
        Their length.
    console
        Where to.
    """

    def __init__(self, states: Sequence[State], total_steps: int, console: Console) -> None:
        self._states, self._total, self._console = states, total_steps, console
        self._live: Optional[Live] = None
        if console.is_terminal:
            self._live = Live(console=console, auto_refresh=False)
        self._said = {id(state): state.phase for state in states}
        self._last = time.monotonic()

    def __enter__(self) -> View:
        if self._live is not None:
            self._live.start()
            self.show()
        return self

    def __exit__(self, *error: Any) -> None:
        if self._live is not None:
            self.show()
            self._live.stop()

    def show(self) -> None:
        """What is new."""
        if self._live is not None:
            self._live.update(table(self._states, self._total), refresh=True)
            return
        now = time.monotonic()
        due = now - self._last >= EVERY
        if due:
            self._last = now
        for state in self._states:
            if state.phase != self._said[id(state)] or (due and state.phase == "running"):
                self._said[id(state)] = state.phase
                self._console.print(escape(line(state, self._total)), soft_wrap=True)


def table(states: Sequence[State], total_steps: int) -> Table:
    """All trainings, a row each."""
    made = Table(box=SIMPLE_HEAD, show_edge=False, caption=overall(states, total_steps))
    made.add_column("arm", overflow="fold")
    for title in ("seed", "step", "loss", "metric", "time"):
        made.add_column(title, justify="right")
    made.add_column("", overflow="fold")
    for state in visible(states):
        style = {"running": "bold", "failed": "red", "waiting": "dim", "left out": "dim"}
        made.add_row(
            escape(state.run.arm.name),
            str(state.run.seed),
            *_figures(state, total_steps),
            _time(state.seconds) if state.seconds else "",
            escape(_phase(state, total_steps)),
            style=style.get(state.phase, ""),
        )
    return made


def visible(states: Sequence[State]) -> List[State]:
    """Those that fit on a page: the last ones that ended, what runs, what comes next."""
    ended = [state for state in states if state.phase in ("done", "failed")]
    running = [state for state in states if state.phase == "running"]
    waiting = [state for state in states if state.phase == "waiting"]
    return [*ended[-LINES:], *running, *waiting[: max(3, LINES - len(ended))]]


def overall(states: Sequence[State], total_steps: int) -> str:
    """How far all of them are together."""
    ended = [state for state in states if state.phase in ("done", "failed")]
    running = [state for state in states if state.phase == "running"]
    said = f"{len(ended)} of {len(states)} have ended"
    times = [state.seconds for state in states if state.phase == "done"]
    times += [s.seconds * total_steps / s.step for s in running if s.step]
    if not running or not times:
        return said
    waiting = sum(state.phase == "waiting" for state in states)
    left = fmean(times) * (waiting + len(running)) - sum(state.seconds for state in running)
    return f"{said}, about {_time(max(0.0, left / len(running)))} left"


def line(state: State, total_steps: int) -> str:
    """One training in a line."""
    said = f"{state.run.arm.name}, seed {state.run.seed}: {_phase(state, total_steps)}"
    step, loss, metric = _figures(state, total_steps)
    known = [f"step {step}"] if step else []
    known += [f"loss {loss}"] if loss else []
    known += [f"metric {metric}"] if metric else []
    return ", ".join([said, *known, *([_time(state.seconds)] if state.seconds else [])])


def _figures(state: State, total_steps: int) -> List[str]:
    """Step, loss and metric, as far as they are known."""
    curves = state.curves
    if state.outcome is not None and not state.outcome.failed:
        return [f"{total_steps}/{total_steps}", "", f"{state.outcome.metric:.4f}"]
    if curves is None or not curves.losses:
        return ["", "", ""]
    metric = f"{curves.metrics[max(curves.metrics)]:.4f}" if curves.metrics else ""
    return [f"{state.step}/{total_steps}", f"{curves.losses[state.step]:.4g}", metric]


def _phase(state: State, total_steps: int) -> str:
    if state.phase == "failed" and state.outcome is not None:
        return f"failed: {state.outcome.failed}"
    if state.phase == "running" and state.step:
        left = state.seconds / state.step * (total_steps - state.step)
        return f"running, {_time(left)} left"
    return state.phase


def _time(seconds: float) -> str:
    """``1:02:03`` or ``2:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
