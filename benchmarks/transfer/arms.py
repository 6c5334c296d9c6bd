"""The arms: what each adds to plain fine-tuning, and from which step on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Tuple

SMALL = {"weight_initializer": {"type": "Normal", "std": 0.01}}


@dataclass(frozen=True)
class Arm:
    """Resets, and what the head's learning rate is after each.

    Attributes
    ----------
    places
        When, as fractions of the training. Empty for plain fine-tuning.
    resets
        False for a control: the same learning rates without the resets.
    block
        Other keys of the `rifle:` block.
    scale, iterations
        The output layers' rate is multiplied by this for so many iterations after each.
    trick
        Of `tricks.TRICKS` with its options, from the first step on.
    """

    places: Tuple[float, ...] = ()
    resets: bool = True
    block: Mapping[str, Any] = field(default_factory=dict)
    scale: float = 1.0
    iterations: int = 0
    trick: Optional[Mapping[str, Any]] = None

    def steps(self, total: int) -> List[int]:
        """Optimizer steps done before each reset of a training of so many."""
        return [int(place * total) for place in self.places]

    def begins(self, total: int) -> Optional[int]:
        """The step from which on the arm differs from plain fine-tuning; None if it never does."""
        if self.trick is not None:
            return 0
        return min(self.steps(total), default=None)

    def blocks(self, total: int, seed: int) -> Dict[str, Any]:
        """What it adds to the config of a training of so many steps."""
        if self.trick is not None:
            return {"trick": dict(self.trick)}
        found: Dict[str, Any] = {}
        steps = self.steps(total)
        if steps and self.resets:
            interval = steps[0]
            assert all(s == interval * i for i, s in enumerate(steps, 1)), steps
            number = {"re_init_iter": interval, "max_re_num": len(steps), "keep_last": 0}
            found["rifle"] = {**number, **self.block, "seed": seed}
        if steps and self.scale != 1:
            faster = {"scale": self.scale, "iterations": self.iterations, "after": steps}
            found["trick"] = {"type": "FasterHead", **faster}
        return found


ONE, THREE = (0.5,), (0.25, 0.5, 0.75)

_SEG = {"scale": 10.0, "iterations": 100}
_SLOW = {"scale": 3.0, "iterations": 50}

SEG: Dict[str, Arm] = {
    "plain": Arm(),
    "one": Arm(ONE, block=SMALL, **_SEG),
    "one-control": Arm(ONE, resets=False, **_SEG),
    "three": Arm(THREE, block=SMALL, **_SEG),
    "three-control": Arm(THREE, resets=False, **_SEG),
}
"""For AdamW at a rate of 0.001: first values of 0.01, ten times the rate for 100 iterations."""

DET: Dict[str, Arm] = {
    "plain": Arm(),
    "one": Arm(ONE),
    "one-x3": Arm(ONE, **_SLOW),
    "one-x3-control": Arm(ONE, resets=False, **_SLOW),
}
"""For detectors: their constructors' first values; the rate as it is, or x3 for 50 iterations."""

ARMS = {"seg": SEG, "det": DET}
