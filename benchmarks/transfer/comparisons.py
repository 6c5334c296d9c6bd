"""The results as comparisons: arms against plain fine-tuning and against their controls."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Dict, Iterable, List, Optional, Sequence, Tuple

from benchmarks.transfer.arms import ARMS, CONTROL, control_of
from benchmarks.transfer.places import Place
from rifle_ext.commands.report.recovery import Recovery, recoveries
from rifle_ext.commands.trial.statistics import Comparison, compare, holm

Line = Dict[str, Any]

BURST = 50
"""Iterations after a reset over which the loss is compared with plain fine-tuning's."""

END = 100
"""Iterations at the end of a training whose losses are compared."""


@dataclass(frozen=True)
class Row:
    """One arm in one place.

    Attributes
    ----------
    arm
        Its name.
    plain, control
        Against plain fine-tuning; against its control, None where that is plain fine-tuning or was
        not run.
    p
        Of the first, corrected for the arms of the place by Holm's method.
    """

    arm: str
    plain: Comparison
    control: Optional[Comparison]
    p: float


class Results:
    """The results, by what was run."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self.sources: Dict[str, float] = {}
        self._runs: Dict[Tuple[Place, str], Dict[int, Line]] = defaultdict(dict)
        for line in lines:
            if "arm" in line:
                place = Place(line["data"], line["model"], line["regime"])
                self._runs[place, line["arm"]][line["seed"]] = line
            else:
                self.sources[line["key"]] = line["metric"]

    def arms(self, place: Place) -> List[str]:
        """The arms that were run there, in the order of `ARMS`."""
        return [arm for arm in ARMS[place.toolkit] if self._runs.get((place, arm))]

    def places(self, seeds: Sequence[int]) -> List[Place]:
        """Where something was run with these seeds, in the order of the file."""
        found = {p: None for (p, _), runs in self._runs.items() if set(runs) & set(seeds)}
        return list(found)

    def runs(self, place: Place, arm: str, seeds: Sequence[int]) -> List[Line]:
        """The runs of an arm, in the order of their seeds."""
        found = self._runs.get((place, arm), {})
        return [found[seed] for seed in sorted(found) if seed in seeds]

    def compare(
        self, place: Place, arm: str, other: str, seeds: Sequence[int]
    ) -> Optional[Comparison]:
        """An arm against another one over the seeds that both have; None if there are none."""
        pairs = self.pairs(place, arm, other, seeds)
        if not pairs:
            return None
        return compare([a["metric"] for a, _ in pairs], [b["metric"] for _, b in pairs])

    def pairs(
        self, place: Place, arm: str, other: str, seeds: Sequence[int]
    ) -> List[Tuple[Line, Line]]:
        """The runs of two arms by seed."""
        theirs = {line["seed"]: line for line in self.runs(place, other, seeds)}
        ours = self.runs(place, arm, seeds)
        return [(line, theirs[line["seed"]]) for line in ours if line["seed"] in theirs]

    def rows(self, place: Place, seeds: Sequence[int]) -> List[Row]:
        """Every arm of a place but plain fine-tuning.

        p is corrected for the number of arms that are no controls.
        """
        found = {}
        for arm in self.arms(place):
            comparison = self.compare(place, arm, "plain", seeds)
            if arm != "plain" and comparison is not None:
                found[arm] = comparison
        tested = {a: c.p for a, c in found.items() if c.p == c.p and not a.endswith(CONTROL)}
        corrected = dict(zip(tested, holm(list(tested.values()))))
        return [
            Row(arm, c, self._against_control(place, arm, seeds), corrected.get(arm, float("nan")))
            for arm, c in found.items()
        ]

    def _against_control(
        self, place: Place, arm: str, seeds: Sequence[int]
    ) -> Optional[Comparison]:
        control = control_of(place.toolkit, arm)
        return None if control is None else self.compare(place, arm, control, seeds)

    def recoveries(self, place: Place, arm: str, seeds: Sequence[int]) -> List[Recovery]:
        """What each reset of each run cost."""
        return [
            recovery
            for line in self.runs(place, arm, seeds)
            for recovery in recoveries(line["resets"], losses(line), {})
        ]

    def burst(self, place: Place, arm: str, seeds: Sequence[int]) -> List[float]:
        """For each run, the loss in the first iterations after its first reset minus plain's."""
        found = []
        for ours, plain in self.pairs(place, arm, "plain", seeds):
            if ours["resets"]:
                found.append(fmean(excess(ours, plain, BURST).values()))
        return found

    def last_loss(self, place: Place, arm: str, seeds: Sequence[int]) -> float:
        """The loss at the end of a training over plain fine-tuning's, the mean over seeds."""
        pairs = self.pairs(place, arm, "plain", seeds)
        return fmean(_end(ours) / _end(plain) for ours, plain in pairs)

    def movement(self, place: Place, arm: str, seeds: Sequence[int]) -> Dict[str, float]:
        """How far each stage of the backbone moved, a fraction, the mean over seeds."""
        runs = [line["moved"] for line in self.runs(place, arm, seeds)]
        return {stage: fmean(run[stage] for run in runs) for stage in runs[0]} if runs else {}

    def further(self, place: Place, arm: str, seeds: Sequence[int]) -> Dict[str, float]:
        """How far each stage moved in multiples of plain fine-tuning, the mean over seeds.

        Without the stages that the model does not use, which never move.
        """
        pairs = self.pairs(place, arm, "plain", seeds)
        used = (
            [stage for stage, value in pairs[0][1]["moved"].items() if value > 0] if pairs else []
        )
        return {s: fmean(a["moved"][s] / b["moved"][s] for a, b in pairs) for s in used}


def losses(line: Line) -> Dict[int, float]:
    """The logged losses of a run by iteration."""
    return dict(zip(line["at"], line["losses"]))


def _end(line: Line) -> float:
    """The mean loss of the last iterations."""
    return fmean(loss for step, loss in losses(line).items() if step > line["steps"] - END)


def excess(ours: Line, plain: Line, iterations: int) -> Dict[int, float]:
    """The loss of a run minus plain fine-tuning's, by iterations since the first reset.

    Both have seen the same batches.
    """
    first, mine, theirs = ours["resets"][0], losses(ours), losses(plain)
    steps = [step for step in mine if first < step <= first + iterations and step in theirs]
    return {step - first: mine[step] - theirs[step] for step in steps}
