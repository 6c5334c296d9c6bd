"""What a network's output layers answer, and how such answers are compared: inferred."""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Callable, Dict, Iterator, List, Optional, Sequence, Tuple

from paddle import nn

from rifle_ext.heads.catching import Call

SIDES = 4
"""Of a box."""


@dataclass(frozen=True)
class Answer:
    """One call of an output layer in a network's forward pass.

    Attributes
    ----------
    name
        Structured name of the layer.
    nth
        Which of the calls of that layer it is, from 0.
    of_classes
        Whether its shape depends on the number of classes.
    kind
        How it is compared: a function of `rifle_ext.distillation.distances`, or 'none'.
    group
        Channels of one distribution.
    axis
        That of the channels in the layer's result.
    sure_by
        Which answer says where the teacher is sure, by position; None if every place counts.
    """

    name: str
    nth: int
    of_classes: bool
    kind: str
    group: int
    axis: int
    sure_by: Optional[int] = None


@dataclass(frozen=True)
class Sizes:
    """How the channels of a layer follow from the number of classes: ``each * classes + more``.

    Attributes
    ----------
    classes
        Of the network.
    each, more
        See above; `each` is 0 where they do not depend on it.
    """

    classes: int
    each: int
    more: int

    @classmethod
    def of(cls, channels: int, classes: int, other_channels: int, other_classes: int) -> Sizes:
        """From the channels for two numbers of classes."""
        each = (channels - other_channels) // (classes - other_classes)
        return cls(classes, each, channels - each * classes)


def kind_of(sizes: Sizes, exclusive: bool, bins: Optional[int]) -> Tuple[str, int]:
    """How a layer's answers are compared, and how many channels one distribution has.

    Parameters
    ----------
    sizes
        Of its channels.
    exclusive
        Each place of an image has exactly one of the classes.
    bins
        In how many steps the module around the layer says that it measures a box's sides; None if
        it says nothing.
    """
    channels = sizes.each * sizes.classes + sizes.more
    if sizes.each == 0:
        return (
            ("distribution", channels // SIDES)
            if bins and channels == SIDES * bins
            else (
                "distance",
                1,
            )
        )
    if sizes.more == sizes.each:  # a class of its own for nothing
        return "softmax", sizes.classes + 1
    if sizes.more != 0:
        return "distance", 1
    if exclusive and sizes.classes > 1:
        return "softmax", sizes.classes
    return "sigmoid", 1


def bins_around(name: str, model: nn.Layer) -> List[int]:
    """Numbers of steps in which the modules around a layer say that box sides are measured.

    By the attributes that heads after Li et al., "Generalized Focal Loss" (2020), have in common.
    """
    layers = dict(model.named_sublayers(include_self=True))
    parts = name.split(".")
    around = [layers.get(".".join(parts[:depth])) for depth in range(len(parts), -1, -1)]
    found = [getattr(layer, "reg_channels", None) for layer in around]
    found += [getattr(layer, "reg_max", -1) + 1 for layer in around if _whole(layer, "reg_max")]
    return [bins for bins in found if isinstance(bins, int) and bins > 1]


def _whole(layer: Optional[nn.Layer], attribute: str) -> bool:
    return isinstance(getattr(layer, attribute, None), int)


def channel_axis(layer: nn.Layer, dimensions: int) -> int:
    """The axis of the channels in a layer's result of so many dimensions."""
    if isinstance(layer, nn.layer.conv._ConvNd):
        return -1 if str(layer._data_format).endswith("C") else 1
    return 1 if dimensions == 4 and not isinstance(layer, nn.Linear) else -1


def with_sureness(answers: Sequence[Answer], calls: Sequence[Call]) -> List[Answer]:
    """Each answer with the one that says where the teacher is sure: of classes, at the same places.

    Where several have as many places, the first of them belongs to the first, and so on.

    Parameters
    ----------
    answers, calls
        As many, in the same order.
    """
    places = [_places(answer, call) for answer, call in zip(answers, calls)]
    classes: Dict[Tuple[int, ...], List[int]] = {}
    for index, answer in enumerate(answers):
        if answer.of_classes and answer.kind in ("sigmoid", "softmax"):
            classes.setdefault(places[index], []).append(index)
    seen: Dict[Tuple[str, Tuple[int, ...]], int] = {}
    found = []
    for index, answer in enumerate(answers):
        near = classes.get(places[index], [])
        turn = seen.get((answer.name, places[index]), 0)
        seen[answer.name, places[index]] = turn + 1
        by = index if index in near else (near[min(turn, len(near) - 1)] if near else None)
        found.append(replace(answer, sure_by=by))
    return found


def _places(answer: Answer, call: Call) -> Tuple[int, ...]:
    assert call.made is not None
    shape = list(call.made.shape)
    del shape[answer.axis]
    return tuple(shape)


def answers_of(
    network: nn.Layer,
    ours: Sequence[Call],
    theirs: Sequence[Call],
    numbers: Tuple[int, int],
    of_classes: Callable[[str], bool],
    exclusive: bool,
) -> Tuple[List[Answer], List[Call]]:
    """What a network's output layers answer, and the calls that do.

    A result that goes into another output layer (a learned scale, say) is no answer.

    Parameters
    ----------
    network
        The network.
    ours, theirs
        Calls of its output layers, and the same of one built for another number of classes.
    numbers
        Of classes, in this order.
    of_classes
        Whether a layer, by its name, depends on that number.
    exclusive
        Each place of an image has exactly one of the classes.
    """
    layers = dict(network.named_sublayers())
    further = {id(call.given) for call in ours}
    turns: Dict[str, Iterator[int]] = defaultdict(itertools.count)
    found, kept = [], []
    for our, their in zip(ours, theirs):
        nth = next(turns[our.name])
        assert our.made is not None and their.made is not None  # as is checked before
        if id(our.made) in further:
            continue
        axis = channel_axis(layers[our.name], len(our.made.shape))
        channels = our.made.shape[axis]
        sizes = Sizes.of(channels, numbers[0], their.made.shape[axis], numbers[1])
        bins = [b for b in bins_around(our.name, network) if SIDES * b == channels]
        kind, group = kind_of(sizes, exclusive, bins[0] if bins else None)
        found.append(Answer(our.name, nth, of_classes(our.name), kind, group, axis))
        kept.append(our)
    return found, kept
