"""What the commands ask a toolkit's adapter for: how its train tool is started."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Sequence

GROUP = "rifle_ext.tools"
"""Entry points of modules that know a toolkit's train tool. Each has

- ``MODULE``: the train tool of this project for it, to be run with ``python -m``;
- ``script() -> Optional[Path]``: the toolkit's own ``tools/train.py``, if it is there;
- ``flags(launch) -> List[str]``: the flags of both for a `Launch`;
- ``based_on(config) -> Dict[str, Any]``: what a config holds that is based on another one, whose
  path is given, seen from its own folder;
- ``OWN_KEYS``: keys at the top of a config that tell it from those of other toolkits;
- ``last_checkpoint(folder) -> Optional[str]``: what a training in that folder can be resumed from.
"""


@dataclass(frozen=True)
class Launch:
    """One training, as a command wants it done.

    Attributes
    ----------
    config
        Path of the config file.
    options
        ``key=value`` pairs that override it.
    folder
        Where the training writes.
    seed
        Of the training's random streams.
    total_steps, steps_per_epoch
        Its length and that of one pass over the data, in iterations.
    evaluations
        How often it is evaluated, about: the last time at its end.
    log_every
        Iterations between two lines of its log.
    device
        ``cpu`` or ``gpu``.
    resume
        What `last_checkpoint` gave, to go on from there.
    """

    config: str
    options: Sequence[str]
    folder: Path
    seed: int
    total_steps: int
    steps_per_epoch: int
    evaluations: int = 1
    log_every: int = 10
    device: str = "cpu"
    resume: Optional[str] = None


def script_beside(package: str) -> Optional[Path]:
    """The ``tools/train.py`` beside an installed package; None where it is no checkout's."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        return None
    path = Path(found.origin).parents[1] / "tools/train.py"
    return path if path.is_file() else None


def is_whole(path: Path) -> bool:
    """Whether a file of a checkpoint was written to its end: a kill may have cut it short."""
    import paddle

    try:
        paddle.load(str(path), return_numpy=True)
    except Exception:  # whatever pickle says of half a file
        return False
    return True
