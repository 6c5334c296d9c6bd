"""Restart PaddleDetection's averages of the weights (ppdet/optimizer/ema.py) at a fresh head."""

from __future__ import annotations

import math
from typing import Any, Mapping

import paddle
from paddle import Tensor

from rifle_ext.redraw.reset import Shadow, write_model
from rifle_ext.runtime.tensors import under_all_names


def shadow_of(ema: Any) -> Shadow:
    """What restarts the average that a trainer keeps.

    Parameters
    ----------
    ema
        A `ModelEMA` (any decay type) or a `SimpleModelEMA`, whose model is the teacher of
        semi-supervised training.
    """
    if hasattr(ema, "model"):
        return lambda values: write_model(getattr(ema.model, "_layers", ema.model), values)
    return lambda values: _restart_state(ema, values)


@paddle.no_grad()
def _restart_state(ema: Any, values: Mapping[str, Tensor]) -> None:
    """Set the running sums so that `ModelEMA.apply` gives exactly the fresh values.

    `apply` divides the sums by ``1 - decay**step``, except for the exponential type and for the
    tensors on its black list, which it does not average. It averages a tensor once for each of its
    names.
    """
    state = {name: reference() for name, reference in ema._model_state.items()}
    for name, value in under_all_names(values, state).items():
        held = ema.state_dict[name]
        corrected = ema.ema_decay_type != "exponential" and name not in ema.ema_black_list
        share = 1 - _decay(ema) ** ema.step if corrected else 1.0
        held.set_value((value.astype("float32") * share).astype(held.dtype))


def _decay(ema: Any) -> float:
    """The decay `apply` would use; that of the next update if none was done since a resume."""
    if hasattr(ema, "_decay"):
        return ema._decay
    if ema.ema_decay_type == "threshold":
        return min(ema.decay, (1 + ema.step) / (10 + ema.step))
    if ema.ema_decay_type == "exponential":
        return ema.decay * (1 - math.exp(-(ema.step + 1) / 2000))
    return ema.decay
