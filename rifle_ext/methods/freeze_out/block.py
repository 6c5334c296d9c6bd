"""The `freeze_out:` block: its keys, and what they mean and allow."""

from __future__ import annotations

from typing import List, Literal, Optional, Union

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StringConstraints
from typing_extensions import Annotated

from rifle_ext.runtime.numbers import Number
from rifle_ext.training.blocks import Allowed, one_of, parse, words_or_names

BLOCK_KEY = "freeze_out"

Glob = Annotated[str, StringConstraints(strict=True, min_length=1)]


class FreezeOutConfig(BaseModel):
    """A validated `freeze_out:` block; names and their meaning are those of the authors' code."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "title": "FreezeOut",
            "description": "Layers stop learning one after the other, the earliest first. "
            "Nothing or true: all defaults; false: no FreezeOut.",
        },
    )

    t_0: Annotated[Number, Allowed("a number from 0 to 1, a fraction of the training")] = Field(
        0.5,
        ge=0,
        le=1,
        description="When the first layer freezes, as a fraction of the training (0 to 1), before "
        "how_scale is applied to it: with cubic, 0.8 means after 0.512 of the training.",
    )
    how_scale: Annotated[
        Literal["linear", "squared", "cubic"], one_of(["linear", "squared", "cubic"])
    ] = Field(
        "linear",
        description="How the layers that follow are spread over the rest of the training: the "
        "fractions go from t_0 to 1 in equal steps, and are then squared or cubed, so that layers "
        "freeze earlier and the last ones are given more of the time.",
    )
    scale_lr: Annotated[StrictBool, Allowed("true or false")] = Field(
        False,
        description="Whether the rate of a layer that freezes after the fraction t of the "
        "training begins at 1/t of what it would be, so that all layers go as far in all. Meant "
        "for training from scratch.",
    )
    layers: Annotated[
        Union[Literal["auto", "all"], Annotated[List[Glob], Field(min_length=1)]],
        words_or_names(["auto", "all"]),
    ] = Field(
        "auto",
        description="What freezes: 'auto' (the trainable layers of the backbone, or all where a "
        "model has none of that name), 'all' (all trainable layers but the output layers), or a "
        "list of names or globs over structured parameter or sublayer names. In the order in "
        "which they run, whatever the order here.",
    )
    lr: Annotated[Literal["own", "follow"], one_of(["own", "follow"])] = Field(
        "own",
        description="The rate of a layer until it freezes. 'own': a cosine from the highest rate "
        "of the training's schedule to 0, in place of the schedule, as in the authors' code; "
        "'follow': the schedule, multiplied by that cosine from 1 to 0.",
    )


def parse_block(block: object, source: str = "config") -> Optional[FreezeOutConfig]:
    """What stands under `freeze_out:`, validated; see `rifle_ext.training.blocks.parse`."""
    return parse(FreezeOutConfig, BLOCK_KEY, block, source)
