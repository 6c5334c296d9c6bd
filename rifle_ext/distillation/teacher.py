"""A network as a teacher: its answers on a batch, without gradients."""

from __future__ import annotations

import contextlib
from typing import Any, Callable, Dict, List, Sequence, Tuple

import paddle
from paddle import Tensor, nn

from rifle_ext.distillation.answers import Answer
from rifle_ext.errors import RifleError
from rifle_ext.heads.catching import Call, Catching, Enough


class Teacher:
    """Runs a network, as far as its last output layer, and catches what those give.

    Parameters
    ----------
    network
        Where it is to run; it is never trained.
    answers
        Which results are wanted.
    calls
        How many calls of output layers a forward pass has.
    """

    def __init__(self, network: nn.Layer, answers: Sequence[Answer], calls: int) -> None:
        for parameter in network.parameters():
            parameter.stop_gradient = True
        network.eval()
        self._network, self._answers, self._calls = network, answers, calls
        names = {answer.name for answer in answers}
        layers = {name: layer for name, layer in network.named_sublayers() if name in names}
        self._catching = Catching(network, layers)

    def answers(self, forward: Callable[[nn.Layer], Any]) -> List[Tensor]:
        """Its answers on a batch, which `forward` runs a model on."""
        self._catching.begin(self._calls)
        with paddle.no_grad(), contextlib.suppress(Enough):
            forward(self._network)
        calls = numbered(self._catching.take())
        return [made(calls, answer) for answer in self._answers]

    def end(self) -> None:
        """Remove what was put on the network."""
        self._catching.end()


Calls = Dict[Tuple[str, int], Call]
"""Calls by the name of the layer and which one of that layer it is."""


def numbered(calls: Sequence[Call]) -> Calls:
    """Calls by the name of the layer and which one of that layer it is."""
    found: Calls = {}
    turns: Dict[str, int] = {}
    for call in calls:
        nth = turns.get(call.name, 0)
        turns[call.name] = nth + 1
        found[call.name, nth] = call
    return found


def made(calls: Calls, answer: Answer) -> Tensor:
    """The result that an answer is.

    Raises
    ------
    RifleError
        If the layer was not called as often as in the pass it was seen in.
    """
    call = calls.get((answer.name, answer.nth))
    if call is None or call.made is None:
        raise RifleError(
            f"{answer.name} was not run as often as it was before the training",
            topic="distillation",
        )
    return call.made
