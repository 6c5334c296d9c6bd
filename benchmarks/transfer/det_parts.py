"""What the benchmark adds to PaddleDetection's components: a backbone."""

from __future__ import annotations

from typing import Dict, List

from paddle import Tensor
from ppdet.core.workspace import register, serializable
from ppdet.modeling.shape_spec import ShapeSpec

from benchmarks.transfer.efficientnet_lite import EfficientNetLite0


@register
@serializable
class EfficientNetLite(EfficientNetLite0):
    """EfficientNet-Lite0 as PaddleDetection's models expect a backbone."""

    def __init__(self, strides: List[int], pretrained: str = "") -> None:
        super().__init__(tuple(strides), pretrained)

    def forward(self, inputs: Dict[str, Tensor]) -> List[Tensor]:
        """The features of a batch's images."""
        return super().forward(inputs["image"])

    @property
    def out_shape(self) -> List[ShapeSpec]:
        """Channels and stride of each feature."""
        shapes = zip(self.channels, self.strides)
        return [ShapeSpec(channels=width, stride=stride) for width, stride in shapes]
