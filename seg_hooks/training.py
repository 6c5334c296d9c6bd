"""One call of PaddleSeg's `train` as Hook events."""

from __future__ import annotations

import contextlib
import functools
import inspect
from pathlib import Path
from types import ModuleType
from typing import Any, Callable, Dict

import numpy as np
import paddle
from paddle import nn

from rifle_ext.errors import RifleError
from rifle_ext.redraw.reset import write_model
from rifle_ext.runtime.patching import replaced
from rifle_ext.training.hooks import Hook, Hooks, TrainingRun
from rifle_ext.training.loading import loaded_into, loading_not_noted
from seg_hooks.rebuild import rebuild

CORNER = 128
"""Height and width of what the probe sees of a training image, in pixels."""


def run_with_hooks(
    train: Callable, arguments: inspect.BoundArguments, config: Any, source: str
) -> Any:
    """Call `train` with its arguments while the hooks of `config` see its steps.

    Parameters
    ----------
    train
        `paddleseg.core.train.train`.
    arguments
        Of that call, defaults filled in.
    config
        The `paddleseg.cvlibs.Config` the model was built from.
    source
        Its path, for messages.

    Raises
    ------
    RifleError
        If a hook refuses the run; before `train` does or writes anything.
    """
    loop = inspect.getmodule(train)
    assert loop is not None
    hooks = Hooks.of(config.dic, source)
    if not hooks:
        return train(*arguments.args, **arguments.kwargs)
    run = training_run(loop, arguments.arguments, config, source)
    hooks.on_train_begin(run)
    with contextlib.ExitStack() as stack:  # whatever fails, all of it is undone
        stack.callback(hooks.on_train_end, run)
        handle = run.model.register_forward_pre_hook(_step_counter(run, hooks))
        stack.callback(handle.remove)
        noting = {
            "resume": _noting_start(loop.resume, run),
            "init_ema_params": _noting_average(loop.init_ema_params, run),
        }
        stack.enter_context(replaced(loop, **noting))
        if arguments.arguments.get("use_vdl"):
            import visualdl

            writer = _noting_writer(visualdl.LogWriter, run)
            stack.enter_context(replaced(visualdl, LogWriter=writer))
        stack.enter_context(loading_not_noted())  # a resumed checkpoint, averages
        return train(*arguments.args, **arguments.kwargs)


def training_run(loop: ModuleType, given: Dict[str, Any], config: Any, source: str) -> TrainingRun:
    """What hooks may see of one call of PaddleSeg's `train`, whose arguments are `given`.

    Raises
    ------
    RifleError
        If the training set is too small for one step.
    """
    rank = paddle.distributed.get_rank()
    intervals = given.get("early_stop_intervals")
    logger = given.get("logger") or loop.logger
    steps_per_epoch = _steps_per_epoch(given["train_dataset"], given["batch_size"])
    if steps_per_epoch == 0:
        raise RifleError(
            f"{source}: batch_size = {given['batch_size']}: the training set has only "
            f"{len(given['train_dataset'])} images, so PaddleSeg would never do a step"
        )
    return TrainingRun(
        model=given["model"],
        optimizer=given["optimizer"],
        total_steps=given["iters"],
        steps_per_epoch=steps_per_epoch,
        save_dir=Path(given["save_dir"]),
        rank=rank,
        log=logger.info if rank == 0 else lambda message: None,
        warn=logger.warning if rank == 0 else lambda message: None,
        forward=lambda: _forward(given["model"], given["train_dataset"]),
        loaded=lambda: loaded_into(given["model"]),
        rebuild=lambda: rebuild(config),
        stops_early=None if intervals is None else f"early_stop_intervals = {intervals}",
    )


def _steps_per_epoch(dataset: Any, batch_size: int) -> int:
    """As PaddleSeg's loop counts them (`iters_per_epoch`)."""
    return len(
        paddle.io.DistributedBatchSampler(
            dataset, batch_size=batch_size, shuffle=True, drop_last=True
        )
    )


def _forward(model: nn.Layer, dataset: Any) -> Any:
    """The model's outputs for a batch of two copies of the first training image.

    Two, because batch normalization of a 1x1 feature map cannot train on one. A corner of the image
    will do, for all models but those that take one size only.
    """
    image = np.asarray(dataset[0]["img"])
    images = paddle.to_tensor(np.stack([image, image]))
    channels_last = getattr(model, "data_format", "NCHW") == "NHWC"
    if channels_last:
        images = images.transpose((0, 2, 3, 1))
    corner = images[:, :CORNER, :CORNER] if channels_last else images[:, :, :CORNER, :CORNER]
    try:
        return model(corner)
    except Exception:  # whatever a model, or Paddle, says of a size
        return model(images)


def _step_counter(run: TrainingRun, hook: Hook) -> Callable[[nn.Layer, Any], None]:
    """A forward-pre-hook that calls a hook before each training step.

    PaddleSeg's loop calls the model once an iteration in training mode. Evaluation and
    `paddle.flops` put it into evaluation mode; its averaged copy carries this hook along, and is no
    model of this run. A plain function: the loop deep-copies the model, and with a bound method it
    would copy the run.
    """
    done = 0

    def before_forward(layer: nn.Layer, inputs: Any) -> None:
        nonlocal done
        if layer is run.model and layer.training:
            hook.on_step_begin(run, run.start_step + done)
            done += 1

    return before_forward


def _noting_start(resume: Callable, run: TrainingRun) -> Callable:
    def noting(*args: Any, **kwargs: Any) -> int:
        run.start_step = resume(*args, **kwargs)
        return run.start_step

    return noting


def _noting_average(init_ema_params: Callable, run: TrainingRun) -> Callable:
    def noting(ema_model: nn.Layer, model: nn.Layer) -> None:
        init_ema_params(ema_model, model)
        # PaddleSeg's average is a second model (paddleseg/utils/ema.py).
        run.shadows.append(functools.partial(write_model, ema_model))

    return noting


def _noting_writer(writer_class: Callable, run: TrainingRun) -> Callable:
    """PaddleSeg's loop makes its VisualDL writer itself, for `save_dir`."""

    def noting(*args: Any, **kwargs: Any) -> Any:
        writer = writer_class(*args, **kwargs)
        run.scalar = writer.add_scalar
        return writer

    return noting
