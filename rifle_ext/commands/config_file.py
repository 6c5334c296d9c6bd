"""What a config file shows before a toolkit reads it: whose it is, and what stands twice in it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Collection, Iterator, List, Mapping, Optional, Set, Tuple

import yaml

from rifle_ext.errors import RifleError

Pair = Tuple[yaml.Node, yaml.Node]
"""A key and its value."""

TOOLKITS_TO_SAY = (OSError, UnicodeError, yaml.YAMLError, RecursionError)
"""What is wrong with a file in ways that a toolkit has words for."""


def check_kind(path: Path, toolkit: str, tools: Mapping[str, Any]) -> None:
    """Refuse a file that is empty, or written for another toolkit.

    Parameters
    ----------
    path
        Of the config.
    toolkit
        The one that is to read it.
    tools
        Of each toolkit the module that `rifle_ext.training.tools.GROUP` describes.

    Raises
    ------
    RifleError
        It says which toolkit or which key was meant.
    """
    try:
        pairs = top(path.read_text(encoding="utf-8"))
    except TOOLKITS_TO_SAY:
        return
    if pairs is None:
        raise RifleError(f"{path}: no config: the file holds no keys", topic="toolkit")
    problem = wrong_kind({key.value: value for key, value in pairs}, toolkit, tools)
    if problem:
        raise RifleError(f"{path}: {problem}", topic="toolkit")


def wrong_kind(
    keys: Mapping[str, yaml.Node], toolkit: str, tools: Mapping[str, Any]
) -> Optional[str]:
    """What shows that a config is not one for a toolkit; None if nothing does.

    Parameters
    ----------
    keys
        What stands at the top of the config.
    toolkit, tools
        As `check_kind` takes them.
    """
    (base, named), own = _base(tools[toolkit]), _own_keys(tools[toolkit])
    for name, tool in tools.items():
        other, _ = _base(tool)
        if name == toolkit or other == base:
            continue
        theirs = [key for key in keys if key in _own_keys(tool)]
        if set(theirs) - {other} and not own & set(keys):
            said = ", ".join(theirs)
            return f"{said}: keys of a config for --toolkit {name}, not for --toolkit {toolkit}"
        if other in keys:
            return f"{other}: the key for --toolkit {name}; for --toolkit {toolkit} it is {base}"
    value = keys.get(base)
    if isinstance(named, list) and isinstance(value, yaml.ScalarNode):
        return f"{base}: {value.value}: allowed is a list of files, as in {base}: [{value.value}]"
    return None


def _base(tool: Any) -> Any:
    """The key that names what a toolkit's config is based on, and what stands there of one file."""
    return next(iter(tool.based_on("").items()))


def _own_keys(tool: Any) -> Set[str]:
    return {*getattr(tool, "OWN_KEYS", ()), _base(tool)[0]}


def repeated(path: Path, blocks: Collection[str]) -> List[str]:
    """What stands twice in a file of some blocks and their keys: YAML drops all but the last."""
    try:
        pairs = top(path.read_text(encoding="utf-8"))
    except TOOLKITS_TO_SAY:
        return []
    return list(_repeated([pair for pair in pairs or () if pair[0].value in blocks], ""))


def values_of(text: str, key: str) -> List[yaml.Node]:
    """What a config's text says of a key at its top; nothing if it cannot be read as YAML."""
    try:
        return [value for name, value in top(text) or () if name.value == key]
    except yaml.YAMLError:
        return []


def is_false(value: yaml.Node) -> bool:
    """Whether a value is YAML's false, in any of its spellings."""
    is_word = isinstance(value, yaml.ScalarNode) and value.tag == "tag:yaml.org,2002:bool"
    return is_word and value.value.lower() in ("false", "no", "off")


def top(text: str) -> Optional[List[Pair]]:
    """Keys and values at the top of a config's text, repeated ones too; None if it has no keys.

    Raises
    ------
    yaml.YAMLError, RecursionError
        If it cannot be read.
    """
    root = yaml.compose(text, yaml.SafeLoader)
    return root.value if isinstance(root, yaml.MappingNode) else None


def _repeated(pairs: List[Pair], above: str) -> Iterator[str]:
    count = Counter(key.value for key, _ in pairs)
    for name in count:
        places = [key.start_mark.line + 1 for key, _ in pairs if key.value == name]
        if len(places) > 1:
            lines = ", ".join(map(str, places))
            yield f"{above}{name}: stands in lines {lines}; the last one alone counts: keep one"
    for key, value in pairs:
        if isinstance(value, yaml.MappingNode):
            yield from _repeated(value.value, f"{above}{key.value}.")
