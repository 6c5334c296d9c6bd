"""One call of a PaddleDetection trainer's `train` as Hook events."""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Optional

import paddle
from paddle import nn
from ppdet.engine.callbacks import Callback, ComposeCallback, logger

from det_hooks import pretrained, probe, trainers
from det_hooks.rebuild import rebuild
from det_hooks.seen import config_before
from rifle_ext.errors import RifleError
from rifle_ext.runtime.keeping import kept_beside
from rifle_ext.runtime.saving import ENDING, before_saving
from rifle_ext.training.hooks import Batch, Hook, Hooks, TrainingRun
from rifle_ext.training.loading import loading_not_noted
from rifle_ext.training.ranks import noting_wrappers
from rifle_ext.training.unheeded import forget_block, note_heeded


def run_with_hooks(trainer: Any, train: Callable[[], Any], source: str) -> Any:
    """Train while the hooks of the trainer's config see its steps.

    Parameters
    ----------
    trainer
        A `ppdet.engine.Trainer` of any kind, ready to train: weights loaded or resumed.
    train
        Its training, to be called once.
    source
        Path of the config, for messages.

    Raises
    ------
    RifleError
        If a hook refuses the run; before the first step.
    """
    callbacks = getattr(trainer, "_callbacks", None) or ()
    if any(isinstance(callback, HookCallback) for callback in callbacks):
        return train()  # a trainer's `train` that calls the one it overrides
    hooks = Hooks.of(trainer.cfg, source)
    if not hooks:
        forget_block(source)  # switched off by an option
        return train()
    _refuse_others(trainer, source)
    run = training_run(trainer, source)
    hooks.on_train_begin(run)
    callback = HookCallback(trainer, run, hooks)
    with contextlib.ExitStack() as stack:  # whatever fails, all of it is undone
        stack.callback(hooks.on_train_end, run)
        trainer.register_callbacks([callback])
        stack.callback(_unregister, trainer, callback)
        stack.enter_context(noting_wrappers(run.wrappers))
        stack.enter_context(loading_not_noted())  # averages, evaluated or saved
        if hooks.with_loss:
            stack.enter_context(_terms_added(run, hooks))
        if hooks.with_files:
            stack.enter_context(before_saving(functools.partial(hooks.on_save, run)))
        return train()


def _refuse_others(trainer: Any, source: str) -> None:
    """Stop if a trainer has not what PaddleDetection's have: a subclass may make its own.

    Raises
    ------
    RifleError
        With what is missing.
    """
    needed = ("model", "optimizer", "loader", "cfg", "start_epoch", "_callbacks")
    missing = [name for name in needed if getattr(trainer, name, None) is None]
    if config_before(trainer) is None:
        missing.append("a model built by ppdet.core.workspace.create in Trainer.__init__")
    if missing:
        raise RifleError(
            f"{source}: {type(trainer).__name__} has no {', '.join(missing)}, as the "
            "trainers of ppdet.engine have, so its training cannot heed the block; call their "
            "`__init__`, or use what rifle-ext has for loops of your own",
            topic="own-loop",
        )


def _unregister(trainer: Any, callback: Callback) -> None:
    trainer._callbacks.remove(callback)
    trainer._compose_callback = ComposeCallback(trainer._callbacks)


