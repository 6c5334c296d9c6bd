"""Put a block into a config file that someone has laid out.

Text is inserted, and everything else stays as it is, to the byte. What the file then reads as is
compared with what it was, so nothing is written that would change more than the block.
"""

from __future__ import annotations

import difflib
import itertools
import os
import shutil
import stat
from pathlib import Path
from typing import Any, Iterator, List

import yaml

from rifle_ext.errors import RifleError


def read(path: Path) -> str:
    """The text of a config, its line ends as they are.

    Raises
    ------
    RifleError
        If it cannot be read, or is not in UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8")
    except (OSError, UnicodeError) as error:
        raise RifleError(f"{path}: cannot be read as UTF-8: {error}", topic="writing") from error


def with_block(text: str, key: str, block: str) -> str:
    """A config's text with a block at its end.

    Parameters
    ----------
    text
        Of the config, which has no such key.
    key
        Of the block.
    block
        Its text, of comments and the key with nothing under it. Where the config is written in one
        pair of braces there is no place for comments: the key alone is put there.

    Raises
    ------
    RifleError
        If there is no place for it.
    """
    try:
        root = yaml.compose(text, yaml.SafeLoader)
        if not isinstance(root, yaml.MappingNode):
            raise RifleError("it holds no keys that a block could stand beside", topic="writing")
        if root.flow_style:
            wanted, places = "{}", _in_braces(text, root, f'"{key}": {{}}')
        else:
            wanted, places = None, _at_the_end(text, root, block)
        before = _content(root)
        for changed in places:
            if _reads_as(changed, before, key, wanted):
                return changed
    except (yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise RifleError(f"it cannot be read as YAML: {reason}", topic="writing") from error
    raise RifleError(
        "the block could not be added without changing what else it reads as", topic="writing"
    )


def _at_the_end(text: str, root: yaml.MappingNode, block: str) -> Iterator[str]:
    """Below the last line, before a mark that ends the document; apart by an empty line.

    That line would belong to a last value that keeps its line ends (``|+``), so next without it.
    """
    newline = "\r\n" if "\r\n" in text else "\n"
    ends = [t for t in yaml.scan(text, yaml.SafeLoader) if isinstance(t, yaml.DocumentEndToken)]
    end = ends[0].start_mark.index if ends else len(text)
    head, tail = text[:end], text[end:]
    if not head.endswith("\n"):
        head += newline
    indent = " " * root.start_mark.column
    lines = (f"{indent}{line}" if line else "" for line in block.splitlines())
    added = "".join(f"{line}{newline}" for line in lines)
    if not head.endswith(2 * newline):
        yield f"{head}{newline}{added}{tail}"
    yield f"{head}{added}{tail}"


def _in_braces(text: str, root: yaml.MappingNode, entry: str) -> Iterator[str]:
    """After the last value, or before the closing brace."""
    brace = root.end_mark.index - 1
    if not root.value:
        yield f"{text[:brace]}{entry}{text[brace:]}"
        return
    for place in (root.value[-1][1].end_mark.index, brace):
        yield f"{text[:place]}, {entry}{text[place:]}"


def _reads_as(changed: str, before: List[Any], key: str, wanted: Any) -> bool:
    try:
        root = yaml.compose(changed, yaml.SafeLoader)
        *others, (name, value) = root.value
        holds = isinstance(value, yaml.MappingNode) if wanted else value.value == ""
        rest = yaml.MappingNode(root.tag, others)
        return name.value == key and holds and _content(rest) == before
    except (yaml.YAMLError, RecursionError):
        return False


def _content(node: yaml.Node) -> List[Any]:
    """What a node reads as: tags and values, without the places where they stand."""
    if isinstance(node, yaml.MappingNode):
        return [node.tag, *([_content(key), _content(value)] for key, value in node.value)]
    if isinstance(node, yaml.SequenceNode):
        return [node.tag, *map(_content, node.value)]
    return [node.tag, str(node.value)]


def difference(before: str, after: str, name: str) -> str:
    """What changes in a file, as a unified diff."""
    old, new = (text.replace("\r\n", "\n").splitlines(keepends=True) for text in (before, after))
    lines = difflib.unified_diff(old, new, name, name)
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


def replace(path: Path, text: str) -> Path:
    """Write a config anew; returns where it is kept as it was. A link stays a link.

    Raises
    ------
    RifleError
        If it may not be written, or the disk does not take it.
    """
    target = path.resolve()
    names = (f"{target.name}.bak{number or ''}" for number in itertools.count())
    backup = next(kept for kept in map(target.with_name, names) if not kept.exists())
    check_writable(path)
    try:
        shutil.copy2(target, backup)
        whole = shutil.copy2(target, target.with_name(f"{target.name}.part"))
        Path(whole).write_bytes(text.encode("utf-8"))
        os.replace(whole, target)
    except OSError as error:
        raise RifleError(
            f"{path}: cannot be written, and is as it was: {error}", topic="writing"
        ) from error
    return backup


def check_writable(path: Path) -> None:
    """Raise RifleError if a file is read-only, for its owner too."""
    writable = path.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH)
    if not writable or not os.access(path, os.W_OK):
        raise RifleError(
            f"{path}: is read-only, so nothing is written to it; allow it (chmod u+w), or let "
            "--write name a new file, which is based on it",
            topic="writing",
        )
