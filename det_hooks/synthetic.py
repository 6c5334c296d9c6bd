"""Made-up samples in place of any PaddleDetection data set, for plans without data.

They enter where a data set would read its files, and pass through the transforms of the config like
any others.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
from typing import Any, Callable, Dict, Iterator, List, Type

from paddle.io import Dataset
from ppdet.core.workspace import global_config
from ppdet.data import reader, source

from det_hooks import samples
from det_hooks.probe import as_tensors
from rifle_ext.runtime.patching import replaced


@contextlib.contextmanager
def made_up_data(images: int) -> Iterator[None]:
    """Let every data set class of PaddleDetection hold made-up samples.

    Parameters
    ----------
    images
        How many images each data set seems to hold.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(replaced(reader, DataLoader=_OneBatch))
        for kind in _dataset_classes():
            stack.enter_context(replaced(kind, **_stand_ins(kind, images)))
        yield


class _OneBatch:
    """A loader of one batch, made when it is asked for.

    Paddle's would start to read ahead at once, in a thread.
    """

    def __init__(self, dataset: Any, batch_sampler: Any, collate_fn: Callable, **others: Any):
        self._dataset, self._sampler, self._collate = dataset, batch_sampler, collate_fn

    def __iter__(self) -> Iterator[Any]:
        indices = next(iter(self._sampler))
        yield as_tensors(self._collate([self._dataset[index] for index in indices]))


def _dataset_classes() -> List[Type]:
    modules = [module for _, module in inspect.getmembers(source, inspect.ismodule)]
    classes = {k for m in modules for _, k in inspect.getmembers(m, inspect.isclass)}
    return [kind for kind in classes if issubclass(kind, Dataset) and kind is not Dataset]


def _stand_ins(kind: Type, images: int) -> Dict[str, Callable]:
    """What a class defines itself of the ways to read files, and what stands in for it.

    `DetDataset` hands the records out, mixed up as the config asks; classes that read an image with
    each sample do that themselves.
    """

    def parse_dataset(self: Any, *args: Any, **kwargs: Any) -> None:
        classes = range(global_config.get("num_classes") or 1)
        self.roidbs = [samples.record(self, len(classes))] * images
        self.num_identities_dict = dict.fromkeys(classes, samples.IDENTITIES)
        self.catid2clsid = {c: c for c in classes}
        self.cname2cid = {str(c): c for c in classes}

    def getitem(self: Any, index: int) -> Any:
        return self.transform(copy.deepcopy(self.roidbs[index]))

    stand_ins: Dict[str, Callable] = {
        "check_or_download_dataset": lambda self: None,
        "parse_dataset": parse_dataset,
        "_generate_multi_frames_list": lambda self: ({}, []),
    }
    if samples.has_images(kind):
        stand_ins.update({"__getitem__": getitem, "__len__": lambda self: len(self.roidbs)})
    return {name: stand_in for name, stand_in in stand_ins.items() if name in vars(kind)}
