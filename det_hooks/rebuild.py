"""Build a PaddleDetection model a second time, as its constructor draws it."""

from __future__ import annotations

import contextlib
from typing import Callable, Dict, Iterator

import paddle
from paddle import nn
from ppdet.core.workspace import create, global_config
from ppdet.utils import checkpoint

from det_hooks.workspace import Snapshot, as_of
from rifle_ext.runtime.loading import weights_ignored
from rifle_ext.runtime.patching import rebound


def rebuild(snapshot: Snapshot, student: bool) -> nn.Layer:
    """The model of the global config, with no pretrained weights loaded or downloaded.

    Parameters
    ----------
    snapshot
        The config as it was before the trainer's model was built.
    student
        Put it under the name `student_model`, as distillation models do.
    """
    with as_of(snapshot), no_pretrained_weights():
        model = create(global_config["architecture"])
    if not student:
        return model
    holder = nn.Layer()
    holder.student_model = model
    return holder


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
