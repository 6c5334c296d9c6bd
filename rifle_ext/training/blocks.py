"""Read a method's block: one message, written for users, if anything in it is wrong.

The block is a pydantic model. A field says what it allows by an `Allowed` among the metadata of its
type, as in ``Annotated[StrictInt, Field(ge=1), Allowed("a whole number, 1 or more")]``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterable, List, Optional, Sequence, Tuple, Type, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from rifle_ext.errors import RifleError, did_you_mean

Block = TypeVar("Block", bound=BaseModel)


@dataclass(frozen=True)
class Allowed:
    """What a key of a block allows, in words.

    Attributes
    ----------
    text
        Follows "allowed is".
    choices
        Words that may stand there, for a hint on one that is misspelt.
    hint
        Gives another hint on a wrong word, to follow all that.
    explain
        Says more of a wrong value: the whole line, given its beginning and the value.
    """

    text: str = ""
    choices: Tuple[str, ...] = ()
    hint: Optional[Callable[[str], str]] = None
    explain: Optional[Callable[[str, object], str]] = None


def parse(model: Type[Block], key: str, block: object, source: str) -> Optional[Block]:
    """Validate what stands under a method's key in a config.

    Parameters
    ----------
    model
        What the block has to be.
    key
        The method's key.
    block
        The value as the toolkit's YAML loader gives it. None, True and {} mean all defaults, False
        switches the method off.
    source
        What the user knows the config as: its path.

    Returns
    -------
    model or None
        None if the block is False.

    Raises
    ------
    RifleError
        One message that names every wrong key, its value, what is allowed and, for a misspelt
        name, the nearest correct one.
    """
    if block is False:
        return None
    if block is None or block is True:
        block = {}
    if not isinstance(block, dict):
        raise RifleError(
            f"{source}: {key}: {shown(block)} is not a block of keys; write `{key}:` "
            f"alone for all defaults, or keys of {listed(model.model_fields)} below it",
            topic="block",
        )
    block = {str(name): value for name, value in block.items()}
    try:
        return model.model_validate(block)
    except ValidationError as error:
        problems = _problems(error, model, key, block)
    raise RifleError(
        "\n  ".join([f"{source}: the {key} block cannot be used:", *problems]), topic="block"
    )


def _problems(
    error: ValidationError, model: Type[BaseModel], key: str, block: Dict[str, Any]
) -> List[str]:
    """One line for each wrong key, in the block's order; what concerns several keys comes last."""
    lines: Dict[str, str] = {}
    together: List[str] = []
    for found in error.errors(include_url=False):
        name = str(found["loc"][0]) if found["loc"] else None
        if name is None:
            together.append(f"{key}: {found['msg'].replace('Value error, ', '')}")
        elif name not in lines:
            lines[name] = _problem(found, model, key, block)
    return [*(lines[name] for name in block if name in lines), *together]


def _problem(found: Any, model: Type[BaseModel], key: str, block: Dict[str, Any]) -> str:
    """What is wrong with one key, or with a key of the mapping below it."""
    name, *below = found["loc"]
    value = block.get(name)
    said = f"{key}.{name if str(name).isprintable() else json.dumps(name)}"
    known = model.model_fields
    if str(name) not in known:
        hint = did_you_mean(str(name), known)
        return f"{said} = {shown(value)}: no such key{hint} (keys: {listed(known)})"
    field = known[str(name)]
    inner = field.annotation
    mapping = isinstance(inner, type) and issubclass(inner, BaseModel)
    if below and mapping and isinstance(value, dict):
        return _problem({**found, "loc": below}, inner, said, value)  # type: ignore[arg-type]
    allowed = next((a for a in field.metadata if isinstance(a, Allowed)), Allowed())
    begun = f"{said} = {shown(value)}"
    if allowed.explain is not None:
        return allowed.explain(begun, value)
    if not isinstance(value, str):
        return f"{begun}: allowed is {allowed.text}"
    hint = allowed.hint(value) if allowed.hint else did_you_mean(value, allowed.choices)
    return f"{begun}: allowed is {allowed.text}{hint}"


def option_value(option: str) -> Any:
    """What ``key=value`` on a command line sets a key of a block to.

    Raises
    ------
    RifleError
        If it is no YAML.
    """
    try:
        return yaml.safe_load(option.partition("=")[2])
    except yaml.YAMLError as error:
        raise RifleError(
            f"{option}: allowed is a value in YAML, globs in quotes, as in ['*.conv_out']",
            topic="options",
        ) from error


def shown(value: object) -> str:
    """A value as the user wrote it, as near as YAML's flow style comes."""
    try:
        return json.dumps(value)
    except (TypeError, ValueError):
        return repr(value)


def listed(names: Iterable[Any]) -> str:
    """Names in a message."""
    return ", ".join(map(str, names))


def words_or_names(words: Sequence[str]) -> Allowed:
    """Allows some words, and lists of the names of layers; a name alone lacks its brackets."""

    def hint(value: str) -> str:
        misspelt = did_you_mean(value, words) if value.isalpha() else ""
        return misspelt or (f"; write it as a list: {shown([value])}" if value else "")

    text = f"{', '.join(words)}, or a list of parameter or sublayer names or globs"
    return Allowed(text, hint=hint)


def one_of(choices: Sequence[str]) -> Allowed:
    """Allows some words."""
    return Allowed(" or ".join([", ".join(choices[:-1]), choices[-1]]), tuple(choices))
