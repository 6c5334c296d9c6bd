"""Which comparisons are run, over which seeds, in which order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Sequence, Tuple

from benchmarks.transfer.places import Place, Run

SEARCH, CONFIRM = range(5), range(5, 10)
"""Seeds that variants and defaults were chosen on; seeds that the frozen ones are measured on."""


@dataclass(frozen=True)
class Experiment:
    """Arms to be compared in one place, plain fine-tuning among them."""

    place: Place
    arms: Tuple[str, ...]
    seeds: Sequence[int]

    def runs(self) -> List[Run]:
        """Its trainings, seed by seed."""
        return [Run(self.place, arm, seed) for seed in self.seeds for arm in self.arms]


_ALL = ("plain", "one", "one-control", "three", "three-control")
_SEG = ("plain", "one", "one-control", "three")
_ONE = ("plain", "one", "one-control")
_DET = ("plain", "one", "one-x3", "one-x3-control")

EXPERIMENTS: List[Experiment] = [
    Experiment(Place("digits", "pp_liteseg", "overfit"), _ALL, SEARCH),
    Experiment(Place("digits", "pp_liteseg", "long"), _ALL, SEARCH),
    Experiment(Place("digits", "ppyoloe", "long"), _DET, SEARCH),
    Experiment(Place("digits", "gfl", "long"), _DET, SEARCH),
    Experiment(Place("digits", "pp_liteseg", "noisy40"), _SEG, SEARCH),
    Experiment(Place("digits", "gfl", "overfit"), _DET, SEARCH),
    Experiment(Place("digits", "ppyoloe", "overfit"), _DET, SEARCH),
    Experiment(Place("digits", "pp_liteseg", "clean"), _SEG, SEARCH),
    Experiment(Place("digits", "ppyoloe", "noisy40"), _DET, SEARCH),
    Experiment(Place("digits", "gfl", "noisy40"), _DET, SEARCH),
    Experiment(Place("digits", "ppyoloe", "clean"), _DET, SEARCH),
    Experiment(Place("digits", "gfl", "clean"), _DET, SEARCH),
    Experiment(Place("camvid", "pp_liteseg_lite0", "overfit"), _ONE, SEARCH),
    Experiment(Place("camvid", "pp_liteseg_lite0", "clean"), _ONE, SEARCH),
    Experiment(Place("digits", "ppyoloe_whole", "overfit"), _DET, SEARCH),
    Experiment(Place("digits", "gfl_whole", "overfit"), _DET, SEARCH),
    Experiment(Place("fashion", "pp_liteseg", "overfit"), _ONE, SEARCH),
    Experiment(Place("bccd", "ppyoloe_lite0", "overfit"), _DET, SEARCH),
    Experiment(Place("bccd", "gfl_lite0", "overfit"), _DET, SEARCH),
]
"""In the order they are run in."""


def groups(runs: Sequence[Run]) -> Dict[Tuple[Place, int], List[Run]]:
    """Runs by what they are forked from: one place, one seed."""
    found: Dict[Tuple[Place, int], List[Run]] = {}
    for run in runs:
        found.setdefault((run.place, run.seed), []).append(run)
    return found
