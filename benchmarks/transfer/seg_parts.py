"""What the benchmark adds to PaddleSeg's components: backbones."""

from __future__ import annotations

from typing import Any, List

from paddleseg.cvlibs import manager
from paddleseg.models.backbones.stdcnet import STDCNet

from benchmarks.transfer.efficientnet_lite import EfficientNetLite0


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
