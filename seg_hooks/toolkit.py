"""The three places of PaddleSeg that the adapter reaches into.

- `paddleseg.cvlibs.config`: a block is checked as soon as a config is read, and `--opts` and
  `_base_` work on it in all its short forms (`key:`, `key: true`, `key: false`). Blocks that the
  environment lays over it are checked when a training begins, which alone heeds them.
- `SegBuilder.model`: remembers which config a model was built from; `train` gets the model only.
- `paddleseg.core.train.train`: runs with the hooks the model's config asks for.

Whatever is heavy is imported once a config really has a block.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import weakref
from types import ModuleType
from typing import Any, Callable, List, Mapping, MutableMapping, Optional

from rifle_ext.errors import RifleError, show_errors_without_traceback
from rifle_ext.runtime.patching import rebind
from rifle_ext.training import environment
from rifle_ext.training.misplaced import say_misplaced
from rifle_ext.training.registry import is_asked, methods, methods_for

INHERITED = "_inherited_"
"""PaddleSeg's key in a mapping that is not to be merged with that of the base config."""

ADVICE = (
    "train with paddleseg.core.train and the model that SegBuilder builds from the config, say "
    "seg_hooks.attach(module) of a copy of that loop before you train with it, or use what "
    "rifle-ext has for loops of your own"
)

_config_of_model: MutableMapping[Any, Any] = weakref.WeakKeyDictionary()
_configs_with_blocks: "weakref.WeakSet[Any]" = weakref.WeakSet()


def attach_to_toolkit() -> None:
    """Replace the three places by wrappers; does nothing if they are already."""
    from paddleseg.cvlibs import Config, SegBuilder, config

    # The package's attribute of that name is the function, not the module.
    loop = importlib.import_module("paddleseg.core.train")
    if hasattr(loop.train, "_rifle_ext"):
        return
    rebind(
        {
            loop.train: _train_with_hooks(loop.train),
            config.merge_config_dicts: _merging_blocks(config.merge_config_dicts),
            config.update_config_dict: _updating_blocks(config.update_config_dict),
        }
    )
    Config.__init__ = _checking_blocks(Config.__init__)
    property_type = type(SegBuilder.model)
    SegBuilder.model = property_type(_remembering_config(SegBuilder.model.func))


def attach_to_copy(module: ModuleType) -> None:
    """Let the loop in a copy of PaddleSeg's `core/train.py` heed blocks; again does nothing.

    Raises
    ------
    RifleError
        If the module has not what PaddleSeg's has.
    """
    needed = ("train", "resume", "init_ema_params", "evaluate", "train_profiler", "logger")
    missing = [name for name in needed if not hasattr(module, name)]
    if missing:
        raise RifleError(
            f"seg_hooks.attach({module.__name__}): no copy of PaddleSeg's core/train.py: it has no "
            f"{', '.join(missing)}",
            topic="own-loop",
        )
    if not hasattr(module.train, "_rifle_ext"):
        rebind({module.train: _train_with_hooks(module.train)})


def config_of(model: Any) -> Optional[Any]:
    """The `Config` that `SegBuilder` built the model from."""
    try:
        return _config_of_model.get(model)
    except TypeError:  # no model at all: `train` itself says so
        return None


def _is_asked(config: Any) -> bool:
    dic = getattr(config, "dic", None)
    return isinstance(dic, Mapping) and is_asked(dic)


def source_of(config: Any) -> str:
    """The path the config was read from."""
    return getattr(config, "_rifle_ext_path", "config")


def _checking_blocks(init: Callable) -> Callable:
    @functools.wraps(init)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        self._rifle_ext_path = str(args[0] if args else kwargs.get("path", "config"))
        if not _is_asked(self):
            return
        if environment.named_file() or methods_for(self.dic, self._rifle_ext_path):
            from rifle_ext.training.loading import note_loading
            from rifle_ext.training.unheeded import note_block

            note_loading()  # before a model is built from it
            note_block(self._rifle_ext_path, ADVICE)
            _configs_with_blocks.add(self)

    return __init__


