"""`rifle-ext trial`: does it pay on my data? Trains with and without, and says what can be said."""

from __future__ import annotations

import argparse
import importlib
import math
import os
import signal
import time
from pathlib import Path
from typing import Any, Dict, List, Sequence

from rich.console import Console

from rifle_ext.commands.blocks import block_models
from rifle_ext.commands.console import standard_output
from rifle_ext.commands.plan_text import show as show_plan
from rifle_ext.commands.training_options import Looked, add_options, check_options, look
from rifle_ext.commands.trial import live, measuring
from rifle_ext.commands.trial.arms import Arm, arms
from rifle_ext.commands.trial.folder import Trial, alone_in
from rifle_ext.commands.trial.inputs import Inputs, inputs
from rifle_ext.commands.trial.running import Limits, Runner, State
from rifle_ext.commands.trial.runs import Outcome, Run, Setting
from rifle_ext.entry_groups import entry_group
from rifle_ext.errors import RifleError
from rifle_ext.training.curves import GROUP as LOGS
from rifle_ext.training.registry import methods
from rifle_ext.training.tools import GROUP as TOOLS

SEEDS = 3
"""How many, unless `--seeds` or `--minutes` says."""

MANY = 1000
"""Seeds that `--minutes` may come to."""


def add_command(commands: Any) -> None:
    """Add the command to the parser's."""
    parser = commands.add_parser(
        "trial",
        help="train with and without, over several seeds, and compare",
        description="Train each arm with each seed by the toolkit's own train tool, and say "
        "whether they differ. Stop it when you like: the same command goes on.",
    )
    parser.set_defaults(command=run)
    add_options(parser, overrides=["--opts"])
    add = parser.add_argument
    add("-o", "--output", required=True, metavar="FOLDER", help="folder of the trial")
    add(
        "--arm", nargs="+", action="append", default=[], metavar="NAME:KEY=VALUE",
        help="an arm and how it overrides the config, e.g. --arm plain:rifle=false --arm "
        "one:rifle.max_re_num=1; the first is what the others are compared with (default: without "
        "the config's blocks, and with them)",
    )  # fmt: skip
    add("--seeds", type=int, metavar="N", help=f"seeds of each arm (default: {SEEDS})")
    add(
        "--minutes", type=float, metavar="N",
        help="begin no training that would not be done after so many minutes; without --seeds as "
        "many as fit",
    )  # fmt: skip
    add("--jobs", type=int, metavar="N", help="trainings at a time (default: one for each GPU)")
    add("--device", choices=["cpu", "gpu"], help="default: gpu where there is one")
    add(
        "--evaluations", type=int, default=4, metavar="N",
        help="of each training, the last one at its end (default: 4)",
    )  # fmt: skip
    add(
        "--metric", choices=["last", "best"], default="last",
        help="which evaluation counts (default: last)",
    )  # fmt: skip
    add("--tool", metavar="PATH", help="the train tool, if not the tools/train.py of the checkout")
    add(
        "--resume", action="store_true",
        help="let interrupted trainings go on from their checkpoint; their data then come in "
        "another order than in the other arms",
    )  # fmt: skip
    add("--keep", action="store_true", help="keep the checkpoints")
    add(
        "--stalled", type=float, default=30, metavar="MINUTES",
        help="give a training up that says nothing for so long (default: 30)",
    )  # fmt: skip
    add("--dry-run", action="store_true", help="only say what would be done, and how long it takes")


def run(chosen: argparse.Namespace) -> int:
    """Run the trial; returns the exit code: 1 if a training failed or is missing."""
    check_options(chosen)
    _check(chosen)
    console = standard_output()
    folder = Path(chosen.output).resolve()
    with alone_in(folder):
        found = prepare(chosen, folder, console)
        states = _states(found, range(_seeds(chosen)))
        measured = _measure(found, states, chosen, console)
        if chosen.dry_run:
            return 0
        _run(found, states, measured, chosen, console)
        return _end(found, states, chosen, console)


