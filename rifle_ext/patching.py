"""Stand one function in for another in a toolkit's modules, for good or for a while."""

from __future__ import annotations

import contextlib
import sys
from typing import Any, Callable, Iterator, Mapping


@contextlib.contextmanager
def replaced(owner: Any, **replacements: Any) -> Iterator[None]:
    """Attributes of a module or class replaced inside the block, and given back after it."""
    before = {name: getattr(owner, name) for name in replacements}
    for name, replacement in replacements.items():
        setattr(owner, name, replacement)
    try:
        yield
    finally:
        for name, original in before.items():
            setattr(owner, name, original)


def rebind(replacements: Mapping[Callable, Callable]) -> None:
    """Put each replacement wherever a loaded module holds the original under a name of its own.

    ``from package import function`` copies the reference: replacing it in `package` alone would
    leave those copies as they are.
    """
    by_id = {id(original): replacement for original, replacement in replacements.items()}
    for module in list(sys.modules.values()):
        names = vars(module) if hasattr(module, "__dict__") else {}
        for name in [name for name, value in list(names.items()) if id(value) in by_id]:
            setattr(module, name, by_id[id(names[name])])


@contextlib.contextmanager
def rebound(replacements: Mapping[Callable, Callable]) -> Iterator[None]:
    """`rebind` inside the block, undone after it."""
    rebind(replacements)
    try:
        yield
    finally:
        rebind({replacement: original for original, replacement in replacements.items()})
