"""The tricks the paper compares RIFLE with, as hooks; and what the benchmark itself needs.

A config asks for one by a block ``trick: {type: <name>, ...}``. They are here to be measured and
belong to the benchmark, not to the package.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from benchmarks.transfer.rate_tricks import (
    CyclicRate,
    FasterHead,
    OtherRate,
    RatesOnly,
    equal_periods,
    output_layers,
)
from rifle_ext.heads.selection import select
from rifle_ext.training.hooks import Hook, TrainingRun

RESIDUAL_BLOCKS = {"AddBottleneck", "BasicBlock"}
"""Blocks whose output is a residual added to their input; of STDC and of CSPResNet."""


class HeadDropout(Hook):
    """Dropout (Srivastava et al., JMLR 2014) of what goes into the output layers."""

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def on_train_begin(self, run: TrainingRun) -> None:
        """Put it before each output layer."""

        def drop(layer: nn.Layer, inputs: Any) -> Any:
            if not layer.training:
                return None
            return tuple(F.dropout(x, self.rate) if isinstance(x, Tensor) else x for x in inputs)

        for layer in output_layers(run).values():
            layer.register_forward_pre_hook(drop)


class DropConnect(Hook):
    """DropConnect (Wan et al., ICML 2013): dropout of the output layers' weights."""

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def on_train_begin(self, run: TrainingRun) -> None:
        """Let each output layer compute with some of its weights."""
        for layer in output_layers(run).values():
            if getattr(layer, "weight", None) is not None:
                layer.forward = self._with_fewer_weights(layer, layer.forward)

    def _with_fewer_weights(
        self, layer: nn.Layer, forward: Callable[..., Any]
    ) -> Callable[..., Any]:
        def forward_with_fewer(*inputs: Any) -> Any:
            if not layer.training:
                return forward(*inputs)
            # An attribute of the object hides the parameter of the same name.
            layer.__dict__["weight"] = F.dropout(layer.weight, self.rate)
            try:
                return forward(*inputs)
            finally:
                del layer.__dict__["weight"]

        return forward_with_fewer


class StochasticDepth(Hook):
    """Stochastic depth (Huang et al., ECCV 2016) of the backbone's residual blocks.

    Parameters
    ----------
    rate
        How often the last block is left out; the others less often in proportion to their depth.
        What a block adds is scaled up while training, so that evaluation needs no change.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def on_train_begin(self, run: TrainingRun) -> None:
        """Wrap the blocks.

        Raises
        ------
        ValueError
            If the model has none.
        """
        named = run.model.named_sublayers()
        blocks = [
            layer
            for name, layer in named
            if type(layer).__name__ in RESIDUAL_BLOCKS
            and name.startswith("backbone.")
            and getattr(layer, "stride", 1) == 1
        ]
        if not blocks:
            raise ValueError(f"no residual blocks in {type(run.model).__name__}")
        for number, block in enumerate(blocks, start=1):
            rate = self.rate * number / len(blocks)
            block.forward = self._left_out_at_times(block, block.forward, rate)

    @staticmethod
    def _left_out_at_times(
        block: nn.Layer, forward: Callable[[Tensor], Tensor], rate: float
    ) -> Callable[[Tensor], Tensor]:
        def forward_at_times(x: Tensor) -> Tensor:
            if not block.training:
                return forward(x)
            if float(paddle.rand([1])) < rate:
                return x
            return x + (forward(x) - x) / (1 - rate)

        return forward_at_times


class RecreatedHead(Hook):
    """What the published `paddle-rifle` does: puts new parameters in place of the old ones.

    The optimizer goes on with the old ones, so the new head is never trained.

    Parameters
    ----------
    resets
        How many, at equal distances.
    """

    def __init__(self, resets: int = 1) -> None:
        self.resets = resets

    def on_train_begin(self, run: TrainingRun) -> None:
        """Find the output layers."""
        self._layers = output_layers(run)
        self._due = {reset.step for reset in equal_periods(run, self.resets + 1).resets}

    def on_step_begin(self, run: TrainingRun, step: int) -> None:
        """Replace the parameters if it is time to."""
        if step not in self._due:
            return
        for layer in self._layers.values():
            for name, old in list(layer._parameters.items()):
                if old is not None:
                    new = layer.create_parameter(old.shape, is_bias=name == "bias")
                    layer._parameters[name] = new


class SaveWithoutOutputs(Hook):
    """Saves the trained model without its output layers: what a fine-tuning starts from.

    Parameters
    ----------
    path
        The file.
    layers
        Which ones are left out, if not all: names or globs.
    """

    def __init__(self, path: str, layers: Optional[List[str]] = None) -> None:
        self.path, self.layers = path, layers or "auto"

    def on_train_begin(self, run: TrainingRun) -> None:
        """Find the output layers."""
        self._outputs = select(run.model, self.layers, run.forward, run.gives_losses).tensors

    def on_train_end(self, run: TrainingRun) -> None:
        """Save."""
        state = run.model.state_dict()
        kept = {name: tensor for name, tensor in state.items() if name not in self._outputs}
        paddle.save(kept, self.path)


TRICKS: Dict[str, Callable[..., Hook]] = {
    trick.__name__: trick
    for trick in (
        CyclicRate,
        DropConnect,
        FasterHead,
        HeadDropout,
        OtherRate,
        RatesOnly,
        RecreatedHead,
        SaveWithoutOutputs,
        StochasticDepth,
    )
}


def hooks(block: Dict[str, Any], source: str) -> List[Hook]:
    """The hook of a `trick:` block."""
    options = dict(block)
    return [TRICKS[options.pop("type")](**options)]
