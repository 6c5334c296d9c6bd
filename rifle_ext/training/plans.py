"""What a method would do to a training, in a form that the commands can show for any method."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, List, Mapping, Sequence


@dataclass(frozen=True)
class Moment:
    """Something that happens, or is left out, between two steps of a training.

    Attributes
    ----------
    step
        Optimizer steps done before it.
    mark
        A character or two for the timeline.
    text
        What it is, when and why, in words.
    skipped
        It is asked for, but will not be done.
    """

    step: int
    mark: str
    text: str
    skipped: bool = False


@dataclass(frozen=True)
class MethodPlan:
    """What one method would do to one training.

    Attributes
    ----------
    record
        The plan as JSON-ready data: what the method's event `plan` holds.
    summary
        What it acts on, in a sentence; empty if on nothing.
    columns, rows
        A table of what it acts on.
    number
        How often it acts, in words: "2 resets".
    moments
        When it acts, in the order of the steps.
    warnings
        What a user should think about, a sentence each.
    hints
        What a key of its block does to this very training, by key, in sentences; for `init`.
    """

    record: Mapping[str, Any]
    summary: str = ""
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    number: str = ""
    moments: Sequence[Moment] = ()
    warnings: Sequence[str] = ()
    hints: Mapping[str, List[str]] = field(default_factory=dict)
