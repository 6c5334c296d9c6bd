"""Set up what PaddleDetection's train tool would train, for `rifle-ext plan`."""

from __future__ import annotations

import contextlib
from typing import Any, Iterator, Mapping, Tuple

import paddle
from ppdet.core.workspace import create, global_config, load_config, merge_config
from ppdet.optimizer import OptimizerBuilder
from ppdet.utils import download
from ppdet.utils.cli import ArgsParser

import det_hooks
from det_hooks.pretrained import load_if_here
from det_hooks.rebuild import no_pretrained_weights
from det_hooks.synthetic import made_up_data
from det_hooks.train import trainer_class
from det_hooks.training import training_run
from det_hooks.workspace import Snapshot
from rifle_ext.errors import RifleError
from rifle_ext.runtime.isolation import on_cpu
from rifle_ext.runtime.patching import replaced
from rifle_ext.training.hooks import TrainingRun
from rifle_ext.training.registry import is_asked, methods, methods_for
from rifle_ext.training.setup import Request, refuse_download

_ON_CPU_AND_SILENT = {
    "use_gpu": False,
    "worker_num": 0,
    "use_vdl": False,
    "use_wandb": False,
    "save_proposals": False,
}


@contextlib.contextmanager
def set_up(request: Request) -> Iterator[Tuple[Mapping[str, Any], TrainingRun]]:
    """A `rifle_ext.training.setup.Setup`: the config and the run of its training, on the CPU.

    Raises
    ------
    RifleError
        If the block is wrong, or the data set is missing.
    """
    det_hooks.attach()
    arguments = ["-c", request.config, *(["-o", *request.options] if request.options else [])]
    options = ArgsParser().parse_args(arguments).opt
    with contextlib.ExitStack() as stack:
        stack.enter_context(on_cpu())
        stack.callback(Snapshot().restore)
        stack.enter_context(paddle.utils.unique_name.guard())  # names as in a process of its own
        stack.enter_context(replaced(OptimizerBuilder, __call__=_optimizer_if_it_can_be))
        stack.enter_context(replaced(download, _download=refuse_download))
        if request.synthetic:
            stack.enter_context(made_up_data(request.images))
        load_config(request.config)
        merge_config(options)
        merge_config(_ON_CPU_AND_SILENT)
        global_config.pop("wandb", None)
        blocks = {key for key in methods() if key in global_config}
        if not is_asked(global_config):  # so that it is noted how the model is built
            global_config[request.method or next(iter(methods()))] = None
        methods_for(global_config, request.config)
        with contextlib.nullcontext() if request.synthetic else _missing_data(request.config):
            create("TrainDataset")().check_or_download_dataset()
        with no_pretrained_weights():
            trainer = trainer_class(global_config)(global_config, mode="train")
        load_if_here(trainer)
        run = training_run(trainer, request.config)
        yield {k: v for k, v in trainer.cfg.items() if k not in methods() or k in blocks}, run


_make_optimizer = OptimizerBuilder.__call__


def _optimizer_if_it_can_be(builder: Any, rate: Any, model: Any) -> paddle.optimizer.Optimizer:
    """The config's optimizer; one of its family for those that cannot be made on a CPU."""
    try:
        return _make_optimizer(builder, rate, model)
    except Exception:  # whatever a class says that has no CPU kernels
        adaptive = "Adam" in str(builder.optimizer.get("type"))
        family = paddle.optimizer.Adam if adaptive else paddle.optimizer.SGD
        return family(rate, parameters=model.parameters())


@contextlib.contextmanager
def _missing_data(config: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, AssertionError) as error:
        raise RifleError(
            f"{config}: TrainDataset: {error}; --synthetic makes a plan without data", topic="data"
        ) from error
