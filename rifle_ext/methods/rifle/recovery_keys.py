"""Keys of the `rifle:` block that have keys of their own: `head_lr` and `distill`."""

from __future__ import annotations

from typing import Any, Dict, Literal, Union

from pydantic import BaseModel, ConfigDict, Field, StrictInt
from typing_extensions import Annotated

from rifle_ext.errors import did_you_mean
from rifle_ext.runtime.numbers import ABOVE_0, FROM_0, LARGEST, QUOTED, Number, Positive
from rifle_ext.training.blocks import Allowed, one_of

Auto = Literal["auto"]


class HeadRate(BaseModel):
    """What `head_lr` says: the output layers' own learning rate, over the training's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cycle: Annotated[Literal["none", "cosine"], one_of(["none", "cosine"])] = Field(
        "none",
        description="'cosine': it starts each period at the highest rate of the training's "
        "schedule and falls along a cosine; the rest of the model keeps the schedule.",
    )
    scale: Annotated[Union[Auto, Positive], Allowed(f"auto or {ABOVE_0}", ("auto",))] = Field(
        "auto",
        description="By how much it is multiplied after each reset. 'auto': by what brings a fresh "
        "head to the size that the constructor draws in a few dozen iterations, 1 to 10; 1 with "
        "optimizers whose steps follow the gradient (SGD, Momentum).",
    )
    iterations: Annotated[
        Union[Auto, Annotated[StrictInt, Field(ge=1)]],
        Allowed("auto or a whole number of iterations, 1 or more", ("auto",)),
    ] = Field(
        "auto",
        description="For how many iterations (optimizer steps) after each reset. 'auto': four "
        "times as many as the head is expected to need.",
    )


class Distillation(BaseModel):
    """What `distill` says: the network before a reset as the teacher of the recovery."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    weight: Annotated[Number, Allowed(FROM_0)] = Field(
        1.0,
        ge=0,
        description="What the distance of the output layers' answers from those of the network "
        "before the reset is multiplied by in the loss, at first; it falls to 0 linearly. 0: off.",
    )
    temperature: Annotated[Positive, Allowed(ABOVE_0)] = Field(
        2.0, description="What both sides' logits are divided by before they are compared."
    )
    iterations: Annotated[
        Union[Auto, Annotated[StrictInt, Field(ge=1)]],
        Allowed("auto or a whole number of iterations, 1 or more", ("auto",)),
    ] = Field(
        "auto",
        description="Over how many iterations (optimizer steps) after each reset the weight falls "
        "to 0. 'auto': over the whole period.",
    )


HEAD_RATES = {"none": {"scale": 1}, "cyclic": {"cycle": "cosine", "scale": 1}, "auto": {}}
"""What `head_lr` may be in a word."""


def as_head_rate(value: Any) -> Any:
    """What `head_lr` says as a mapping, its default if nothing; else as it is."""
    word = "auto" if value is None else value
    return HEAD_RATES.get(word, value) if isinstance(word, str) else value


def meant_head_rate(word: str) -> str:
    """A hint on a wrong word: 'cosine' is what `cyclic` stands for, and no misspelt 'none'."""
    return did_you_mean("cyclic" if word == "cosine" else word, HEAD_RATES)


def words_too(schema: Dict[str, Any]) -> None:
    """Let the schema of `head_lr` take its words beside the mapping."""
    schema["anyOf"] = [{"enum": [*HEAD_RATES, None]}, {"$ref": schema.pop("$ref")}]


def as_distillation(value: Any) -> Any:
    """What `distill` says as a mapping; whatever else it says as it is."""
    if value is None or isinstance(value, bool):
        return {} if value else {"weight": 0}
    return {"weight": value} if isinstance(value, (int, float, str)) else value


def numbers_too(schema: Dict[str, Any]) -> None:
    """Let the schema of `distill` take a number, true, false and null beside the mapping."""
    numbers = {
        "type": ["number", "string"],
        "minimum": 0,
        "maximum": LARGEST,
        "pattern": QUOTED,
    }
    schema["anyOf"] = [{"type": ["boolean", "null"]}, numbers, {"$ref": schema.pop("$ref")}]
