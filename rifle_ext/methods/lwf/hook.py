"""Learning without Forgetting as a hook that trainers run."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import List, Mapping, Optional, Sequence

import paddle
from paddle import Tensor

from rifle_ext.distillation.answers import Answer
from rifle_ext.distillation.loss import distillation
from rifle_ext.distillation.teacher import Calls, Teacher, made, numbered
from rifle_ext.errors import RifleError
from rifle_ext.heads.catching import Catching
from rifle_ext.methods.lwf.block import LwfConfig
from rifle_ext.methods.lwf.old_head import OldHead
from rifle_ext.methods.lwf.old_task import OldTask, differing
from rifle_ext.methods.lwf.outlook import outlook, record, warnings
from rifle_ext.training.hooks import Batch, Hook, TrainingRun
from rifle_ext.training.journal import Journal
from rifle_ext.training.parameter_rates import ParameterRates
from rifle_ext.training.plans import MethodPlan
from rifle_ext.training.ranks import refuse_parts
from rifle_ext.training.warm_up import HeadFirst, check_optimizer, factors, refuse_static_graphs

LOOKS = 20
"""How many times in a training the distillation is recorded."""


class LwfHook(Hook):
    """Keeps an old head beside the new one, and holds its answers to the old network's.

    What it does at a step is a function of the block, the step, the training's weights and the old
    head's; these are kept beside each checkpoint. The teacher is read from its file each time.

    Parameters
    ----------
    block
        The validated `lwf:` block.
    source
        What the user knows the config as, for messages.
    """

    def __init__(self, block: LwfConfig, source: str = "config") -> None:
        self.block, self.source = block, source
        self.excludes: Mapping[str, str] = {}
        if block.weight and block.warm_up:
            self.excludes = {
                "rifle": "with lwf.warm_up both set the learning rates of everything but the new "
                "output layers"
            }

    def plan(self, run: TrainingRun) -> Optional[MethodPlan]:
        """What it would do to a training; raises RifleError if that cannot be served."""
        task = OldTask(self.block, run) if self.block.weight else None
        return outlook(self.block, task, run)

    def busy_until(self, run: TrainingRun) -> int:
        """The end of the warm-up: until then nothing but the new output layers learns."""
        return self.block.warm_up_steps(run.steps_per_epoch) if self.block.weight else 0

    def on_train_begin(self, run: TrainingRun) -> None:
        """Build the old network, find what can be kept of it, and say it.

        Raises
        ------
        RifleError
            If the training cannot be served.
        """
        self._task: Optional[OldTask] = None
        self._step, self._begun = 0, False
        self._journal = Journal(run, "LwF", method="lwf")
        if not self.block.weight:
            self._journal.log("weight = 0: plain fine-tuning")
            return
        self._warm_up = self.block.warm_up_steps(run.steps_per_epoch)
        try:
            if self._warm_up:
                check_optimizer(run.optimizer, f"lwf.warm_up = {self.block.warm_up}")
            self._begin(run, OldTask(self.block, run))
        except RifleError as error:
            raise RifleError(f"{self.source}: {error}") from error

    def _begin(self, run: TrainingRun, task: OldTask) -> None:
        network, device = task.network, paddle.device.get_device()
        self._head = OldHead(network, task.answers, task.depending)
        if run.resumed is not None:
            self._head.load(run.resumed)
        network.to(device)
        self._head.to(device)
        self._teacher = Teacher(network, task.answers, task.calls)
        with contextlib.ExitStack() as undone:
            self._attach(run, task, undone)
            undone.pop_all()

    def _attach(self, run: TrainingRun, task: OldTask, undone: contextlib.ExitStack) -> None:
        """Hang the old head on the training; `undone` takes it off again."""
        named = dict(run.model.named_sublayers())
        layers = {answer.name: named[answer.name] for answer in task.answers}
        self._head.begin(run.optimizer, layers)
        undone.callback(self._head.end, run.optimizer)
        self._student = Catching(run.model, layers)
        undone.callback(self._student.end)
        self._first: Optional[HeadFirst] = None
        if self._warm_up:
            owners = {name.rpartition(".")[0] for name in task.new}
            self._first = HeadFirst(task.new.values(), run.model, True, owners)
        self._old_rates = ParameterRates(self._head.parameters)
        self._look_every = max(1, run.total_steps // LOOKS)
        self._task = task
        self._tell(run, task)

    def _tell(self, run: TrainingRun, task: OldTask) -> None:
        kinds = dict.fromkeys(f"{a.name} ({a.kind})" for a in task.answers if a.kind != "none")
        self._journal.log(
            f"the teacher has {task.classes} classes and comes from {task.source}; its answers "
            f"are kept at {', '.join(kinds)}"
        )
        if self._warm_up:
            self._journal.log(
                f"the new output layers learn alone until iteration {self._warm_up}: "
                f"{', '.join(task.new)}"
            )
        for warning in warnings(self.block, run):
            self._journal.warn(warning)
        if run.resumed is None:
            others = differing(run.model, task.network.state_dict(), task.depending)
            if others:
                self._journal.warn(
                    f"{len(others)} tensors below the output layers do not begin with the "
                    f"teacher's values ({', '.join(others[:3])}, ...), so the old head does not "
                    "fit what it stands on; begin with the teacher's weights"
                )

    def on_step_begin(self, run: TrainingRun, step: int) -> None:
        """Set the rates of the step, and let the model's next forward pass be caught."""
        if self._task is None:
            return
        if not self._begun:
            self._begun = True
            self._start(run, self._task)
        self._step = step
        now = factors(step, self._warm_up)
        if self._first is not None:
            self._first.set(now)
        self._old_rates.multiply(now.rest)
        self._head.forget_gradients()
        self._student.begin()

    def _start(self, run: TrainingRun, task: OldTask) -> None:
        """At the first step of this process."""
        refuse_parts()
        refuse_static_graphs(run.model, self.source + ": lwf: no answer can be caught {without}")
        block = self.block.model_dump(mode="json")
        self._journal.event("plan", block=block, **record(self.block, task, run))
        if run.start_step:
            self._journal.event("resume", step=run.start_step)

    def loss(self, run: TrainingRun, batch: Batch) -> Optional[Tensor]:
        """The weighed distance of today's old answers from the teacher's on this batch."""
        if self._task is None:
            return None
        answers, ignored = self._task.answers, batch.ignored
        try:
            today = self._today(numbered(self._student.take()), answers)
            theirs = self._teacher.answers(batch.forward)
            found = distillation(answers, today, theirs, self.block.temperature, ignored)
        except RifleError as error:
            raise RifleError(f"{self.source}: lwf: {error}") from error
        self._record(found)
        return self.block.weight * found

    def _today(self, calls: Calls, answers: Sequence[Answer]) -> List[Tensor]:
        """What the old layers, those of the old head among them, answer on this batch."""
        found = []
        for answer in answers:
            result = made(calls, answer)
            if answer.name in self._head:
                given = calls[answer.name, answer.nth].given
                assert given is not None
                result = self._head.answer(answer.name, given)
            found.append(result)
        return found

    def _record(self, found: Tensor) -> None:
        if self._step % self._look_every == 0:
            value = float(found)
            self._journal.event("distillation", step=self._step, value=round(value, 6))
            self._journal.scalar("distillation", value, self._step)

    def on_save(self, run: TrainingRun, path: Path, tensors: Mapping[str, Tensor]) -> None:
        """Keep the old head beside the model's parameters."""
        if self._task is not None:
            self._head.save(path, tensors)

    def on_train_end(self, run: TrainingRun) -> None:
        """Give everything back."""
        if self._task is None:
            return
        if self._first is not None:
            self._first.end()
        self._old_rates.restore()
        self._student.end()
        self._teacher.end()
        self._head.end(run.optimizer)
        if self._begun:
            self._journal.event("end", step=self._step + 1)
