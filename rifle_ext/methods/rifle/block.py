"""The `rifle:` block: its keys, and what they mean and allow."""

from __future__ import annotations

from typing import TYPE_CHECKING, List, Literal, Optional, Union

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StringConstraints,
    model_validator,
)
from typing_extensions import Annotated

from rifle_ext.methods.rifle.recovery_keys import (
    HEAD_RATES,
    Auto,
    Distillation,
    HeadRate,
    as_distillation,
    as_head_rate,
    meant_head_rate,
    numbers_too,
    words_too,
)
from rifle_ext.redraw.initializers import (
    BIAS_INITIALIZERS,
    INITIALIZERS,
    BiasInitializerSpec,
    InitializerSpec,
    wrong_initializer,
)
from rifle_ext.runtime.numbers import ABOVE_0, Number, Positive
from rifle_ext.training.blocks import Allowed, one_of, parse, words_or_names

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

    layers: Annotated[
        Union[Literal["auto", "outputs", "head"], Annotated[List[Glob], Field(min_length=1)]],
        words_or_names(["auto", "outputs", "head"]),
    ] = Field(
        "auto",
        description="What is reset: 'auto' (the output layers that were not loaded from pretrained "
        "weights), 'outputs' (all output layers), 'head' (the whole head modules that hold them, "
        "running statistics included), or a list of names or globs over structured parameter or "
        "sublayer names.",
    )
    loaded: Annotated[
        Literal[None, "keep", "restore", "redraw"],
        Allowed("keep, restore, redraw or nothing", ("keep", "restore", "redraw")),
    ] = Field(
        None,
        description="What becomes at a reset of those chosen tensors that were loaded from "
        "pretrained weights: 'keep' (left alone), 'restore' (the loaded values come back), "
        "'redraw' (like new ones), or null: keep with layers: auto, redraw otherwise.",
    )
    re_init_epoch: Annotated[
        Optional[StrictInt], Allowed("a whole number of epochs, 1 or more")
    ] = Field(
        None,
        ge=1,
        description="Reset every so many epochs. With max_re_num and no interval the training is "
        "cut into max_re_num + 1 equal periods.",
    )
    re_init_iter: Annotated[
        Optional[StrictInt], Allowed("a whole number of iterations, 1 or more")
    ] = Field(
        None,
        ge=1,
        description="Reset every so many iterations (optimizer steps); instead of re_init_epoch.",
    )
    max_re_num: Annotated[
        Optional[StrictInt],
        Allowed("a whole number, 1 to 1000 (`rifle: false` switches RIFLE off)"),
    ] = Field(
        None,
        ge=1,
        le=1000,
        description="How many resets at most. Default: with an interval 3; without one 1, in a "
        "long training up to 3, and early enough to be recovered from.",
    )
    keep_last: Annotated[
        Optional[StrictInt], Allowed("a whole number, 0 or more, or nothing for one period")
    ] = Field(
        None,
        ge=0,
        description="No reset that leaves fewer than this many epochs (with re_init_epoch) or "
        "iterations (otherwise). Default: one period; 0 where number and place are left open.",
    )
    weight_initializer: Annotated[
        Union[None, Literal["original"], InitializerSpec],
        Allowed(
            explain=lambda said, value: wrong_initializer(
                said, value, INITIALIZERS, ["null", "original"]
            )
        ),
    ] = Field(
        None,
        description="How fresh weights (tensors of two or more dimensions) are drawn: null (as the "
        "model's constructor draws them, at the size that `scale` says), 'original' (the values "
        "they had when training was set up), or an initializer by name with its arguments, e.g. "
        "{type: XavierNormal}. Other tensors are always drawn as the constructor draws them "
        "('original' covers them too).",
    )
    bias_initializer: Annotated[
        Optional[BiasInitializerSpec],
        Allowed(
            explain=lambda said, value: wrong_initializer(said, value, BIAS_INITIALIZERS, ["null"])
        ),
    ] = Field(
        None,
        description="How fresh biases (one dimension or none, named so) are drawn: null (as "
        "weight_initializer says of other tensors), or Constant, Normal, TruncatedNormal or "
        "Uniform with its arguments.",
    )
    scale: Annotated[Union[Auto, Positive], Allowed(f"auto or {ABOVE_0}", ("auto",))] = Field(
        "auto",
        description="What the constructor's random draw of fresh weights is multiplied by. 'auto': "
        "so that their root mean square is at most 0.1 over the root of the number of inputs, and "
        "a fresh head begins near an even guess; 1: as the constructor draws them. Constants, and "
        "what weight_initializer names, stay as they are.",
    )
    head_lr: Annotated[
        HeadRate,
        BeforeValidator(as_head_rate),
        Allowed(
            "none, cyclic, auto, or a mapping of cycle, scale and iterations",
            tuple(HEAD_RATES),
            meant_head_rate,
        ),
    ] = Field(
        HeadRate.model_validate({}),
        json_schema_extra=words_too,
        description="The output layers' own learning rate: a mapping, or in a word 'auto' (all its "
        "defaults), 'none' (the training's own), 'cyclic' (cycle: cosine, scale: 1).",
    )
    warm_up: Annotated[StrictInt, Allowed("a whole number of iterations, 0 or more")] = Field(
        0,
        ge=0,
        description="For how many iterations after each reset the output layers learn alone: "
        "everything else has learning rate 0, and its running statistics are still.",
    )
    ramp: Annotated[StrictInt, Allowed("a whole number of iterations, 0 or more")] = Field(
        0,
        ge=0,
        description="Over how many iterations after that the learning rate of everything else "
        "comes back, linearly.",
    )
    keep: Annotated[Number, Allowed("a number from 0 to 1")] = Field(
        0.0,
        ge=0,
        le=1,
        description="How much of its parameters a reset keeps: what is written is keep times the "
        "value before and 1 - keep times the fresh one. Running statistics are always fresh.",
    )
    distill: Annotated[
        Distillation,
        BeforeValidator(as_distillation),
        Allowed(
            "true, false, a number (the weight), or a mapping of weight, temperature and iterations"
        ),
    ] = Field(
        Distillation.model_validate({"weight": 0}),
        json_schema_extra=numbers_too,
        description="Hold the answers of the recovering network to those of the network just "
        "before the reset, with a weight that falls to 0: a mapping, true (all its defaults), a "
        "number (the weight), or false: off.",
    )
    optimizer_state: Annotated[Literal["reset", "keep"], one_of(["reset", "keep"])] = Field(
        "reset", description="What becomes of the optimizer's moments of the reset tensors."
    )
    seed: Annotated[StrictInt, Allowed("a whole number, 0 or more")] = Field(
        0,
        ge=0,
        description="Seed of the fresh values; apart from the training's own random streams.",
    )
    track: Annotated[
        Optional[StrictBool],
        Allowed("true, false, or nothing to track where the toolkit records to VisualDL"),
    ] = Field(
        None,
        description="Whether to record how far each stage of the model moves in each period, in "
        "rifle_events.jsonl: true, false, or null (if the toolkit records to VisualDL). It keeps a "
        "copy of the weights in the host's memory.",
    )

    @property
    def of_loaded(self) -> str:
        """What becomes of loaded tensors: `loaded`, or what it means by default."""
        return self.loaded or ("keep" if self.layers == "auto" else "redraw")

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

    @model_validator(mode="after")
    def _one_size(self) -> RifleConfig:
        if self.scale != "auto" and self.weight_initializer is not None:
            raise ValueError(
                "scale is for what the constructor draws: give it or weight_initializer, not both"
            )
        return self


def parse_block(block: object, source: str = "config") -> Optional[RifleConfig]:
    """What stands under `rifle:` in a config, validated; see `rifle_ext.training.blocks.parse`."""
    return parse(RifleConfig, BLOCK_KEY, block, source)
