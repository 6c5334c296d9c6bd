"""What methods say of their blocks: the models that validate them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Collection, Dict, Optional, Type

from rifle_ext.entry_groups import entry_group

if TYPE_CHECKING:
    from pydantic import BaseModel

GROUP = "rifle_ext.blocks"
"""Entry points: the key of a method's block, and the pydantic model that validates it. Optional:
editors, commands and what is said of misplaced keys read it, methods do not."""

_OWN = "rifle_ext."


def block_models(
    own: bool = False, keys: Optional[Collection[str]] = None
) -> Dict[str, Type[BaseModel]]:
    """The models of the blocks by their keys; with `own` those of this package alone.

    With `keys`, of those blocks only, and nothing else is imported. Without those of packages that
    cannot be imported: they concern configs with their block alone.
    """
    found = {}
    for key, entry in entry_group(GROUP).items():
        if (not own or entry.value.startswith(_OWN)) and (keys is None or key in keys):
            with contextlib.suppress(Exception):
                found[key] = entry.load()
    return found
