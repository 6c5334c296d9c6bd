"""What FreezeOut says of itself while a training runs."""

from __future__ import annotations

from typing import List

from rifle_ext.methods.freeze_out.block import BLOCK_KEY
from rifle_ext.methods.freeze_out.plan import Plan, some
from rifle_ext.training.hooks import TrainingRun
from rifle_ext.training.journal import Journal


class FreezeJournal:
    """Tells users what freezes in one training.

    Parameters
    ----------
    run
        The training.
    plan
        What will be done.
    """

    def __init__(self, run: TrainingRun, plan: Plan) -> None:
        self._run, self._plan = run, plan
        self._journal = Journal(run, "FreezeOut", method=BLOCK_KEY)
        self._begun = False

    def tell_plan(self) -> None:
        """Before the training writes anything: to the log alone."""
        plan, table, say = self._plan, self._plan.timetable, self._journal
        first, last = plan.layers[0].name, plan.layers[-1].name
        steps = [table.freezes_at(index) for index in range(len(plan.layers))]
        say.log(
            f"{len(plan.layers)} layers freeze one after the other, the first ({first}) after "
            f"iteration {steps[0]}, the last ({last}) after {steps[-1]} of {table.total_steps}; "
            f"estimated saving {plan.estimate()['backward_twice']:.1%} of forward and backward "
            "passes"
        )
        if table.start:
            say.log(
                f"nothing happens before iteration {table.start}: until then "
                f"{' and '.join(plan.waits_for)} needs gradients everywhere"
            )
        for warning in plan.warnings():
            say.warn(warning)

    def begin(self) -> None:
        """At the first step of this process: where it starts from is known by then."""
        self._begun = True
        block = self._plan.block.model_dump(mode="json")
        self._journal.event("plan", block=block, **self._plan.record())
        step = self._run.start_step
        if step > 0:
            self._journal.event("resume", step=step)
            frozen = self._plan.timetable.frozen_by(step)
            self._journal.log(
                f"resumed after iteration {step}; {len(frozen)} of {len(self._plan.layers)} layers "
                "are frozen by then"
            )

    def tell_freezing(self, step: int, indices: List[int]) -> None:
        """Layers that freeze after `step` optimizer steps."""
        names = [self._plan.layers[index].name for index in indices]
        part = self.tell_part(step)
        epoch = max(0, step - 1) // self._run.steps_per_epoch + 1
        self._journal.event("freeze", step=step, epoch=epoch, layers=names, part=round(part, 6))
        self._journal.log(
            f"after iteration {step} (epoch {epoch}): {some(names)} frozen; {part:.1%} of all "
            "values are still"
        )

    def tell_part(self, step: int) -> float:
        """For VisualDL, the part of all values that is still; returns it."""
        part = self._plan.frozen_values(step) / self._plan.values
        self._journal.scalar("frozen", part, step)
        return part

    def end(self, step: int) -> None:
        """After the training, however it ended, in or before its step `step`; nothing without."""
        if not self._begun:
            return
        frozen = self._plan.timetable.frozen_by(step)
        part = self._plan.frozen_values(step) / self._plan.values
        self._journal.event("end", frozen=len(frozen), part=round(part, 6))
        self._journal.log(
            f"the end: {len(frozen)} of {len(self._plan.layers)} layers were frozen, {part:.1%} of "
            "all values"
        )
