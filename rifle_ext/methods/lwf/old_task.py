"""The old task of a training: its network, and which of that network's answers are kept."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Set

import numpy as np
import paddle
from paddle import Tensor, nn

from rifle_ext.distillation.answers import Answer, answers_of, with_sureness
from rifle_ext.errors import CannotRun, RifleError
from rifle_ext.heads.catching import Call, calls_of
from rifle_ext.heads.classes import depending, load, number_in, shapes_of
from rifle_ext.heads.outputs import find_outputs
from rifle_ext.methods.lwf.block import LwfConfig
from rifle_ext.methods.lwf.checking import check_served
from rifle_ext.methods.lwf.kinds import overridden
from rifle_ext.redraw.fresh import SecondModel
from rifle_ext.runtime.tensors import as_float32, put
from rifle_ext.training.hooks import TrainingRun


class OldTask:
    """The old network of a training, and which of its answers are to be kept.

    Three models are built on the CPU for it, one of which stays: the old one. It is checked that
    its output layers give, on a trunk under another head, what they give in the old network; so
    whatever can be caught at an output layer is served, and nothing else.

    Parameters
    ----------
    block
        The validated `lwf:` block.
    run
        The training.

    Attributes
    ----------
    classes
        How many the old network has.
    depending
        Names of the tensors whose shapes depend on that number.
    network
        The old network, with its weights, on the CPU and in evaluation mode.
    answers
        Its answers in the order of its forward pass.
    calls
        How often it runs their layers in one.
    new
        The trainable parameters of the output layers of the new classes, by structured name.

    Raises
    ------
    RifleError
        If the training or its model cannot be served, with the reason.
    """

    def __init__(self, block: LwfConfig, run: TrainingRun) -> None:
        if run.no_loss is not None:
            raise RifleError(
                f"lwf: nothing can be added to the loss: {run.no_loss}", topic="distillation"
            )
        if run.classes is None or run.rebuild_for is None or run.read_weights is None:
            raise RifleError("lwf: the config says no number of classes", topic="distillation")
        self.source = block.teacher or "the pretrained weights"
        try:
            weights = run.read_weights(block.teacher)
        except RifleError as error:
            raise RifleError(f"lwf.teacher: {error}") from error
        same, more = _built(run, run.classes), _built(run, run.classes + 1)
        shapes, one_more = (shapes_of(model.state_dict()) for model in (same, more))
        self.depending = depending(shapes, one_more)
        if not self.depending:
            raise RifleError(
                f"lwf: nothing in {type(run.model).__name__} depends on the number of classes, so "
                "there is no old head to keep",
                topic="distillation",
            )
        self.classes = block.num_classes or self._number(weights, shapes, one_more, run.classes)
        alike = self.classes == run.classes
        self.network = _built(run, self.classes)
        try:
            load(self.network, weights)
        except RifleError as error:
            raise RifleError(
                f"lwf.teacher: {self.source}: not the weights of this whole model for "
                f"{self.classes} classes: {error}"
            ) from error
        outputs = self._outputs(run, same)
        self.new = {name: p for name, p in outputs.items() if name in self.depending}
        owners = {name.rpartition(".")[0] for name in outputs}
        other = more if alike else same
        load(other, weights, strict=False)
        _unlike(other, self.depending)
        others = run.classes + 1 if alike else run.classes
        self.network.eval()
        self.answers = self._answers(block, run, owners, other, others)

    @staticmethod
    def _outputs(run: TrainingRun, second: nn.Layer) -> Dict[str, Tensor]:
        try:
            found = find_outputs(run.model, run.forward, run.gives_losses, second, method=None)
        except RifleError as error:
            raise RifleError(f"lwf: {error}") from error
        return found.parameters

    def _number(self, weights: Any, shapes: Any, one_more: Any, classes: int) -> int:
        try:
            return number_in(shapes_of(weights), shapes, one_more, classes)
        except RifleError as error:
            raise RifleError(
                f"lwf.teacher: {self.source}: {error}; name the weights of a whole model, or "
                "say the number: lwf.num_classes"
            ) from error

    def _answers(
        self, block: LwfConfig, run: TrainingRun, owners: Set[str], other: nn.Layer, others: int
    ) -> List[Answer]:
        """The answers, once it is checked that they can be kept on the trunk of another head."""
        try:
            ours = calls_of(self.network, owners, run.forward, training=False)
            theirs = calls_of(other, owners, run.forward, training=False)
        except CannotRun as error:
            raise RifleError(f"lwf: in evaluation, as a teacher is, {error}") from error
        trained = calls_of(other, owners, run.forward, training=True)
        check_served(self.network, self._of_classes, ours, theirs, trained)
        numbers = (self.classes, others)
        inferred, kept = answers_of(
            self.network, ours, theirs, numbers, self._of_classes, run.exclusive
        )
        channels = [_made(call).shape[a.axis] for a, call in zip(inferred, kept)]
        found = overridden(inferred, block.kinds, channels)
        names = {answer.name for answer in found}
        self.calls = sum(call.name in names for call in ours)
        if not any(answer.of_classes and answer.kind != "none" for answer in found):
            raise RifleError(
                f"lwf: no answer of {type(self.network).__name__} is of classes, so there is "
                "nothing to keep",
                topic="distillation",
            )
        detector = run.gives_losses  # most places of an image hold no object
        return with_sureness(found, kept) if detector else found

    def _of_classes(self, layer: str) -> bool:
        return any(name.rpartition(".")[0] == layer for name in self.depending)


def _made(call: Call) -> Tensor:
    assert call.made is not None  # as is checked before
    return call.made


def _unlike(model: nn.Layer, names: List[str]) -> None:
    """Give some parameters values that nothing learned could be mistaken for, in place."""
    rng = np.random.default_rng(0)
    for name, parameter in model.named_parameters():
        if name in names and not parameter.stop_gradient:
            values = rng.uniform(-1, 1, parameter.shape)
            value = paddle.to_tensor(values.astype("float32"), place=paddle.CPUPlace())
            put(parameter, value.astype(parameter.dtype))


def _built(run: TrainingRun, classes: int) -> nn.Layer:
    rebuild_for = run.rebuild_for
    assert rebuild_for is not None
    try:
        return SecondModel(lambda: rebuild_for(classes), 0, 1).model
    except RifleError as error:
        raise RifleError(
            f"lwf: {type(run.model).__name__} cannot be built for {classes} classes: "
            f"{error.__cause__ or error}",
            topic="rebuild",
        ) from error


def differing(model: nn.Layer, weights: Mapping[str, Tensor], but: List[str]) -> List[str]:
    """Names of a model's tensors, some apart, that have not the values of some weights."""
    left = {name for name in model.state_dict() if name in weights} - set(but)
    return [
        name
        for name, tensor in model.state_dict().items()
        if name in left and not np.array_equal(as_float32(tensor), as_float32(weights[name]))
    ]
