"""Say at the end of a process that a config's block was read and no training heeded it.

A toolkit's own loops are attached to; a copy of one in a user's project, or a loop of another
package, is not. A process that only reads such a config, to evaluate or to export, is none of that:
it makes no optimizer.
"""

from __future__ import annotations

import atexit
import functools
import os
import sys
from typing import Any, Dict, NamedTuple

import paddle

from rifle_ext.training import environment


class _Read(NamedTuple):
    said: str
    optimizers: int  # that had been made before


class _Process:
    read: Dict[str, _Read] = {}
    made, used = 0, 0
    pid = 0


def note_block(source: str, advice: str) -> None:
    """Note that a config with a block was read, or one that the environment lays blocks over.

    Parameters
    ----------
    source
        Its path.
    advice
        What to train it with.
    """
    if _Process.pid != os.getpid():
        _Process.pid = os.getpid()
        atexit.register(_say)
        _count_optimizers()
    laid_over = environment.named_file()
    block = (
        f"the blocks that {environment.source()} lays over it were"
        if laid_over
        else "its block was"
    )
    said = f"{block} read, but no training of this process heeded it, so it did nothing; {advice}"
    _Process.read[source] = _Read(said, _Process.made)


def forget_block(source: str) -> None:
    """A config was read, but what is made of it has no block."""
    _Process.read.pop(source, None)


def note_heeded(source: str) -> None:
    """Note that a training, or a command, heeds the block of a config."""
    _Process.read.pop(source, None)
    _Process.used += 1


def unheeded() -> Dict[str, str]:
    """What to say of each config whose block no training heeded, by its path."""
    if _Process.made <= _Process.used:
        return {}
    return {
        source: read.said
        for source, read in _Process.read.items()
        if read.optimizers < _Process.made
    }


def _say() -> None:
    failed = hasattr(sys, "last_value") or hasattr(sys, "last_exc")  # then that is what counts
    first = os.environ.get("PADDLE_TRAINER_ID", "0") == "0"
    if failed or not first or os.getpid() != _Process.pid:
        return
    for source, said in unheeded().items():
        print(f"[rifle-ext] {source}: {said}", file=sys.stderr)


def _count_optimizers() -> None:
    original = paddle.optimizer.Optimizer.__init__
    if hasattr(original, "_rifle_ext"):
        return

    @functools.wraps(original)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        _Process.made += 1
        original(self, *args, **kwargs)

    __init__._rifle_ext = True  # type: ignore[attr-defined]
    paddle.optimizer.Optimizer.__init__ = __init__
