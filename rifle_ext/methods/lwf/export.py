"""`rifle-ext lwf-export`: the old model as it is after a training, for the toolkit's own tools."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rifle_ext.errors import RifleError

MODEL = ".pdparams"


def add_command(commands: Any) -> None:
    """Add the command to the parser's."""
    parser = commands.add_parser(
        "lwf-export",
        help="the old model that a training with lwf has kept",
        description="Write the weights of the old model as a training with an lwf block has left "
        "it: what the old and the new classes share, and the old output layers. A config with the "
        "old number of classes evaluates, uses and exports it with the toolkit's own tools.",
    )
    parser.set_defaults(command=run)
    parser.add_argument(
        "checkpoint", type=Path, help="a file of the training's, such as iter_1000/model.pdparams"
    )
    parser.add_argument("output", type=Path, help="the file to write, such as old.pdparams")


def run(chosen: argparse.Namespace) -> int:
    """Write the file; returns the exit code."""
    tensors, kept = export(chosen.checkpoint, chosen.output)
    print(f"{chosen.output}: {tensors} tensors, {kept} of them of the old output layers")
    return 0


def export(checkpoint: Path, output: Path) -> Any:
    """Put a checkpoint's tensors and the old head beside it into one file.

    Returns
    -------
    tuple
        How many tensors it has, and how many of these are the old head's.

    Raises
    ------
    RifleError
        If a file is missing, the two do not belong together, or the output cannot be written.
    """
    from rifle_ext.methods.lwf import old_head_file
    from rifle_ext.runtime.saving import save_at_once

    model = checkpoint if checkpoint.suffix == MODEL else Path(f"{checkpoint}{MODEL}")
    if not model.is_file():
        raise RifleError(
            f"lwf-export: {model}: no such checkpoint; give a file that a training with an lwf "
            "block has written",
            topic="export",
        )
    _refuse_output(output, model, model.with_suffix(old_head_file.ENDING))
    try:
        tensors, head = old_head_file.read(model)
    except RifleError as error:
        raise RifleError(f"lwf-export: {error}", topic="export") from error
    foreign = [name for name in head if name not in tensors]
    if foreign:
        raise RifleError(
            f"lwf-export: {model} has no {foreign[0]}, as the old head beside it has",
            topic="export",
        )
    try:
        save_at_once({**tensors, **head}, output)
    except OSError as error:
        raise RifleError(
            f"lwf-export: {output}: cannot be written: {error}", topic="export"
        ) from error
    return len(tensors), len(head)


def _refuse_output(output: Path, *sources: Path) -> None:
    """Raise RifleError if the output is a folder, or would overwrite what is exported."""
    if output.is_dir():
        raise RifleError(f"lwf-export: {output}: a folder; name a file", topic="export")
    if output.exists() and any(s.exists() and output.samefile(s) for s in sources):
        raise RifleError(
            f"lwf-export: {output}: that file is exported; name another one", topic="export"
        )