def _merging_blocks(merge: Callable) -> Callable:
    """A block over a `_base_` whose block has no keys (`key:`, `key: true`, `key: false`)."""

    @functools.wraps(merge)
    def merge_config_dicts(dic: dict, base_dic: dict) -> dict:
        keys = methods()
        short = [k for k in keys if k in dic and not isinstance(base_dic.get(k, {}), dict)]
        alone = [k for k in keys if isinstance(dic.get(k), dict) and k not in base_dic]
        own = {k: dic[k] for k in (*short, *alone) if isinstance(dic[k], dict)}
        # Over a mapping PaddleSeg itself takes its key out.
        cleaned = {k: {n: v for n, v in b.items() if n != INHERITED} for k, b in own.items()}
        dic = {**dic, **cleaned}
        return merge(dic, {key: v for key, v in base_dic.items() if key not in short})

    return merge_config_dicts


def _updating_blocks(update: Callable) -> Callable:
    """`--opts key.name=value`, with values as in YAML, whatever the config's block holds."""

    @functools.wraps(update)
    def update_config_dict(dic: dict, *args: Any, **kwargs: Any) -> dict:
        given = inspect.signature(update).bind(dic, *args, **kwargs)
        opts: List[str] = list(given.arguments.get("opts") or [])
        if opts:
            given.arguments["opts"] = opts  # which may have been an iterator
        keys = methods()
        ours = [o for o in opts if "=" in o and o.split("=")[0].split(".")[0] in keys]
        if ours:
            show_errors_without_traceback()
            given.arguments["dic"] = functools.reduce(_with_option, ours, dic)
            given.arguments["opts"] = [option for option in opts if option not in ours]
        return update(*given.args, **given.kwargs)

    return update_config_dict


def _with_option(dic: dict, option: str) -> dict:
    """A copy of a config with ``a.b=value`` set, the mappings on the way made where needed."""
    from rifle_ext.training.blocks import option_value

    path = option.partition("=")[0]
    changed = dict(dic)
    parts, owner = path.split("."), changed
    for part in parts[:-1]:
        below = owner.get(part)
        owner[part] = dict(below) if isinstance(below, dict) else {}
        owner = owner[part]
    try:
        owner[parts[-1]] = option_value(option)
    except RifleError as error:
        raise RifleError(f"--opts {error}") from error
    return changed


def _remembering_config(build: Callable) -> Callable:
    @functools.wraps(build)
    def model(self: Any) -> Any:
        built = build(self)
        with contextlib.suppress(TypeError):  # of a builder of the user's own: anything
            _config_of_model[built] = self.config
        return built

    return model


def _train_with_hooks(train: Callable) -> Callable:
    signature = inspect.signature(train)

    @functools.wraps(train)
    def train_with_hooks(*args: Any, **kwargs: Any) -> Any:
        try:
            arguments = signature.bind(*args, **kwargs)
        except TypeError:  # `train` itself says what is wrong
            return train(*args, **kwargs)
        arguments.apply_defaults()
        model = arguments.arguments.get("model")
        config = config_of(model)
        dic = getattr(config, "dic", None)
        if isinstance(dic, Mapping):
            say_misplaced(dic, source_of(config))
        if config is None or not _is_asked(config):
            if _configs_with_blocks and not _is_known(model):
                _say_not_active(inspect.getmodule(train))
            return train(*args, **kwargs)
        from seg_hooks.training import run_with_hooks

        return run_with_hooks(train, arguments, config, source_of(config))

    train_with_hooks._rifle_ext = True  # type: ignore[attr-defined]
    return train_with_hooks


def _is_known(model: Any) -> bool:
    try:
        return model in _config_of_model
    except TypeError:
        return False


def _say_not_active(loop: Any) -> None:
    sources = ", ".join(sorted({source_of(config) for config in _configs_with_blocks}))
    loop.logger.warning(
        f"[rifle-ext] not active in this training: its model was not built by SegBuilder from "
        f"{sources}, the config with a block"
    )
