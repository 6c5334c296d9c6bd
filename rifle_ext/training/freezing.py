"""Take layers out of a training, and put them back.

A parameter whose `stop_gradient` is set is left out of Paddle's backward pass, of the clipping of
gradients and of every optimizer's step, decay and momentum included. What else remembers that it
was trained is seen to here: normalizations, optimizers that keep parameters in groups of their own,
state that a checkpoint holds and nobody has taken up, and what gathers gradients of several
processes.
"""

from __future__ import annotations

import contextlib
from typing import Any, Iterable, List, Mapping

import paddle
from paddle import Tensor, nn
from paddle.optimizer import Optimizer

from rifle_ext.errors import RifleError
from rifle_ext.redraw.reset import alien, fresh_state
from rifle_ext.runtime.compat import FUSED_LISTS
from rifle_ext.training.hooks import TrainingRun
from rifle_ext.training.ranks import gather_anew
from rifle_ext.training.recomputation import learning_without_operands
from rifle_ext.training.stillness import RunningStatistics


class Frozen:
    """The layers that are out of one training.

    Nothing here depends on how they came to be: after a resume the same layers can be taken out at
    once.

    Parameters
    ----------
    run
        The training, from its first step on.
    """

    def __init__(self, run: TrainingRun) -> None:
        self._run = run
        self._parameters: List[Tensor] = []
        self._statistics = RunningStatistics()
        self._recomputing = contextlib.ExitStack()

    def add(self, parameters: Mapping[str, Tensor], layers: Iterable[nn.Layer]) -> None:
        """Take parameters out, by structured name, and let normalizations be as in evaluation.

        To be called between two steps, with parameters that are trained.
        """
        optimizer = self._run.optimizer
        if not self._parameters:
            self._recomputing.enter_context(learning_without_operands())
        take_up_loaded_state(optimizer, parameters)
        for parameter in parameters.values():
            parameter.clear_gradient(False)  # what waits there would stay for ever
            parameter.stop_gradient = True
            self._parameters.append(parameter)
        self._statistics.use(layers)
        group_anew(optimizer)
        for wrapper in self._run.wrappers:
            gather_anew(wrapper)

    def restore(self) -> None:
        """Put all of them back, after the training."""
        for parameter in self._parameters:
            parameter.stop_gradient = False
        self._parameters.clear()
        self._statistics.restore()
        self._recomputing.close()
        group_anew(self._run.optimizer)


def check_optimizer(optimizer: Optimizer) -> None:
    """Stop unless the optimizer leaves alone what has no gradient.

    Raises
    ------
    RifleError
        If it is none of `paddle.optimizer`, or computes one direction for all parameters together.
    """
    why = alien(optimizer)
    if why:
        raise RifleError(
            f"the optimizer {why}, so that it is not known to leave frozen layers alone; train "
            "with one of paddle.optimizer (LBFGS apart), without sharding",
            topic="optimizer",
        )


@paddle.no_grad()
def take_up_loaded_state(optimizer: Optimizer, parameters: Mapping[str, Tensor]) -> None:
    """Give an optimizer the state for some parameters that a resume loaded and it has not taken up.

    It takes it up in the first step that trains them. Where none will, the next checkpoint would
    lack it.
    """
    waiting = getattr(optimizer, "_accumulators_holder", None)
    if not waiting:
        return
    fresh = fresh_state(optimizer, parameters)
    for parameter in parameters.values():
        masters = getattr(optimizer, "_master_weights", {})
        key = getattr(masters.get(parameter.name), "name", parameter.name)
        names = [kinds[key].name for kinds in fresh.values() if key in kinds]
        if names and all(name in waiting for name in names):
            optimizer.helper = paddle.base.layer_helper.LayerHelper(type(optimizer).__name__)
            block = paddle.base.framework.default_main_program().global_block()
            optimizer._create_accumulators(block, [parameter])


def group_anew(optimizer: Any) -> None:
    """Let fused updates gather their parameters again, at the next step."""
    for kept in vars(optimizer).values():
        if isinstance(kept, dict) and set(kept) in FUSED_LISTS:
            for key, groups in kept.items():
                if groups is not None:
                    kept[key] = [[] for _ in groups]