class Prepared:
    """A trial that is set up: its setting, arms, folder, and what was found by looking."""

    def __init__(
        self, setting: Setting, arms: Sequence[Arm], given: Inputs, values: int, trial: Trial
    ) -> None:
        self.setting, self.arms, self.inputs = setting, arms, given
        self.values, self.trial = values, trial
        self.jobs = 1


def _check(chosen: argparse.Namespace) -> None:
    """Raise RifleError if an option's value cannot be used."""
    for name, least in (("seeds", 1), ("jobs", 1), ("evaluations", 1)):
        value = getattr(chosen, name)
        if value is not None and value < least:
            raise RifleError(f"--{name} {value}: allowed is a whole number, {least} or more")
    for name in ("minutes", "stalled"):
        value = getattr(chosen, name)
        if value is not None and not value > 0:
            raise RifleError(f"--{name} {value}: allowed is a number above 0")
    if chosen.tool is not None and not Path(chosen.tool).is_file():
        raise RifleError(f"--tool {chosen.tool}: there is no such file")
    if chosen.synthetic:
        raise RifleError("--synthetic: a trial needs the data it is to say something about")
    try:
        import scipy  # noqa: F401
    except ImportError as error:
        raise RifleError("a trial needs scipy for its statistics: pip install scipy") from error


def _seeds(chosen: argparse.Namespace) -> int:
    if chosen.seeds is not None:
        return int(chosen.seeds)
    return SEEDS if chosen.minutes is None else MANY


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
    looked = {arm.name: _look(chosen, _overrides(arm, tool)) for arm in chosen_arms}
    _check_lengths(looked)
    for arm in chosen_arms:
        console.print(f"[bold]arm {arm.name}[/bold]")
        show_plan(looked[arm.name], console)
    models = block_models()
    setting = Setting(
        toolkit=chosen.toolkit,
        tool=tool,
        logs=entry_group(LOGS)[chosen.toolkit].load(),
        train=str(chosen.tool or tool.script() or tool.MODULE),
        config=str(Path(chosen.config).resolve()),
        options=chosen.opts,
        imports=chosen.imports,
        folder=folder,
        device=chosen.device or ("gpu" if _gpus() else "cpu"),
        total_steps=first.total_steps,
        steps_per_epoch=first.steps_per_epoch,
        evaluations=chosen.evaluations,
        seeded=[key for key, model in models.items() if "seed" in model.model_fields],
        resume=chosen.resume,
        keep=chosen.keep,
    )
    given = inputs(Path(setting.config), setting.options)
    trial = Trial(setting, given, chosen_arms)
    return Prepared(setting, chosen_arms, given, first.values, trial)


def _look(chosen: argparse.Namespace, overrides: Sequence[str]) -> Looked:
    """The training with these overrides; without methods if its config has none."""
    asked = argparse.Namespace(**{**vars(chosen), "opts": [*chosen.opts, *overrides]})
    return look(asked, defaults=False)


def _overrides(arm: Arm, tool: Any) -> List[str]:
    return [*arm.options, *(tool.override(key, block) for key, block in arm.blocks.items())]


