"""The record of what happened: `rifle_events.jsonl` in the run's output folder.

One JSON object a line. `event` is one of

- `plan`: the `block`, what will be reset and when, written when training starts;
- `resume`: training goes on after `step` optimizer steps;
- `skip`: a reset the block asks for that is not done, and `why`;
- `reset`: `step` (optimizer steps done before it), `epoch`, `index` (from 1), `of`, `parameters`
  (structured names), `values` (how many numbers), `digest` (SHA-256 over the new values as float32
  in the order of the names), `duration_ms`;
- `weights`: how far each stage of the model, output layers apart, has moved between `since` and
  `step`: `change`, the norm of the difference over the norm before, by the stage's name;
- `end`: the process has left the training loop; `resets` (the steps of those it did) and their
  `duration_ms` in all.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any, Callable, Iterator, Optional

FILE_NAME = "rifle_events.jsonl"


class EventLog:
    """Appends events to the file, each whole line flushed at once.

    A file that cannot be written (a full disk, a folder that was removed) is no reason to end a
    training: that is said once, and nothing more is written.

    Parameters
    ----------
    folder
        The run's output folder; made if it does not exist.
    resumed
        Append to the events of the run that is resumed. A line that a kill cut short is dropped
        first. Otherwise the file starts anew, as the toolkits' checkpoints do.
    warn
        Says what could not be written; without it, that is raised.
    """

    def __init__(
        self, folder: Path, resumed: bool, warn: Optional[Callable[[str], Any]] = None
    ) -> None:
        self.path = folder / FILE_NAME
        self._warn, self._lost = warn, False
        with self._going_on():
            folder.mkdir(parents=True, exist_ok=True)
            kept = self.path.read_bytes() if resumed and self.path.exists() else b""
            self.path.write_bytes(kept[: kept.rfind(b"\n") + 1])

    def write(self, event: str, **fields: Any) -> None:
        """Append one event, unless the file was lost."""
        if self._lost:
            return
        line = (json.dumps({"event": event, **fields}) + "\n").encode()
        # Not made anew: where it was removed, the events before would be missing.
        with self._going_on(event), self.path.open("r+b") as file:
            file.seek(0, os.SEEK_END)
            file.write(line)

    @contextlib.contextmanager
    def _going_on(self, event: str = "plan") -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if self._warn is None:
                raise
            self._lost = True
            self._warn(
                f"[RIFLE] the {event} is not in the events file: {error}; the training goes on, "
                "and from here on this log alone says what happens"
            )
