"""What the commands ask a toolkit's adapter for: a training that is set up but not begun."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, ContextManager, Mapping, Sequence, Tuple

from rifle_ext.errors import RifleError
from rifle_ext.training.hooks import TrainingRun


@dataclass(frozen=True)
class Request:
    """A training that a command asks a toolkit's adapter to set up.

    Attributes
    ----------
    config
        Path of the config file.
    options
        ``key=value`` pairs that override it, as the toolkit's train tool takes them.
    synthetic
        Use made-up samples in place of the data set.
    images
        Size of the made-up data set.
    method
        The method that the training is looked at for where the config has no block.
    """

    config: str
    options: Sequence[str] = ()
    synthetic: bool = False
    images: int = 1000
    method: str = ""


Setup = Callable[[Request], ContextManager[Tuple[Mapping[str, Any], TrainingRun]]]
"""Builds what the train tool would build, on the CPU; gives the whole config and the run.

It downloads, trains and writes nothing. Adapters register theirs in the entry-point group
`rifle_ext.toolkits`.
"""


def refuse_download(url: str, *args: Any, **kwargs: Any) -> None:
    """Stands in for a toolkit's download.

    Raises
    ------
    RifleError
        Always.
    """
    raise RifleError(f"a plan downloads nothing (training would fetch {url})", topic="download")
