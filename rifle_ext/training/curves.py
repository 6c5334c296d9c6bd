"""Training loss and evaluation metric over iterations, from what a toolkit keeps anyway."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, List, Optional, Tuple

GROUP = "rifle_ext.logs"
"""Entry points of modules that know what a toolkit keeps of a training. Each has

- ``from_text(lines) -> Optional[Curves]``: from what the train tool prints;
- ``evaluation(lines) -> Optional[float]``: the metric in what its evaluation tool prints;
- ``from_scalars(scalars, start) -> Optional[Curves]``: from a VisualDL record, `start` being the
  iterations done before it began;
- ``checkpoints(folder, steps_per_epoch, total_steps) -> Dict[int, Path]``: files of parameters, by
  iteration.

None means: that is nothing of this toolkit's.
"""

NUMBER = r"([-+]?(?:\d+(?:\.\d*)?(?:e[-+]?\d+)?(?!\.?\d)|nan|inf))"
"""A regular expression of a number as Python prints it, in lower case; no part of 1.2.3 is one."""

Scalars = Dict[str, List[Tuple[int, float, float]]]
"""The values of each tag of a VisualDL record: step, time in milliseconds, value."""


@dataclass
class Curves:
    """What a training achieved, by the number of iterations done.

    Attributes
    ----------
    toolkit
        Name of the entry point whose module read it.
    metric
        What the evaluations measured, e.g. mIoU.
    losses
        The training loss as the toolkit logs it: PaddleSeg the mean over the iterations since the
        last one, PaddleDetection the median of the last `log_iter`.
    metrics
        The metric of each evaluation, a fraction.
    steps_per_epoch
        If the log says it.
    seconds
        How long an iteration took, reading of data included, as the toolkit logs it: the mean over
        the iterations since the last one. Empty if it is not logged.
    """

    toolkit: str
    metric: str
    losses: Dict[int, float] = field(default_factory=dict)
    metrics: Dict[int, float] = field(default_factory=dict)
    steps_per_epoch: Optional[int] = None
    seconds: Dict[int, float] = field(default_factory=dict)

    def forget_from(self, step: int) -> None:
        """Drop what is known of an iteration and all after it: it is being trained again."""
        self.losses = {at: loss for at, loss in self.losses.items() if at < step}
        self.metrics = {at: metric for at, metric in self.metrics.items() if at < step}
        self.seconds = {at: time for at, time in self.seconds.items() if at < step}

    def extend(self, later: Curves) -> None:
        """Add what a later part of the training has, from where it begins."""
        self.forget_from(min(later.losses))
        self.losses.update(later.losses)
        self.metrics.update(later.metrics)
        self.seconds.update(later.seconds)
        self.steps_per_epoch = later.steps_per_epoch or self.steps_per_epoch
