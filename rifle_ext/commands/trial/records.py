"""JSON lines, one for each training that came to an end."""

from __future__ import annotations

import contextlib
import json
import threading
from pathlib import Path
from typing import Any, Dict

Line = Dict[str, Any]

_writing = threading.Lock()


def read(results: Path) -> Dict[str, Line]:
    """The newest line of each key, those cut off by a kill apart; none if there is no file."""
    found = {}
    for line in results.read_text().splitlines() if results.exists() else []:
        with contextlib.suppress(json.JSONDecodeError):
            about = json.loads(line)
            found[about["key"]] = about
    return found


def append(results: Path, line: Line) -> None:
    """Write a line, after one that was cut off on a line of its own."""
    results.parent.mkdir(parents=True, exist_ok=True)
    with _writing, results.open("a+") as file:
        file.seek(max(0, file.tell() - 1))
        begun = file.read() not in ("", "\n")
        file.write(("\n" if begun else "") + json.dumps(line, separators=(",", ":")) + "\n")


def is_done(lines: Dict[str, Line], key: str, digest: str) -> bool:
    """Whether there is a result of these settings; one of other settings does not count."""
    return key in lines and lines[key].get("digest") == digest
