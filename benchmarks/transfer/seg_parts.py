"""What the benchmark adds to PaddleSeg's components: backbones, disturbed labels."""

from __future__ import annotations

from typing import Any, Dict, List

import numpy as np
from paddleseg.cvlibs import manager
from paddleseg.models.backbones.stdcnet import STDCNet

from benchmarks.transfer.efficientnet_lite import EfficientNetLite0

IGNORED = 255


@manager.BACKBONES.add_component
def STDC16(**options: Any) -> STDCNet:  # noqa: N802 (the name in the config)
    """STDC1 with 16 base channels for 64, two blocks a stage, blocks that add what they skip."""
    return STDCNet(base=16, layers=[2, 2, 2], block_num=2, type="add", **options)


@manager.BACKBONES.add_component
class EfficientNetLite(EfficientNetLite0):
    """EfficientNet-Lite0 as PaddleSeg's models expect a backbone."""

    def __init__(self, strides: List[int], pretrained: str = "", in_channels: int = 3) -> None:
        super().__init__(tuple(strides), pretrained)
        self.feat_channels = self.channels


@manager.TRANSFORMS.add_component
class DisturbLabels:
    """DisturbLabel (Xie et al., CVPR 2016), pixel by pixel.

    Parameters
    ----------
    rate
        The fraction of pixels whose label is drawn anew, uniformly from all classes.
    num_classes
        Their number, the background included.
    """

    def __init__(self, rate: float, num_classes: int) -> None:
        self.rate, self.num_classes = rate, num_classes

    def __call__(self, data: Dict[str, Any]) -> Dict[str, Any]:
        """Disturb the labels of a sample."""
        label = data["label"]
        chosen = (np.random.random(label.shape) < self.rate) & (label != IGNORED)
        drawn = np.random.randint(0, self.num_classes, label.shape).astype(label.dtype)
        data["label"] = np.where(chosen, drawn, label)
        return data
