"""The numbers that keys of a block take: those for which float32 has room."""

from __future__ import annotations

import math

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


def with_room(value: object) -> object:
    """A value that is to be a number: one for which float32 has room. Raises ValueError if not."""
    size = _size(no_flag(value))
    if LARGEST < size < math.inf:
        raise ValueError(f"allowed is {LARGEST:g} or less")
    if -math.inf < size < -LARGEST:
        raise ValueError(f"allowed is {-LARGEST:g} or more")
    return value


def with_room_above_0(value: object) -> object:
    """As `with_room`, of a value that is to be above 0. Raises ValueError if it is hardly that."""
    if 0 < _size(with_room(value)) < SMALLEST:
        raise ValueError(f"allowed is {SMALLEST:g} or more")
    return value


def _size(value: object) -> float:
    """As a number; not a number if it is none, of which pydantic has the words."""
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return math.nan


# By one function, not by bounds: of several, and of a bound beside that of a key, the versions of
# pydantic keep one, and not the same one.
Number = Annotated[float, Field(allow_inf_nan=False), BeforeValidator(with_room)]
"""A number; in quotes, too: to YAML 1.1, 1e-3 is a string."""
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False), BeforeValidator(with_room_above_0)]
"""A `Number` above 0."""
ROOM = {
    with_room: {"minimum": -LARGEST, "maximum": LARGEST},
    with_room_above_0: {"minimum": SMALLEST, "maximum": LARGEST},
}
"""What these functions check, as the schema for editors says it."""
FROM_0 = "a number, 0 or more (at most 1e30)"
ABOVE_0 = "a number above 0 (1e-30 to 1e30)"
"""Those that begin at 0, and `Positive` ones, in words."""
QUOTED = r"^\s*[+-]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)([eE][+-]?\d+)?\s*$"
"""A number in quotes, as the schema for editors says it."""
