"""Loading of data without threads, so that a training is one thread and can be forked.

Paddle's `DataLoader` prefetches in a thread even with `num_workers=0`: a forked process would wait
for it for ever, and an exception in a data set leaves the training waiting as well.
"""

from __future__ import annotations

from typing import Any, Iterator

import numpy as np
import paddle
from paddle.io import DataLoader

_with_threads = DataLoader.__iter__


def load_in_this_thread() -> None:
    """Let every `DataLoader` with `num_workers=0` read each batch when it is asked for."""
    DataLoader.__iter__ = _iterate


def _iterate(loader: DataLoader) -> Iterator[Any]:
    if loader.num_workers or loader.batch_sampler is None:
        return _with_threads(loader)
    return _batches(loader)


def _batches(loader: DataLoader) -> Iterator[Any]:
    collate = loader.collate_fn or paddle.io.dataloader.collate.default_collate_fn
    for indices in loader.batch_sampler:
        yield _tensors(collate([loader.dataset[index] for index in indices]))


def _tensors(batch: Any) -> Any:
    """A batch with tensors in place of its arrays."""
    if isinstance(batch, np.ndarray):
        return paddle.to_tensor(batch)
    if isinstance(batch, dict):
        return {key: _tensors(value) for key, value in batch.items()}
    if isinstance(batch, (list, tuple)):
        return [_tensors(value) for value in batch]
    return batch
