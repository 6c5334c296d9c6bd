"""Build a PaddleSeg model a second time, as its constructor draws it."""

from __future__ import annotations

import contextlib
import copy
import io
from typing import Any, Callable, Dict, Iterator

from paddle import nn
from paddleseg.cvlibs import SegBuilder
from paddleseg.utils import utils

from rifle_ext.runtime.loading import weights_ignored
from rifle_ext.runtime.patching import rebound


class QuietBuilder(SegBuilder):
    """PaddleSeg's builder without its messages."""

    @classmethod
    def show_msg(cls, name: str, cfg: Any) -> None:
        """Say nothing: the toolkit has shown this config once."""


def rebuild(config: Any) -> nn.Layer:
    """The model of a `paddleseg.cvlibs.Config`, with no pretrained weights loaded or downloaded."""
    with no_pretrained_weights(), contextlib.redirect_stdout(io.StringIO()):
        return QuietBuilder(copy.deepcopy(config)).model


@contextlib.contextmanager
def no_pretrained_weights() -> Iterator[None]:
    """Make PaddleSeg's loaders idle.

    Taking `pretrained` out of the config instead would crash the models whose constructors open the
    file themselves (vision transformers).
    """
    idle: Dict[Callable, Callable] = {
        utils.load_entire_model: lambda model, pretrained: None,
        utils.load_pretrained_model: lambda model, pretrained_model: None,
        utils.download_pretrained_model: lambda path: path,
    }
    with rebound(idle), weights_ignored():
        yield
