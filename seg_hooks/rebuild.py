"""Build a PaddleSeg model a second time, as its constructor draws it."""

from __future__ import annotations

import contextlib
import copy
import io
import os
from typing import Any, Callable, Dict, Iterator, Optional
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

    def change_classes(self, classes: int) -> None:
        """Build for another number of classes, whatever the data set has."""
        model = self.config.dic["model"]
        _replace_classes(model, classes_in(self.config), classes)
        model["num_classes"] = classes
        self._classes = classes

    @property
    def train_dataset_class(self) -> Any:
        """The data set's, which has to have as many classes as the model."""
        found = super().train_dataset_class
        classes = getattr(self, "_classes", None)
        return found if classes is None else type("Other", (found,), {"NUM_CLASSES": classes})


def _replace_classes(section: Any, before: Optional[int], classes: int) -> None:
    """Change a number of classes wherever a part of the model says it, in place."""
    if isinstance(section, dict):
        if "num_classes" in section and section["num_classes"] == before:
            section["num_classes"] = classes
        section = list(section.values())
    if isinstance(section, list):
        for item in section:
            _replace_classes(item, before, classes)


def rebuild(config: Any, classes: Optional[int] = None) -> nn.Layer:
    """The model of a `paddleseg.cvlibs.Config`, with no pretrained weights loaded or downloaded.

    Parameters
    ----------
    config
        It stays as it is.
    classes
        For how many classes, if not for the config's number.
    """
    with no_pretrained_weights(), contextlib.redirect_stdout(io.StringIO()):
        builder = QuietBuilder(copy.deepcopy(config))
        if classes is not None:
            builder.change_classes(classes)
        return builder.model


def classes_in(config: Any) -> Optional[int]:
    """How many classes a config's model is built for, the background among them."""
    said = config.dic.get("model", {}).get("num_classes")
    if said is None:
        said = getattr(QuietBuilder(config).train_dataset_class, "NUM_CLASSES", None)
    return said


@contextlib.contextmanager
def local_pretrained_weights() -> Iterator[None]:
    """Let PaddleSeg's loaders read what is on this machine, and note what is not."""

    def if_there(load: Callable) -> Callable:
        def load_if_there(model: nn.Layer, path: Any, *args: Any, **kwargs: Any) -> Any:
            here = path if path is None else downloaded(str(path))
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


def downloaded(path: str) -> str:
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
