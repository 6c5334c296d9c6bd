"""What the benchmark adds to PaddleDetection's operators: disturbed labels."""

from __future__ import annotations

from typing import Any, Dict

import numpy as np
from ppdet.core.workspace import serializable
from ppdet.data import transform
from ppdet.data.transform.operators import BaseOperator, register_op


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
