"""One call of PaddleSeg's `train` as Hook events."""

from __future__ import annotations

import contextlib
import functools
import inspect
from pathlib import Path
from types import ModuleType
from typing import Any, Callable, Dict, Iterator, List, Optional

import paddle
from paddle import Tensor, nn

from rifle_ext.errors import RifleError
from rifle_ext.redraw.reset import write_model
from rifle_ext.runtime.keeping import kept_beside
from rifle_ext.runtime.patching import replaced
from rifle_ext.runtime.saving import before_saving
from rifle_ext.training.hooks import Batch, Hook, Hooks, TrainingRun
from rifle_ext.training.loading import loaded_into, loading_not_noted
from rifle_ext.training.ranks import noting_wrappers
from rifle_ext.training.unheeded import forget_block, note_heeded
from seg_hooks import pretrained
from seg_hooks.probe import forward
from seg_hooks.rebuild import classes_in, rebuild


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
        forget_block(source)  # the environment switches methods off
        return train(*arguments.args, **arguments.kwargs)
    run = training_run(loop, arguments.arguments, config, source)
    hooks.on_train_begin(run)
    with contextlib.ExitStack() as stack:  # whatever fails, all of it is undone
        stack.callback(hooks.on_train_end, run)
        steps = _Steps(run, hooks, loop)
        handle = run.model.register_forward_pre_hook(steps.before_forward())
        stack.callback(handle.remove)
        noting = {
            **steps.stand_ins(),
            "resume": _noting_start(loop.resume, run),
            "init_ema_params": _noting_average(loop.init_ema_params, run),
        }
        stack.enter_context(replaced(loop, **noting))
        if hooks.with_loss:
            terms = _Terms(run, hooks, loop, arguments.arguments["train_dataset"])
            stack.callback(run.model.register_forward_pre_hook(terms.before_forward()).remove)
            stack.enter_context(terms.added())
        if hooks.with_files:
            stack.enter_context(before_saving(functools.partial(hooks.on_save, run)))
        if arguments.arguments.get("use_vdl"):
            import visualdl

            writer = _noting_writer(visualdl.LogWriter, run)
            stack.enter_context(replaced(visualdl, LogWriter=writer))
        stack.enter_context(noting_wrappers(run.wrappers))
        stack.enter_context(loading_not_noted())  # a resumed checkpoint, averages
        return train(*arguments.args, **arguments.kwargs)


def training_run(loop: ModuleType, given: Dict[str, Any], config: Any, source: str) -> TrainingRun:
    """What hooks may see of one call of PaddleSeg's `train`, whose arguments are `given`.

    Raises
    ------
    RifleError
        If the training set is too small for one step.
    """
    note_heeded(source)
    rank = paddle.distributed.get_rank()
    intervals = given.get("early_stop_intervals")
    logger = given.get("logger") or loop.logger
    steps_per_epoch = _steps_per_epoch(given["train_dataset"], given["batch_size"])
    if steps_per_epoch == 0:
        raise RifleError(
            f"{source}: batch_size = {given['batch_size']}: the training set has only "
            f"{len(given['train_dataset'])} images, so PaddleSeg would never do a step",
            topic="images",
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
        forward=lambda model=given["model"]: forward(model, config.dic),
        loaded=lambda: loaded_into(given["model"]),
        rebuild=lambda: _built_again(given["model"], config),
        stops_early=None if intervals is None else f"early_stop_intervals = {intervals}",
        resumed=pretrained.resumed(given.get("resume_model")),
        classes=classes_in(config),
        exclusive=not (config.dic.get("test_config") or {}).get("use_multilabel", False),
        rebuild_for=lambda classes: _built_again(given["model"], config, classes),
        read_weights=functools.partial(pretrained.read, config),
    )


def _built_again(model: nn.Layer, config: Any, classes: Optional[int] = None) -> nn.Layer:
    with kept_beside(model):
        return rebuild(config, classes)


