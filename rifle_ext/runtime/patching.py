"""Stand one function in for another in a toolkit's modules, for good or for a while."""

from __future__ import annotations

import contextlib
import sys
from typing import Any, Callable, Iterator, List, Mapping, Tuple


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


def rebind(replacements: Mapping[Callable, Callable]) -> List[Tuple[Any, str, Callable]]:
    """Put each replacement wherever a loaded module holds the original under a name of its own.

    ``from package import function`` copies the reference: replacing it in `package` alone would
    leave those copies as they are.

    Returns
    -------
    list
        What was replaced: module, name and original.
    """
    by_id = {id(original): original for original in replacements}
    loaded = list(sys.modules.values())
    spaces = ((module, dict(getattr(module, "__dict__", {}))) for module in loaded)
    places = [
        (module, name, by_id[id(value)])
        for module, space in spaces
        if not by_id.keys().isdisjoint(map(id, space.values()))  # most: names are many
        for name, value in space.items()
        if id(value) in by_id
    ]
    for module, name, original in places:
        setattr(module, name, replacements[original])
    return places


@contextlib.contextmanager
def rebound(replacements: Mapping[Callable, Callable]) -> Iterator[None]:
    """`rebind` inside the block, undone after it."""
    places = rebind(replacements)
    try:
        yield
    finally:
        for module, name, original in places:
            setattr(module, name, original)
