"""What RIFLE says of itself while a training runs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Dict, List

from rifle_ext.methods.rifle.block import RifleConfig
from rifle_ext.methods.rifle.plan import Plan
from rifle_ext.redraw.lsuv import uncalibrated
from rifle_ext.training.hooks import TrainingRun
from rifle_ext.training.journal import Journal


class ResetJournal:
    """Tells users what RIFLE plans and does in one training.

    Parameters
    ----------
    run
        The training.
    block
        The validated `rifle:` block.
    plan
        What will be done.
    """

    def __init__(self, run: TrainingRun, block: RifleConfig, plan: Plan) -> None:
        self._run, self._block, self._plan = run, block, plan
        self._journal = Journal(run, "RIFLE")
        self._done: List[Dict[str, Any]] = []
        self._begun = False

    def tell_plan(self) -> None:
        """Before the training writes anything: to the log alone."""
        run, plan, schedule, say = self._run, self._plan, self._plan.schedule, self._journal
        kinds = ", ".join(f"{name} ({type(layer).__name__})" for name, layer in plan.layers.items())
        say.log(
            f"output layers: {kinds}; {len(plan.selection.tensors)} tensors, "
            f"{plan.selection.values} values"
        )
        steps = ", ".join(str(reset.step) for reset in schedule.resets)
        say.log(
            f"{resets(len(schedule.resets))} planned"
            + (f" after iteration {steps}" if steps else "")
            + f"; {schedule.total_steps} iterations in all, {schedule.steps_per_epoch} an epoch"
        )
        alone = head_first(self._block)
        if alone and schedule.resets:
            say.log(f"after each reset {alone}")
        if plan.loaded:
            done = {"keep": "left alone", "restore": "restored at each reset", "redraw": "redrawn"}
            say.log(
                f"outputs that were loaded from pretrained weights are "
                f"{done[self._block.of_loaded]}: {', '.join(plan.loaded)}"
            )
        for warning in plan.warnings():
            say.warn(warning)
        for skipped in schedule.skipped:
            say.log(
                f"reset {skipped.index} after iteration {skipped.step} is skipped: {skipped.why}"
            )
        if run.stops_early is not None:
            say.warn(
                f"{run.stops_early}: the worse evaluations after a reset count, too, and the "
                "training may stop before the model has recovered"
            )

    def begin(self) -> None:
        """At the first step of this process: where it starts from is known by then."""
        run, say = self._run, self._journal
        self._begun = True
        say.event("plan", block=self._block.model_dump(mode="json"), **self._plan.record())
        for skipped in self._plan.schedule.skipped:
            say.event("skip", **asdict(skipped))
        if run.start_step > 0:
            say.event("resume", step=run.start_step)
            steps = [reset.step for reset in self._plan.schedule.resets]
            ahead = [str(step) for step in steps if step >= run.start_step]
            say.log(
                f"resumed after iteration {run.start_step}; resets still to come after "
                f"iteration {', '.join(ahead) or '(none)'}"
            )

    def tell_reset(self, record: Dict[str, Any]) -> None:
        """A reset that was done; `record` is the event."""
        self._done.append(record)
        self._journal.event("reset", **record)
        self.scalar("reset", record["index"], record["step"])
        kept = self._block.optimizer_state == "keep"
        self._journal.log(
            "reset {index} of {of} after iteration {step} (epoch {epoch}): {values} values "
            "in {tensors} tensors drawn again ({names}), optimizer state {state}, "
            "{duration_ms:.0f} ms".format(
                tensors=len(record["parameters"]),
                names=", ".join(self._plan.layers),
                state="kept" if kept else "reset",
                **record,
            )
        )

    def warn(self, message: str) -> None:
        """One line in the log, as a warning."""
        self._journal.warn(message)

    def tell_calibration(self, step: int, name: str, factor: float, digest: str) -> None:
        """A fresh weight that a batch has scaled after the reset at `step`."""
        self._journal.event(
            "calibrated", step=step, parameter=name, factor=round(factor, 6), digest=digest
        )

    def tell_uncalibrated(self, names: List[str]) -> None:
        """Fresh weights that should have been scaled, but that no batch has."""
        if names:
            self._journal.warn(uncalibrated(names))

    def tell_weights(self, step: int, since: int, change: Dict[str, float]) -> None:
        """How far each stage has moved between two steps, as fractions of its norm."""
        self._journal.event("weights", step=step, since=since, change=change)
        for stage, fraction in change.items():
            self.scalar(f"weight_change/{stage}", fraction, step)

    def scalar(self, tag: str, value: float, step: int) -> None:
        """One value for VisualDL, if the toolkit records to it."""
        self._journal.scalar(tag, value, step)

    def end(self) -> None:
        """After the training, however it ended; nothing if it never did a step."""
        if not self._begun:
            return
        steps = [record["step"] for record in self._done]
        seconds = sum(record["duration_ms"] for record in self._done) / 1000
        self._journal.event("end", resets=steps, duration_ms=round(1000 * seconds, 3))
        after = f" after iteration {', '.join(map(str, steps))}" if steps else ""
        of = len(self._plan.schedule.resets)
        since = f" since iteration {self._run.start_step}" if self._run.start_step else ""
        self._journal.log(
            f"the end: {resets(len(steps))} of {of} done{since}{after}, {seconds:.2f} s in all"
        )


def head_first(block: RifleConfig) -> str:
    """For how long a fresh head learns alone, in words; empty if everything learns at once."""
    warm_up, ramp = block.warm_up, block.ramp
    if not warm_up:
        return f"the rest is back after {ramp} iterations" if ramp else ""
    return f"the head learns alone for {warm_up} iterations" + (
        f", the rest is back after {ramp} more" if ramp else ""
    )


def resets(number: int) -> str:
    """A number of resets in words."""
    return "1 reset" if number == 1 else f"{number} resets"
