"""Blocks that an environment variable lays over the config of every training.

For those who start trainings through a program that writes the toolkit's config itself, such as
PaddleX: nothing but the environment reaches the train tool then. `RIFLE_EXT_BLOCKS` names a YAML
file whose top-level keys are blocks, as in a config. Only a training heeds it. Light to import: a
toolkit's every config comes by here, and without the variable nothing is read.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any, Collection, Dict, Iterator, Mapping

from rifle_ext.errors import RifleError, did_you_mean

VARIABLE = "RIFLE_EXT_BLOCKS"


def named_file() -> str:
    """The file that the variable names, as it stands there; empty if it names none."""
    return os.environ.get(VARIABLE, "")


def source() -> str:
    """What the user knows the file as, for messages."""
    return f"{named_file()} ({VARIABLE})"


@contextlib.contextmanager
def set_aside() -> Iterator[None]:
    """Inside the block the variable names nothing, here and in processes that are started here."""
    before = os.environ.pop(VARIABLE, None)
    try:
        yield
    finally:
        if before is not None:
            os.environ[VARIABLE] = before


def laid_over(
    config: Mapping[str, Any], config_source: str, methods: Collection[str]
) -> Dict[str, Any]:
    """What the file that the variable names lays over a config: blocks by their keys.

    Parameters
    ----------
    config
        The toolkit's whole config as a mapping.
    config_source
        Its path.
    methods
        Keys of all methods there are.

    Raises
    ------
    RifleError
        If the file cannot be read, holds anything but blocks, or one that the config has, too.
    """
    if not named_file():
        return {}
    blocks = _content(methods)
    wrong = [_wrong(key, config, config_source, methods) for key in blocks]
    problems = [said for said in wrong if said]
    if problems:
        raise RifleError(
            "\n  ".join([f"{source()} cannot be laid over a config:", *problems]),
            topic="environment",
        )
    return blocks


def _content(methods: Collection[str]) -> Dict[str, Any]:
    import yaml  # both toolkits have it; not before there is something to read

    path = Path(named_file())
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RifleError(
            f"{source()}: there is no such file of blocks{_seen_from(path)}", topic="environment"
        ) from error
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise RifleError(
            f"{source()}: no YAML file that can be read: {reason}", topic="environment"
        ) from error
    if not isinstance(content, dict) or not content:
        raise RifleError(
            f"{source()}: allowed is a mapping whose keys are blocks: {_listed(methods)}; the file "
            f"holds {'nothing' if not content else type(content).__name__}",
            topic="environment",
        )
    return {str(key): block for key, block in content.items()}


def _seen_from(path: Path) -> str:
    """Where a relative path was looked for: programs start train tools in folders of their own."""
    return "" if path.is_absolute() else f", seen from {Path.cwd()}"


def _wrong(
    key: str, config: Mapping[str, Any], config_source: str, methods: Collection[str]
) -> str:
    """What is wrong with one of the file's keys; empty if nothing is."""
    if key in methods:
        both = f"{key}: {config_source} has this block, too; keep one of the two"
        return both if key in config else ""
    if key in config:
        return f"{key}: a key of the config, and no block; set it in {config_source}"
    hint = did_you_mean(key, methods)
    return f"{key}: no method has such a block{hint} (blocks: {_listed(methods)})"


def _listed(methods: Collection[str]) -> str:
    return ", ".join(sorted(methods))
