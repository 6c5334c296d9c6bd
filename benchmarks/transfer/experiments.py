"""Which comparisons are run, over which seeds, in which order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Sequence, Tuple

from benchmarks.transfer.arms import ARMS, CONTROL, DEFAULT, RATES, SOFT
from benchmarks.transfer.places import Place, Run

SEARCH, CONFIRM = range(5), range(5, 15)
"""Seeds that variants and defaults were chosen on; seeds that the frozen ones are measured on.

Of the latter, 10 to 14 were added when the results of the others were known."""

TRIAL = range(15, 35)
"""Seeds of a trial of its own: where the others saw perhaps a gain, is there one?"""

SEEDS = (*SEARCH, *CONFIRM, *TRIAL)
"""All of them."""


@dataclass(frozen=True)
class Experiment:
    """Arms to be compared in one place, plain fine-tuning among them."""

    place: Place
    arms: Tuple[str, ...]
    seeds: Sequence[int]

    def runs(self) -> List[Run]:
        """Its trainings, seed by seed."""
        return [Run(self.place, arm, seed) for seed in self.seeds for arm in self.arms]


PLACES: List[Place] = [
    *(Place("digits", "pp_liteseg", r) for r in ("overfit", "long", "noisy40", "clean")),
    *(Place("digits", "ppyoloe", r) for r in ("overfit", "noisy40", "clean", "long")),
    *(Place("digits", "gfl", r) for r in ("overfit", "noisy40", "clean", "long")),
    *(Place("camvid", "pp_liteseg_lite0", r) for r in ("overfit", "clean")),
    *(Place("bccd", f"{model}_lite0", "overfit") for model in ("ppyoloe", "gfl")),
    *(Place("digits", f"{model}_whole", "overfit") for model in ("ppyoloe", "gfl")),
    *(Place("fashion", model, "overfit") for model in ("pp_liteseg", "ppyoloe")),
    *(Place("digits", "pp_liteseg", r) for r in ("noisy20", "imbalanced")),
]
"""Where arms are compared."""

TRIED = (Place("digits", "pp_liteseg", "overfit"), Place("digits", "ppyoloe", "overfit"))
"""The places of that trial, one test each."""

VARIANTS = {"seg": ("one", "one-control", "three", "three-control"), "det": ("one", "one-x3")}
"""What was tried before the defaults were fixed."""

SOFT_IN = ("pp_liteseg", "ppyoloe")
"""Models with which milder resets, and other rates of plain fine-tuning, were tried."""


def variants(place: Place) -> Tuple[str, ...]:
    """Plain fine-tuning and what was tried in a place."""
    more = (DEFAULT, *SOFT, *RATES) if place.data == "digits" and place.model in SOFT_IN else ()
    return ("plain", *VARIANTS[place.toolkit], *more)


def defaults(place: Place) -> Tuple[str, ...]:
    """Plain fine-tuning, the package's defaults, and their control where that is another arm."""
    control = DEFAULT + CONTROL
    return ("plain", DEFAULT, *([control] if control in ARMS[place.toolkit] else []))


EXPERIMENTS: List[Experiment] = [
    *(Experiment(place, defaults(place), [seed]) for seed in TRIAL for place in TRIED),
    *(Experiment(place, defaults(place), CONFIRM) for place in PLACES),
    *(Experiment(place, variants(place), SEARCH) for place in PLACES),
]


def groups(runs: Sequence[Run]) -> Dict[Tuple[Place, int], List[Run]]:
    """Runs by what they are forked from: one place, one seed."""
    found: Dict[Tuple[Place, int], List[Run]] = {}
    for run in runs:
        found.setdefault((run.place, run.seed), []).append(run)
    return found
