"""Differences between versions of Paddle, chosen by feature."""

from __future__ import annotations

import inspect
import os
from typing import Any

CREATED_SETS = ("_already_create_accumulater", "_already_create_accumulator")
"""Where optimizers note the parameters whose state exists: in paddle 2.6, and in paddle 3."""

FUSED_LISTS = (
    {"FP32_LODTensor", "FP16_LODTensor"},
    {"FP32_DenseTensor", "FP16_DenseTensor"},
)
"""Keys under which optimizers with `use_multi_tensor` keep lists of what they step, by the type of
the parameters: in paddle 2.6, and in paddle 3.3."""


def before_paddle() -> None:
    """Set what has to be set before `paddle` is imported, for this package's own train tools.

    `zlib` comes first because paddle exports zlib symbols of its own: an extension module loaded
    after it binds to those, and OpenCV can then read no PNG. The flag makes ``numpy()`` of 0-D
    tensors 1-D again; the released toolkits were written before paddle 2.5 and index those.
    """
    import zlib  # noqa: F401

    os.environ.setdefault("FLAGS_set_to_1d", "1")


def truncated_normal(mean: float, std: float) -> Any:
    """An initializer: the normal distribution cut at two standard deviations from its mean.

    Paddle 2.6 always cuts there; paddle 3 cuts at -2 and 2 unless told otherwise.
    """
    from paddle.nn.initializer import TruncatedNormal

    cuts = {}
    if "a" in inspect.signature(TruncatedNormal.__init__).parameters:
        cuts = {"a": mean - 2 * std, "b": mean + 2 * std}
    return TruncatedNormal(mean, std, **cuts)
