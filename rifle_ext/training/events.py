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

import json
from pathlib import Path
from typing import Any

FILE_NAME = "rifle_events.jsonl"


class EventLog:
    """Appends events to the file, each whole line flushed at once.

    Parameters
    ----------
    folder
        The run's output folder; made if it does not exist.
    resumed
        Append to the events of the run that is resumed. A line that a kill cut short is dropped
        first. Otherwise the file starts anew, as the toolkits' checkpoints do.
    """

    def __init__(self, folder: Path, resumed: bool) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / FILE_NAME
        kept = self.path.read_bytes() if resumed and self.path.exists() else b""
        self.path.write_bytes(kept[: kept.rfind(b"\n") + 1])

    def write(self, event: str, **fields: Any) -> None:
        """Append one event."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"event": event, **fields}) + "\n")
