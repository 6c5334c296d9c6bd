"""What PaddleSeg keeps of a training: log lines, VisualDL scalars, checkpoints."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Dict, Iterable, Optional

from rifle_ext.training.curves import NUMBER, Curves, Scalars

# paddleseg/core/train.py and paddleseg/core/val.py
TRAIN = re.compile(rf"\[TRAIN\] epoch: \d+, iter: (\d+)/\d+, loss: {NUMBER}", re.IGNORECASE)
SECONDS = re.compile(rf"\bbatch_cost: {NUMBER}")
EVALUATION = re.compile(rf"\[EVAL\] #Images: \d+ mIoU: {NUMBER}", re.IGNORECASE)

BEST = re.compile(r"\[EVAL\] The (EMA )?model with the best validation mIoU .*at iter (\d+)")


def from_text(lines: Iterable[str]) -> Optional[Curves]:
    """From what the train tool prints; None if it is no log of PaddleSeg's.

    An evaluation belongs to the iteration that PaddleSeg names if it was the best one, otherwise to
    the one that was logged last before it. Evaluations of the averaged model are left out.
    """
    curves, step, measured, best = Curves("seg", "mIoU"), 0, None, 0
    for line in lines:
        trained, evaluated, saved = (p.search(line) for p in (TRAIN, EVALUATION, BEST))
        if trained:
            if int(trained[1]) <= step:  # resumed, or begun again
                curves.forget_from(int(trained[1]))
            step, measured = int(trained[1]), None
            curves.losses[step] = float(trained[2])
            took = SECONDS.search(line)
            if took:
                curves.seconds[step] = float(took[1])
        elif evaluated and curves.losses:
            measured = float(evaluated[1])
        elif saved and measured is not None:
            if not saved[1]:  # not that of the averaged model
                at = int(saved[2])
                curves.metrics[at if at > best else step] = measured
                best = max(at, best)
            measured = None
    if measured is not None and step not in curves.metrics:
        curves.metrics[step] = measured  # the end of the log came between
    return curves if curves.losses else None


def evaluation(lines: Iterable[str]) -> Optional[float]:
    """The mIoU in what `tools/val.py` prints; the last one. None if there is none."""
    found = [evaluated[1] for evaluated in map(EVALUATION.search, lines) if evaluated]
    return float(found[-1]) if found else None


def from_scalars(scalars: Scalars, start: int) -> Optional[Curves]:
    """From a VisualDL record; None if it is none of PaddleSeg's."""
    if "Train/loss" not in scalars:
        return None
    losses = {step: value for step, _, value in scalars["Train/loss"]}
    metrics = {step: value for step, _, value in scalars.get("Evaluate/mIoU", ())}
    seconds = {step: value for step, _, value in scalars.get("Train/batch_cost", ())}
    return Curves("seg", "mIoU", losses, metrics, seconds=seconds)


def checkpoints(folder: Path, steps_per_epoch: Optional[int], total_steps: int) -> Dict[int, Path]:
    """Files of parameters by iteration."""
    found = folder.glob("iter_*/model.pdparams")
    numbers = {path.parent.name[len("iter_") :]: path for path in found}
    return {int(number): path for number, path in numbers.items() if number.isdigit()}
