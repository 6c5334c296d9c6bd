"""The old output layers, which learn on beside the new ones, and what is kept of them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence

import paddle
from paddle import Tensor, nn
from paddle.optimizer import Optimizer

from rifle_ext.distillation.answers import Answer
from rifle_ext.errors import RifleError
from rifle_ext.methods.lwf import old_head_file
from rifle_ext.runtime.tensors import under_all_names
from rifle_ext.training.freezing import group_anew


class OldHead:
    """Copies of the old output layers that depend on the number of classes.

    The training's optimizer steps them with everything else, so its state for them is in the
    checkpoint's own ``.pdopt``, under names that are the same in each process.

    Parameters
    ----------
    network
        The old network.
    answers
        Which of its layers.
    depending
        Names of its tensors that depend on the number of classes: what is kept in a file.
    """

    def __init__(
        self, network: nn.Layer, answers: Sequence[Answer], depending: Sequence[str]
    ) -> None:
        layers = dict(network.named_sublayers())
        wanted = dict.fromkeys(a.name for a in answers if a.of_classes and a.kind != "none")
        # Copied together: what two of them share is one tensor in the copies, too.
        self._layers = copy.deepcopy(nn.LayerDict({name: layers[name] for name in wanted}))
        self._before = network.state_dict()
        self._depending = [name for name in depending if name in self._before]
        for name, parameter in self._layers.named_parameters():
            parameter.name = f"lwf.{name}"
            parameter.stop_gradient = False
        self.parameters: List[Tensor] = self._layers.parameters()

    def __contains__(self, name: str) -> bool:
        return name in self._layers

    def answer(self, name: str, given: Tensor) -> Tensor:
        """What an old layer makes of the input of the new one."""
        return self._layers[name](given)

    def state(self) -> Dict[str, Tensor]:
        """All tensors of the old model that depend on the number of classes, as they are now."""
        kept = {name: self._before[name] for name in self._depending}
        return {**kept, **under_all_names(self._layers.state_dict(), self._before)}

    def load(self, path: Path) -> None:
        """Go on from the head beside a checkpoint, given the checkpoint's file.

        Raises
        ------
        RifleError
            If there is none, or it is another step's, or another model's.
        """
        try:
            _, held = old_head_file.read(path)
        except RifleError as error:
            raise RifleError(
                f"lwf: the training cannot be resumed: {error}", topic="resume"
            ) from error
        for name, tensor in self._layers.state_dict().items():
            value = held.get(name)
            if value is None or list(value.shape) != list(tensor.shape):
                raise RifleError(
                    f"{path}: the old head beside it is of another model, or of other classes",
                    topic="resume",
                )
            tensor.set_value(value)

    def save(self, path: Path, tensors: Mapping[str, Tensor]) -> None:
        """Write the head beside a checkpoint's file, in which these tensors will be."""
        old_head_file.write(path, tensors, self.state())

    def begin(self, optimizer: Optimizer, beside: Mapping[str, nn.Layer]) -> None:
        """Let an optimizer step the head, and several processes average its gradients.

        Parameters
        ----------
        optimizer
            What trains the model.
        beside
            The new output layers, by the names of the old ones: each old parameter learns in the
            new one's group, at its rate and with its decay.

        Raises
        ------
        RifleError
            If the optimizer has no list of parameters of its own.
        """
        held = getattr(optimizer, "_parameter_list", None)
        if not isinstance(optimizer, Optimizer) or not isinstance(held, list) or not held:
            raise RifleError(
                f"lwf: the optimizer is a {type(optimizer).__name__}, to which the old head cannot "
                "be given; train with one of paddle.optimizer",
                topic="optimizer",
            )
        if _knows_names(optimizer):
            raise RifleError(
                f"lwf: the optimizer is a {type(optimizer).__name__}, which knows its parameters "
                "by their names, and none of the old head's; train with one of "
                "paddle.optimizer, without layer-wise decay",
                topic="optimizer",
            )
        self._join(_lists(optimizer), beside)
        group_anew(optimizer)
        for parameter in self.parameters:
            parameter._register_backward_hook(_averaging(parameter))

    def _join(self, lists: List[List[Tensor]], beside: Mapping[str, nn.Layer]) -> None:
        """Put each parameter where the new one is, with what Paddle sets on those of a group.

        A group of their own cannot be made any more: most of Paddle's optimizers have lost what
        that takes, and fused updates keep lists of as many groups as there were at first.
        """
        layers = nn.LayerDict({name: beside[name] for name in self._layers})
        new = dict(layers.named_parameters())
        for name, parameter in self._layers.named_parameters():
            beside_new = (held for held in lists if any(p is new[name] for p in held))
            next(beside_new, lists[-1]).append(parameter)
            parameter.optimize_attr = dict(new[name].optimize_attr)
            parameter.regularizer = new[name].regularizer

    def forget_gradients(self) -> None:
        """Before a step: a toolkit's loop clears those of its model alone."""
        for parameter in self.parameters:
            parameter.clear_gradient(False)

    def end(self, optimizer: Optimizer) -> None:
        """Take the head from the optimizer."""
        ours = {id(parameter) for parameter in self.parameters}
        for held in _lists(optimizer):
            held[:] = [parameter for parameter in held if id(parameter) not in ours]
        group_anew(optimizer)

    def to(self, device: str) -> None:
        """Move the head."""
        self._layers.to(device)


def _lists(optimizer: Optimizer) -> List[List[Tensor]]:
    """The parameters that an optimizer steps: one list, or one for each group."""
    held = optimizer._param_groups
    return [group["params"] for group in held] if isinstance(held[0], dict) else [held]


def _knows_names(optimizer: Optimizer) -> bool:
    """Whether an optimizer updates in a way of its own, as those with layer-wise decay do."""
    update = getattr(type(optimizer), "_append_optimize_op", None)
    return not str(getattr(update, "__module__", "")).startswith("paddle.")


def _averaging(parameter: Tensor) -> Any:
    """Averages a gradient over the processes as soon as it is whole.

    A model for several processes does that for its own parameters alone.
    """

    def average(*unused: Any) -> None:
        ranks = paddle.distributed.get_world_size()
        if ranks > 1 and parameter.grad is not None:
            gradient = parameter.grad
            with paddle.no_grad():
                paddle.distributed.all_reduce(gradient)
                gradient.scale_(1.0 / ranks)

    return average
