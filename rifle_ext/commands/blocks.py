"""What the methods say of the keys of their blocks."""

from __future__ import annotations

from typing import Dict, Type

from pydantic import BaseModel

from rifle_ext.entry_groups import entry_group

GROUP = "rifle_ext.blocks"
"""Entry points: the key of a method's block, and the pydantic model that validates it. Optional:
editors and `rifle-ext init` read it, trainings do not."""

_OWN = "rifle_ext."


def block_models(own: bool = False) -> Dict[str, Type[BaseModel]]:
    """The models of the blocks by their keys; with `own` those of this package alone."""
    found = entry_group(GROUP).items()
    return {key: entry.load() for key, entry in found if not own or entry.value.startswith(_OWN)}
