"""What a method does is said in three places: the toolkit's log, the events file, VisualDL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rifle_ext.training.hooks import TrainingRun


class Journal:
    """Tells users what one method does in one training, on rank 0 alone.

    Parameters
    ----------
    run
        The training.
    name
        What lines in the log, and tags in VisualDL, begin with.
    common
        Fields that all the method's events have.
    """

    def __init__(self, run: TrainingRun, name: str, **common: Any) -> None:
        self._run, self._name, self._common = run, name, common

    def log(self, message: str) -> None:
        """One line in the toolkit's log."""
        self._run.log(f"[{self._name}] {message}")

    def warn(self, message: str) -> None:
        """One line in the toolkit's log, as a warning."""
        self._run.warn(f"[{self._name}] {message}")

    def event(self, kind: str, **fields: Any) -> None:
        """One event in the events file, from the first step on.

        A training does not end because its record cannot be written: that is said, once for all
        methods, which write no more of it from then on.
        """
        if not self._run.recorded or self._run.rank != 0:
            return
        try:
            self._run.events.write(kind, **self._common, **fields)
        except OSError as error:
            self._run.recorded = False
            self.warn(f"the events file cannot be written, from event {kind} on: {error}")

    def scalar(self, tag: str, value: float, step: int) -> None:
        """One value for VisualDL, if the toolkit records to it."""
        if self._run.scalar is not None and self._run.rank == 0:
            try:
                self._run.scalar(f"{self._name}/{tag}", value, step)
            except OSError as error:
                self._run.scalar = None
                self.warn(f"VisualDL's record cannot be written: {error}")
