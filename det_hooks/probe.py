"""One training-mode forward pass of a PaddleDetection model, for finding its output layers."""

from __future__ import annotations

import copy
from typing import Any, List

import numpy as np
import paddle

from det_hooks.trainers import trained_model


def forward(trainer: Any) -> Any:
    """The losses of the trainer's model on one of its own training samples, or two if need be.

    The samples with the most ground truth are taken, so that every loss term has something to learn
    from. The data pipeline is run by hand: the trainer's loader would lose a batch.
    """
    try:
        return _losses(trainer, 1)
    except (ImportError, AttributeError, TypeError):
        raise
    except Exception:  # whatever a model, a loss or Paddle says of a batch of one
        return _losses(trainer, 2)


def _losses(trainer: Any, count: int) -> Any:
    batch = as_tensors(_batch(trainer.loader, count))
    batch["epoch_id"] = 0
    on_device = trainer.cfg.get("use_gpu") or trainer.cfg.get("use_npu")
    use_amp = getattr(trainer, "use_amp", False)  # one trainer has never heard of it
    level = trainer.amp_level if use_amp else "O1"
    with paddle.amp.auto_cast(enable=bool(use_amp and on_device), level=level):
        return trained_model(trainer)(batch)


def _batch(loader: Any, count: int) -> Any:
    """Samples through the loader's own transforms; of a semi-supervised one, the labelled weak."""
    semi = hasattr(loader, "dataset_label")
    dataset = copy.copy(loader.dataset_label if semi else loader.dataset)
    collate = loader._batch_transforms_label if semi else loader._batch_transforms
    batch = collate([dataset[index] for index in _richest(dataset, count)])
    return batch[0] if semi else batch


def _richest(dataset: Any, count: int) -> List[int]:
    """Positions of the samples with the most ground truth boxes."""
    records = getattr(dataset, "roidbs", None) or [{}] * min(count, len(dataset))
    boxes = [len(record.get("gt_bbox", ())) for record in records]
    return sorted(range(len(records)), key=lambda i: -boxes[i])[:count]


def as_tensors(value: Any) -> Any:
    """Arrays as tensors, as the loader would give them, in any nesting."""
    if isinstance(value, np.ndarray) and value.dtype != object:
        return paddle.to_tensor(value)
    if isinstance(value, dict):
        return {key: as_tensors(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_tensors(item) for item in value]
    return value
