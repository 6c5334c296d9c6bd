"""What the benchmark adds to PaddleDetection's components: a backbone, disturbed labels."""

from __future__ import annotations

from typing import Any, Dict, List

import numpy as np
from paddle import Tensor
from ppdet.core.workspace import register, serializable
from ppdet.data import transform
from ppdet.data.transform.operators import BaseOperator, register_op
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


@serializable
@register_op
class DisturbLabels(BaseOperator):
    """DisturbLabel (Xie et al., CVPR 2016), box by box.

    Parameters
    ----------
    rate
        The fraction of boxes whose class is drawn anew, uniformly from all classes.
    num_classes
        Their number.
    """

    def __init__(self, rate: float, num_classes: int) -> None:
        super().__init__()
        self.rate, self.num_classes = rate, num_classes

    def apply(self, sample: Dict[str, Any], context: Any = None) -> Dict[str, Any]:
        """Disturb the classes of a sample's boxes."""
        classes = sample["gt_class"]
        chosen = np.random.random(classes.shape) < self.rate
        drawn = np.random.randint(0, self.num_classes, classes.shape).astype(classes.dtype)
        sample["gt_class"] = np.where(chosen, drawn, classes)
        return sample


transform.DisturbLabels = DisturbLabels  # where readers look operators up
