"""`rifle-ext plan`: what the methods that a config asks for will do to its training."""

from __future__ import annotations

import argparse
import json
from typing import Any, Dict, Mapping

from rifle_ext.commands.training_options import Looked, add_options, check_options, look

SWITCHED_OFF: Mapping[str, Any] = {"resets": [], "skipped": [], "layers": [], "values": 0}
"""What a script finds in the JSON of a training to which nothing will be done."""


def add_command(commands: Any) -> None:
    """Add the command to the parser's."""
    parser = commands.add_parser(
        "plan",
        help="what the methods will do to a training",
        description="Build what the train tool would build, on the CPU, and say what each method "
        "of the config will do: which layers it touches, how, and when. Downloads, trains and "
        "writes nothing.",
    )
    parser.set_defaults(command=run)
    add_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(chosen: argparse.Namespace) -> int:
    """Print the plan; returns the exit code."""
    check_options(chosen)
    looked = look(chosen)
    if chosen.json:
        print(json.dumps(record(looked), indent=2))
    else:
        from rifle_ext.commands.plan_text import show

        show(looked)
    return 0


def record(looked: Looked) -> Dict[str, Any]:
    """The plan as JSON-ready data.

    The keys of the method that is called first stand at the top; `methods` has those of the others
    by their names, if there are others. `laid_over` says where a block stands that is not in the
    config, `defaults_of` whose defaults these are where there is none.
    """
    said: Dict[str, Any] = {
        "toolkit": looked.toolkit,
        "model": looked.model,
        "total_steps": looked.total_steps,
        "steps_per_epoch": looked.steps_per_epoch,
    }
    if looked.laid_over:
        said["laid_over"] = dict(looked.laid_over)
    if looked.defaults_of:
        said["defaults_of"] = looked.defaults_of
    if not looked.plans:
        return {**said, **SWITCHED_OFF, "warnings": [*looked.off, *looked.misplaced]}
    first, *others = looked.plans
    said.update(looked.plans[first].record)
    said["warnings"] = [*said.get("warnings", ()), *looked.off, *looked.misplaced]
    if others:
        said["methods"] = {key: dict(looked.plans[key].record) for key in others}
    return said
