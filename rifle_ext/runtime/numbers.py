"""The numbers that keys of a block take: those for which float32 has room."""

from __future__ import annotations

from pydantic import BeforeValidator, Field
from typing_extensions import Annotated

LARGEST, SMALLEST = 1e30, 1e-30
"""Sizes of numbers, but for 0: float32 goes from 1e-38 to 3e38, and what is made of them is larger
and smaller than they are."""


def no_flag(value: object) -> object:
    """A value that is to be a number: true and false are none. Raises ValueError if it is one."""
    if isinstance(value, bool):
        raise ValueError("true and false are no numbers")
    return value


Number = Annotated[
    float, Field(ge=-LARGEST, le=LARGEST, allow_inf_nan=False), BeforeValidator(no_flag)
]
"""A number; in quotes, too: to YAML 1.1, 1e-3 is a string."""
Positive = Annotated[
    float, Field(ge=SMALLEST, le=LARGEST, allow_inf_nan=False), BeforeValidator(no_flag)
]
"""A `Number` above 0."""
FROM_0 = "a number, 0 or more (at most 1e30)"
ABOVE_0 = "a number above 0 (1e-30 to 1e30)"
"""Those that begin at 0, and `Positive` ones, in words."""
QUOTED = r"^\s*[+-]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)([eE][+-]?\d+)?\s*$"
"""A number in quotes, as the schema for editors says it."""
