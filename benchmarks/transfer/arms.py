"""The arms: what each adds to plain fine-tuning, and from which step on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Dict, List, Mapping, Optional, Tuple

SMALL = {"weight_initializer": {"type": "Normal", "std": 0.01}}
AS_BUILT = {"scale": 1.0}
"""Fresh weights: small ones, or as the constructor draws them."""


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
        Keys of the `rifle:` block beside those that say when and at which rates.
    scale, iterations
        The output layers' rate is multiplied by this for so many iterations after each.
    defaults
        The package's defaults for all that `block` and `places` do not say. Without places the
        reset is not before a quarter of the training.
    trick
        Of `tricks.TRICKS` with its options, from the first step on.
    """

    places: Tuple[float, ...] = ()
    resets: bool = True
    block: Mapping[str, Any] = field(default_factory=dict)
    scale: float = 1.0
    iterations: int = 0
    defaults: bool = False
    trick: Optional[Mapping[str, Any]] = None

    def steps(self, total: int) -> List[int]:
        """Optimizer steps done before each reset of a training of so many."""
        return [int(place * total) for place in self.places]

    @property
    def must_reset(self) -> bool:
        """Whether a training without a reset is not what was asked for."""
        return self.resets and (self.defaults or bool(self.places))

    def begins(self, total: int) -> Optional[int]:
        """The step from which on the arm differs from plain fine-tuning; None if it never does."""
        if self.trick is not None:
            return 0
        if self.defaults and not self.places:
            return total // 4
        return min(self.steps(total), default=None)

    def blocks(self, total: int, seed: int) -> Dict[str, Any]:
        """What it adds to the config of a training of so many steps."""
        if self.trick is not None:
            return {"trick": dict(self.trick)}
        if self.defaults:
            block = {**self._when(total), **self.block, "seed": seed}
            only = {"type": "RatesOnly", "block": block}
            return {"rifle": block} if self.resets else {"trick": only}
        found: Dict[str, Any] = {}
        steps = self.steps(total)
        if steps and self.resets:
            rate = {"scale": self.scale, "iterations": max(1, self.iterations)}
            found["rifle"] = {**self._when(total), "head_lr": rate, **self.block, "seed": seed}
        elif steps:
            faster = {"scale": self.scale, "iterations": self.iterations, "after": steps}
            found["trick"] = {"type": "FasterHead", **faster}
        return found

    def _when(self, total: int) -> Dict[str, int]:
        steps = self.steps(total)
        assert all(s == steps[0] * i for i, s in enumerate(steps, 1)), steps
        if not steps:
            return {}
        return {"re_init_iter": steps[0], "max_re_num": len(steps), "keep_last": 0}


ONE, THREE = (0.5,), (0.25, 0.5, 0.75)

CONTROL = "-control"
"""What the name of an arm's control ends with."""


def _with_control(name: str, arm: Arm) -> Dict[str, Arm]:
    """An arm, and the same learning rates without its resets."""
    return {name: arm, name + CONTROL: replace(arm, resets=False)}


SEG: Dict[str, Arm] = {
    "plain": Arm(),
    **_with_control("rifle", Arm(defaults=True)),
    **_with_control("one", Arm(ONE, block=SMALL, scale=10.0, iterations=100)),
    **_with_control("three", Arm(THREE, block=SMALL, scale=10.0, iterations=100)),
}
"""For AdamW at a rate of 0.001: first values of 0.01, ten times the rate for 100 iterations."""

DET: Dict[str, Arm] = {
    "plain": Arm(),
    "rifle": Arm(defaults=True),
    "one": Arm(ONE, block=AS_BUILT),
    **_with_control("one-x3", Arm(ONE, block=AS_BUILT, scale=3.0, iterations=50)),
}
"""For detectors: their constructors' first values; the rate as it is, or x3 for 50 iterations."""

STILL = {"keep": 1.0, "optimizer_state": "keep", "head_lr": "none"}
"""Of a block whose resets change nothing."""

SOFT: Dict[str, Arm] = {
    "early": Arm((0.1,), defaults=True),
    "third": Arm((0.3,), defaults=True),
    "keep": Arm(defaults=True, block={"keep": 0.5}),
    "distill": Arm(defaults=True, block={"distill": True}),
    "teacher": Arm(defaults=True, block={"distill": True, **STILL}),
}
"""Resets that take less away: a younger head, half of a head, a head with a teacher.

And the teacher without a reset."""

RATES: Dict[str, Arm] = {
    "half-rate": Arm(trick={"type": "OtherRate", "factor": 0.5}),
    "double-rate": Arm(trick={"type": "OtherRate", "factor": 2.0}),
}
"""Plain fine-tuning at other learning rates: is the place's the right one?"""

TRICKS: Dict[str, Arm] = {
    "cyclic-rate": Arm(trick={"type": "CyclicRate", "periods": 4}),
    "dropout": Arm(trick={"type": "HeadDropout", "rate": 0.2}),
    "dropconnect": Arm(trick={"type": "DropConnect", "rate": 0.2}),
    "stochastic-depth": Arm(trick={"type": "StochasticDepth", "rate": 0.2}),
    "paddle-rifle": Arm(trick={"type": "RecreatedHead", "resets": 1}),
}
"""What the paper compares with, and the published module; options as usual, not searched."""

ARMS = {"seg": {**SEG, **SOFT, **RATES, **TRICKS}, "det": {**DET, **SOFT, **RATES, **TRICKS}}

DEFAULT = "rifle"
"""The arm that is the package's defaults."""

FORERUNNER = "one"
"""The arm of the search that became the defaults."""


def control_of(toolkit: str, arm: str) -> Optional[str]:
    """The arm with the same learning rates and no resets; None where that is plain fine-tuning."""
    name = arm + CONTROL
    return name if name in ARMS[toolkit] else None
