"""The `lwf:` block: its keys, and what they mean and allow."""

from __future__ import annotations

from typing import Any, Dict, Literal, Optional, Union

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StringConstraints
from typing_extensions import Annotated

from rifle_ext.runtime.numbers import ABOVE_0, FROM_0, Number, Positive
from rifle_ext.training.blocks import Allowed, parse

BLOCK_KEY = "lwf"

Name = Annotated[str, StringConstraints(strict=True, min_length=1)]
Kind = Literal["softmax", "sigmoid", "distribution", "distance", "none"]
KINDS = ("softmax", "sigmoid", "distribution", "distance", "none")
Epochs = Annotated[str, StringConstraints(strict=True, pattern=r"^[1-9]\d* epochs?$")]


class LwfConfig(BaseModel):
    """A validated `lwf:` block."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "title": "Learning without Forgetting",
            "description": "Keep what a model knew while it learns new classes, without old data. "
            "Nothing or true: all defaults; false: off.",
        },
    )

    teacher: Annotated[
        Optional[Name], Allowed("a file of weights, or nothing for the pretrained weights")
    ] = Field(
        None,
        description="The weights of the whole old model: a file, or an address that the toolkit "
        "can download. Nothing: the config's pretrained weights, which have to hold a head.",
    )
    num_classes: Annotated[
        Optional[StrictInt], Allowed("a whole number, 1 or more, or nothing to read it")
    ] = Field(
        None,
        ge=1,
        description="How many classes the old model was built for, counted as the config counts "
        "the new ones. Nothing: as the shapes in its weights say.",
    )
    weight: Annotated[Number, Allowed(FROM_0)] = Field(
        1.0,
        ge=0,
        description="What the distance of the old answers from the teacher's is multiplied by in "
        "the loss. 0: there is no teacher, and the training is plain fine-tuning.",
    )
    temperature: Annotated[Positive, Allowed(ABOVE_0)] = Field(
        2.0,
        description="What both sides' logits are divided by before they are compared.",
    )
    warm_up: Annotated[
        Union[Annotated[StrictInt, Field(ge=0)], Epochs],
        Allowed('a whole number of iterations, 0 or more, or "N epochs"'),
    ] = Field(
        0,
        description="For how long the new output layers learn alone at first: iterations, or "
        "'2 epochs'. Everything else has learning rate 0, and its running statistics are still.",
    )
    kinds: Annotated[
        Dict[Name, Kind],
        Allowed(
            f"a mapping of names (or globs) of output layers to {', '.join(KINDS[:-1])} or none"
        ),
    ] = Field(
        {},
        description="How the answers of an output layer are compared, by its structured name or a "
        "glob, where what is inferred is wrong: softmax, sigmoid, distribution, distance, or none.",
    )

    def warm_up_steps(self, steps_per_epoch: int) -> int:
        """The warm-up in optimizer steps."""
        if isinstance(self.warm_up, int):
            return self.warm_up
        return int(self.warm_up.split()[0]) * steps_per_epoch


def parse_block(block: Any, source: str = "config") -> Optional[LwfConfig]:
    """What stands under `lwf:` in a config, validated; see `rifle_ext.training.blocks.parse`."""
    return parse(LwfConfig, BLOCK_KEY, block, source)
