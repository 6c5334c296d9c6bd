"""Run trainings, some at a time, until all are done or the time is up."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from statistics import fmean
from typing import Callable, Dict, Optional, Sequence

from rifle_ext.commands.trial.process import Process
from rifle_ext.commands.trial.runs import Outcome, Run, Setting, finish, progress, start
from rifle_ext.training.curves import Curves

LOOK = 0.5
"""Seconds between two looks at what runs."""


@dataclass
class State:
    """How far a training is.

    Attributes
    ----------
    run
        Which one.
    phase
        ``waiting``, ``running``, ``done``, ``failed`` or ``left out``.
    curves
        The end of them.
    seconds
        It has taken so far.
    outcome
        Once it has ended.
    """

    run: Run
    phase: str = "waiting"
    curves: Optional[Curves] = None
    seconds: float = 0.0
    outcome: Optional[Outcome] = None

    @property
    def step(self) -> int:
        """Iterations done, as far as the log tells."""
        return max(self.curves.losses, default=0) if self.curves is not None else 0


@dataclass(frozen=True)
class Limits:
    """What the runs may take.

    Attributes
    ----------
    places
        For each training that may run at a time, what it adds to the environment: a GPU.
    until
        The `time.monotonic` at which all should be over; infinity for none.
    stalled
        Seconds without a new word in the log after which a training is given up.
    expected
        Seconds that a training is expected to take, before one is done.
    """

    places: Sequence[Dict[str, str]]
    until: float = math.inf
    stalled: float = math.inf
    expected: float = 0.0


class Runner:
    """Runs the trainings of a trial in their order.

    Parameters
    ----------
    setting
        Of the trial.
    states
        The trainings; those that wait are run.
    limits
        What they may take.
    ended
        Called with each that has ended, done or failed.
    looked
        Called at each look.
    """

    def __init__(
        self,
        setting: Setting,
        states: Sequence[State],
        limits: Limits,
        ended: Callable[[State], None],
        looked: Callable[[], None],
    ) -> None:
        self._setting, self._limits = setting, limits
        self._ended, self._looked = ended, looked
        self._waiting = [state for state in states if state.phase == "waiting"]
        self._running: Dict[int, _Place] = {}
        self._took = [state.seconds for state in states if state.phase == "done"]

    def run(self) -> None:
        """Until all have ended, or those left could not be done in time.

        Whatever ends it, an interrupt too, ends all trainings that still run.
        """
        try:
            while self._fill() or self._running:
                self._looked()
                time.sleep(LOOK)
                self._look()
        finally:
            for place in self._running.values():
                place.process.kill()
        self._looked()

    def _fill(self) -> bool:
        """Start what there is a place for; whether one was started."""
        started = False
        for number, environment in enumerate(self._limits.places):
            if number in self._running or not self._waiting:
                continue
            expected = fmean(self._took) if self._took else self._limits.expected
            if time.monotonic() + expected > self._limits.until:
                for state in self._waiting:
                    state.phase = "left out"
                self._waiting = []
                break
            state = self._waiting.pop(0)
            state.phase = "running"
            self._running[number] = _Place(state, start(state.run, self._setting, environment))
            started = True
        return started

    def _look(self) -> None:
        for number, place in list(self._running.items()):
            state, process = place.state, place.process
            code = process.ended()
            state.seconds = process.seconds
            state.curves = progress(state.run, self._setting)
            if code is not None:
                state.outcome = finish(state.run, self._setting, code)
            elif place.silent() > self._limits.stalled:
                process.kill()
                minutes = self._limits.stalled / 60
                state.outcome = Outcome(f"no sign of life for {minutes:.0f} minutes: {process.log}")
            else:
                continue
            del self._running[number]
            state.phase = "failed" if state.outcome.failed else "done"
            if state.phase == "done":
                self._took.append(state.seconds)
            self._ended(state)


class _Place:
    """A training that runs."""

    def __init__(self, state: State, process: Process) -> None:
        self.state, self.process = state, process
        self._size, self._since = -1, time.monotonic()

    def silent(self) -> float:
        """Seconds since its log was seen to grow."""
        size = self.process.log.stat().st_size
        if size != self._size:
            self._size, self._since = size, time.monotonic()
        return time.monotonic() - self._since
