"""The initializers a `rifle:` block may name, with their arguments.

A closed list: a config is data, and nothing it names can import or run anything else. Each class
mirrors the class of the same name in `paddle.nn.initializer` and builds it.
"""

from __future__ import annotations

from typing import Any, Dict, Literal, Optional, Union

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from typing_extensions import Annotated


class _Initializer(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    type: str

    def build(self) -> Any:
        """The `paddle.nn.initializer.Initializer` described, with Paddle's own defaults."""
        import paddle

        arguments = self.model_dump(exclude={"type"}, exclude_unset=True)
        return getattr(paddle.nn.initializer, self.type)(**arguments)


class Constant(_Initializer):
    """Every value the same."""

    type: Literal["Constant"]
    value: float = 0.0


class Normal(_Initializer):
    """Normal distribution."""

    type: Literal["Normal"]
    mean: float = 0.0
    std: float = Field(1.0, gt=0)


class TruncatedNormal(_Initializer):
    """Normal distribution cut at two standard deviations."""

    type: Literal["TruncatedNormal"]
    mean: float = 0.0
    std: float = Field(1.0, gt=0)


class Uniform(_Initializer):
    """Uniform distribution over [low, high)."""

    type: Literal["Uniform"]
    low: float = -1.0
    high: float = 1.0

    @model_validator(mode="after")
    def _low_to_high(self) -> Uniform:
        if self.low > self.high:
            raise ValueError("low must not be above high")
        return self


class XavierNormal(_Initializer):
    """Glorot and Bengio (2010), normal: std = sqrt(2 / (fan_in + fan_out))."""

    type: Literal["XavierNormal"]
    fan_in: Optional[float] = Field(None, gt=0)
    fan_out: Optional[float] = Field(None, gt=0)


class XavierUniform(_Initializer):
    """Glorot and Bengio (2010), uniform: bound = sqrt(6 / (fan_in + fan_out))."""

    type: Literal["XavierUniform"]
    fan_in: Optional[float] = Field(None, gt=0)
    fan_out: Optional[float] = Field(None, gt=0)


class KaimingNormal(_Initializer):
    """He et al. (2015), normal: std = gain / sqrt(fan_in)."""

    type: Literal["KaimingNormal"]
    fan_in: Optional[float] = Field(None, gt=0)
    negative_slope: float = 0.0
    nonlinearity: Literal["relu", "leaky_relu", "linear", "tanh", "sigmoid"] = "relu"


class KaimingUniform(_Initializer):
    """He et al. (2015), uniform: bound = gain * sqrt(3 / fan_in)."""

    type: Literal["KaimingUniform"]
    fan_in: Optional[float] = Field(None, gt=0)
    negative_slope: float = 0.0
    nonlinearity: Literal["relu", "leaky_relu", "linear", "tanh", "sigmoid"] = "relu"


class Orthogonal(_Initializer):
    """Saxe et al. (2013): (semi-)orthogonal matrices."""

    type: Literal["Orthogonal"]
    gain: float = Field(1.0, gt=0)


def _from_name(value: object) -> object:
    return {"type": value} if isinstance(value, str) else value


InitializerSpec = Annotated[
    Annotated[
        Union[
            Constant,
            Normal,
            TruncatedNormal,
            Uniform,
            XavierNormal,
            XavierUniform,
            KaimingNormal,
            KaimingUniform,
            Orthogonal,
        ],
        Field(discriminator="type"),
    ],
    BeforeValidator(_from_name),
]
"""An initializer by name, or a mapping with `type` and arguments."""

INITIALIZERS: Dict[str, Any] = {cls.__name__: cls for cls in _Initializer.__subclasses__()}
