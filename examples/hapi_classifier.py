"""RIFLE with `paddle.Model.fit`: one more callback.

A small classifier is pre-trained on the handwritten digits 0 to 4 of scikit-learn and fine-tuned on
50 samples of the digits 5 to 9. Its output layer is re-initialized after 10 and 20 epochs; the
accuracy on the other samples of 5 to 9 is printed around the callback's turn, and at the end.

Run it with ``python examples/hapi_classifier.py``; it takes a few seconds.
"""

from __future__ import annotations

import zlib  # noqa: F401  (before paddle, which exports zlib symbols of its own)
from typing import Any, Dict, Optional

import numpy as np
import paddle
from paddle import nn
from paddle.io import TensorDataset
from sklearn.datasets import load_digits

from rifle_ext import RIFLECallback

EPOCHS, PERIOD = 50, 10


def samples(chosen: np.ndarray, first_digit: int) -> TensorDataset:
    """Make a data set of some of scikit-learn's digits; `first_digit` becomes class 0."""
    digits = load_digits()
    images = (digits.images[chosen, None] / 16).astype("float32")
    labels = digits.target[chosen, None].astype("int64") - first_digit
    return TensorDataset([paddle.to_tensor(images), paddle.to_tensor(labels)])


def prepared(network: nn.Layer) -> paddle.Model:
    """Make a model that is ready to fit."""
    model = paddle.Model(network)
    optimizer = paddle.optimizer.Adam(1e-3, parameters=network.parameters())
    model.prepare(optimizer, nn.CrossEntropyLoss(), paddle.metric.Accuracy())
    return model


class Report(paddle.callbacks.Callback):
    """Prints the accuracy on held-out data every ten epochs, when the next one begins."""

    def __init__(self, data: TensorDataset, when: str) -> None:
        super().__init__()
        self.data, self.when = data, when

    def on_epoch_begin(self, epoch: int, logs: Optional[Dict[str, Any]] = None) -> None:
        """Print the accuracy after `epoch` epochs."""
        if epoch % PERIOD == 0:
            found = self.model.evaluate(self.data, batch_size=1000, verbose=0)
            print(f"after {epoch} epochs, {self.when} RIFLE: accuracy {found['acc']:.3f}")


def main() -> None:
    """Pre-train, then fine-tune with RIFLE."""
    paddle.seed(0)
    np.random.seed(0)
    source = np.flatnonzero(load_digits().target < 5)
    target = np.flatnonzero(load_digits().target >= 5)
    few, held_out = samples(target[:50], 5), samples(target[50:], 5)

    # Without batch normalization, large gradients after a reset can switch ReLUs off for good.
    backbone = nn.Sequential(
        *(nn.Conv2D(1, 16, 3, padding=1), nn.BatchNorm2D(16), nn.ReLU(), nn.MaxPool2D(2)),
        *(nn.Conv2D(16, 32, 4), nn.BatchNorm2D(32), nn.ReLU(), nn.Flatten()),
    )
    model = prepared(nn.Sequential(backbone, nn.Linear(32, 5)))
    model.fit(samples(source, 0), batch_size=10, epochs=3, verbose=0)

    output = nn.Linear(32, 5)
    model = prepared(nn.Sequential(backbone, output))
    rifle = RIFLECallback(output, re_init_epoch=PERIOD, max_re_num=2)
    callbacks = [Report(held_out, "before"), rifle, Report(held_out, "after")]  # in this order
    model.fit(few, batch_size=10, epochs=EPOCHS, verbose=0, callbacks=callbacks)
    found = model.evaluate(held_out, batch_size=1000, verbose=0)
    print(f"after {EPOCHS} epochs: accuracy {found['acc']:.3f}")


if __name__ == "__main__":
    main()
