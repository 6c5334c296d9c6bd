"""The arms of a trial: what each does differently from the config."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Collection, Dict, List, Mapping, Optional, Sequence, Tuple, Type

from pydantic import BaseModel, ValidationError

from rifle_ext.errors import RifleError
from rifle_ext.training.blocks import option_value

PLAIN, WITH = "plain", "block"
"""The arms where none are given: without the config's blocks, and with them."""

Models = Mapping[str, Type[BaseModel]]
"""What validates blocks, by their keys."""


@dataclass(frozen=True)
class Arm:
    """One way to train.

    Attributes
    ----------
    name
        What the user calls it.
    options
        Overrides that no method's block is concerned by, as the toolkit takes them.
    blocks
        The block of each method, whole: a mapping, or False where the method is off.
    """

    name: str
    options: Tuple[str, ...]
    blocks: Mapping[str, Any]

    def overrides(self, seed: Optional[int], models: Models) -> List[str]:
        """Its overrides for one training, as both toolkits take them: see `blocks_for`."""
        blocks = self.blocks_for(seed, models).items()
        return [*self.options, *(f"{key}={json.dumps(block)}" for key, block in blocks)]

    def blocks_for(self, seed: Optional[int], models: Models) -> Dict[str, Any]:
        """Its blocks for one training, whole: PaddleDetection merges what it is given into its own.

        Parameters
        ----------
        seed
            Of the training; it becomes that of the blocks that draw values. None for none.
        models
            What validates the blocks, by key, as far as it is known.
        """
        return {key: _whole(block, seed, models.get(key)) for key, block in self.blocks.items()}


def arms(
    given: Sequence[Sequence[str]], config: Mapping[str, Any], methods: Collection[str]
) -> List[Arm]:
    """The arms of a trial; the first one is what the others are compared with.

    Parameters
    ----------
    given
        For each arm ``NAME:KEY=VALUE`` and further ``KEY=VALUE``; none: without the config's
        blocks, and with them.
    config
        The config's content, with the overrides that all arms have.
    methods
        Keys of the methods' blocks.

    Raises
    ------
    RifleError
        If an arm cannot be understood, or there are fewer than two.
    """
    blocks = {key: _block(config[key]) for key in methods if key in config}
    if not given:
        if not any(block is not False for block in blocks.values()):
            raise RifleError(
                "the config has no method's block that is on, so there is nothing to compare; add "
                "one (`rifle-ext init` proposes it), or name arms: --arm plain --arm "
                "one:rifle.max_re_num=1",
                topic="arms",
            )
        return [Arm(PLAIN, (), dict.fromkeys(blocks, False)), Arm(WITH, (), blocks)]
    found = [_arm(words, blocks, methods) for words in given]
    names = [arm.name for arm in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise RifleError(f"--arm {twice}: there are two arms of this name", topic="arms")
    if len(found) < 2:
        raise RifleError(
            "--arm: one arm alone has nothing to be compared with; name another one", topic="arms"
        )
    return found


def _arm(words: Sequence[str], blocks: Mapping[str, Any], methods: Collection[str]) -> Arm:
    name, colon, first = words[0].partition(":")
    if not name or not all(c.isalnum() or c in "-_." for c in name) or set(name) == {"."}:
        raise RifleError(
            f"--arm {words[0]}: allowed is NAME or NAME:KEY=VALUE ..., the name of letters, "
            "digits, - and _",
            topic="arms",
        )
    own, options = dict(blocks), []
    for option in [*([first] if colon else []), *words[1:]]:
        key, equals, value = option.partition("=")
        if not key or not equals:
            raise RifleError(f"--arm {name}: {option}: allowed is KEY=VALUE", topic="arms")
        top, *path = key.split(".")
        if top in methods:
            own[top] = _changed(own.get(top, {}), path, _read(name, option))
        else:
            options.append(option)
    return Arm(name, tuple(options), own)


def _read(name: str, option: str) -> Any:
    try:
        return option_value(option)
    except RifleError as error:
        raise RifleError(f"--arm {name}: {error}", topic="arms") from error


def _whole(block: Any, seed: Optional[int], model: Optional[Type[BaseModel]]) -> Any:
    """A block with all its keys; one that is wrong as it is, for its method to refuse."""
    if not isinstance(block, dict) or model is None:
        return block
    if seed is not None and "seed" in model.model_fields:
        block = {**block, "seed": seed}
    try:
        return {**model.model_validate(block).model_dump(mode="json"), **block}
    except ValidationError:
        return block


def _block(value: Any) -> Any:
    """A block as a mapping, as `true` or an empty one are all defaults; False if it is off."""
    if isinstance(value, str) and value.lower() in ("true", "false"):
        value = value.lower() == "true"  # as PaddleSeg passes an override on
    if value is None or value is True:
        return {}
    return value if value is False else _plain(value)


def _changed(block: Any, path: Sequence[str], value: Any) -> Any:
    """A block with the value at a path of keys."""
    if not path:
        return _block(value)
    own: Dict[str, Any] = dict(block) if isinstance(block, dict) else {}
    inner = own.get(path[0])
    own[path[0]] = value if len(path) == 1 else _changed(inner or {}, path[1:], value)
    return own


def _plain(value: Any) -> Any:
    """Without the classes of a toolkit's own that stand for mappings and lists."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value
