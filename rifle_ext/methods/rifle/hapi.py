"""RIFLE as a callback of `paddle.Model.fit`."""

from __future__ import annotations

from typing import Any, Dict, Optional, Sequence, Union

import paddle
from paddle import nn

from rifle_ext.methods.rifle.loop import RIFLE, InitializerLike
from rifle_ext.training.ranks import refuse_parts


class RIFLECallback(paddle.callbacks.Callback):
    """Re-initializes layers every few epochs of `paddle.Model.fit`.

    A reset due after an epoch happens when the next one begins, that is after the epoch's
    evaluation and checkpoint. A reset that would leave fewer than `re_init_epoch` epochs is left
    out.

    Parameters
    ----------
    layers, re_init_epoch, max_re_num, weight_initializer, seed, bias_initializer
        As for `RIFLE`. The optimizer is the one the model was prepared with.
    """

    def __init__(
        self,
        layers: Union[nn.Layer, Sequence[nn.Layer]],
        re_init_epoch: int = 5,
        max_re_num: int = 3,
        weight_initializer: InitializerLike = None,
        seed: int = 0,
        bias_initializer: InitializerLike = None,
    ) -> None:
        super().__init__()
        self.rifle = RIFLE(
            layers,
            re_init_epoch,
            max_re_num,
            weight_initializer,
            seed=seed,
            bias_initializer=bias_initializer,
        )

    def on_train_begin(self, logs: Optional[Dict[str, Any]] = None) -> None:
        """Take the optimizer and the number of epochs from the model that is being fitted."""
        refuse_parts()
        self.rifle.attach(self.model._optimizer, self.params.get("epochs"))

    def on_epoch_begin(self, epoch: int, logs: Optional[Dict[str, Any]] = None) -> None:
        """Do the reset due after `epoch` epochs, if one is."""
        self.rifle.apply(current_epoch=epoch)
