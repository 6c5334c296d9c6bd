"""The three places of PaddleSeg that the adapter reaches into.

- `paddleseg.cvlibs.config`: a block is checked as soon as a config is read, and `--opts` and
  `_base_` work on it in all its short forms (`key:`, `key: true`, `key: false`).
- `SegBuilder.model`: remembers which config a model was built from; `train` gets the model only.
- `paddleseg.core.train.train`: runs with the hooks the model's config asks for.

Whatever is heavy is imported once a config really has a block.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import weakref
from typing import Any, Callable, List, MutableMapping, Optional

import yaml

from rifle_ext.runtime.patching import rebind
from rifle_ext.training.registry import has_block, methods, methods_for

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


def config_of(model: Any) -> Optional[Any]:
    """The `Config` that `SegBuilder` built the model from, if it has a block."""
    config = _config_of_model.get(model)
    return config if config is not None and has_block(config.dic) else None


def source_of(config: Any) -> str:
    """The path the config was read from."""
    return getattr(config, "_rifle_ext_path", "config")


def _checking_blocks(init: Callable) -> Callable:
    @functools.wraps(init)
    def __init__(self: Any, path: str, *args: Any, **kwargs: Any) -> None:
        init(self, path, *args, **kwargs)
        if has_block(self.dic):
            self._rifle_ext_path = str(path)
            if methods_for(self.dic, self._rifle_ext_path):
                from rifle_ext.training.loading import note_loading

                note_loading()  # before a model is built from it
                _configs_with_blocks.add(self)

    return __init__


def _merging_blocks(merge: Callable) -> Callable:
    """A block over a `_base_` whose block has no keys (`key:`, `key: true`, `key: false`)."""

    @functools.wraps(merge)
    def merge_config_dicts(dic: dict, base_dic: dict) -> dict:
        short = [k for k in methods() if k in dic and not isinstance(base_dic.get(k, {}), dict)]
        return merge(dic, {key: v for key, v in base_dic.items() if key not in short})

    return merge_config_dicts


def _updating_blocks(update: Callable) -> Callable:
    """`--opts key.name=value`, with values as in YAML, whatever the config's block holds."""

    @functools.wraps(update)
    def update_config_dict(dic: dict, *args: Any, **kwargs: Any) -> dict:
        given = inspect.signature(update).bind(dic, *args, **kwargs)
        opts: List[str] = list(given.arguments.get("opts") or [])
        keys = methods()
        ours = [option for option in opts if option.split("=")[0].split(".")[0] in keys]
        if ours:
            given.arguments["dic"] = functools.reduce(_with_option, ours, dic)
            given.arguments["opts"] = [option for option in opts if option not in ours]
        return update(*given.args, **given.kwargs)

    return update_config_dict


def _with_option(dic: dict, option: str) -> dict:
    """A copy of a config with ``a.b=value`` set, the mappings on the way made where needed."""
    path, _, value = option.partition("=")
    changed = dict(dic)
    parts, owner = path.split("."), changed
    for part in parts[:-1]:
        below = owner.get(part)
        owner[part] = dict(below) if isinstance(below, dict) else {}
        owner = owner[part]
    owner[parts[-1]] = yaml.safe_load(value)
    return changed


def _remembering_config(build: Callable) -> Callable:
    @functools.wraps(build)
    def model(self: Any) -> Any:
        built = build(self)
        _config_of_model[built] = self.config
        return built

    return model


def _train_with_hooks(train: Callable) -> Callable:
    signature = inspect.signature(train)

    @functools.wraps(train)
    def train_with_hooks(*args: Any, **kwargs: Any) -> Any:
        arguments = signature.bind(*args, **kwargs)
        arguments.apply_defaults()
        config = config_of(arguments.arguments["model"])
        if config is None:
            if arguments.arguments["model"] not in _config_of_model and _configs_with_blocks:
                _say_not_active(inspect.getmodule(train))
            return train(*args, **kwargs)
        from seg_hooks.training import run_with_hooks

        return run_with_hooks(train, arguments, config, source_of(config))

    train_with_hooks._rifle_ext = True  # type: ignore[attr-defined]
    return train_with_hooks


def _say_not_active(loop: Any) -> None:
    sources = ", ".join(sorted({source_of(config) for config in _configs_with_blocks}))
    loop.logger.warning(
        f"[rifle-ext] not active in this training: its model was not built by SegBuilder from "
        f"{sources}, the config with a block"
    )
