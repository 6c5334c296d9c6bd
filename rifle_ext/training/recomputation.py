"""Recompute beside layers that stand still.

`paddle.distributed.fleet.utils.recompute` gives its results a gradient only if one of its operands
has one. Behind layers that stand still none has, and whatever learns inside would silently stop.
"""

from __future__ import annotations

from typing import Any, Callable, ContextManager

from paddle.distributed.fleet.utils import recompute

from rifle_ext.heads.outputs import tensors_in
from rifle_ext.heads.probing import called_plainly
from rifle_ext.runtime.patching import rebound


def learning_without_operands() -> ContextManager[None]:
    """Let what recomputes learn inside the block, also where no operand has a gradient.

    There it is called plainly: it keeps what it needs for its own backward pass, or nothing if
    nothing inside learns.
    """
    original = recompute  # not by its name: that is one of those that are bound anew

    def standing_in(function: Callable, *args: Any, **kwargs: Any) -> Any:
        operands = tensors_in([args, kwargs])
        plainly = all(operand.stop_gradient for operand in operands)
        return (called_plainly if plainly else original)(function, *args, **kwargs)

    return rebound({original: standing_in})
