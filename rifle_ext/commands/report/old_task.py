"""What became of the old task of a training: read from what an evaluation of it printed.

A training on a new task has no data of the old one. So its model, or what `rifle-ext lwf-export`
wrote of it, is evaluated by the toolkit's own tool, and what that printed is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Sequence

from rifle_ext.commands.report.reading import readers
from rifle_ext.commands.report.told import lines_of
from rifle_ext.errors import RifleError

NOW, BEFORE = "old_task.log", "old_task_before.log"
"""In a training's output folder: what the evaluation of the model after it printed, and that of the
model it began with."""


@dataclass(frozen=True)
class OldTask:
    """The old task's metric.

    Attributes
    ----------
    now
        After the training, a fraction.
    before
        Before it; None if that is not known.
    """

    now: float
    before: Optional[float]

    @property
    def kept(self) -> Optional[float]:
        """Which part of it is left; None if that cannot be said."""
        return self.now / self.before if self.before else None


def read(folder: Path, logs: Sequence[Path], toolkit: str, metric: str) -> Optional[OldTask]:
    """What became of the old task of a training; None if nothing says so.

    Parameters
    ----------
    folder
        Its output folder.
    logs
        What evaluations printed: after the training and, if there is a second one, before it. If
        none are given, `NOW` and `BEFORE` in the folder.
    toolkit
        Name of the one that trained and evaluated.
    metric
        What it calls the metric.

    Raises
    ------
    RifleError
        If a file is missing or tells no metric.
    """
    found = [path for path in (folder / NOW, folder / BEFORE) if path.is_file()]
    if not logs and folder / NOW not in found:
        return None
    values = [_evaluated(path, toolkit, metric) for path in logs or found]
    return OldTask(values[0], values[1] if len(values) > 1 else None)


def _evaluated(path: Path, toolkit: str, metric: str) -> float:
    if not path.is_file():
        raise RifleError(f"--old-task {path}: there is no such file", topic="options")
    value: Optional[float] = readers()[toolkit].evaluation(lines_of(path))
    if value is None:
        raise RifleError(
            f"{path}: no {metric} is in it; it is to hold what the toolkit's evaluation tool "
            "printed, its error output included",
            topic="report",
        )
    return value
