"""The files of weights that a PaddleSeg training begins with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Mapping, Optional
from urllib.parse import urlparse

import paddle
from paddle import Tensor
from paddleseg.utils import utils

from rifle_ext.errors import RifleError
from rifle_ext.runtime.isolation import on_cpu
from seg_hooks.rebuild import downloaded


def resumed(folder: Optional[str]) -> Optional[Path]:
    """The parameters of the checkpoint that `--resume_model` names."""
    return None if folder is None else Path(folder) / "model.pdparams"


def read(config: Any, path: Optional[str] = None) -> Mapping[str, Tensor]:
    """What a file of weights holds, by structured name.

    Parameters
    ----------
    config
        A `paddleseg.cvlibs.Config`.
    path
        A file, or an address; None for the pretrained weights of the config's whole model.

    Raises
    ------
    RifleError
        If there are none, or they cannot be read.
    """
    named = path or config.dic.get("model", {}).get("pretrained")
    if not named:
        raise RifleError("the config names no pretrained weights of a whole model", topic="weights")
    said = named if path else f"model.pretrained = {named}"
    try:
        here = downloaded(named)
        if not os.path.isfile(here) and urlparse(named).netloc:
            here = utils.download_pretrained_model(named)
        with on_cpu():
            content = paddle.load(here) if os.path.isfile(here) else None
    except Exception as error:  # whatever a download or Paddle says of a file
        raise RifleError(
            f"{said}: cannot be read ({type(error).__name__}: {error})", topic="weights"
        ) from error
    if content is None and urlparse(here).netloc:
        raise RifleError(
            f"{said}: it was not downloaded yet, and a plan downloads nothing", topic="download"
        )
    if not isinstance(content, dict):
        raise RifleError(
            f"{said}: {'no file of weights' if content else 'there is no such file'}",
            topic="weights",
        )
    return content
