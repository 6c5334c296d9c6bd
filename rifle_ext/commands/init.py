"""`rifle-ext init`: propose a method's block for a config, and write it there."""

from __future__ import annotations

import argparse
import json
import os
import sys
import textwrap
from pathlib import Path
from typing import Any, List, Mapping, Type

from pydantic import BaseModel

from rifle_ext.commands import writing
from rifle_ext.commands.blocks import block_model, defaults
from rifle_ext.commands.config_file import is_false, values_of
from rifle_ext.commands.training_options import Looked, add_options, check_options, look
from rifle_ext.entry_groups import entry_group
from rifle_ext.errors import RifleError
from rifle_ext.training.tools import GROUP as TOOLS

SUFFIXES = (".yml", ".yaml")
"""Endings of the names of configs that the toolkits read."""

WIDTH = 100
"""Columns of the text, as far as names allow."""


def add_command(commands: Any) -> None:
    """Add the command to the parser's."""
    parser = commands.add_parser(
        "init",
        help="propose a block for a config",
        description="Print a method's block to paste into a config, with comments that say what it "
        "does to this training and what else could be set. Builds what the train tool would build, "
        "on the CPU; downloads and trains nothing, and writes nothing without --write.",
    )
    parser.set_defaults(command=run)
    add_options(parser)
    parser.add_argument(
        "--write", nargs="?", const="", metavar="NEW_CONFIG",
        help="add the block to the config, keeping it as it was beside it; with a name, write a "
        "small new config that is based on it and leave it alone",
    )  # fmt: skip


def run(chosen: argparse.Namespace) -> int:
    """Print the proposed block, or write it; returns the exit code."""
    check_options(chosen)
    key = chosen.method
    ours = [option for option in chosen.opts if option.split("=")[0].split(".")[0] == key]
    if ours:
        raise RifleError(
            f"--opts {ours[0]}: not for init, which proposes a block of its own", topic="options"
        )
    model = block_model(key)
    path = Path(chosen.write or chosen.config)
    if chosen.write and path.suffix not in SUFFIXES:
        raise RifleError(
            f"--write {path}: allowed is a name that ends in {' or '.join(SUFFIXES)}, as the "
            "toolkits read no others",
            topic="writing",
        )
    if chosen.write is not None and _is_done(path, chosen):
        return 0
    looked = look(chosen, propose=True)
    name = chosen.config + "".join(f", {option}" for option in chosen.opts)
    name += ", with a made-up data set (--synthetic)" if chosen.synthetic else ""
    text = block_text(key, model, looked, name)
    if chosen.write is None:
        print(text, end="")
    elif chosen.write:
        _write_new(path, chosen, text)
    elif key in looked.blocks:
        where = looked.laid_over.get(key, "a config that it is based on")
        off = looked.config[key] is False
        print(_has_it(path, key, off, f", from {where}"))
    else:
        _write(path, key, text)
    return 0


def _is_done(path: Path, chosen: argparse.Namespace) -> bool:
    """Whether the file to be written has the block, which is said.

    Raises
    ------
    RifleError
        If it has none, but may not be written.
    """
    if path.exists():
        found = values_of(writing.read(path), chosen.method)
        if found:
            print(_has_it(path, chosen.method, off=is_false(found[-1])))  # the last one counts
            return True
        if chosen.write:
            raise RifleError(
                f"--write {path}: there is such a file, without a {chosen.method}: block; to add "
                "one to it, name it by -c and give --write no name",
                topic="writing",
            )
        writing.check_writable(path)
    return False


def _has_it(path: Path, key: str, off: bool, where: str = "") -> str:
    """What is said of a config that has the block."""
    if off:
        return (
            f"{path}: has {key}: false already{where}, so the method is off; nothing is written "
            f"(`{key}: true` switches it on)"
        )
    return f"{path}: has a {key}: block already{where}; nothing is written"


def _write(path: Path, key: str, text: str) -> None:
    """Add the block to the config."""
    before = writing.read(path)
    try:
        after = writing.with_block(before, key, text)
    except RifleError as error:
        raise RifleError(f"{path}: {error}; nothing is written") from error
    if _agreed(writing.difference(before, after, str(path))):
        backup = writing.replace(path, after)
        print(f"written: {path}; as it was: {backup}")


def _write_new(path: Path, chosen: argparse.Namespace, text: str) -> None:
    """Write a config that holds nothing but the block and what it is based on."""
    tool = entry_group(TOOLS)[chosen.toolkit].load()
    base = os.path.relpath(Path(chosen.config).absolute(), path.absolute().parent)
    based = (f"{k}: {json.dumps(v, ensure_ascii=False)}\n" for k, v in tool.based_on(base).items())
    content = "".join([*based, "\n", text])
    if _agreed(writing.difference("", content, str(path))):
        try:
            path.write_text(content, encoding="utf-8")
        except OSError as error:
            raise RifleError(
                f"--write {path}: cannot be written: {error}", topic="writing"
            ) from error
        print(f"written: {path}")


def _agreed(difference: str) -> bool:
    """Show what would be written; on a terminal, ask."""
    print(difference, end="")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return True
    try:
        agreed = input("write this? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        agreed = False
    if not agreed:
        print("nothing is written")
    return agreed


def block_text(key: str, model: Type[BaseModel], looked: Looked, config_name: str) -> str:
    """The proposed block, all defaults, as commented YAML.

    Parameters
    ----------
    key
        Of the block.
    model
        What the block is validated with; its fields say what their keys mean.
    looked
        The training, with the method's plan for it.
    config_name
        What the user knows the config as, and what else the plan was made with.
    """
    total, per_epoch = looked.total_steps, looked.steps_per_epoch
    shown = config_name if config_name.isprintable() else json.dumps(config_name)
    lines = [
        *_comment(f"For {shown}:"),
        *_comment(
            f"{total} iterations, {per_epoch} an epoch, {round(total / per_epoch, 1):g} epochs."
        ),
    ]
    if key in looked.laid_over:
        lines += _comment(
            f"{looked.laid_over[key]} has a {key}: block already. This is a fresh proposal: put it "
            "there, in that one's place; a config that has it, too, is refused."
        )
    elif key in looked.blocks:
        lines += _comment(
            f"The config has a {key}: block already. This is a fresh proposal: put it in "
            "that one's place, in the file where it stands (laid over the block of a base config, "
            "all defaults replace it, but single keys leave that one's other keys as they are)."
        )
    plan = looked.plans.get(key)
    for warning in plan.warnings if plan else ():
        lines += _comment(f"Warning: {warning}.")
    lines += [f"{key}:"]
    for number, name in enumerate(model.model_fields):
        lines += [""] if number else []
        lines += _key(name, model, plan.hints if plan else {})
    return "\n".join(lines) + "\n"


def _key(name: str, model: Type[BaseModel], hints: Mapping[str, List[str]]) -> List[str]:
    """What a key means, and the key with its default, all as comments."""
    field = model.model_fields[name]
    lines = _comment(field.description or "", "  ")
    for hint in hints.get(name, ()):
        lines += [f"  # {hint}"] if hint.startswith(" ") else _comment(hint, "  ")
    if field.is_required():
        return [*lines, *_comment("It has no default: it has to be given.", "  "), f"  # {name}:"]
    default = defaults(model)[name]
    shown = default if isinstance(default, str) else json.dumps(default)
    return [*lines, f"  # {name}: {shown}"]


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
