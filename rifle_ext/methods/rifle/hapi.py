"""RIFLE as a callback of `paddle.Model.fit`."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional, Sequence, Union

import paddle
from paddle import nn

from rifle_ext.methods.rifle.block import parse_block
from rifle_ext.methods.rifle.loop import RIFLE, InitializerLike
from rifle_ext.redraw.reset import check_optimizer
from rifle_ext.training.ranks import refuse_parts


class RIFLECallback(paddle.callbacks.Callback):
    """Re-initializes layers every few epochs of `paddle.Model.fit`.

    A reset due after an epoch happens when the next one begins, that is after the epoch's
    evaluation and checkpoint. A reset that would leave less than one period is left out.

    Parameters
    ----------
    layers, re_init_epoch, max_re_num, weight_initializer, seed, bias_initializer, scale, head_lr
        As for `RIFLE`. The optimizer is the one the model was prepared with, the length that of
        the fit.
    warm_up, ramp
        As for `RIFLE`; the model is the one that is fitted.
    """

    def __init__(
        self,
        layers: Union[nn.Layer, Sequence[nn.Layer]],
        re_init_epoch: Optional[int] = 5,
        max_re_num: Optional[int] = 3,
        weight_initializer: InitializerLike = None,
        seed: int = 0,
        bias_initializer: InitializerLike = None,
        scale: Union[str, float] = "auto",
        head_lr: Union[str, Mapping[str, Any]] = "auto",
        warm_up: int = 0,
        ramp: int = 0,
    ) -> None:
        super().__init__()
        self._given: Dict[str, Any] = {
            "layers": layers,
            "re_init_epoch": re_init_epoch,
            "max_re_num": max_re_num,
            "weight_initializer": weight_initializer,
            "seed": seed,
            "bias_initializer": bias_initializer,
            "scale": scale,
        }
        self._recovery: Dict[str, Any] = {"head_lr": head_lr, "warm_up": warm_up, "ramp": ramp}
        parse_block(self._recovery, "RIFLECallback(...)")
        # What is wrong is said at once. The number of epochs is known in the fit alone.
        self.rifle = RIFLE(**self._given, epochs=1)

    def on_train_begin(self, logs: Optional[Dict[str, Any]] = None) -> None:
        """Take the optimizer and the number of epochs from the model that is being fitted."""
        refuse_parts()
        check_optimizer(self.model._optimizer)
        self.rifle.end()  # of a training that was interrupted
        self.rifle = RIFLE(
            **self._given,
            **self._recovery,
            optimizer=self.model._optimizer,
            model=self.model.network,
            epochs=self.params.get("epochs"),
        )

    def on_epoch_begin(self, epoch: int, logs: Optional[Dict[str, Any]] = None) -> None:
        """Do the reset due after `epoch` epochs, if one is."""
        self.rifle.apply(current_epoch=epoch)

    def on_train_batch_end(self, step: int, logs: Optional[Dict[str, Any]] = None) -> None:
        """Count the optimizer's steps: one in `accumulate_grad_batches`, and the epoch's last."""
        batches = getattr(self.model, "_accumulate", 1)
        if (step + 1) % batches == 0 or step + 1 == self.params.get("steps"):
            self.rifle.step()

    def on_train_end(self, logs: Optional[Dict[str, Any]] = None) -> None:
        """Give the learning rates back."""
        self.rifle.end()
