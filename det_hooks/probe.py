"""One training-mode forward pass of a PaddleDetection model, for finding its output layers.

On made-up samples: the training's data set and transforms are not touched, as they may open files,
or draw, at their first use. The samples pass through copies of those transforms of the config that
are PaddleDetection's own, which make the targets that models ask for.
"""

from __future__ import annotations

import copy
import itertools
import types
from typing import Any, Dict, List, Optional

import numpy as np
import paddle
from paddle import nn
from ppdet.data.source.dataset import DetDataset

from det_hooks import samples
from det_hooks.trainers import trained_model
from rifle_ext.errors import CannotRun


def forward(trainer: Any, model: Optional[nn.Layer] = None) -> Any:
    """The losses of a model on one made-up training sample, or two if need be.

    Parameters
    ----------
    trainer
        Its config and loader say what a batch looks like.
    model
        What to run: the trainer's own if None, in mixed precision if that trains so.

    Raises
    ------
    CannotRun
        If the model cannot be run on any of them.
    """
    first = None
    # Transforms of the user's own are tried last: what can be copied of them is theirs to say.
    for own, count in itertools.product((False, True), (1, 2)):
        try:
            return _losses(trainer, model, _batch(trainer, count, own))
        except Exception as error:  # whatever a transform, a model, a loss or Paddle says
            first = first or error
    assert first is not None
    said = (str(first).strip().splitlines() or [""])[-1].strip()
    raise CannotRun(
        f"{type(model or trained_model(trainer)).__name__} cannot be run on made-up samples "
        f"({type(first).__name__}: {said})",
        topic="forward-pass",
    ) from first


def _losses(trainer: Any, model: Optional[nn.Layer], batch: Any) -> Any:
    tensors = as_tensors(batch)
    tensors["epoch_id"] = 0
    if model is not None:
        return model(tensors)
    on_device = trainer.cfg.get("use_gpu") or trainer.cfg.get("use_npu")
    use_amp = getattr(trainer, "use_amp", False)  # one trainer has never heard of it
    level = trainer.amp_level if use_amp else "O1"
    with paddle.amp.auto_cast(enable=bool(use_amp and on_device), level=level):
        return trained_model(trainer)(tensors)


def _batch(trainer: Any, count: int, own: bool) -> Any:
    """Made-up samples as the trainer's loader would give them; labelled and weakly augmented ones.

    Parameters
    ----------
    trainer
        What has the loader.
    count
        How many samples.
    own
        With the user's own transforms, too.
    """
    loader = trainer.loader
    semi = hasattr(loader, "dataset_label")
    dataset = loader.dataset_label if semi else loader.dataset
    transform = loader._sample_transforms_label if semi else loader._sample_transforms
    collate = loader._batch_transforms_label if semi else loader._batch_transforms
    handed_out = _handed_out(dataset, loader, trainer.cfg.get("num_classes") or 1)
    sample_transforms = _copied(transform, own)
    made = [sample_transforms(copy.deepcopy(handed_out)) for _ in range(count)]
    batch = _copied(collate, own)(made)
    return batch[0] if semi else batch


def _handed_out(dataset: Any, loader: Any, classes: int) -> Any:
    """A made-up sample, or several to be mixed, as a data set gives them to its transforms."""
    record = samples.record(dataset, classes)
    identities = getattr(dataset, "num_identities_dict", None)
    if identities and "gt_ide" in record:
        record["gt_ide"] = record["gt_ide"] % max(1, min(identities.values()))
    if samples.has_images(type(dataset)):
        return record
    standing_in = DetDataset()
    standing_in.roidbs = [record, record]
    standing_in.set_kwargs(**getattr(loader, "kwargs", {}))
    standing_in.set_transform(lambda handed_out: handed_out)
    return standing_in[0]


def _copied(compose: Any, own: bool) -> Any:
    """A `Compose` of copies of its transforms: of PaddleDetection's, and of the user's if asked."""
    copied = copy.copy(compose)
    lists: Dict[str, List[Any]] = {k: v for k, v in vars(compose).items() if k.endswith("_cls")}
    for name, transforms in lists.items():
        kept = [t for t in transforms if own or type(t).__module__.split(".")[0] == "ppdet"]
        setattr(copied, name, [_copy_of(transform) for transform in kept])
    return copied


def _copy_of(transform: Any) -> Any:
    """A deep copy; some transforms hold a module, which cannot be copied."""
    copied = copy.copy(transform)
    for name, value in vars(transform).items():
        if not isinstance(value, types.ModuleType):
            setattr(copied, name, copy.deepcopy(value))
    return copied


def as_tensors(value: Any) -> Any:
    """Arrays as tensors, as the loader would give them, in any nesting."""
    if isinstance(value, np.ndarray) and value.dtype != object:
        return paddle.to_tensor(value)
    if isinstance(value, dict):
        return {key: as_tensors(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_tensors(item) for item in value]
    return value
