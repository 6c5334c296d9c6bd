"""Build a model without the weights that its constructor loads."""

from __future__ import annotations

import contextlib
import os
from typing import Any, Callable, Dict, Iterator, List

import paddle
from paddle import Tensor

from rifle_ext.runtime.patching import rebound, replaced


class Nothing(dict):
    """Stands in for a file of weights that is not there: whatever is looked up is as empty."""

    def __missing__(self, key: Any) -> Nothing:
        return Nothing()


@contextlib.contextmanager
def weights_ignored() -> Iterator[None]:
    """Let `paddle.load` give what is asked for, and nothing of it be written into a tensor.

    A constructor may look into what it loads: for a key, the shape of a table, a number. So a file
    that is there is read; only its tensors cannot be put anywhere with `set_value` or
    `set_state_dict`. One that is not there, such as that of a download, is an empty mapping.
    """
    loaded: Dict[int, Any] = {}
    load: Callable[..., Any] = paddle.load
    set_value: Callable[..., Any] = Tensor.set_value

    def load_to_look(path: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(path, (str, os.PathLike)) and not os.path.isfile(path):
            return Nothing()
        content = load(path, *args, **kwargs)
        for value in _leaves(content):
            loaded[id(value)] = value
        return content

    def set_other_value(tensor: Tensor, value: Any, *args: Any, **kwargs: Any) -> Any:
        if id(value) not in loaded:
            return set_value(tensor, value, *args, **kwargs)
        return None

    with rebound({load: load_to_look}), replaced(Tensor, set_value=set_other_value):
        yield


def _leaves(value: Any) -> List[Any]:
    """What is in a nesting of mappings and sequences, numbers and texts apart."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [leaf for item in value for leaf in _leaves(item)]
    return [] if isinstance(value, (int, float, str, bool, type(None))) else [value]
