"""The record of what happened: `rifle_events.jsonl` in the run's output folder.

One JSON object a line. `event` says what kind it is; every method writes those of its own, and its
README beside its code lists them. Common to all are

- `plan`: what the method will do and when, with its `block`, written when training starts;
- `freeze`: from optimizer step `step` on `layers` are trained no more, nor is the `part` of all
  values that is frozen by then; which method it was stands under `method`;
- `laid_over`: the block of the method `block_of` is not in the config, but in `source`;
- `resume`: training goes on after `step` optimizer steps;
- `end`: the process has left the training loop.
"""

from __future__ import annotations

import json
import os
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
        if resumed and self.path.exists():
            os.truncate(self.path, self.path.read_bytes().rfind(b"\n") + 1)
        else:
            self.path.write_bytes(b"")

    def write(self, event: str, **fields: Any) -> None:
        """Append one event.

        The file is not made anew: where it was removed, the events before would be missing.
        """
        line = (json.dumps({"event": event, **fields}) + "\n").encode()
        with self.path.open("r+b") as file:
            file.seek(0, os.SEEK_END)
            file.write(line)
