"""The `rifle:` block: its keys, what they mean and allow, and what is said when they are wrong."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Dict, List, Literal, Optional, Union

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StringConstraints,
    ValidationError,
    model_validator,
)
from typing_extensions import Annotated

from rifle_ext.errors import RifleError, did_you_mean
from rifle_ext.redraw.initializers import (
    BIAS_INITIALIZERS,
    INITIALIZERS,
    BiasInitializerSpec,
    InitializerSpec,
)

if TYPE_CHECKING:
    from rifle_ext.redraw.fresh import Initializers

BLOCK_KEY = "rifle"

Glob = Annotated[str, StringConstraints(strict=True, min_length=1)]


class RifleConfig(BaseModel):
    """A validated `rifle:` block."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "title": "RIFLE",
            "description": "Re-initialize the output layers several times during fine-tuning. "
            "Nothing or true: all defaults; false: no RIFLE.",
            # One interval. As a condition, so that the second is marked and not the whole block.
            "if": {
                "properties": {"re_init_epoch": {"type": "integer"}},
                "required": ["re_init_epoch"],
            },
            "then": {"properties": {"re_init_iter": {"type": "null"}}},
        },
    )

    layers: Union[Literal["auto", "head"], Annotated[List[Glob], Field(min_length=1)]] = Field(
        "auto",
        description="What is reset: 'auto' (all output layers), 'head' (the whole head modules "
        "that hold them, running statistics included), or a list of names or globs over "
        "structured parameter or sublayer names.",
    )
    re_init_epoch: Optional[StrictInt] = Field(
        None,
        ge=1,
        description="Reset every so many epochs. With max_re_num and no interval the training is "
        "cut into max_re_num + 1 equal periods.",
    )
    re_init_iter: Optional[StrictInt] = Field(
        None,
        ge=1,
        description="Reset every so many iterations (optimizer steps); instead of re_init_epoch.",
    )
    max_re_num: Optional[StrictInt] = Field(
        None,
        ge=1,
        le=1000,
        description="How many resets at most. Default: with an interval 3; without one 1, in a "
        "long training up to 3, and early enough to be recovered from.",
    )
    keep_last: Optional[StrictInt] = Field(
        None,
        ge=0,
        description="No reset that leaves fewer than this many epochs (with re_init_epoch) or "
        "iterations (otherwise). Default: one period; 0 where number and place are left open.",
    )
    weight_initializer: Union[None, Literal["original"], InitializerSpec] = Field(
        None,
        description="How fresh weights (tensors of two or more dimensions) are drawn: null (as the "
        "model's constructor draws them), 'original' (the values they had when training was set "
        "up), or an initializer by name with its arguments, e.g. {type: XavierNormal}. Other "
        "tensors are always drawn as the constructor draws them ('original' covers them too).",
    )
    bias_initializer: Optional[BiasInitializerSpec] = Field(
        None,
        description="How fresh biases (one dimension or none, named so) are drawn: null (as "
        "weight_initializer says of other tensors), or Constant, Normal, TruncatedNormal or "
        "Uniform with its arguments.",
    )
    head_lr: Annotated[
        Literal["none", "cyclic"], BeforeValidator(lambda v: "none" if v is None else v)
    ] = Field(
        "none",
        json_schema_extra={"enum": ["none", "cyclic", None]},
        description="'cyclic': the output layers' own learning rate restarts with each period and "
        "falls along a cosine; the rest of the model keeps the training's schedule.",
    )
    optimizer_state: Literal["reset", "keep"] = Field(
        "reset", description="What becomes of the optimizer's moments of the reset tensors."
    )
    seed: StrictInt = Field(
        0,
        ge=0,
        description="Seed of the fresh values; apart from the training's own random streams.",
    )

    track: Optional[StrictBool] = Field(
        None,
        description="Whether to record how far each stage of the model moves in each period, in "
        "rifle_events.jsonl: true, false, or null (if the toolkit records to VisualDL). It keeps a "
        "copy of the weights in the host's memory.",
    )

    def initializers(self) -> Initializers:
        """The initializers that the block names, built."""
        from rifle_ext.redraw.fresh import Initializers

        weight, bias = self.weight_initializer, self.bias_initializer
        return Initializers(
            None if weight is None or weight == "original" else weight.build(),
            None if bias is None else bias.build(),
        )

    @model_validator(mode="after")
    def _one_interval(self) -> RifleConfig:
        if self.re_init_epoch is not None and self.re_init_iter is not None:
            raise ValueError("give re_init_epoch or re_init_iter, not both")
        return self


