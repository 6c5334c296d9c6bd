"""Build a PaddleSeg model a second time, as its constructor draws it."""

from __future__ import annotations

import contextlib
import copy
import io
import os
from typing import Any, Callable, Dict, Iterator
from urllib.parse import unquote, urlparse

import paddle
from paddle import nn
from paddleseg.cvlibs import SegBuilder
from paddleseg.utils import seg_env, utils

from rifle_ext.runtime.loading import Nothing, weights_ignored
from rifle_ext.runtime.patching import rebound
from rifle_ext.training.loading import note_unread


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
def local_pretrained_weights() -> Iterator[None]:
    """Let PaddleSeg's loaders read what is on this machine, and note what is not."""

    def if_there(load: Callable) -> Callable:
        def load_if_there(model: nn.Layer, path: Any, *args: Any, **kwargs: Any) -> Any:
            here = path if path is None else _downloaded(str(path))
            if here is None or os.path.exists(here):
                return load(model, here, *args, **kwargs)
            return note_unread(model, str(path))

        return load_if_there

    load = paddle.load
    loaders = (utils.load_entire_model, utils.load_pretrained_model)
    stand_ins: Dict[Callable, Callable] = {loader: if_there(loader) for loader in loaders}
    stand_ins[utils.download_pretrained_model] = lambda path: path

    def load_if_there(path: Any, *args: Any, **kwargs: Any) -> Any:
        there = not isinstance(path, (str, os.PathLike)) or os.path.exists(path)
        return load(path, *args, **kwargs) if there else Nothing()

    stand_ins[load] = load_if_there
    with rebound(stand_ins):
        yield


def _downloaded(path: str) -> str:
    """Where PaddleSeg keeps what it downloads from an address (utils/utils.py); paths as they are.

    That of an archive is left as it is.
    """
    parts = unquote(path).split("/")
    if not urlparse(path).netloc or path.endswith(("tgz", "tar.gz", "tar", "zip")):
        return path
    return os.path.join(seg_env.PRETRAINED_MODEL_HOME, *parts[-2:])


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
