"""The command `rifle-ext`."""

from __future__ import annotations

import argparse
import contextlib
import sys
import traceback
from typing import List, Optional

from rifle_ext import __version__
from rifle_ext.commands import explain, schema
from rifle_ext.commands import init as init_block
from rifle_ext.commands import plan as plan_command
from rifle_ext.commands.doctor import command as doctor_command
from rifle_ext.commands.report import command as report_command
from rifle_ext.commands.training_options import ToolkitError
from rifle_ext.commands.trial import command as trial_command
from rifle_ext.entry_groups import entry_group
from rifle_ext.errors import RifleError, shown

COMMANDS = "rifle_ext.commands"
"""Entry points of modules with a command of a method's own: ``add_command(commands)``."""


def main(arguments: Optional[List[str]] = None) -> int:
    """Run the command; returns the exit code: 0, or 2 after an error in what the user gave."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # what a terminal cannot show is no reason to fail
            stream.reconfigure(errors="replace")
    chosen = parser().parse_args(arguments)
    if chosen.command is None:
        parser().print_help()
        return 0
    try:
        return chosen.command(chosen)
    except RifleError as error:
        if isinstance(error, ToolkitError):
            cause = error.__cause__
            traceback.print_exception(None, cause, getattr(cause, "__traceback__", None))
        print(shown(error), file=sys.stderr)
        return 2


def parser() -> argparse.ArgumentParser:
    """What the command line may say."""
    made = argparse.ArgumentParser(
        prog="rifle-ext",
        description="RIFLE for PaddleSeg and PaddleDetection: re-initialize the output layers "
        "several times during fine-tuning. Add a `rifle:` block to a config and run the toolkit's "
        "own train tool.",
    )
    made.add_argument("--version", action="version", version=f"rifle-ext {__version__}")
    made.set_defaults(command=None)
    commands = made.add_subparsers(title="commands", metavar="command")
    for module in (
        init_block,
        plan_command,
        trial_command,
        report_command,
        doctor_command,
        schema,
        explain,
    ):
        module.add_command(commands)
    for _, entry in sorted(entry_group(COMMANDS).items()):
        with contextlib.suppress(Exception):  # a package that is broken breaks its command alone
            entry.load().add_command(commands)
    return made