def parse_block(block: object, source: str = "config") -> Optional[RifleConfig]:
    """Validate what stands under `rifle:` in a config.

    Parameters
    ----------
    block
        The value as the toolkit's YAML loader gives it. None, True and {} mean all defaults, False
        means no RIFLE.
    source
        What the user knows the config as: its path.

    Returns
    -------
    RifleConfig or None
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
            f"{source}: {BLOCK_KEY}: {_show(block)} is not a block of keys; write `{BLOCK_KEY}:` "
            f"alone for all defaults, or keys of {_listed(RifleConfig.model_fields)} below it"
        )
    block = {str(key): value for key, value in block.items()}
    try:
        return RifleConfig.model_validate(block)
    except ValidationError as error:
        problems = _problems(error, block)
    raise RifleError("\n  ".join([f"{source}: the {BLOCK_KEY} block cannot be used:", *problems]))


def _problems(error: ValidationError, block: Dict[Any, Any]) -> List[str]:
    """One line for each wrong key, in the block's order; what concerns several keys comes last."""
    lines: Dict[str, str] = {}
    together: List[str] = []
    for found in error.errors(include_url=False):
        path = [part for part in found["loc"] if part in block or len(found["loc"]) == 1]
        key = str(path[0]) if path else None
        if key is None:
            together.append(f"{BLOCK_KEY}: {found['msg'].replace('Value error, ', '')}")
        elif key in _ALLOWED_INITIALIZERS:
            lines[key] = _initializer_problem(key, block[key])
        else:
            lines.setdefault(key, _key_problem(key, block, found))
    return [*(lines[key] for key in block if key in lines), *together]


def _key_problem(key: str, block: Dict[Any, Any], found: Any) -> str:
    shown = key if key.isprintable() else json.dumps(key)
    said = f"{BLOCK_KEY}.{shown} = {_show(block.get(key))}"
    if found["type"] == "extra_forbidden":
        known = RifleConfig.model_fields
        return f"{said}: no such key{did_you_mean(key, known)} (keys: {_listed(known)})"
    allowed = {
        "layers": "auto, head, or a list of parameter or sublayer names or globs",
        "re_init_epoch": "a whole number of epochs, 1 or more",
        "re_init_iter": "a whole number of iterations, 1 or more",
        "max_re_num": "a whole number, 1 to 1000 (`rifle: false` switches RIFLE off)",
        "keep_last": "a whole number, 0 or more, or nothing for one period",
        "head_lr": "none or cyclic",
        "optimizer_state": "reset or keep",
        "seed": "a whole number, 0 or more",
        "track": "true, false, or nothing to track where the toolkit records to VisualDL",
    }[key]
    choices = {
        "layers": ("auto", "head"),
        "head_lr": ("none", "cyclic"),
        "optimizer_state": ("reset", "keep"),
    }
    value = block.get(key)
    hint = did_you_mean(value, choices.get(key, ())) if isinstance(value, str) else ""
    return f"{said}: allowed is {allowed}{hint}"


_ALLOWED_INITIALIZERS = {
    "weight_initializer": (INITIALIZERS, ["null", "original"]),
    "bias_initializer": (BIAS_INITIALIZERS, ["null"]),
}


def _initializer_problem(key: str, value: object) -> str:
    """Why an initializer is refused: the name, or the first wrong argument of a known one."""
    initializers, words = _ALLOWED_INITIALIZERS[key]
    said = f"{BLOCK_KEY}.{key} = {_show(value)}"
    if isinstance(value, dict) and "type" not in value:
        return f"{said}: `type` is missing: name the initializer, as in {{type: Normal, std: 0.01}}"
    name: object = value.get("type") if isinstance(value, dict) else value
    if not isinstance(name, str) or name not in initializers:
        hint = did_you_mean(name, [*initializers, *words]) if isinstance(name, str) else ""
        return (
            f"{said}: no such initializer{hint} (allowed: {_listed(words)}, or one of "
            f"{_listed(initializers)}, alone or as {{type: name, argument: value}})"
        )
    assert isinstance(value, dict)  # a bare known name is always valid
    known = initializers[name]
    arguments = [field for field in known.model_fields if field != "type"]
    try:
        known.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        argument = str(first["loc"][0]) if first["loc"] else name
        if first["type"] == "extra_forbidden":
            hint = did_you_mean(argument, arguments)
            return f"{said}: {name} has no argument {argument}{hint} (it has {_listed(arguments)})"
        return f"{said}: {argument}: {first['msg']}"
    raise AssertionError(f"{value!r} is a valid initializer")


def _show(value: object) -> str:
    """A value as the user wrote it, as near as YAML's flow style comes."""
    try:
        return json.dumps(value)
    except (TypeError, ValueError):
        return repr(value)


def _listed(names: Any) -> str:
    return ", ".join(names)
