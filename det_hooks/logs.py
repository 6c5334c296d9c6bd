"""What PaddleDetection keeps of a training: log lines, VisualDL scalars, checkpoints."""

from __future__ import annotations

import bisect
import re
from pathlib import Path
from typing import Dict, Iterable, Optional

from rifle_ext.training.curves import NUMBER, Curves, Scalars

# ppdet/engine/callbacks.py, pycocotools and ppdet/metrics/metrics.py
TRAIN = re.compile(rf"Epoch: \[(\d+)\] \[\s*(\d+)/(\d+)\].*?\bloss: {NUMBER}", re.IGNORECASE)
SECONDS = re.compile(rf"\bbatch_cost: {NUMBER}")
COCO = re.compile(
    r"Average Precision +\(AP\) @\[ IoU=0\.50:0\.95 \| area= +all \| maxDets= *\d+ +\] = "
    rf"{NUMBER}"
)
EMPTY = "Evaluation results empty"  # ppdet/engine/callbacks.py: nothing was detected, so mAP is 0
VOC = re.compile(r"\bmAP\([\d.]+, \w+\) = (\d+(?:\.\d+)?)%")


def from_text(lines: Iterable[str]) -> Optional[Curves]:
    """From what the train tool prints; None if it is no log of PaddleDetection's.

    An evaluation belongs to the end of the epoch, unless the same epoch goes on after it: then to
    the iteration that was logged last. Where it measures several things (boxes and masks, teacher
    and student), the first one counts.
    """
    curves, step, epoch, ends = Curves("det", "mAP"), 0, 0, 0
    measured: Optional[float] = None
    for line in lines:
        trained = TRAIN.search(line)
        if trained:
            now, index, length = (int(trained[i]) for i in (1, 2, 3))
            if measured is not None:
                curves.metrics[step if now == epoch else ends] = measured
            at = now * length + index + 1
            if at <= step:  # resumed, or begun again
                curves.forget_from(at)
            step, epoch, ends, measured = at, now, (now + 1) * length, None
            curves.steps_per_epoch = length
            curves.losses[step] = float(trained[4])
            took = SECONDS.search(line)
            if took:
                curves.seconds[step] = float(took[1])
        elif curves.losses and measured is None:
            measured = _measured(line)
    if measured is not None:
        curves.metrics[ends] = measured
    return curves if curves.losses else None


def evaluation(lines: Iterable[str]) -> Optional[float]:
    """The mAP in what `tools/eval.py` prints; the first one, as of boxes before masks.

    None if there is none.
    """
    return next((found for found in map(_measured, lines) if found is not None), None)


def _measured(line: str) -> Optional[float]:
    coco, voc = COCO.search(line), VOC.search(line)
    if coco:
        return max(0.0, float(coco[1]))  # -1: no object at all
    if EMPTY in line:
        return 0.0
    return float(voc[1]) / 100 if voc else None


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


def checkpoints(folder: Path, steps_per_epoch: Optional[int], total_steps: int) -> Dict[int, Path]:
    """Files of parameters by iteration; with an average of the model, those of the average.

    They are named by their epoch, counted from 0, and the last one `model_final`; with
    `uniform_output_enabled` each has a folder of that name.
    """
    if not steps_per_epoch:
        return {}
    found = [*folder.glob("*.pdparams"), *folder.glob("*/*.pdparams")]
    named = {p.stem: p for p in found if p.parent in (folder, folder / p.stem)}
    steps = {(int(n) + 1) * steps_per_epoch: p for n, p in named.items() if n.isdigit()}
    if "model_final" in named:
        steps[-(-total_steps // steps_per_epoch) * steps_per_epoch] = named["model_final"]
    return steps
