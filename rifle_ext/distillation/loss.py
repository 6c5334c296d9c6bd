"""The term of the loss: how far today's old answers are from the teacher's."""

from __future__ import annotations

from typing import Dict, List, Optional, Sequence

import paddle
import paddle.nn.functional as F
from paddle import Tensor

from rifle_ext.distillation import distances
from rifle_ext.distillation.answers import Answer
from rifle_ext.errors import RifleError


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

    Raises
    ------
    RifleError
        If there are not as many answers today as the teacher gives.
    """
    for answer, ours, wanted in zip(answers, today, teacher):
        if answer.kind != "none" and list(ours.shape) != list(wanted.shape):
            raise RifleError(
                f"{answer.name} gave {list(ours.shape)} answers and the teacher "
                f"{list(wanted.shape)}",
                topic="distillation",
            )
    with paddle.amp.auto_cast(enable=False):
        return _distillation(answers, today, teacher, temperature, ignored)


def _distillation(
    answers: Sequence[Answer],
    today: Sequence[Tensor],
    teacher: Sequence[Tensor],
    temperature: float,
    ignored: Optional[Tensor],
) -> Tensor:
    theirs = [distances.as_places(t, a.axis) for a, t in zip(answers, teacher)]
    sure = _sure(answers, theirs)
    sums: Dict[str, List[distances.Summed]] = {}
    for number, answer in enumerate(answers):
        if answer.kind == "none":
            continue
        if answer.sure_by is not None:
            counts = sure[answer.sure_by]
        else:
            counts = _heeded(theirs[number], teacher[number], answer.axis, ignored)
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


def _sure(answers: Sequence[Answer], theirs: Sequence[Tensor]) -> Dict[int, Tensor]:
    """Where the teacher is sure, for each answer that others go by, ``(images, places)``."""
    by = sorted({answer.sure_by for answer in answers if answer.sure_by is not None})
    if not by:
        return {}
    levels = [
        distances.sureness(theirs[number], answers[number].kind, answers[number].group)
        for number in by
    ]
    return dict(zip(by, distances.where_sure(levels)))


def _heeded(places: Tensor, made: Tensor, axis: int, ignored: Optional[Tensor]) -> Tensor:
    """1 for each place of a result that counts, ``(images, places)``; all but ignored pixels."""
    apart = (0, axis % made.ndim)
    size = [length for number, length in enumerate(made.shape) if number not in apart]
    if ignored is None or len(size) != 2:
        return paddle.ones(places.shape[:2])
    heeded = (~ignored).astype("float32").unsqueeze(1)
    return F.interpolate(heeded, size=size, mode="nearest").reshape(places.shape[:2])
