"""What PaddleSeg 2.8.0 of the package registry needs to run with paddle 2.5 and later.

Its own branch release/2.8 has most of these fixes; the package was made before them. Only the train
tool of this package applies them, never the adapter: PaddleSeg's own tool runs as it is.
"""

from __future__ import annotations

import functools
from typing import Any, List

from rifle_ext.runtime.patching import replaced


def mend_evaluation() -> None:
    """Let `calculate_area` join 0-D sums, if it cannot: evaluation fails without."""
    import paddle
    from paddleseg.utils import metrics

    label = paddle.zeros([1, 1, 2, 2], dtype="int64")
    try:
        metrics.calculate_area(label, label, num_classes=2)
    except ValueError:
        metrics.calculate_area = _joining_scalars(metrics.calculate_area)


def mend_gather() -> None:
    """Let `paddle.gather` take booleans, if it cannot: paddle 2.6 has no such CPU kernel.

    The loss of MaskFormer gathers boolean masks.
    """
    import paddle

    gather = paddle.gather

    def gather_booleans_too(x: Any, *args: Any, **kwargs: Any) -> Any:
        if x.dtype != paddle.bool:
            return gather(x, *args, **kwargs)
        return gather(x.astype("uint8"), *args, **kwargs).astype("bool")

    try:
        gather(paddle.ones([1], dtype="bool"), paddle.zeros([1], dtype="int64"))
    except RuntimeError:
        paddle.gather = gather_booleans_too


def _joining_scalars(calculate_area: Any) -> Any:
    import paddle

    concat = paddle.concat

    def concat_or_stack(x: List[Any], *args: Any, **kwargs: Any) -> Any:
        scalars = all(not tensor.shape for tensor in x)
        return paddle.stack(x) if scalars else concat(x, *args, **kwargs)

    @functools.wraps(calculate_area)
    def mended(*args: Any, **kwargs: Any) -> Any:
        with replaced(paddle, concat=concat_or_stack):
            return calculate_area(*args, **kwargs)

    return mended
