"""A method of one's own: the head alone learns for the first iterations of a training.

Installed (``pip install examples/freeze_backbone``), it heeds a block in the configs of PaddleSeg
and PaddleDetection, through the toolkits' own train tools::

    freeze_backbone:
      iterations: 200
"""

from __future__ import annotations

from typing import Any, List, Optional

from pydantic import BaseModel, ConfigDict, Field, StrictInt, ValidationError

from rifle_ext import Hook, RifleError, TrainingRun
from rifle_ext.training.journal import Journal
from rifle_ext.training.plans import MethodPlan, Moment


class Block(BaseModel):
    """What may stand under `freeze_backbone:`."""

    model_config = ConfigDict(extra="forbid")

    iterations: StrictInt = Field(
        200, ge=1, description="How many iterations (optimizer steps) the backbone is still."
    )


class FreezeBackbone(Hook):
    """Holds the backbone's parameters still at first.

    What it does at a step is a function of the block and the step, so a resumed training goes on
    as the uninterrupted one does.
    """

    def __init__(self, block: Block, source: str) -> None:
        self.block, self.source = block, source

    def plan(self, run: TrainingRun) -> MethodPlan:
        """What it would do, for `rifle-ext plan`."""
        names = [name for name, p in self._backbone(run)]
        until = self.block.iterations
        return MethodPlan(
            record={"parameters": names, "until": until},
            summary=f"{len(names)} parameters of the backbone are still until iteration {until}",
            moments=[Moment(until, "!", f"after iteration {until}: the backbone learns, too")],
        )

    def on_train_begin(self, run: TrainingRun) -> None:
        """Find the backbone; the place to refuse."""
        self._parameters = [parameter for _, parameter in self._backbone(run)]
        if not self._parameters:
            raise RifleError(
                f"{self.source}: freeze_backbone: {type(run.model).__name__} has no trainable "
                "parameter whose name begins with `backbone`"
            )
        self._journal = Journal(run, "FreezeBackbone", method="freeze_backbone")
        self._journal.log(f"the backbone is still until iteration {self.block.iterations}")
        self._still: Optional[bool] = None

    def on_step_begin(self, run: TrainingRun, step: int) -> None:
        """Before each step: still, or not."""
        still = step < self.block.iterations
        if still == self._still:
            return
        for parameter in self._parameters:
            parameter.stop_gradient = still
        if self._still is not None:
            self._journal.event("thaw", step=step)
            self._journal.log(f"the backbone learns from iteration {step} on")
        self._still = still

    def on_train_end(self, run: TrainingRun) -> None:
        """After the training, however it ended."""
        for parameter in self._parameters:
            parameter.stop_gradient = False

    @staticmethod
    def _backbone(run: TrainingRun) -> List[Any]:
        named = run.model.named_parameters()
        return [(n, p) for n, p in named if n.startswith("backbone") and not p.stop_gradient]


def hooks(block: Any, source: str) -> List[Hook]:
    """What the entry point names: makes the hooks of a block, or says what is wrong with it."""
    if block is False:
        return []
    try:
        parsed = Block.model_validate({} if block in (None, True) else block)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise RifleError(f"{source}: the freeze_backbone block cannot be used: {wrong}") from error
    return [FreezeBackbone(parsed, source)]
