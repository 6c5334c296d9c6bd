"""The term of the loss: how far today's old answers are from the teacher's."""

from __future__ import annotations

from typing import Dict, List, Optional, Sequence

import paddle
import paddle.nn.functional as F
from paddle import Tensor

from rifle_ext.methods.lwf import distances
from rifle_ext.methods.lwf.answers import Answer


def distillation(
    answers: Sequence[Answer],
    today: Sequence[Tensor],
    teacher: Sequence[Tensor],
    temperature: float,
    ignored: Optional[Tensor] = None,
) -> Tensor:
    """How far answers are from a teacher's: for each kind the mean over all its places, added up.

    Parameters
    ----------
    answers
        What they are.
    today, teacher
        Results of the output layers, as they come from them.
    temperature
        Of the softmax and sigmoid kinds.
    ignored
        Pixels that do not count, ``(images, height, width)``; a place of a coarser answer does not
        count where the pixel nearest to it does not.
    """
    theirs = [distances.as_places(t, a.axis) for a, t in zip(answers, teacher)]
    sums: Dict[str, List[distances.Summed]] = {}
    for number, answer in enumerate(answers):
        if answer.kind == "none":
            continue
        counts = _counts(number, answers, theirs, teacher[number], ignored)
        ours = distances.as_places(today[number], answer.axis)
        measure = getattr(distances, answer.kind)
        sums.setdefault(answer.kind, []).append(
            measure(ours, theirs[number], counts, answer.group, temperature)
        )
    return sum(_mean(summed) for summed in sums.values())


def _mean(summed: Sequence[distances.Summed]) -> Tensor:
    total = paddle.add_n([each.reshape([1]) for each, _ in summed])
    places = paddle.add_n([count.reshape([1]) for _, count in summed])
    return total / places.clip(min=1.0)


def _counts(
    number: int,
    answers: Sequence[Answer],
    theirs: Sequence[Tensor],
    raw: Tensor,
    ignored: Optional[Tensor],
) -> Tensor:
    """How much each place of an answer counts, ``(images, places)``."""
    answer = answers[number]
    if answer.sure_by is not None:
        by = answers[answer.sure_by]
        sure = distances.sureness(theirs[answer.sure_by], by.kind, by.group)
        return distances.where_sure(sure)
    counts = paddle.ones(theirs[number].shape[:2])
    if ignored is None or len(raw.shape) != 4:
        return counts
    size = [s for axis, s in enumerate(raw.shape) if axis not in (0, answer.axis % 4)]
    heeded = (~ignored).astype("float32").unsqueeze(1)
    return F.interpolate(heeded, size=size, mode="nearest").reshape(counts.shape)
