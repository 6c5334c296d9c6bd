"""When each layer freezes and what its rate is until then: pure functions.

From the authors' code (github.com/ajbrock/FreezeOut, densenet.py, `DenseNet.__init__` and
`update_lr`) and section 2 of the paper, whose printed formula of the rate lacks the factor 1/2.
Steps are optimizer steps; fractions are of the part of the training in which the clock runs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import List, Tuple

POWERS = {"linear": 1, "squared": 2, "cubic": 3}
"""What the fractions are raised to, by `how_scale`."""


def fractions(count: int, t_0: float, how_scale: str) -> List[float]:
    """After which fraction of the training each layer freezes: the paper's t_i.

    Parameters
    ----------
    count
        How many layers freeze: L.
    t_0
        That of the first layer, before `how_scale` is applied.
    how_scale
        ``linear``, ``squared`` or ``cubic``.

    Returns
    -------
    list of float
        For the layers i = 0 ... L-1 in the order of execution,
        ``(t_0 + (1 - t_0) * i / L) ** power``; what comes behind them, i = L, learns to the end.
    """
    return [(t_0 + (1 - t_0) * i / count) ** POWERS[how_scale] for i in range(count)]


@dataclass(frozen=True)
class Timetable:
    """The freezing of all layers of one training.

    Attributes
    ----------
    start, total_steps
        The clock runs from step `start` to the end of the training; before, nothing happens.
    times
        The fraction of that after which each layer freezes, in the order of execution.
    scale_lr
        Whether the rate of a layer begins at 1 / its fraction.
    """

    start: int
    total_steps: int
    times: Tuple[float, ...]
    scale_lr: bool

    def _learning(self, index: int) -> float:
        """For how many steps of the clock a layer learns: the paper's t_i * J."""
        return self.times[index] * max(0, self.total_steps - self.start)

    def freezes_at(self, index: int) -> int:
        """Optimizer steps done when a layer freezes: those at which its rate would not be above 0.

        `total_steps` or more if it never does.
        """
        return self.start + math.ceil(self._learning(index) - 1e-9)  # 0.1 * 30 is more than 3

    def frozen_by(self, step: int) -> List[int]:
        """The layers that are frozen in the step that follows `step` done ones."""
        return [i for i in range(len(self.times)) if self.freezes_at(i) <= step]

    def scale(self, index: int) -> float:
        """What the rate of a layer is multiplied by from the clock's start on; 0 if never used."""
        time = self.times[index]
        if not self.scale_lr:
            return 1.0
        return 1.0 / time if time > 0 else 0.0

    def factor(self, index: int, step: int) -> float:
        """The rate of a layer in the step that follows `step` done ones, over that it is made of.

        ``0.5 * scale * (1 + cos(pi * j / (t * J)))``, with j and J counted from `start`; 1 before
        that, and 0 once the layer is frozen.
        """
        if step < self.start:
            return 1.0
        if self.freezes_at(index) <= step:
            return 0.0
        done = (step - self.start) / self._learning(index)
        return 0.5 * self.scale(index) * (1.0 + math.cos(math.pi * done))
