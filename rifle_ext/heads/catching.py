"""What goes into some layers of a model, and what comes out, in one forward pass."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any, Callable, Collection, Iterator, List, Mapping, Optional

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from rifle_ext.heads.probing import probing
from rifle_ext.runtime.isolation import on_cpu
from rifle_ext.runtime.patching import rebound, replaced


@dataclass(frozen=True)
class Call:
    """One call of a layer.

    Attributes
    ----------
    name
        Structured name of the layer.
    given, made
        Its input and its result; None where that is not one tensor.
    """

    name: str
    given: Optional[Tensor]
    made: Optional[Tensor]


class Enough(BaseException):
    """Ends a forward pass whose rest is not needed; no code of a model's catches it."""


class Catching:
    """Catches the calls of some layers of a model, in the order in which they end.

    Copies of the model carry its hooks along, and are not heeded.

    Parameters
    ----------
    model
        What is run; when its forward pass ends, so does the catching.
    layers
        Those whose calls are caught, by structured name.

    Attributes
    ----------
    calls
        Those caught since `begin`. They keep the tensors, and the graph behind them, alive.
    """

    def __init__(self, model: nn.Layer, layers: Mapping[str, nn.Layer]) -> None:
        self.calls: List[Call] = []
        self._open, self._most = False, -1
        names = {id(layer): name for name, layer in layers.items()}

        def note(layer: nn.Layer, inputs: Any, outputs: Any) -> None:
            if self._open and id(layer) in names:
                given = inputs[0] if len(inputs) == 1 else None
                self.calls.append(Call(names[id(layer)], _tensor(given), _tensor(outputs)))
                if len(self.calls) == self._most:
                    raise Enough

        def close(layer: nn.Layer, inputs: Any, outputs: Any) -> None:
            if layer is model:
                self._open = False

        self._handles = [layer.register_forward_post_hook(note) for layer in layers.values()]
        self._handles.append(model.register_forward_post_hook(close))

    def begin(self, most: int = -1) -> None:
        """Catch the calls of the next forward pass; after the `most`-th raise `Enough`."""
        self.calls = []
        self._open, self._most = True, most

    def take(self) -> List[Call]:
        """Give the calls that were caught, and forget them."""
        calls, self.calls = self.calls, []
        self._open = False
        return calls

    def end(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles, self.calls, self._open = [], [], False


def _tensor(value: Any) -> Optional[Tensor]:
    return value if isinstance(value, Tensor) else None


def calls_of(
    model: nn.Layer, names: Collection[str], forward: Callable[[nn.Layer], Any], training: bool
) -> List[Call]:
    """The calls of some layers in one forward pass on the CPU, which leaves no trace.

    Only what has parts is in training mode: the parts themselves, normalizations and what drops
    something at random, are as in an evaluation, so that passes in both modes can be compared.

    Parameters
    ----------
    model
        On the CPU.
    names
        Structured names of the layers.
    forward
        Runs a model on a made-up sample; it may try several until one can be used.
    training
        In training mode, or in evaluation mode. What comes after the layers may fail in both.
    """
    layers = {name: layer for name, layer in model.named_sublayers() if name in names}
    catching = Catching(model, layers)
    with contextlib.ExitStack() as stack:
        stack.callback(catching.end)
        stack.enter_context(on_cpu())
        stack.enter_context(probing(model))
        for layer in model.sublayers(include_self=True):
            layer.training = training and bool(layer.sublayers())
        stack.enter_context(paddle.no_grad())
        handle = model.register_forward_pre_hook(lambda layer, inputs: catching.begin())
        stack.callback(handle.remove)
        stack.enter_context(_ended_by_failures(model, catching))
        stack.enter_context(rebound({F.dropout: lambda x, *args, **kwargs: x}))
        with contextlib.suppress(Enough):
            forward(model)
        return catching.take()


@contextlib.contextmanager
def _ended_by_failures(model: nn.Layer, catching: Catching) -> Iterator[None]:
    """Let what comes after the layers fail, and no other sample be tried for that."""
    forward: Callable[..., Any] = model.forward

    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return forward(*args, **kwargs)
        except Exception as error:  # of what makes results of the answers
            if catching.calls:
                raise Enough from error
            raise

    with replaced(model, forward=run):
        yield
