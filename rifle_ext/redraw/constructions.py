"""How a model's constructor drew its tensors, so that they can be drawn again without it.

Most constructors leave their output layers to Paddle's initializers. While a model is built, it is
noted which initializer wrote each tensor last. Where running that initializer once more from the
same random state gives the tensor that the finished model holds, bit for bit, nothing else had a
hand in it: the initializer alone then draws the same distribution as building the model again. What
that cannot see is a constructor that draws an initializer's arguments; none in the toolkits does.
"""

from __future__ import annotations

import contextlib
import weakref
from typing import Any, Callable, Dict, Iterator, Mapping, NamedTuple, Optional

import paddle
from paddle import Tensor
from paddle.nn import initializer as initializers

from rifle_ext.runtime.patching import replaced

_BY_SHAPE = (
    initializers.Constant,
    initializers.Normal,
    initializers.TruncatedNormal,
    initializers.Uniform,
    initializers.XavierNormal,
    initializers.XavierUniform,
    initializers.KaimingNormal,
    initializers.KaimingUniform,
)
# The public classes derive from those that older code of the toolkits uses directly.
_BASES = (initializers.Initializer, object)
KNOWN = {base for cls in _BY_SHAPE for base in cls.__mro__ if base not in _BASES}
"""Initializers that are a function of shape and random state; not `Assign`, which holds values
that may themselves have been drawn."""


class _Call(NamedTuple):
    tensor: Any  # a weak reference: an id alone may be used again
    initializer: Any
    state: Any


class Construction:
    """What was noted while a model was built."""

    def __init__(self) -> None:
        self._calls: Dict[int, _Call] = {}

    @contextlib.contextmanager
    def noted(self) -> Iterator[None]:
        """Note the calls of initializers inside the block; changes nothing that they do."""
        base = initializers.Initializer
        original: Callable[..., Any] = base.__call__

        def call(initializer: Any, param: Any, block: Any = None) -> Any:
            state = paddle.get_rng_state()
            self._calls[id(param)] = _Call(weakref.ref(param), initializer, state)
            return original(initializer, param, block)

        with replaced(base, __call__=call):
            yield

    def initializers(self, tensors: Mapping[str, Tensor]) -> Optional[Dict[str, Any]]:
        """The initializer of each of the finished model's tensors, by the same names.

        To be called with the CPU as the default device; leaves the random state changed.

        Returns
        -------
        dict or None
            None if any of the tensors was not, or not only, drawn by an initializer.
        """
        found = {}
        for name, tensor in tensors.items():
            call = self._calls.get(id(tensor))
            if call is None or call.tensor() is not tensor or not _explains(call, tensor):
                return None
            found[name] = call.initializer
        return found


def _explains(call: _Call, tensor: Tensor) -> bool:
    """Whether the initializer alone made the tensor what it is."""
    if type(call.initializer) not in KNOWN:
        return False
    paddle.set_rng_state(call.state)
    again = draw(call.initializer, tensor)
    return bool((again == tensor).all())


def draw(initializer: Any, like: Tensor) -> Tensor:
    """A new float32 parameter of the same shape, drawn by an initializer."""
    # Not as the default initializer: one that is set globally would win over that.
    attribute = paddle.ParamAttr(initializer=initializer)
    return paddle.create_parameter(like.shape, "float32", attr=attribute)
