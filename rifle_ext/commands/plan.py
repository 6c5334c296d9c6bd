"""`rifle-ext plan`: what RIFLE will do to a training."""

from __future__ import annotations

import argparse
import json
from typing import Any, Dict

from rifle_ext.commands.training_options import add_options, check_options, training


def add_command(commands: Any) -> None:
    """Add the command to the parser's."""
    parser = commands.add_parser(
        "plan",
        help="what RIFLE will do to a training",
        description="Build what the train tool would build, on the CPU, and say which layers will "
        "be reset, how they will be drawn, and when. Downloads, trains and writes nothing.",
    )
    parser.set_defaults(command=run)
    add_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(chosen: argparse.Namespace) -> int:
    """Print the plan; returns the exit code."""
    check_options(chosen)
    record = make_record(chosen)
    if chosen.json:
        print(json.dumps(record, indent=2))
    else:
        from rifle_ext.commands.plan_text import show

        show(record)
    return 0


def make_record(chosen: argparse.Namespace) -> Dict[str, Any]:
    """The plan's record, with the names of toolkit and model."""
    with training(chosen) as (config, run_):
        from rifle_ext.methods.rifle.block import BLOCK_KEY, parse_block
        from rifle_ext.methods.rifle.plan import Plan, nothing_planned

        about = {"toolkit": chosen.toolkit, "model": type(run_.model).__name__}
        block = parse_block(config.get(BLOCK_KEY), chosen.config)
        if block is None:
            return {**about, **nothing_planned(run_, "rifle: false: nothing will be reset")}
        return {**about, **Plan(block, run_).record()}
