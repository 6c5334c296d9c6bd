"""Whether an optimizer heeds the learning rates of single parameters, found out by trying.

Most multiply a step by `param.optimize_attr["learning_rate"]`. Rprop keeps rates of its own; others
have the rate in their moments, and a parameter goes on moving at a rate of 0. So a copy of the
optimizer does a few steps on a parameter of its own: its class does not matter, nor who wrote it.
"""

from __future__ import annotations

from typing import Optional, Sequence

import numpy as np
import paddle
from paddle.nn.initializer import Constant
from paddle.optimizer import Optimizer

from rifle_ext.errors import RifleError
from rifle_ext.redraw.reset import without_state
from rifle_ext.runtime.isolation import on_cpu
from rifle_ext.runtime.tensors import as_float32

RATE = 0.125
"""Of the copy."""


def heeds_rates(optimizer: Optional[Optimizer]) -> bool:
    """Whether another rate of a parameter makes its steps other ones; true if there is no telling.

    Parameters
    ----------
    optimizer
        What trains the model, if it is known. Nothing of it changes.
    """
    once, twice = _tried(optimizer, [1.0]), _tried(optimizer, [2.0])
    return once is None or twice is None or not np.array_equal(once, twice)


def holds_still(optimizer: Optional[Optimizer]) -> bool:
    """Whether a parameter that has learned stands still at rate 0; true if there is no telling.

    Parameters
    ----------
    optimizer
        As for `heeds_rates`.
    """
    moved, held = _tried(optimizer, [1.0]), _tried(optimizer, [1.0, 0.0])
    return moved is None or held is None or np.array_equal(moved, held)


def check_heeded(optimizer: Optional[Optimizer], asked: str, way_out: str) -> None:
    """Stop if rates of their own for some parameters would have no effect.

    Parameters
    ----------
    optimizer
        As for `heeds_rates`.
    asked
        What asks for them, as the user wrote it.
    way_out
        What to write instead, for the message.

    Raises
    ------
    RifleError
        If the optimizer does not heed them.
    """
    if not heeds_rates(optimizer):
        raise RifleError(
            f"{asked}: {type(optimizer).__name__} does not heed the learning rates of single "
            f"parameters, so that would have no effect; {way_out}",
            topic="optimizer",
        )


def _tried(optimizer: Optional[Optimizer], factors: Sequence[float]) -> Optional[np.ndarray]:
    """A parameter after steps at these factors of the rate; None if they cannot be done."""
    try:
        with on_cpu():
            return None if optimizer is None else _after_steps(optimizer, factors)
    except Exception:  # whatever an optimizer of the user's own needs to know of a parameter
        return None


@paddle.no_grad()
def _after_steps(optimizer: Optimizer, factors: Sequence[float]) -> np.ndarray:
    trial = without_state(optimizer)
    trial._learning_rate, trial._learning_rate_map, trial._master_weights = RATE, {}, {}
    vars(trial).pop("_create_param_lr", None)  # that of the optimizer: `SharedRates`
    block = paddle.base.framework.default_main_program().global_block()
    first = optimizer._parameter_list[0]
    name = (first["params"][0] if isinstance(first, dict) else first).name  # some look it up
    with paddle.utils.unique_name.guard():
        # Not as the default initializer: one that is set globally would win over that.
        attribute = paddle.ParamAttr(name=name, initializer=Constant(1.0))
        parameter = paddle.create_parameter([2, 2], "float32", attr=attribute)
        trial._create_global_learning_rate()
        trial._create_accumulators(block, [parameter])
        for factor in factors:
            parameter.optimize_attr["learning_rate"] = factor
            trial._append_optimize_op(block, (parameter, paddle.ones_like(parameter)))
    return as_float32(parameter)
