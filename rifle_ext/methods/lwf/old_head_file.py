"""The file with the old head beside a checkpoint, which says what checkpoint it belongs to.

Both are written under the same names again and again (a best model, a last one), one after the
other. A training that is killed in between leaves two of different steps: so the old head's file
has a digest of the checkpoint's tensors, and a pair that does not match is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Mapping, Tuple

import paddle
from paddle import Tensor

from rifle_ext.errors import RifleError
from rifle_ext.redraw.reset import digest
from rifle_ext.runtime.saving import save_at_once

ENDING = ".pdlwf"
"""Of the file beside a checkpoint's ``.pdparams``."""

TENSORS, CHECKPOINT = "tensors", "checkpoint"
"""Keys in the file: the old head, and the digest of what was written beside it."""


def write(checkpoint: Path, tensors: Mapping[str, Any], head: Mapping[str, Tensor]) -> None:
    """Write an old head beside a checkpoint that is about to be written.

    Parameters
    ----------
    checkpoint
        The file that the model's tensors will be in.
    tensors
        Those tensors, by structured name.
    head
        The tensors of the old head.
    """
    content = {TENSORS: dict(head), CHECKPOINT: _digest(tensors)}
    save_at_once(content, checkpoint.with_suffix(ENDING))


def read(checkpoint: Path) -> Tuple[Dict[str, Tensor], Dict[str, Tensor]]:
    """A checkpoint's tensors, and the old head beside it.

    Raises
    ------
    RifleError
        If there is no such pair of files, or the two are not of the same step.
    """
    path = checkpoint.with_suffix(ENDING)
    if not path.is_file():
        raise RifleError(
            f"{path}: there is no such file: {checkpoint.name} was not written by a training with "
            "an lwf block, or its old head was taken away",
            topic="resume",
        )
    tensors, held = _read(checkpoint), _read(path)
    if not {TENSORS, CHECKPOINT} <= held.keys():
        raise RifleError(f"{path}: it holds no old head", topic="resume")
    if held[CHECKPOINT] != _digest(tensors):
        raise RifleError(
            f"{path}: it belongs to another state of {checkpoint.name} than the one beside it; a "
            "training that is killed while it writes a checkpoint anew leaves such a pair, and so "
            "does a file that was copied or written without the other; take another checkpoint",
            topic="resume",
        )
    return tensors, held[TENSORS]


def _digest(tensors: Mapping[str, Any]) -> str:
    return digest({name: t for name, t in tensors.items() if isinstance(t, Tensor)})


def _read(path: Path) -> Dict[str, Any]:
    try:
        content = paddle.load(str(path))
    except Exception as error:  # whatever Paddle says of half a file
        said = f"{path}: cannot be read ({type(error).__name__}: {error})"
        said += "; a training was killed while it wrote it, perhaps"
        raise RifleError(said, topic="resume") from error
    if not isinstance(content, dict):
        raise RifleError(f"{path}: no file of tensors", topic="resume")
    return content
