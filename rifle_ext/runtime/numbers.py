"""The numbers that keys of a block take."""

from __future__ import annotations

from pydantic import BeforeValidator, Field
from typing_extensions import Annotated


def no_flag(value: object) -> object:
    """A value that is to be a number: true and false are none. Raises ValueError if it is one."""
    if isinstance(value, bool):
        raise ValueError("true and false are no numbers")
    return value


Number = Annotated[float, Field(allow_inf_nan=False), BeforeValidator(no_flag)]
"""A finite number; in quotes, too: to YAML 1.1, 1e-3 is a string."""
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False), BeforeValidator(no_flag)]
"""A `Number` above 0."""
QUOTED = r"^\s*[+-]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)([eE][+-]?\d+)?\s*$"
"""A number in quotes, as the schema for editors says it."""
