"""Which answers of a network can be compared with those of the same network at another time."""

from __future__ import annotations

from typing import List

from paddle import nn

from rifle_ext.distillation.alike import check_alike
from rifle_ext.distillation.answers import Answer, answers_of, with_sureness
from rifle_ext.errors import RifleError
from rifle_ext.heads.catching import calls_of
from rifle_ext.heads.classes import depending, load, shapes_of
from rifle_ext.heads.outputs import find_outputs
from rifle_ext.redraw.fresh import SecondModel
from rifle_ext.training.hooks import TrainingRun


class Compared:
    """A second network of a training, and what its output layers answer.

    Two models are built on the CPU for it, one of which stays.

    Parameters
    ----------
    run
        The training.

    Attributes
    ----------
    network
        The one that stays, in evaluation mode, with the training's weights.
    answers
        Its answers in the order of its forward pass.
    calls
        How often it runs their layers in one.

    Raises
    ------
    RifleError
        If nothing can be added to the loss, or the answers cannot be compared, with the reason.
    """

    def __init__(self, run: TrainingRun) -> None:
        if run.no_loss is not None:
            raise RifleError(
                f"nothing can be added to the loss: {run.no_loss}", topic="distillation"
            )
        if run.classes is None or run.rebuild_for is None:
            raise RifleError("the config says no number of classes", topic="distillation")
        numbers, rebuild_for = (run.classes, run.classes + 1), run.rebuild_for
        self.network: nn.Layer = SecondModel(run.rebuild, 0, 1).model
        other: nn.Layer = SecondModel(lambda: rebuild_for(numbers[1]), 0, 1).model
        state = run.model.state_dict()
        load(self.network, state)
        load(other, state, strict=False)
        shapes = (shapes_of(model.state_dict()) for model in (self.network, other))
        owners = {name.rpartition(".")[0] for name in depending(*shapes)}
        kind = type(run.model).__name__
        outputs = find_outputs(run.model, run.forward, run.gives_losses, self.network).parameters
        names = {name.rpartition(".")[0] for name in outputs}
        ours, theirs = (
            calls_of(model, names, run.forward, training=False) for model in (self.network, other)
        )
        if not ours or [call.name for call in ours] != [call.name for call in theirs]:
            raise RifleError(
                f"{kind}: no output layer of it could be seen at work", topic="distillation"
            )
        blind = next((c for c in (*ours, *theirs) if c.made is None), None)
        if blind is not None:
            raise RifleError(
                f"{kind}: {blind.name} is no layer of one result", topic="distillation"
            )
        check_alike(kind, ours, calls_of(self.network, names, run.forward, training=True))
        found, kept = answers_of(
            self.network, ours, theirs, numbers, owners.__contains__, run.exclusive
        )
        detector = run.gives_losses  # most places of an image hold no object
        self.answers: List[Answer] = with_sureness(found, kept) if detector else found
        compared = {answer.name for answer in found}
        self.calls = sum(call.name in compared for call in ours)
        self.network.eval()
