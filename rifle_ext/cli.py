"""The command `rifle-ext`."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import traceback
from importlib import metadata
from pathlib import Path
from typing import Any, Dict, List, Optional

from rifle_ext import __version__
from rifle_ext.compat import before_paddle
from rifle_ext.errors import RifleError

TOOLKITS = "rifle_ext.toolkits"
IMAGES = 1000
"""Size of a made-up training set, unless `--images` says."""


class _ToolkitError(RifleError):
    """A toolkit failed with an error of its own, which is shown too."""


def main(arguments: Optional[List[str]] = None) -> int:
    """Run the command; returns the exit code: 0, or 2 after an error in what the user gave."""
    chosen = _parser().parse_args(arguments)
    if chosen.command is None:
        _parser().print_help()
        return 0
    try:
        return chosen.command(chosen)
    except RifleError as error:
        if isinstance(error, _ToolkitError):
            cause = error.__cause__
            traceback.print_exception(None, cause, getattr(cause, "__traceback__", None))
        print(f"[RIFLE] {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rifle-ext",
        description="RIFLE for PaddleSeg and PaddleDetection: re-initialize the output layers "
        "several times during fine-tuning. Add a `rifle:` block to a config and run the toolkit's "
        "own train tool.",
    )
    parser.add_argument("--version", action="version", version=f"rifle-ext {__version__}")
    parser.set_defaults(command=None)
    commands = parser.add_subparsers(title="commands", metavar="command")
    plan = commands.add_parser(
        "plan",
        help="what RIFLE will do to a training",
        description="Build what the train tool would build, on the CPU, and say which layers will "
        "be reset, how they will be drawn, and when. Downloads, trains and writes nothing.",
    )
    plan.set_defaults(command=_plan)
    add = plan.add_argument
    add("--toolkit", required=True, choices=sorted(toolkits()), help="whose config it is")
    add("-c", "--config", required=True, help="path of the config file")
    add(
        "-o", "--opts", nargs="+", action="extend", default=[], metavar="KEY=VALUE",
        help="override the config, e.g. rifle.max_re_num=2",
    )  # fmt: skip
    add("--synthetic", action="store_true", help="use made-up samples: no data set is needed")
    add(
        "--images", type=int, metavar="N",
        help=f"with --synthetic, size of the training set (default: {IMAGES})",
    )  # fmt: skip
    add("--json", action="store_true", help="print one JSON object")
    return parser


def toolkits() -> Dict[str, Any]:
    """Entry points of what sets trainings up (`rifle_ext.plan.Setup`), by the toolkit's name."""
    found: Any = metadata.entry_points()  # a mapping before Python 3.10
    group = found.select(group=TOOLKITS) if hasattr(found, "select") else found.get(TOOLKITS, ())
    return {entry.name: entry for entry in group}


def _plan(chosen: argparse.Namespace) -> int:
    if not Path(chosen.config).is_file():
        raise RifleError(f"--config {chosen.config}: there is no such file")
    if chosen.images is not None and not chosen.synthetic:
        raise RifleError("--images: the size of the made-up data set of --synthetic, not given")
    if chosen.images is not None and chosen.images < 1:
        raise RifleError(f"--images {chosen.images}: allowed is a whole number, 1 or more")
    wrong = next((o for o in chosen.opts if not o.partition("=")[0] or "=" not in o), None)
    if wrong is not None:
        raise RifleError(f"--opts {wrong}: allowed is key=value, as in rifle.max_re_num=2")
    with contextlib.redirect_stdout(sys.stderr):  # the toolkits log to standard output
        record = _make_plan(chosen)
    if chosen.json:
        print(json.dumps(record, indent=2))
    else:
        from rifle_ext.plan_text import lines

        print("\n".join(lines(record)))
    return 0


def _make_plan(chosen: argparse.Namespace) -> Dict[str, Any]:
    """The plan's record, with the names of toolkit and model."""
    before_paddle()
    from rifle_ext.config import BLOCK_KEY, parse_block
    from rifle_ext.plan import Plan, Request, nothing_planned

    set_up = toolkits()[chosen.toolkit].load()
    request = Request(chosen.config, chosen.opts, chosen.synthetic, chosen.images or IMAGES)
    with contextlib.ExitStack() as stack:
        try:
            config, run = stack.enter_context(set_up(request))
        except RifleError:
            raise
        except (Exception, SystemExit) as error:  # whatever a toolkit says of a config
            raise _toolkit_error(chosen.config, "the training cannot be set up", error) from error
        about = {"toolkit": chosen.toolkit, "model": type(run.model).__name__}
        block = parse_block(config.get(BLOCK_KEY), chosen.config)
        if block is None:
            return {**about, **nothing_planned(run, "rifle: false: nothing will be reset")}
        try:
            return {**about, **Plan(block, run).record()}
        except RifleError as error:
            raise RifleError(f"{chosen.config}: {error}") from error
        except Exception as error:
            said = "the model cannot be run on a training sample"
            raise _toolkit_error(chosen.config, said, error) from error


def _toolkit_error(config: str, said: str, error: BaseException) -> _ToolkitError:
    lines = str(error).strip().splitlines() or [""]
    return _ToolkitError(f"{config}: {said}: {type(error).__name__}: {lines[-1].strip()}")
