"""What the methods say of the keys of their blocks."""

from __future__ import annotations

from typing import Any, Dict, Type

from pydantic import BaseModel

from rifle_ext.entry_groups import entry_group
from rifle_ext.errors import RifleError
from rifle_ext.training.block_models import GROUP


def block_model(key: str) -> Type[BaseModel]:
    """The model of one block.

    Raises
    ------
    RifleError
        If its method does not describe it, or the package that does cannot be imported.
    """
    entry = entry_group(GROUP).get(key)
    if entry is None:
        raise RifleError(
            f"--method {key}: that method does not describe its block (entry-point group {GROUP}), "
            "so there is nothing to propose",
            topic="options",
        )
    try:
        model: Type[BaseModel] = entry.load()
    except Exception as error:
        raise RifleError(
            f"--method {key}: its block cannot be loaded: {entry.value} fails with "
            f"{type(error).__name__}: {error}; mend or remove the package that brings it",
            topic="method",
        ) from error
    return model


def defaults(model: Type[BaseModel]) -> Dict[str, Any]:
    """The defaults of a block's keys as JSON has them; a key that has to be given has none."""
    return model.model_construct().model_dump(mode="json")
