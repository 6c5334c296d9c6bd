"""What stands in a config like a block, or like a key of one, and is neither.

Both toolkits take any key at the top of a config, so a block that is misspelt or misplaced does
nothing, and nobody says so. Asked of every training, with a block or without; imports no paddle.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any, Collection, Iterator, List, Mapping, Set

from rifle_ext.errors import nearest
from rifle_ext.training.block_models import block_models
from rifle_ext.training.registry import methods

NEAR = 0.8
"""From how alike on, as difflib counts, a key is a slip for that of a block.

No key of the toolkits' own configs comes near it.
"""

TOOLKITS_OWN = frozenset({"num_classes"})
"""Keys of blocks that a toolkit has at the top of a config, too."""

_said: Set[str] = set()


def misplaced(config: Mapping[str, Any]) -> List[str]:
    """What is wrong with the places and the names of blocks and their keys in a config.

    Parameters
    ----------
    config
        The toolkit's whole config as a mapping.
    """
    known = methods()
    on = [key for key in known if key in config and config[key] is not False]
    models = block_models(keys=on) if on else {}
    fields = {key: list(model.model_fields) for key, model in models.items()}
    return [
        *misspelt_blocks(config, known),
        *blocks_below(config, known),
        *keys_outside(config, fields),
    ]


def say_misplaced(config: Mapping[str, Any], source: str) -> None:
    """Say it on standard error, once in a process and on its first rank alone."""
    if os.environ.get("PADDLE_TRAINER_ID", "0") != "0":
        return
    with contextlib.suppress(Exception):  # whatever a config holds, this stops no training
        for problem in misplaced(config):
            line = f"[rifle-ext] {source}: {problem}"
            if line not in _said:
                _said.add(line)
                print(line, file=sys.stderr)


def misspelt_blocks(config: Mapping[str, Any], known: Collection[str]) -> List[str]:
    """Keys at the top that are nearly those of blocks."""
    near = {str(key): nearest(str(key), known, NEAR) for key in config if key not in known}
    return [f"{key}: no method has such a block; did you mean {n}?" for key, n in near.items() if n]


def blocks_below(config: Mapping[str, Any], known: Collection[str]) -> List[str]:
    """Keys of blocks that stand below other keys."""
    paths = (
        path
        for top, value in config.items()
        if top not in known
        for path in _paths(value, known, str(top))
    )
    return [f"{path}: a block does nothing there; put it at the config's top" for path in paths]


def keys_outside(config: Mapping[str, Any], fields: Mapping[str, Collection[str]]) -> List[str]:
    """Keys of blocks that stand beside them, at the top.

    Parameters
    ----------
    config
        The toolkit's whole config as a mapping.
    fields
        The keys of each block that the config has, by the block's own. Those of one word, such as
        ``seed``, may be a toolkit's, or a name for something that is used further down, and are
        left alone.
    """
    return [
        f"{key}: not in the {block} block, so it does nothing; did you mean {block}.{key}?"
        for block, names in fields.items()
        for key in config
        if "_" in str(key) and key in names and key not in TOOLKITS_OWN
    ]


def _paths(value: Any, wanted: Collection[str], path: str) -> Iterator[str]:
    """Where in a value some keys stand."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if isinstance(key, str) and key in wanted:
                yield f"{path}.{key}"
            else:
                yield from _paths(inner, wanted, f"{path}.{key}")
    elif isinstance(value, (list, tuple)):
        for number, inner in enumerate(value):
            yield from _paths(inner, wanted, f"{path}.{number}")
