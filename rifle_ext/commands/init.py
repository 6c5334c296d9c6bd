"""`rifle-ext init`: propose a `rifle:` block for a config."""

from __future__ import annotations

import argparse
import json
import textwrap
from typing import Any, Iterable, List, Mapping

from rifle_ext.commands.training_options import add_options, check_options, training
from rifle_ext.errors import RifleError
from rifle_ext.methods.rifle.block import BLOCK_KEY, RifleConfig
from rifle_ext.methods.rifle.schedule import MOST, Reset, make_schedule

PROPOSED = RifleConfig.model_validate({})
"""All defaults: few resets, early enough to be recovered from."""

PAPERS = RifleConfig.model_validate({"max_re_num": MOST})
"""The paper's equal periods."""

WIDTH = 100
"""Columns of the text, as far as names allow."""


def add_command(commands: Any) -> None:
    """Add the command to the parser's."""
    parser = commands.add_parser(
        "init",
        help="propose a block for a config",
        description="Print a `rifle:` block to paste into a config, with comments that say what it "
        "does to this training and what else could be set. Builds what the train tool would build, "
        "on the CPU; downloads, trains and writes nothing.",
    )
    parser.set_defaults(command=run)
    add_options(parser)


def run(chosen: argparse.Namespace) -> int:
    """Print the proposed block; returns the exit code."""
    check_options(chosen)
    ours = [option for option in chosen.opts if option.split("=")[0].split(".")[0] == BLOCK_KEY]
    if ours:
        raise RifleError(f"--opts {ours[0]}: not for init, which proposes a block of its own")
    with training(chosen) as (config, run_):
        from rifle_ext.methods.rifle.plan import Plan

        record = Plan(PROPOSED, run_).record()
        has_block = BLOCK_KEY in config
    name = chosen.config + "".join(f", {option}" for option in chosen.opts)
    name += ", with a made-up data set (--synthetic)" if chosen.synthetic else ""
    print(block_text(record, name, has_block), end="")
    return 0


def block_text(plan_record: Mapping[str, Any], config_name: str, has_block: bool) -> str:
    """The proposed block as commented YAML.

    Parameters
    ----------
    plan_record
        What `rifle_ext.methods.rifle.plan.Plan.record` gives for `PROPOSED`.
    config_name
        What the user knows the config as, and what else the plan was made with.
    has_block
        Whether the config has a block already.
    """
    total, per_epoch = plan_record["total_steps"], plan_record["steps_per_epoch"]
    shown = config_name if config_name.isprintable() else json.dumps(config_name)
    lines = [
        *_comment(f"For {shown}:"),
        *_comment(
            f"{total} iterations, {per_epoch} an epoch, {round(total / per_epoch, 1):g} epochs."
        ),
    ]
    if has_block:
        lines += _comment(
            f"The config has a {BLOCK_KEY}: block already. This is a fresh proposal: put it in "
            "that one's place, in the file where it stands (laid over the block of a base config, "
            "all defaults replace it, but single keys leave that one's other keys as they are)."
        )
    for warning in plan_record["warnings"]:
        lines += _comment(f"Warning: {warning}.")
    lines += [f"{BLOCK_KEY}:"]
    for number, key in enumerate(RifleConfig.model_fields):
        lines += [""] if number else []
        lines += _key(key, plan_record)
    return "\n".join(lines) + "\n"


def _key(key: str, record: Mapping[str, Any]) -> List[str]:
    """What a key means, and the key with its default, all as comments."""
    lines = _comment(_description(key), "  ")
    value = getattr(PROPOSED, key)
    if key == "max_re_num":
        papers = make_schedule(PAPERS, record["total_steps"], record["steps_per_epoch"])
        default = _moments(Reset(**reset) for reset in record["resets"])
        lines += _comment(f"null, the default: here a reset {default}.", "  ")
        lines += _comment(
            f"{MOST}, as in the paper: a reset {_moments(papers.resets)}. Short trainings do not "
            "recover from so many.",
            "  ",
        )
    elif key == "layers":
        lines += _comment("'auto' resets here:", "  ")
        for layer in record["layers"]:
            lines.append(f"  #   {layer['name'] or '(the model itself)'} ({layer['type']})")
    return [*lines, f"  # {key}: {value if isinstance(value, str) else json.dumps(value)}"]


def _moments(resets: Iterable[Reset]) -> str:
    moments = [f"{reset.step} (epoch {reset.epoch})" for reset in resets]
    return f"after iteration {', '.join(moments)}" if moments else "never"


def _description(key: str) -> str:
    return RifleConfig.model_fields[key].description or ""


def _comment(text: str, indent: str = "") -> List[str]:
    lead = f"{indent}# "
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=lead,
        subsequent_indent=lead,
        break_long_words=False,
        break_on_hyphens=False,
    )
