"""Hand-made models for tests, and what is found in them."""

import numpy as np
import paddle
from paddle import nn

from rifle_ext.heads.outputs import find_outputs

X = np.random.RandomState(0).rand(2, 3, 64, 64).astype("float32")


def found(model, *inputs, losses=False, **kwargs):
    inputs = [paddle.to_tensor(X)] if not inputs and not kwargs else inputs
    return list(find_outputs(model, lambda: model(*inputs, **kwargs), losses).parameters)


def conv(i, o):
    return nn.Conv2D(i, o, 1)


class Net(nn.Layer):
    """A backbone and whatever a test adds."""

    def __init__(self, **layers):
        super().__init__()
        self.backbone = conv(3, 4)
        for name, layer in layers.items():
            setattr(self, name, layer)


def model_of(forward, **layers):
    kind = type("Model", (Net,), {"forward": forward})
    return kind(**layers)
