"""Which tensors of a model depend on the number of classes, and what number a file is of.

The model built for one class more shows it; no name of a layer or of a model is needed.
"""

from __future__ import annotations

from typing import Dict, List, Mapping, Optional, Set, Tuple

from paddle import Tensor, nn

from rifle_ext.errors import RifleError
from rifle_ext.runtime.isolation import on_cpu

Shapes = Mapping[str, Tuple[int, ...]]
"""Shapes of the tensors of a model, by structured name."""


def shapes_of(tensors: Mapping[str, Tensor]) -> Dict[str, Tuple[int, ...]]:
    """The shapes of those of some values that are tensors or arrays."""
    shaped = {name: value for name, value in tensors.items() if hasattr(value, "shape")}
    return {name: tuple(tensor.shape) for name, tensor in shaped.items()}


def depending(shapes: Shapes, one_more: Shapes) -> List[str]:
    """Names of the tensors whose shape is another one in a model of one class more."""
    return [name for name, shape in shapes.items() if one_more.get(name) != shape]


def number_in(found: Shapes, shapes: Shapes, one_more: Shapes, classes: int) -> int:
    """For how many classes the model was built whose weights a file holds.

    Parameters
    ----------
    found
        Shapes of what the file holds.
    shapes, one_more
        Those of the model for `classes` classes, and for one more: a size is ``a * classes + b``.

    Raises
    ------
    RifleError
        If the file holds no tensor that depends on their number, or its tensors disagree.
    """
    numbers: Dict[int, str] = {}
    for name in depending(shapes, one_more):
        if name in found and name in one_more:
            number = _number(found[name], shapes[name], one_more[name], classes)
            if number is None:
                raise RifleError(
                    f"{name} has the shape {list(found[name])}, which is that of this model for no "
                    f"number of classes (for {classes} it is {list(shapes[name])})",
                    topic="weights",
                )
            numbers.setdefault(number, name)
    if not numbers:
        raise RifleError(
            "no tensor in it depends on the number of classes: it holds no head", topic="weights"
        )
    if len(numbers) > 1:
        said = ", ".join(f"{name} is of {number}" for number, name in numbers.items())
        raise RifleError(f"its tensors are of several numbers of classes: {said}", topic="weights")
    return next(iter(numbers))


def _number(
    found: Tuple[int, ...], shape: Tuple[int, ...], one_more: Tuple[int, ...], classes: int
) -> Optional[int]:
    if not len(found) == len(shape) == len(one_more):
        return None
    numbers: Set[Optional[int]] = set()
    for size, here, more in zip(found, shape, one_more):
        step = more - here
        if step == 0:
            numbers |= set() if size == here else {None}
        else:
            whole, left = divmod(size - here, step)
            numbers.add(None if left else classes + whole)
    (number,) = numbers if len(numbers) == 1 else (None,)
    return number if number is not None and number > 0 else None


def load(model: nn.Layer, weights: Mapping[str, Tensor], strict: bool = True) -> None:
    """Put weights of the same names and shapes into a model that was built on the CPU.

    Parameters
    ----------
    model, weights
        What gets them, and what they are, by structured name.
    strict
        All of the model's tensors have to be there.

    Raises
    ------
    RifleError
        If one is not, or has another shape.
    """
    state = model.state_dict()
    fitting = {
        name: _in_the_type_of(tensor, weights[name])
        for name, tensor in state.items()
        if name in weights and tuple(weights[name].shape) == tuple(tensor.shape)
    }
    left = [name for name in state if name not in fitting]
    if strict and left:
        name = left[0]
        found = list(weights[name].shape) if name in weights else None
        said = "is not in it" if found is None else f"has the shape {found} in it"
        raise RifleError(
            f"{name} {said}, and {len(left) - 1} more of {len(state)} tensors do not fit either"
            if len(left) > 1
            else f"{name} {said}",
            topic="weights",
        )
    with on_cpu():  # else they would move to the default device
        model.set_state_dict({**state, **fitting})


def _in_the_type_of(tensor: Tensor, value: Tensor) -> Tensor:
    """A value of a training in mixed precision, say, for a model that was built anew."""
    alike = not isinstance(value, Tensor) or value.dtype == tensor.dtype
    return value if alike else value.astype(tensor.dtype)
