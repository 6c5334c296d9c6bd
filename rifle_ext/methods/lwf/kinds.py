"""Kinds of answers that a block names in place of those that are inferred."""

from __future__ import annotations

import fnmatch
from dataclasses import replace
from typing import List, Mapping, Sequence

from rifle_ext.distillation.answers import SIDES, Answer
from rifle_ext.errors import RifleError, did_you_mean


def overridden(
    answers: Sequence[Answer], kinds: Mapping[str, str], channels: Sequence[int]
) -> List[Answer]:
    """The answers with the kinds that a block names.

    Parameters
    ----------
    answers
        As inferred.
    kinds
        By name or glob; the last one that fits counts.
    channels
        Of each answer.

    Raises
    ------
    RifleError
        If a name fits no answer.
    """
    names = [answer.name for answer in answers]
    for pattern in kinds:
        if not fnmatch.filter(names, pattern):
            raise RifleError(
                f'lwf.kinds: "{pattern}" is no output layer that is compared'
                f"{did_you_mean(pattern, names)}; they are {', '.join(dict.fromkeys(names))}",
                topic="block",
            )
    found = []
    for answer, size in zip(answers, channels):
        fitting = [kind for pattern, kind in kinds.items() if fnmatch.fnmatch(answer.name, pattern)]
        kind = fitting[-1] if fitting else answer.kind
        found.append(_with_kind(answer, kind, size))
    return found


def _with_kind(answer: Answer, kind: str, channels: int) -> Answer:
    if kind == answer.kind:
        return answer
    group = {"softmax": channels, "distribution": channels // SIDES}.get(kind, 1)
    if kind == "distribution" and channels % SIDES:
        raise RifleError(
            f"lwf.kinds: {answer.name}: distribution is for the {SIDES} sides of a box, and the "
            f"layer has {channels} channels",
            topic="block",
        )
    return replace(answer, kind=kind, group=group)
