"""PaddleDetection's global config as it was at some moment.

`ppdet.core.workspace.create` builds from one process-wide config and writes into it, and trainers
hold references to its parts: it has to be changed and restored in place.
"""

from __future__ import annotations

import contextlib
from typing import Any, Dict, Iterator, List, Optional, Tuple

from ppdet.core.workspace import global_config


class Snapshot:
    """The global config's entries and the contents of those that are mappings, as they are now."""

    def __init__(self) -> None:
        self._entries: List[Tuple[str, Any, Optional[Dict[str, Any]]]] = [
            (name, value, dict(value) if isinstance(value, dict) else None)
            for name, value in global_config.items()
        ]

    def restore(self) -> None:
        """Make the global config what it was, keeping the objects."""
        global_config.clear()
        for name, value, content in self._entries:
            if content is not None:
                value.clear()
                value.update(content)
            global_config[name] = value


@contextlib.contextmanager
def as_of(snapshot: Optional[Snapshot]) -> Iterator[None]:
    """Build from the config of `snapshot` (None: the present one); leave no trace of it."""
    now = Snapshot()
    try:
        if snapshot is not None:
            snapshot.restore()
        yield
    finally:
        now.restore()
