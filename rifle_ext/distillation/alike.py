"""Whether output layers are run on the same in training as in evaluation: tried, not reasoned."""

from __future__ import annotations

from collections import Counter
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

import paddle
from paddle import Tensor

from rifle_ext.errors import RifleError
from rifle_ext.heads.catching import Call

CLOSE = 1e-4
"""How near two networks' results are that are the same, relative to the largest."""


@paddle.no_grad()
def check_alike(kind: str, evaluated: Sequence[Call], trained: Sequence[Call]) -> None:
    """Stop unless a teacher's answers, in evaluation, belong to those of a model in training.

    Parameters
    ----------
    kind
        What the model is, for the message.
    evaluated, trained
        Calls of output layers on one sample in both; in training perhaps of more layers.

    Raises
    ------
    RifleError
        With the layer whose answers do not.
    """
    for call, now in _aligned(evaluated, trained):
        if now is None or not close(now.given, call.given):
            raise RifleError(
                f"{kind}: {call.name} is run on something else in training than in "
                "evaluation (on samples of boxes, on targets, at another size), so the teacher's "
                "answers belong to no answers of the training's model",
                topic="distillation",
            )


def _aligned(
    evaluated: Sequence[Call], trained: Sequence[Call]
) -> Iterator[Tuple[Call, Optional[Call]]]:
    """Each call in evaluation with that in training; None for one of a layer called more often."""
    rest: Dict[str, List[Call]] = {}
    for call in trained:
        rest.setdefault(call.name, []).append(call)
    counts = Counter(call.name for call in evaluated)
    alike = {name: len(rest.get(name, ())) == count for name, count in counts.items()}
    for call in evaluated:
        yield call, rest[call.name].pop(0) if alike[call.name] else None


def close(one: Optional[Tensor], other: Optional[Tensor]) -> bool:
    """Whether two results are the same but for rounding."""
    if one is None or other is None or list(one.shape) != list(other.shape):
        return False
    return float((one - other).abs().max()) <= CLOSE * float(other.abs().max())
