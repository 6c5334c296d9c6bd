"""Which blocks of a config ask for which hooks.

Light to import: an adapter consults it for every config, and a method's own modules are imported
once a config has its block.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, List, Mapping

from rifle_ext.errors import show_errors_without_traceback

if TYPE_CHECKING:
    from rifle_ext.training.hooks import Hook


def _rifle(block: Any, source: str) -> List[Hook]:
    from rifle_ext.methods.rifle.block import parse_block
    from rifle_ext.methods.rifle.hook import RifleHook

    parsed = parse_block(block, source)
    return [] if parsed is None else [RifleHook(parsed, source)]


METHODS: Dict[str, Callable[[Any, str], List[Hook]]] = {"rifle": _rifle}
"""For each key of a config that asks for a method: what makes its hooks of (block, source)."""


def has_block(config: Mapping[str, Any]) -> bool:
    """Whether a toolkit's config, as a mapping, asks for any method."""
    return any(key in config for key in METHODS)


def hooks_for(config: Mapping[str, Any], source: str) -> List[Hook]:
    """The hooks a config asks for; empty without a block.

    Parameters
    ----------
    config
        The toolkit's whole config as a mapping.
    source
        What the user knows the config as: its path.

    Raises
    ------
    RifleError
        If a block is wrong.
    """
    wanted = [key for key in METHODS if key in config]
    if wanted:
        show_errors_without_traceback()
    return [hook for key in wanted for hook in METHODS[key](config[key], source)]