def _check_lengths(looked: Dict[str, Looked]) -> None:
    """Raise RifleError if the arms are not equally long: that would be compared, too."""
    lengths = {name: found.total_steps for name, found in looked.items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{name}: {steps}" for name, steps in lengths.items())
        raise RifleError(f"--arm: the arms must be equally long, in iterations; they are: {said}")


def _states(found: Prepared, seeds: Sequence[int]) -> List[State]:
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


def _measure(
    found: Prepared, states: Sequence[State], chosen: argparse.Namespace, console: Console
) -> float:
    """Say what it takes, from a few steps; returns the seconds of one training."""
    waiting = [state for state in states if state.phase == "waiting"]
    gpus = _gpus() if found.setting.device == "gpu" else 0
    wanted = min(chosen.jobs or max(1, gpus), max(1, len(waiting)))
    if not waiting:
        return 0.0
    trial = found.setting
    scratch = Setting(**{**vars(trial), "folder": trial.folder / "measured", "resume": False})
    measured = measuring.measure(waiting[0].run, scratch, _places(1, gpus)[0])
    free = measuring.free_memory()
    found.jobs = measuring.jobs_that_fit(wanted, measured.memory, free)
    if found.jobs < wanted:
        console.print(
            f"[yellow]warning:[/yellow] one training takes {measured.memory / 2**30:.1f} GiB of "
            f"memory, {(free or 0) / 2**30:.1f} GiB are free: {found.jobs} at a time, not {wanted}"
        )
    seconds = measured.seconds(trial.total_steps)
    disk = measuring.disk_space(found.values, found.jobs, len(waiting), trial.keep)
    many = chosen.minutes is not None and chosen.seeds is None
    number = "as many trainings as fit" if many else f"{len(waiting)} trainings to do"
    whole = "" if many else f", {_hours(seconds * len(waiting) / found.jobs)} in all"
    console.print(
        f"{number}, {found.jobs} at a time on the {trial.device} by {trial.train}: one takes about "
        f"{_hours(seconds)}{whole}, evaluations apart; checkpoints take up to "
        f"{disk / 2**20:.0f} MiB",
        soft_wrap=True,
    )
    return seconds


def _hours(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _run(
    found: Prepared,
    states: Sequence[State],
    seconds: float,
    chosen: argparse.Namespace,
    console: Console,
) -> None:
    """Run what is missing. An interrupt ends it, and what is done is kept."""
    until = math.inf if chosen.minutes is None else time.monotonic() + 60 * chosen.minutes
    gpus = _gpus() if found.setting.device == "gpu" else 0
    places = _places(found.jobs, gpus)
    limits = Limits(places, until, 60 * chosen.stalled, seconds)
    shown = [s for s in states if s.run.seed < SEEDS] if len(states) >= MANY else states
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with live.View(shown, found.setting.total_steps, console) as view:

            def ended(state: State) -> None:
                assert state.outcome is not None
                found.trial.write(state.run, state.outcome, state.seconds)

            Runner(found.setting, states, limits, ended, view.show).run()
    except KeyboardInterrupt:
        console.print("stopped; the same command goes on")
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(
    found: Prepared, states: Sequence[State], chosen: argparse.Namespace, console: Console
) -> int:
    """Say and write what was found."""
    from rifle_ext.commands.trial.summary import Summary, show, write

    summary = Summary(found.trial, [state.run for state in states], chosen.metric)
    if not any(summary.figures.values()):
        console.print("no training is done")
    else:
        show(summary, console)
        write(summary, found.inputs, found.setting.config, found.setting.folder)
        console.print(f"written: {found.setting.folder}/trial.html, trial.json, trial.svg")
    failed = [state for state in states if state.phase == "failed" and state.outcome is not None]
    for state in failed:
        assert state.outcome is not None
        console.print(f"[red]{state.run.key} failed:[/red] {state.outcome.failed}", soft_wrap=True)
    return int(any(state.phase not in ("done", "left out") for state in states))


def _gpus() -> int:
    """GPUs that Paddle can use here."""
    paddle = importlib.import_module("paddle")
    if not paddle.is_compiled_with_cuda():
        return 0
    return int(paddle.device.cuda.device_count())


def _places(jobs: int, gpus: int) -> List[Dict[str, str]]:
    """What each of several trainings at a time adds to the environment: a GPU of its own."""
    if not gpus:
        return [{"CUDA_VISIBLE_DEVICES": ""}] * jobs
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = [name for name in given.split(",") if name] or [str(i) for i in range(gpus)]
    return [{"CUDA_VISIBLE_DEVICES": names[job % len(names)]} for job in range(jobs)]
