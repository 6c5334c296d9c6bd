"""What a trial says: the arms' figures, and a sentence on each that can be trusted."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence

from rifle_ext.commands.trial.statistics import (
    LEAST,
    LEVEL,
    MOST,
    Comparison,
    Estimate,
    compare,
    estimate,
    holm,
    seeds_needed,
)

EFFECTS = (0.005, 0.01)
"""Differences that the number of seeds needed is told for: half a point and a point."""

NOT_SAID = (
    "This holds for this config: its data, its model, its length and its rates. The intervals are "
    "over seeds (order of the data, random augmentation, first values, fresh heads), not over "
    "other images to train on or to evaluate with."
)
"""What no verdict says."""


@dataclass(frozen=True)
class Row:
    """One arm.

    Attributes
    ----------
    arm
        Its name.
    seeds
        Those it has a result for.
    metric
        Mean over them, with its interval; None without any.
    against
        Compared with the first arm, over the seeds that both have; None for that arm, and where
        there are none.
    p
        Of the comparison, corrected by Holm's method for the number of arms.
    """

    arm: str
    seeds: Sequence[int]
    metric: Optional[Estimate]
    against: Optional[Comparison] = None
    p: float = math.nan

    @property
    def decided(self) -> str:
        """``better`` or ``worse`` than the first arm, or nothing."""
        if self.against is None or not self.p < 1 - LEVEL:
            return ""
        return "better" if self.against.difference.mean > 0 else "worse"

    @property
    def needed(self) -> List[int]:
        """Seeds that would show each of `EFFECTS`; none if the spread is not known."""
        if self.against is None or self.against.seeds < LEAST:
            return []
        return [seeds_needed(effect, self.against.spread) for effect in EFFECTS]

    def as_json(self) -> Dict[str, Any]:
        """The row as JSON-ready data; what is not known is null."""
        return _known({**asdict(self), "seeds": list(self.seeds), "needed": self.needed})


def rows(results: Mapping[str, Mapping[int, float]]) -> List[Row]:
    """The figures of all arms, the one first that the others are compared with.

    Parameters
    ----------
    results
        The metric of each arm and seed, a fraction.
    """
    (first, base), *others = results.items()
    found = [Row(first, sorted(base), _estimate(base))]
    for name, own in others:
        both = sorted(set(own) & set(base))
        against = compare([own[s] for s in both], [base[s] for s in both]) if both else None
        found.append(Row(name, sorted(own), _estimate(own), against))
    tested = [row for row in found if row.against is not None and row.against.seeds >= LEAST]
    known = [row for row in tested if row.against is not None and not math.isnan(row.against.p)]
    p_values = [row.against.p for row in known if row.against is not None]
    corrected = dict(zip((row.arm for row in known), holm(p_values)))
    return [Row(r.arm, r.seeds, r.metric, r.against, corrected.get(r.arm, math.nan)) for r in found]


def verdict(row: Row, base: str, metric: str) -> str:
    """What the trial says of an arm, in a sentence or two.

    Parameters
    ----------
    row
        Of an arm that is compared.
    base
        Name of the arm it is compared with.
    metric
        Its name.
    """
    c = row.against
    if c is None or c.seeds < LEAST:
        done = 0 if c is None else c.seeds
        return f"{row.arm}: no verdict from {done} seeds; it takes {LEAST} at least."
    if c.spread < 1e-9:
        same = "the same as" if abs(c.difference.mean) < 1e-9 else f"{_points(c)} against"
        return f"{row.arm}: {same} {base} on all {c.seeds} seeds, to the last digit."
    if row.decided:
        return (
            f"{row.arm} is {row.decided} than {base} by {abs(100 * c.difference.mean):.2f} ± "
            f"{100 * c.difference.half:.2f} points of {metric} on {c.seeds} seeds (p = "
            f"{row.p:.2g})."
        )
    largest = max(abs(c.difference.low), abs(c.difference.high))
    return (
        f"{row.arm}: no difference from {base} was shown on {c.seeds} seeds ({_points(c)}; p = "
        f"{row.p:.2g}). A difference of {100 * largest:.2f} points of {metric} cannot be ruled "
        f"out; {_more(row)}"
    )


def _more(row: Row) -> str:
    """How many more seeds would settle each effect."""
    assert row.against is not None
    said = []
    for effect, needed in zip(EFFECTS, row.needed):
        more = needed - row.against.seeds
        size = f"{100 * effect:.1f} points"
        if more <= 0:
            said.append(f"{size} would have been seen four times out of five")
        elif needed >= MOST:
            said.append(f"no number of seeds would settle {size}")
        else:
            said.append(f"{more} more seeds would settle {size}")
    return ", ".join(said) + "."


def _points(c: Comparison) -> str:
    return f"{100 * c.difference.mean:+.2f} ± {100 * c.difference.half:.2f} points"


def _estimate(values: Mapping[int, float]) -> Optional[Estimate]:
    return estimate([values[seed] for seed in sorted(values)]) if values else None


def _known(value: Any) -> Any:
    """Without numbers that JSON lacks."""
    if isinstance(value, dict):
        return {key: _known(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_known(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
