"""PaddleDetection's global config as it was at some moment.

`ppdet.core.workspace.create` builds from one process-wide config. Constructors write into the
mappings they are given, some even into their own default arguments, and trainers hold references to
parts of the config. So its state is the content of every mapping and list in it, and is restored in
place.
"""

from __future__ import annotations

import contextlib
from typing import Any, Dict, Iterator, List, Tuple, Union

from ppdet.core.config.schema import SchemaDict
from ppdet.core.workspace import global_config

Container = Union[Dict[Any, Any], List[Any]]


class Snapshot:
    """What every mapping and list of the global config holds now, default arguments included."""

    def __init__(self) -> None:
        self._contents: Dict[int, Tuple[Container, Container]] = {}
        self._take(global_config)

    def _take(self, value: Any) -> None:
        if not isinstance(value, (dict, list)) or id(value) in self._contents:
            return
        items = list(value.values()) if isinstance(value, dict) else list(value)
        content = dict(value) if isinstance(value, dict) else list(value)
        self._contents[id(value)] = (value, content)
        if isinstance(value, SchemaDict):
            items += [getattr(known, "default", None) for known in value.schema.values()]
        for item in items:
            self._take(item)

    def restore(self) -> None:
        """Make the global config what it was, keeping its objects."""
        for container, content in self._contents.values():
            container.clear()
            if isinstance(container, dict):
                container.update(content)
            else:
                container.extend(content)


@contextlib.contextmanager
def as_of(snapshot: Snapshot) -> Iterator[None]:
    """Build from the config as it was at `snapshot`; leave no trace of that."""
    now = Snapshot()
    snapshot.restore()
    try:
        yield
    finally:
        now.restore()
