"""Write fresh values in place and make everything that remembers the old ones forget.

The parameter objects stay the same: optimizers, gradient reducers and averages hold references to
them, and a replaced parameter would never be trained again.
"""

from __future__ import annotations

import copy
import hashlib
from collections import defaultdict
from typing import Any, Callable, Dict, Iterable, Mapping, Optional, Set

import numpy as np
import paddle
from paddle import Tensor, nn
from paddle.optimizer import Optimizer

from rifle_ext.errors import RifleError
from rifle_ext.runtime.compat import CREATED_SETS
from rifle_ext.runtime.tensors import as_float32, put

Shadow = Callable[[Mapping[str, Tensor]], None]
"""Restarts an average of the weights at the given values, by structured name."""


@paddle.no_grad()
def write(tensors: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    """Copy `values` into `tensors` of the same names, shapes and any float dtype, in place."""
    for name, tensor in tensors.items():
        value = values[name]
        put(tensor, value if value.dtype == tensor.dtype else value.astype(tensor.dtype))


def in_full_precision(
    optimizer: Optional[Optimizer], parameters: Mapping[str, Tensor]
) -> Dict[str, Tensor]:
    """Parameters, or the float32 copies that mixed-precision training keeps of them."""
    masters: Dict[str, Tensor] = getattr(optimizer, "_master_weights", {})
    return {name: masters.get(p.name, p) for name, p in parameters.items()}


@paddle.no_grad()
def blended(
    tensors: Mapping[str, Tensor], values: Mapping[str, Tensor], keep: float
) -> Dict[str, Tensor]:
    """A part of what tensors hold, the rest of `values`: shrink and perturb.

    Ash and Adams, "On Warm-Starting Neural Network Training", NeurIPS 2020, section 4.

    Parameters
    ----------
    tensors, values
        Of the same names and shapes.
    keep
        The fraction that stays, from 0 to 1.

    Returns
    -------
    dict
        In float32, where the tensors are.
    """
    found = {}
    for name, tensor in tensors.items():
        fresh = paddle.to_tensor(values[name].astype("float32"), place=tensor.place)
        found[name] = keep * tensor.astype("float32") + (1 - keep) * fresh
    return found


def write_model(model: nn.Layer, values: Mapping[str, Tensor]) -> None:
    """Copy `values` into the parameters and buffers of a model that have their names, in place."""
    named = {**dict(model.named_buffers()), **dict(model.named_parameters())}
    write({name: named[name] for name in values}, values)


def digest(values: Mapping[str, Tensor]) -> str:
    """SHA-256, in hex, over the values as float32 in the order of the mapping."""
    sha = hashlib.sha256()
    for value in values.values():
        sha.update(np.ascontiguousarray(as_float32(value)).tobytes())
    return sha.hexdigest()


def check_optimizer(optimizer: Optional[Optimizer]) -> None:
    """Stop unless the optimizer keeps its state parameter by parameter, and in itself.

    Parameters
    ----------
    optimizer
        What trains the model: None if there is none.

    Raises
    ------
    RifleError
        If it wraps another one (a class of the user's own, `paddle.incubate`), holds a part of the
        state (`paddle.distributed`), or has one state for all parameters together (LBFGS).
    """
    if optimizer is None:
        return
    kind, wrapped = type(optimizer), _wrapped(optimizer)
    if not isinstance(optimizer, Optimizer):
        raise RifleError(
            f"the optimizer is a {kind.__name__}, which is no paddle.optimizer.Optimizer"
            f"{wrapped and ', as is ' + wrapped}; RIFLE has to restart the state that an optimizer "
            "keeps for the output layers, so train with, or give it, one of paddle.optimizer",
            topic="optimizer",
        )
    why = alien(optimizer)
    if why:
        raise RifleError(
            f"the optimizer {why}, so that of the output layers cannot restart; train with one "
            "of paddle.optimizer (LBFGS apart), without sharding, and give it as it was before it "
            "was wrapped",
            topic="optimizer",
        )


def alien(optimizer: Any) -> str:
    """What keeps an optimizer from being one that sees to each parameter by itself, in words.

    Empty if nothing does.
    """
    kind, wrapped = type(optimizer), _wrapped(optimizer)
    if not isinstance(optimizer, Optimizer):
        return f"is a {kind.__name__}, which is no paddle.optimizer.Optimizer"
    theirs = next(base for base in kind.__mro__ if base.__module__.startswith("paddle."))
    apart = theirs.__module__.startswith(("paddle.distributed", "paddle.incubate"))
    own = _defined_below(kind, Optimizer) if theirs is Optimizer else set()
    own_steps = "step" in own and "_create_accumulators" not in own
    if apart or theirs is paddle.optimizer.LBFGS or own_steps or wrapped:
        return (
            f"is a {kind.__name__}: it wraps another optimizer"
            f"{wrapped and ' (' + wrapped + ')'}, holds a part of its state, or has one state for "
            "all parameters together"
        )
    return ""


def _wrapped(optimizer: Any) -> str:
    """The optimizer that another one holds, in words; empty if it holds none."""
    for name, value in getattr(optimizer, "__dict__", {}).items():
        if isinstance(value, Optimizer):
            return f"the {type(value).__name__} in its attribute {name}"
    return ""


def _defined_below(kind: type, base: type) -> Set[str]:
    """Names that a class and those between it and a base define."""
    return {name for cls in kind.__mro__[: kind.__mro__.index(base)] for name in vars(cls)}


def check_trained(optimizer: Optional[Optimizer], parameters: Mapping[str, Tensor]) -> None:
    """Stop if the optimizer does not train all of some parameters.

    Raises
    ------
    RifleError
        If one is missing: drawn again, it would stay at its fresh values.
    """
    if getattr(optimizer, "_parameter_list", None) is None:
        return
    held: Set[int] = set()
    for item in optimizer._parameter_list:  # type: ignore[union-attr]
        held.update(map(id, item["params"] if isinstance(item, dict) else [item]))
    still = [n for n, p in parameters.items() if p.optimize_attr["learning_rate"] == 0]
    if still:
        raise RifleError(
            f"the learning rate of {', '.join(still)} is 0 (a ParamAttr's or a group's): drawn "
            "again, that would stay at its random values; let it learn, or name layers in `layers` "
            "that do",
            topic="not-trained",
        )
    missing = [name for name, parameter in parameters.items() if id(parameter) not in held]
    if missing:
        raise RifleError(
            f"the optimizer does not train {', '.join(missing)}: drawn again, that would stay at "
            "its random values; give the optimizer these parameters, too, or name layers in "
            "`layers` that it trains",
            topic="not-trained",
        )


@paddle.no_grad()
def forget(optimizer: Optimizer, parameters: Mapping[str, Tensor]) -> None:
    """Give the optimizer the state for these parameters that a fresh optimizer would have.

    A shallow copy of the optimizer with no state creates that state with the optimizer's own code,
    whatever its class keeps; the values are then copied into the real state in place. State that
    was loaded for a resume and not consumed yet is replaced where it waits.

    Raises
    ------
    RifleError
        If the optimizer keeps something for them of which a fresh one has none.
    """
    state, waiting = optimizer._accumulators, optimizer._accumulators_holder
    blank = fresh_state(optimizer, parameters)
    masters = getattr(optimizer, "_master_weights", {})
    keys = {getattr(masters.get(p.name), "name", p.name) for p in parameters.values()}
    for kind, by_parameter in state.items():
        unknown = (keys & by_parameter.keys()) - blank.get(kind, {}).keys()
        if unknown:
            raise RifleError(
                f"{type(optimizer).__name__} of paddle {paddle.__version__} keeps {kind} for the "
                "output layers, and it cannot be told what that starts from; set "
                "rifle.optimizer_state: keep",
                topic="optimizer",
            )
    for kind, by_parameter in blank.items():
        for key, fresh in by_parameter.items():
            if key in state.get(kind, {}):
                put(state[kind][key], fresh)
            elif fresh.name in waiting:
                waiting[fresh.name] = fresh


def fresh_state(
    optimizer: Optimizer, parameters: Mapping[str, Tensor]
) -> Dict[str, Dict[str, Tensor]]:
    """The accumulators a new optimizer of this kind makes, as {kind: {parameter name: tensor}}."""
    blank = without_state(optimizer)
    block = paddle.base.framework.default_main_program().global_block()
    with paddle.utils.unique_name.guard():
        blank._create_accumulators(block, list(parameters.values()))
    return blank._accumulators


def without_state(optimizer: Optimizer) -> Optimizer:
    """A shallow copy that keeps nothing of any parameter yet, but for master weights."""
    blank = copy.copy(optimizer)
    blank._accumulators = defaultdict(dict)
    blank._accumulators_holder = {}
    blank._master_weights = dict(getattr(optimizer, "_master_weights", {}))
    for name in CREATED_SETS:
        setattr(blank, name, set())
    blank._opti_name_list = []
    blank.helper = paddle.base.layer_helper.LayerHelper(type(optimizer).__name__)
    return blank


@paddle.no_grad()
def write_master_weights(
    optimizer: Optimizer, parameters: Mapping[str, Tensor], values: Mapping[str, Tensor]
) -> None:
    """Set the float32 copies that mixed-precision training keeps of 16-bit weights."""
    masters: Dict[str, Tensor] = getattr(optimizer, "_master_weights", {})
    for name, parameter in parameters.items():
        master: Optional[Any] = masters.get(parameter.name)
        if master is not None:
            put(master, values[name].astype(master.dtype))


def reinitialize(
    tensors: Mapping[str, Tensor],
    values: Mapping[str, Tensor],
    optimizer: Optional[Optimizer] = None,
    keep_optimizer_state: bool = False,
    shadows: Iterable[Shadow] = (),
) -> None:
    """Do one reset: the plain function behind every way of using RIFLE.

    Parameters
    ----------
    tensors
        Parameters and buffers to reset, by structured name.
    values
        Their fresh values, of the same shapes, on any device and in any float dtype.
    optimizer
        Whose state for them restarts; None if there is none to see to.
    keep_optimizer_state
        Leave the moments as they are. Master weights are always set: they *are* the parameters.
    shadows
        Averages of the weights to restart at the fresh values.
    """
    write(tensors, values)
    for tensor in tensors.values():
        if not tensor.stop_gradient:
            tensor.clear_gradient()  # of the old values, where steps add their gradients up
    if optimizer is not None:
        trained = {name: t for name, t in tensors.items() if not t.stop_gradient}
        write_master_weights(optimizer, trained, values)
        if not keep_optimizer_state:
            forget(optimizer, trained)
    for shadow in shadows:
        shadow(values)
