"""Which blocks of a config ask for which methods.

A method is an entry point of the group `rifle_ext.methods`: its name is the key of the block in a
config, its value a function of (block, source) that gives hooks. Light to import: an adapter asks
here for every config, and a method's own modules are imported once a config has its block.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, Mapping, Sequence, Union

from rifle_ext.entry_groups import entry_group
from rifle_ext.errors import RifleError, show_errors_without_traceback
from rifle_ext.training import environment

if TYPE_CHECKING:
    from rifle_ext.training.hooks import Hook

GROUP = "rifle_ext.methods"

Factory = Callable[[Any, str], Sequence["Hook"]]
"""Makes a method's hooks of what stands under its key and of the path of the config.

It raises `RifleError` with one message if the block is wrong, and gives nothing if the block
switches the method off.
"""

Active = Mapping[str, Sequence["Hook"]]
"""The hooks of a training by the key of their method, in the order in which methods are called."""

_registered: Dict[str, Factory] = {}


def register(key: str, factory: Factory) -> None:
    """Add a method in this process alone; it comes before an installed one of the same key."""
    _registered[key] = factory


@contextlib.contextmanager
def registered(**factories: Factory) -> Iterator[None]:
    """Methods by their keys, inside the block only."""
    kept = dict(_registered)
    _registered.update(factories)
    try:
        yield
    finally:
        _registered.clear()
        _registered.update(kept)


@functools.lru_cache(maxsize=None)
def _installed() -> Dict[str, importlib.metadata.EntryPoint]:
    return entry_group(GROUP)


def methods() -> Dict[str, Union[Factory, importlib.metadata.EntryPoint]]:
    """Every method there is, by its key: what makes its hooks, or the entry point of that."""
    return {**_installed(), **_registered}


@dataclass(frozen=True)
class Block:
    """A block and where it stands.

    Attributes
    ----------
    content
        What stands under the method's key.
    source
        What the user knows the file as.
    laid_over
        It is laid over the config by the environment, and not in it.
    """

    content: Any
    source: str
    laid_over: bool = False


Blocks = Mapping[str, Block]
"""The blocks of a training by the keys of their methods."""


def has_block(config: Mapping[str, Any]) -> bool:
    """Whether a toolkit's config, as a mapping, has a block of any method."""
    return any(key in config for key in methods())


def is_asked(config: Mapping[str, Any]) -> bool:
    """Whether a training by a config is asked for any method: by a block, or the environment."""
    return bool(environment.named_file()) or has_block(config)


def blocks_for(config: Mapping[str, Any], source: str) -> Blocks:
    """The blocks that a training by a config heeds: its own, and those laid over it.

    Parameters
    ----------
    config
        The toolkit's whole config as a mapping.
    source
        What the user knows the config as: its path.

    Raises
    ------
    RifleError
        If what the environment names cannot be laid over the config.
    """
    if not is_asked(config):
        return {}
    show_errors_without_traceback()
    known = methods()
    own = {key: Block(config[key], source) for key in known if key in config}
    over = environment.laid_over(config, source, known).items()
    named = environment.source()
    return {**own, **{key: Block(content, named, laid_over=True) for key, content in over}}


def methods_for(config: Mapping[str, Any], source: str) -> Active:
    """The methods that a training by a config is asked for, with their hooks: `hooks_of`.

    Empty without a block. Raises what `blocks_for` and `hooks_of` do.
    """
    return hooks_of(blocks_for(config, source), source)


def hooks_of(blocks: Blocks, source: str) -> Active:
    """The hooks of the methods that some blocks ask for.

    Methods are called in the order of their hooks' `priority`, those of one priority in the
    alphabetical order of their keys.

    Parameters
    ----------
    blocks
        As `blocks_for` gives them.
    source
        What the user knows the config as: its path.

    Raises
    ------
    RifleError
        If a block is wrong, a method cannot be loaded, or two methods exclude one another.
    """
    made = {
        key: list(factory(key, block.source)(block.content, block.source))
        for key, block in sorted(blocks.items())
    }
    active = {key: hooks for key, hooks in made.items() if hooks}
    _refuse_contradictions(active, source)
    return dict(sorted(active.items(), key=lambda item: min(hook.priority for hook in item[1])))


def factory(key: str, source: str) -> Factory:
    """What makes a method's hooks.

    Raises
    ------
    RifleError
        If the package that has it cannot be imported.
    """
    found = methods()[key]
    if callable(found):
        return found
    try:  # an entry point; of which class, on Python 3.8 and 3.9 depends on what else is imported
        return found.load()
    except Exception as error:
        raise RifleError(
            f"{source}: {key}: the method cannot be loaded: {found.value} fails with "
            f"{type(error).__name__}: {error}; mend or remove the package that brings it, or take "
            "the block out",
            topic="method",
        ) from error


def _refuse_contradictions(active: Active, source: str) -> None:
    for key, hooks in active.items():
        for other, why in ((o, w) for hook in hooks for o, w in hook.excludes.items()):
            if other in active:
                raise RifleError(
                    f"{source}: the blocks {key} and {other} exclude one another: {why}; keep one",
                    topic="contradiction",
                )
