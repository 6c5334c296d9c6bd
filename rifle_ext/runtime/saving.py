"""Files of Paddle's: written at once, and told of before one of parameters is written."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Mapping

import paddle

from rifle_ext.runtime.patching import rebound

ENDING = ".pdparams"
"""Of the files that hold a model, in both toolkits."""


def save_at_once(content: Any, path: Path) -> None:
    """Write a file of Paddle's: a kill or an error leaves the old file, or the new one.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.part")
    try:
        paddle.save(content, str(partial))
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def before_saving(act: Callable[[Path, Mapping[str, Any]], None]) -> Iterator[None]:
    """Call `act` with path and content before each file of parameters is written inside the block.

    Before, and not after: so wherever such a file is whole, what `act` keeps beside it is there.
    """
    original: Callable[..., Any] = paddle.save

    def save(obj: Any, path: Any, *args: Any, **kwargs: Any) -> Any:
        named = isinstance(path, (str, os.PathLike)) and str(path).endswith(ENDING)
        if named and isinstance(obj, Mapping):
            act(Path(path), obj)
        return original(obj, path, *args, **kwargs)

    stand_ins: Dict[Callable, Callable] = {original: save}
    with rebound(stand_ins):
        yield
