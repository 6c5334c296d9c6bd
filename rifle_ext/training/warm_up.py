"""A head that learns alone for a while: what is done to everything else meanwhile.

Its learning rate is 0 and its running statistics are still; afterwards the rate may come back over
some steps. Methods say when that begins, which parameters are the head, and at which rate it goes.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Collection, Iterable, Optional

from paddle import Tensor, nn
from paddle.optimizer import Optimizer

from rifle_ext.errors import RifleError
from rifle_ext.training.heeding import holds_still
from rifle_ext.training.parameter_rates import ParameterRates
from rifle_ext.training.stillness import StillStatistics, static_layers


@dataclass(frozen=True)
class Factors:
    """What learning rates are multiplied by at one step.

    Attributes
    ----------
    head
        That of the output layers.
    rest
        That of everything else.
    still
        Running statistics of everything else stand still.
    """

    head: float = 1.0
    rest: float = 1.0
    still: bool = False


def factors(since: int, warm_up: int, ramp: int = 0, head: float = 1.0) -> Factors:
    """The factors of one step.

    Parameters
    ----------
    since
        Optimizer steps done since the head began.
    warm_up
        For how many of them it learns alone.
    ramp
        Over how many the rate of everything else comes back after that, linearly.
    head
        The head's own factor.
    """
    if since < warm_up:
        return Factors(head, 0.0, still=True)
    if since < warm_up + ramp:
        return Factors(head, (since - warm_up + 1) / (ramp + 1))
    return Factors(head)


def check_optimizer(optimizer: Optional[Optimizer], key: str) -> None:
    """Stop if rates of 0 would not hold everything else still.

    Parameters
    ----------
    optimizer
        What trains the model, if it is known.
    key
        What asks for a warm-up, as the user wrote it.

    Raises
    ------
    RifleError
        If the optimizer's moments contain the learning rate, so that they go on moving the weights,
        or if it does not heed the learning rates of single parameters.
    """
    if not holds_still(optimizer):
        raise RifleError(
            f"{key}: with this {type(optimizer).__name__} what is to stand still at learning rate "
            "0 would go on moving, as its moments contain the rate or it has rates of its own; set "
            "warm_up to 0, or train with another optimizer",
            topic="optimizer",
        )


def refuse_static_graphs(model: nn.Layer, said: str) -> None:
    """Stop if a model is trained as a static graph, which notices no change made from outside.

    Parameters
    ----------
    model
        What is trained, when its first step begins.
    said
        The message; ``{without}`` in it is where the reason and the way out stand.

    Raises
    ------
    RifleError
        If it is.
    """
    if static_layers(model):
        raise RifleError(
            said.format(
                without="in a model that is trained as a static graph; train without to_static"
            ),
            topic="static-graph",
        )


_ACTIVE: "weakref.WeakSet[HeadFirst]" = weakref.WeakSet()
"""Those that may have changed something: an interrupted loop of a user's own never ends its own."""


class HeadFirst:
    """Sets learning rates of a head and of everything else, and holds running statistics still.

    Parameters
    ----------
    head
        The parameters of the head.
    model
        The model they are in; needed if everything else is to be held.
    rest
        Whether everything else will ever be held.
    but
        Structured names of the head's layers: their running statistics never stand still.
    """

    def __init__(
        self,
        head: Iterable[Tensor],
        model: Optional[nn.Layer],
        rest: bool,
        but: Collection[str] = (),
    ) -> None:
        heads = {id(parameter): parameter for parameter in head}
        self._touched = {*heads, *(id(p) for p in (model.parameters() if model else ()))}
        for other in [o for o in _ACTIVE if o._touched & self._touched]:
            other.end()  # or its rates would be taken for the parameters' own
        self._head = ParameterRates(heads.values())
        self._rest: Optional[ParameterRates] = None
        self._statistics: Optional[StillStatistics] = None
        if model is not None and rest:
            changing = (p for p in model.parameters() if not p.stop_gradient)
            self._rest = ParameterRates(p for p in changing if id(p) not in heads)
            self._statistics = StillStatistics(model, but)

    def set(self, now: Factors) -> None:
        """For the step that follows."""
        _ACTIVE.add(self)
        self._head.multiply(now.head)
        if self._rest is not None and self._statistics is not None:
            self._rest.multiply(now.rest)
            self._statistics.hold(now.still)

    def end(self) -> None:
        """Give everything back."""
        _ACTIVE.discard(self)
        self._head.restore()
        if self._rest is not None and self._statistics is not None:
            self._rest.restore()
            self._statistics.hold(False)
