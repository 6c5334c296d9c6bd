"""`rifle-ext trial`: does it pay on my data? Trains with and without, and says what can be said."""

from __future__ import annotations

import argparse
import contextlib
import math
import re
import signal
import tempfile
import time
from pathlib import Path
from typing import Any, Iterator, Sequence

from rich.console import Console

from rifle_ext.commands.console import standard_output
from rifle_ext.commands.training_options import add_options, check_options
from rifle_ext.commands.trial import live
from rifle_ext.commands.trial.folder import SETTINGS, alone_in
from rifle_ext.commands.trial.preparing import OURS, Expected, Prepared, expect, prepare, states_of
from rifle_ext.commands.trial.running import Limits, Runner, State
from rifle_ext.errors import RifleError

SEEDS = 3
"""How many, unless `--seeds` or `--minutes` says."""

STOPPED = "stopped; the same command goes on"

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
    add(
        "--tool", metavar="PATH",
        help="the train tool (default: the tools/train.py of the checkout, or this package's; "
        f"{OURS}: this package's)",
    )  # fmt: skip
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
    console, begun = standard_output(), time.monotonic()
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with _folder(chosen) as folder, alone_in(folder):
            found = prepare(chosen, folder, console)
            states = states_of(found, range(_seeds(chosen)))
            expected = expect(found, states, chosen, console)
            if chosen.dry_run:
                return 0
            until = math.inf if chosen.minutes is None else begun + 60 * chosen.minutes
            _run(found, states, expected, until, chosen, console)
            return _end(found, states, chosen, console)
    except KeyboardInterrupt:
        console.print(STOPPED)
        return 1
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _folder(chosen: argparse.Namespace) -> Iterator[Path]:
    """Where the trial works: a dry run that is the first leaves nothing behind."""
    folder = Path(chosen.output).resolve()
    if not chosen.dry_run or (folder / SETTINGS).exists():
        yield folder
        return
    with tempfile.TemporaryDirectory() as scratch:
        yield Path(scratch).resolve()


def _check(chosen: argparse.Namespace) -> None:
    """Raise RifleError if an option's value cannot be used."""
    if re.match(r"[\w.]+=", chosen.output):
        raise RifleError(
            f"--output {chosen.output}: the folder of the trial; here --opts alone overrides the "
            f"config (a folder of this name is ./{chosen.output})",
            topic="options",
        )
    for name, least in (("seeds", 1), ("jobs", 1), ("evaluations", 1)):
        value = getattr(chosen, name)
        if value is not None and value < least:
            raise RifleError(
                f"--{name} {value}: allowed is a whole number, {least} or more", topic="options"
            )
    for name in ("minutes", "stalled"):
        value = getattr(chosen, name)
        if value is not None and not value > 0:
            raise RifleError(f"--{name} {value}: allowed is a number above 0", topic="options")
    if chosen.tool not in (None, OURS) and not Path(chosen.tool).is_file():
        raise RifleError(f"--tool {chosen.tool}: there is no such file", topic="options")
    if chosen.synthetic:
        raise RifleError(
            "--synthetic: a trial needs the data it is to say something about", topic="options"
        )
    try:
        import scipy  # noqa: F401
    except ImportError as error:
        raise RifleError(
            "a trial needs scipy for its statistics: pip install scipy", topic="package"
        ) from error


def _seeds(chosen: argparse.Namespace) -> int:
    if chosen.seeds is not None:
        return int(chosen.seeds)
    return SEEDS if chosen.minutes is None else MANY


def _run(
    found: Prepared,
    states: Sequence[State],
    expected: Expected,
    until: float,
    chosen: argparse.Namespace,
    console: Console,
) -> None:
    """Run what is missing. An interrupt ends it, and what is done is kept."""
    limits = Limits(expected.places, until, 60 * chosen.stalled, expected.seconds)
    try:
        with live.View(states, found.setting.total_steps, console) as view:

            def ended(state: State) -> None:
                assert state.outcome is not None
                found.trial.write(state.run, state.outcome, state.seconds)

            Runner(found.setting, states, limits, ended, view.show).run()
    except KeyboardInterrupt:
        console.print(STOPPED)


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
        console.print(f"written: {chosen.output}/trial.html, trial.json, trial.svg")
    failed = [state for state in states if state.phase == "failed" and state.outcome is not None]
    for state in failed:
        assert state.outcome is not None
        console.print(f"[red]{state.run.key} failed:[/red] {state.outcome.failed}", soft_wrap=True)
    return int(any(state.phase not in ("done", "left out") for state in states))