@contextlib.contextmanager
def _terms_added(run: TrainingRun, hooks: Hooks) -> Iterator[None]:
    """Inside the block the model's `loss` has the hooks' terms in it, and they stand beside it."""
    given: Dict[str, Any] = {}

    def before_forward(layer: nn.Layer, inputs: Any) -> None:
        if layer is run.model and layer.training:
            given.clear()
            given.update(inputs[0])  # an architecture may write into what it is given

    def after_forward(layer: nn.Layer, inputs: Any, outputs: Any) -> Any:
        if layer is not run.model or not layer.training:
            return outputs
        batch = Batch(lambda model: model(dict(given)))
        terms = hooks.losses(run, batch)
        if not terms:
            return outputs
        said = {f"loss_{key}": term.detach().reshape([1]) for key, term in terms.items()}
        whole = sum(terms.values(), outputs["loss"].reshape([1])).reshape(outputs["loss"].shape)
        return {**outputs, "loss": whole, **said}

    handles = [
        run.model.register_forward_pre_hook(before_forward),
        run.model.register_forward_post_hook(after_forward),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class HookCallback(Callback):
    """Calls a hook before each training step.

    The trainers do evaluation, checkpoint and the update of averages after `on_step_end` and before
    the next `on_step_begin`. `on_epoch_begin` would not do: evaluation calls it too, with the mode
    still 'train'.
    """

    def __init__(self, trainer: Any, run: TrainingRun, hook: Hook) -> None:
        super().__init__(trainer)
        self._run, self._hook = run, hook

    def on_step_begin(self, status: Any) -> None:
        """Pass on the step, unless it is one of an evaluation."""
        if status["mode"] == "train":
            step = status["epoch_id"] * self._run.steps_per_epoch + status["step_id"]
            self._hook.on_step_begin(self._run, step)


def training_run(trainer: Any, source: str) -> TrainingRun:
    """What hooks may see of the training of a `ppdet.engine.Trainer`.

    Raises
    ------
    RifleError
        If the training set is too small for one step.
    """
    total_steps, steps_per_epoch = trainers.length(trainer)
    if steps_per_epoch == 0:
        raise RifleError(
            f"{source}: the training set has fewer images than TrainReader's batch_size, so "
            "PaddleDetection would never do a step",
            topic="images",
        )
    note_heeded(source)
    rank = paddle.distributed.get_rank()
    student = hasattr(trainer.model, "student_model")

    def again(classes: Optional[int] = None) -> nn.Layer:
        with kept_beside(trainer.model):
            return rebuild(config_before(trainer), student, classes)

    return TrainingRun(
        model=trainers.trained_model(trainer),
        optimizer=trainer.optimizer,
        total_steps=total_steps,
        steps_per_epoch=steps_per_epoch,
        save_dir=trainers.output_folder(trainer),
        rank=rank,
        log=logger.info if rank == 0 else lambda message: None,
        warn=logger.warning if rank == 0 else lambda message: None,
        forward=lambda model=None: probe.forward(trainer, model),
        gives_losses=True,
        loaded=lambda: pretrained.loaded(trainer, again),
        rebuild=again,
        first_rate=getattr(trainer, "_rifle_ext_rate", None),
        start_step=trainer.start_epoch * steps_per_epoch,
        counted_steps=_counted(trainer),
        scalar=_scalar_writer(trainer),
        shadows=trainers.shadows(trainer),
        resumed=_resumed(trainer),
        no_loss=trainers.no_loss(trainer),
        classes=trainer.cfg.get("num_classes"),
        rebuild_for=again,
        read_weights=functools.partial(pretrained.read, trainer),
    )


def _resumed(trainer: Any) -> Optional[Path]:
    """The parameters of the checkpoint that was resumed; its ending may have been left out."""
    named = getattr(trainer, "_rifle_ext_resumed", None)
    if named is None:
        return None
    return Path(named if str(named).endswith(ENDING) else f"{named}{ENDING}")


def _counted(trainer: Any) -> Optional[int]:
    """The steps that the scheduler of a resumed training has counted.

    They are others than epochs times their length where that has changed, with the batch size.
    """
    scheduler = trainer.optimizer._learning_rate
    resumed = trainer.start_epoch > 0 and isinstance(scheduler, paddle.optimizer.lr.LRScheduler)
    return int(scheduler.last_epoch) if resumed else None


def _scalar_writer(trainer: Any) -> Optional[Callable[[str, float, int], Any]]:
    """That of the trainer's own VisualDL callback (ppdet/engine/callbacks.py), if it has one."""
    writers = (getattr(callback, "vdl_writer", None) for callback in trainer._callbacks)
    return next((writer.add_scalar for writer in writers if writer is not None), None)
