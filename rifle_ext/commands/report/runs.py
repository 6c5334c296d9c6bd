"""One training, read from its output folder."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Collection, Dict, List, Optional, Sequence, Set, Tuple

from rifle_ext.commands.blocks import defaults
from rifle_ext.commands.report.change import Change, from_checkpoints, tracked
from rifle_ext.commands.report.freezing import Freezing
from rifle_ext.commands.report.old_task import OldTask
from rifle_ext.commands.report.old_task import read as read_old_task
from rifle_ext.commands.report.reading import read, readers, texts_of
from rifle_ext.commands.report.recovery import Recovery, recoveries
from rifle_ext.commands.report.told import lines_of, told
from rifle_ext.errors import RifleError
from rifle_ext.training.block_models import block_models
from rifle_ext.training.curves import Curves
from rifle_ext.training.events import FILE_NAME

NEEDED = {
    "resume": ("step",),
    "laid_over": ("block_of", "source"),
    "reset": ("step", "parameters", "duration_ms"),
    "freeze": ("method", "step", "layers", "part"),
    "weights": ("step", "since", "change"),
}
"""Fields that are read of each kind of event."""


@dataclass(frozen=True)
class Run:
    """A training and what methods did to it.

    Attributes
    ----------
    folder
        Its output folder.
    blocks
        The validated block of each method that wrote a plan, by the method's key.
    total_steps
        Its length in iterations: as planned, or what was logged if it was trained without a block.
    resets
        The event of each reset, in order of their steps; the last one where a resumed training did
        one again.
    expected
        In how many iterations the plan expected the head to be back, by the reset's step; None if
        not within its period.
    curves
        Loss and metric.
    change
        How far each stage of the model moved in each period.
    change_from
        Where that is from: ``track``, ``checkpoints`` or nothing.
    acts
        What other methods did: method, kind of event, iterations done before it.
    freezings
        The event of each freezing of layers, in order of their steps.
    told
        Whether its log speaks of RIFLE, even if there are no events.
    notes
        What was found elsewhere than in its place, or not at all, a sentence each.
    old_task
        What became of the old task, if an evaluation of it is known.
    """

    folder: Path
    blocks: Dict[str, Dict[str, Any]]
    total_steps: int
    resets: List[Dict[str, Any]]
    expected: Dict[int, Optional[int]]
    curves: Curves
    change: Change
    change_from: str
    acts: Tuple[Tuple[str, str, int], ...] = ()
    freezings: Tuple[Freezing, ...] = ()
    told: bool = False
    notes: Tuple[str, ...] = ()
    old_task: Optional[OldTask] = None

    @property
    def reset_steps(self) -> List[int]:
        """Iterations done before each reset."""
        return [reset["step"] for reset in self.resets]

    @property
    def recoveries(self) -> List[Recovery]:
        """The recovery from each reset."""
        return recoveries(self.reset_steps, self.curves.losses, self.curves.metrics)

    @property
    def best(self) -> Tuple[int, float]:
        """Iteration and metric of the best evaluation; (0, nan) if there was none."""
        return max(
            self.curves.metrics.items(), key=lambda point: point[1], default=(0, float("nan"))
        )

    @property
    def last(self) -> Tuple[int, float]:
        """Iteration and metric of the last evaluation; (0, nan) if there was none."""
        return max(self.curves.metrics.items(), default=(0, float("nan")))

    @property
    def label(self) -> str:
        """What RIFLE did and for how long, the seed apart: runs of one label are repetitions.

        The rest of the config is not compared.
        """
        others = [f"{key}: {_changed(key, block)}" for key, block in self.blocks.items()]
        others = [said for said in others if not said.startswith("rifle: ")]
        rifle = self.blocks.get("rifle")
        if not self.resets:
            none = "without resets" if rifle is None and not self.told else "no reset done"
            return "; ".join([f"{none}, {self.total_steps} iterations", *others])
        left_out = ("seed", "track", "max_re_num", "re_init_epoch", "re_init_iter", "keep_last")
        changed = _changed("rifle", rifle or {}).items()
        more = [f"{key}: {value}" for key, value in changed if key not in left_out]
        steps = ", ".join(map(str, self.reset_steps))
        return "; ".join([f"reset after {steps} of {self.total_steps} iterations", *more, *others])

    @property
    def is_baseline(self) -> bool:
        """Whether it was trained without any method."""
        return not self.blocks and not self.told


def _changed(key: str, block: Dict[str, Any]) -> Dict[str, Any]:
    """What of a method's block is not its default, as far as its defaults are known."""
    model = block_models().get(key)
    usual = {} if model is None else defaults(model)
    return {name: value for name, value in block.items() if value != usual.get(name)}


