"""Build a PaddleDetection model a second time, as its constructor draws it."""

from __future__ import annotations

import contextlib
from typing import Any, Callable, Dict, Iterator, Optional

import paddle
from paddle import nn
from ppdet.core.workspace import create, global_config
from ppdet.utils import checkpoint

from det_hooks.workspace import Snapshot, as_of
from rifle_ext.runtime.loading import weights_ignored
from rifle_ext.runtime.patching import rebound


def rebuild(snapshot: Snapshot, student: bool, classes: Optional[int] = None) -> nn.Layer:
    """The model of the global config, with no pretrained weights loaded or downloaded.

    Parameters
    ----------
    snapshot
        The config as it was before the trainer's model was built.
    student
        Put it under the name `student_model`, as distillation models do.
    classes
        For how many classes, if not for the config's number.
    """
    with as_of(snapshot), no_pretrained_weights():
        if classes is not None:
            _replace_classes(global_config, global_config.get("num_classes"), classes)
        model = create(global_config["architecture"])
    if not student:
        return model
    holder = nn.Layer()
    holder.student_model = model
    return holder


def _replace_classes(section: Any, before: Optional[int], classes: int) -> None:
    """Change a number of classes wherever the config says it, in place."""
    if isinstance(section, dict):
        if section.get("num_classes") == before and "num_classes" in section:
            section["num_classes"] = classes
        section = list(section.values())
    if isinstance(section, list):
        for item in section:
            _replace_classes(item, before, classes)


@contextlib.contextmanager
def no_pretrained_weights() -> Iterator[None]:
    """Make PaddleDetection's loaders idle; some backbones load in their constructors."""
    idle: Dict[Callable, Callable] = {
        checkpoint.load_pretrain_weight: lambda *args, **kwargs: None,
        checkpoint.load_weight: lambda *args, **kwargs: 0,
        checkpoint.get_weights_path: lambda path: path,
        paddle.utils.download.get_weights_path_from_url: lambda url, *args, **kwargs: url,
    }

    with rebound(idle), weights_ignored():
        yield
