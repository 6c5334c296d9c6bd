"""What the installed adapters offer, found through entry points."""

from __future__ import annotations

from importlib import metadata
from typing import Any, Dict


def entry_group(name: str) -> Dict[str, Any]:
    """The entry points of a group, by their names."""
    found: Any = metadata.entry_points()  # a mapping before Python 3.10
    group = found.select(group=name) if hasattr(found, "select") else found.get(name, ())
    return {entry.name: entry for entry in group}
