"""A trial before its first training: the arms looked at, a few steps measured."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from rich.console import Console

from rifle_ext.commands.plan_text import show as show_plan
from rifle_ext.commands.training_options import Looked, ToolkitError, look
from rifle_ext.commands.trial import measuring
from rifle_ext.commands.trial.arms import Arm, Models, arms
from rifle_ext.commands.trial.folder import MEASURED, Trial
from rifle_ext.commands.trial.inputs import Inputs, inputs
from rifle_ext.commands.trial.running import State
from rifle_ext.commands.trial.runs import Outcome, Run, Setting
from rifle_ext.entry_groups import entry_group
from rifle_ext.errors import RifleError
from rifle_ext.training import environment
from rifle_ext.training.block_models import block_models
from rifle_ext.training.curves import GROUP as LOGS
from rifle_ext.training.registry import methods
from rifle_ext.training.tools import GROUP as TOOLS

OURS = "ours"
"""A train tool's name for that of this package, where there is a checkout's, too."""


@dataclass(frozen=True)
class Prepared:
    """A trial that is set up.

    Attributes
    ----------
    setting
        What its trainings have in common.
    arms
        The first one is what the others are compared with.
    inputs
        What decides the results.
    values
        How many values the model's parameters have.
    trial
        What its folder holds.
    """

    setting: Setting
    arms: Sequence[Arm]
    inputs: Inputs
    values: int
    trial: Trial


@dataclass(frozen=True)
class Expected:
    """What the trainings will take.

    Attributes
    ----------
    seconds
        Of one, evaluations apart.
    places
        For each that may run at a time, what it adds to the environment.
    """

    seconds: float
    places: Sequence[Dict[str, str]]


def prepare(chosen: argparse.Namespace, folder: Path, console: Console) -> Prepared:
    """Look at the training of each arm and show its plan.

    Raises
    ------
    RifleError
        If an arm cannot be trained so, or the folder holds another trial.
    """
    tool = entry_group(TOOLS)[chosen.toolkit].load()
    first = _look(chosen, [])
    chosen_arms = arms(chosen.arm, first.config, list(methods()))
    models = block_models()
    with environment.set_aside():  # the arms hold its blocks
        looked = {arm.name: _look_at(arm, chosen, models) for arm in chosen_arms}
    _check_lengths(looked)
    for arm in chosen_arms:
        console.print(f"[bold]arm {arm.name}[/bold]")
        show_plan(looked[arm.name], console)
    setting = Setting(
        toolkit=chosen.toolkit,
        tool=tool,
        logs=entry_group(LOGS)[chosen.toolkit].load(),
        train=_train_tool(chosen.tool, tool),
        config=chosen.config,
        options=chosen.opts,
        imports=chosen.imports,
        folder=folder,
        device=chosen.device or ("gpu" if gpus_here() else "cpu"),
        total_steps=first.total_steps,
        steps_per_epoch=first.steps_per_epoch,
        evaluations=chosen.evaluations,
        models=models,
        resume=chosen.resume,
        keep=chosen.keep,
    )
    laid_over = Path(environment.named_file()) if first.laid_over else None
    given = inputs(Path(setting.config), setting.options, setting.imports, setting.train, laid_over)
    trial = Trial(setting, given, chosen_arms)
    return Prepared(setting, chosen_arms, given, first.values, trial)


def _look(chosen: argparse.Namespace, overrides: Sequence[str]) -> Looked:
    """The training with these overrides; without methods if its config has none."""
    asked = argparse.Namespace(**{**vars(chosen), "opts": [*chosen.opts, *overrides]})
    return look(asked, defaults=False)


def _look_at(arm: Arm, chosen: argparse.Namespace, models: Models) -> Looked:
    """The training of an arm; what is wrong with one that was named is told with its name."""
    try:
        return _look(chosen, arm.overrides(None, models))
    except RifleError as error:
        if not chosen.arm:
            raise
        said = f"--arm {arm.name}: {error}"
        if isinstance(error, ToolkitError):
            raise ToolkitError(said, topic=error.topic) from error.__cause__
        raise RifleError(said) from error


def _train_tool(named: Optional[str], tool: Any) -> str:
    """A file, or the name of a module."""
    if named == OURS:
        return str(tool.MODULE)
    return str(named or tool.script() or tool.MODULE)


def _check_lengths(looked: Dict[str, Looked]) -> None:
    """Raise RifleError if the arms are not equally long: that would be compared, too."""
    lengths = {name: found.total_steps for name, found in looked.items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{name}: {steps}" for name, steps in lengths.items())
        raise RifleError(
            f"--arm: the arms must be equally long, in iterations; they are: {said}", topic="arms"
        )


def states_of(found: Prepared, seeds: Sequence[int]) -> List[State]:
    """Each seed's trainings after one another, so that a trial can be stopped at any time."""
    states = []
    for seed in seeds:
        for arm in found.arms:
            run = Run(arm, seed)
            state = State(run)
            if found.trial.is_done(run):
                line = found.trial.results()[run.key]
                state.phase, state.outcome = "done", Outcome(metric=line["metric"])
                state.seconds = line["seconds"]
            states.append(state)
    return states


