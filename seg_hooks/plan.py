"""Set up what PaddleSeg's train tool would train, for `rifle-ext plan`."""

from __future__ import annotations

import contextlib
import importlib
from typing import Any, Iterator, Mapping, Tuple

import paddle
from paddleseg.cvlibs import Config, SegBuilder
from paddleseg.utils import download

import seg_hooks
from rifle_ext.errors import RifleError
from rifle_ext.runtime.isolation import on_cpu
from rifle_ext.runtime.patching import rebound
from rifle_ext.training.hooks import TrainingRun
from rifle_ext.training.setup import Request, refuse_download
from seg_hooks.rebuild import local_pretrained_weights
from seg_hooks.synthetic import MadeUpDataset
from seg_hooks.training import training_run


@contextlib.contextmanager
def set_up(request: Request) -> Iterator[Tuple[Mapping[str, Any], TrainingRun]]:
    """A `rifle_ext.training.setup.Setup`: the config and the run of its training, on the CPU.

    Raises
    ------
    RifleError
        If the block is wrong, or the data set is missing.
    """
    seg_hooks.attach()
    with contextlib.ExitStack() as stack:
        stack.enter_context(on_cpu())
        stack.enter_context(paddle.utils.unique_name.guard())  # names as in a process of its own
        stack.enter_context(rebound({download.download_file_and_uncompress: refuse_download}))
        stack.enter_context(local_pretrained_weights())
        config = Config(request.config, opts=list(request.options) or None)
        builder = SegBuilder(config)
        model = builder.model
        if request.synthetic:
            dataset = MadeUpDataset(builder, request.images)
        else:
            dataset = _real_dataset(builder, request.config)
        given = {
            "model": model,
            "optimizer": builder.optimizer,
            "train_dataset": dataset,
            "batch_size": config.batch_size,
            "iters": config.iters,
            "save_dir": ".",
        }
        loop = importlib.import_module("paddleseg.core.train")
        yield config.dic, training_run(loop, given, config, request.config)


def _real_dataset(builder: Any, source: str) -> Any:
    try:
        return builder.train_dataset
    except (FileNotFoundError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[-1]  # PaddleSeg puts lines of its own before it
        raise RifleError(
            f"{source}: train_dataset: {reason}; --synthetic makes a plan without data",
            topic="data",
        ) from error
