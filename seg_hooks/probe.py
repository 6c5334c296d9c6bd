"""One training-mode forward pass of a PaddleSeg model, for finding its output layers.

On a made-up image: the training's data set and transforms are not touched, as they may open files,
or draw, at their first use.
"""

from __future__ import annotations

import itertools
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple

import numpy as np
import paddle
from paddle import nn

from rifle_ext.errors import CannotRun

SMALL = (128, 128)
"""Height and width that will do, in pixels, for all models but those that take one size only."""

_USUAL = tuple((side, side) for side in (64, 224, 256, 384, 512, 640, 768, 1024))
"""What else models that take one size only are made for."""

_LARGEST = 2048


def forward(model: nn.Layer, config: Mapping[str, Any]) -> Any:
    """The model's outputs for a batch of two images of random values.

    Two, because batch normalization of a 1x1 feature map cannot train on one. Sizes and numbers of
    channels are tried in turn, likely ones first: `SMALL`, those
    that the config names, usual ones.

    Parameters
    ----------
    model
        What to run.
    config
        The whole config, as a mapping.

    Raises
    ------
    CannotRun
        If the model can be run on none of them.
    """
    first: Optional[Tuple[List[int], Exception]] = None
    channels_and_sizes = itertools.product(_channels(model, config), _sizes(config))
    for channels, size in sorted(channels_and_sizes, key=lambda pair: pair[1] != SMALL):
        shape = [2, channels, *size]
        if getattr(model, "data_format", "NCHW") == "NHWC":  # as PaddleSeg's loop asks
            shape = [2, *size, channels]
        try:
            return model(_image(shape))
        except Exception as failed:  # whatever a model, or Paddle, says of a size
            first = first or (shape, failed)
    assert first is not None
    shape, error = first
    raise CannotRun(
        f"{type(model).__name__} cannot be run on made-up images of shape {shape} "
        f"({type(error).__name__}: {_last_line(error)})",
        topic="forward-pass",
    ) from error


def _image(shape: List[int]) -> paddle.Tensor:
    values = np.random.RandomState(0).uniform(-1, 1, shape).astype("float32")
    return paddle.to_tensor(values)


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[-1].strip()


def _channels(model: nn.Layer, config: Mapping[str, Any]) -> List[int]:
    """How many channels an image may have: what the config says of it, three, what may take it."""
    described, built = config.get("train_dataset") or {}, config.get("model") or {}
    backbone = built.get("backbone")
    places = [(described, "img_channels"), (built, "in_channels"), (backbone, "in_channels")]
    said = [place.get(key) for place, key in places if isinstance(place, Mapping)]
    convolutions = (layer for layer in model.sublayers() if isinstance(layer, nn.Conv2D))
    taken = [layer._in_channels for layer in itertools.islice(convolutions, 1)]
    return list(dict.fromkeys([*(n for n in said if isinstance(n, int)), 3, *taken]))


def _sizes(config: Mapping[str, Any]) -> List[Tuple[int, int]]:
    """Heights and widths: `SMALL`, whatever in the config is named a size, usual ones."""
    found = [SMALL]
    for key, value in _settings(config):
        if "size" not in key:
            continue
        sides = list(value) if isinstance(value, (list, tuple)) else [value, value]
        if len(sides) == 2 and all(_is_side(side) for side in sides):
            # PaddleSeg's transforms name the width first, its models the height.
            found += [(sides[1], sides[0]), (sides[0], sides[1])]
    return list(dict.fromkeys([*found, *_USUAL]))


def _is_side(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 16 < value <= _LARGEST


def _settings(config: Mapping[str, Any]) -> Iterator[Tuple[str, Any]]:
    """The keys that describe images, with their values: of the training's data, of the model."""
    parts: Dict[str, Any] = {key: config.get(key) for key in ("train_dataset", "model")}
    ahead: List[Any] = list(parts.values())
    while ahead:
        value = ahead.pop(0)
        if isinstance(value, Mapping):
            yield from ((str(key), item) for key, item in value.items())
            ahead.extend(value.values())
        elif isinstance(value, (list, tuple)):
            ahead.extend(value)