def expect(
    found: Prepared, states: Sequence[State], chosen: argparse.Namespace, console: Console
) -> Expected:
    """Say what the trainings that wait will take, from a few steps of the first one."""
    waiting = [state for state in states if state.phase == "waiting"]
    gpus = gpus_here() if found.setting.device == "gpu" else 0
    wanted = min(chosen.jobs or max(1, gpus), max(1, len(waiting)))
    if not waiting:
        return Expected(0.0, [])
    trial = found.setting
    measured = _measured(waiting[0].run, trial, _places(1, gpus)[0])
    free = measuring.free_memory()
    jobs = measuring.jobs_that_fit(wanted, measured.memory, free)
    if jobs < wanted:
        console.print(
            f"[yellow]warning:[/yellow] one training takes {measured.memory / 2**30:.1f} GiB of "
            f"memory, {(free or 0) / 2**30:.1f} GiB are free: {jobs} at a time, not {wanted}"
        )
    seconds = measured.seconds(trial.total_steps)
    disk = measuring.disk_space(found.values, jobs, len(waiting), trial.keep)
    many = chosen.minutes is not None and chosen.seeds is None
    number = "as many trainings as fit" if many else f"{len(waiting)} trainings to do"
    whole = "" if many else f", {_hours(seconds * len(waiting) / jobs)} in all"
    console.print(
        f"{number}, {jobs} at a time on the {trial.device} by {trial.train}: one takes about "
        f"{_hours(seconds)}{whole}, evaluations apart; checkpoints take up to "
        f"{disk / 2**20:.0f} MiB",
        soft_wrap=True,
    )
    return Expected(seconds, _places(jobs, gpus))


def _measured(run: Run, setting: Setting, environment: Dict[str, str]) -> measuring.Measured:
    """What a few steps take; measured once in a folder."""
    folder = setting.folder / MEASURED
    kept = folder / "measured.json"
    with contextlib.suppress(OSError, ValueError, TypeError):
        return measuring.Measured(**json.loads(kept.read_text()))
    scratch = replace(setting, folder=folder, resume=False)
    measured = measuring.measure(run, scratch, environment)
    kept.write_text(json.dumps(asdict(measured)))
    return measured


def _hours(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def gpus_here() -> int:
    """GPUs that Paddle can use here."""
    paddle = importlib.import_module("paddle")
    if not paddle.is_compiled_with_cuda():
        return 0
    return int(paddle.device.cuda.device_count())


def _places(jobs: int, gpus: int) -> List[Dict[str, str]]:
    """What each of several trainings at a time adds to the environment: a GPU of its own.

    And no blocks: those of the environment came to it with its arm's.
    """
    common = {environment.VARIABLE: ""}
    if not gpus:
        return [{**common, "CUDA_VISIBLE_DEVICES": ""}] * jobs
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = [name for name in given.split(",") if name] or [str(i) for i in range(gpus)]
    return [{**common, "CUDA_VISIBLE_DEVICES": names[job % len(names)]} for job in range(jobs)]
