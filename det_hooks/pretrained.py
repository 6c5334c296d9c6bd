"""Which tensors PaddleDetection loads from the pretrained weights that a config names."""

from __future__ import annotations

import os
from typing import Any, Callable, Mapping, Optional

import paddle
from paddle import Tensor, nn
from ppdet.utils import checkpoint, download

from det_hooks.trainers import trained_model
from rifle_ext.errors import RifleError
from rifle_ext.runtime.isolation import beside_training, on_cpu
from rifle_ext.training.loading import Loaded, loaded_into, note_unread

_load = checkpoint.load_pretrain_weight  # not the idle one that stands in while a model is rebuilt


def named_in(cfg: Any) -> Optional[str]:
    """The pretrained weights of what is trained, as the train tool takes them from a config."""
    if cfg.get("pretrain_student_weights") and cfg.get("pretrain_teacher_weights"):
        return str(cfg["pretrain_student_weights"])
    return str(cfg["pretrain_weights"]) if cfg.get("pretrain_weights") else None


def is_here(path: str) -> bool:
    """Whether they are a file on this machine; PaddleDetection leaves the ending out.

    An address counts if PaddleDetection has downloaded it before, and so will not again.
    """
    if checkpoint.is_url(path):
        return os.path.isfile(os.path.join(download.WEIGHTS_HOME, os.path.basename(path)))
    return any(os.path.isfile(stem + ".pdparams") for stem in (path, os.path.splitext(path)[0]))


def read(trainer: Any, path: Optional[str] = None) -> Mapping[str, Tensor]:
    """What a file of weights holds, by structured name.

    Parameters
    ----------
    trainer
        Whose config names the pretrained weights that are read without a path.
    path
        A file, its ending left out or not, or an address.

    Raises
    ------
    RifleError
        If there are none, or they cannot be read.
    """
    named = path or named_in(trainer.cfg)
    if named is None:
        raise RifleError("the config names no pretrain_weights", topic="weights")
    said = named if path else f"pretrain_weights: {named}"
    try:
        here = download.get_weights_path(named) if checkpoint.is_url(named) else named
        stem = here[: -len(".pdparams")] if here.endswith(".pdparams") else here
        with on_cpu():
            content = paddle.load(f"{stem}.pdparams")
    except Exception as error:  # whatever a download or Paddle says of a file
        raise RifleError(
            f"{said}: cannot be read ({type(error).__name__}: {error})", topic="weights"
        ) from error
    if not isinstance(content, dict):
        raise RifleError(f"{said}: no file of weights", topic="weights")
    return content


def loaded(trainer: Any, rebuild: Callable[[], nn.Layer]) -> Loaded:
    """What pretrained weights fill of the model that a trainer trains.

    On a resume the tool loads the checkpoint and not the pretrained weights, so those are loaded
    into a second model.

    Raises
    ------
    RifleError
        If they are needed for that and cannot be read.
    """
    found = loaded_into(trained_model(trainer))
    path = named_in(trainer.cfg)
    if path is None or not getattr(trainer, "_rifle_ext_resumed", False):
        return found
    with beside_training(0):
        second = rebuild()
        try:
            _load(second, path)
        except Exception as error:
            raise RifleError(
                f"pretrain_weights: {path}: cannot be read again, so it cannot be told which "
                f"output layers it holds ({type(error).__name__}: {error}); name the layers in the "
                "block",
                topic="weights",
            ) from error
    return Loaded({**found.values, **loaded_into(second).values})


def load_if_here(trainer: Any) -> None:
    """Load what the train tool would, for a plan, which downloads nothing."""
    path = named_in(trainer.cfg)
    if path is None:
        return
    if is_here(path):
        _load(trained_model(trainer), path)
    else:
        note_unread(trained_model(trainer), path)
