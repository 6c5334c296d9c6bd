"""Be told before Paddle writes a file of parameters."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any, Callable, Dict, Iterator

import paddle

from rifle_ext.runtime.patching import rebound

ENDING = ".pdparams"
"""Of the files that hold a model, in both toolkits."""


@contextlib.contextmanager
def before_saving(act: Callable[[Path], None]) -> Iterator[None]:
    """Call `act` with its path before each file of parameters is written inside the block.

    Before, and not after: so wherever such a file is whole, what `act` keeps beside it is there.
    """
    original: Callable[..., Any] = paddle.save

    def save(obj: Any, path: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(path, (str, os.PathLike)) and str(path).endswith(ENDING):
            act(Path(path))
        return original(obj, path, *args, **kwargs)

    stand_ins: Dict[Callable, Callable] = {original: save}
    with rebound(stand_ins):
        yield