def load(
    folder: Path,
    logs: Sequence[Path] = (),
    outputs: Collection[str] = (),
    old_task: Sequence[Path] = (),
) -> Run:
    """Read a training.

    Parameters
    ----------
    folder
        Its output folder.
    logs
        Where its log is, if not there (`rifle_ext.commands.report.reading.read`).
    outputs
        Names of output layers' parameters, which are left out where checkpoints are compared, as
        are those that this training reset.
    old_task
        Where evaluations of its old task are, if not there (`rifle_ext.commands.report.old_task`).

    Raises
    ------
    RifleError
        If there is no such folder, or nothing in it says how the training went.
    """
    if not folder.is_dir():
        raise RifleError(
            f"{folder}: there is no such folder; name the output folder of a training",
            topic="report",
        )
    path, notes = _events_file(folder)
    events = events_of(path)
    plan = next((e for e in reversed(events) if "total_steps" in e), None)
    starts = [0, *(e["step"] for e in events if e["event"] == "resume")]
    laid_over = {e["block_of"]: e["source"] for e in events if e["event"] == "laid_over"}
    notes += [f"{key}: from {source}" for key, source in laid_over.items()]
    curves = read(folder, logs, starts)
    said = told(line for text in texts_of(folder, logs) for line in lines_of(text))
    epoch = plan["steps_per_epoch"] if plan else curves.steps_per_epoch
    total = plan["total_steps"] if plan else max(curves.losses)
    resets = {e["step"]: e for e in events if e["event"] == "reset"}
    missing = _missing(events, said.resets)
    if said.anything and not events:
        notes.append(
            f"no {FILE_NAME} in or below {folder}: the resets are those that the log tells of"
        )
    elif missing:
        notes.append(f"{path} breaks off: the resets after that are those that the log tells of")
    resets.update(missing)
    change, change_from = tracked(events), "track"
    if not change and not missing:
        head = {*outputs, *outputs_of(folder)}
        files = readers()[curves.toolkit].checkpoints(path.parent, epoch, total)
        change, change_from = from_checkpoints(files, sorted(resets), head), "checkpoints"
    return Run(
        folder,
        {e.get("method", "rifle"): e.get("block", {}) for e in events if e["event"] == "plan"},
        total,
        [resets[step] for step in sorted(resets)],
        _expected(events),
        curves,
        change,
        change_from if change else "",
        tuple((e["method"], e["event"], e["step"]) for e in events if _is_act(e)),
        tuple(
            Freezing(e["method"], e["step"], len(e["layers"]), e["part"])
            for e in events
            if e["event"] == "freeze"
        ),
        said.anything,
        tuple(notes),
        read_old_task(folder, old_task, curves.toolkit, curves.metric),
    )


def _expected(events: Sequence[Dict[str, Any]]) -> Dict[int, Optional[int]]:
    """By the last plan that says it: another method's may have been written after it."""
    plans = [e["recovery"] for e in events if e["event"] == "plan" and "recovery" in e]
    return {way["step"]: way["expected"] for way in (plans[-1] if plans else ())}


def _is_act(event: Dict[str, Any]) -> bool:
    """Whether it is something that a method other than RIFLE did at a step."""
    others = ("resume", "freeze", "end")
    return "method" in event and "step" in event and event["event"] not in others


def _events_file(folder: Path) -> Tuple[Path, List[str]]:
    """Where the events of a training are: in its folder, or the only ones below it."""
    path = folder / FILE_NAME
    if path.is_file():
        return path, []
    below = sorted(folder.rglob(FILE_NAME))
    if len(below) == 1:
        return below[0], [f"the events are those of {below[0]}"]
    if below:
        found = ", ".join(str(path.parent) for path in below)
        return path, [f"below it are the events of {len(below)} trainings, none taken: {found}"]
    return path, []


def _missing(events: Sequence[Dict[str, Any]], told: Dict[int, Any]) -> Dict[int, Any]:
    """The resets that the log tells of and the events do not, as they break off before."""
    if events and events[-1]["event"] == "end":
        return {}
    last = max((e["step"] for e in events if e["event"] == "reset"), default=-1)
    return {step: event for step, event in told.items() if step > last}


def outputs_of(folder: Path) -> Set[str]:
    """Names of the parameters that a training reset."""
    events = events_of(_events_file(folder)[0])
    return {name for e in events if e["event"] == "reset" for name in e["parameters"]}


def events_of(path: Path) -> List[Dict[str, Any]]:
    """What happened, in order: what a resumed training did again counts as it was the last time.

    A last line that a kill cut short is left out.
    """
    events: List[Dict[str, Any]] = []
    try:
        lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
        for number, line in enumerate(lines, 1):
            event = _event(number, json.loads(line))
            if event["event"] == "resume":
                events = [e for e in events if not _is_superseded(e, event["step"])]
            events.append(event)
    except (OSError, ValueError, TypeError) as error:
        raise RifleError(
            f"{path}: not the events of a training: {error}", topic="report"
        ) from error
    return events


def _event(number: int, event: Any) -> Dict[str, Any]:
    """An event with all that is read of its kind; raises ValueError of any other line."""
    if not isinstance(event, dict) or "event" not in event:
        raise ValueError(f"line {number}: no event")
    needed = NEEDED.get(event["event"], ())
    missing = [field for field in needed if field not in event]
    if "total_steps" in event and "steps_per_epoch" not in event:
        missing.append("steps_per_epoch")
    if missing:
        raise ValueError(f"line {number}: {event['event']} has no {', '.join(missing)}")
    return event


def _is_superseded(event: Dict[str, Any], resumed: int) -> bool:
    """What is done after a step belongs to what follows; a look at the weights, to before."""
    kind = event["event"]
    done_again = kind in ("reset", "freeze") or _is_act(event)
    return (done_again and event["step"] >= resumed) or (
        kind == "weights" and event["step"] > resumed
    )


def spread(values: Sequence[float]) -> Tuple[Optional[float], Optional[float]]:
    """Mean and sample standard deviation of those that are numbers; None where there is none."""
    known = [value for value in values if not math.isnan(value)]
    return fmean(known) if known else None, stdev(known) if len(known) > 1 else None
