"""What PaddleSeg keeps of a training: log lines, VisualDL scalars, checkpoints."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Dict, Iterable, Optional

from rifle_ext.report.curves import NUMBER, Curves, Scalars

# paddleseg/core/train.py and paddleseg/core/val.py
TRAIN = re.compile(rf"\[TRAIN\] epoch: \d+, iter: (\d+)/\d+, loss: {NUMBER}", re.IGNORECASE)
EVALUATION = re.compile(rf"\[EVAL\] #Images: \d+ mIoU: {NUMBER}", re.IGNORECASE)


def from_text(lines: Iterable[str]) -> Optional[Curves]:
    """From what the train tool prints; None if it is no log of PaddleSeg's.

    An evaluation belongs to the iteration that was logged last before it; a second one there is
    that of the averaged model, and left out.
    """
    curves, step = Curves("seg", "mIoU"), None
    for line in lines:
        trained, evaluated = TRAIN.search(line), EVALUATION.search(line)
        if trained:
            step = int(trained[1])
            curves.losses[step] = float(trained[2])
            curves.metrics.pop(step, None)  # of before a resume
        elif evaluated and step is not None:
            curves.metrics.setdefault(step, float(evaluated[1]))
    return curves if curves.losses else None


def from_scalars(scalars: Scalars, start: int) -> Optional[Curves]:
    """From a VisualDL record; None if it is none of PaddleSeg's."""
    if "Train/loss" not in scalars:
        return None
    losses = {step: value for step, _, value in scalars["Train/loss"]}
    metrics = {step: value for step, _, value in scalars.get("Evaluate/mIoU", ())}
    return Curves("seg", "mIoU", losses, metrics)


def checkpoints(folder: Path, steps_per_epoch: Optional[int]) -> Dict[int, Path]:
    """Files of parameters by iteration."""
    found = folder.glob("iter_*/model.pdparams")
    numbers = {path.parent.name[len("iter_") :]: path for path in found}
    return {int(number): path for number, path in numbers.items() if number.isdigit()}
