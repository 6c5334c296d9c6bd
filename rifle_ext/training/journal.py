"""What happens is said in three places: the toolkit's log, the events file, VisualDL."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Dict, List, Optional

from rifle_ext.methods.rifle.block import RifleConfig
from rifle_ext.methods.rifle.plan import Plan
from rifle_ext.training.events import EventLog
from rifle_ext.training.hooks import TrainingRun


class Journal:
    """Tells users what RIFLE plans and does in one training, on rank 0 alone.

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
        self._events: Optional[EventLog] = None
        self._done: List[Dict[str, Any]] = []

    def tell_plan(self) -> None:
        """Before the training writes anything: to the log alone."""
        run, plan, schedule = self._run, self._plan, self._plan.schedule
        kinds = ", ".join(f"{name} ({type(layer).__name__})" for name, layer in plan.layers.items())
        run.log(
            f"[RIFLE] output layers: {kinds}; {len(plan.selection.tensors)} tensors, "
            f"{plan.selection.values} values"
        )
        steps = ", ".join(str(reset.step) for reset in schedule.resets)
        run.log(
            f"[RIFLE] {_resets(len(schedule.resets))} planned"
            + (f" after iteration {steps}" if steps else "")
            + f"; {schedule.total_steps} iterations in all, {schedule.steps_per_epoch} an epoch"
        )
        for warning in plan.warnings():
            run.warn(f"[RIFLE] {warning}")
        for skipped in schedule.skipped:
            run.log(
                f"[RIFLE] reset {skipped.index} after iteration {skipped.step} is skipped: "
                f"{skipped.why}"
            )

    def begin(self) -> None:
        """At the first step of this process: where it starts from is known by then."""
        run = self._run
        if run.rank == 0:
            self._events = EventLog(run.save_dir, run.start_step > 0, run.warn)
        block = self._block.model_dump(mode="json")
        self._write("plan", block=block, **self._plan.record())
        for skipped in self._plan.schedule.skipped:
            self._write("skip", **asdict(skipped))
        if run.start_step > 0:
            self._write("resume", step=run.start_step)
            steps = [reset.step for reset in self._plan.schedule.resets]
            ahead = [str(step) for step in steps if step >= run.start_step]
            run.log(
                f"[RIFLE] resumed after iteration {run.start_step}; resets still to come after "
                f"iteration {', '.join(ahead) or '(none)'}"
            )

    def tell_reset(self, record: Dict[str, Any]) -> None:
        """A reset that was done; `record` is the event (`rifle_ext.training.events`)."""
        self._done.append(record)
        self._write("reset", **record)
        self.scalar("reset", record["index"], record["step"])
        kept = self._block.optimizer_state == "keep"
        self._run.log(
            "[RIFLE] reset {index} of {of} after iteration {step} (epoch {epoch}): {values} values "
            "in {tensors} tensors drawn again ({names}), optimizer state {state}, "
            "{duration_ms:.0f} ms".format(
                tensors=len(record["parameters"]),
                names=", ".join(self._plan.layers),
                state="kept" if kept else "reset",
                **record,
            )
        )

    def tell_weights(self, step: int, since: int, change: Dict[str, float]) -> None:
        """How far each stage has moved between two steps, as fractions of its norm."""
        self._write("weights", step=step, since=since, change=change)
        for stage, fraction in change.items():
            self.scalar(f"weight_change/{stage}", fraction, step)

    def scalar(self, tag: str, value: float, step: int) -> None:
        """One value for VisualDL, if the toolkit records to it."""
        if self._run.scalar is not None and self._run.rank == 0:
            try:
                self._run.scalar(f"RIFLE/{tag}", value, step)
            except OSError as error:  # no reason to end a training
                self._run.scalar = None
                self._run.warn(f"[RIFLE] VisualDL's record cannot be written: {error}")

    def end(self) -> None:
        """After the training, however it ended; nothing if it never did a step."""
        if self._events is None:
            return
        steps = [record["step"] for record in self._done]
        seconds = sum(record["duration_ms"] for record in self._done) / 1000
        self._write("end", resets=steps, duration_ms=round(1000 * seconds, 3))
        after = f" after iteration {', '.join(map(str, steps))}" if steps else ""
        of = len(self._plan.schedule.resets)
        since = f" since iteration {self._run.start_step}" if self._run.start_step else ""
        self._run.log(
            f"[RIFLE] the end: {_resets(len(steps))} of {of} done{since}{after}, {seconds:.2f} s "
            "in all"
        )

    def _write(self, event: str, **fields: Any) -> None:
        if self._events is not None:
            self._events.write(event, **fields)


def _resets(number: int) -> str:
    return "1 reset" if number == 1 else f"{number} resets"
