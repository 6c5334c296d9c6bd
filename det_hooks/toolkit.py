"""The places of PaddleDetection that the adapter reaches into.

- `__init__` of every trainer: a block is checked before data and model are built.
- `train` of every trainer: runs with the hooks its config asks for, registered through the
  trainer's own callback interface.
- loading of configs and `build_slim_model`: where the block stands; the config before slim builds a
  model and merges more into it, such as a teacher's.

Whatever is heavy is imported once a config really has a block.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
from typing import Any, Callable, Iterator, Mapping, Optional, Type

from det_hooks import seen
from rifle_ext.runtime.patching import rebind, rebound
from rifle_ext.training import environment
from rifle_ext.training.misplaced import say_misplaced
from rifle_ext.training.registry import has_block, is_asked, methods, methods_for

ADVICE = (
    "train with ppdet.engine.Trainer or a class derived from it, say det_hooks.attach(MyTrainer) "
    "of a copy of it before you make one, or use what rifle-ext has for loops of your own"
)


def attach_to_toolkit() -> None:
    """Replace those places by wrappers; does nothing if they are already."""
    from ppdet import slim
    from ppdet.core import workspace
    from ppdet.engine.trainer import Trainer

    if hasattr(Trainer.train, "_rifle_ext"):
        return
    rebind(
        {
            workspace._load_config_with_base: _noting_source(workspace._load_config_with_base),
            slim.build_slim_model: _noting_config(slim.build_slim_model),
        }
    )
    for trainer in (Trainer, *_subclasses(Trainer)):
        _attach_to_trainer(trainer)

    def attach_later(cls: Type, **kwargs: Any) -> None:
        super(Trainer, cls).__init_subclass__(**kwargs)
        _attach_to_trainer(cls)

    # Trainers that are defined later, such as those of modules not imported yet.
    Trainer.__init_subclass__ = classmethod(attach_later)


def attach_to_copy(trainer: Type) -> None:
    """Let a copy of `ppdet.engine.Trainer` heed blocks; again does nothing."""
    if not hasattr(trainer.train, "_rifle_ext"):
        _attach_to_trainer(trainer)


def _subclasses(cls: Type) -> Iterator[Type]:
    for subclass in cls.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)


def _attach_to_trainer(trainer: Type) -> None:
    """Wrap what the class itself defines; the rest it inherits wrapped."""
    wrappers = {
        "__init__": _checking_block,
        "train": _training_with_hooks,
        "resume_weights": _resuming,
    }
    for name, wrap in wrappers.items():
        defined = vars(trainer).get(name)
        if inspect.isfunction(defined):
            setattr(trainer, name, wrap(defined))


def _is_asked(cfg: Any) -> bool:
    """Whether its training is to heed a block; subclasses of the trainers keep what not as it."""
    return isinstance(cfg, Mapping) and is_asked(cfg)


def _config_for_training(init: Callable, arguments: tuple, keywords: dict) -> Optional[Any]:
    """The config with a block that a trainer's `__init__` is given to train; None if it is not.

    Of a subclass the parameters may be others: it calls the one it overrides, which is asked again.
    """
    try:
        given = inspect.signature(init).bind(*arguments, **keywords)
    except (TypeError, ValueError):  # `__init__` itself says what is wrong
        return None
    given.apply_defaults()
    cfg, mode = given.arguments.get("cfg"), given.arguments.get("mode", "train")
    trains = isinstance(mode, str) and mode.lower() == "train"
    return cfg if trains and _is_asked(cfg) else None


def _checking_block(init: Callable) -> Callable:
    @functools.wraps(init)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        cfg = _config_for_training(init, (self, *args), kwargs)
        if cfg is None:
            init(self, *args, **kwargs)
            return
        from ppdet.core import workspace

        from det_hooks.workspace import Snapshot
        from rifle_ext.training.loading import note_loading

        if methods_for(cfg, seen.source()):
            note_loading()
        seen.note_before_model(self, Snapshot())
        with rebound({workspace.create: _noting_model(workspace.create, self, cfg)}):
            init(self, *args, **kwargs)

    return __init__


def _noting_model(create: Callable, trainer: Any, cfg: Any) -> Callable:
    """Note the config as it is when the model is built: trainers write into it before.

    Trackers learn there how many identities their data set has.
    """

    @functools.wraps(create)
    def noting(name: Any, *args: Any, **kwargs: Any) -> Any:
        from det_hooks.workspace import Snapshot

        if name == cfg.get("architecture"):
            seen.note_before_model(trainer, Snapshot())
        return create(name, *args, **kwargs)

    return noting


def _training_with_hooks(train: Callable) -> Callable:
    @functools.wraps(train)
    def train_with_hooks(self: Any, *args: Any, **kwargs: Any) -> Any:
        cfg = getattr(self, "cfg", None)
        if isinstance(cfg, Mapping):
            say_misplaced(cfg, seen.source())
        if not _is_asked(cfg):
            return train(self, *args, **kwargs)
        from det_hooks.training import run_with_hooks

        return run_with_hooks(self, functools.partial(train, self, *args, **kwargs), seen.source())

    train_with_hooks._rifle_ext = True  # type: ignore[attr-defined]
    return train_with_hooks


def _resuming(resume_weights: Callable) -> Callable:
    """A checkpoint that is resumed holds no pretrained weights, and comes in place of them."""

    @functools.wraps(resume_weights)
    def resuming(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not _is_asked(getattr(self, "cfg", None)):
            return resume_weights(self, *args, **kwargs)
        from rifle_ext.training.loading import loading_not_noted

        self._rifle_ext_resumed = str(args[0] if args else kwargs.get("weights"))
        with contextlib.suppress(Exception):  # a scheduler that cannot be copied
            rate = self.optimizer._learning_rate
            self._rifle_ext_rate = getattr(self, "_rifle_ext_rate", copy.deepcopy(rate))
        with loading_not_noted():
            return resume_weights(self, *args, **kwargs)

    return resuming


def _noting_source(load: Callable) -> Callable:
    @functools.wraps(load)
    def noting(file_path: str, *args: Any, **kwargs: Any) -> Any:
        content = load(file_path, *args, **kwargs)  # bases first: they come through here, too
        before = seen.source()
        # A config without a block may be laid over one that has it, such as a slim config.
        if has_block(content) or not seen.source_has_block() or not _laid_over():
            seen.note_source(str(file_path), has_block(content))
        if has_block(content):
            from rifle_ext.training.unheeded import forget_block, note_block

            forget_block(before)
            if any(key in content and content[key] is not False for key in methods()):
                note_block(seen.source(), ADVICE)
        elif environment.named_file():
            from rifle_ext.training.unheeded import forget_block, note_block

            forget_block(before)
            note_block(seen.source(), ADVICE)
        return content

    return noting


def _laid_over() -> bool:
    """Whether what PaddleDetection holds now, before it merges another file, has a block."""
    from ppdet.core.workspace import global_config

    return has_block(global_config)


def _noting_config(build_slim_model: Callable) -> Callable:
    @functools.wraps(build_slim_model)
    def noting(cfg: Any, *args: Any, **kwargs: Any) -> Any:
        from det_hooks.workspace import Snapshot

        if _is_asked(cfg):
            from rifle_ext.training.loading import note_loading

            note_loading()  # it builds the model, and loads its weights
        seen.note_before_slim(Snapshot() if _is_asked(cfg) else None)
        return build_slim_model(cfg, *args, **kwargs)

    return noting