def _steps_per_epoch(dataset: Any, batch_size: int) -> int:
    """As PaddleSeg's loop counts them (`iters_per_epoch`)."""
    return len(
        paddle.io.DistributedBatchSampler(
            dataset, batch_size=batch_size, shuffle=True, drop_last=True
        )
    )


class _Steps:
    """Calls the hooks before each training step.

    Their number is that of PaddleSeg's iterations, however often one of them calls the model (a
    model's own `loss_computation` may, on a second view): its loop marks the end of each for the
    profiler, and the first call of the model in training mode after that begins the next.
    """

    def __init__(self, run: TrainingRun, hook: Hook, loop: ModuleType) -> None:
        self._run, self._hook = run, hook
        outer = loop.train_profiler  # of a training that this one is inside of
        inside = isinstance(outer, _Steps)
        self._profiler: Any = outer._profiler if inside else outer
        self._evaluate: Any = outer._evaluate if inside else loop.evaluate
        self._done, self._between = 0, True

    def before_forward(self) -> Callable[[nn.Layer, Any], None]:
        """A forward-pre-hook for the model.

        Its averaged copy carries this hook along, and is no model of this run. A plain function:
        the loop deep-copies the model, and with a bound method it would copy the run.
        """

        def before_forward(layer: nn.Layer, inputs: Any) -> None:
            if self._between and layer is self._run.model and layer.training:
                self._between = False
                self._hook.on_step_begin(self._run, self._run.start_step + self._done)

        return before_forward

    def stand_ins(self) -> Dict[str, Any]:
        """What tells an iteration's end, and evaluations apart, in the loop's module."""
        return {"train_profiler": self, "evaluate": self.evaluate}

    def add_profiler_step(self, *args: Any, **kwargs: Any) -> Any:
        """The loop's call after each update."""
        self._done += 1
        self._between = True
        return self._profiler.add_profiler_step(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._profiler, name)

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """No step begins in it, even if the model stays in training mode."""
        between, self._between = self._between, False
        try:
            return self._evaluate(*args, **kwargs)
        finally:
            self._between = between


class _Terms:
    """Adds what the hooks give to the list of losses that PaddleSeg's loop sums up.

    That list is made by the loop's own `loss_computation`, or by the model's, if it has one.
    """

    def __init__(self, run: TrainingRun, hooks: Hooks, loop: ModuleType, dataset: Any) -> None:
        self._run, self._hooks, self._loop = run, hooks, loop
        self._ignore = getattr(dataset, "ignore_index", 255)
        self._given: tuple = ()

    def before_forward(self) -> Callable[[nn.Layer, Any], None]:
        """A forward-pre-hook for the model, which notes what it is given; a plain function."""

        def before_forward(layer: nn.Layer, inputs: Any) -> None:
            if layer is self._run.model and layer.training:
                self._given = inputs

        return before_forward

    @contextlib.contextmanager
    def added(self) -> Iterator[None]:
        """Inside the block the losses have the hooks' terms among them."""
        with contextlib.ExitStack() as stack:
            computed = {"loss_computation": self._with_terms(self._loop.loss_computation)}
            stack.enter_context(replaced(self._loop, **computed))
            model = self._run.model
            if hasattr(model, "loss_computation"):
                vars(model)["loss_computation"] = self._with_terms(model.loss_computation)
                stack.callback(vars(model).pop, "loss_computation", None)
            yield

    def _with_terms(self, compute: Callable) -> Callable:
        signature = inspect.signature(compute)

        def loss_computation(*args: Any, **kwargs: Any) -> List[Tensor]:
            given = self._given  # a model's own may call the model on something else
            losses = compute(*args, **kwargs)
            said = signature.bind(*args, **kwargs).arguments
            labels = said.get("labels")
            if labels is None:  # a model's own: of outputs, losses and the loader's batch
                labels = list(said.values())[2]["label"]
            one_each = len(labels.shape) == 3  # not those of several classes a pixel
            ignored = labels == self._ignore if one_each else None
            batch = Batch(lambda model: model(*given), ignored)
            return [*losses, *self._hooks.losses(self._run, batch).values()]

        return loss_computation


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
