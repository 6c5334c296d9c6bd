"""Whether the old output layers may stand on the trunk of the new model: tried, not reasoned."""

from __future__ import annotations

from typing import Callable, Optional, Sequence

import paddle
from paddle import Tensor, nn

from rifle_ext.distillation.alike import check_alike, close
from rifle_ext.errors import RifleError
from rifle_ext.heads.catching import Call


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
        raise RifleError(
            f"lwf: {kind}: no output layer of it could be seen at work", topic="distillation"
        )
    for our, their in zip(ours, theirs):
        if our.made is None or their.made is None or their.given is None:
            raise RifleError(
                f"lwf: {kind}: {our.name} is no layer of one input and one result",
                topic="distillation",
            )
        answer: Optional[Tensor] = their.made
        if of_classes(our.name):
            answer = _applied(layers[our.name], their.given)
        if not close(answer, our.made):
            why = (
                "depends on other layers that depend on the number of classes"
                if close(_applied(layers[our.name], our.given), our.made)
                else "follows not from its input alone (its size is given beside that, say)"
            )
            raise RifleError(
                f"lwf: {kind}: what {our.name} answers {why}, so the old answers cannot be had "
                "from the trunk of the new model",
                topic="distillation",
            )
    try:
        check_alike(kind, theirs, trained)
    except RifleError as error:
        raise RifleError(f"lwf: {error}") from error


def _applied(layer: nn.Layer, given: Optional[Tensor]) -> Optional[Tensor]:
    try:
        return layer(given)
    except Exception:  # whatever a layer says of another shape
        return None
