"""The network before a reset as the teacher of the recovery from it."""

from __future__ import annotations

from pathlib import Path
from typing import List, Optional, Tuple

import paddle
from paddle import Tensor

from rifle_ext.distillation.loss import distillation
from rifle_ext.distillation.teacher import Teacher, made, numbered
from rifle_ext.errors import RifleError
from rifle_ext.heads.catching import Catching
from rifle_ext.heads.classes import load
from rifle_ext.methods.rifle.block import Distillation
from rifle_ext.methods.rifle.compared import Compared
from rifle_ext.methods.rifle.hook import RifleHook
from rifle_ext.methods.rifle.schedule import Reset, falling
from rifle_ext.runtime.saving import save_at_once
from rifle_ext.training.hooks import Batch, Hook, TrainingRun
from rifle_ext.training.journal import Journal
from rifle_ext.training.warm_up import refuse_static_graphs

FILE = "rifle_teacher_{index}.pdteacher"
"""In the folder of the run: the network before the reset of that number."""

LOOKS = 20
"""How many times in a training the distillation is recorded."""


class DistillingHook(Hook):
    """Holds the answers of a recovering network to those of the network before the reset.

    What it does at a step is a function of the block, the step and the teacher, whose weights are
    kept in a file of the run's folder, for a resume in the middle of a recovery.

    Parameters
    ----------
    rifle
        Does the resets.
    block
        What stands under `rifle.distill:`.
    """

    def __init__(self, rifle: RifleHook, block: Distillation) -> None:
        self._rifle, self.block = rifle, block

    def plan(self, run: TrainingRun) -> None:
        """Refuse what `on_train_begin` would refuse; RIFLE's plan says the rest."""
        self._compare(run)

    def _compare(self, run: TrainingRun) -> Compared:
        try:
            return Compared(run)
        except RifleError as error:
            raise RifleError(f"{self._rifle.source}: rifle.distill: {error}") from error

    def on_train_begin(self, run: TrainingRun) -> None:
        """Build what will be the teacher, and find which of its answers can be compared.

        Raises
        ------
        RifleError
            If nothing can be added to this training's loss, or its answers cannot be compared.
        """
        self._teacher: Optional[Teacher] = None
        self._started, self._step = False, 0
        self._journal = Journal(run, "RIFLE")
        self._compared = self._compare(run)
        named = dict(run.model.named_sublayers())
        answers = self._compared.answers
        self._student = Catching(run.model, {a.name: named[a.name] for a in answers})
        self._rifle.before_reset = self._remember
        self._look_every = max(1, run.total_steps // LOOKS)
        kinds = dict.fromkeys(f"{answer.name} ({answer.kind})" for answer in answers)
        self._journal.log(
            f"after each reset the answers are held to those of the network before it: "
            f"{', '.join(kinds)}"
        )

    def on_step_begin(self, run: TrainingRun, step: int) -> None:
        """Let the model's next forward pass be caught while there is a teacher."""
        if not self._started:
            self._started = True
            self._start(run, step)
        self._step = step
        if self._weight(step):
            self._student.begin()
        elif self._teacher is not None:
            self._forget()

    def _start(self, run: TrainingRun, step: int) -> None:
        """At the first step of this process: perhaps in the middle of a recovery."""
        refuse_static_graphs(
            run.model, self._rifle.source + ": rifle.distill: no answer can be caught {without}"
        )
        past = [r for r in self._rifle.schedule.resets if r.step < step]
        if self._teacher is None and past and self._weight(step):
            name = FILE.format(index=past[-1].index)
            path = _found(run, name, self._rifle.source)
            load(self._compared.network, paddle.load(str(path)))
            if path != run.save_dir / name:
                self._save(run, name)
            self._teach()

    def _remember(self, run: TrainingRun, due: Reset) -> None:
        """The network as it is now is the next teacher."""
        self._forget()
        network = self._compared.network
        load(network, run.model.state_dict())
        self._save(run, FILE.format(index=due.index))
        self._teach()

    def _save(self, run: TrainingRun, name: str) -> None:
        """Keep the teacher in the run's folder; without it, the training goes on all the same."""
        if run.rank != 0:
            return
        path = run.save_dir / name
        try:
            save_at_once(self._compared.network.state_dict(), path)
        except OSError as error:
            self._journal.warn(
                f"{path} cannot be written, so this training cannot be resumed in the middle of "
                f"the recovery: {error}"
            )

    def _teach(self) -> None:
        network = self._compared.network
        network.to(paddle.device.get_device())
        self._teacher = Teacher(network, self._compared.answers, self._compared.calls)

    def _forget(self) -> None:
        """No teacher any more: off the device."""
        if self._teacher is not None:
            self._teacher.end()
            self._teacher = None
            self._compared.network.to("cpu")

    def _weight(self, step: int) -> float:
        """That of the step that follows `step` done ones."""
        return self.block.weight * falling(step, *self._span(step))

    def _span(self, step: int) -> Tuple[int, int]:
        """From when to when the weight falls; (0, 0) before the first reset."""
        past = [r.step for r in self._rifle.schedule.resets if r.step <= step]
        if not past:
            return 0, 0
        start, end = self._rifle.schedule.period(past[-1])
        if self.block.iterations != "auto":
            end = min(end, start + self.block.iterations)
        return start, end

    def loss(self, run: TrainingRun, batch: Batch) -> Optional[Tensor]:
        """The weighed distance of the answers from the teacher's on this batch."""
        weight = self._weight(self._step)
        if self._teacher is None or not weight:
            return None
        answers = self._compared.answers
        try:
            calls = numbered(self._student.take())
            today: List[Tensor] = [made(calls, answer) for answer in answers]
            theirs = self._teacher.answers(batch.forward)
            found = distillation(answers, today, theirs, self.block.temperature, batch.ignored)
        except RifleError as error:
            raise RifleError(f"{self._rifle.source}: rifle.distill: {error}") from error
        if self._step % self._look_every == 0:
            value = float(found)
            self._journal.event("distillation", step=self._step, weight=weight, value=value)
            self._journal.scalar("distillation", value, self._step)
        return weight * found

    def on_train_end(self, run: TrainingRun) -> None:
        """Give everything back."""
        self._forget()
        self._student.end()


def _found(run: TrainingRun, name: str, source: str) -> Path:
    """The teacher's file of a training that is resumed: above its checkpoint, or in its folder.

    In this order: in the folder there may be that of another training.
    """
    above = [] if run.resumed is None else [run.resumed.parent, run.resumed.parent.parent]
    places = list(dict.fromkeys([*above, run.save_dir]))
    for folder in places:
        if (folder / name).is_file():
            return folder / name
    raise RifleError(
        f"{source}: rifle.distill: {name} is in none of {', '.join(map(str, places))}: it holds "
        "the network before the last reset, which teaches the recovery from it; put it there, or "
        "set rifle.distill: false",
        topic="resume",
    )
