"""RIFLE in a training loop of one's own: one call before each epoch.

A small classifier is pre-trained on the handwritten digits 0 to 4 of scikit-learn and fine-tuned on
50 samples of the digits 5 to 9. Its output layer is re-initialized after 10 and 20 epochs; the
accuracy on the other samples of 5 to 9 is printed around each reset, and at the end.

Run it with ``python examples/plain_loop.py``; it takes a few seconds.
"""

from __future__ import annotations

import zlib  # noqa: F401  (before paddle, which exports zlib symbols of its own)
from typing import Optional

import numpy as np
import paddle
from paddle import nn
from paddle.io import DataLoader, TensorDataset
from paddle.optimizer import Adam, Optimizer
from sklearn.datasets import load_digits

from rifle_ext import RIFLE

EPOCHS = 50


def samples(chosen: np.ndarray, first_digit: int) -> TensorDataset:
    """Make a data set of some of scikit-learn's digits; `first_digit` becomes class 0."""
    digits = load_digits()
    images = (digits.images[chosen, None] / 16).astype("float32")
    labels = digits.target[chosen].astype("int64") - first_digit
    return TensorDataset([paddle.to_tensor(images), paddle.to_tensor(labels)])


def accuracy(model: nn.Layer, data: TensorDataset) -> float:
    """Share of the samples that the model tells right."""
    images, labels = data.tensors
    model.eval()
    right = model(images).argmax(1).numpy() == labels.numpy()
    model.train()
    return float(right.mean())


def train_one_epoch(
    model: nn.Layer, optimizer: Optimizer, data: TensorDataset, rifle: Optional[RIFLE] = None
) -> None:
    """Pass over the data once, in a random order."""
    for images, labels in DataLoader(data, batch_size=10, shuffle=True):
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
        optimizer.clear_grad()
        if rifle is not None:
            rifle.step()  # for the way back after a reset


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
    model = nn.Sequential(backbone, nn.Linear(32, 5))
    optimizer = Adam(1e-3, parameters=model.parameters())
    for _ in range(3):
        train_one_epoch(model, optimizer, samples(source, 0))

    output = nn.Linear(32, 5)
    model = nn.Sequential(backbone, output)
    optimizer = Adam(1e-3, parameters=model.parameters())
    rifle = RIFLE(output, re_init_epoch=10, max_re_num=2, optimizer=optimizer)
    for epoch in range(EPOCHS):
        before = accuracy(model, held_out)
        if rifle.apply(current_epoch=epoch):
            after = accuracy(model, held_out)
            print(f"reset after {epoch} epochs: accuracy {before:.3f} before, {after:.3f} after")
        train_one_epoch(model, optimizer, few, rifle)
    print(f"after {EPOCHS} epochs: accuracy {accuracy(model, held_out):.3f}")


if __name__ == "__main__":
    main()
