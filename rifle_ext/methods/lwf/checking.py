"""Whether the old output layers may stand on the trunk of the new model: tried, not reasoned."""

from __future__ import annotations

from collections import Counter
from typing import Callable, Dict, Iterator, List, Optional, Sequence, Tuple

import paddle
from paddle import Tensor, nn

from rifle_ext.errors import RifleError
from rifle_ext.heads.catching import Call

CLOSE = 1e-4
"""How near two networks' results are that are the same, relative to the largest."""


@paddle.no_grad()
def check_served(
    network: nn.Layer,
    of_classes: Callable[[str], bool],
    ours: Sequence[Call],
    theirs: Sequence[Call],
    trained: Sequence[Call],
) -> None:
    """Stop unless the old layers answer, under another head, as in the old network.

    Parameters
    ----------
    network
        The old network.
    of_classes
        Whether a layer, by its name, depends on the number of classes.
    ours, theirs
        Calls of output layers in evaluation, in the old network and in one with the same trunk and
        another head, on one sample.
    trained
        Those of the latter in training; of more layers, perhaps.

    Raises
    ------
    RifleError
        With the layer that does not, and why.
    """
    kind = type(network).__name__
    layers = dict(network.named_sublayers())
    if not ours or [call.name for call in ours] != [call.name for call in theirs]:
        raise RifleError(f"lwf: {kind}: no output layer of it could be seen at work")
    for our, their in zip(ours, theirs):
        if our.made is None or their.made is None or their.given is None:
            raise RifleError(f"lwf: {kind}: {our.name} is no layer of one input and one result")
        answer: Optional[Tensor] = their.made
        if of_classes(our.name):
            answer = _applied(layers[our.name], their.given)
        if not _close(answer, our.made):
            raise RifleError(
                f"lwf: {kind}: what {our.name} answers depends on other layers that depend on the "
                "number of classes, so the old answers cannot be had from the trunk of the new "
                "model"
            )
    for their, now in _aligned(theirs, trained):
        if now is None or not _close(now.given, their.given):
            raise RifleError(
                f"lwf: {kind}: {their.name} is run on something else in training than in "
                "evaluation (on samples of boxes, on targets, at another size), so the teacher's "
                "answers belong to no answers of the training's model"
            )


def _applied(layer: nn.Layer, given: Tensor) -> Optional[Tensor]:
    try:
        return layer(given)
    except Exception:  # whatever a layer says of another shape
        return None


def _aligned(
    theirs: Sequence[Call], trained: Sequence[Call]
) -> Iterator[Tuple[Call, Optional[Call]]]:
    """Each call in evaluation with that in training; None for one of a layer called more often."""
    rest: Dict[str, List[Call]] = {}
    for call in trained:
        rest.setdefault(call.name, []).append(call)
    counts = Counter(call.name for call in theirs)
    alike = {name: len(rest.get(name, ())) == count for name, count in counts.items()}
    for call in theirs:
        yield call, rest[call.name].pop(0) if alike[call.name] else None


def _close(one: Optional[Tensor], other: Optional[Tensor]) -> bool:
    if one is None or other is None or list(one.shape) != list(other.shape):
        return False
    return float((one - other).abs().max()) <= CLOSE * float(other.abs().max())
