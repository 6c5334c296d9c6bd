"""What PaddleDetection keeps of a training: log lines, VisualDL scalars, checkpoints."""

from __future__ import annotations

import bisect
import re
from pathlib import Path
from typing import Dict, Iterable, Optional

from rifle_ext.report.curves import NUMBER, Curves, Scalars

# ppdet/engine/callbacks.py, pycocotools and ppdet/metrics/metrics.py
TRAIN = re.compile(rf"Epoch: \[(\d+)\] \[\s*(\d+)/(\d+)\].*?\bloss: {NUMBER}", re.IGNORECASE)
COCO = re.compile(
    r"Average Precision +\(AP\) @\[ IoU=0\.50:0\.95 \| area= +all \| maxDets= *\d+ +\] = "
    rf"{NUMBER}"
)
VOC = re.compile(r"\bmAP\([\d.]+, \w+\) = ([\d.]+)%")


def from_text(lines: Iterable[str]) -> Optional[Curves]:
    """From what the train tool prints; None if it is no log of PaddleDetection's.

    An evaluation belongs to the end of the epoch that was logged last before it; where it measures
    several things (boxes, masks), the first one counts.
    """
    curves, epoch_end = Curves("det", "mAP"), None
    for line in lines:
        trained, coco, voc = TRAIN.search(line), COCO.search(line), VOC.search(line)
        if trained:
            epoch, index, length = (int(trained[i]) for i in (1, 2, 3))
            curves.steps_per_epoch = length
            curves.losses[epoch * length + index + 1] = float(trained[4])
            epoch_end = (epoch + 1) * length
            curves.metrics.pop(epoch_end, None)  # of before a resume
        elif coco and epoch_end is not None:
            curves.metrics.setdefault(epoch_end, max(0.0, float(coco[1])))  # -1: no object at all
        elif voc and epoch_end is not None:
            curves.metrics.setdefault(epoch_end, float(voc[1]) / 100)
    return curves if curves.losses else None


def from_scalars(scalars: Scalars, start: int) -> Optional[Curves]:
    """From a VisualDL record; None if it is none of PaddleDetection's.

    Its steps count from 0 in each process, and those of the metrics count evaluations: so the
    times tell after which iteration an evaluation was.
    """
    if "loss" not in scalars:
        return None
    losses = {start + step + 1: value for step, _, value in scalars["loss"]}
    times, steps = [time for _, time, _ in scalars["loss"]], list(losses)
    metrics = {}
    for _, time, value in scalars.get("bbox-mAP", ()):
        before = bisect.bisect_right(times, time)
        if before:
            metrics[steps[before - 1]] = value
    return Curves("det", "mAP", losses, metrics)


def checkpoints(folder: Path, steps_per_epoch: Optional[int]) -> Dict[int, Path]:
    """Files of parameters by iteration; with an average of the model, those of the average.

    They are named by their epoch, counted from 0; with `uniform_output_enabled` each has a folder
    of that name.
    """
    found = [*folder.glob("*.pdparams"), *folder.glob("*/*.pdparams")]
    found = [p for p in found if p.stem.isdigit() and p.parent in (folder, folder / p.stem)]
    return {(int(p.stem) + 1) * steps_per_epoch: p for p in found} if steps_per_epoch else {}
