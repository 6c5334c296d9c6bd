"""What the arguments of a plain loop's RIFLE have to be, those that no block has."""

from __future__ import annotations

import operator
from typing import Any, Dict, Iterable, List, Optional, Sequence, Tuple, Union

from paddle import nn

from rifle_ext.errors import RifleError
from rifle_ext.heads.outputs import own_parameters
from rifle_ext.methods.rifle.block import RifleConfig


def whole(argument: str, value: Any, least: int) -> int:
    """An argument that counts something, NumPy's integers among others.

    Parameters
    ----------
    argument
        What it is called in the message.
    value
        What was given.
    least
        The smallest number allowed.

    Raises
    ------
    RifleError
        If it is no whole number, or a smaller one.
    """
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or number < least:
        raise RifleError(
            f"RIFLE of a plain loop: {argument} = {value!r}: allowed is a whole number, "
            f"{least} or more",
            topic="own-loop",
        )
    return number


def whole_or_none(argument: str, value: Any) -> Optional[int]:
    """As `whole`, 1 or more, but it need not be given."""
    return None if value is None else whole(argument, value, 1)


def listed(layers: Union[nn.Layer, Sequence[nn.Layer]]) -> List[nn.Layer]:
    """One layer or several as a list.

    Raises
    ------
    RifleError
        If anything else is given.
    """
    if isinstance(layers, nn.Layer):
        return [layers]
    several = isinstance(layers, Iterable) and not isinstance(layers, str)
    given: List[Any] = list(layers) if several else [layers]
    for layer in given:
        if not isinstance(layer, nn.Layer):
            raise RifleError(
                f"RIFLE(layers=...): {layer!r} is not a paddle.nn.Layer", topic="own-loop"
            )
    return given


def owners_of(
    layers: Union[nn.Layer, Sequence[nn.Layer]],
) -> Dict[str, Tuple[nn.Layer, str]]:
    """For each trainable parameter of some layers: its name, its layer and its attribute there.

    Raises
    ------
    RifleError
        If there is none.
    """
    owners: Dict[str, Tuple[nn.Layer, str]] = {}
    seen = set()
    for layer in listed(layers):
        for sublayer in layer.sublayers(include_self=True):
            for key, parameter in own_parameters(sublayer).items():
                if not parameter.stop_gradient and id(parameter) not in seen:
                    seen.add(id(parameter))
                    owners[f"{sublayer.full_name()}.{key}"] = (sublayer, key)
    if not owners:
        raise RifleError(
            "RIFLE(layers=...): the layers have no trainable parameters", topic="own-loop"
        )
    return owners


def check_scale(block: RifleConfig, own: bool) -> None:
    """Refuse a scale beside an initializer object, as a block does beside an initializer's name.

    Parameters
    ----------
    block
        The validated arguments.
    own
        An initializer object draws the weights.

    Raises
    ------
    RifleError
        If both are given.
    """
    if own and block.scale != "auto":
        raise RifleError(
            "RIFLE(...): scale is for what the constructor draws: give it or weight_initializer, "
            "not both",
            topic="own-loop",
        )
